//! What the back end is asked about channels whose rule says so: clients of streams and of Socket.IO, and embedding programs.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline::config::{Config, Machine, SourceFile, Sources};
use trunkline::{Asked, ClientEvent, Server, Terms};

use super::back_end::{Act, BackEnd, yes};
use super::channels::{as_named, start};
use super::mqtt::script;
use super::support::client::{Http, Said, WebSocket};
use super::support::stream::Stream;
use super::{SOCKET, start_with, until};

const SUBPROTOCOL: [(&str, &str); 1] = [("sec-websocket-protocol", "cloudevents.json")];

fn open(address: SocketAddr, target: &str) -> Result<WebSocket, u16> {
    let socket = WebSocket::try_connect(address, target, &SUBPROTOCOL).map_err(|answer| answer.status);
    socket.map(|mut socket| {
        assert!(socket.next_text().contains("trunkline.stream.opened"));
        socket
    })
}

/// Says something and gives the type of the answer to it, and the code of a problem.
fn ask(socket: &mut WebSocket, kind: &str, subject: &str, more: &Value) -> (String, Value) {
    let mut event = json!({"specversion": "1.0", "id": "q", "source": "/test", "subject": subject,
        "type": format!("trunkline.channel.{kind}")});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    socket.text(&event.to_string());
    loop {
        let event: Value = serde_json::from_str(&socket.next_text()).unwrap();
        if event["answers"] == "q" {
            let kind = event["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
            return (kind, event["data"]["code"].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_once_the_back_end_has_said_so() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "timeout_ms = 1000\n").await;
    script(&server, |address| {
        assert_eq!(Http::connect(address).post("/publish?channel=ask/kept", "1").status, 200);
        for path in ["sse", "ndjson", "poll"] {
            let of = |channel: &str| {
                Stream::get(address, &format!("/{path}?channel={channel}&wait=0"), &[]).status
            };
            assert_eq!((of("ask/a"), of("free"), of("free&channel=ask/slow")), (200, 200, 200), "{path}");
            assert_eq!((of("ask/error"), of("ask/403"), of("ask/401")), (403, 403, 401), "{path}");
            assert_eq!(of("ask/a&channel=ask/error"), 403, "{path}");
            let back = if path == "sse" { 200 } else { 503 };
            assert_eq!((of("ask/none"), of("ask/garbage")), (back, back), "{path}");
        }
        let mut stream = Stream::get(address, "/sse?channel=ask/none", &[]);
        assert_eq!(stream.rest(), "retry: 2000\n\n", "it comes back");
        let status = |target: &str| open(address, target).err();
        assert_eq!((status("/ws?channel=ask/a"), status("/ws?channel=ask/error")), (None, Some(403)));
        assert_eq!(status("/ws?channel=ask/none"), Some(503));
    })
    .await;
    let asked = back_end.of("channel.subscribe");
    let event = &asked[0].event;
    assert_eq!((&event["subject"], &event["protocol"]), (&json!("ask/a"), &json!("sse")));
    assert_eq!(event["data"], json!({"channel": "ask/a"}));
    assert!(event["sessionid"].is_string(), "{event}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_keeps_is_part_of_the_answer() {
    let back_end = BackEnd::start(as_named).await;
    let auth = "mode = \"anonymous\"";
    let keys = "types = [\"channel.subscribe\"]\n[[channel]]\nfilter = \"ask/#\"\nsubscribe = \"webhook\"\n\
                history_messages_max = 10\n";
    let server = start_with(back_end.address, auth, keys).await;
    script(&server, |address| {
        for channel in ["ask/a", "ask/blank"] {
            let target = format!("/publish?channel={channel}");
            assert_eq!(Http::connect(address).post(&target, "1").status, 200);
        }
        let target = "/ndjson?channel=ask/a&channel=ask/blank&history=5";
        let mut stream = Stream::get(address, target, &[]);
        assert_eq!(Http::connect(address).post("/publish?channel=ask/blank", "2").status, 200);
        let mut came = Vec::new();
        while came.len() < 2 {
            let line = stream.line().unwrap();
            if line["data"].is_number() {
                came.push((line["channel"].as_str().unwrap().to_owned(), line["data"].clone()));
            }
        }
        came.sort_by_key(|(channel, _)| channel.clone());
        assert_eq!(came, [("ask/a".to_owned(), json!(1)), ("ask/blank".to_owned(), json!(2))]);
        let mut socket = open(address, "/ws").unwrap();
        let more = json!({"history": 5});
        assert_eq!(ask(&mut socket, "subscribe", "ask/blank", &more).0, "subscribed");
    })
    .await;
    assert_eq!(back_end.of("channel.subscribe")[0].event["data"]["history"], 5);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_web_socket_wait_for_the_back_end_and_keep_their_order() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "timeout_ms = 2000\n").await;
    script(&server, |address| {
        let mut reader = Stream::get(address, "/ndjson?channel=ask/%23", &[]);
        let mut data = || loop {
            let line = reader.line().unwrap();
            if !line["data"].is_null() || !line["data_base64"].is_null() {
                return line;
            }
        };
        let mut socket = open(address, "/ws").unwrap();
        let none = json!({});
        assert_eq!(ask(&mut socket, "subscribe", "ask/a", &none).0, "subscribed");
        assert_eq!(ask(&mut socket, "subscribe", "ask/error", &none), ("refused".into(), json!("forbidden")));
        let one = json!({"data": 1});
        assert_eq!(ask(&mut socket, "publish", "ask/slow", &one).0, "published");
        assert_eq!(data()["data"], 1);
        assert_eq!(ask(&mut socket, "publish", "ask/other", &one).0, "published");
        let line = data();
        assert_eq!((&line["data"], &line["event"]), (&json!("else"), &json!("say")));
        assert_eq!(ask(&mut socket, "publish", "ask/drop", &one).0, "published");
        assert_eq!(ask(&mut socket, "publish", "ask/403", &one), ("refused".into(), json!("forbidden")));
        for number in 2..5 {
            let event = json!({"specversion": "1.0", "id": "q", "source": "/", "subject": "ask/slow",
                "type": "trunkline.channel.publish", "data": number});
            socket.text(&event.to_string());
        }
        let came: Vec<Value> = (2..5).map(|_| data()["data"].clone()).collect();
        assert_eq!(came, [json!(2), json!(3), json!(4)]);
        let event = json!({"specversion": "1.0", "id": "q", "source": "/", "subject": "ask/none",
            "type": "trunkline.channel.publish", "data": 5});
        socket.text(&event.to_string());
        while let Said::Text(_) = socket.next() {}
    })
    .await;
    let published = back_end.of("channel.publish");
    assert_eq!(published[0].event["protocol"], "websocket");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_publish_is_asked_about() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "timeout_ms = 1000\n").await;
    script(&server, |address| {
        let mut reader = Stream::get(address, "/sse?channel=ask/%23", &[]);
        let post = |channel: &str| {
            let answer = Http::connect(address).post(&format!("/publish?channel=ask/{channel}&event=e"), "x");
            (answer.status, answer.header("retry-after").map(str::to_owned))
        };
        assert_eq!(post("a").0, 200);
        assert_eq!(reader.message().data, "x");
        assert_eq!((post("drop").0, post("other").0), (200, 200));
        let heard = reader.message();
        assert_eq!((heard.name.as_str(), heard.data.as_str()), ("say", "else"));
        assert_eq!((post("error").0, post("401").0, post("leave").0), (403, 401, 403));
        for channel in ["none", "silent"] {
            assert_eq!(post(channel), (503, Some("1".into())));
        }
        // Who does not wait for the answer is not in the way.
        let mut gone = Http::connect(address);
        gone.send("POST", "/publish?channel=ask/slow", &[], Some(b"gone"));
        gone.give_up();
        assert_eq!(post("a").0, 200);
    })
    .await;
    let event = &back_end.of("channel.publish")[0].event;
    assert_eq!((&event["source"], &event["protocol"]), (&json!("/publish"), &json!("publish")));
    assert_eq!((&event["data"]["event"], &event["data"]["payload"]), (&json!("e"), &json!("x")));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_session_the_request_says_who_it_is() {
    let back_end = BackEnd::start(|hook| match &hook.event["data"]["headers"]["authorization"] {
        Value::String(token) if token == "Bearer ada" => yes(json!({})),
        _ => Act::Answer(401, String::new()),
    })
    .await;
    let keys = "types = [\"session.connect\", \"channel.publish\"]\n\
                [[channel]]\nfilter = \"ask/#\"\npublish = \"webhook\"\n";
    let server = start_with(back_end.address, "mode = \"back_end\"", keys).await;
    script(&server, |address| {
        let post = |channel: &str, headers: &[(&str, &str)]| {
            let mut http = Http::connect(address);
            http.send("POST", &format!("/publish?channel={channel}&k=v"), headers, Some(b"x"));
            http.answer().status
        };
        assert_eq!(post("ask/a", &[("authorization", "Bearer ada")]), 200);
        assert_eq!(post("ask/a", &[]), 401);
        assert_eq!(post("free", &[("authorization", "Bearer ada")]), 401, "nobody is asked about that");
    })
    .await;
    let data = &back_end.of("channel.publish")[0].event["data"];
    assert_eq!((&data["query"], &data["secure"]), (&json!({"k": ["v"]}), &json!(false)));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_others_wait_for_the_back_end_and_keep_their_order() {
    let back_end = BackEnd::start(|hook| match hook.event["data"]["event"].as_str() {
        Some("slow") => Act::Late(Duration::from_millis(300), 204, String::new()),
        Some("no") => yes(json!({ "error": { "message": "no" } })),
        Some("none") => Act::Answer(500, String::new()),
        Some("drop") => yes(json!({ "result": { "drop": true } })),
        Some("other") => yes(json!({ "result": { "data": ["else", 2], "event": "shout" } })),
        _ => yes(json!({})),
    })
    .await;
    let keys = "types = [\"channel.publish\"]\ntimeout_ms = 1000\nbreaker_failures = 1000\n\
                [[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\n\
                [[channel]]\nfilter = \"main\"\npublish = \"webhook\"\n";
    let server = start_with(back_end.address, "mode = \"anonymous\"", keys).await;
    script(&server, |address| {
        let join = || {
            let mut socket = WebSocket::connect(address, SOCKET);
            socket.next_text();
            socket.text("40");
            assert!(socket.next_text().starts_with("40"));
            socket
        };
        let (mut reader, mut writer) = (join(), join());
        for text in [
            r#"421["slow",1]"#,
            r#"42["fast",2]"#,
            r#"422["no",3]"#,
            r#"423["none",4]"#,
            r#"424["drop",5]"#,
            r#"425["other",6]"#,
        ] {
            writer.text(text);
        }
        for expected in [r#"42["slow",1]"#, r#"42["fast",2]"#, r#"42["shout","else",2]"#] {
            assert_eq!(reader.next_text(), expected);
        }
        for expected in ["431[]", "434[]", "435[]"] {
            assert_eq!(writer.next_text(), expected, "and nothing for what nobody gets");
        }
        // In one POST.
        let mut http = Http::connect(address);
        let polling = "/socket.io/?EIO=4&transport=polling";
        let opened = http.get(polling).text().to_owned();
        let sid = opened.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let polling = format!("{polling}&sid={sid}");
        assert_eq!(http.post(&polling, "40").status, 200);
        assert!(http.get(&polling).text().starts_with("40"));
        assert_eq!(
            http.post(
                &polling,
                "421[\"slow\",7]\u{1e}42[\"fast\",8]\u{1e}422[\"no\",9]\u{1e}423[\"fast\",10]"
            )
            .status,
            200
        );
        for expected in [r#"42["slow",7]"#, r#"42["fast",8]"#, r#"42["fast",10]"#] {
            assert_eq!(reader.next_text(), expected);
        }
    })
    .await;
    until("all were asked about", || back_end.of("channel.publish").len() >= 10).await;
    let event = &back_end.of("channel.publish")[0].event;
    assert_eq!((&event["subject"], &event["namespace"]), (&json!("main"), &json!("/")));
    assert_eq!((&event["data"]["args"], &event["data"]["event"]), (&json!([1]), &json!("slow")));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_the_server_inside_is_asked_too() {
    let text = "[auth]\nmode = \"anonymous\"\n[server]\npublic_listen = \"127.0.0.1:0\"\n\
                private_listen = \"127.0.0.1:0\"\ndrain_window_ms = 0\n\
                [[channel]]\nfilter = \"ask/#\"\nsubscribe = \"webhook\"\npublish = \"webhook\"\n";
    let file = Some(SourceFile { name: "test.toml".into(), text: text.into() });
    let machine = Machine { cores: 2, open_files_max: 100_000 };
    let config = Config::load(&Sources { file, ..Sources::default() }, machine).unwrap().config;
    let mut server = Server::start(config).await.unwrap();
    let events = server.events().unwrap();
    tokio::spawn(events.serve(|event| async move {
        let ClientEvent::Ask(ask) = event else { return };
        let answered = match &ask.what {
            Asked::Subscribe(_) if ask.channel == "ask/no" => ask.refuse("no").await,
            Asked::Publish(_, values) if values == &[json!("x")] => {
                ask.allow_as(Terms { payload: Some(b"y".to_vec()), ..Terms::default() }).await
            }
            Asked::Publish(..) => ask.unavailable().await,
            _ => ask.allow().await,
        };
        answered.unwrap();
    }));
    script(&server, |address| {
        let mut reader = Stream::get(address, "/sse?channel=ask/a", &[]);
        assert_eq!(Stream::get(address, "/sse?channel=ask/no", &[]).status, 403);
        assert_eq!(Http::connect(address).post("/publish?channel=ask/a", "x").status, 200);
        assert_eq!(reader.message().data, "y");
        assert_eq!(Http::connect(address).post("/publish?channel=ask/a", "z").status, 503);
    })
    .await;
    server.drain().await;
}
