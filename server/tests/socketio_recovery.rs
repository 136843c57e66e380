//! Connection state recovery over real shards: what comes back, from where, and who is not recovered.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::sync::mpsc::{Receiver, channel};

use hub::{Command, Members, Reason, SessionId, Target};
use support::client::{Http, WebSocket, field, get, post};
use support::{Node, args, message};
use trunkline::auth::Grant;
use trunkline::config::{Config, NamespaceMatch, NamespaceName, RecoveryMode};
use trunkline::front::{Ban, Banned};
use trunkline::mail::{Admission, Hello, Mail, Upcall};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

#[derive(Debug, PartialEq)]
enum Seen {
    Connect(SessionId, Option<String>),
    Recovered(SessionId),
    Disconnected(SessionId, &'static str, bool),
    Expired(SessionId, &'static str),
}

struct Bench {
    node: Node,
    seen: Receiver<Seen>,
}

fn config() -> Config {
    let mut config = Config::loopback();
    config.ask_always = true;
    config.namespaces[0].recovery = RecoveryMode::Always;
    let mut wish = config.namespaces[0].clone();
    wish.names = NamespaceMatch::Exact(NamespaceName::parse("/wish").unwrap());
    wish.recovery = RecoveryMode::OptIn;
    config.namespaces.push(wish);
    config
}

fn start(config: Config) -> Bench {
    let (tell, seen) = channel();
    let node = Node::start(config, move |office, upcall| {
        let one = match upcall {
            Upcall::Connect { session, hello: Hello::SocketIo { auth, .. }, .. } => {
                office.admit(session, &["news"]);
                Seen::Connect(session, auth.map(|auth| String::from_utf8(auth.to_vec()).unwrap()))
            }
            Upcall::Recovered { session, .. } => Seen::Recovered(session),
            Upcall::Disconnected { session, text, resumable_ms, .. } => {
                Seen::Disconnected(session, text, resumable_ms.is_some())
            }
            Upcall::Expired { session, text, .. } => Seen::Expired(session, text),
            Upcall::Event { session, values, .. } => {
                return office.emit(session, "back", &values.as_event().unwrap().args());
            }
            Upcall::Connect { .. } | Upcall::Claimed { .. } => return,
            Upcall::Ask { .. } | Upcall::Refresh { .. } | Upcall::Reassigned { .. } => return,
        };
        // The test may be over.
        let _ = tell.send(one);
    });
    Bench { node, seen }
}

/// A connected client.
struct Client {
    socket: WebSocket,
    sid: SessionId,
    pid: String,
}

impl Bench {
    fn seen(&self) -> Seen {
        self.seen.recv_timeout(support::client::PATIENCE).expect("the back end is told")
    }

    fn socket(&self) -> WebSocket {
        let mut socket = WebSocket::connect(self.node.address, SOCKET);
        socket.next_text();
        socket
    }

    fn client(&self) -> Client {
        let mut socket = self.socket();
        socket.text("40");
        let reply = socket.next_text();
        let sid = field(&reply, "sid").unwrap().parse().unwrap();
        assert_eq!(self.seen(), Seen::Connect(sid, None));
        Client { sid, pid: field(&reply, "pid").unwrap(), socket }
    }

    /// Comes back; the packets up to the CONNECT reply.
    fn back(&self, pid: &str, offset: Option<&str>) -> (WebSocket, Vec<String>) {
        let mut socket = self.socket();
        let offset = offset.map(|offset| format!(r#","offset":"{offset}""#)).unwrap_or_default();
        socket.text(&format!(r#"40{{"pid":"{pid}"{offset},"token":"x"}}"#));
        let mut packets = Vec::new();
        while packets.last().is_none_or(|last: &String| !last.starts_with("40")) {
            packets.push(socket.next_text());
        }
        (socket, packets)
    }

    fn news(&self, number: u32) {
        self.node.office.broadcast("news", "news", &args(&format!("[{number}]")));
    }
}

/// The offset of an event `42["news",n,"offset"]`.
fn offset(packet: &str, number: u32) -> String {
    let rest = packet.strip_prefix(&format!(r#"42["news",{number},""#)).unwrap_or_else(|| panic!("{packet}"));
    rest.strip_suffix(r#""]"#).unwrap().to_owned()
}

#[test]
fn missed_events_come_first_then_the_same_ids() {
    let bench = start(config());
    let mut client = bench.client();
    bench.news(1);
    let seen = offset(&client.socket.next_text(), 1);
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    bench.news(2);
    bench.news(3);
    let (mut socket, packets) = bench.back(&client.pid, Some(&seen));
    assert_eq!(packets.len(), 3, "{packets:?}");
    let (two, three) = (offset(&packets[0], 2), offset(&packets[1], 3));
    assert!(two != three && two != seen);
    assert_eq!(packets[2], format!(r#"40{{"sid":"{}","pid":"{}"}}"#, client.sid, client.pid));
    assert_eq!(bench.seen(), Seen::Recovered(client.sid));
    bench.news(4);
    let four = offset(&socket.next_text(), 4);
    // Once more from the newest: nothing is replayed twice (#5419).
    drop(socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    let (_socket, packets) = bench.back(&client.pid, Some(&four));
    assert_eq!(packets.len(), 1, "{packets:?}");
    bench.node.stop();
}

#[test]
fn a_client_that_saw_no_event_is_replayed_from_the_start() {
    let bench = start(config());
    let client = bench.client();
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    bench.news(1);
    for given in [None, Some("from-an-earlier-session"), Some("dead-7")] {
        let (socket, packets) = bench.back(&client.pid, given);
        assert_eq!(packets.len(), 2, "{packets:?}");
        offset(&packets[0], 1);
        assert_eq!(field(&packets[1], "pid").as_deref(), Some(&*client.pid));
        drop(socket);
        assert_eq!(bench.seen(), Seen::Recovered(client.sid));
        assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    }
    bench.node.stop();
}

#[test]
fn a_connection_not_known_to_be_dead_is_taken_over() {
    let bench = start(config());
    let mut client = bench.client();
    bench.news(1);
    let seen = offset(&client.socket.next_text(), 1);
    let (mut socket, packets) = bench.back(&client.pid, Some(&seen));
    assert_eq!(packets, [format!(r#"40{{"sid":"{}","pid":"{}"}}"#, client.sid, client.pid)]);
    assert_eq!(client.socket.until_closed(), None, "the old transport is closed");
    assert_eq!(bench.seen(), Seen::Recovered(client.sid), "and nothing ended for the back end");
    bench.news(2);
    offset(&socket.next_text(), 2);
    bench.node.stop();
}

#[test]
fn volatile_events_carry_an_offset_too_and_asks_none() {
    let bench = start(config());
    let mut client = bench.client();
    let to = Target::Session(client.sid);
    let volatile = hub::Publish { volatile: true, ..message(1, to.clone(), "chat", &args(r#"["hello"]"#)) };
    bench.node.office.publish_as(&to, volatile);
    let packet = client.socket.next_text();
    let last = packet.strip_prefix(r#"42["chat","hello",""#).expect("an offset behind the last string");
    let offset = last.strip_suffix(r#""]"#).unwrap().to_owned();
    let ask = hub::Publish {
        reply_within_ms: Some(9_000),
        token: Some(hub::Token(5)),
        ..message(2, to.clone(), "ask", &args("[1]"))
    };
    bench.node.office.publish_as(&to, ask);
    assert!(client.socket.next_text().ends_with(r#"["ask",1]"#));
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    let (_socket, packets) = bench.back(&client.pid, Some(&offset));
    assert_eq!(field(packets.last().unwrap(), "pid").as_deref(), Some(&*client.pid), "recovered by it");
    bench.node.stop();
}

#[test]
fn who_leaves_or_is_malformed_is_not_recovered() {
    let bench = start(config());
    for goodbye in ["41", "x"] {
        let mut client = bench.client();
        client.socket.text(goodbye);
        assert!(matches!(bench.seen(), Seen::Disconnected(id, _, false) if id == client.sid));
        let (socket, packets) = bench.back(&client.pid, None);
        assert_eq!(packets.len(), 1);
        assert_ne!(field(&packets[0], "pid").as_deref(), Some(&*client.pid), "{goodbye}");
        let expected = Some(r#"{"token":"x"}"#.to_owned());
        assert!(matches!(bench.seen(), Seen::Connect(_, auth) if auth == expected), "without the pid");
        drop(socket);
        assert!(matches!(bench.seen(), Seen::Disconnected(..)));
    }
    bench.node.stop();
}

#[test]
fn forged_pids_are_ignored() {
    let bench = start(config());
    let client = bench.client();
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    let forged = format!("{}AAAA", &client.pid[..36]);
    for pid in [&*forged, &client.sid.to_string(), "", "x"] {
        let (_socket, packets) = bench.back(pid, None);
        assert_ne!(field(&packets[0], "sid"), Some(client.sid.to_string()));
    }
    bench.node.stop();
}

#[test]
fn a_session_expires_after_its_window() {
    let mut config = config();
    config.recovery.window_ms = 100;
    let bench = start(config);
    let client = bench.client();
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    assert_eq!(bench.seen(), Seen::Expired(client.sid, "recovery expired"));
    let (_socket, packets) = bench.back(&client.pid, None);
    assert_ne!(field(&packets[0], "pid").as_deref(), Some(&*client.pid));
    bench.node.stop();
}

#[test]
fn a_session_that_is_ended_while_it_waits_did_not_expire() {
    let bench = start(config());
    let client = bench.client();
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    let (of, token) = (Members::Session(client.sid), hub::Token(3));
    let end = Command::EndMembers { of, reason: Reason::Kicked, token };
    bench.node.office.to_session(client.sid, Mail::Hub(end));
    assert_eq!(bench.seen(), Seen::Expired(client.sid, "server namespace disconnect"));
    bench.node.stop();
}

#[test]
fn idle_for_longer_than_the_window_is_no_reason_to_refuse() {
    let mut config = config();
    config.recovery.window_ms = 300;
    let bench = start(config);
    let mut client = bench.client();
    bench.news(1);
    let seen = offset(&client.socket.next_text(), 1);
    std::thread::park_timeout(std::time::Duration::from_millis(700));
    drop(client.socket);
    assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    let (_socket, packets) = bench.back(&client.pid, Some(&seen));
    assert_eq!(packets, [format!(r#"40{{"sid":"{}","pid":"{}"}}"#, client.sid, client.pid)]);
    bench.node.stop();
}

#[test]
fn recovery_is_a_matter_of_the_namespace() {
    let bench = start(config());
    let mut socket = bench.socket();
    socket.text("40/wish,");
    assert_eq!(field(&socket.next_text(), "pid"), None);
    for connect in [r#"40/wish,{"csr":true}"#, r#"40/wish,{"csr":1}"#, r#"40/wish,{"csr":"1"}"#] {
        let mut socket = bench.socket();
        socket.text(connect);
        let reply = socket.next_text();
        let pid = field(&reply, "pid").expect("a pid");
        // The session of one namespace cannot be had in another.
        let (_socket, packets) = bench.back(&pid, None);
        assert_ne!(field(&packets[0], "sid"), field(&reply, "sid"));
    }
    let mut socket = WebSocket::connect(bench.node.address, &format!("{SOCKET}&csr=1"));
    socket.next_text();
    socket.text("40/wish,");
    assert!(field(&socket.next_text(), "pid").is_some());
    bench.node.stop();
}

#[test]
fn a_polling_client_recovers() {
    let bench = start(config());
    let open = || format!("{POLL}&sid={}", field(get(bench.node.address, POLL).text(), "sid").unwrap());
    let target = open();
    post(bench.node.address, &target, "40");
    let mut poll = Http::connect(bench.node.address);
    let reply = poll.get(&target).text().to_owned();
    let (sid, pid) = (field(&reply, "sid").unwrap(), field(&reply, "pid").unwrap());
    poll.send("GET", &target, &[], None);
    drop(poll);
    assert!(matches!(bench.seen(), Seen::Connect(..)));
    assert!(matches!(bench.seen(), Seen::Disconnected(_, "transport error", true)));
    bench.news(7);
    let target = open();
    post(bench.node.address, &target, &format!(r#"40{{"pid":"{pid}"}}"#));
    let answer = get(bench.node.address, &target).text().to_owned();
    let packets: Vec<_> = answer.split('\u{1e}').collect();
    offset(packets[0], 7);
    assert_eq!(field(packets[1], "sid"), Some(sid));
    bench.node.stop();
}

/// It is asked about like anybody else, and kept out like them.
#[test]
fn a_user_that_is_kept_out_by_now_does_not_come_back() {
    let (tell, seen) = channel();
    let node = Node::start(config(), move |office, upcall| match upcall {
        Upcall::Connect { session, .. } => {
            let grant = Grant { user: Some("ann".into()), ..Grant::default() };
            let admission = Box::new(Admission { grant, ..Admission::default() });
            office.to_session(session, Mail::Admit { session, admission });
        }
        Upcall::Disconnected { session, .. } => drop(tell.send(session)),
        _ => {}
    });
    let socket = || {
        let mut socket = WebSocket::connect(node.address, SOCKET);
        socket.next_text();
        socket
    };
    let mut first = socket();
    first.text("40");
    let pid = field(&first.next_text(), "pid").unwrap();
    drop(first);
    seen.recv_timeout(support::client::PATIENCE).unwrap();
    let (reply, is_there) = tokio::sync::oneshot::channel();
    let ban = Ban { of: Banned::User("ann".into()), until: None, reason: None };
    node.office.send(hub::ShardId(0), Mail::Ban { ban, reply });
    assert!(is_there.blocking_recv().unwrap());
    let mut back = socket();
    back.text(&format!(r#"40{{"pid":"{pid}"}}"#));
    assert_eq!(back.next_text(), r#"44{"message":"blocked"}"#);
    node.stop();
}

/// The engine session moves to the shard of the session it names, by either transport.
#[test]
fn recovery_works_from_any_shard() {
    let mut config = config();
    config.server.shards = 3;
    let bench = start(config);
    for round in 0..12 {
        let client = bench.client();
        drop(client.socket);
        assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
        bench.news(round);
        let (mut socket, packets) = bench.back(&client.pid, None);
        assert_eq!(field(packets.last().unwrap(), "pid").as_deref(), Some(&*client.pid));
        // The news may still be on its way from the channel's shard, and then comes live.
        let news = if packets.len() == 1 { socket.next_text() } else { packets[0].clone() };
        offset(&news, round);
        assert_eq!(bench.seen(), Seen::Recovered(client.sid));
        socket.text(r#"42["ev",5]"#);
        assert!(socket.next_text().starts_with(r#"42["back",5,"#));
        drop(socket);
        assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
        recover_by_polling(&bench, &client.pid);
        let mut seen = [bench.seen(), bench.seen(), bench.seen()];
        seen.sort_by_key(|one| matches!(one, Seen::Connect(..)));
        let left = Seen::Disconnected(client.sid, "client namespace disconnect", false);
        assert_eq!(seen[..2], [Seen::Recovered(client.sid), left]);
    }
    bench.node.stop();
}

fn recover_by_polling(bench: &Bench, pid: &str) {
    let address = bench.node.address;
    let target = format!("{POLL}&sid={}", field(get(address, POLL).text(), "sid").unwrap());
    let mut poll = Http::connect(address);
    poll.send("GET", &target, &[], None);
    let body = format!("40{{\"pid\":\"{pid}\"}}\u{1e}40/wish,");
    assert_eq!(post(address, &target, &body).text(), "ok");
    let mut answers = poll.answer().text().to_owned();
    while !answers.contains("40{") || !answers.contains("40/wish,{") {
        answers.push('\u{1e}');
        answers.push_str(get(address, &target).text());
    }
    let reply = answers.split('\u{1e}').find(|packet| packet.starts_with("40{")).unwrap();
    assert_eq!(field(reply, "pid").as_deref(), Some(pid), "{answers}");
    assert_eq!(post(address, &target, "41").text(), "ok", "requests find the session at its new place");
}

/// A client that upgrades while it comes back: its probe moves with the engine session.
#[test]
fn recovery_from_any_shard_takes_the_probe_along() {
    let mut config = config();
    config.server.shards = 3;
    let bench = start(config);
    for round in 0..12 {
        let client = bench.client();
        drop(client.socket);
        assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
        let target = format!("{POLL}&sid={}", field(get(bench.node.address, POLL).text(), "sid").unwrap());
        let mut socket = WebSocket::connect(bench.node.address, &target.replace("polling", "websocket"));
        let body = format!("40{{\"pid\":\"{}\"}}", client.pid);
        // The CONNECT that moves the session comes before the probe's answer in one half of the rounds.
        if round % 2 == 0 {
            assert_eq!(post(bench.node.address, &target, &body).text(), "ok");
            socket.text("2probe");
            assert_eq!(socket.next_text(), "3probe");
        } else {
            socket.text("2probe");
            assert_eq!(socket.next_text(), "3probe");
            assert_eq!(post(bench.node.address, &target, &body).text(), "ok");
        }
        assert_eq!(get(bench.node.address, &target).text(), "6");
        socket.text("5");
        let reply = socket.next_text();
        assert_eq!(field(&reply, "pid").as_deref(), Some(&*client.pid), "{reply}");
        assert_eq!(bench.seen(), Seen::Recovered(client.sid));
        socket.text(r#"42["ev",5]"#);
        assert!(socket.next_text().starts_with(r#"42["back",5,"#));
        drop(socket);
        assert_eq!(bench.seen(), Seen::Disconnected(client.sid, "transport close", true));
    }
    bench.node.stop();
}
