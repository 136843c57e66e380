//! What waits for the writer: bounded, in order, and refused in the caller's thread when it is full. Knows nothing of what
//! is done with it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hub::Partition;

use super::error::RETRY_AFTER;
use super::loss::Left;
use super::upkeep::Progress;
use crate::{Append, Change, Completion, Done, Entity, Position, RowOp, Snapshot, StoreError, Write};

/// Entries of one transaction. What came together is never divided, so one write alone may have more.
const GROUP_ENTRIES_MAX: usize = 4_096;
/// Bytes of bodies of one transaction, likewise.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Where somebody waits for an answer.
pub(super) type Reply<T> = SyncSender<Result<T, StoreError>>;

/// Something to do in a transaction, together with others, or by itself.
pub(super) enum Job {
    Write { batch: Vec<Write>, done: Done },
    Change { ops: Vec<RowOp>, done: Done },
    Snapshot { partition: Partition, snapshot: Snapshot, reply: Reply<()> },
    Trim { entity: Entity, before: Position, reply: Reply<Left> },
    Expire(Reply<Left>),
    Task(Task),
}

/// What takes long: done in steps, between which the others go on.
pub(super) enum Task {
    Backup { to: PathBuf, told: Sender<Told> },
    Compact { told: Sender<Told> },
}

/// What a task says while it is at work.
pub(super) enum Told {
    Progress(Progress),
    /// The last word.
    Over(Result<(), StoreError>),
    /// The last word about a file that is none of the store's.
    Broken(String),
}

impl Job {
    fn entries(&self) -> usize {
        match self {
            Self::Write { batch, .. } => batch.len(),
            Self::Change { ops, .. } => ops.len(),
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Write { batch, .. } => batch.iter().map(write_bytes).sum(),
            Self::Change { ops, .. } => ops.iter().map(change_bytes).sum(),
            Self::Snapshot { snapshot, .. } => snapshot.state.len(),
            _ => 0,
        }
    }

    /// Answers that it was not done.
    pub(super) fn refuse(self, error: StoreError) {
        // Who does not wait any more needs no answer.
        match self {
            Self::Write { batch, done } => done.complete(Completion::Written(vec![Err(error); batch.len()])),
            Self::Change { ops, done } => done.complete(Completion::Changed(vec![Err(error); ops.len()])),
            Self::Snapshot { reply, .. } => drop(reply.send(Err(error))),
            Self::Trim { reply, .. } | Self::Expire(reply) => drop(reply.send(Err(error))),
            Self::Task(Task::Backup { told, .. } | Task::Compact { told }) => {
                drop(told.send(Told::Over(Err(error))));
            }
        }
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Append(Append { entity, body, .. }) => entity.name.len() + body.len(),
        Write::Remove { .. } => 0,
    }
}

fn change_bytes(op: &RowOp) -> usize {
    match &op.change {
        Change::Put { body, .. } => op.key.len() + body.len(),
        Change::Delete => op.key.len(),
    }
}

/// Jobs in the order they came.
pub(super) struct Mailbox {
    entries_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    entries: usize,
    bytes: usize,
    /// What everybody is answered from now on.
    refusal: Option<StoreError>,
}

/// What the writer finds.
pub(super) enum Taken {
    /// To be done as one transaction.
    Group(Vec<Job>),
    Task(Task),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl Mailbox {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries_max, bytes_max, waiting: Mutex::default(), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    /// Puts a job behind the others, or refuses it.
    pub(super) fn push(&self, job: Job) {
        let (entries, bytes) = (job.entries(), job.bytes());
        let mut waiting = self.lock();
        if let Some(refusal) = waiting.refusal.clone() {
            drop(waiting);
            return job.refuse(refusal);
        }
        let is_full = waiting.entries + entries > self.entries_max || waiting.bytes + bytes > self.bytes_max;
        if is_full && !waiting.jobs.is_empty() {
            drop(waiting);
            return job.refuse(StoreError::Unavailable { retry_after: RETRY_AFTER });
        }
        waiting.entries += entries;
        waiting.bytes += bytes;
        waiting.jobs.push_back(job);
        drop(waiting);
        self.news.notify_one();
    }

    /// What waits, up to the bounds of a group. Waits at most that long.
    pub(super) fn take(&self, wait: Duration) -> Taken {
        let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && waiting.refusal.is_none();
        let waited = self.news.wait_timeout_while(self.lock(), wait, is_idle);
        let (mut waiting, _) = waited.expect("no holder of this lock panics");
        match waiting.jobs.front() {
            None if waiting.refusal.is_some() => Taken::Closed,
            None => Taken::Nothing,
            Some(Job::Task(_)) => match waiting.pop() {
                Some(Job::Task(task)) => Taken::Task(task),
                _ => Taken::Nothing,
            },
            Some(_) => Taken::Group(waiting.group()),
        }
    }

    /// A group, when one waits and no task is before it.
    pub(super) fn take_group(&self) -> Taken {
        let mut waiting = self.lock();
        match waiting.jobs.front() {
            _ if waiting.refusal.is_some() => Taken::Closed,
            None | Some(Job::Task(_)) => Taken::Nothing,
            Some(_) => Taken::Group(waiting.group()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    /// Entries and bytes that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.entries, waiting.bytes)
    }

    /// Takes no more jobs; those that wait are done.
    pub(super) fn close(&self) {
        self.lock().refusal.get_or_insert(StoreError::Failed);
        self.news.notify_all();
    }

    /// Takes no more jobs, and refuses those that wait.
    pub(super) fn fail(&self) {
        let mut waiting = self.lock();
        waiting.refusal = Some(StoreError::Failed);
        let jobs = std::mem::take(&mut waiting.jobs);
        (waiting.entries, waiting.bytes) = (0, 0);
        drop(waiting);
        for job in jobs {
            job.refuse(StoreError::Failed);
        }
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.entries -= job.entries();
        self.bytes -= job.bytes();
        Some(job)
    }

    fn group(&mut self) -> Vec<Job> {
        let (mut entries, mut bytes) = (0, 0);
        let mut group = Vec::new();
        while let Some(next) = self.jobs.front() {
            entries += next.entries();
            bytes += next.bytes();
            let is_over = entries > GROUP_ENTRIES_MAX || bytes > GROUP_BYTES_MAX;
            if matches!(next, Job::Task(_)) || is_over && !group.is_empty() {
                break;
            }
            group.extend(self.pop());
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel, sync_channel};

    use super::*;

    fn expire() -> (Job, Receiver<Result<Left, StoreError>>) {
        let (reply, answer) = sync_channel(1);
        (Job::Expire(reply), answer)
    }

    #[test]
    fn who_comes_when_it_is_full_is_refused_and_nobody_else() {
        let mailbox = Mailbox::new(2, 100);
        let answers: Vec<_> = (0..3)
            .map(|_| {
                let (job, answer) = expire();
                mailbox.push(job);
                answer
            })
            .collect();
        let refused: Vec<bool> = answers.iter().map(|answer| answer.try_recv().is_ok()).collect();
        assert_eq!(refused, [false, false, true]);
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Group(group) if group.len() == 2));
        assert_eq!(mailbox.load(), (0, 0));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Nothing));
    }

    #[test]
    fn what_waits_when_it_is_closed_is_still_taken() {
        let mailbox = Mailbox::new(2, 100);
        let (job, answer) = expire();
        mailbox.push(job);
        mailbox.close();
        let (late, refused) = expire();
        mailbox.push(late);
        assert_eq!(refused.try_recv(), Ok(Err(StoreError::Failed)));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Group(_)));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Closed));
        assert!(answer.try_recv().is_err(), "it was not refused");
    }

    #[test]
    fn what_waits_when_it_fails_is_refused() {
        let mailbox = Mailbox::new(2, 100);
        let (job, answer) = expire();
        mailbox.push(job);
        mailbox.fail();
        assert_eq!(answer.try_recv(), Ok(Err(StoreError::Failed)));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn a_task_is_taken_alone_and_in_its_turn() {
        let mailbox = Mailbox::new(10, 100);
        let (told, _news) = channel();
        mailbox.push(expire().0);
        mailbox.push(Job::Task(Task::Compact { told }));
        mailbox.push(expire().0);
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Group(group) if group.len() == 1));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Task(Task::Compact { .. })));
        assert!(matches!(mailbox.take(Duration::ZERO), Taken::Group(group) if group.len() == 1));
    }
}
