//! `trunkline bench back-end`: what it answers, writes down and says in the end. Start at [`BackEnd`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::rig::Dev;
use crate::whole::folder::Folder;
use crate::whole::until::{PATIENCE, until, until_so};

/// A running one, which is killed with this value.
struct BackEnd {
    process: Child,
    out: BufReader<ChildStdout>,
    /// What it says.
    url: String,
}

impl BackEnd {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args(["bench", "back-end", "--listen", "127.0.0.1:0"]).args(options);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let (mut out, mut line) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        out.read_line(&mut line).unwrap();
        let url = line.trim().rsplit_once(' ').unwrap().1.to_owned();
        Self { process, out, url }
    }

    fn connect(&self) -> TcpStream {
        let address = self.url.strip_prefix("http://").unwrap().trim_end_matches('/');
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The connection over which this is asked.
    fn ask(&self, event: &str) -> TcpStream {
        let mut stream = self.connect();
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{event}", event.len());
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Ends it by the signal; what it says then.
    fn end(mut self, signal: &str) -> String {
        let kill = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut told = String::new();
        self.out.read_to_string(&mut told).unwrap();
        assert!(self.process.wait().unwrap().success());
        told
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

#[test]
fn a_back_end_behind_a_webhook_echoes_in_acknowledgements() {
    let back_end = BackEnd::start(&[]);
    let config = format!(
        "[auth]\nmode = \"back_end\"\n[[webhook]]\nname = \"echo\"\nurl = {:?}\n\
         secrets = [\"whsec_ZXhhbXBsZS1vZi0yNC1ieXRlcy1sb25n\"]\ntypes = [\"session.connect\", \"session.event\"]",
        back_end.url
    );
    let server = Dev::configured("webhook", &config);
    let report = server.measure("echo --ack --connections 20 --rate 500 --duration 500ms");
    assert_eq!(report["figures"]["echoes"], 250, "{report}");
    let told = back_end.end("-TERM");
    let (heard, rest) = told.split_once(' ').unwrap();
    assert!(
        heard.parse::<u32>().unwrap() >= 270,
        "20 connects and 250 events, and what is echoed before: {told}"
    );
    assert!(rest.starts_with("events heard, at most "), "{told}");
}

#[test]
fn a_back_end_without_room_for_a_connection_takes_it_once_there_is() {
    let trunkline = env!("CARGO_BIN_EXE_trunkline");
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n 24; exec {trunkline} bench back-end --listen 127.0.0.1:0")]);
    let back_end = BackEnd::of(limited);
    // All of them connect, since the system has a queue for them; the last ones are not accepted.
    let waiting: Vec<_> = (0..39).map(|_| back_end.connect()).collect();
    let mut last = back_end.ask("{}");
    drop(waiting);
    assert_eq!(status(&mut last), "HTTP/1.1 204");
}

/// What was written of events, each of which was heard at some time.
fn written(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        assert!(line["heard_ms"].as_u64().unwrap() > 1_700_000_000_000, "{line}");
    }
    lines.iter_mut().map(|line| line["event"].take()).collect()
}

#[test]
fn a_back_end_writes_down_what_it_heard_and_says_how_much_was_under_way() {
    let folder = Folder::new("heard");
    let path = folder.file("heard.ndjson", "of a former one\n");
    let back_end = BackEnd::start(&["--record", &path, "--answer-after", "60m"]);
    let events = ["{\"id\":\"1\",\r\n \"data\":[\"a\\n\"]}", r#"{"id":"2"}"#, r#"{"id":"1"}"#];
    let mut waiting = Vec::new();
    for (place, event) in events.iter().enumerate() {
        waiting.push(back_end.ask(event));
        until_so("it is written down", || written(&path).len() == place + 1);
    }
    assert_eq!(written(&path), [json!({"id": "1", "data": ["a\n"]}), json!({"id": "2"}), json!({"id": "1"})]);
    // Two give up, and two come, one of whom has nothing that is an event: three are under way at a time as before.
    waiting.truncate(1);
    waiting.extend([back_end.ask("nonsense"), back_end.ask(r#"{"id":"3"}"#)]);
    until_so("it is written down", || written(&path).len() == 4);
    assert_eq!(back_end.end("-INT"), "4 events heard, at most 3 requests under way at a time\n");
}

#[test]
fn a_back_end_answers_when_it_is_time_in_the_order_of_requests() {
    let wait = std::time::Duration::from_millis(50);
    let back_end = BackEnd::start(&["--answer-after", "50ms"]);
    let begun = std::time::Instant::now();
    let mut stream = back_end.ask(r#"{"ackrequested":true,"data":[1]}"#);
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    let mut text = String::new();
    until("both are answered", || {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        text += std::str::from_utf8(&bytes[..read]).unwrap();
        text.contains(" 204 ").then_some(())
    });
    assert!(begun.elapsed() >= wait);
    assert!(text.find(r#"{"result":[1]}"#).unwrap() < text.find(" 204 ").unwrap(), "{text}");
}
