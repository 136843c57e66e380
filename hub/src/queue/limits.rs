//! Everything that queues bound, and what they are made with. Each field's doc says what happens at the limit.

use super::ids::Wall;

/// How long a deduplication id is remembered, from the send that was taken. Milliseconds.
pub(crate) const DEDUPLICATION_MS: u64 = 300_000;
/// How long a receive's attempt id is remembered. Milliseconds.
pub(crate) const ATTEMPT_MS: u64 = 300_000;
/// When the target of dead letters refuses, so long they are received again instead. Milliseconds.
pub(crate) const REDRIVE_RETRY_MS: u64 = 10_000;
/// Messages that become due, expire or are cleared away in one step at most, so that very many at one time do not hold up
/// the shard; the rest follows at the next tick, which is due at once.
pub(crate) const STEP_MAX: usize = 1024;
/// Queues whose time has come in one tick at most; likewise.
pub(crate) const QUEUES_PER_TICK: usize = 256;
/// A group is noisy only with so many messages in flight, or so much recent work.
pub(crate) const NOISY_IN_FLIGHT_MIN: u32 = 30;
/// Of work (milliseconds in flight) within about a minute.
pub(crate) const NOISY_WORK_MS_MIN: u64 = 30_000;
/// A group is noisy only above its share of all, one in so many.
pub(crate) const NOISY_SHARE: u64 = 10;
/// A group that sent nothing for so long is not noisy any more. Milliseconds.
pub(crate) const NOISY_QUIET_MS: u64 = 300_000;
/// Recent work counts half after so long. Milliseconds.
pub(crate) const WORK_HALF_MS: u64 = 60_000;
/// A move task writes down how far it is after so many messages.
pub(crate) const TASK_NOTE_EVERY: u64 = 256;

/// What the queues of a hub are made with.
#[derive(Clone, Debug, Default)]
pub struct QueueConfig {
    /// The wall clock's time at `Millis(0)` of the commands. It is read once: in the life of a hub time goes on evenly,
    /// whatever happens to the clock.
    pub start: Wall,
    /// The same name cannot be created again so long after the deletion of its queue, and a queue not purged again so
    /// long after a purge. Milliseconds; 0 = at once.
    pub pause_ms: u64,
    /// Bounds.
    pub limits: QueueLimits,
}

/// Bounds of the queues of one hub.
#[derive(Clone, Debug)]
pub struct QueueLimits {
    /// Queues in this hub. `Create` is refused with `OverLimit`.
    pub queues_max: u32,
    /// Bytes of a queue's name. `Create` is refused with `BadSettings`.
    pub name_bytes_max: u32,
    /// Bytes of `Settings::extra`. Refused with `BadSettings`.
    pub extra_bytes_max: u32,
    /// Queues in `Allow::Only`. Refused with `BadSettings`.
    pub allowed_sources_max: u32,
    /// Messages stored in all queues of this hub. A further one is refused with `OverLimit`; one that comes by a move stays
    /// where it is.
    pub messages_max: u64,
    /// Messages of a batch: one send, settle or change of visibility. The whole is refused with `OverLimit`.
    pub batch_max: u32,
    /// Messages of one receive; more are not given.
    pub receive_max: u32,
    /// Received and not settled messages of a standard queue. A receive that does not wait is refused with
    /// `InFlightLimit`, one that waits goes on waiting.
    pub in_flight_standard_max: u32,
    /// Of a FIFO queue. A receive finds nothing.
    pub in_flight_fifo_max: u32,
    /// How long after its receive a message may be in flight at most, all changes together, in milliseconds. A change of
    /// visibility beyond it is refused with `VisibilityTooLong`.
    pub visibility_ms_max: u64,
    /// The longest delay that is believed when records are read, in milliseconds: after a clock that was wrong no message
    /// waits longer.
    pub delay_ms_max: u64,
    /// Receives that wait in this hub. A further one is refused with `OverLimit`.
    pub waiters_max: u32,
    /// Bytes of a group's, a deduplication's or an attempt's id. A send is refused with `BadId`.
    pub id_bytes_max: u32,
    /// Deduplication ids that a FIFO queue remembers. A further send is refused with `OverLimit`.
    pub deduplication_max: u32,
    /// Attempts that a FIFO queue remembers; the oldest is forgotten.
    pub attempts_max: u32,
    /// Messages of this hub on their way to other queues. What is to go beyond it waits in its queue.
    pub moves_max: u32,
    /// Messages of one move task on their way at once; the others wait.
    pub task_moves_max: u32,
    /// Move tasks of a queue that are over and still listed; the oldest is forgotten.
    pub tasks_kept_max: u32,
    /// Items of one page of a list; more are not given.
    pub page_max: u32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            queues_max: 100_000,
            name_bytes_max: 512,
            extra_bytes_max: 65_536,
            allowed_sources_max: 10,
            messages_max: 100_000_000,
            batch_max: 10,
            receive_max: 10,
            in_flight_standard_max: 120_000,
            in_flight_fifo_max: 120_000,
            visibility_ms_max: 43_200_000,
            delay_ms_max: 900_000,
            waiters_max: 100_000,
            id_bytes_max: 128,
            deduplication_max: 10_000_000,
            attempts_max: 100_000,
            moves_max: 1024,
            task_moves_max: 256,
            tasks_kept_max: 10,
            page_max: 1000,
        }
    }
}
