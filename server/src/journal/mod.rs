//! What shards keep beyond the life of the process: their changes on the way into the log, and the log on its way back into
//! hubs.
//!
//! One thread gathers the changes of all shards and writes what has come together as one batch, one batch at a time: while
//! the disk is busy the next batch grows. When the log says that a batch is safe the shards are told. A batch that finds the
//! store full or away is tried again until it is written; nothing that rests on it is acknowledged meanwhile. After a
//! failure nothing is written any more, and [`Failure`] says so. `form` (with `resumption`) owns the bytes of a record, [`Wall`] what becomes of
//! times, `load` what hubs read again. Must not know what a record is good for. Start at [`read`] and [`Writer::start`].

mod form;
mod load;
mod resumption;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel as channel;
use hub::queue::MoveId;
use hub::{Entry, Partition, Place, Record, ShardId, Topology};
use store::{
    Append, Completion, Completions, Done, Entity, Log, Max, Position, RecordId, StoreError, Token, Write,
};
use tokio::sync::oneshot;

use crate::shard::Sender;

pub use form::Wall;
pub(crate) use load::message;

/// Changes in one batch; more wait for the next.
const BATCH_ENTRIES_MAX: usize = 4_096;

/// How long a batch waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often it is said that the store takes nothing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A page of a log that is read.
const PAGE: Max = Max { records: 4_096, bytes: 8 << 20 };

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store says no.
    #[error("partition {}: {error}", partition.0)]
    Store {
        /// Whose log.
        partition: Partition,
        /// What it says.
        error: StoreError,
    },
    /// A record that means nothing to this version.
    #[error("partition {}: record {number} is of another version or damaged", partition.0)]
    Unreadable {
        /// Whose log.
        partition: Partition,
        /// Which.
        number: u64,
    },
}

/// The store takes no changes any more: nothing is acknowledged until the process is started again.
#[derive(Debug, thiserror::Error)]
#[error("the store takes no more changes: {0}")]
pub struct Failure(StoreError);

/// Where shards put their changes, and say which messages of queues they want back.
#[derive(Clone, Debug)]
pub struct JournalInlet {
    batches: channel::Sender<(ShardId, Vec<Entry>)>,
    loads: channel::Sender<Load>,
}

/// A message of a queue that a hub wants back.
#[derive(Clone, Copy, Debug)]
struct Load {
    shard: ShardId,
    id: MoveId,
    place: Place,
}

impl JournalInlet {
    /// Takes changes of a shard, in order. Never waits.
    pub fn write(&self, shard: ShardId, entries: Vec<Entry>) {
        // Fails only after a failure, which was reported.
        let _ = self.batches.send((shard, entries));
    }

    /// The hub of a shard wants the message at this place, and gets it by
    /// [`QueueCommand::Loaded`](hub::queue::QueueCommand::Loaded). Never waits.
    pub fn load(&self, shard: ShardId, id: MoveId, place: Place) {
        // Fails only when the shards have ended.
        let _ = self.loads.send(Load { shard, id, place });
    }
}

/// Takes what shards put into the inlet.
#[derive(Debug)]
pub struct JournalOutlet {
    batches: channel::Receiver<(ShardId, Vec<Entry>)>,
    loads: channel::Receiver<Load>,
}

/// Both ends; what is put in before there is a writer waits.
#[must_use]
pub fn inlet() -> (JournalInlet, JournalOutlet) {
    let (batch, batches) = channel::unbounded();
    let (load, loads) = channel::unbounded();
    (JournalInlet { batches: batch, loads: load }, JournalOutlet { batches, loads })
}

/// What was kept for one shard.
#[derive(Debug, Default)]
pub struct Kept {
    /// Numbers of the newest records there ever were.
    pub last: Vec<(Partition, u64)>,
    /// The records that are there, in order per partition.
    pub records: Vec<(Place, Record)>,
}

/// What was kept, by shard, and where each log ends.
#[derive(Debug)]
pub struct Found {
    /// By shard.
    pub shards: Vec<Kept>,
    ends: Vec<Position>,
}

/// Reads all logs. `progress` is told how many records were read, now and then.
///
/// # Errors
/// [`ReadError`]: nothing is left out, so a store of which a part is of no use is not started with.
pub fn read(
    log: &dyn Log,
    topology: Topology,
    wall: Wall,
    mut progress: impl FnMut(u64),
) -> Result<Found, ReadError> {
    let mut shards: Vec<Kept> = (0..topology.shards).map(|_| Kept::default()).collect();
    let (mut ends, mut count) = (Vec::new(), 0);
    for partition in (0..topology.partitions).map(Partition) {
        let Some(kept) = shards.get_mut(usize::from(topology.owner(partition).0)) else { continue };
        let mut after = None;
        let end = loop {
            let page = log.replay(partition, after, PAGE);
            let page = page.map_err(|error| ReadError::Store { partition, error })?;
            count += page.records.len() as u64;
            for record in page.records {
                let number = record.position.offset;
                let read = form::decode(&record.body, wall);
                let read = read.ok_or(ReadError::Unreadable { partition, number })?;
                kept.records.push((Place { partition, number }, read));
            }
            progress(count);
            match page.next {
                Some(next) => after = Some(next),
                None => break page.end,
            }
        };
        kept.last.push((partition, end.offset));
        ends.push(end);
    }
    Ok(Found { shards, ends })
}

/// Writes the changes of all shards.
pub struct Writer {
    log: Arc<dyn Log>,
    wall: Wall,
    outlet: JournalOutlet,
    /// By partition; each number is an offset of this epoch.
    epochs: Vec<u64>,
    /// By shard: whom to tell, and how many of its changes are safe.
    shards: Vec<(Sender, u64)>,
    complained: Option<Instant>,
}

/// A writer at work.
pub struct Writing {
    threads: [JoinHandle<()>; 2],
    /// Comes once, if at all.
    pub failure: oneshot::Receiver<Failure>,
}

impl Writing {
    /// Waits until everything is written that was put into inlets, of which there must be none left.
    pub fn finish(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal had ended by a panic");
            }
        }
    }
}

impl Writer {
    /// A writer that goes on where `found` ends.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, wall: Wall, outlet: JournalOutlet, found: &Found) -> Self {
        let epochs = found.ends.iter().map(|end| end.epoch).collect();
        Self { log, wall, outlet, epochs, shards: Vec::new(), complained: None }
    }

    /// Starts the threads: one writes, the other reads.
    ///
    /// # Errors
    /// When the system has no threads for it.
    pub fn start(mut self, shards: Vec<Sender>) -> io::Result<Writing> {
        let (log, loads, readers) = (Arc::clone(&self.log), self.outlet.loads.clone(), shards.clone());
        let load = move || load::serve(&*log, &loads, &readers);
        let loading = std::thread::Builder::new().name("journal-loads".to_owned()).spawn(load)?;
        self.shards = shards.into_iter().map(|sender| (sender, 0)).collect();
        let (failed, failure) = oneshot::channel();
        let run = move || {
            if let Err(error) = self.run() {
                tracing::error!(%error, "nothing is acknowledged any more, start the server again");
                // Nobody may be interested.
                let _ = failed.send(error);
            }
        };
        let writing = std::thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Writing { threads: [writing, loading], failure })
    }

    fn run(&mut self) -> Result<(), Failure> {
        while let Ok(first) = self.outlet.batches.recv() {
            let mut taken = VecDeque::from([first]);
            let mut count = taken.iter().map(|(_, entries)| entries.len()).sum::<usize>();
            while count < BATCH_ENTRIES_MAX
                && let Ok(more) = self.outlet.batches.try_recv()
            {
                count += more.1.len();
                taken.push_back(more);
            }
            let entries = taken.iter().flat_map(|(_, entries)| entries);
            self.write(entries.map(|entry| self.written(entry)).collect())?;
            for (shard, entries) in &taken {
                if let Some((_, safe)) = self.shards.get_mut(usize::from(shard.0)) {
                    *safe += entries.len() as u64;
                }
            }
            self.shards.iter().for_each(|(sender, safe)| sender.kept(*safe));
        }
        Ok(())
    }

    fn written(&self, entry: &Entry) -> Write {
        match entry {
            Entry::Drop(place) => Write::Remove { partition: place.partition, offset: place.number },
            Entry::Keep { place, record } => {
                let Place { partition, number } = *place;
                let epoch = self.epochs.get(usize::from(partition.0)).copied().unwrap_or_default();
                Write::Append(Append {
                    entity: Entity { partition, name: bytes::Bytes::new() },
                    id: record_id(partition, number),
                    expect: Some(Position { epoch, offset: number - 1 }),
                    ttl: None,
                    body: form::encode(record, self.wall),
                })
            }
        }
    }

    /// Returns when all of it is safe.
    fn write(&mut self, mut batch: Vec<Write>) -> Result<(), Failure> {
        let (sender, answers) = channel::bounded(1);
        let sink: Arc<dyn Completions> = Arc::new(Answer(sender));
        loop {
            self.log.write(batch.clone(), Done::new(Arc::clone(&sink), Token(0)));
            let results = match answers.recv() {
                Ok(Completion::Written(results)) => results,
                Ok(_) | Err(channel::RecvError) => return Err(Failure(StoreError::Failed)),
            };
            let mut left = Vec::new();
            let mut refused = None;
            for (write, result) in batch.into_iter().zip(results) {
                match result {
                    Ok(_) => {}
                    Err(StoreError::Unknown) if self.is_there(&write) => {}
                    Err(error) => {
                        refused.get_or_insert(error);
                        left.push(write);
                    }
                }
            }
            match refused {
                None => return Ok(()),
                Some(error) => self.wait_after(error)?,
            }
            batch = left;
        }
    }

    fn is_there(&self, write: &Write) -> bool {
        let Write::Append(append) = write else { return false };
        let Some(expect) = append.expect else { return false };
        let found = self.log.fetch(&[(append.entity.partition, expect.offset + 1)]);
        matches!(found.first(), Some(Ok(Some(record))) if record.id == append.id)
    }

    /// Before the next try, if there is to be one.
    fn wait_after(&mut self, error: StoreError) -> Result<(), Failure> {
        let wait = match &error {
            StoreError::Unavailable { retry_after } => *retry_after,
            StoreError::Unknown | StoreError::Full => RETRY,
            _ => return Err(Failure(error)),
        };
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "the store takes no changes: what rests on them is not acknowledged");
        }
        std::thread::sleep(wait);
        Ok(())
    }
}

/// Unique in the product as long as a partition has one owner.
fn record_id(partition: Partition, number: u64) -> RecordId {
    RecordId(u128::from(partition.0) << 64 | u128::from(number))
}

struct Answer(channel::Sender<Completion>);

impl Completions for Answer {
    fn complete(&self, _: Token, completion: Completion) {
        // There is a place for the one answer that is waited for.
        let _ = self.0.try_send(completion);
    }
}
