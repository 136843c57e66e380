//! The messages of a script: each has a number, which its payload says, so that it is known again wherever it comes.
//!
//! Owns how often a message may come to one session at most. Must not know who gets it. Start at [`Messages`].

use std::collections::BTreeMap;

use wire::mqtt::Qos;

/// Says which message it is.
pub type Number = u32;

/// All messages that were sent.
#[derive(Debug, Default)]
pub struct Messages {
    known: BTreeMap<Number, Facts>,
    last: Number,
}

/// What is known of a message.
#[derive(Debug, Default)]
pub struct Facts {
    /// How often it was sent, what was sent again in the same exchange not counted.
    pub times: u32,
    /// The highest.
    pub qos: Qos,
    /// It may be kept, and then comes as often as it is asked for.
    pub is_retained: bool,
    lengths: Vec<usize>,
}

impl Messages {
    /// The payload of a new message of about so many bytes.
    pub fn compose(&mut self, bytes: usize) -> Vec<u8> {
        self.last += 1;
        let mut payload = format!("{}:", self.last).into_bytes();
        payload.resize(bytes.max(payload.len()), b'.');
        payload
    }

    /// A message is sent, by whomever.
    pub fn sent(&mut self, payload: &[u8], qos: Qos, retain: Retain) {
        let Some(number) = number(payload) else { return };
        let facts = self.known.entry(number).or_default();
        facts.times += 1;
        facts.qos = facts.qos.max(qos);
        facts.is_retained |= retain == Retain::Yes;
        facts.lengths.push(payload.len());
    }

    /// What is known of a message that has come, which must be one that was sent.
    pub fn recognize(&self, payload: &[u8]) -> Option<(Number, &Facts)> {
        let number = number(payload)?;
        let facts = self.known.get(&number);
        let facts = facts.unwrap_or_else(|| panic!("nobody sent this: {}", payload.escape_ascii()));
        assert!(facts.lengths.contains(&payload.len()), "not as it was sent: {}", payload.escape_ascii());
        Some((number, facts))
    }
}

/// Whether a message is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    Yes,
    No,
}

impl From<bool> for Retain {
    fn from(retain: bool) -> Self {
        if retain { Self::Yes } else { Self::No }
    }
}

/// The message that a payload is of; scripts may hold payloads that are of none.
pub fn number(payload: &[u8]) -> Option<Number> {
    let end = payload.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(payload.get(..end)?).ok()?.parse().ok()
}
