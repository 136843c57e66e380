//! The `trunkline` program from outside: exit status, standard output and standard error of its commands.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, its helpers included")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::JoinHandle;

/// Runs the program with nothing of this environment.
fn trunkline(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.env_clear().args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// Exit status, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A configuration file that is removed at the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-cli-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.0);
    }
}

/// Answers one request with a whole HTTP response; the thread returns the request.
fn answer_once(response: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let start = request.len();
            reader.read_line(&mut request).unwrap();
            let line = request[start..].trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(response.as_bytes()).unwrap();
        request + &String::from_utf8(body).unwrap()
    });
    (url, thread)
}

/// Somebody gets the events that clients send.
const RELAY: &str = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\n";

#[test]
fn without_a_way_to_ask_a_back_end_serve_refuses_or_says_what_is_lost() {
    let file = TempFile::new("asks", "[auth]\nmode = \"back_end\"\n");
    for command in [&["serve", "--config", file.path()][..], &["check-config", file.path()]] {
        let (status, _, err) = told(&trunkline(command, &[]));
        assert_eq!(status, 1, "{command:?}");
        assert!(
            err.starts_with("auth.mode: \"back_end\" needs a [[webhook]] with \"session.connect\""),
            "{err}"
        );
    }
    for (key, kind) in [("subscribe", "channel.subscribe"), ("publish", "channel.publish")] {
        let rule =
            format!("[auth]\nmode = \"anonymous\"\n[[channel]]\nfilter = \"a\"\n{key} = \"webhook\"\n");
        let file = TempFile::new(key, &rule);
        for command in [&["serve", "--config", file.path()][..], &["check-config", file.path()]] {
            let (status, _, err) = told(&trunkline(command, &[]));
            let expected = format!("channel[0].{key}: \"webhook\" needs a [[webhook]] with \"{kind}\"");
            assert!(status == 1 && err.starts_with(&expected), "{command:?}: {err}");
        }
    }
    let file =
        TempFile::new("drops", "[auth]\nmode = \"anonymous\"\n[server]\npublic_listen = \"127.0.0.1:0\"\n");
    let (status, out, _) = told(&trunkline(&["check-config", file.path()], &[]));
    assert_eq!(status, 0);
    assert!(out.starts_with("warning: socketio.namespace /: events that clients send are dropped"), "{out}");
}

#[test]
fn check_config_says_ok_with_warnings() {
    let file = TempFile::new("ok", &format!("[auth]\nmode = \"anonymous\"\n{RELAY}"));
    let path = file.path();
    let warning = "tls.certificate: is not set: clients connect without encryption unless a proxy adds it";
    let expected = format!("warning: {path}: {warning}\n{path}: OK\n");
    assert_eq!(told(&trunkline(&["check-config", path], &[])), (0, expected, String::new()));
}

#[test]
fn check_config_asks_webhooks_whether_they_want_events() {
    let checked = |url: &str, arguments: &[&str]| {
        let text = format!(
            "[auth]\nmode = \"back_end\"\n[[webhook]]\nname = \"app\"\nurl = \"{url}/hook\"\n\
             origin = \"a.example.com\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n\
             types = [\"session.connect\", \"session.event\"]\n"
        );
        let file = TempFile::new("webhooks", &text);
        let (status, out, err) = told(&trunkline(&[&["check-config", file.path()], arguments].concat(), &[]));
        assert_eq!((status, err.as_str()), (0, ""), "{out}");
        out
    };
    let yes = "HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: a.example.com\r\ncontent-length: 0\r\n\r\n";
    let (url, serving) = answer_once(yes);
    assert!(!checked(&url, &[]).contains("webhook app"));
    let request = serving.join().unwrap();
    assert!(request.starts_with("OPTIONS /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("webhook-request-origin: a.example.com\r\n"), "{request}");
    let (url, serving) = answer_once("HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n");
    let out = checked(&url, &[]);
    assert!(out.contains("warning: webhook app: ") && out.contains("no WebHook-Allowed-Origin"), "{out}");
    serving.join().unwrap();
    // Nobody is there any more.
    assert!(checked(&url, &[]).contains("warning: webhook app: "));
    assert!(!checked(&url, &["--offline"]).contains("webhook app"));
}

#[test]
fn check_config_tells_all_errors_and_fails() {
    let file = TempFile::new("bad", "[socketio]\nping_interval_ms = 5\nping_timeout = 1\n");
    let path = file.path();
    let (status, out, err) = told(&trunkline(&["check-config", path, "--set", "auth.mode=anonymous"], &[]));
    let expected = format!(
        "{path}:2:20: socketio.ping_interval_ms: must be between 100 and 3600000, got 5\n\
         {path}:3:1: socketio.ping_timeout: unknown key; did you mean `socketio.ping_timeout_ms`?\n"
    );
    assert_eq!((status, out, err), (1, String::new(), expected));
}

#[test]
fn check_config_takes_the_environment_into_account() {
    let file =
        TempFile::new("environment", &format!("[server]\npublic_listen = \"127.0.0.1:8000\"\n{RELAY}"));
    let (status, out, _) =
        told(&trunkline(&["check-config", file.path()], &[("TRUNKLINE_AUTH__MODE", "anonymous")]));
    assert_eq!((status, out), (0, format!("{}: OK\n", file.path())));
}

#[test]
fn check_config_opens_the_files_of_tls() {
    let text =
        "[auth]\nmode = \"anonymous\"\n[tls]\ncertificate = \"/nowhere/a.pem\"\nkey = \"/nowhere/b.pem\"\n";
    let file = TempFile::new("tls", text);
    let (status, _, err) = told(&trunkline(&["check-config", file.path()], &[]));
    let expected = "tls.certificate: cannot read /nowhere/a.pem: No such file or directory (os error 2)\n\
                    tls.key: cannot read /nowhere/b.pem: No such file or directory (os error 2)\n";
    assert_eq!((status, err.as_str()), (1, expected));
}

/// It said OK, and `serve` did not start.
#[test]
fn check_config_finds_what_is_wrong_with_the_files_of_tokens_webhooks_and_bridges() {
    let missing = TempFile::new(
        "files",
        "[auth]\nmode = \"jwt\"\n[auth.jwt]\nkey_file = \"/nowhere/keys\"\njwks_ca_file = \"/nowhere/idp\"\n\
         [[webhook]]\nname = \"app\"\nurl = \"https://127.0.0.1:1/\"\nca_file = \"/nowhere/app\"\n\
         secrets = [\"whsec_ZXhhbXBsZS1vZi0yNC1ieXRlcy1sb25n\"]\ntypes = [\"session.event\"]\n\
         [[bridge]]\nname = \"plant\"\nurl = \"mqtts://127.0.0.1\"\nca_file = \"/nowhere/plant\"\n\
         password_file = \"/nowhere/password\"\n[[bridge.rule]]\ndirection = \"in\"\nfilter = \"a\"\n",
    );
    let (status, _, err) = told(&trunkline(&["check-config", missing.path()], &[]));
    let named: Vec<&str> = err
        .lines()
        .filter_map(|line| line.split_once(": cannot read /nowhere/"))
        .map(|(key, _)| key)
        .collect();
    let expected = [
        "auth.jwt.key_file",
        "auth.jwt.jwks_ca_file",
        "webhook[0].ca_file",
        "bridge[0].ca_file",
        "bridge[0].password_file",
    ];
    assert_eq!((status, named), (1, expected.to_vec()), "{err}");
    // They are there, and are not what they should be.
    let keys = TempFile::new("keys", "no key");
    let wrong = TempFile::new(
        "wrong",
        &format!("[auth]\nmode = \"jwt\"\n[auth.jwt]\nkey_file = \"{}\"\n", keys.path()),
    );
    for command in [&["check-config", wrong.path()][..], &["serve", "--memory", "--config", wrong.path()]] {
        let (status, _, err) = told(&trunkline(command, &[]));
        assert_eq!(status, 1, "{command:?}");
        assert!(err.contains("auth.jwt.key_file: ") && err.contains("must hold a `PUBLIC KEY`"), "{err}");
    }
}

#[test]
fn serve_does_not_start_without_a_choice_of_admission() {
    let file = TempFile::new("serve", "[server]\npublic_listen = \"127.0.0.1:0\"\n");
    let (status, out, err) = told(&trunkline(&["serve", "--config", file.path()], &[]));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.starts_with(&format!("{}: auth.mode: must be set: \"anonymous\"", file.path())), "{err}");
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in
        [&["serve"][..], &["dev", "--public", "somewhere"], &["dev", "--set", "a.b"], &["nonsense"], &[]]
    {
        assert_eq!(trunkline(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_told() {
    let (status, _, err) = told(&trunkline(&["check-config", "/nowhere/trunkline.toml"], &[]));
    let expected = "/nowhere/trunkline.toml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((status, err.as_str()), (1, expected));
}

#[test]
fn pub_posts_the_message_with_the_key_and_prints_the_counts() {
    let (url, server) = answer_once(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
         {\"id\":\"1\",\"results\":[{\"channel\":\"main\",\"delivered\":2,\"queued\":1,\"dropped\":0}]}",
    );
    let arguments = ["pub", "main", "{\"a\":1}", "--event", "say", "--url", &url];
    let output = trunkline(&arguments, &[("TRUNKLINE_KEY", "0123456789abcdef")]);
    assert_eq!(told(&output), (0, "main: delivered 2, queued 1, dropped 0\n".into(), String::new()));
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer 0123456789abcdef\r\n"), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, serde_json::json!({"channel": "main", "event": "say", "data": {"a": 1}}));
}

#[test]
fn problems_of_the_server_are_one_line() {
    let (url, server) = answer_once(
        "HTTP/1.1 422 Unprocessable Content\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
         {\"type\":\"/v1/problems/invalid-channel\",\"code\":\"invalid-channel\",\"detail\":\"a #\"}",
    );
    let (status, _, err) = told(&trunkline(&["pub", "a/#", "x", "--url", &url], &[]));
    assert_eq!((status, err.as_str()), (1, "the server refused: 422 invalid-channel: a #\n"));
    server.join().unwrap();
}

#[test]
fn a_missing_key_is_told_with_what_to_do() {
    let (url, server) = answer_once("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let (status, _, err) = told(&trunkline(&["status", "--url", &url], &[]));
    let expected =
        "the server refused: 401: Unauthorized\nSet TRUNKLINE_KEY to one of the server's private.keys.\n";
    assert_eq!((status, err.as_str()), (1, expected));
    server.join().unwrap();
}

#[test]
fn status_is_a_table() {
    let (url, server) = answer_once(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"version\":\"0.1.0\",\"connections\":{\"all\":3}}",
    );
    let (status, out, _) = told(&trunkline(&["status"], &[("TRUNKLINE_URL", &url)]));
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!((status, lines), (0, vec!["connections.all  3", "version          0.1.0"]));
    assert!(server.join().unwrap().starts_with("GET /v1/server HTTP/1.1\r\n"));
}

/// Regression: above ten megabytes there was an error in the place of the messages.
#[test]
fn an_answer_may_be_large() {
    let body = format!(r#"{{"items":[{{"body":"{}"}}]}}"#, "x".repeat(11 << 20));
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, request) = answer_once(response.leak());
    let (status, out, err) = told(&trunkline(&["queue", "peek", "orders", "--url", &url, "--json"], &[]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.len() > 11 << 20, "{}", out.len());
    assert!(request.join().unwrap().starts_with("GET /v1/queues/orders/peek?limit="));
}

#[test]
fn sub_prints_lines_until_the_stream_ends() {
    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n\
        {}\n{\"channel\":\"chat/r1\",\"event\":\"say\",\"data\":\"hi\"}\n{\"dropped\":3}\n";
    let (url, server) = answer_once(STREAM);
    let (status, out, err) = told(&trunkline(&["sub", "chat/#", "--url", &url], &[]));
    assert_eq!((status, out.as_str()), (1, "chat/r1 say \"hi\"\n{\"dropped\":3}\n"));
    assert_eq!(err, "the server ended the stream\n");
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /v1/tail?filter=chat%2F%23 HTTP/1.1\r\n"), "{request}");

    let (url, server) = answer_once(STREAM);
    let (_, out, _) = told(&trunkline(&["sub", "#", "--json", "--url", &url], &[]));
    assert_eq!(out, "{\"channel\":\"chat/r1\",\"event\":\"say\",\"data\":\"hi\"}\n{\"dropped\":3}\n");
    server.join().unwrap();
}

#[test]
fn a_server_that_is_not_there_is_told_in_words() {
    // A port that was free a moment ago and on which nobody listens.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    for command in [&["status"][..], &["pub", "main", "x"], &["sub", "#"]] {
        let output = trunkline(&[command, &["--url", &url]].concat(), &[]);
        let expected = format!("no server answers at {url}: is `trunkline dev` running?\n");
        assert_eq!(told(&output), (1, String::new(), expected));
    }
    let (status, _, err) = told(&trunkline(&["status", "--url", "https://127.0.0.1:1"], &[]));
    let expected = "https://127.0.0.1:1: must begin with http://, which the private port speaks\n";
    assert_eq!((status, err.as_str()), (1, expected));
}
