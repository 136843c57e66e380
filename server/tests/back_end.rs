//! What a back end may send: refused where clients would close their connection at it, unchanged otherwise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::client::{Answer, Http, WebSocket, field};
use support::whole::until::until;
use trunkline::{Args, ClientEvent, Config, Events, Invalid, OfficeError, Refusal, Server};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

struct Bench {
    server: Server,
    private: SocketAddr,
}

/// Everybody is let in, into the room that `auth.room` names; an event is answered by eleven binary values.
async fn serve(events: Events) {
    let answer = |event| async {
        match event {
            ClientEvent::Connect(connect) => {
                let room = connect.auth["room"].as_str().unwrap_or("r").to_owned();
                let acceptance = trunkline::Acceptance { rooms: vec![room], ..Default::default() };
                drop(connect.accept_with(acceptance).await.unwrap());
            }
            ClientEvent::Event(event) => {
                let sent = event.reply.unwrap().send(binaries(11)).await;
                assert_eq!(sent, Err(OfficeError::Invalid(Invalid::Attachments)));
                event.session.emit("refused", "yes").await.unwrap();
            }
            _ => {}
        }
    };
    events.serve(answer).await;
}

fn start() -> (Bench, SocketAddr) {
    let config = Config::embedded_with(&["server.shards=2", "server.drain_window_ms=0"]).unwrap();
    let runtime = tokio::runtime::Handle::current();
    let mut server = tokio::task::block_in_place(|| runtime.block_on(Server::start(config))).unwrap();
    tokio::spawn(serve(server.events().unwrap()));
    let (private, public) = (server.private_addr(), server.public_addr());
    (Bench { server, private }, public)
}

impl Bench {
    fn request(&self, method: &str, target: &str, body: Option<&str>) -> Answer {
        let mut http = Http::connect(self.private);
        http.send(method, target, &[("content-type", "application/json")], body.map(str::as_bytes));
        http.answer()
    }

    fn publish(&self, body: &str) -> (u16, Value) {
        let answer = self.request("POST", "/v1/messages", Some(body));
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    fn refused(&self, body: &str, status: u16, code: &str) {
        let (got, problem) = self.publish(body);
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{body}");
    }

    /// How many sessions it reached.
    fn reached(&self, body: &str) -> Value {
        let (status, answer) = self.publish(body);
        assert_eq!(status, 200, "{answer}");
        answer["results"][0]["delivered"].clone()
    }
}

fn binaries(count: usize) -> Args {
    Args::from_values(vec![json!({ "$binary": "AQI=" }); count]).unwrap()
}

fn connected(public: SocketAddr, room: &str) -> (WebSocket, String) {
    let mut socket = WebSocket::connect(public, SOCKET);
    socket.next_text();
    socket.text(&format!(r#"40{{"room":"{room}"}}"#));
    let id = field(&socket.next_text(), "sid").unwrap();
    (socket, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_at_which_clients_close_their_connection() {
    let (bench, public) = start();
    let (mut socket, _) = connected(public, "r");
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        bench.refused(&json!({ "channel": "r", "event": name }).to_string(), 422, "invalid-event");
        let emitted = bench.server.handle().of("/").to("r").send(name, Args::none()).await;
        assert_eq!(emitted, Err(OfficeError::Invalid(Invalid::Event)));
    }
    let eleven = vec![json!({ "$binary": "AQI=" }); 11];
    bench.refused(&json!({ "channel": "r", "args": eleven }).to_string(), 422, "over-limit");
    let emitted = bench.server.handle().of("/").to("r").send("x", binaries(11)).await;
    assert_eq!(emitted, Err(OfficeError::Invalid(Invalid::Attachments)));
    socket.text(r#"421["ask"]"#);
    assert_eq!(socket.next_text(), r#"42["refused","yes"]"#, "nothing else came, and no answer");
    // Streams have no way to tell an empty name, so REST, by which messages go to every protocol, takes none; to Socket.IO it is like any other.
    bench.refused(r#"{"channel":"r","event":""}"#, 422, "invalid-event");
    bench.server.handle().of("/").to("r").send("", Args::none()).await.unwrap();
    assert_eq!(socket.next_text(), r#"42[""]"#);
    bench.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_depth_max_holds_for_the_back_end_too() {
    let (bench, _) = start();
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    bench.reached(&format!(r#"{{"channel":"r","args":{}}}"#, nested(64)));
    for levels in [65, 100_000] {
        bench.refused(&format!(r#"{{"channel":"r","args":{}}}"#, nested(levels)), 400, "malformed");
    }
    let deep: Value = serde_json::from_str(&nested(65)).unwrap();
    let emitted = bench.server.handle().of("/").to("r").emit("x", deep).await;
    assert_eq!(emitted.unwrap_err(), OfficeError::Invalid(Invalid::Depth));
    bench.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_names_work_wherever_channels_are_listed() {
    let (bench, public) = start();
    let (mut one, id) = connected(public, "r");
    let (mut two, other) = connected(public, "s");
    assert_eq!(bench.reached(&format!(r#"{{"channels":["r","$client/{other}","$client/{id}"]}}"#)), 2);
    assert_eq!((one.next_text(), two.next_text()), (r#"42["message"]"#.into(), r#"42["message"]"#.into()));
    let delivery = bench.server.handle().of("/").to("r").to(&other).emit("x", Args::none()).await.unwrap();
    assert_eq!(delivery.counts.delivered + delivery.counts.queued, 2);
    let session = other.parse().unwrap();
    let delivery =
        bench.server.handle().of("/").session(session).to("r").emit("x", Args::none()).await.unwrap();
    assert_eq!(delivery.counts.delivered + delivery.counts.queued, 2);
    assert_eq!(bench.reached(&format!(r#"{{"channels":["r","s"],"except_channels":["$client/{id}"]}}"#)), 1);
    let listed = bench.request("GET", &format!("/v1/sessions?channel=$client/{other}"), None);
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!((&listed["items"][0]["id"], listed["items"].as_array().unwrap().len()), (&json!(other), 1));
    let join = format!(r#"{{"members_of":"$client/{other}","channel":"t"}}"#);
    assert_eq!(bench.request("PUT", "/v1/subscriptions", Some(&join)).text(), r#"{"count":1}"#);
    bench.refused(r#"{"channels":["r","$sys/x"]}"#, 403, "reserved-channel");
    bench.refused(r#"{"channels":["r","$client/x"]}"#, 404, "not-found");
    let reserved = bench.server.handle().channel("$sys/x").unwrap().send("x", Args::none()).await;
    assert_eq!(reserved, Err(OfficeError::Invalid(Invalid::Target(Refusal::ReservedChannel))));
    bench.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_reaches_clients_as_the_back_end_wrote_it() {
    let (bench, public) = start();
    let (mut socket, _) = connected(public, "r");
    bench.reached(r#"{"channel":"r","data":{"z": 123456789012345678901234567890, "a": 1.10}}"#);
    assert_eq!(socket.next_text(), r#"42["message",{"z":123456789012345678901234567890,"a":1.10}]"#);
    bench.reached(r#"{"channel":"r","args":[{"z":18446744073709551616,"a":{"$binary":"AQI="}},null]}"#);
    let expected = r#"451-["message",{"z":18446744073709551616,"a":{"_placeholder":true,"num":0}},null]"#;
    assert_eq!(socket.next_text(), expected);
    bench.server.drain().await;
}

#[test]
fn dev_tells_what_is_wrong_with_a_join_and_relays_it_to_nobody() {
    let ready = std::env::temp_dir().join(format!("trunkline-dev-join-{}.json", std::process::id()));
    let dev = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(dev).arg(&ready).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut server = command.spawn().unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let addresses: Value = until("the server is ready", || {
            serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).ok()
        });
        let public = addresses["public"].as_str().unwrap().parse().unwrap();
        let ((mut one, _), (mut two, _)) = (connected(public, "r"), connected(public, "r"));
        for (number, packet) in [r#"["join"]"#, r#"["leave",{"room":"r"}]"#].into_iter().enumerate() {
            one.text(&format!("42{number}{packet}"));
            let expected = format!(r#"43{number}[{{"error":"the name of one room is expected"}}]"#);
            assert_eq!(one.next_text(), expected);
        }
        one.text(r#"42["hello"]"#);
        assert_eq!(two.next_text(), r#"42["hello"]"#);
    });
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_file(&ready).unwrap();
    outcome.unwrap();
}
