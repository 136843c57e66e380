//! A server with a store is killed and started again: clients of Socket.IO with recovery go on as after a lost connection,
//! histories are there, and what was acknowledged is not lost. And what is not written is not acknowledged.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::disk::{Fault, Faults};
use support::client::{Http, PATIENCE, WebSocket, field, get};
use trunkline::config::{EventRoute, RecoveryMode};
use trunkline::{Config, Server};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A directory that goes with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-surviving-{}-{name}", std::process::id()));
        let _not_there = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The program with a store, to be killed.
struct Program {
    child: Child,
    public: SocketAddr,
    private: SocketAddr,
}

impl Program {
    fn start(folder: &Folder, public: &str, shards: u8) -> Self {
        let (config, ready) = (folder.0.join("trunkline.toml"), folder.0.join("ready"));
        let text = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n\
                    [[channel]]\nfilter = \"kept/#\"\nhistory_messages_max = 3\n\
                    [[channel]]\nfilter = \"forgotten\"\nhistory_messages_max = 3\nhistory_durable = false\n";
        std::fs::write(&config, text).unwrap();
        let _not_there_the_first_time = std::fs::remove_file(&ready);
        let mut program = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        program.env_clear().arg("serve").arg("--config").arg(&config).arg("--ready-file").arg(&ready);
        let settings = [
            format!("server.public_listen={public}"),
            "server.private_listen=127.0.0.1:0".to_owned(),
            format!("server.shards={shards}"),
            "auth.mode=anonymous".to_owned(),
            format!("store.dir={}", folder.0.join("store").display()),
        ];
        for setting in settings {
            program.arg("--set").arg(setting);
        }
        Self::run(program, &ready)
    }

    fn run(mut program: Command, ready: &Path) -> Self {
        let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while !ready.exists() {
            assert!(begin.elapsed() < PATIENCE, "not ready in time");
            // The file has no event that can be waited for.
            std::thread::sleep(Duration::from_millis(5));
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(ready).unwrap()).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self { child, public: address("public"), private: address("private") }
    }

    /// SIGKILL, and the next one on the same port.
    fn kill(mut self, folder: &Folder, shards: u8) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Self::start(folder, &self.public.to_string(), shards)
    }

    fn publish(&self, channel: &str, number: u32) {
        let body = json!({ "channel": channel, "event": "news", "data": number }).to_string();
        let mut http = Http::connect(self.private);
        let json = [("content-type", "application/json")];
        http.send("POST", "/v1/messages", &json, Some(body.as_bytes()));
        let answer = http.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What a channel has kept, and its newest position.
    fn history(&self, channel: &str, query: &str) -> (u16, Value) {
        let answer = get(self.private, &format!("/v1/messages?channel={channel}{query}"));
        (answer.status, serde_json::from_str(answer.text()).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of a test that failed, or of the last one.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// A client and what it knows after a while.
struct Client {
    socket: WebSocket,
    sid: String,
    pid: String,
    offset: Option<String>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        let reply = socket.next_text();
        let (sid, pid) = (field(&reply, "sid").unwrap(), field(&reply, "pid").unwrap());
        Self { socket, sid, pid, offset: None }
    }

    /// The first argument of the next event, its offset noted.
    fn next(&mut self) -> Value {
        let packet = self.socket.next_text();
        self.read(&packet)
    }

    fn read(&mut self, packet: &str) -> Value {
        let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let mut values: Vec<Value> = serde_json::from_str(json).unwrap();
        self.offset = Some(values.pop().unwrap().as_str().unwrap().to_owned());
        values.remove(1)
    }

    /// Comes back: the first argument of each missed event, and whether the session is still the same.
    fn back(&mut self, address: SocketAddr) -> (Vec<Value>, bool) {
        self.socket = WebSocket::connect(address, SOCKET);
        self.socket.next_text();
        let offset =
            self.offset.as_ref().map(|offset| format!(r#","offset":"{offset}""#)).unwrap_or_default();
        self.socket.text(&format!(r#"40{{"pid":"{}"{offset}}}"#, self.pid));
        let mut missed = Vec::new();
        loop {
            let packet = self.socket.next_text();
            if packet.starts_with("40") {
                let same = field(&packet, "sid").as_ref() == Some(&self.sid);
                assert_eq!(same, field(&packet, "pid").as_ref() == Some(&self.pid));
                return (missed, same);
            }
            missed.push(self.read(&packet));
        }
    }

    /// Leaves without a word, and waits until the server knows.
    fn leave(&mut self, program: &Program, detached: u32) {
        self.socket.cut();
        let known = format!("\"detached\":{detached}");
        while !get(program.private, "/v1/server").text().contains(&known) {}
    }
}

#[test]
fn clients_recover_from_kills_and_get_what_they_missed_once() {
    let folder = Folder::new("kills");
    let first = Program::start(&folder, "127.0.0.1:0", 2);
    let (mut away, mut there) = (Client::new(first.public), Client::new(first.public));
    first.publish("main", 1);
    assert_eq!((away.next(), there.next()), (json!(1), json!(1)));
    away.leave(&first, 1);
    // Acknowledged by the home, so it is written.
    there.socket.text(r#"427["say",2]"#);
    assert_eq!(there.socket.next_text(), "437[]");
    first.publish("main", 3);
    assert_eq!(there.next(), json!(3));

    let second = first.kill(&folder, 2);
    second.publish("main", 4);
    // What it said itself is not for it.
    assert_eq!(there.back(second.public), (vec![json!(4)], true));
    second.publish("main", 5);
    assert_eq!(there.next(), json!(5));
    let third = second.kill(&folder, 2);
    assert_eq!(away.back(third.public), (vec![json!(2), json!(3), json!(4), json!(5)], true));
    third.publish("main", 6);
    assert_eq!(away.next(), json!(6));
    let fourth = third.kill(&folder, 2);
    assert_eq!(away.back(fourth.public), (vec![], true));
    assert_eq!(there.back(fourth.public), (vec![json!(6)], true));
}

#[test]
fn with_another_number_of_shards_clients_are_told_that_they_begin_anew() {
    let folder = Folder::new("shards");
    let first = Program::start(&folder, "127.0.0.1:0", 2);
    let mut client = Client::new(first.public);
    first.publish("main", 1);
    assert_eq!(client.next(), json!(1));
    let second = first.kill(&folder, 3);
    assert_eq!(client.back(second.public), (vec![], false));
}

#[test]
fn histories_go_on_under_their_positions_and_only_those_that_are_to() {
    let folder = Folder::new("histories");
    let first = Program::start(&folder, "127.0.0.1:0", 2);
    for number in 1..=5 {
        first.publish("kept/a", number);
        first.publish("forgotten", number);
    }
    let before = first.history("kept/a", "");
    let data = |told: &Value| -> Vec<i64> {
        told["items"].as_array().unwrap().iter().map(|item| item["args"][0].as_i64().unwrap()).collect()
    };
    assert_eq!((before.0, data(&before.1)), (200, vec![3, 4, 5]));
    let second = first.kill(&folder, 2);
    assert_eq!(second.history("kept/a", ""), before);
    assert_eq!(data(&second.history("forgotten", "").1), [0; 0]);
    second.publish("kept/a", 6);
    let position = before.1["position"].as_str().unwrap();
    let (status, after) = second.history("kept/a", &format!("&after={position}"));
    assert_eq!((status, data(&after)), (200, vec![6]));
}

/// A fault that lasts until it is taken away, and tells of each commit that had it.
struct Switch {
    fault: Mutex<Option<Fault>>,
    had: Sender<()>,
}

impl Switch {
    fn new() -> (Arc<Self>, Receiver<()>) {
        let (had, tries) = channel();
        (Arc::new(Self { fault: Mutex::new(None), had }), tries)
    }

    fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Faults for Switch {
    fn next_commit(&self) -> Option<Fault> {
        let fault = *self.fault.lock().unwrap();
        if fault.is_some() {
            // The test may be over.
            let _ = self.had.send(());
        }
        fault
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_event_is_acknowledged_when_it_is_written_and_reaches_who_is_there_before() {
    let folder = Folder::new("relay");
    let settings = [
        "server.shards=2".to_owned(),
        format!("store.dir={}", folder.0.join("store").display()),
        "auth.mode=anonymous".to_owned(),
        "server.drain_window_ms=0".to_owned(),
        "mqtt.sys_interval_seconds=0".to_owned(),
    ];
    let mut config = Config::embedded_with(&settings.each_ref().map(String::as_str)).unwrap();
    config.namespaces[0].recovery = RecoveryMode::Always;
    config.namespaces[0].events = EventRoute::Relay;
    let (switch, tries) = Switch::new();
    let server = Server::start_with_faults(config, switch.clone()).await.unwrap();
    let (mut speaker, mut listener) = (Client::new(server.public_addr()), Client::new(server.public_addr()));
    switch.set(Some(Fault::Full));
    speaker.socket.text(r#"427["say",1]"#);
    // It is delivered at once, and written when there is room again.
    assert_eq!(listener.next(), json!(1));
    (0..2).for_each(|_| tries.recv_timeout(PATIENCE).unwrap());
    assert!(speaker.socket.is_silent(), "nothing was written");
    // What wants no answer waits for nothing.
    speaker.socket.text(r#"42["say",2]"#);
    assert_eq!(listener.next(), json!(2));
    switch.set(None);
    assert_eq!(speaker.socket.next_text(), "437[]");
    server.drain().await;
}
