//! What is known of a bridge: how it stands and what it has passed on. Written by its task, read by whoever asks.
//!
//! Must not know connections. Start at [`Status`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a message was acknowledged and is not on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It has been where it would go.
    Loop,
    /// No rule is about it; the broker's session may know more filters than there are rules now.
    Unmatched,
    /// The other side does not take packets of its size, or its name is too long there.
    TooLarge,
    /// The other side said so.
    Refused,
}

impl Loss {
    /// Each with its name in metrics.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Loop, "loop"),
        (Self::Unmatched, "unmatched"),
        (Self::TooLarge, "too_large"),
        (Self::Refused, "refused"),
    ];
}

/// How a bridge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On its way to the broker, or to its answers.
    Connecting,
    /// Both sides have answered what they were asked for, and messages go both ways.
    Connected,
    /// It will try again.
    Waiting,
    /// The server ends.
    Stopped,
}

impl Standing {
    /// As it is told.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// What is told in words.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// How it stands.
    pub(crate) standing: Standing,
    /// Since when.
    pub(crate) since: Instant,
    /// Why the last connection ended, or was not to be had.
    pub(crate) error: Option<String>,
    /// Filters that one of the sides did not grant.
    pub(crate) refused: Vec<String>,
    /// Filters of rules that rest, since the other side sends such messages by itself.
    pub(crate) resting: Vec<String>,
}

/// Of one bridge.
#[derive(Debug)]
pub(crate) struct Status {
    story: Mutex<Story>,
    connects: AtomicU64,
    messages_out: AtomicU64,
    messages_in: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
}

/// The counters at one time. They begin at 0 when the process starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Connections so far.
    pub(crate) connects: u64,
    /// Messages sent to the broker, those that were sent again too.
    pub(crate) messages_out: u64,
    /// Messages that came from there and were given to this server, likewise.
    pub(crate) messages_in: u64,
    /// In the order of [`Loss::ALL`].
    pub(crate) lost: [u64; Loss::ALL.len()],
}

impl Story {
    /// How long it has been connected; a way to the broker, however long, is no connection.
    pub(super) fn connected_for(&self, now: Instant) -> Duration {
        match self.standing {
            Standing::Connected => now.saturating_duration_since(self.since),
            Standing::Connecting | Standing::Waiting | Standing::Stopped => Duration::ZERO,
        }
    }
}

impl Status {
    pub(super) fn new() -> Self {
        let (error, refused, resting) = (None, Vec::new(), Vec::new());
        let story = Story { standing: Standing::Connecting, since: Instant::now(), error, refused, resting };
        Self {
            story: Mutex::new(story),
            connects: AtomicU64::new(0),
            messages_out: AtomicU64::new(0),
            messages_in: AtomicU64::new(0),
            lost: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn story(&self) -> Story {
        self.story.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connects: value(&self.connects),
            messages_out: value(&self.messages_out),
            messages_in: value(&self.messages_in),
            lost: std::array::from_fn(|at| self.lost.get(at).map_or(0, value)),
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Story)) {
        change(&mut self.story.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn stands(&self, standing: Standing) {
        if standing == Standing::Connected {
            self.connects.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(|story| {
            if standing == Standing::Connecting {
                story.refused = Vec::new();
            }
            (story.standing, story.since) = (standing, Instant::now());
        });
    }

    pub(super) fn failed(&self, error: String) {
        self.tell(|story| story.error = Some(error));
    }

    pub(super) fn refused(&self, filter: &str) {
        self.tell(|story| story.refused.push(filter.to_owned()));
    }

    pub(super) fn resting(&self, filters: Vec<String>) {
        self.tell(|story| story.resting = filters);
    }

    pub(super) fn sent_out(&self) {
        self.messages_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken_in(&self) {
        self.messages_in.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a loss; how many of its kind there are now.
    pub(super) fn lost(&self, loss: Loss) -> u64 {
        self.lost.get(loss as usize).map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
