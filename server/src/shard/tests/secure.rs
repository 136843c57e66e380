//! The same under TLS.

use super::rig::{Client, HELLO, PATIENCE, Plan, Rig, Seen, masked, packet};
use crate::shard::Closed;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

struct Secure {
    rig: Rig,
    client: Arc<ClientConfig>,
}

impl Secure {
    fn start(shards: u8) -> Self {
        Self::with_head_timeout(shards, 60_000)
    }

    fn with_head_timeout(shards: u8, head_timeout_ms: u64) -> Self {
        Self::with(shards, |config| config.limits.head_timeout_ms = head_timeout_ms)
    }

    fn with(shards: u8, change: impl FnOnce(&mut crate::config::Config)) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let certificate = made.cert.der().clone();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut plan = Plan { shards, tls: Some(server.into()), ..Plan::default() };
        plan.config.limits.write_buffer_bytes_max = 64 << 20;
        plan.config.limits.head_timeout_ms = 60_000;
        change(&mut plan.config);
        Self { rig: Rig::start(plan), client: Arc::new(client) }
    }

    fn client(&self) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        self.client_of(self.rig.address)
    }

    fn client_of(&self, address: SocketAddr) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ClientConnection::new(self.client.clone(), "localhost".try_into().unwrap()).unwrap();
        Client::over(StreamOwned::new(session, stream))
    }
}

#[test]
fn requests_and_websockets_work_as_without() {
    let secure = Secure::start(1);
    let mut client = secure.client();
    client.get("/a");
    assert_eq!(client.answer().body, "a on 0");
    client.upgrade("/ws");
    let conn = secure.rig.wait(|seen| if let Seen::Upgraded(conn, _) = seen { Some(conn) } else { None });
    for size in [0, 10, 20_000, 1 << 20] {
        let payload = vec![7; size];
        client.frame(0x82, &payload);
        assert_eq!(client.receive(), (0x82, payload));
    }
    secure.rig.order(0, move |double, cx| {
        assert!(cx.io.is_secure(conn));
        double.see(Seen::Text(0, "checked".into()));
    });
    assert_eq!(secure.rig.next(), Seen::Text(0, "checked".into()));
    let stats = secure.rig.stats(0);
    assert_eq!((stats.tls_handshakes, stats.tls_failures), (1, 0));
}

#[test]
fn a_client_that_does_not_read_blocks_and_gets_everything_in_the_end() {
    let secure = Secure::start(1);
    let mut client = secure.client();
    client.upgrade("/ws");
    client.text("flood 400 50000");
    let owner = secure.rig.wait(|seen| if let Seen::Blocked(owner) = seen { Some(owner) } else { None });
    (0..400).for_each(|_| assert_eq!(client.receive_text().len(), 50_000));
    assert_eq!(secure.rig.next(), Seen::Writable(owner));
    client.text("bye");
    assert_eq!(client.receive_text(), "goodbye");
    // A clean end, by close_notify: a bare FIN would be an error on this side.
    assert!(client.is_ended());
}

#[test]
fn a_session_moves_between_shards() {
    let secure = Secure::start(4);
    let mut client = secure.client();
    for shard in [3, 1, 0, 2] {
        client.get(&format!("/on/{shard}/get"));
        assert_eq!(client.answer().body, format!("get on {shard}"));
    }
    client.upgrade("/on/0/ws");
    client.text("move 3");
    assert_eq!(client.receive_text(), "staged before the move");
    assert_eq!(client.receive_text(), "moved");
    client.text("hello");
    assert_eq!(client.receive_text(), "hello");
}

#[test]
fn a_held_poll_ends_with_its_connection_and_plain_text_is_refused() {
    let secure = Secure::start(1);
    let mut client = secure.client();
    // An answer first: it comes behind the session tickets, and a client that leaves with bytes unread sends a reset.
    client.get("/a");
    client.answer();
    client.get("/hold");
    let owner = secure.rig.wait(|seen| if let Seen::Held(_, owner) = seen { Some(owner) } else { None });
    drop(client);
    assert_eq!(secure.rig.next(), Seen::Closed(owner, Closed::Peer));
    let mut plain = secure.rig.client();
    plain.get("/a");
    // The answer is an alert of TLS.
    assert!(plain.until_end().starts_with(&[21, 3]));
    assert_eq!(secure.rig.stats_when(0, |stats| stats.connections == 0).tls_failures, 1);
}

#[test]
fn a_handshake_that_does_not_end_in_time_is_cut() {
    let secure = Secure::with_head_timeout(1, 60);
    let (mut silent, mut half) = (secure.rig.client(), secure.rig.client());
    half.send([22, 3, 1, 1, 0, 1]);
    assert!(silent.is_ended() && half.is_ended());
    let stats = secure.rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.closed_timeout, stats.half_open, stats.tls_handshakes), (2, 0, 0));
}

#[test]
fn streams_are_found_inside_and_move_with_what_came_with_them() {
    let secure = Secure::start(4);
    for shard in 0..4 {
        let mut client = secure.client();
        let cut = packet(0x30, "cut");
        let first = [packet(HELLO, &format!("on {shard}")), packet(0x30, "behind"), cut[..6].to_vec()];
        client.send(first.concat());
        assert_eq!(client.receive_packet(), "behind");
        client.send(&cut[6..]);
        assert_eq!(client.receive_packet(), "cut");
        client.send([packet(0x30, "move 3"), packet(0x30, "own"), packet(0x30, "behind the move")].concat());
        assert_eq!(client.receive_packet(), "staged before the move");
        assert_eq!(client.receive_packet(), "behind the move");
        client.send(packet(0x30, "bye"));
        assert_eq!(client.receive_packet(), "goodbye");
        assert!(client.is_ended());
    }
}

#[test]
fn a_stream_in_a_websocket_moves_too() {
    let secure = Secure::start(4);
    let mut client = secure.client();
    client.upgrade("/on/0/stream");
    client.frame(0x82, &packet(HELLO, "on 1"));
    let frame = masked(0x82, &[packet(0x30, "move 3"), packet(0x30, "own"), packet(0x30, "there")].concat());
    client.send(&frame[..20]);
    client.send(&frame[20..]);
    assert_eq!(client.receive().1, packet(0x30, "staged before the move"));
    assert_eq!(client.receive().1, packet(0x30, "there"));
    assert_eq!(secure.rig.stats(3).streams, 1);
}

#[test]
fn a_first_byte_inside_that_begins_nothing_is_closed_without_a_word() {
    let secure = Secure::start(1);
    let mut client = secure.client();
    client.send([0x16, 3, 1]);
    let mut byte = [0];
    // The alert of a clean end is not owed to whoever speaks nothing that is served.
    assert!(!matches!(std::io::Read::read(&mut client.stream, &mut byte), Ok(1..)));
    assert_eq!(secure.rig.stats_when(0, |stats| stats.connections == 0).closed_unknown, 1);
}

#[test]
fn a_listener_for_streams_under_tls_takes_nothing_else() {
    let secure = Secure::start(1);
    let address = secure.rig.secure_stream_address;
    let mut client = secure.client_of(address);
    client.send([packet(HELLO, "own"), packet(0x30, "hello")].concat());
    assert_eq!(client.receive_packet(), "hello");
    let mut http = secure.client_of(address);
    http.get("/a");
    let mut byte = [0];
    assert!(!matches!(std::io::Read::read(&mut http.stream, &mut byte), Ok(1..)));
    let mut bare = Rig::client_of(address);
    bare.send(packet(HELLO, "own"));
    // An alert of TLS.
    assert!(bare.until_end().starts_with(&[21, 3]));
    // And the one without has none although there is a certificate.
    let mut plain = Rig::client_of(secure.rig.stream_address);
    plain.send([packet(HELLO, "own"), packet(0x30, "hello")].concat());
    assert_eq!(plain.receive_packet(), "hello");
}

#[test]
fn a_proxy_says_whom_it_speaks_for_before_tls() {
    let secure = Secure::with(1, |config| {
        config.server.proxy_protocol_from = vec![crate::config::Network::parse("127.0.0.1").unwrap()];
    });
    for address in [secure.rig.address, secure.rig.secure_stream_address] {
        let mut client = secure.client_of(address);
        let header = b"PROXY TCP6 2001:db8::1 2001:db8::2 7 8883\r\n";
        std::io::Write::write_all(&mut client.stream.sock, header).unwrap();
        client.send(packet(HELLO, "who"));
        assert_eq!(client.receive_packet(), "[2001:db8::1]:7");
    }
    let mut without = secure.client();
    assert!(std::io::Write::write_all(&mut without.stream, b"x").is_err());
    assert_eq!(secure.rig.stats_when(0, |stats| stats.refused_proxy_headers == 1).tls_failures, 0);
}
