//! What the kernel counts of one TCP connection, asked by its addresses: `NETLINK_SOCK_DIAG` (sock_diag(7)).
//!
//! So nothing is counted, and nothing kept, for a connection that nobody asks about. An exact look-up, never a list of all sockets.
//! Where the kernel does not answer (no `inet_diag`, a sandbox, a socket of another network namespace) there is no [`Traffic`]. Owns
//! no state; must not know what a connection carries. Start at [`traffic`].

use crate::shard::Ends;
use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recvfrom, sendto, socket_with};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long the kernel may take. It answers while it is asked, unless it has to load its module first.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Of a request: the head of a netlink message, and `inet_diag_req_v2`.
const REQUEST_BYTES: usize = 16 + 56;
/// An answer has some 400.
const ANSWER_BYTES_MAX: usize = 4096;

// From linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and linux/tcp_states.h, which stay as they are for ever.
const NLM_F_REQUEST: u16 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const TCP_LISTEN: u8 = 10;
const ANY_STATE: u32 = u32::MAX;
/// Bytes of `nlmsghdr`, of `inet_diag_msg` behind it, and of the head of each attribute behind that.
const HEAD: usize = 16;
const SOCKET: usize = 72;
const ATTRIBUTE: usize = 4;

/// What the kernel counted since the connection began. Under TLS the bytes are those of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Bytes that came, in order.
    pub received_bytes: u64,
    /// Bytes that the peer's system has acknowledged.
    pub sent_bytes: u64,
    /// The smoothed round-trip time, as TCP measures it.
    pub round_trip_us: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// How fast it delivered when it was last measured.
    pub delivery_bytes_per_second: u64,
}

/// What is known of a connection; `None` where the kernel has no answer, or no such connection.
pub(super) async fn traffic(ends: Ends) -> Option<Traffic> {
    let asked = tokio::task::spawn_blocking(move || ask(&ends));
    match tokio::time::timeout(ANSWER_WAIT, asked).await.ok()?.ok()? {
        Ok(answer) => parse(&answer, &ends),
        Err(error) => {
            tracing::debug!(%error, "the kernel does not tell of sockets");
            None
        }
    }
}

fn ask(ends: &Ends) -> Result<Vec<u8>, Errno> {
    let kernel = SocketAddrNetlink::new(0, 0);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WAIT))?;
    sendto(&socket, &request(ends), SendFlags::empty(), &kernel)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let (_, bytes, from) = recvfrom(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    // Another process might write to the socket.
    if from.and_then(|from| SocketAddrNetlink::try_from(from).ok()) != Some(kernel) {
        return Err(Errno::PROTO);
    }
    answer.truncate(bytes);
    Ok(answer)
}

/// `nlmsghdr` and `inet_diag_req_v2`, in the machine's order of bytes but for ports and addresses.
fn request(ends: &Ends) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Number and sender: there is one question on a socket, and the kernel knows whose it is.
    bytes.extend([0; 8]);
    let is_v4 = ends.local.is_ipv4() && ends.remote.is_ipv4();
    let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    bytes.extend([family.as_raw() as u8, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    bytes.extend(ANY_STATE.to_ne_bytes());
    bytes.extend(socket_id(ends));
    // What a link-local address belongs to.
    let scope = match ends.remote {
        SocketAddr::V6(remote) => remote.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    bytes.extend(scope.to_ne_bytes());
    // The cookie of the socket is not known (INET_DIAG_NOCOOKIE).
    bytes.extend([0xff; 8]);
    bytes
}

/// The beginning of `inet_diag_sockid`.
fn socket_id(ends: &Ends) -> [u8; 36] {
    let mut id = [0; 36];
    let (ports, addresses) = id.split_at_mut(4);
    let (local, remote) = addresses.split_at_mut(16);
    ports.copy_from_slice(&[ends.local.port().to_be_bytes(), ends.remote.port().to_be_bytes()].concat());
    let is_v4 = ends.local.is_ipv4() && ends.remote.is_ipv4();
    for (place, end) in [(local, ends.local), (remote, ends.remote)] {
        match end.ip() {
            IpAddr::V4(ip) if is_v4 => place.iter_mut().zip(ip.octets()).for_each(|(to, from)| *to = from),
            IpAddr::V4(ip) => place.copy_from_slice(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => place.copy_from_slice(&ip.octets()),
        }
    }
    id
}

/// What an answer says of this connection, and of no other: where there is none, the kernel tells of whoever listens there.
fn parse(answer: &[u8], ends: &Ends) -> Option<Traffic> {
    let whole = usize::try_from(u32_at(answer, 0)?).ok()?;
    let message = answer.get(..whole)?;
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let socket = message.get(HEAD..)?;
    let state = *socket.get(1)?;
    if kind != SOCK_DIAG_BY_FAMILY || state == TCP_LISTEN || socket.get(4..40)? != socket_id(ends) {
        return None;
    }
    let mut attributes = socket.get(SOCKET..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let name = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let content = attributes.get(ATTRIBUTE..length)?;
        if name == INET_DIAG_INFO {
            return tcp_info(content);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// Some members of `struct tcp_info` (linux/tcp.h), which newer kernels only make longer.
fn tcp_info(info: &[u8]) -> Option<Traffic> {
    Some(Traffic {
        round_trip_us: u32_at(info, 68)?,
        retransmits: u32_at(info, 100)?,
        sent_bytes: u64_at(info, 120)?,
        received_bytes: u64_at(info, 128)?,
        // Since Linux 4.9.
        delivery_bytes_per_second: u64_at(info, 160)?,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(local: &str, remote: &str) -> Ends {
        Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    /// An answer about these ends, with an attribute before the one that is looked for.
    fn answer(ends: &Ends, state: u8, info: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend([2, state, 0, 0]);
        bytes.extend(socket_id(ends));
        bytes.resize(HEAD + SOCKET, 0);
        bytes.extend([5_u16.to_ne_bytes(), 8_u16.to_ne_bytes()].concat());
        bytes.extend([3, 0, 0, 0]);
        bytes.extend([(4 + info.len() as u16).to_ne_bytes(), INET_DIAG_INFO.to_ne_bytes()].concat());
        bytes.extend(info);
        let whole = bytes.len() as u32;
        bytes[..4].copy_from_slice(&whole.to_ne_bytes());
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes
    }

    /// As a kernel that knows more members has it.
    fn info() -> Vec<u8> {
        let mut info = vec![0; 248];
        info[68..72].copy_from_slice(&1500_u32.to_ne_bytes());
        info[100..104].copy_from_slice(&3_u32.to_ne_bytes());
        info[120..128].copy_from_slice(&7_u64.to_ne_bytes());
        info[128..136].copy_from_slice(&(1_u64 << 40).to_ne_bytes());
        info[160..168].copy_from_slice(&9_u64.to_ne_bytes());
        info
    }

    fn expected() -> Traffic {
        Traffic {
            received_bytes: 1 << 40,
            sent_bytes: 7,
            round_trip_us: 1500,
            retransmits: 3,
            delivery_bytes_per_second: 9,
        }
    }

    #[test]
    fn a_request_is_as_the_kernel_wants_it() {
        let bytes = request(&ends("10.0.0.1:8000", "192.0.2.9:258"));
        assert_eq!(bytes.len(), REQUEST_BYTES);
        assert_eq!(bytes[16..20], [2, 6, 2, 0]);
        assert_eq!(bytes[24..28], [0x1f, 0x40, 1, 2]);
        assert_eq!((&bytes[28..32], &bytes[44..48]), (&[10, 0, 0, 1][..], &[192, 0, 2, 9][..]));
        assert!(bytes[32..44].iter().chain(&bytes[48..64]).all(|byte| *byte == 0));
        assert_eq!(bytes[64..], [0xff; 8]);
        let bytes = request(&ends("[::ffff:10.0.0.1]:8000", "[fe80::1%7]:258"));
        assert_eq!((bytes.len(), bytes[16]), (REQUEST_BYTES, 10));
        assert_eq!(bytes[38..44], [0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(bytes[60..64], 7_u32.to_ne_bytes());
    }

    #[test]
    fn an_answer_is_about_this_connection_or_none() {
        let asked = ends("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(parse(&answer(&asked, 1, &info()), &asked), Some(expected()));
        assert_eq!(parse(&answer(&asked, 1, &info()[..168]), &asked), Some(expected()));
        assert_eq!(parse(&answer(&asked, 1, &info()[..167]), &asked), None, "of a kernel before 4.9");
        assert_eq!(parse(&answer(&asked, TCP_LISTEN, &info()), &asked), None);
        let other = ends("127.0.0.1:2", "127.0.0.1:1");
        assert_eq!(parse(&answer(&other, 1, &info()), &asked), None);
        let mut refused = answer(&asked, 1, &info());
        refused[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(parse(&refused, &asked), None);
    }

    /// One end has sent ten bytes and got 70,000, to a listener that takes both families.
    #[tokio::test]
    async fn the_kernel_tells_of_real_connections_of_both_families() {
        use std::io::{Read as _, Write as _};
        for (listening, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")] {
            let listener = std::net::TcpListener::bind(listening).unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut client = std::net::TcpStream::connect((to, port)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[7; 10]).unwrap();
            server.read_exact(&mut [0; 10]).unwrap();
            server.write_all(&[7; 70_000]).unwrap();
            client.read_exact(&mut [0; 70_000]).unwrap();
            let (local, remote) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
            let there = Ends { local, remote };
            let mut seen = traffic(there).await.unwrap();
            // What was read may be acknowledged a moment later.
            while seen.sent_bytes < 70_000 {
                tokio::task::yield_now().await;
                seen = traffic(there).await.unwrap();
            }
            assert_eq!((seen.received_bytes, seen.sent_bytes), (10, 70_000), "{listening} {to}");
            let nobody = SocketAddr::new(remote.ip(), 1);
            assert_eq!(traffic(Ends { local, remote: nobody }).await, None, "a listener is no connection");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            whole in 0_u32..320,
            kind in 19_u16..22,
        ) {
            let asked = ends("127.0.0.1:1", "[::1]:2");
            if let Some(place) = bytes.get_mut(..4) {
                place.copy_from_slice(&whole.to_ne_bytes());
            }
            if let Some(place) = bytes.get_mut(4..6) {
                place.copy_from_slice(&kind.to_ne_bytes());
            }
            if let Some(place) = bytes.get_mut(20..56) {
                place.copy_from_slice(&socket_id(&asked));
            }
            let _ = parse(&bytes, &asked);
        }

        #[test]
        fn a_shorter_answer_says_nothing(cut in 1_usize..270, name in any::<u16>(), length in any::<u16>()) {
            let asked = ends("127.0.0.1:1", "127.0.0.1:2");
            let mut bytes = answer(&asked, 1, &info()[..168]);
            prop_assert_eq!(parse(&bytes[..bytes.len() - cut.min(bytes.len())], &asked), None);
            bytes[88..90].copy_from_slice(&length.to_ne_bytes());
            bytes[90..92].copy_from_slice(&name.to_ne_bytes());
            let _ = parse(&bytes, &asked);
        }
    }
}
