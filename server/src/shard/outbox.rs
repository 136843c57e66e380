//! What leaves a shard for other threads: events and reports for the back office, posts for other shards.
//!
//! Owns the batches of a turn and what could not be delivered. Must not know what is said.
//! Start at [`Outbox::push_all`]. While the receivers are behind, [`Outbox::is_stalled`] makes the shard stop reading
//! from clients, so what waits here is bounded by what one turn can cause.

use super::mailbox::Sender;
use super::stats::Stats;
use crate::journal::JournalInlet;
use crate::mail::{PeerMail, Upcall, Upcalls};
use hub::queue::MoveId;
use hub::{Entry, Place, Report, ShardId, Sighting, Token};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Events of one turn that are pushed without waiting for its end, so that one busy turn cannot pile up more.
const UPCALL_BATCH_MAX: usize = 256;

/// As [`UPCALL_BATCH_MAX`], in bytes.
const UPCALL_BATCH_BYTES_MAX: usize = 1 << 20;

/// Bytes of events that the back office has not taken; with as many, nothing more is handed over and reading stops.
/// One batch may go beyond it, and what a turn has read by then waits here.
const UNDER_WAY_BYTES_MAX: usize = 16 << 20;

/// Changes that may wait to be safe; with more nothing is read from clients.
const ENTRIES_MAX: u64 = 1 << 17;

/// The other ends.
#[derive(Debug)]
pub(super) struct Outbox {
    shard: ShardId,
    uplink: mpsc::Sender<Upcalls>,
    reporter: mpsc::UnboundedSender<Vec<(Token, Report)>>,
    peers: Vec<Sender>,
    upcalls: Vec<Upcall>,
    sightings: Vec<Sighting>,
    /// Of both.
    upcalls_bytes: usize,
    /// Of batches that were handed over and not taken.
    under_way_bytes: Arc<AtomicUsize>,
    reports: Vec<(Token, Report)>,
    /// By shard.
    posts: Vec<Vec<PeerMail>>,
    journal: Option<JournalInlet>,
    /// Changes for the journal.
    entries: Vec<Entry>,
    /// Changes there were, and those that are safe.
    made: u64,
    safe: u64,
    /// The last attempt to hand `upcalls` over failed.
    upcalls_refused: bool,
    /// Since when every push left it stalled.
    stalled_since: Option<Instant>,
    /// Posts that may wait for one shard before reading stops.
    posts_max: usize,
}

/// Who listens to a shard.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) uplink: mpsc::Sender<Upcalls>,
    pub(super) reporter: mpsc::UnboundedSender<Vec<(Token, Report)>>,
    /// By shard, itself included.
    pub(super) peers: Vec<Sender>,
    pub(super) journal: Option<JournalInlet>,
}

impl Outbox {
    pub(super) fn new(shard: ShardId, receivers: Receivers, posts_max: usize) -> Self {
        let Receivers { uplink, reporter, peers, journal } = receivers;
        let posts = peers.iter().map(|_| Vec::new()).collect();
        let (upcalls, reports) = (Vec::new(), Vec::new());
        Self {
            shard,
            uplink,
            reporter,
            peers,
            upcalls,
            sightings: Vec::new(),
            upcalls_bytes: 0,
            under_way_bytes: Arc::default(),
            reports,
            posts,
            journal,
            entries: Vec::new(),
            made: 0,
            safe: 0,
            upcalls_refused: false,
            stalled_since: None,
            posts_max,
        }
    }

    pub(super) fn upcall(&mut self, event: Upcall) {
        self.upcalls_bytes += event.len_bytes();
        self.upcalls.push(event);
        self.push_upcalls_if_full();
    }

    /// Leaves with the events of clients, and counts as one.
    pub(super) fn sighting(&mut self, sighting: Sighting) {
        self.upcalls_bytes += size_of::<Sighting>();
        self.sightings.push(sighting);
        self.push_upcalls_if_full();
    }

    fn push_upcalls_if_full(&mut self) {
        let full = self.upcalls_waiting() >= UPCALL_BATCH_MAX || self.upcalls_bytes >= UPCALL_BATCH_BYTES_MAX;
        if full && !self.upcalls_refused {
            self.push_upcalls();
        }
    }

    pub(super) fn report(&mut self, token: Token, report: Report) {
        self.reports.push((token, report));
    }

    /// Queues mail for a shard and returns its place in that queue, which is good until the queue is handed over.
    pub(super) fn post(&mut self, to: ShardId, mail: PeerMail) -> usize {
        match self.posts.get_mut(usize::from(to.0)) {
            Some(queue) => {
                queue.push(mail);
                queue.len() - 1
            }
            None => {
                tracing::error!(shard = to.0, "mail for a shard that does not exist was dropped");
                usize::MAX
            }
        }
    }

    /// Mail that is still in its queue, by its place.
    pub(super) fn posted_mut(&mut self, to: ShardId, place: usize) -> Option<&mut PeerMail> {
        self.posts.get_mut(usize::from(to.0)).and_then(|queue| queue.get_mut(place))
    }

    /// Takes changes for the journal.
    pub(super) fn keep(&mut self, entries: &mut Vec<Entry>) {
        self.made += entries.len() as u64;
        self.entries.append(entries);
    }

    /// Asks the journal for a message.
    pub(super) fn load(&self, id: MoveId, place: Place) {
        if let Some(journal) = &self.journal {
            journal.load(self.shard, id, place);
        }
    }

    /// So many changes are safe; whether that is news.
    pub(super) fn kept(&mut self, safe: u64) -> bool {
        let is_news = safe > self.safe;
        self.safe = self.safe.max(safe);
        is_news
    }

    /// Hands over what can be handed over.
    pub(super) fn push_all(&mut self, stats: &mut Stats) {
        self.push_upcalls();
        if let Some(journal) = self.journal.as_ref().filter(|_| !self.entries.is_empty()) {
            stats.entries += self.entries.len() as u64;
            journal.write(self.shard, std::mem::take(&mut self.entries));
        }
        if !self.reports.is_empty() {
            stats.reports += self.reports.len() as u64;
            // Fails only when the back office has ended.
            let _ = self.reporter.send(std::mem::take(&mut self.reports));
        }
        for (queue, peer) in self.posts.iter_mut().zip(&self.peers) {
            if queue.is_empty() {
                continue;
            }
            let messages = queue.len() as u64;
            match peer.try_post(self.shard, std::mem::take(queue)) {
                Ok(()) => stats.posts_out += messages,
                Err(batch) => *queue = batch,
            }
        }
        let since = self.stalled_since.take();
        self.stalled_since = self.is_stalled().then(|| since.unwrap_or_else(Instant::now));
    }

    /// How long nothing has been read from clients.
    pub(super) fn stalled_ms(&self) -> u64 {
        self.stalled_since.map_or(0, |since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether reading from clients must stop until the receivers catch up.
    pub(super) fn is_stalled(&self) -> bool {
        let is_behind = self.entries_waiting() > ENTRIES_MAX;
        self.upcalls_refused || is_behind || self.posts.iter().any(|queue| queue.len() >= self.posts_max)
    }

    /// Whether something is left to be pushed.
    pub(super) fn is_waiting(&self) -> bool {
        self.upcalls_waiting() + self.posts_waiting() > 0
    }

    pub(super) fn upcalls_waiting(&self) -> usize {
        self.upcalls.len() + self.sightings.len()
    }

    /// Changes that are not safe.
    pub(super) fn entries_waiting(&self) -> u64 {
        self.made.saturating_sub(self.safe)
    }

    pub(super) fn posts_waiting(&self) -> usize {
        self.posts.iter().map(Vec::len).sum()
    }

    fn push_upcalls(&mut self) {
        if self.upcalls_waiting() == 0 {
            self.upcalls_refused = false;
            return;
        }
        match self.uplink.try_reserve() {
            Ok(_) if self.under_way_bytes.load(Ordering::Relaxed) >= UNDER_WAY_BYTES_MAX => {
                self.upcalls_refused = true;
            }
            Ok(permit) => {
                let bytes = std::mem::take(&mut self.upcalls_bytes);
                // While a shard is busy the next batch is likely as long, and growing to it costs several copies.
                let next = Vec::with_capacity(self.upcalls.len().min(UPCALL_BATCH_MAX) / 2);
                let upcalls = std::mem::replace(&mut self.upcalls, next);
                let sightings = std::mem::take(&mut self.sightings);
                let upcalls = Upcalls::new(upcalls, bytes, &self.under_way_bytes);
                permit.send(upcalls.with_sightings(self.shard, sightings));
                self.upcalls_refused = false;
            }
            Err(mpsc::error::TrySendError::Full(())) => self.upcalls_refused = true,
            // The back office has ended: there is nobody to tell.
            Err(mpsc::error::TrySendError::Closed(())) => {
                self.upcalls.clear();
                self.sightings.clear();
                self.upcalls_bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::mailbox::{Inbox, Letter, mailbox};
    use hub::HubMail;

    const OWN: ShardId = ShardId(0);
    const OTHER: ShardId = ShardId(1);

    struct Rig {
        outbox: Outbox,
        other: Inbox,
        uplink: mpsc::Receiver<Upcalls>,
        _polls: [mio::Poll; 2],
    }

    /// The other shard's box holds 3 messages, the uplink one batch; reading stops at 5 waiting posts.
    fn rig() -> Rig {
        let (poll_own, poll_other) = (mio::Poll::new().unwrap(), mio::Poll::new().unwrap());
        let make = |poll: &mio::Poll| mailbox(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap(), 3);
        let ((own, _), (peer, other)) = (make(&poll_own), make(&poll_other));
        let (uplink, uplink_out) = mpsc::channel(1);
        let (reporter, _) = mpsc::unbounded_channel();
        let outbox =
            Outbox::new(OWN, Receivers { uplink, reporter, peers: vec![own, peer], journal: None }, 5);
        Rig { outbox, other, uplink: uplink_out, _polls: [poll_own, poll_other] }
    }

    fn post(outbox: &mut Outbox, numbers: std::ops::Range<u64>) {
        for token in numbers {
            outbox.post(OTHER, PeerMail::Hub(HubMail::InterestKnown { token }));
        }
    }

    fn taken(inbox: &Inbox) -> Vec<u64> {
        let Some(Letter::Peers(OWN, batch)) = inbox.take() else { return Vec::new() };
        let token = |mail| match mail {
            PeerMail::Hub(HubMail::InterestKnown { token }) => token,
            other => panic!("not posted: {other:?}"),
        };
        batch.into_iter().map(token).collect()
    }

    #[test]
    fn posts_wait_for_a_full_peer_in_order_and_stop_reading_when_they_are_many() {
        let Rig { mut outbox, other, .. } = rig();
        let mut stats = Stats::default();
        post(&mut outbox, 0..3);
        outbox.push_all(&mut stats);
        post(&mut outbox, 3..7);
        outbox.push_all(&mut stats);
        assert_eq!((outbox.posts_waiting(), outbox.is_stalled(), outbox.is_waiting()), (4, false, true));
        post(&mut outbox, 7..8);
        outbox.push_all(&mut stats);
        assert_eq!((outbox.posts_waiting(), outbox.is_stalled()), (5, true));
        assert_eq!(taken(&other), [0, 1, 2]);
        outbox.push_all(&mut stats);
        assert_eq!((outbox.posts_waiting(), outbox.is_stalled(), stats.posts_out), (0, false, 8));
        assert_eq!(taken(&other), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_refused_batch_of_events_stalls_until_it_is_taken_and_loses_nothing() {
        let Rig { mut outbox, mut uplink, .. } = rig();
        let mut stats = Stats::default();
        let event = || crate::shard::tests::upcall("e");
        outbox.upcall(event());
        outbox.push_all(&mut stats);
        assert!(!outbox.is_stalled());
        (0..UPCALL_BATCH_MAX).for_each(|_| outbox.upcall(event()));
        assert!(outbox.is_stalled(), "a full batch is pushed within the turn");
        outbox.upcall(event());
        outbox.push_all(&mut stats);
        assert_eq!((outbox.is_stalled(), outbox.upcalls_waiting()), (true, UPCALL_BATCH_MAX + 1));
        assert_eq!(uplink.try_recv().unwrap().into_iter().count(), 1);
        outbox.push_all(&mut stats);
        assert_eq!((outbox.is_stalled(), outbox.upcalls_waiting()), (false, 0));
        assert_eq!(uplink.try_recv().unwrap().into_iter().count(), UPCALL_BATCH_MAX + 1);
    }

    #[test]
    fn large_events_stall_by_their_bytes_although_the_uplink_has_room() {
        let (mut rig, (uplink, mut taken)) = (rig(), mpsc::channel(1024));
        rig.outbox.uplink = uplink;
        let mut count = 0;
        while !rig.outbox.is_stalled() {
            rig.outbox.upcall(crate::shard::tests::upcall(&"x".repeat(900_000)));
            rig.outbox.push_all(&mut Stats::default());
            count += 1;
            assert!(count < 30, "600 such events took 550 MB");
        }
        let first = taken.try_recv().unwrap();
        rig.outbox.push_all(&mut Stats::default());
        assert!(rig.outbox.is_stalled(), "only what is taken out of its batch makes room");
        first.into_iter().for_each(drop);
        while let Ok(more) = taken.try_recv() {
            drop(more);
        }
        rig.outbox.push_all(&mut Stats::default());
        assert_eq!((rig.outbox.is_stalled(), rig.outbox.upcalls_waiting()), (false, 0));
    }

    #[test]
    fn when_the_back_office_has_ended_nothing_piles_up() {
        let Rig { mut outbox, uplink, .. } = rig();
        drop(uplink);
        (0..1000).for_each(|_| outbox.upcall(crate::shard::tests::upcall("e")));
        outbox.push_all(&mut Stats::default());
        assert_eq!((outbox.upcalls_waiting(), outbox.is_stalled(), outbox.is_waiting()), (0, false, false));
    }
}
