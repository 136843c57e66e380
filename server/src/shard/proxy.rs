//! Headers of the PROXY protocol, versions 1 and 2: what a proxy says first, so that it is known who is behind it.
//!
//! Owns the form of a header and when it is taken. Must not know who is listed (`config`). Start at [`parse`]. Source:
//! "The PROXY protocol, versions 1 & 2", HAProxy project, sections 2.1 and 2.2.

use super::Shard;
use super::connection::{Connection, Flags};
use super::handler::Handler;
use super::io::ConnKey;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

/// The longest header that is taken. Version 1 has at most 107 bytes; of version 2 proxies use some hundreds, of which the
/// most are a client's certificate.
const HEADER_BYTES_MAX: usize = 4096;
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// What version 2 begins with: no text, so that servers of other protocols fail early.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of what follows.
const FIXED_BYTES: usize = 16;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    bytes: usize,
    /// The client; `None` when the proxy speaks for itself, or does not know, or over something else than TCP.
    client: Option<SocketAddr>,
}

/// Not a header of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

impl<H: Handler> Shard<H> {
    /// Takes the header that has to come before anything else; whether it is gone, so that reading may go on. It is looked
    /// at in the socket until it is complete, since TLS may follow right behind it.
    pub(super) fn take_proxy_header(&mut self, conn: ConnKey) -> bool {
        let Some(connection) = self.io.connections.get_mut(conn) else { return false };
        let looked = look(connection, self.buffer.get_mut(..HEADER_BYTES_MAX).unwrap_or_default());
        self.io.stats.reads += 1;
        let seen = match looked {
            Ok(seen) => seen,
            Err(ErrorKind::Interrupted) => return self.take_proxy_header(conn),
            Err(ErrorKind::WouldBlock) => {
                connection.flags.unset(Flags::READABLE);
                return false;
            }
            Err(_) => return self.refuse_proxy(conn),
        };
        match parse(self.buffer.get(..seen).unwrap_or_default()) {
            Ok(Some(header)) => self.strip(conn, header),
            // Nothing more can come: there is no room, or the peer has ended its side.
            Ok(None) if seen == HEADER_BYTES_MAX || seen == 0 || connection.flags.has(Flags::FIN_SEEN) => {
                self.refuse_proxy(conn)
            }
            Ok(None) => {
                connection.flags.unset(Flags::READABLE);
                false
            }
            Err(Malformed) => self.refuse_proxy(conn),
        }
    }

    fn strip(&mut self, conn: ConnKey, header: Header) -> bool {
        let Some(connection) = self.io.connections.get_mut(conn) else { return false };
        let taken = self.buffer.get_mut(..header.bytes).unwrap_or_default();
        self.io.stats.reads += 1;
        if (&connection.stream).read_exact(taken).is_err() {
            return self.refuse_proxy(conn);
        }
        connection.flags.unset(Flags::AWAITS_PROXY);
        if let Some(client) = header.client {
            self.io.clients.insert(conn, client);
        }
        true
    }

    fn refuse_proxy(&mut self, conn: ConnKey) -> bool {
        self.io.stats.refused_proxy_headers += 1;
        self.io.discard(conn);
        false
    }
}

fn look(connection: &Connection, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
    let stream: &TcpStream = &connection.stream;
    stream.peek(buffer).map_err(|error| error.kind())
}

/// Reads the header at the front of `bytes`; `None` while more of it has to come.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const TEXT: &[u8] = b"PROXY ";
    if begins(bytes, SIGNATURE) {
        return if bytes.len() < FIXED_BYTES { Ok(None) } else { parse_v2(bytes) };
    }
    if !begins(bytes, TEXT) {
        return Err(Malformed);
    }
    let line = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    match line.windows(2).position(|two| two == b"\r\n") {
        Some(end) => {
            let line = line.get(..end).and_then(|line| str::from_utf8(line).ok()).ok_or(Malformed)?;
            Ok(Some(Header { bytes: end + 2, client: parse_line(line)? }))
        }
        None if bytes.len() >= LINE_BYTES_MAX => Err(Malformed),
        None => Ok(None),
    }
}

/// Whether as much of `start` stands there as has come.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// A line of version 1 without its end: `PROXY TCP4 client server client-port server-port`.
fn parse_line(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let mut fields = line.split(' ').skip(1);
    let family = fields.next().ok_or(Malformed)?;
    // The proxy does not know, and what else it may say is of no use.
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut address = || -> Result<IpAddr, Malformed> {
        let address = fields.next().ok_or(Malformed)?;
        match family {
            "TCP4" => address.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Malformed),
            "TCP6" => address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    };
    let (client, _server) = (address()?, address()?);
    let mut port = || fields.next().and_then(parse_port).ok_or(Malformed);
    let (client_port, _server_port) = (port()?, port()?);
    if fields.next().is_some() {
        return Err(Malformed);
    }
    Ok(Some(SocketAddr::new(client, client_port)))
}

/// A decimal number without sign and leading zeros.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// A header of version 2 whose fixed part has come.
fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(&[version_and_command, family, high, low]) = bytes.get(12..).and_then(<[u8]>::first_chunk::<4>)
    else {
        return Ok(None);
    };
    let total = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    let (is_local, family) = match (version_and_command, family) {
        // The proxy's own connection, for instance to see whether the server is well.
        (0x20, _) => (true, family),
        (0x21, 0x00 | 0x11 | 0x12 | 0x21 | 0x22 | 0x31 | 0x32) => (false, family),
        _ => return Err(Malformed),
    };
    if total > HEADER_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..total) else { return Ok(None) };
    let client = if is_local { None } else { client_v2(family, addresses)? };
    Ok(Some(Header { bytes: total, client }))
}

/// The client among the addresses of a header; what follows them are extensions that nobody here asks for.
fn client_v2(family: u8, addresses: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match family {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses.first_chunk::<12>().ok_or(Malformed)?;
            Ok(Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))))
        }
        0x21 => {
            let addresses = addresses.first_chunk::<36>().ok_or(Malformed)?;
            let (client, rest) = addresses.split_first_chunk::<16>().ok_or(Malformed)?;
            let port = rest.get(16..).and_then(<[u8]>::first_chunk::<2>).ok_or(Malformed)?;
            Ok(Some(SocketAddr::from((*client, u16::from_be_bytes(*port)))))
        }
        // Unspecified, datagrams, and sockets of one machine.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn client(bytes: &[u8]) -> Option<SocketAddr> {
        let header = parse(bytes).expect("well formed").expect("complete");
        assert_eq!(header.bytes, bytes.len());
        header.client
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdd, 0xd5, 0x07, 0x5b];

    fn v6() -> Vec<u8> {
        let address = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        [&address(1)[..], &address(2), &[0xdd, 0xd5, 0x07, 0x5b]].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        assert_eq!(client(b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 1883\r\n"), address("192.0.2.1:56789"));
        assert_eq!(client(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), address("[2001:db8::1]:0"));
        assert_eq!(client(&v2(0x21, 0x11, &V4)), address("192.0.2.1:56789"));
        assert_eq!(client(&v2(0x21, 0x21, &v6())), address("[2001:db8::1]:56789"));
        // Extensions behind the addresses.
        let more = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        assert_eq!(client(&v2(0x21, 0x11, &more)), address("192.0.2.1:56789"));
    }

    #[test]
    fn a_proxy_may_speak_for_itself_or_not_know() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 16));
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what else it says\r\n", &longest] {
            assert_eq!(client(line.as_bytes()), None);
        }
        for (command, family) in [(0x20, 0x11), (0x20, 0xff), (0x21, 0x00), (0x21, 0x12), (0x21, 0x31)] {
            assert_eq!(client(&v2(command, family, &V4)), None);
        }
        assert_eq!(client(&v2(0x20, 0, &[])), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "proxy TCP4 192.0.2.1 198.51.100.1 1 1\r\n",
            "PROXY \r\n",
            "PROXY TCP5 192.0.2.1 198.51.100.1 1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 1 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 1 1\r\n",
            "PROXY TCP4 192.0.2 198.51.100.1 1 1\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 1\r\n",
            &format!("PROXY UNKNOWN {}", "f".repeat(LINE_BYTES_MAX)),
        ];
        for line in lines {
            assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line}");
        }
        let wrong = [v2(0x11, 0x11, &V4), v2(0x22, 0x11, &V4), v2(0x21, 0x41, &V4), v2(0x21, 0x13, &V4)];
        for bytes in wrong.into_iter().chain([v2(0x21, 0x11, &V4[..11]), v2(0x21, 0x21, &V4)]) {
            assert_eq!(parse(&bytes), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(parse(&v2(0x21, 0x11, &[0; HEADER_BYTES_MAX])), Err(Malformed));
        assert_eq!(parse(b"\r\n\r\nGET"), Err(Malformed));
    }

    #[test]
    fn every_beginning_waits_for_the_rest() {
        let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 1883\r\n".to_vec();
        for header in [v1, v2(0x21, 0x21, &v6()), v2(0x20, 0, &[1; 300])] {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "{cut}");
            }
            let with_more = [&header[..], &[0x10; 200]].concat();
            assert_eq!(parse(&with_more), parse(&header));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_refused_within_its_bound(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            start in 0..3_usize,
        ) {
            let prefix: &[u8] = [&[][..], b"PROXY ", SIGNATURE][start];
            bytes.splice(..0, prefix.iter().copied());
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.bytes <= bytes.len() && header.bytes <= HEADER_BYTES_MAX);
            }
        }
    }
}
