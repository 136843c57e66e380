//! What all connections of a run know together: which messages there are, and which came back.
//!
//! Owns the numbers of messages and the form of their bodies. Whoever receives a message finds here whether it came before, and
//! whether an earlier one of its group came after it. Start at [`Ledger::received`].

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sqs::push_text;

/// Digits of a number and of a group in a body, which therefore has at least these and two blanks.
const NUMBER_DIGITS: usize = 12;
const GROUP_DIGITS: usize = 7;

/// Characters of the shortest body.
pub(super) const BODY_BYTES_MIN: usize = NUMBER_DIGITS + GROUP_DIGITS + 2;

/// Most messages of one run: what a bit for each costs 32 MiB for.
pub(super) const MESSAGES_MAX: u64 = 1 << 28;

/// Most groups.
pub(super) const GROUPS_MAX: u32 = 1_000_000;

/// See [`self`].
pub(super) struct Ledger {
    /// Of the run, so that a repeated run on a queue that stayed sends no duplicates.
    run: String,
    body_bytes: usize,
    connections: u32,
    /// Of each connection; 0 = the queue is no FIFO queue.
    groups_each: u32,
    /// A bit for each number.
    seen: Vec<AtomicU64>,
    /// The end of the numbers that came of each group.
    ends: Vec<AtomicU64>,
    counts: Counts,
}

/// What was seen of messages that came back.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Came again.
    pub(super) repeated: AtomicU64,
    /// Came after a later one of their group.
    pub(super) disorder: AtomicU64,
    /// Were not sent by this run.
    pub(super) foreign: AtomicU64,
}

impl Ledger {
    /// For so many messages of `connections`, in a FIFO queue of at most `groups` if there are any.
    pub(super) fn new(
        run: String,
        messages: u64,
        body_bytes: usize,
        (connections, groups): (u32, u32),
    ) -> Self {
        let groups_each = groups / connections.max(1);
        let words = usize::try_from(messages.div_ceil(64)).unwrap_or(usize::MAX);
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            run,
            body_bytes: body_bytes.max(BODY_BYTES_MIN),
            connections,
            groups_each,
            seen: zeros(words),
            ends: zeros((groups_each * connections) as usize),
            counts: Counts::default(),
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Appends the members that a new message has, besides those that say where it goes. `nth` counts the messages of connection
    /// `line` in this stage: all messages of a group are sent over one connection, one after the other.
    pub(super) fn push_message(&self, number: u64, (line, nth): (u32, u64), out: &mut Vec<u8>) {
        let group = self.group(line, nth);
        out.extend_from_slice(b"\"MessageBody\":\"");
        let begin = out.len();
        let _ = write!(out, "{number:0NUMBER_DIGITS$} {:0GROUP_DIGITS$} ", group.unwrap_or(0));
        out.resize(begin + self.body_bytes, b'x');
        out.push(b'"');
        if let Some(group) = group {
            let _ = write!(out, ",\"MessageGroupId\":\"g{group}\",\"MessageDeduplicationId\":");
            push_text(&format!("{}-{number}", self.run), out);
        }
    }

    fn group(&self, line: u32, nth: u64) -> Option<u32> {
        let turn = nth.checked_rem(u64::from(self.groups_each))?;
        Some(line + self.connections * turn as u32)
    }

    /// Notes a message that came.
    pub(super) fn received(&self, body: &str) {
        let Some((number, group)) = parse(body) else { return one_more(&self.counts.foreign) };
        let Some(word) = self.seen.get(usize::try_from(number / 64).unwrap_or(usize::MAX)) else {
            return one_more(&self.counts.foreign);
        };
        let bit = 1 << (number % 64);
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            one_more(&self.counts.repeated);
        }
        if let Some(end) = self.ends.get(group as usize)
            && end.fetch_max(number + 1, Ordering::Relaxed) > number
        {
            one_more(&self.counts.disorder);
        }
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// The number of a body; `None` if it is none of ours.
pub(super) fn number_of(body: &str) -> Option<u64> {
    parse(body).map(|(number, _)| number)
}

/// Number and group of a body.
fn parse(body: &str) -> Option<(u64, u32)> {
    let mut parts = body.splitn(3, ' ');
    let (number, group) = (parts.next()?, parts.next()?);
    let is_ours = number.len() == NUMBER_DIGITS && group.len() == GROUP_DIGITS;
    is_ours.then_some((number.parse().ok()?, group.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(ledger: &Ledger) -> Vec<String> {
        let body = |number: u64| {
            let mut out = b"{".to_vec();
            ledger.push_message(number, ((number % 2) as u32, number / 2), &mut out);
            out.push(b'}');
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            value["MessageBody"].as_str().unwrap().to_owned()
        };
        (0..8).map(body).collect()
    }

    fn told(ledger: &Ledger) -> [u64; 3] {
        let Counts { repeated, disorder, foreign } = ledger.counts();
        [repeated, disorder, foreign].map(|count| count.load(Ordering::Relaxed))
    }

    #[test]
    fn what_comes_once_and_in_order_is_good() {
        let ledger = Ledger::new("r".into(), 8, 40, (2, 4));
        let bodies = bodies(&ledger);
        assert!(bodies.iter().all(|body| body.len() == 40), "{bodies:?}");
        // Two connections with two groups each: 0 and 2, 1 and 3.
        let groups: Vec<u32> = bodies.iter().map(|body| parse(body).unwrap().1).collect();
        assert_eq!(groups, [0, 1, 2, 3, 0, 1, 2, 3]);
        bodies.iter().for_each(|body| ledger.received(body));
        assert_eq!(told(&ledger), [0, 0, 0]);
    }

    #[test]
    fn what_comes_twice_or_late_or_from_elsewhere_is_counted() {
        let ledger = Ledger::new("r".into(), 8, 0, (2, 4));
        let bodies = bodies(&ledger);
        for number in [4, 0, 1, 1] {
            ledger.received(&bodies[number]);
        }
        ledger.received("000000000099 0000000 ");
        ledger.received("hello");
        // The second 1 is late, too: its group has gone on.
        assert_eq!(told(&ledger), [1, 2, 2]);
        let plain = Ledger::new("r".into(), 8, 0, (2, 0));
        plain.received(&bodies[4]);
        plain.received(&bodies[0]);
        assert_eq!(told(&plain), [0, 0, 0], "without groups there is no order");
    }
}
