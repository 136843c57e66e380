//! What the examples for the acceptance tests share: arguments, the ready file, signals, facts about handshakes.
#![allow(dead_code, reason = "each example uses its part")]

use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use trunkline::config::{Argument, HttpPath, Machine, SourceFile, Sources};
use trunkline::{Config, Connect, Handshake, Server, Session, SessionId};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Handshakes of the sessions admitted, so that an event can show what its connection said.
static HANDSHAKES: OnceLock<Mutex<HashMap<SessionId, Said>>> = OnceLock::new();

/// The auth payload and the handshake of a connection.
type Said = (Value, Arc<Handshake>);

/// Starts a server from `--config FILE` and `--set key=value` arguments; also returns the private port's key.
pub(crate) async fn start() -> Result<(Server, Option<String>), Failure> {
    let config = config()?;
    log(&config);
    let key = config.private.keys.first().map(|key| String::from_utf8_lossy(key.expose()).into_owned());
    Ok((Server::start(config).await?, key))
}

/// As [`start`], with an Engine.IO echo at a path.
pub(crate) async fn start_echo(path: &str) -> Result<(Server, Option<String>), Failure> {
    let mut config = config()?;
    config.engine_echo_path = Some(HttpPath::parse(path)?);
    Ok((Server::start(config).await?, None))
}

/// Logs as configured, so that tests see what is logged.
fn log(config: &Config) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(config.log.filter.targets())).init();
}

fn config() -> Result<Config, Failure> {
    let file =
        argument("--config").map(|name| std::fs::read_to_string(&name).map(|text| SourceFile { name, text }));
    let set = arguments("--set").into_iter().map(|setting| {
        let (key, value) = setting.split_once('=').unwrap_or((&setting, ""));
        Argument { shown: format!("--set {key}"), key: key.to_owned(), value: value.to_owned() }
    });
    let sources = Sources {
        presets: vec![
            ("auth.mode", "back_end".into()),
            ("server.public_listen", "127.0.0.1:0".into()),
            ("server.private_listen", "127.0.0.1:0".into()),
        ],
        file: file.transpose()?,
        arguments: set.collect(),
        ..Sources::default()
    };
    Ok(Config::load(&sources, Machine::detect()).map_err(|problems| problems.to_string())?.config)
}

/// Writes where the server listens, complete and at once.
pub(crate) fn write_ready_file(server: &Server, key: Option<String>) -> Result<(), Failure> {
    let Some(path) = argument("--ready-file") else {
        println!("public http://{} private http://{}", server.public_addr(), server.private_addr());
        return Ok(());
    };
    let ready = json!({
        "public": server.public_addr().to_string(),
        "private": server.private_addr().to_string(),
        "mqtt": server.mqtt_addr().map(|address| address.to_string()),
        "mqtt_tls": server.mqtt_tls_addr().map(|address| address.to_string()),
        "key": key,
    });
    let partial = format!("{path}.partial");
    std::fs::write(&partial, ready.to_string())?;
    Ok(std::fs::rename(partial, path)?)
}

/// Serves until SIGTERM or SIGINT, then drains; SIGHUP reads the certificates again.
pub(crate) async fn until_stopped(server: Server) -> Result<(), Failure> {
    let (mut term, mut hup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = hup.recv() => {
                if let Err(error) = server.reload_tls().await {
                    eprintln!("certificates not reloaded: {error}");
                }
            }
        }
    }
    server.drain().await;
    Ok(())
}

/// Tells a handler's failure; it concerns nobody else.
pub(crate) fn told(result: Result<(), Failure>) {
    if let Err(error) = result {
        eprintln!("handler: {error}");
    }
}

/// Goes on with something slow while the session's next event is handled.
pub(crate) fn meanwhile(work: impl Future<Output = Result<(), Failure>> + Send + 'static) {
    tokio::spawn(async move { told(work.await) });
}

/// The auth payload, `{}` when there was none; remembered with the handshake.
pub(crate) fn auth_of(connect: &Connect) -> Value {
    let auth = if connect.auth.is_object() { connect.auth.clone() } else { json!({}) };
    let known = HANDSHAKES.get_or_init(Mutex::default);
    if let Ok(mut known) = known.lock() {
        known.insert(connect.session.id(), (auth.clone(), Arc::clone(&connect.handshake)));
    }
    auth
}

/// What a session's connection said at its start.
pub(crate) fn handshake_of(session: &Session) -> Value {
    let known = HANDSHAKES.get_or_init(Mutex::default);
    let found = known.lock().ok().and_then(|known| known.get(&session.id()).cloned());
    let (auth, handshake) = found.unwrap_or_default();
    let query: Map<String, Value> =
        handshake.query.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    json!([{ "namespace": session.namespace(), "auth": auth, "query": query }])
}

fn argument(name: &str) -> Option<String> {
    arguments(name).into_iter().next()
}

fn arguments(name: &str) -> Vec<String> {
    let all: Vec<String> = std::env::args().collect();
    let pairs = all.iter().zip(all.iter().skip(1));
    pairs.filter(|(argument, _)| *argument == name).map(|(_, value)| value.clone()).collect()
}
