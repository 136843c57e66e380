//! The one way from the back office to the shards: sends [`Mail`], collects the [`Report`]s that answer it.
//!
//! Bounded by the shards' mailboxes (a full one is waited for, at most [`FULL_WAIT`]) and by [`PENDING_MAX`]
//! unanswered commands. The lock here guards the table of waiting callers; no shard ever takes it.

use super::checked::Invalid;
use crate::mail::Mail;
use crate::shard::{Sender, Unsent};
use hub::{Command, Refusal, Report, SessionId, ShardId, Token, Topology};
use std::collections::{BTreeMap, HashMap};
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

/// What reports go to, by their tokens.
#[derive(Default)]
struct Waiters {
    /// Boxed: a channel has room for 32 from its start, and there is one for every request.
    single: HashMap<Token, mpsc::UnboundedSender<Box<Report>>>,
    /// By the first token of each.
    many: BTreeMap<Token, Many>,
}

/// Tokens that follow each other, of one caller.
struct Many {
    count: u64,
    sender: mpsc::UnboundedSender<Vec<(usize, Report)>>,
}

/// Handle to all shards of this node; clones share everything.
#[derive(Clone)]
pub struct Office {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Sender>,
    topology: Topology,
    waiters: Mutex<Waiters>,
    token_next: AtomicU64,
    pending: Semaphore,
    draining: watch::Sender<bool>,
    /// Clients are sent away, and the node goes on.
    leaving: AtomicBool,
    /// The node ends, and the shards do nothing more.
    closing: AtomicBool,
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

/// Commands of one [`Office::expect_many`].
pub(super) const MANY_MAX: usize = 1000;

/// The reports to many commands; dropping it forgets their tokens.
pub(super) struct ManyAnswers {
    office: Arc<Inner>,
    first: u64,
    count: u32,
    reports: mpsc::UnboundedReceiver<Vec<(usize, Report)>>,
}

/// The reports to one command; dropping it forgets the token.
pub struct Answers {
    office: Arc<Inner>,
    token: Token,
    reports: mpsc::UnboundedReceiver<Box<Report>>,
}

impl Office {
    /// Starts the task that sorts reports; it ends when every shard has ended.
    #[must_use]
    pub fn start(ports: OfficePorts) -> Self {
        let inner = Arc::new(Inner {
            shards: ports.shards,
            topology: ports.topology,
            waiters: Mutex::default(),
            token_next: AtomicU64::new(1),
            pending: Semaphore::new(PENDING_MAX),
            draining: watch::Sender::new(false),
            leaving: AtomicBool::new(false),
            closing: AtomicBool::new(false),
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

    /// From now on what shards do not do is not tried again.
    pub(crate) fn start_closing(&self) {
        self.inner.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inner.closing.load(Ordering::Relaxed)
    }

    /// Clients are sent away from now on. Everything else goes on.
    pub(super) fn start_leaving(&self) {
        self.inner.leaving.store(true, Ordering::Relaxed);
    }

    /// Clients are welcome again.
    pub(super) fn stop_leaving(&self) {
        self.inner.leaving.store(false, Ordering::Relaxed);
    }

    /// Whether clients are sent away, be it since the node ends.
    pub(super) fn sends_away(&self) -> bool {
        self.is_draining() || self.inner.leaving.load(Ordering::Relaxed)
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
        self.inner.waiters().single.insert(token, sender);
        Answers { office: Arc::clone(&self.inner), token, reports }
    }

    /// The same for so many commands at once, at most [`MANY_MAX`]; their reports come together.
    pub(super) async fn expect_many(&self, count: usize) -> ManyAnswers {
        let count = u32::try_from(count.min(MANY_MAX)).unwrap_or(u32::MAX);
        if let Ok(permits) = self.inner.pending.acquire_many(count).await {
            permits.forget();
        }
        let first = self.inner.token_next.fetch_add(u64::from(count), Ordering::Relaxed);
        let (sender, reports) = mpsc::unbounded_channel();
        self.inner.waiters().many.insert(Token(first), Many { count: u64::from(count), sender });
        ManyAnswers { office: Arc::clone(&self.inner), first, count, reports }
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
        self.ask_by(shard, |token| Mail::Hub(command(token))).await
    }

    /// The same with the mail that the command is in.
    pub(super) async fn ask_by(
        &self,
        shard: ShardId,
        mail: impl FnOnce(Token) -> Mail,
    ) -> Result<Report, OfficeError> {
        let mut answers = self.expect().await;
        self.tell(shard, mail(answers.token())).await?;
        answers.within(ANSWER_WAIT).await
    }

    /// Sends a command to every shard and adds up the counts they report.
    ///
    /// # Errors
    /// The first error of any shard; commands already sent to others still take effect.
    pub async fn count(&self, command: impl Fn(Token) -> Command) -> Result<u64, OfficeError> {
        self.count_by(|token| Mail::Hub(command(token))).await
    }

    /// The same with the mail that the command is in.
    pub(super) async fn count_by(&self, mail: impl Fn(Token) -> Mail) -> Result<u64, OfficeError> {
        let mut total = 0;
        let mut waiting = Vec::new();
        for shard in self.shards() {
            let answers = self.expect().await;
            self.tell(shard, mail(answers.token())).await?;
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
        match tokio::time::timeout(wait, self.reports.recv()).await.ok().flatten().map(|report| *report) {
            Some(Report::Refused(refusal)) => Err(OfficeError::Refused(refusal)),
            Some(report) => Ok(report),
            None => Err(OfficeError::Unanswered),
        }
    }
}

impl ManyAnswers {
    /// To be put into the command of this place.
    pub(super) fn token(&self, place: usize) -> Token {
        Token(self.first + place as u64)
    }

    /// The reports that are there next, each with the place of its command; `None` when none came by then.
    pub(super) async fn until(&mut self, until: tokio::time::Instant) -> Option<Vec<(usize, Report)>> {
        tokio::time::timeout_at(until, self.reports.recv()).await.ok().flatten()
    }
}

impl Drop for ManyAnswers {
    fn drop(&mut self) {
        self.office.waiters().many.remove(&Token(self.first));
        self.office.pending.add_permits(self.count as usize);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.office.waiters().single.remove(&self.token);
        self.office.pending.add_permits(1);
    }
}

impl Inner {
    fn waiters(&self) -> std::sync::MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Waiters {
    /// A report that nobody waits for is late. A caller that stopped listening between two reports loses nothing it wanted.
    fn sort(&self, batch: Vec<(Token, Report)>) {
        let mut together: BTreeMap<Token, Vec<(usize, Report)>> = BTreeMap::new();
        for (token, report) in batch {
            if let Some(waiter) = self.single.get(&token) {
                let _ = waiter.send(Box::new(report));
            } else if let Some((first, many)) = self.many.range(..=token).next_back() {
                let place = token.0 - first.0;
                if place < many.count {
                    together.entry(*first).or_default().push((place as usize, report));
                }
            }
        }
        for (first, reports) in together {
            if let Some(many) = self.many.get(&first) {
                let _ = many.sender.send(reports);
            }
        }
    }
}

/// Hands each report to the caller that waits for its token.
async fn sort_reports(
    inner: std::sync::Weak<Inner>,
    mut reports: mpsc::UnboundedReceiver<Vec<(Token, Report)>>,
) {
    while let Some(batch) = reports.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        inner.waiters().sort(batch);
    }
}
