//! What was tried lately, for people who look for what is wrong. In memory, and only so much.
//!
//! Must not know how events are sent. Start at [`History`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Answer;
use super::deliver::Head;
use super::failure::Failure;
use super::fate::Fate;

/// Attempts that are remembered of each webhook; then the oldest are forgotten.
const ATTEMPTS_MAX: usize = 1000;

/// Bytes of an answer that are shown.
const SHOWN_BYTES_MAX: usize = 200;

/// One attempt to tell the back end something.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Of the event.
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) session: String,
    /// When it was over. Milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Of this event, from 1.
    pub(super) number: u32,
    pub(super) took: Duration,
    pub(super) result: Result<Answer, Failure>,
    pub(super) fate: Fate,
}

impl Attempt {
    /// What was answered, in a line.
    pub(super) fn said(&self) -> String {
        match &self.result {
            Ok(answer) => {
                let shown = answer.body.get(..SHOWN_BYTES_MAX).unwrap_or(&answer.body);
                // Some of it stands in attributes of messages, which take no control characters.
                let text: String = String::from_utf8_lossy(shown).chars().map(plain).collect();
                format!("status {} {}", answer.status, text.trim()).trim_end().to_owned()
            }
            Err(failure) => failure.to_string(),
        }
    }
}

/// A character that can be shown, or a space.
fn plain(one: char) -> char {
    if one.is_control() || matches!(one, '\u{fffe}' | '\u{ffff}') { ' ' } else { one }
}

/// The latest attempts.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Attempt>>);

impl History {
    pub(super) fn add(&self, attempt: Attempt) {
        let mut attempts = self.attempts();
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.pop_front();
        }
        let result = attempt.result.map(|answer| {
            let shown = answer.body.get(..SHOWN_BYTES_MAX).unwrap_or(&answer.body);
            Answer { body: bytes::Bytes::copy_from_slice(shown), ..answer }
        });
        attempts.push_back(Attempt { result, ..attempt });
    }

    /// What was said to the latest attempt at an event.
    pub(super) fn last_of(&self, event: &str) -> Option<String> {
        let head: Head = serde_json::from_str(event).ok()?;
        self.attempts().iter().rev().find(|attempt| attempt.id == head.id).map(Attempt::said)
    }

    /// The newest first.
    pub(super) fn latest(&self, max: usize) -> Vec<Attempt> {
        self.attempts().iter().rev().take(max).cloned().collect()
    }

    fn attempts(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_shown_in_a_line_and_not_at_length() {
        let attempt = |body: &str| Attempt {
            id: "a".into(),
            kind: "t".into(),
            session: "s".into(),
            at_ms: 0,
            number: 1,
            took: Duration::ZERO,
            result: Ok(Answer { status: 500, retry_after: None, body: body.to_owned().into() }),
            fate: Fate::Dead,
        };
        assert_eq!(attempt(" a\n\0b\u{ffff} ").said(), "status 500 a  b");
        assert_eq!(attempt("").said(), "status 500");
        let history = History::default();
        for number in 0..ATTEMPTS_MAX + 5 {
            history.add(Attempt { at_ms: number as u64, ..attempt(&"x".repeat(1000)) });
        }
        let latest = history.latest(ATTEMPTS_MAX * 2);
        assert_eq!((latest.len(), latest[0].at_ms), (ATTEMPTS_MAX, ATTEMPTS_MAX as u64 + 4));
        assert_eq!(latest[0].said().len(), "status 500 ".len() + SHOWN_BYTES_MAX);
        assert!(history.last_of(r#"{"id":"a","type":"t"}"#).is_some());
        assert!(history.last_of(r#"{"id":"b","type":"t"}"#).is_none());
    }
}
