//! What the back end is only told: that it hears it at least once, in the order of each session, whatever happens to either side.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline::Server;

use super::back_end::{Act, BackEnd, Hook, yes};
use super::support::client::{PATIENCE, WebSocket, field, get};
use super::support::whole::folder::Folder;
use super::{SECRET, SOCKET, WAIT, client, join, start, until};

pub(crate) const ALL: &str = "types = [\"session.connect\", \"session.event\", \"session.connected\", \"session.disconnected\", \
                   \"session.ended\"]\nretry_ms_min = 20\nretry_ms_max = 40\nbreaker_pause_ms = 20\n";

/// What was told of one session, each event once, in the order in which it was first heard.
pub(crate) fn heard(back_end: &BackEnd, sid: &str) -> Vec<Hook> {
    let is_told = |hook: &Hook| hook.event["sessionid"] == sid && hook.kind() != "session.connect";
    back_end.heard().into_iter().filter(is_told).collect()
}

pub(crate) fn kinds(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(Hook::kind).collect()
}

/// A client that sends numbers and leaves; gives its session.
async fn visit(server: &Server, numbers: u32) -> String {
    client(server, move |mut socket| {
        let sid = field(&join(&mut socket, "").unwrap(), "sid").unwrap();
        for number in 0..numbers {
            socket.text(&format!(r#"42["n",{number}]"#));
        }
        socket.text("41");
        sid
    })
    .await
}

/// Whether all was heard in its order.
fn is_whole(hooks: &[Hook], numbers: u32) -> bool {
    let [first, events @ .., left, ended] = hooks else { return false };
    let expected: Vec<Value> = (0..numbers).map(|number| json!([number])).collect();
    let data: Vec<Value> = events.iter().map(|hook| hook.event["data"].clone()).collect();
    let places: Vec<&str> = hooks.iter().map(|hook| hook.event["sequence"].as_str().unwrap()).collect();
    kinds(&[first.clone(), left.clone(), ended.clone()])
        == ["session.connected", "session.disconnected", "session.ended"]
        && data == expected
        && places.is_sorted_by(|a, b| a < b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_from_its_beginning_to_its_end_in_order() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({ "result": { "user": "ada" }, "state": "s" })),
        _ => Act::Answer(202, String::new()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let sid = visit(&server, 5).await;
    until("all is told", || heard(&back_end, &sid).len() == 8).await;
    let hooks = heard(&back_end, &sid);
    assert!(is_whole(&hooks, 5), "{:?}", kinds(&hooks));
    assert!(hooks.iter().all(|hook| hook.event["userid"] == "ada" && hook.event["state"] == "s"));
    let connected = &hooks[0].event["data"];
    assert_eq!((&connected["resumed"], &connected["recovered"]), (&json!(false), &json!(false)));
    assert!(connected["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&hooks[1].event["event"], &hooks[1].event["ackrequested"]), (&json!("n"), &json!(false)));
    let left = &hooks[6].event["data"];
    assert_eq!((&left["reason"], &left["cause"]), (&json!("client namespace disconnect"), &json!("client")));
    assert_eq!((&left["resumable"], &left["resumable_until"]), (&json!(false), &Value::Null));
    assert_eq!(hooks[7].event["data"]["cause"], "client");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_clients_that_were_not_let_in() {
    let back_end = BackEnd::start(|hook| match hook.event["data"]["auth"]["ok"].as_bool() {
        Some(false) => Act::Answer(403, String::new()),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let refused = client(&server, |mut socket| join(&mut socket, r#"{"ok":false}"#).unwrap()).await;
    assert!(refused.starts_with("44"), "{refused}");
    let sid = visit(&server, 0).await;
    until("the other is told", || heard(&back_end, &sid).len() == 3).await;
    assert_eq!(back_end.of("session.connected").len(), 1);
    assert_eq!(back_end.of("session.disconnected").len(), 1);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_back_end_does_it_hears_all_in_order() {
    let count = Arc::new(AtomicU32::new(0));
    let calls = Arc::clone(&count);
    let back_end = BackEnd::start(move |hook| {
        if hook.kind() == "session.connect" {
            return yes(json!({}));
        }
        match calls.fetch_add(1, Ordering::Relaxed) % 6 {
            0 => Act::Answer(500, String::new()),
            1 => Act::Raw("garbage\r\n\r\n"),
            2 => Act::AnswerWith(307, "location: http://127.0.0.1:1/", String::new()),
            3 => Act::Late(Duration::from_millis(400), 200, String::new()),
            _ => Act::Answer(200, "<html>whatever</html>".into()),
        }
    })
    .await;
    let server =
        start(back_end.address, &format!("{ALL}delivery_timeout_ms = 200\nbreaker_failures = 1000\n")).await;
    let visits = (0..8).map(|_| visit(&server, 4));
    let sids = futures_util::future::join_all(visits).await;
    until("all is told", || sids.iter().all(|sid| heard(&back_end, sid).len() == 7)).await;
    for sid in &sids {
        let hooks = heard(&back_end, sid);
        assert!(is_whole(&hooks, 4), "{:?}", kinds(&hooks));
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_wants_done_when_it_hears_is_done_before_the_next_event_leaves() {
    let news =
        |event: &str, data: &Value| json!({ "publish": { "channel": "news", "event": event, "data": data } });
    let back_end = BackEnd::start(move |hook| match (hook.kind(), hook.event["event"].as_str()) {
        ("session.connect", _) => yes(json!({ "result": { "subscriptions": ["news"] } })),
        (_, Some("n")) => {
            let number = &hook.event["data"][0];
            let thanks = json!({ "send": { "event": "thanks", "data": number } });
            yes(json!({ "actions": [thanks, news("heard", number)], "state": "not for this" }))
        }
        (_, Some("wrong")) => yes(json!({ "actions": [news("heard", &json!("wrong")), { "nonsense": 1 }] })),
        ("session.disconnected", _) => yes(json!({ "actions": [news("left", &hook.event["state"])] })),
        _ => Act::Answer(200, "[\"whatever\"]".into()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let address = server.public_addr();
    let left = client(&server, move |mut socket| {
        join(&mut socket, "");
        socket.text(r#"42["n",1]"#);
        socket.text(r#"42["wrong"]"#);
        socket.text(r#"42["n",2]"#);
        for expected in [r#"42["thanks",1]"#, r#"42["heard",1]"#, r#"42["thanks",2]"#, r#"42["heard",2]"#] {
            assert_eq!(socket.next_text(), expected);
        }
        let mut other = WebSocket::connect(address, SOCKET);
        other.next_text();
        join(&mut other, "");
        other.text(r#"42["n",3]"#);
        assert_eq!(socket.next_text(), r#"42["heard",3]"#);
        other.text("41");
        socket.next_text()
    })
    .await;
    assert_eq!(left, r#"42["left",null]"#, "only answers to questions change the state");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_back_end_that_is_away() {
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let address = back_end.address;
    let server =
        start(address, &format!("{ALL}connect_without_answer = \"allow\"\ntimeout_ms = 200\n")).await;
    drop(back_end);
    let (one, two) = (visit(&server, 3).await, visit(&server, 3).await);
    let back_end = BackEnd::start_at(address, |_| yes(json!({}))).await;
    until("all is told", || heard(&back_end, &one).len() == 6 && heard(&back_end, &two).len() == 6).await;
    assert!(is_whole(&heard(&back_end, &one), 3) && is_whole(&heard(&back_end, &two), 3));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waited_behind_a_failing_one_was_not_tried_meanwhile() {
    let calls = [const { AtomicU32::new(0) }; 2].map(Arc::new);
    let counts = calls.clone();
    let back_end = BackEnd::start(move |hook| {
        let number = hook.event["data"][0].as_u64().filter(|_| hook.kind() == "session.event");
        let Some(count) = number.and_then(|number| counts.get(usize::try_from(number).unwrap())) else {
            return yes(json!({}));
        };
        let is_first = number == Some(0);
        match count.fetch_add(1, Ordering::Relaxed) {
            0..8 if is_first => Act::Answer(500, String::new()),
            0..2 if !is_first => Act::Answer(404, String::new()),
            _ => yes(json!({})),
        }
    })
    .await;
    let server = start(back_end.address, &format!("{ALL}refusals_max = 3\nbreaker_failures = 1000\n")).await;
    let sid = visit(&server, 2).await;
    until("all is told", || back_end.of("session.ended").len() == 1).await;
    assert!(is_whole(&heard(&back_end, &sid), 2));
    assert_eq!(calls.map(|count| count.load(Ordering::Relaxed)), [9, 3], "it was tried three times");
    let private = server.private_addr();
    let dead = tokio::task::spawn_blocking(move || {
        get(private, "/v1/deliveries?status=dead").text().parse::<Value>().unwrap()
    });
    assert_eq!(dead.await.unwrap()["items"], json!([]));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_cannot_take_is_a_dead_letter_and_holds_up_nobody() {
    let back_end = BackEnd::start(|hook| match (hook.kind(), hook.event["data"][0].as_u64()) {
        ("session.event", Some(1)) => Act::Answer(415, "no such thing".into()),
        ("session.event", Some(2)) => Act::Answer(404, String::new()),
        _ => yes(json!({})),
    })
    .await;
    let server = start(back_end.address, &format!("{ALL}refusals_max = 2\n")).await;
    let sid = visit(&server, 4).await;
    until("the others are told", || {
        heard(&back_end, &sid).last().is_some_and(|hook| hook.kind() == "session.ended")
    })
    .await;
    let dead = server.handle().queue("webhook-app-dead.fifo").unwrap();
    let mut letters = Vec::new();
    while letters.len() < 2 {
        for letter in dead.receive(10, WAIT).await.unwrap() {
            dead.delete(letter.receipt).await.unwrap();
            letters.push(letter);
        }
    }
    let numbers: Vec<Value> = letters
        .iter()
        .map(|letter| serde_json::from_str::<Value>(&letter.body).unwrap()["data"].clone())
        .collect();
    assert_eq!(numbers, [json!([1]), json!([2])]);
    let attributes: Vec<String> =
        letters[0].attributes.iter().map(|one| format!("{}={:?}", one.name, one.value)).collect();
    assert!(attributes.iter().any(|one| one.contains("status 415 no such thing")), "{attributes:?}");
    let tries = back_end.hooks().iter().filter(|hook| hook.event["data"] == json!([2])).count();
    assert_eq!(tries, 2);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_answer_may_be_acknowledged_once_it_waits() {
    let count = Arc::new(AtomicU32::new(0));
    let calls = Arc::clone(&count);
    let back_end = BackEnd::start(move |hook| match (hook.kind(), hook.event["ackrequested"].as_bool()) {
        ("session.event", Some(true)) => Act::Answer(500, String::new()),
        ("session.event", Some(false)) if calls.fetch_add(1, Ordering::Relaxed) == 0 => {
            Act::Answer(500, String::new())
        }
        _ => yes(json!({})),
    })
    .await;
    let server = start(back_end.address, &format!("{ALL}event_without_answer = \"queue\"\n")).await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["order","tea"]"#);
        assert_eq!(socket.next_text(), "431[]");
    })
    .await;
    until("it is told", || back_end.of("session.event").len() == 3).await;
    let hooks = back_end.of("session.event");
    assert!(hooks.iter().all(|hook| hook.event["data"] == json!(["tea"])));
    // Regression: it had another id once it waited, so who had heard the question took it for another event.
    assert!(hooks.iter().all(|hook| hook.headers["webhook-id"] == hooks[0].headers["webhook-id"]));
    server.drain().await;
}

/// Regression: the other webhooks were told as well, of events that they never hear while there are answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_answer_waits_for_the_webhook_that_was_asked_alone() {
    let back_end = BackEnd::start(|hook| match hook.event["ackrequested"].as_bool() {
        Some(true) => Act::Answer(500, String::new()),
        _ => yes(json!({})),
    })
    .await;
    let other = BackEnd::start(|_| yes(json!({}))).await;
    let keys = format!(
        "{ALL}event_without_answer = \"queue\"\n[[webhook]]\nname = \"other\"\nurl = \"http://{}/\"\n\
         secrets = [\"{SECRET}\"]\ntypes = [\"session.event\", \"session.ended\"]\n",
        other.address
    );
    let server = start(back_end.address, &keys).await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["order","tea"]"#);
        assert_eq!(socket.next_text(), "431[]");
    })
    .await;
    until("it is told", || back_end.of("session.event").len() == 2).await;
    until("its end is", || other.of("session.ended").len() == 1).await;
    assert_eq!(other.of("session.event").len(), 0);
    server.drain().await;
}

/// The shards had closed before what they told last was in the outbox: the next process found connections that had ended by nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_end_of_a_process_does_to_sessions_is_stored_before_it_ends() {
    let folder = Folder::new("drained");
    let deaf = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({})),
        _ => Act::Answer(500, String::new()),
    })
    .await;
    let keys = format!("{ALL}[store]\ndir = {:?}\n", folder.path());
    let server = start(deaf.address, &keys).await;
    let clients = (0..40).map(|_| {
        client(&server, |mut socket| (field(&join(&mut socket, "").unwrap(), "sid").unwrap(), socket))
    });
    // They leave when they are told to, so that nothing else holds the server up.
    let clients = futures_util::future::join_all(clients)
        .await
        .into_iter()
        .map(|(sid, mut socket)| (sid, tokio::task::spawn_blocking(move || socket.until_closed())));
    let (sids, leaving): (Vec<_>, Vec<_>) = clients.unzip();
    server.drain().await;
    futures_util::future::join_all(leaving).await;
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let server = start(back_end.address, &keys).await;
    let of = |sid: &str| heard(&back_end, sid);
    until("all is told", || sids.iter().all(|sid| of(sid).len() == 3)).await;
    for sid in &sids {
        let hooks = of(sid);
        assert_eq!(kinds(&hooks), ["session.connected", "session.disconnected", "session.ended"]);
        let causes: Vec<&Value> = hooks.iter().skip(1).map(|hook| &hook.event["data"]["cause"]).collect();
        assert_eq!(causes, ["drain", "drain"]);
    }
    server.drain().await;
}

/// The program, to be killed.
pub(super) struct Program {
    child: Child,
    folder: PathBuf,
    public: String,
    /// Of the webhook, from its types on.
    webhook: String,
    keys: &'static str,
}

impl Program {
    /// `keys` are further ones of its configuration.
    fn start(folder: &Path, public: &str, back_end: &BackEnd, keys: &'static str) -> Self {
        Self::start_with((folder, public), back_end, ALL, keys)
    }

    /// `webhook` has keys of the webhook, from its types on.
    pub(super) fn start_with(
        (folder, public): (&Path, &str),
        back_end: &BackEnd,
        webhook: &str,
        keys: &'static str,
    ) -> Self {
        let (config, ready) = (folder.join("trunkline.toml"), folder.join("ready"));
        let text = format!(
            "[auth]\nmode = \"back_end\"\n[server]\npublic_listen = \"{public}\"\nprivate_listen = \"127.0.0.1:0\"\n\
             shards = 2\n[store]\ndir = \"{}\"\n[[webhook]]\nname = \"app\"\nurl = \"http://{}/\"\n\
             secrets = [\"{SECRET}\"]\n{webhook}[[socketio.namespace]]\nname = \"/\"\nrecovery = \"opt_in\"\n{keys}",
            folder.join("store").display(),
            back_end.address
        );
        std::fs::write(&config, text).unwrap();
        let _not_there_the_first_time = std::fs::remove_file(&ready);
        let mut program = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        program.env_clear().arg("serve").arg("--config").arg(&config).arg("--ready-file").arg(&ready);
        let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while !ready.exists() {
            assert!(begin.elapsed() < PATIENCE, "not ready in time");
            // The file has no event that can be waited for.
            std::thread::sleep(Duration::from_millis(5));
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(ready).unwrap()).unwrap();
        let public = ready["public"].as_str().unwrap().to_owned();
        Self { child, folder: folder.to_owned(), public, webhook: webhook.to_owned(), keys }
    }

    /// SIGKILL, and the next one on the same port.
    pub(super) fn kill(mut self, back_end: &BackEnd) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Self::start_with((&self.folder, &self.public), back_end, &self.webhook, self.keys)
    }

    pub(super) fn connect(&self) -> WebSocket {
        let mut socket = WebSocket::connect(self.public.parse().unwrap(), SOCKET);
        socket.next_text();
        socket
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of a test that failed, or of the last one.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_back_end_hears_of_every_session_that_is_gone() {
    let folder = Folder::new("gone");
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({ "result": { "user": "ada" }, "state": "kept" })),
        "session.event" => yes(json!({ "result": hook.event["state"] })),
        _ => yes(json!({})),
    })
    .await;
    let path = folder.path().to_owned();
    let script = move |back_end: BackEnd| {
        let mut program = Program::start(&path, "127.0.0.1:0", &back_end, "");
        let (mut lost, mut recoverable) = (program.connect(), program.connect());
        let gone = field(&join(&mut lost, "").unwrap(), "sid").unwrap();
        let answer = join(&mut recoverable, r#"{"csr":true}"#).unwrap();
        let (sid, pid) = (field(&answer, "sid").unwrap(), field(&answer, "pid").unwrap());
        program = program.kill(&back_end);
        let mut back = program.connect();
        let answer = join(&mut back, &format!(r#"{{"csr":true,"pid":"{pid}","offset":""}}"#)).unwrap();
        assert_eq!(field(&answer, "sid").unwrap(), sid, "it is recovered");
        back.text(r#"421["state"]"#);
        assert_eq!(back.next_text(), r#"431["kept"]"#, "the state outlived the process");
        (back_end, program, back, gone, sid)
    };
    let scripted = tokio::task::spawn_blocking(move || script(back_end));
    let (back_end, program, back, gone, sid) = tokio::time::timeout(WAIT, scripted).await.unwrap().unwrap();
    until("both are told", || heard(&back_end, &gone).len() == 3 && heard(&back_end, &sid).len() >= 4).await;
    let hooks = heard(&back_end, &gone);
    assert_eq!(kinds(&hooks), ["session.connected", "session.disconnected", "session.ended"]);
    assert_eq!(hooks[1].event["data"]["cause"], "restart");
    assert_eq!((&hooks[1].event["userid"], &hooks[1].event["generation"]), (&json!("ada"), &json!(1)));
    let hooks = heard(&back_end, &sid);
    let told: Vec<(&str, Option<i64>)> =
        hooks.iter().map(|hook| (hook.kind(), hook.event["generation"].as_i64())).collect();
    let expected = [
        ("session.connected", Some(1)),
        ("session.disconnected", Some(1)),
        ("session.connected", Some(2)),
        ("session.event", Some(2)),
    ];
    let mut sorted = told.clone();
    sorted.sort_by_key(|(kind, generation)| {
        (*generation, *kind == "session.event", *kind == "session.disconnected")
    });
    assert_eq!(sorted, expected);
    assert_eq!(hooks[1].event["data"]["resumable"], true);
    let places: Vec<&str> = hooks
        .iter()
        .filter(|hook| hook.kind() != "session.event")
        .map(|hook| hook.event["sequence"].as_str().unwrap())
        .collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    drop((program, back));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_that_was_lost_before_a_kill_comes_behind_all_that_was_told_before_it() {
    let folder = Folder::new("lost");
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let first = Program::start(folder.path(), "127.0.0.1:0", &back_end, "[recovery]\nwindow_ms = 1000\n");
    let scripted = tokio::task::spawn_blocking(move || {
        let mut socket = first.connect();
        let sid = field(&join(&mut socket, r#"{"csr":true}"#).unwrap(), "sid").unwrap();
        (0..3).for_each(|number| socket.text(&format!(r#"42["n",{number}]"#)));
        (first, socket, sid)
    });
    let (first, socket, sid) = tokio::time::timeout(WAIT, scripted).await.unwrap().unwrap();
    until("its events are told", || heard(&back_end, &sid).len() == 4).await;
    drop(socket);
    until("it is lost", || heard(&back_end, &sid).len() == 5).await;
    let second = tokio::task::spawn_blocking(move || {
        let second = first.kill(&back_end);
        (second, back_end)
    });
    let (second, back_end) = tokio::time::timeout(WAIT, second).await.unwrap().unwrap();
    let is_over = |hooks: &[Hook]| hooks.last().is_some_and(|hook| hook.kind() == "session.ended");
    until("it cannot come back", || is_over(&heard(&back_end, &sid))).await;
    let places: Vec<String> =
        heard(&back_end, &sid).iter().map(|hook| hook.event["sequence"].to_string()).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_says_gone_gets_nothing_until_somebody_wants_it_to() {
    let is_gone = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = Arc::clone(&is_gone);
    let back_end = BackEnd::start(move |hook| match hook.kind() {
        "session.connect" => yes(json!({})),
        _ if state.load(Ordering::Relaxed) => Act::Answer(410, String::new()),
        _ => yes(json!({})),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let sid = visit(&server, 2).await;
    let private = server.private_addr();
    let webhook = move || -> Value {
        serde_json::from_str::<Value>(get(private, "/v1/webhooks").text()).unwrap()["items"][0].clone()
    };
    until("it is off", || webhook()["enabled"] == json!(false) && webhook()["queued"] == 5).await;
    let heard_before = back_end.hooks().len();
    is_gone.store(false, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || {
        let mut http = super::support::client::Http::connect(private);
        let json = [("content-type", "application/json")];
        http.send("PUT", "/v1/webhooks/app", &json, Some(br#"{"enabled":true}"#));
        assert_eq!(http.answer().status, 200);
    })
    .await
    .unwrap();
    until("all is told", || heard(&back_end, &sid).len() == 5).await;
    assert!(is_whole(&heard(&back_end, &sid), 2));
    assert!(back_end.hooks().len() > heard_before);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_sent_again() {
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = Arc::clone(&is_broken);
    let back_end = BackEnd::start(move |hook| match hook.kind() {
        "session.event" if state.load(Ordering::Relaxed) => Act::Answer(415, "broken".into()),
        _ => yes(json!({})),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let sid = visit(&server, 3).await;
    until("its end is told", || heard(&back_end, &sid).len() == 6).await;
    let private = server.private_addr();
    let list = move |query: &str| -> Vec<Value> {
        let page: Value =
            serde_json::from_str(get(private, &format!("/v1/deliveries{query}")).text()).unwrap();
        page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
    };
    let dead = list("?webhook=app&status=dead");
    assert_eq!(dead.len(), 3, "{dead:?}");
    assert!(dead.iter().all(|one| one["type"] == "trunkline.session.event" && one["session"] == *sid));
    assert!(dead.iter().all(|one| one["said"] == "status 415 broken" && one["event"]["data"].is_array()));
    let tried = list("?webhook=app");
    assert_eq!(
        (tried[0]["type"].as_str(), tried[0]["outcome"].as_str()),
        (Some("trunkline.session.ended"), Some("done"))
    );
    is_broken.store(false, Ordering::Relaxed);
    let second = dead[1]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/deliveries/{second}/attempts");
    tokio::task::spawn_blocking(move || {
        let mut http = super::support::client::Http::connect(private);
        http.send("POST", &path, &[], Some(b""));
        let answer = http.answer();
        assert_eq!(answer.status, 202, "{}", answer.text());
        http.send("POST", "/v1/deliveries/no-such/attempts", &[], Some(b""));
        assert_eq!(http.answer().status, 404);
        http.send("POST", "/v1/webhooks/app/tests", &[], Some(b""));
        let told: Value = serde_json::from_str(http.answer().text()).unwrap();
        assert_eq!((&told["outcome"], &told["said"]), (&json!("done"), &json!("status 200 {}")));
    })
    .await
    .unwrap();
    let heard_of =
        |number: u64| back_end.hooks().iter().filter(|hook| hook.event["data"] == json!([number])).count();
    until("the second is sent again", || heard_of(1) == 2).await;
    let left: Vec<Value> =
        list("?webhook=app&status=dead").iter().map(|one| one["event"]["data"].clone()).collect();
    assert_eq!((left, heard_of(0), heard_of(2)), (vec![json!([0]), json!([2])], 1, 1));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_after_a_session_has_become_another_users_is_told_of_that_one() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({ "result": { "user": "ada" } })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    let private = server.private_addr();
    let sid = client(&server, move |mut socket| {
        let sid = field(&join(&mut socket, "").unwrap(), "sid").unwrap();
        socket.text(r#"42["n",0]"#);
        for (number, user) in [(1, json!("bob")), (2, Value::Null)] {
            let mut http = super::support::client::Http::connect(private);
            let body = json!({ "user": user }).to_string();
            http.send(
                "PATCH",
                &format!("/v1/sessions/{sid}"),
                &[("content-type", "application/json")],
                Some(body.as_bytes()),
            );
            assert_eq!(http.answer().status, 200);
            socket.text(&format!(r#"42["n",{number}]"#));
        }
        socket.text("41");
        sid
    })
    .await;
    until("all is told", || heard(&back_end, &sid).len() == 6).await;
    let users: Vec<Value> = heard(&back_end, &sid).iter().map(|hook| hook.event["userid"].clone()).collect();
    assert_eq!(users, [json!("ada"), json!("ada"), json!("bob"), Value::Null, Value::Null, Value::Null]);
    server.drain().await;
}
