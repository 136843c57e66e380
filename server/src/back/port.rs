//! A port of the back office: its connections, and how long they may take to say what they want.
//!
//! Owns sockets and times of HTTP/1.1; what is asked is the router's. Start at [`Served::start`].

use super::rest;
use crate::config::Config;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep};

/// How long answers may take to be written, once nothing is behind them any more.
const ANSWERS_WAIT: Duration = Duration::from_secs(1);

/// Until connections are accepted again when there was no file for one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What of a body has to come within the time of a body.
const PIECE_BYTES: usize = 65_536;

/// Bytes of an answer that the kernel takes before they can be sent: of more it would not tell for long that somebody reads.
const UNSENT_BYTES_MAX: u32 = 65_536;

/// A port that is served.
pub(crate) struct Served {
    /// Where it listens, port resolved.
    pub(crate) addr: SocketAddr,
    /// Dropped to end it.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// How long a client may take.
#[derive(Clone, Copy)]
struct Times {
    /// To the end of the first head.
    head: Duration,
    /// From one answer to the end of the next head.
    next: Duration,
    /// For each [`PIECE_BYTES`] of a body.
    body: Duration,
    /// In which something of an answer has to leave.
    write: Duration,
}

impl Served {
    /// Answers on a socket that listens.
    pub(crate) fn start(
        router: Router,
        (listener, addr): (TcpListener, SocketAddr),
        config: &Config,
    ) -> Self {
        let limits = &config.limits;
        let head = Duration::from_millis(limits.head_timeout_ms);
        let times = Times {
            head,
            next: head.max(Duration::from_secs(u64::from(limits.keep_alive_seconds))),
            body: Duration::from_millis(limits.body_timeout_ms),
            write: Duration::from_millis(limits.write_timeout_ms),
        };
        let (stop, stopped) = oneshot::channel();
        Self { addr, stop, serving: tokio::spawn(serve(listener, router, times, stopped)) }
    }

    /// Takes no more requests. Answers that are being written have a little time.
    pub(crate) async fn end(self) {
        drop(self.stop);
        // An error says that it was not enough, or that it has ended by a panic, which was reported.
        let _ = tokio::time::timeout(ANSWERS_WAIT, self.serving).await;
    }
}

async fn serve(listener: TcpListener, router: Router, times: Times, stopped: oneshot::Receiver<()>) {
    let (end, ended) = watch::channel(());
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(talk(stream, router.clone(), times, ended.clone()))),
                Err(error) => wait_after(&error).await,
            },
            _ = &mut stopped => break,
        }
    }
    drop((listener, ended));
    // Fails only if no connection is left.
    let _ = end.send(());
    end.closed().await;
}

/// What is wrong with one connection is its own affair; for more there may be no file.
async fn wait_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::warn!(%error, "a connection of the back office cannot be accepted");
        sleep(ACCEPT_AGAIN).await;
    }
}

/// One connection to its end.
async fn talk(stream: TcpStream, router: Router, times: Times, mut ended: watch::Receiver<()>) {
    // It is merely slower without.
    let _ = stream.set_nodelay(true);
    // Without, slow readers look like those that do not read at all.
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    let has_asked = Arc::new(AtomicBool::new(false));
    let (router, asked) = (TowerToHyperService::new(router), Arc::clone(&has_asked));
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        answer(&router, request, times.body)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.next)
        .serve_connection(TokioIo::new(Written::new(stream, times.write)), service);
    let mut connection = pin!(connection);
    let mut first_head = pin!(sleep(times.head));
    let (mut is_new, mut is_ending) = (true, false);
    loop {
        tokio::select! {
            // An error is the client's: it has left, or talks nonsense.
            _ = connection.as_mut() => return,
            () = first_head.as_mut(), if is_new => {
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
                is_new = false;
            }
            _ = ended.changed(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A socket whose writes are given up when for a while the other end has read nothing of what it asked for. While there is nothing
/// to write no time runs, so an answer may go on for ever.
struct Written {
    stream: TcpStream,
    /// In which something has to leave.
    time: Duration,
    /// Runs while nothing does.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Written {
    fn new(stream: TcpStream, time: Duration) -> Self {
        Self { stream, time, waiting: None }
    }

    fn within_time(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let time = self.time;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx));
        tracing::debug!("a client of the back office does not read its answer");
        // What it did not read is of no use to anybody. Otherwise the kernel would keep it for a while.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Written {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Written {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.within_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

type Answer = Result<Response<Body>, Infallible>;

/// What the router says, unless the body was late.
fn answer(
    router: &TowerToHyperService<Router>,
    request: Request<Incoming>,
    body_time: Duration,
) -> impl Future<Output = Answer> + use<> {
    let (parts, body) = request.into_parts();
    // Most requests that are small or have no body are here already.
    let (body, late) = if body.is_end_stream() {
        (Body::new(body), None)
    } else {
        let late = Arc::new(AtomicBool::new(false));
        (Body::new(Timed::new(body, body_time, Arc::clone(&late))), Some(late))
    };
    let answering = router.call(Request::from_parts(parts, body));
    async move {
        let response = answering.await?;
        let is_late = late.is_some_and(|late| late.load(Ordering::Relaxed));
        Ok(if is_late { rest::late_body() } else { response })
    }
}

/// A body that is given up once too little of it came in its time. The time runs only while somebody waits for it.
struct Timed {
    body: Incoming,
    /// For each piece.
    time: Duration,
    /// Of it, for this piece.
    left: Duration,
    /// Bytes that are missing of this piece.
    missing: usize,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    late: Arc<AtomicBool>,
}

impl Timed {
    fn new(body: Incoming, time: Duration, late: Arc<AtomicBool>) -> Self {
        Self { body, time, left: time, missing: PIECE_BYTES, waiting: None, late }
    }

    fn came(&mut self, bytes: usize) {
        if bytes >= self.missing {
            (self.missing, self.left) = (PIECE_BYTES, self.time);
        } else {
            self.missing -= bytes;
        }
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some((since, _)) = self.waiting.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            self.came(bytes.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.left;
        let (_, time) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(time.as_mut().poll(cx));
        self.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
