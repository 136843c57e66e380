//! The back end behind one URL: calls wait here for a free line, and lines make them over connections that stay open.
//!
//! Owns how many are under way, who waits and whose turn it is. A line is a task with at most one connection; there are at most
//! `concurrency` of them, and the one used last is used next, so that few stay busy. Must not know what calls say. Start at
//! [`Endpoint::call`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::breaker::{Breaker, Permit};
use super::connection::Answer;
use super::failure::Failure;
use super::line;
use super::sign::Signer;
use crate::config::{Webhook, WebhookType};

/// One URL.
pub(super) struct Endpoint {
    pub(super) config: Webhook,
    pub(super) signer: Signer,
    /// Where the URL has TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pool: Mutex<Pool>,
    counts: Counts,
    /// When trouble was told last.
    told: Mutex<Option<Instant>>,
}

/// What is asked or told.
pub(super) struct Event<'a> {
    /// `None`: of another type than webhooks take, which a test is.
    pub(super) kind: Option<WebhookType>,
    /// Has no dot.
    pub(super) id: &'a str,
    /// Its JSON.
    pub(super) body: Bytes,
}

/// One event on its way, until it is answered or its time is over.
#[derive(Debug)]
pub(super) struct Call {
    /// As of [`Event`].
    pub(super) kind: Option<WebhookType>,
    /// Of the event; has no dot.
    pub(super) id: Box<str>,
    /// The event.
    pub(super) body: Bytes,
    /// Closed once nobody waits any more.
    pub(super) reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// Whose turn comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A client waits.
    Blocking,
    /// Nobody does: it leaves when no other waits.
    Patient,
}

struct Pool {
    /// Those that somebody waits for.
    waiting: VecDeque<Call>,
    /// The others.
    patient: VecDeque<Call>,
    idle: Vec<(u64, oneshot::Sender<Call>)>,
    lines: usize,
    /// Names lines.
    next_line: u64,
    breaker: Breaker,
    /// When somebody will look whether the breaker's time has come.
    watched: Option<Instant>,
}

/// What to do with the call whose turn it is.
enum Turn {
    /// There is none, or no line.
    Over,
    /// None may leave before then.
    NotBefore(Instant),
    /// An idle line takes it.
    Give(oneshot::Sender<Call>, Call),
    /// A new line takes it.
    Begin(Call),
}

/// What a line does when a call is over.
pub(super) enum Next {
    /// This one.
    Call(Call),
    /// It waits for one, under this name.
    Idle(u64, oneshot::Receiver<Call>),
}

/// What has happened, for metrics.
#[derive(Debug, Default)]
struct Counts {
    /// By type; the last is of all others.
    kinds: [KindCounts; KINDS],
    connections: AtomicU64,
}

/// Types, and one for all others.
const KINDS: usize = WebhookType::ALL.len() + 1;

#[derive(Debug, Default)]
struct KindCounts {
    /// By [`Outcome`].
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// What they took in all.
    microseconds: AtomicU64,
}

/// What came of the requests of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfKind {
    /// Its name, or `other`.
    pub(crate) name: &'static str,
    /// By [`Outcome`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    /// What they took in all, from when a line was free.
    pub(crate) took: Duration,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Status 200 to 299.
    Success,
    /// Status 400 to 499.
    Refused,
    /// Any other status.
    Error,
    /// No answer.
    Failed,
}

impl Outcome {
    /// All, with their names in metrics.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Success, "success"),
        (Self::Refused, "refused"),
        (Self::Error, "error"),
        (Self::Failed, "failed"),
    ];

    fn of(result: &Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) => match answer.status {
                200..=299 => Self::Success,
                400..=499 => Self::Refused,
                _ => Self::Error,
            },
            Err(_) => Self::Failed,
        }
    }
}

/// How an endpoint is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// By type.
    pub(crate) kinds: [OfKind; KINDS],
    /// Connections made.
    pub(crate) connections: u64,
    /// Requests under way.
    pub(crate) busy: usize,
    /// Requests that wait for their turn.
    pub(crate) waiting: usize,
    /// Whether requests leave as they come.
    pub(crate) is_closed: bool,
}

impl Counts {
    fn of(&self, at: usize) -> OfKind {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = self.kinds.get(at);
        OfKind {
            name: WebhookType::ALL.get(at).map_or("other", |kind| kind.as_str()),
            outcomes: std::array::from_fn(|outcome| {
                counts.and_then(|counts| counts.outcomes.get(outcome)).map_or(0, read)
            }),
            took: Duration::from_micros(counts.map_or(0, |counts| read(&counts.microseconds))),
        }
    }
}

impl Endpoint {
    pub(super) fn new(config: Webhook, tls: Option<Arc<ClientConfig>>) -> Arc<Self> {
        let signer = Signer::new(&config.secrets);
        let breaker = Breaker::new(config.breaker_failures, Duration::from_millis(config.breaker_pause_ms));
        let pool = Pool {
            waiting: VecDeque::new(),
            patient: VecDeque::new(),
            idle: Vec::new(),
            lines: 0,
            next_line: 0,
            breaker,
            watched: None,
        };
        Arc::new(Self {
            config,
            signer,
            tls,
            pool: Mutex::new(pool),
            counts: Counts::default(),
            told: Mutex::new(None),
        })
    }

    /// Sends an event and waits for the answer, whatever status it has, at most so long.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn call(
        self: &Arc<Self>,
        event: Event<'_>,
        wait: Duration,
        urgency: Urgency,
    ) -> Result<Answer, Failure> {
        let Event { kind, id, body } = event;
        if body.len() > self.config.event_bytes_max {
            return Err(Failure::LargeEvent);
        }
        let (reply, answered) = oneshot::channel();
        let call = Call { kind, id: id.into(), body, reply };
        match urgency {
            Urgency::Blocking => self.pool().waiting.push_back(call),
            Urgency::Patient => self.pool().patient.push_back(call),
        }
        self.dispatch();
        match tokio::time::timeout(wait, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::Stopped),
            Err(_) => Err(Failure::Late),
        }
    }

    /// Tells of trouble, at most every [`TELL_EVERY`].
    pub(super) fn failing(&self, failure: &Failure) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            let webhook = self.config.name.as_str();
            tracing::warn!(webhook, %failure, "the back end gives no answer; further ones are only counted");
        }
    }

    /// How it is doing.
    pub(super) fn standing(&self) -> Standing {
        let pool = self.pool();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Standing {
            kinds: std::array::from_fn(|at| self.counts.of(at)),
            connections: read(&self.counts.connections),
            busy: pool.lines - pool.idle.len(),
            waiting: pool.waiting.len() + pool.patient.len(),
            is_closed: pool.breaker.is_closed(),
        }
    }

    /// Whatever the back end asked for, the next request tries whether it is there.
    pub(super) fn try_again(self: &Arc<Self>) {
        self.pool().breaker.release(Instant::now());
        self.dispatch();
    }

    /// Whether requests leave as they come.
    pub(super) fn is_open(&self) -> bool {
        self.pool().breaker.is_closed()
    }

    pub(super) fn count_connection(&self) {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over.
    pub(super) fn count(&self, kind: Option<WebhookType>, result: &Result<Answer, Failure>, took: Duration) {
        let Some(counts) = self.counts.kinds.get(kind.map_or(KINDS - 1, |kind| kind as usize)) else {
            return;
        };
        let at = Outcome::ALL.iter().position(|(outcome, _)| *outcome == Outcome::of(result));
        if let Some(count) = at.and_then(|at| counts.outcomes.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// A line is done with a call: `None` when nobody waited for its end.
    pub(super) fn finished(self: &Arc<Self>, result: Option<&Result<Answer, Failure>>) -> Next {
        let mut pool = self.pool();
        let was_closed = pool.breaker.is_closed();
        pool.note(result);
        let next = pool.next_of_line();
        let is_closed = pool.breaker.is_closed();
        drop(pool);
        if !was_closed || !is_closed {
            // Others may have waited for this one, or have to be woken later.
            self.dispatch();
        }
        next
    }

    /// Ends a line that waited for long; `false`: a call is on its way to it.
    pub(super) fn retire(&self, line: u64) -> bool {
        let mut pool = self.pool();
        let Some(at) = pool.idle.iter().position(|(name, _)| *name == line) else { return false };
        pool.idle.remove(at);
        pool.lines -= 1;
        true
    }

    /// Gives calls to lines as long as there are both.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let turn = self.pool().turn(usize::from(self.config.concurrency));
            match turn {
                Turn::Over => return,
                Turn::NotBefore(at) => {
                    let endpoint = Arc::clone(self);
                    tokio::spawn(async move {
                        tokio::time::sleep_until(at).await;
                        // Another may look earlier by now.
                        endpoint.pool().watched.take_if(|watched| *watched == at);
                        endpoint.dispatch();
                    });
                    return;
                }
                // A line that is idle waits: it takes it.
                Turn::Give(line, call) => drop(line.send(call)),
                Turn::Begin(call) => drop(tokio::spawn(line::run(Arc::clone(self), call))),
            }
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn turn(&mut self, lines_max: usize) -> Turn {
        self.drop_abandoned();
        if !self.has_calls() || self.idle.is_empty() && self.lines >= lines_max {
            return Turn::Over;
        }
        match self.breaker.permit(Instant::now()) {
            Permit::Go => {}
            Permit::Wait => return Turn::Over,
            Permit::NotBefore(at) if self.watched.is_some_and(|watched| watched <= at) => return Turn::Over,
            Permit::NotBefore(at) => {
                self.watched = Some(at);
                return Turn::NotBefore(at);
            }
        }
        let Some(call) = self.next_call() else { return Turn::Over };
        match self.idle.pop() {
            Some((_, line)) => Turn::Give(line, call),
            None => {
                self.lines += 1;
                Turn::Begin(call)
            }
        }
    }

    /// What the line that has just become free does.
    fn next_of_line(&mut self) -> Next {
        self.drop_abandoned();
        if self.has_calls()
            && self.breaker.is_closed()
            && let Some(call) = self.next_call()
        {
            return Next::Call(call);
        }
        let (sender, receiver) = oneshot::channel();
        let name = self.next_line;
        self.next_line += 1;
        self.idle.push((name, sender));
        Next::Idle(name, receiver)
    }

    fn has_calls(&self) -> bool {
        !self.waiting.is_empty() || !self.patient.is_empty()
    }

    fn next_call(&mut self) -> Option<Call> {
        self.waiting.pop_front().or_else(|| self.patient.pop_front())
    }

    fn drop_abandoned(&mut self) {
        for calls in [&mut self.waiting, &mut self.patient] {
            while calls.front().is_some_and(|call| call.reply.is_closed()) {
                calls.pop_front();
            }
        }
    }

    fn note(&mut self, result: Option<&Result<Answer, Failure>>) {
        let now = Instant::now();
        match result {
            None => self.breaker.abandoned(now),
            Some(Ok(answer)) if answer.status < 500 && answer.status != 429 => self.breaker.succeeded(),
            Some(_) => self.breaker.failed(now),
        }
        if let Some(Ok(Answer { status: 429 | 503, retry_after: Some(wait), .. })) = result {
            self.breaker.hold_until(now + (*wait).min(RETRY_AFTER_MAX));
        }
    }
}

/// Trouble is told of once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// However long a back end wants to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
