//! Clients behind proxies that say whom they speak for.

use super::rig::{HELLO, Plan, Rig, packet};
use crate::config::Network;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 1883\r\n";
const CLIENT: &str = "192.0.2.1:56789";

/// The same in version 2, with an extension behind the addresses.
fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 198, 51, 100, 1, 0xdd, 0xd5, 0x07, 0x5b];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10"[..], &addresses, &[4, 0, 1, 0]].concat()
}

fn from(network: &str) -> Plan {
    let mut plan = Plan { shards: 2, ..Plan::default() };
    plan.config.server.proxy_protocol_from = vec![Network::parse(network).unwrap()];
    plan
}

fn who() -> Vec<u8> {
    packet(HELLO, "who")
}

#[test]
fn the_client_that_a_proxy_names_is_the_peer_on_every_port() {
    let rig = Rig::start(from("127.0.0.0/8"));
    for header in [V1.to_vec(), v2()] {
        for address in [rig.address, rig.stream_address] {
            let mut stream = Rig::client_of(address);
            stream.send([&header[..], &who()].concat());
            assert_eq!(stream.receive_packet(), CLIENT);
        }
        let mut http = rig.client();
        http.send([&header[..], b"GET /on/0/who HTTP/1.1\r\nhost: x\r\n\r\n"].concat());
        assert_eq!(http.answer().body, CLIENT);
        // It stays so on another shard, and for the next request.
        http.get("/on/1/who");
        assert_eq!(http.answer().body, CLIENT);
        http.get("/on/0/who");
        assert_eq!(http.answer().body, CLIENT);
    }
    let known = |rig: &Rig| {
        let (told, count) = std::sync::mpsc::channel();
        (0..2).for_each(|shard| {
            let told = told.clone();
            rig.order(shard, move |_, cx| told.send(cx.io.clients.len()).unwrap());
        });
        count.recv().unwrap() + count.recv().unwrap()
    };
    for shard in 0..2 {
        rig.stats_when(shard, |stats| stats.connections == 0);
    }
    assert_eq!(known(&rig), 0, "who is gone is forgotten");
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let rig = Rig::start(from("127.0.0.1"));
    for header in [V1.to_vec(), v2()] {
        let bytes = [&header[..], &who()].concat();
        for cut in 1..bytes.len() {
            let mut client = rig.client();
            client.send(&bytes[..cut]);
            rig.stats(0);
            client.send(&bytes[cut..]);
            assert_eq!(client.receive_packet(), CLIENT, "{cut}");
        }
        let mut client = rig.client();
        bytes.iter().for_each(|byte| client.send([*byte]));
        assert_eq!(client.receive_packet(), CLIENT);
    }
}

#[test]
fn a_listed_proxy_that_sends_no_header_is_closed() {
    let rig = Rig::start(from("127.0.0.1"));
    let no_headers = [
        who(),
        b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        v2().iter().map(|byte| byte | 0x80).collect(),
    ];
    for bytes in &no_headers {
        let mut client = rig.client();
        client.send(bytes);
        assert!(client.is_ended(), "{bytes:?}");
    }
    let mut half = rig.client();
    half.send(&V1[..20]);
    half.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(half.is_ended());
    let refused = (0..2).map(|shard| rig.stats(shard).refused_proxy_headers).sum::<u64>();
    assert_eq!((refused, rig.seats.taken()), (6, 0));
}

#[test]
fn a_listed_proxy_that_sends_its_header_too_slowly_is_closed() {
    let mut plan = from("127.0.0.1");
    plan.config.limits.head_timeout_ms = 60;
    let rig = Rig::start(plan);
    let (mut silent, mut slow) = (rig.client(), rig.client());
    slow.send(&V1[..20]);
    assert!(silent.is_ended() && slow.is_ended());
    let closed = (0..2).map(|shard| rig.stats(shard).closed_timeout).sum::<u64>();
    assert_eq!(closed, 2);
}

#[test]
fn a_proxy_that_does_not_say_is_the_peer_itself() {
    let rig = Rig::start(from("127.0.0.1"));
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut client = rig.client();
        let own = client.stream.local_addr().unwrap().to_string();
        client.send([header, &who()].concat());
        assert_eq!(client.receive_packet(), own);
    }
}

#[test]
fn nobody_else_can_claim_to_be_another() {
    let rig = Rig::start(from("10.0.0.0/8"));
    let mut client = rig.client();
    let own = client.stream.local_addr().unwrap().to_string();
    client.send(who());
    assert_eq!(client.receive_packet(), own);
    let mut liar = rig.client();
    liar.send([V1, b"\r\n"].concat());
    // As a request it has no version of HTTP.
    assert_eq!(liar.answer().status, 505);
    let mut liar = rig.client();
    liar.send([&v2()[..], &who()].concat());
    // The empty lines of the signature may stand before a request, what follows may not.
    assert_eq!(liar.answer().status, 400);
}
