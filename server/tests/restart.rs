//! A server ends in order and another one starts: sessions that may be recovered go on, with every message that was
//! acknowledged, once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hub::Topology;
use serde_json::{Value, json};
use support::client::{Http, PATIENCE, WebSocket, field, get};
use tokio::sync::mpsc;
use trunkline::config::{Config, RecoveryMode};
use trunkline::{Acceptance, Args, ClientEvent, Server, Session, SessionId};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A folder that goes with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-restart-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

/// What the back end was told, connects left out.
#[derive(Debug, PartialEq)]
enum Told {
    Event(SessionId, String),
    Recovered(SessionId),
    Gone(SessionId, bool),
    Expired(SessionId),
}

struct Site {
    server: Server,
    told: mpsc::UnboundedReceiver<Told>,
}

/// Everybody is bob and in room r1; an event `join` joins the room it names and is acknowledged.
async fn site(state_file: &Path, address: SocketAddr, shards: u8) -> Site {
    site_with(state_file, address, shards, "server.node_id=0").await
}

/// With one more setting.
async fn site_with(state_file: &Path, address: SocketAddr, shards: u8, setting: &str) -> Site {
    let settings = [
        format!("server.public_listen={address}"),
        format!("server.shards={shards}"),
        format!("server.state_file={}", state_file.display()),
        "server.drain_window_ms=0".to_owned(),
        setting.to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut config = Config::embedded_with(&settings).unwrap();
    config.namespaces[0].recovery = RecoveryMode::Always;
    let mut server = Server::start(config).await.unwrap();
    let mut events = server.events().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let one = match event {
                ClientEvent::Connect(connect) => {
                    let rooms = vec!["r1".to_owned()];
                    let bob = Acceptance { user: Some("bob".into()), rooms, ..Acceptance::default() };
                    connect.accept_with(bob).await.unwrap();
                    continue;
                }
                ClientEvent::Event(event) => {
                    if event.name == "join" {
                        let room = event.args.to_values()[0].as_str().unwrap().to_owned();
                        event.session.join(&room).await.unwrap();
                        event.reply.unwrap().send("joined").await.unwrap();
                    }
                    Told::Event(event.session.id(), event.name)
                }
                ClientEvent::Recovered(session) => Told::Recovered(session.id()),
                ClientEvent::Disconnect(gone) => Told::Gone(gone.session.id(), gone.resumable),
                ClientEvent::Expired(session) => Told::Expired(session.id()),
                other => panic!("{other:?}"),
            };
            // The test may be over.
            let _ = tell.send(one);
        }
    });
    Site { server, told }
}

impl Site {
    async fn first(state_file: &Path, shards: u8) -> Self {
        site(state_file, ([127, 0, 0, 1], 0).into(), shards).await
    }

    /// Ends it, and starts the next one on the same port.
    async fn restart(self, state_file: &Path, shards: u8) -> Self {
        let address = self.server.public_addr();
        self.server.drain().await;
        site(state_file, address, shards).await
    }

    fn client(&self) -> Client {
        Client::new(self.server.public_addr())
    }

    async fn told(&mut self) -> Told {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("the back end is told").unwrap()
    }

    /// To a room, and that it reached or will reach so many.
    async fn emit(&self, room: &str, args: Args, sessions: u32) {
        let delivery = self.server.handle().of("/").to(room).emit("news", args).await.unwrap();
        assert_eq!(delivery.counts.delivered + delivery.counts.queued, sessions, "{delivery:?}");
    }

    async fn news(&self, number: u32, sessions: u32) {
        self.emit("r1", json!([number]).into(), sessions).await;
    }
}

/// A client and what it knows after a while.
struct Client {
    socket: WebSocket,
    sid: SessionId,
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
        Self { socket, sid: sid.parse().unwrap(), pid, offset: None }
    }

    /// The next event's arguments, its offset noted.
    fn next(&mut self) -> Vec<Value> {
        let packet = self.socket.next_text();
        self.read(&packet)
    }

    fn read(&mut self, packet: &str) -> Vec<Value> {
        let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let mut values: Vec<Value> = serde_json::from_str(json).unwrap();
        self.offset = Some(values.pop().unwrap().as_str().unwrap().to_owned());
        values.remove(0);
        values
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
                let same = field(&packet, "sid") == Some(self.sid.to_string());
                assert_eq!(same, field(&packet, "pid").as_ref() == Some(&self.pid));
                return (missed, same);
            }
            missed.push(self.read(&packet).remove(0));
        }
    }
}

/// One test for the whole life of sessions, since each part needs the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_on_and_miss_nothing_restart_after_restart() {
    let folder = Folder::new("go-on");
    let mut site = Site::first(&folder.state(), 2).await;
    let (mut away, mut there) = (site.client(), site.client());
    site.news(1, 2).await;
    assert_eq!((away.next(), there.next()), (vec![json!(1)], vec![json!(1)]));
    away.socket.text(r#"427["join","later"]"#);
    assert_eq!(away.socket.next_text(), r#"437["joined"]"#);
    assert_eq!(site.told().await, Told::Event(away.sid, "join".into()));
    away.socket.cut();
    assert_eq!(site.told().await, Told::Gone(away.sid, true));
    // Seen by the one that is there, missed by the other.
    site.news(2, 2).await;
    site.emit("later", json!([3]).into(), 1).await;
    assert_eq!(there.next(), [json!(2)]);

    let mut site = site.restart(&folder.state(), 2).await;
    assert!(!folder.state().exists(), "used once");
    // Before anybody came back: who restores is subscribed.
    site.news(4, 2).await;
    site.emit("later", json!([5]).into(), 1).await;
    let bob = site.server.handle().user("bob").emit("news", json!([6])).await.unwrap();
    assert_eq!(bob.counts.queued, 2, "the user is known");
    let address = site.server.public_addr();
    assert_eq!(away.back(address), ([2, 3, 4, 5, 6].map(Value::from).to_vec(), true));
    assert_eq!(site.told().await, Told::Recovered(away.sid));
    assert_eq!(there.back(address), ([4, 6].map(Value::from).to_vec(), true));
    assert_eq!(site.told().await, Told::Recovered(there.sid));

    // The session is one like any other: events come, and the back end acts on it.
    there.socket.text(r#"428["join","later"]"#);
    assert_eq!(there.socket.next_text(), r#"438["joined"]"#);
    assert_eq!(site.told().await, Told::Event(there.sid, "join".into()));
    site.emit("later", json!([7]).into(), 2).await;
    assert_eq!((away.next(), there.next()), (vec![json!(7)], vec![json!(7)]));
    let session: Session = site.server.handle().session(there.sid, "/");
    assert_eq!(session.rooms().await.unwrap(), ["later", "r1"]);
    session.emit("news", json!([8])).await.unwrap();
    assert_eq!(there.next(), [json!(8)]);

    // Once more, with nothing missed by one of them.
    away.socket.cut();
    assert_eq!(site.told().await, Told::Gone(away.sid, true));
    site.emit("later", json!([9]).into(), 2).await;
    assert_eq!(there.next(), [json!(9)]);
    let mut site = site.restart(&folder.state(), 2).await;
    assert_eq!(there.back(address), (vec![], true));
    assert_eq!(away.back(address), (vec![json!(9)], true));
    for _ in 0..2 {
        assert!(matches!(site.told().await, Told::Recovered(_)));
    }
    // Who said goodbye is gone for good.
    there.socket.text("41");
    assert_eq!(site.told().await, Told::Gone(there.sid, false));
    let site = site.restart(&folder.state(), 2).await;
    assert!(!there.back(address).1);
    assert!(away.back(address).1);
    site.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_kept_aside_and_everybody_gets_a_new_session() {
    let folder = Folder::new("unusable");
    let bad = folder.0.join("state.bad");
    let first = Site::first(&folder.state(), 2).await;
    let address = first.server.public_addr();
    let mut client = first.client();
    first.server.drain().await;
    let bytes = std::fs::read(folder.state()).unwrap();

    std::fs::write(folder.state(), &bytes[..bytes.len() - 1]).unwrap();
    let torn = site(&folder.state(), address, 2).await;
    assert!(!client.back(address).1, "nothing was restored");
    assert_eq!(std::fs::read(&bad).unwrap(), bytes[..bytes.len() - 1]);
    torn.server.drain().await;

    std::fs::write(folder.state(), &bytes).unwrap();
    let smaller = site(&folder.state(), address, 1).await;
    assert!(!client.back(address).1, "another number of shards");
    assert_eq!(std::fs::read(&bad).unwrap(), bytes);
    smaller.server.drain().await;

    // A folder that is not there costs the sessions, not the server.
    let nowhere = site(&folder.0.join("nowhere/state"), address, 2).await;
    assert!(!client.back(address).1);
    nowhere.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_the_server_are_not_left_to_the_next() {
    let folder = Folder::new("figures");
    let site = Site::first(&folder.state(), 2).await;
    let deadline = Instant::now() + PATIENCE;
    while get(site.server.private_addr(), "/v1/retained?channel=$SYS/broker/version").status != 200 {
        assert!(Instant::now() < deadline, "figures are published at the start");
        tokio::task::yield_now().await;
    }
    site.server.drain().await;
    assert!(!folder.state().exists(), "there is nothing to go on with");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stayed_away_too_long_is_told_of_as_expired() {
    let folder = Folder::new("expired");
    let topology = Topology { shards: 1, partitions: 64 };
    let first = Site::first(&folder.state(), 1).await;
    let address = first.server.public_addr();
    let mut client = first.client();
    first.server.drain().await;
    let (place, found) = trunkline::state::Place::open(&folder.state(), topology).unwrap();
    let (mut state, taken) = found.unwrap();
    taken.used();
    assert_eq!(state.session_count(), 1);
    // The window is two minutes.
    state.saved_at_ms -= 121_000;
    place.save(&state).unwrap();
    drop(place);
    let mut late = site(&folder.state(), address, 1).await;
    assert_eq!(late.told().await, Told::Expired(client.sid));
    assert!(!client.back(address).1);
    late.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_end_that_was_cut_nobody_is_told_that_nothing_is_missing() {
    let folder = Folder::new("cut");
    let topology = Topology { shards: 1, partitions: 64 };
    let first = Site::first(&folder.state(), 1).await;
    let address = first.server.public_addr();
    let (mut silent, mut seen) = (first.client(), first.client());
    first.news(1, 2).await;
    assert_eq!(seen.next(), [json!(1)]);
    first.server.drain().await;
    let (place, found) = trunkline::state::Place::open(&folder.state(), topology).unwrap();
    let (mut state, taken) = found.unwrap();
    taken.used();
    state.doubt();
    place.save(&state).unwrap();
    drop(place);
    let second = site(&folder.state(), address, 1).await;
    second.news(2, 2).await;
    // Neither who has everything there was, nor who has nothing.
    assert!(!seen.back(address).1 && !silent.back(address).1);
    second.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_taken_in_is_told_of_as_expired() {
    for (setting, gone) in [("socketio.root_channel=other", 2), ("limits.sessions_max=1", 1)] {
        let folder = Folder::new("no-place");
        let first = Site::first(&folder.state(), 1).await;
        let address = first.server.public_addr();
        let mut clients = [first.client(), first.client()];
        first.server.drain().await;
        let mut second = site_with(&folder.state(), address, 1, setting).await;
        let mut told = Vec::new();
        for _ in 0..gone {
            told.push(second.told().await);
        }
        let is_told = |client: &Client| told.contains(&Told::Expired(client.sid));
        assert_eq!(clients.iter().filter(|client| is_told(client)).count(), gone, "{setting}: {told:?}");
        match clients.iter_mut().find(|client| !is_told(client)) {
            Some(other) => assert!(other.back(address).1, "the other goes on"),
            None => assert!(!clients[0].back(address).1),
        }
        second.server.drain().await;
    }
}

/// A message to one channel, or to two that may have different homes.
fn publish(http: &mut Http, number: u32) -> Option<u16> {
    let to =
        if number.is_multiple_of(3) { json!({"channels": ["main", "r1"]}) } else { json!({"channel": "r1"}) };
    let mut body = to;
    body["event"] = "news".into();
    body["data"] = number.into();
    let headers = [("content-type", "application/json")];
    http.try_exchange("POST", "/v1/messages", &headers, body.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_while_the_server_ended_is_delivered_by_the_next() {
    let folder = Folder::new("acknowledged");
    let mut total = 0;
    let mut site = Site::first(&folder.state(), 3).await;
    let mut clients: Vec<Client> = (0..12).map(|_| site.client()).collect();
    for round in 0..3 {
        let private = site.server.private_addr();
        let (first, started) = std::sync::mpsc::channel();
        let publisher = std::thread::spawn(move || {
            let mut http = Http::connect(private);
            let mut acknowledged = Vec::new();
            let mut number = round * 1_000_000;
            while let Some(200) = publish(&mut http, number) {
                acknowledged.push(number);
                // The test waits for the first only.
                let _ = first.send(());
                number += 1;
            }
            acknowledged
        });
        started.recv_timeout(PATIENCE).unwrap();
        let address = site.server.public_addr();
        site = site.restart(&folder.state(), 3).await;
        let acknowledged = publisher.join().unwrap();
        total += acknowledged.len();
        for client in &mut clients {
            let mut got = client.rest();
            let (missed, same) = client.back(address);
            assert!(same, "recovered in round {round}");
            got.extend(missed);
            let mut times: BTreeMap<u32, u32> = BTreeMap::new();
            for number in &got {
                *times.entry(u32::try_from(number.as_u64().unwrap()).unwrap()).or_default() += 1;
            }
            assert!(times.values().all(|times| *times == 1), "twice: {times:?}");
            let lost: Vec<_> = acknowledged.iter().filter(|number| !times.contains_key(number)).collect();
            assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
        }
    }
    assert!(total >= 3);
    site.server.drain().await;
}

impl Client {
    /// What comes until the server closes the connection.
    fn rest(&mut self) -> Vec<Value> {
        let mut got = Vec::new();
        while let Some(packet) = self.socket.next_text_or_end() {
            if packet.starts_with("42") {
                got.push(self.read(&packet).remove(0));
            }
        }
        got
    }
}

/// The program, run by its name and ended by a signal.
struct Program {
    child: Child,
    public: SocketAddr,
    private: SocketAddr,
}

impl Program {
    fn command(folder: &Folder, command: &str, public: &str, ready: &Path) -> Command {
        let config = folder.0.join("trunkline.toml");
        let text = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n";
        std::fs::write(&config, text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        program.env_clear().arg(command).arg("--config").arg(&config).arg("--ready-file").arg(ready);
        let state = format!("server.state_file={}", folder.state().display());
        let public = format!("server.public_listen={public}");
        let settings = ["server.private_listen=127.0.0.1:0", "server.drain_window_ms=0", "server.shards=2"];
        for setting in settings.into_iter().chain([&*state, &*public]) {
            program.arg("--set").arg(setting);
        }
        if command == "serve" {
            program.arg("--memory").arg("--set").arg("auth.mode=anonymous");
        }
        program
    }

    fn start(folder: &Folder, command: &str, public: &str) -> Self {
        let program = Self::command(folder, command, public, &folder.0.join("ready"));
        let ready = folder.0.join("ready");
        let _not_there_the_first_time = std::fs::remove_file(&ready);
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

    fn stop(mut self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success() && self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of a test that failed; otherwise it has ended.
        let _already_gone = self.child.kill();
    }
}

#[test]
fn the_program_hands_over_at_sigterm_with_serve_and_dev_alike() {
    for command in ["serve", "dev"] {
        let folder = Folder::new(command);
        let first = Program::start(&folder, command, "127.0.0.1:0");
        let (mut away, mut there) = (Client::new(first.public), Client::new(first.public));
        there.socket.text(r#"421["news",1]"#);
        assert_eq!(there.socket.next_text(), "431[]");
        assert_eq!(away.next(), [json!(1)]);
        away.socket.cut();
        let mut http = Http::connect(first.private);
        // Until the server knows that the connection is gone, the message is only delivered.
        while get(first.private, "/v1/server").text().contains("\"detached\":0") {}
        assert_eq!(publish(&mut http, 3), Some(200));
        assert_eq!(there.next(), [json!(3)]);
        let public = first.public.to_string();
        first.stop();
        let second = Program::start(&folder, command, &public);
        assert!(!folder.state().exists());
        assert_eq!(publish(&mut Http::connect(second.private), 6), Some(200));
        assert_eq!(away.back(second.public), (vec![json!(3), json!(6)], true), "{command}");
        assert_eq!(there.back(second.public), (vec![json!(6)], true), "{command}");
        second.stop();
    }
}

/// Such a start has taken the file already.
#[test]
fn a_start_that_fails_late_leaves_the_sessions_to_the_next() {
    let folder = Folder::new("late");
    let first = Program::start(&folder, "serve", "127.0.0.1:0");
    let mut client = Client::new(first.public);
    let public = first.public.to_string();
    first.stop();
    let nowhere = folder.0.join("nowhere/ready");
    let mut failing = Program::command(&folder, "serve", &public, &nowhere);
    assert!(!failing.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert!(folder.state().exists());
    let second = Program::start(&folder, "serve", &public);
    assert!(client.back(second.public).1);
    second.stop();
}

#[test]
fn a_second_signal_ends_the_process_while_connections_are_still_being_closed() {
    let folder = Folder::new("twice");
    let ready = folder.0.join("ready");
    let mut command = Program::command(&folder, "serve", "127.0.0.1:0", &ready);
    command.arg("--set").arg("server.drain_window_ms=3600000");
    let mut program = Program::run(command, &ready);
    let _client = Client::new(program.public);
    let begin = Instant::now();
    // Signals that come at the same time are one.
    while program.child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "still there");
        let kill = Command::new("kill").arg("-TERM").arg(program.child.id().to_string()).status();
        assert!(kill.unwrap().success());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!folder.state().exists());
}
