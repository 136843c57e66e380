//! The embedding API against a raw client: what a program sees and what the client sees of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{PATIENCE, WebSocket, field, get, post};
use support::whole::until::until;
use tokio::sync::Mutex;
use trunkline::{Acceptance, Args, ClientEvent, Config, Event, Events, OfficeError, Refusal, Server};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket&colour=blue";

async fn start(settings: &[&str]) -> (Server, Events, SocketAddr) {
    let mut server = Server::start(Config::embedded_with(settings).unwrap()).await.unwrap();
    let events = server.events().unwrap();
    let address = server.public_addr();
    (server, events, address)
}

/// A client that speaks while the program listens: the raw client blocks, so it has a thread.
async fn client<T: Send + 'static>(
    address: SocketAddr,
    script: impl FnOnce(WebSocket) -> T + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(move || script(WebSocket::connect(address, SOCKET))).await.unwrap()
}

async fn next_event(events: &mut Events) -> Event {
    match events.next().await {
        Some(ClientEvent::Event(event)) => event,
        other => panic!("an event was expected, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_accepts_answers_asks_and_hears_of_the_end() {
    let (server, mut events, address) = start(&["server.shards=2"]).await;
    let client = tokio::spawn(client(address, |mut socket| {
        socket.next_text();
        socket.text(r#"40{"token":"t"}"#);
        let id = field(&socket.next_text(), "sid").unwrap();
        socket.text(r#"427["add",1,2]"#);
        assert_eq!(socket.next_text(), "437[3]");
        let question = socket.next_text();
        let (ask, rest) = question.strip_prefix("42").unwrap().split_once('[').unwrap();
        assert_eq!(rest, r#""colour?"]"#);
        socket.text(&format!(r#"43{ask}["red"]"#));
        socket.text("41");
        id
    }));
    let Some(ClientEvent::Connect(connect)) = events.next().await else { panic!("a connect was expected") };
    assert_eq!(connect.auth, json!({ "token": "t" }));
    assert_eq!(&*connect.handshake.query[0].0, "colour");
    let acceptance =
        Acceptance { user: Some("ada".into()), rooms: vec!["tea".into()], ..Acceptance::default() };
    let session = connect.accept_with(acceptance).await.unwrap();
    let event = next_event(&mut events).await;
    let (a, b) = event.args.parse::<(u32, u32)>().unwrap();
    assert_eq!((event.name.as_str(), event.session.id()), ("add", session.id()));
    event.reply.unwrap().send(json!([a + b])).await.unwrap();
    assert_eq!(session.rooms().await.unwrap(), ["tea"]);
    let reply = session.ask("colour?", Args::none(), Duration::from_secs(10)).await.unwrap();
    assert_eq!(reply.unwrap().to_values(), [json!("red")]);
    let Some(ClientEvent::Disconnect(gone)) = events.next().await else {
        panic!("a disconnect was expected")
    };
    assert_eq!((gone.reason, gone.resumable), ("client namespace disconnect", false));
    assert_eq!(client.await.unwrap(), session.id().to_string());
    assert_eq!(session.emit("late", "x").await.unwrap_err(), OfficeError::Refused(Refusal::NotFound));
    server.drain().await;
    assert!(events.next().await.is_none(), "the stream ends with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_message_and_data() {
    let (server, mut events, address) = start(&[]).await;
    let client = tokio::spawn(client(address, |mut socket| {
        socket.next_text();
        socket.text("40");
        socket.next_text()
    }));
    let Some(ClientEvent::Connect(connect)) = events.next().await else { panic!("a connect was expected") };
    assert_eq!(connect.auth, Value::Null);
    connect.refuse("members only", Some(json!({ "code": 7 }))).await.unwrap();
    let refusal: Value = serde_json::from_str(client.await.unwrap().strip_prefix("44").unwrap()).unwrap();
    assert_eq!(refusal, json!({ "message": "members only", "data": { "code": 7 } }));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_one_session_run_in_order_and_a_burst_over_the_inbox_limit_loses_nothing() {
    const BURST: u32 = 2_000;
    let (server, events, address) = start(&["limits.inbox_events_max=10"]).await;
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&handled);
    let serving = tokio::spawn(events.serve(move |event| {
        let log = Arc::clone(&log);
        async move {
            match event {
                ClientEvent::Connect(connect) => drop(connect.accept().await.unwrap()),
                ClientEvent::Event(Event { args, reply, .. }) => {
                    tokio::task::yield_now().await;
                    log.lock().await.push(args.parse::<(u32,)>().unwrap().0);
                    if let Some(reply) = reply {
                        reply.send("all").await.unwrap();
                    }
                }
                _ => {}
            }
        }
    }));
    let last = client(address, |mut socket| {
        socket.next_text();
        socket.text("40");
        socket.next_text();
        for number in 0..BURST {
            socket.text(&format!(r#"42["n",{number}]"#));
        }
        socket.text(&format!(r#"421["n",{BURST}]"#));
        socket.next_text()
    });
    assert_eq!(last.await, r#"431["all"]"#);
    assert_eq!(*handled.lock().await, (0..=BURST).collect::<Vec<_>>());
    server.drain().await;
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_of_a_server_that_drains_hears_503() {
    use std::io::{Read as _, Write as _};
    let (server, events, address) = start(&["server.drain_window_ms=3000", "auth.mode=anonymous"]).await;
    drop(events);
    let (clients, draining) = tokio::join!(
        // So many that they do not all end before the handshakes below.
        tokio::task::spawn_blocking(move || [(); 20].map(|()| WebSocket::connect(address, SOCKET))),
        async { server },
    );
    let _clients = clients.unwrap();
    let drained = tokio::spawn(draining.drain());
    let heard = tokio::task::spawn_blocking(move || {
        loop {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n";
            stream.write_all(format!("{request}connection: close\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            if !answer.starts_with("HTTP/1.1 200 ") {
                return answer.to_ascii_lowercase();
            }
        }
    });
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("http/1.1 503 "), "{heard}");
    assert!(heard.contains("\r\nretry-after: ") && heard.contains("\r\nconnection: close"), "{heard}");
    drained.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_the_root_cannot_be_another_namespace() {
    let (server, _events, _) = start(&[]).await;
    let whole = server.handle().of("/").to("main").emit("x", Args::none()).await;
    assert_eq!(whole.unwrap_err(), OfficeError::Refused(Refusal::ReservedChannel));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_stream_of_events_and_names_are_checked() {
    let (mut server, _events, _) = start(&[]).await;
    assert!(server.events().is_err());
    let handle = server.handle();
    assert_eq!(handle.channel("a/#").err(), Some(Refusal::InvalidChannel));
    let refused = handle.of("/").to("").emit("x", Args::none()).await;
    assert_eq!(refused.unwrap_err(), OfficeError::Refused(Refusal::InvalidChannel));
    let nobody = handle.of("/").to("empty").emit("x", Args::none()).await.unwrap();
    assert_eq!((nobody.counts.delivered, nobody.counts.queued), (0, 0));
    let wrong = Config::embedded_with(&["server.shards=many"]).unwrap_err().to_string();
    assert!(wrong.contains("server.shards"), "{wrong}");
    server.drain().await;
}

/// A program that only publishes. The bounded way for events must not fill up and stop the public port.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_takes_the_events_still_serves() {
    let settings = ["auth.mode=anonymous", "server.shards=1"];
    let server = Server::start(Config::embedded_with(&settings).unwrap()).await.unwrap();
    let address = server.public_addr();
    let coming_and_going = tokio::task::spawn_blocking(move || {
        for _ in 0..2_000 {
            let mut socket = WebSocket::connect(address, SOCKET);
            socket.next_text();
            socket.text("40");
            assert!(socket.next_text().starts_with("40{"));
        }
    });
    coming_and_going.await.unwrap();
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_connect_while_nobody_listens_is_closed_and_comes_back() {
    let mut server = Server::start(Config::embedded()).await.unwrap();
    let address = server.public_addr();
    client(address, |mut socket| {
        socket.next_text();
        socket.text("40");
        socket.until_closed();
    })
    .await;
    let mut events = server.events().unwrap();
    let back = tokio::spawn(client(address, |mut socket| {
        socket.next_text();
        socket.text("40");
        socket.next_text()
    }));
    loop {
        match events.next().await {
            Some(ClientEvent::Connect(connect)) => break drop(connect.accept().await.unwrap()),
            Some(ClientEvent::Disconnect(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(back.await.unwrap().starts_with("40{"));
    server.drain().await;
}

/// Takes the 5 s after which a stalled shard counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_program_takes_no_more_events_is_not_ready() {
    let (server, events, address) = start(&["auth.mode=anonymous", "server.shards=1"]).await;
    let private = server.private_addr();
    let ready = move || get(private, "/health/ready");
    assert_eq!(tokio::task::spawn_blocking(ready).await.unwrap().status, 200);
    let flooding = tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        socket.next_text();
        let event = format!(r#"42["e","{}"]"#, "x".repeat(900_000));
        let mut writer = socket.writer();
        std::thread::spawn(move || (0..40).for_each(|_| writer.text(&event)));
        let start = std::time::Instant::now();
        until("the server is not ready", || {
            let answer = ready();
            let is_ready = answer.status == 200;
            (!is_ready).then(|| (answer.status, answer.text().contains("busy"), start.elapsed()))
        })
    });
    let (status, busy, after) = flooding.await.unwrap();
    assert_eq!((status, busy), (503, true));
    assert!(after > Duration::from_secs(5), "{after:?}");
    drop(events);
    server.drain().await;
}

/// Two messages of over half of `limits.message_bytes_max` wait for the next polls.
#[tokio::test(flavor = "multi_thread")]
async fn two_large_messages_between_two_polls_do_not_end_the_session() {
    const POLL: &str = "/socket.io/?EIO=4&transport=polling";
    let (server, mut events, address) = start(&[]).await;
    let joining = tokio::task::spawn_blocking(move || {
        let target = format!("{POLL}&sid={}", field(get(address, POLL).text(), "sid").unwrap());
        assert_eq!(post(address, &target, "40").text(), "ok");
        assert!(get(address, &target).text().starts_with("40{"));
        target
    });
    let Some(ClientEvent::Connect(connect)) = events.next().await else { panic!("a connect was expected") };
    let session = connect.accept().await.unwrap();
    let target = joining.await.unwrap();
    for _ in 0..2 {
        session.emit("file", "x".repeat(600_000).as_str()).await.unwrap();
    }
    let mut bytes = 0;
    while bytes < 1_200_000 {
        let target = target.clone();
        let answer = tokio::task::spawn_blocking(move || get(address, &target)).await.unwrap();
        assert_eq!(answer.status, 200);
        bytes += answer.body.len();
    }
    server.drain().await;
}

async fn subscriptions_become(private: SocketAddr, expected: u64) {
    let start = std::time::Instant::now();
    loop {
        let answer = tokio::task::spawn_blocking(move || get(private, "/v1/server")).await.unwrap();
        let info: Value = serde_json::from_str(answer.text()).unwrap();
        if info["subscriptions"] == json!(expected) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{info}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tail_that_is_closed_leaves_no_subscription() {
    let (server, _events, _) = start(&[]).await;
    let private = server.private_addr();
    let mut tail = std::net::TcpStream::connect(private).unwrap();
    tail.write_all(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    subscriptions_become(private, 1).await;
    drop(tail);
    subscriptions_become(private, 0).await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_for_mqtt_alone_are_bound_when_they_are_configured() {
    let (server, _events, public) = start(&["mqtt.listen=127.0.0.1:0"]).await;
    let own = server.mqtt_addr().unwrap();
    assert!(own.port() != 0 && own != public && server.mqtt_tls_addr().is_none());
    let taken = Config::embedded_with(&[&format!("mqtt.listen={own}")]).unwrap();
    let error = Server::start(taken).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("MQTT port: cannot listen on {own}: ")), "{error}");
    server.drain().await;
    let (server, ..) = start(&["mqtt.listen=127.0.0.1:0", "mqtt.enabled=false"]).await;
    assert_eq!(server.mqtt_addr(), None);
    server.drain().await;
}
