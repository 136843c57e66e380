//! A back end that does what a test tells it to, also what no back end should do.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) target: String,
    /// Lower-case names.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) text: String,
    /// The event.
    pub(crate) event: Value,
}

impl Hook {
    /// The type without its prefix.
    pub(crate) fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap().strip_prefix("trunkline.").unwrap()
    }
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Status and body.
    Answer(u16, String),
    /// The same, with a header, and the connection closed behind it.
    AnswerWith(u16, &'static str, String),
    /// The same, after a while.
    Late(Duration, u16, String),
    /// Bytes, and then the end of the connection.
    Raw(&'static str),
    /// A body of these pieces that never ends.
    Endless(u16, &'static str),
    /// Nothing, ever.
    Silence,
}

/// A yes.
pub(crate) fn yes(body: Value) -> Act {
    Act::Answer(200, body.to_string())
}

type Script = dyn Fn(&Hook) -> Act + Send + Sync;

/// It runs until it is dropped.
pub(crate) struct BackEnd {
    pub(crate) address: SocketAddr,
    hooks: Arc<Mutex<Vec<Hook>>>,
    connections: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
    busy_max: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
    open: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.accepting.abort();
        self.open.lock().unwrap().iter().for_each(JoinHandle::abort);
    }
}

impl BackEnd {
    pub(crate) async fn start(script: impl Fn(&Hook) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    /// At an address where one may have been before.
    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Hook) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hooks, open) = (Arc::<Mutex<Vec<Hook>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let counts: [Arc<AtomicUsize>; 3] = Default::default();
        let [connections, busy, busy_max] = counts.clone();
        let (log, list): (_, Arc<Mutex<Vec<JoinHandle<()>>>>) = (Arc::clone(&hooks), Arc::clone(&open));
        let script: Arc<Script> = Arc::new(script);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts[0].fetch_add(1, Ordering::Relaxed);
                let serving = serve(stream, Arc::clone(&script), Arc::clone(&log), counts.clone());
                list.lock().unwrap().push(tokio::spawn(serving));
            }
        });
        Self { address, hooks, connections, busy, busy_max, accepting, open }
    }

    /// What has come so far.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.hooks.lock().unwrap().clone()
    }

    /// Each event once, in the order in which it was first heard.
    pub(crate) fn heard(&self) -> Vec<Hook> {
        let mut ids = HashSet::new();
        self.hooks().into_iter().filter(|hook| ids.insert(hook.event["id"].to_string())).collect()
    }

    /// Of one type.
    pub(crate) fn of(&self, kind: &str) -> Vec<Hook> {
        self.hooks().into_iter().filter(|hook| hook.kind() == kind).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests under way now.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// The most that were under way at once.
    pub(crate) fn busy_max(&self) -> usize {
        self.busy_max.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Hook>>>,
    [_, busy, busy_max]: [Arc<AtomicUsize>; 3],
) {
    let mut buffer = Vec::new();
    while let Some(hook) = read(&mut stream, &mut buffer).await {
        let now = busy.fetch_add(1, Ordering::Relaxed) + 1;
        busy_max.fetch_max(now, Ordering::Relaxed);
        log.lock().unwrap().push(hook.clone());
        let goes_on = act(&mut stream, script(&hook)).await;
        busy.fetch_sub(1, Ordering::Relaxed);
        if !goes_on {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Hook> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
            assert_eq!(first[0], "POST");
            let headers: HashMap<String, String> = lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let bytes: usize = headers["content-length"].parse().unwrap();
            let start = end + 4;
            if buffer.len() >= start + bytes {
                let text = String::from_utf8(buffer[start..start + bytes].to_vec()).unwrap();
                buffer.drain(..start + bytes);
                let event = serde_json::from_str(&text).unwrap();
                return Some(Hook { target: first[1].to_owned(), headers, text, event });
            }
        }
        let mut more = [0; 16 << 10];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => buffer.extend_from_slice(&more[..bytes]),
        }
    }
}

/// Whether the connection goes on.
async fn act(stream: &mut TcpStream, act: Act) -> bool {
    let answer =
        |head: String, body: String| format!("HTTP/1.1 {head}content-length: {}\r\n\r\n{body}", body.len());
    let (text, goes_on) = match act {
        Act::Answer(204, _) => ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), true),
        Act::Answer(status, body) => (answer(format!("{status} X\r\n"), body), true),
        Act::AnswerWith(status, header, body) => {
            (answer(format!("{status} X\r\n{header}\r\nconnection: close\r\n"), body), false)
        }
        Act::Late(time, status, body) => {
            tokio::time::sleep(time).await;
            (answer(format!("{status} X\r\n"), body), true)
        }
        Act::Raw(text) => (text.to_owned(), false),
        Act::Endless(status, piece) => return endless(stream, status, piece).await,
        Act::Silence => std::future::pending().await,
    };
    stream.write_all(text.as_bytes()).await.is_ok() && goes_on
}

/// Until nobody reads it any more.
async fn endless(stream: &mut TcpStream, status: u16, piece: &str) -> bool {
    let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
    let pieces = format!("{:x}\r\n{piece}\r\n", piece.len()).repeat(1000);
    let mut is_read = stream.write_all(head.as_bytes()).await.is_ok();
    while is_read {
        is_read = stream.write_all(pieces.as_bytes()).await.is_ok();
    }
    false
}
