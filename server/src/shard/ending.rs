//! How a shard ends, so that nothing that was acknowledged is still on its way when it does.
//!
//! Owns the states between the wish and the end. Must not know why a node ends, nor what its handler leaves behind.
//! Start at [`Ending`].

use super::{Handler, Shard};
use crate::mail::PeerMail;
use crate::state::End;
use hub::{Millis, ShardId};
use std::ops::ControlFlow;

/// What is still open, or on its way to peers and back office, when the time to end has come gets this much longer. A shard
/// that has closed gives the others as much again, counted from then or from when the last of them has to be closed.
const END_GRACE_MS: u64 = 1_000;

/// A shard that the back office needs for what clients did stays open so much longer than its connections may.
const NEEDED_MS_MAX: u64 = 5_000;

/// Where a shard is on its way to its end.
///
/// ```text
///       a wish       nobody left, or time over   not needed        mailbox empty        Quiet from all       Quiet from all once more
///  Open -----> Draining ---------------> Over ----------> Closing -----------> Closed -------------> Quiet -----------------------> ended
///                                                                   says Quiet        says Quiet again
/// ```
///
/// What clients did up to their end has to be stored by way of the shards, so one that is over does what the back office says until it
/// is not needed any more ([`super::Sender::needed`]).
///
/// A closing shard has no connections, and its mailbox takes nothing of the back office any more; what was in it is done
/// still, since the back office may have called that accepted. From then on nothing begins here. It still does what other
/// shards ask, which may make it tell others in turn (a publish that its channel's home forwards). Mail between two
/// shards keeps its order, so after a first `Quiet` from all nothing comes that leads to more, and after a second one
/// nothing comes at all.
#[derive(Debug)]
pub(super) struct Ending {
    step: Step,
    /// When connections are to be gone; void while open.
    at: Millis,
    /// When the connections of this one were; void before.
    closed_at: Millis,
    /// How often each shard said `Quiet`; the own place is not used.
    heard: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    Draining,
    Over,
    Closing,
    Closed,
    Quiet,
}

impl Ending {
    /// Open, among so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self { step: Step::Open, at: Millis(0), closed_at: Millis(0), heard: vec![0; shards] }
    }

    pub(super) fn begin(&mut self, at: Millis) {
        if self.step == Step::Open {
            (self.step, self.at) = (Step::Draining, at);
        }
    }

    pub(super) fn is_begun(&self) -> bool {
        self.step != Step::Open
    }

    /// Whether no connection is let in any more.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.step, Step::Closing | Step::Closed | Step::Quiet)
    }

    /// A shard said `Quiet`, possibly before this one knows that it is to end.
    pub(super) fn heard(&mut self, from: ShardId) {
        if let Some(times) = self.heard.get_mut(usize::from(from.0)) {
            *times += 1;
        }
    }

    fn all_said(&self, times: u8, own: ShardId) -> bool {
        self.others(own).all(|(_, heard)| heard >= times)
    }

    /// Others that did not say it twice.
    fn silent(&self, own: ShardId) -> impl Iterator<Item = u8> {
        self.others(own).filter(|(_, heard)| *heard < 2).map(|(shard, _)| shard)
    }

    fn others(&self, own: ShardId) -> impl Iterator<Item = (u8, u8)> {
        (0..).zip(self.heard.iter().copied()).filter(move |(shard, _)| *shard != own.0)
    }
}

impl<H: Handler> Shard<H> {
    /// Takes the steps that are due; breaks at the last.
    pub(super) fn check_end(&mut self) -> ControlFlow<End> {
        let own = self.io.shard;
        loop {
            match self.ending.step {
                Step::Draining if self.is_over() => {
                    self.ending.step = Step::Over;
                    self.discard_all();
                    self.inbox.tell_over();
                    continue;
                }
                Step::Over if !self.inbox.is_needed() || self.is_needed_too_long() => {
                    (self.ending.step, self.ending.closed_at) = (Step::Closing, self.io.clock.now());
                    self.inbox.close();
                    self.discard_all();
                    continue;
                }
                Step::Closing if !self.inbox.has_mail() => self.ending.step = Step::Closed,
                Step::Closed if self.ending.all_said(1, own) => self.ending.step = Step::Quiet,
                Step::Quiet if self.has_all_said() && (self.has_been_heard() || self.is_late()) => {
                    return ControlFlow::Break(End::InOrder);
                }
                Step::Closing | Step::Closed | Step::Quiet if self.is_late() => {
                    return ControlFlow::Break(End::Cut);
                }
                Step::Open | Step::Draining | Step::Over | Step::Closing | Step::Closed | Step::Quiet => {
                    return ControlFlow::Continue(());
                }
            }
            self.say_quiet();
        }
    }

    /// Nothing comes from another shard, and each has what this one had to say.
    fn has_all_said(&self) -> bool {
        self.ending.all_said(2, self.io.shard) && self.io.outbox.posts_waiting() == 0
    }

    /// The back office has all events of clients. It may be a slow program: no session misses a message by that.
    fn has_been_heard(&self) -> bool {
        self.io.outbox.upcalls_waiting() == 0
    }

    /// Says what did not come to its end, if anything.
    pub(super) fn warn_of_rest(&self) {
        let own = self.io.shard;
        let (posts, events) = (self.io.outbox.posts_waiting(), self.io.outbox.upcalls_waiting());
        let silent: Vec<u8> = self.ending.silent(own).collect();
        if !silent.is_empty() {
            tracing::warn!(
                shard = own.0,
                ?silent,
                "ended although these shards did not say that they were done"
            );
        }
        if posts > 0 {
            tracing::warn!(shard = own.0, posts, "ended with mail that other shards did not take");
        }
        if events > 0 {
            tracing::warn!(
                shard = own.0,
                events,
                "ended with events of clients that the back end did not take"
            );
        }
    }

    /// No connections on the whole node, as those of other shards may still need this one's channels, or the time is over.
    fn is_over(&self) -> bool {
        let (at, now) = (self.ending.at.0, self.io.clock.now().0);
        let empty = self.io.connections.len() == 0 && !self.io.outbox.is_waiting();
        let nobody = empty && self.io.seats.taken() == 0;
        nobody || (now >= at && empty) || now >= at + END_GRACE_MS
    }

    fn is_needed_too_long(&self) -> bool {
        self.io.clock.now().0 >= self.ending.at.0 + NEEDED_MS_MAX
    }

    /// Another shard hangs, or its thread is gone.
    fn is_late(&self) -> bool {
        let Ending { at, closed_at, .. } = self.ending;
        let all_closed_at = closed_at.0.max(at.0 + END_GRACE_MS);
        self.io.clock.now().0 >= all_closed_at + END_GRACE_MS
    }

    fn say_quiet(&mut self) {
        let own = self.io.shard;
        for peer in (0..self.ending.heard.len()).filter_map(|peer| u8::try_from(peer).ok()).map(ShardId) {
            if peer != own {
                self.io.post(peer, PeerMail::Quiet);
            }
        }
        self.io.outbox.push_all(&mut self.io.stats);
    }

    pub(super) fn discard_all(&mut self) {
        for conn in self.io.connections.keys() {
            self.io.discard(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_all_others() {
        let mut ending = Ending::new(3);
        ending.heard(ShardId(0));
        assert!(!ending.all_said(1, ShardId(1)));
        ending.heard(ShardId(2));
        ending.heard(ShardId(9));
        assert!(ending.all_said(1, ShardId(1)) && !ending.all_said(2, ShardId(1)));
        assert!(Ending::new(1).all_said(2, ShardId(0)));
    }

    #[test]
    fn a_second_wish_changes_nothing() {
        let mut ending = Ending::new(1);
        assert!(!ending.is_begun());
        ending.begin(Millis(5));
        ending.begin(Millis(9));
        assert_eq!((ending.at, ending.step), (Millis(5), Step::Draining));
    }
}
