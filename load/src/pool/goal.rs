//! Who waits for messages, and for how many.
//!
//! Event loops count what they add, and wake whoever waits when it is so far: so it learns of it at once and need not look
//! all the time. Must not know clients. Start at [`Goal::set`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

/// Nobody waits.
const NONE: u64 = u64::MAX;

/// The messages of all clients, and how many of them are waited for.
#[derive(Debug)]
pub(super) struct Goal {
    waiting: Thread,
    messages: AtomicU64,
    goal: AtomicU64,
}

/// Somebody waits as long as this lives.
pub(super) struct Waiting<'a>(&'a Goal);

impl Goal {
    /// For this thread to wait.
    pub(super) fn of_this_thread() -> Self {
        let (messages, goal) = (AtomicU64::new(0), AtomicU64::new(NONE));
        Self { waiting: std::thread::current(), messages, goal }
    }

    /// From now on so many messages in all are waited for. They are to be counted once more before the thread parks: those
    /// that were added before are not told.
    pub(super) fn set(&self, messages: u64) -> Waiting<'_> {
        self.goal.store(messages, Ordering::SeqCst);
        Waiting(self)
    }

    /// More messages have arrived, and whoever counts them can see them already.
    pub(super) fn add(&self, messages: u64) {
        let arrived = self.messages.fetch_add(messages, Ordering::SeqCst) + messages;
        if arrived >= self.goal.load(Ordering::SeqCst) {
            self.waiting.unpark();
        }
    }

    /// Something is wrong; whoever waits should look.
    pub(super) fn wake(&self) {
        self.waiting.unpark();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.goal.store(NONE, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn who_waits_is_woken_by_the_message_that_was_missing() {
        let goal = Arc::new(Goal::of_this_thread());
        let _waiting = goal.set(3);
        goal.add(2);
        let adding = Arc::clone(&goal);
        let begun = Instant::now();
        let thread = std::thread::spawn(move || adding.add(1));
        while goal.messages.load(Ordering::SeqCst) < 3 {
            std::thread::park_timeout(Duration::from_secs(60));
        }
        thread.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    }
}
