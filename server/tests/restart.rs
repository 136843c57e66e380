//! A server ends in order and another one starts: sessions that may be recovered go on, with every message that was
//! acknowledged, once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use hub::Topology;
use serde_json::{Value, json};
use support::client::{Http, PATIENCE, get};
use support::recovering::Recovering;
use support::whole::folder::Folder;
use support::whole::program::{Program, command};
use support::whole::until::{until, until_so};
use tokio::sync::mpsc;
use trunkline::config::{Config, RecoveryMode};
use trunkline::{Acceptance, Args, ClientEvent, Server, Session, SessionId};

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

    fn client(&self) -> Recovering {
        Recovering::new(self.server.public_addr())
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

/// The name of a client's session.
fn id(client: &Recovering) -> SessionId {
    client.sid.parse().unwrap()
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
    assert_eq!(site.told().await, Told::Event(id(&away), "join".into()));
    away.socket.cut();
    assert_eq!(site.told().await, Told::Gone(id(&away), true));
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
    assert_eq!(site.told().await, Told::Recovered(id(&away)));
    assert_eq!(there.back(address), ([4, 6].map(Value::from).to_vec(), true));
    assert_eq!(site.told().await, Told::Recovered(id(&there)));

    // The session is one like any other: events come, and the back end acts on it.
    there.socket.text(r#"428["join","later"]"#);
    assert_eq!(there.socket.next_text(), r#"438["joined"]"#);
    assert_eq!(site.told().await, Told::Event(id(&there), "join".into()));
    site.emit("later", json!([7]).into(), 2).await;
    assert_eq!((away.next(), there.next()), (vec![json!(7)], vec![json!(7)]));
    let session: Session = site.server.handle().session(id(&there), "/");
    assert_eq!(session.rooms().await.unwrap(), ["later", "r1"]);
    session.emit("news", json!([8])).await.unwrap();
    assert_eq!(there.next(), [json!(8)]);

    // Once more, with nothing missed by one of them.
    away.socket.cut();
    assert_eq!(site.told().await, Told::Gone(id(&away), true));
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
    assert_eq!(site.told().await, Told::Gone(id(&there), false));
    let site = site.restart(&folder.state(), 2).await;
    assert!(!there.back(address).1);
    assert!(away.back(address).1);
    site.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_kept_aside_and_everybody_gets_a_new_session() {
    let folder = Folder::new("unusable");
    let bad = folder.join("state.bad");
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
    let nowhere = site(&folder.join("nowhere/state"), address, 2).await;
    assert!(!client.back(address).1);
    nowhere.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_the_server_are_not_left_to_the_next() {
    let folder = Folder::new("figures");
    let site = Site::first(&folder.state(), 2).await;
    let figure = || get(site.server.private_addr(), "/v1/retained?channel=$SYS/broker/version").status;
    until_so("figures are published at the start", || figure() == 200);
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
    assert_eq!(late.told().await, Told::Expired(id(&client)));
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
        let is_told = |client: &Recovering| told.contains(&Told::Expired(id(client)));
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
    let mut clients: Vec<Recovering> = (0..12).map(|_| site.client()).collect();
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

/// The program with a file of states.
fn program(folder: &Folder, word: &str, public: &str, ready: &Path) -> Command {
    let config = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n";
    let settings = [
        &*format!("server.state_file={}", folder.state().display()),
        &format!("server.public_listen={public}"),
        "server.private_listen=127.0.0.1:0",
        "server.drain_window_ms=0",
        "server.shards=2",
    ];
    let mut program = command(folder, (word, config), ready, &settings);
    if word == "serve" {
        program.args(["--memory", "--set", "auth.mode=anonymous"]);
    }
    program
}

fn start(folder: &Folder, word: &str, public: &str) -> Program {
    let ready = folder.join("ready");
    Program::start(program(folder, word, public, &ready), &ready)
}

#[test]
fn the_program_hands_over_at_sigterm_with_serve_and_dev_alike() {
    for command in ["serve", "dev"] {
        let folder = Folder::new(command);
        let first = start(&folder, command, "127.0.0.1:0");
        let (mut away, mut there) = (Recovering::new(first.public), Recovering::new(first.public));
        there.socket.text(r#"421["news",1]"#);
        assert_eq!(there.socket.next_text(), "431[]");
        assert_eq!(away.next(), [json!(1)]);
        away.socket.cut();
        let mut http = Http::connect(first.private);
        // Until the server knows that the connection is gone, the message is only delivered.
        let is_known = || !get(first.private, "/v1/server").text().contains("\"detached\":0");
        until_so("the server knows that the client is gone", is_known);
        assert_eq!(publish(&mut http, 3), Some(200));
        assert_eq!(there.next(), [json!(3)]);
        let public = first.public.to_string();
        first.stop();
        let second = start(&folder, command, &public);
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
    let first = start(&folder, "serve", "127.0.0.1:0");
    let mut client = Recovering::new(first.public);
    let public = first.public.to_string();
    first.stop();
    let nowhere = folder.join("nowhere/ready");
    let mut failing = program(&folder, "serve", &public, &nowhere);
    assert!(!failing.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert!(folder.state().exists());
    let second = start(&folder, "serve", &public);
    assert!(client.back(second.public).1);
    second.stop();
}

#[test]
fn a_second_signal_ends_the_process_while_connections_are_still_being_closed() {
    let folder = Folder::new("twice");
    let ready = folder.join("ready");
    let mut command = program(&folder, "serve", "127.0.0.1:0", &ready);
    command.args(["--set", "server.drain_window_ms=3600000"]);
    let mut program = Program::start(command, &ready);
    let _client = Recovering::new(program.public);
    until("the second signal ends it", || {
        // Signals that come at the same time are one.
        program.terminate();
        program.ended()
    });
    assert!(!folder.state().exists());
}
