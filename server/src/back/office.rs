//! The one way from the back office to the shards: sends [`Mail`], collects the [`Report`]s that answer it.
//!
//! Bounded by the shards' mailboxes (a full one is waited for, at most [`FULL_WAIT`]) and by [`PENDING_MAX`]
//! unanswered commands. The lock here guards the table of waiting callers; no shard ever takes it.

use super::checked::Invalid;
use crate::mail::Mail;
use crate::shard::{Sender, Unsent};
use hub::{Command, Refusal, Report, SessionId, ShardId, Token, Topology};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};

/// Longest wait for room in a shard's mailbox before the call fails with [`OfficeError::Busy`].
pub const FULL_WAIT: Duration = Duration::from_secs(1);

/// Unanswered commands of the whole process; a further one waits for its turn.
pub const PENDING_MAX: usize = 65_536;

/// How long a shard may take to answer before it is counted as missing.
pub const ANSWER_WAIT: Duration = Duration::from_millis(2_000);

/// Why the office could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfficeError {
    /// The hub said no.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Clients cannot be sent this.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A shard's mailbox stayed full.
    #[error("the server is overloaded, try again")]
    Busy,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopped,
    /// A shard did not answer in time.
    #[error("a shard did not answer in time")]
    Unanswered,
    /// A publish that its channel's home neither confirmed nor refused in time, or that some shard with subscribers did not,
    /// while the server shuts down or where that shard has to keep it.
    #[error("a shard that the message concerns did not answer in time: it may have been published or not")]
    Uncertain,
}

/// What reports of one token go to.
type Waiters = Mutex<HashMap<Token, mpsc::UnboundedSender<Report>>>;

/// Handle to all shards of this node; clones share everything.
#[derive(Clone)]
pub struct Office {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Sender>,
    topology: Topology,
    waiters: Waiters,
    token_next: AtomicU64,
    pending: Semaphore,
    draining: watch::Sender<bool>,
    /// What is published is kept in a store.
    keeping: AtomicBool,
}

/// What the office is made of.
pub struct OfficePorts {
    /// One mailbox per shard, in order of [`ShardId`].
    pub shards: Vec<Sender>,
    /// How partitions map to shards.
    pub topology: Topology,
    /// Reports of all shards.
    pub reports: mpsc::UnboundedReceiver<Vec<(Token, Report)>>,
}

/// The reports to one command; dropping it forgets the token.
pub struct Answers {
    office: Arc<Inner>,
    token: Token,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl Office {
    /// Starts the task that sorts reports; it ends when every shard has ended.
    #[must_use]
    pub fn start(ports: OfficePorts) -> Self {
        let inner = Arc::new(Inner {
            shards: ports.shards,
            topology: ports.topology,
            waiters: Waiters::default(),
            token_next: AtomicU64::new(1),
            pending: Semaphore::new(PENDING_MAX),
            draining: watch::Sender::new(false),
            keeping: AtomicBool::new(false),
        });
        tokio::spawn(sort_reports(Arc::downgrade(&inner), ports.reports));
        Self { inner }
    }

    /// The node ends: from now on `/health/ready` says no, and a publish is a success only when every shard involved says so.
    /// One that is silent is not late then, but may have ended before it.
    pub(crate) fn start_draining(&self) {
        self.inner.draining.send_replace(true);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.inner.draining.borrow()
    }

    /// Comes when the node begins to end.
    pub(super) async fn drain_begins(&self) {
        let mut draining = self.inner.draining.subscribe();
        // An error would say that the office is gone, which this holds.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// The node has a store: a publish of higher quality is a success only when every shard involved has kept it.
    pub(crate) fn start_keeping(&self) {
        self.inner.keeping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_keeping(&self) -> bool {
        self.inner.keeping.load(Ordering::Relaxed)
    }

    /// Shards of this node, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.inner.topology.shards).map(ShardId)
    }

    /// How partitions map to shards.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.inner.topology
    }

    /// The shard a session lives on.
    #[must_use]
    pub fn home_of(&self, session: SessionId) -> ShardId {
        self.inner.topology.owner(session.partition())
    }

    /// Sends one mail to the shard that a session lives on.
    ///
    /// # Errors
    /// As [`Office::tell`].
    pub fn tell_home(
        &self,
        session: SessionId,
        mail: Mail,
    ) -> impl Future<Output = Result<(), OfficeError>> + '_ {
        self.tell(self.home_of(session), mail)
    }

    /// Sends one mail, waiting a little for room.
    ///
    /// # Errors
    /// [`OfficeError::Busy`] when there was none in [`FULL_WAIT`], [`OfficeError::Stopped`] for a shard that is not there
    /// (any more).
    pub async fn tell(&self, shard: ShardId, mail: Mail) -> Result<(), OfficeError> {
        let sender = self.inner.shards.get(usize::from(shard.0)).ok_or(OfficeError::Stopped)?;
        match sender.try_send(mail) {
            Ok(()) => Ok(()),
            // Boxed, as every future that sends something would be as large as this rare one.
            Err(Unsent::Full(back)) => Box::pin(tell_when_there_is_room(sender, back)).await,
            Err(Unsent::Closed) => Err(OfficeError::Stopped),
        }
    }

    /// Registers a token whose reports will be collected. At most [`PENDING_MAX`] at once; waits for its turn.
    pub async fn expect(&self) -> Answers {
        if let Ok(permit) = self.inner.pending.acquire().await {
            permit.forget();
        }
        let token = Token(self.inner.token_next.fetch_add(1, Ordering::Relaxed));
        let (sender, reports) = mpsc::unbounded_channel();
        self.inner.waiters().insert(token, sender);
        Answers { office: Arc::clone(&self.inner), token, reports }
    }

    /// Sends a command made from a fresh token to one shard and waits for its single report.
    ///
    /// # Errors
    /// As [`Office::tell`]; [`OfficeError::Refused`] when the hub refuses; [`OfficeError::Unanswered`].
    pub async fn ask(
        &self,
        shard: ShardId,
        command: impl FnOnce(Token) -> Command,
    ) -> Result<Report, OfficeError> {
        let mut answers = self.expect().await;
        self.tell(shard, Mail::Hub(command(answers.token()))).await?;
        answers.within(ANSWER_WAIT).await
    }

    /// Sends a command to every shard and adds up the counts they report.
    ///
    /// # Errors
    /// The first error of any shard; commands already sent to others still take effect.
    pub async fn count(&self, command: impl Fn(Token) -> Command) -> Result<u64, OfficeError> {
        let mut total = 0;
        let mut waiting = Vec::new();
        for shard in self.shards() {
            let answers = self.expect().await;
            self.tell(shard, Mail::Hub(command(answers.token()))).await?;
            waiting.push(answers);
        }
        for mut answers in waiting {
            if let Report::Count(n) = answers.within(ANSWER_WAIT).await? {
                total += n;
            }
        }
        Ok(total)
    }
}

/// Tries again until [`FULL_WAIT`] is over.
async fn tell_when_there_is_room(sender: &Sender, mut mail: Box<Mail>) -> Result<(), OfficeError> {
    let deadline = tokio::time::Instant::now() + FULL_WAIT;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
        match sender.try_send(*mail) {
            Ok(()) => return Ok(()),
            Err(Unsent::Full(back)) => mail = back,
            Err(Unsent::Closed) => return Err(OfficeError::Stopped),
        }
    }
    Err(OfficeError::Busy)
}

impl Answers {
    /// To be put into the command.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The next report, refusals as errors.
    ///
    /// # Errors
    /// [`OfficeError::Refused`], or [`OfficeError::Unanswered`] when none came in time.
    pub async fn within(&mut self, wait: Duration) -> Result<Report, OfficeError> {
        match tokio::time::timeout(wait, self.reports.recv()).await {
            Ok(Some(Report::Refused(refusal))) => Err(OfficeError::Refused(refusal)),
            Ok(Some(report)) => Ok(report),
            Ok(None) | Err(_) => Err(OfficeError::Unanswered),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.office.waiters().remove(&self.token);
        self.office.pending.add_permits(1);
    }
}

impl Inner {
    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<Token, mpsc::UnboundedSender<Report>>> {
        self.waiters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Hands each report to the caller that waits for its token; reports nobody waits for are late and dropped.
async fn sort_reports(
    inner: std::sync::Weak<Inner>,
    mut reports: mpsc::UnboundedReceiver<Vec<(Token, Report)>>,
) {
    while let Some(batch) = reports.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        let waiters = inner.waiters();
        for (token, report) in batch {
            if let Some(waiter) = waiters.get(&token) {
                // A caller that stopped listening between two reports loses nothing it wanted.
                let _ = waiter.send(report);
            }
        }
    }
}
