//! What is true of the two sessions of a bridge together, for longer than a connection or a process.
//!
//! Owns two questions: which retained values the other side has had, as all others are owed to it; and which side may remember
//! numbers of exchanges with a session of the other side that is gone, so that it would take a new message for one that it
//! has had. The answers are retained at `$bridge/pair/<name>`, beside the session here, and hold for that session only: so no
//! moment at which the process may die leaves them wrong. Must not know connections. Start at [`Pairing::meet`].

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::topics::{Side, filter, from};
use crate::config::BridgeRule;

/// Whether a session has been there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Old,
    New,
}

/// The answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pairing {
    /// Which session here they are about. Whoever may read this learns nothing by which the session is addressed.
    session: String,
    /// It has been connected to the broker.
    has_met: bool,
    local: Partner,
    remote: Partner,
}

/// Of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Partner {
    /// Filters of its side whose retained values the other side has had.
    passed: BTreeSet<String>,
    /// It may remember numbers of a session that is gone.
    is_stale: bool,
}

impl Pairing {
    /// As it was retained; what nobody can read is as good as nothing.
    pub(super) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// To be retained.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and truths have a form in JSON")
    }

    /// The session here with this id and the one that was found there are connected.
    pub(super) fn meet(&mut self, session: hub::SessionId, remote: Found) {
        let session = fingerprint(session);
        if self.session != session {
            // What the broker's session remembers is of the one before this.
            let there = Partner { is_stale: true, ..std::mem::take(&mut self.remote) };
            *self = Self { session, remote: there, ..Self::default() };
        }
        if remote == Found::New {
            self.remote = Partner::default();
            self.local.is_stale |= self.has_met;
        }
        self.has_met = true;
    }

    /// Filters of a side begin anew, and those that no rule has any more are forgotten.
    pub(super) fn keep_to(&mut self, rules: &[BridgeRule], new_here: &[String]) {
        for side in [Side::Local, Side::Remote] {
            let known: BTreeSet<&str> = from(rules, side).map(|rule| filter(rule, side)).collect();
            self.partner(side).passed.retain(|filter| known.contains(filter.as_str()));
        }
        self.local.passed.retain(|filter| !new_here.contains(filter));
    }

    fn partner(&mut self, side: Side) -> &mut Partner {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    /// Whether the other side has not had all values that a filter matched when it was new.
    pub(super) fn owes(&self, side: Side, filter: &str) -> bool {
        let partner = match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        };
        !partner.passed.contains(filter)
    }

    /// The other side has had them.
    pub(super) fn have_passed(&mut self, side: Side, filters: Vec<String>) {
        self.partner(side).passed.extend(filters);
    }

    /// Whether a side may remember numbers that mean nothing to the other.
    pub(super) fn is_stale(&self, side: Side) -> bool {
        match side {
            Side::Local => self.local.is_stale,
            Side::Remote => self.remote.is_stale,
        }
    }

    /// It has forgotten them.
    pub(super) fn is_released(&mut self, side: Side) {
        self.partner(side).is_stale = false;
    }
}

fn fingerprint(session: hub::SessionId) -> String {
    let sum = digest(&SHA256, &session.0);
    sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: hub::SessionId = hub::SessionId([1; 15]);
    const SECOND: hub::SessionId = hub::SessionId([2; 15]);

    fn stale(pairing: &Pairing) -> [bool; 2] {
        [Side::Local, Side::Remote].map(|side| pairing.is_stale(side))
    }

    #[test]
    fn who_outlives_the_others_session_remembers_what_is_gone() {
        let mut pairing = Pairing::default();
        pairing.meet(FIRST, Found::New);
        assert_eq!(stale(&pairing), [false, false], "both are new");
        pairing.meet(FIRST, Found::Old);
        assert_eq!(stale(&pairing), [false, false], "both are as they were");
        pairing.meet(FIRST, Found::New);
        assert_eq!(stale(&pairing), [true, false], "the broker lost its session");
        pairing = Pairing::read(pairing.text().as_bytes());
        pairing.meet(FIRST, Found::Old);
        assert_eq!(stale(&pairing), [true, false], "until it is released, in whatever process");
        pairing.is_released(Side::Local);
        pairing.meet(SECOND, Found::Old);
        assert_eq!(stale(&pairing), [false, true], "the session here is another one");
        pairing.meet(SECOND, Found::New);
        assert_eq!(stale(&pairing), [true, false], "now the one there is, too");
    }

    #[test]
    fn values_are_owed_until_they_have_passed_and_to_each_new_session_again() {
        let mut pairing = Pairing::default();
        pairing.meet(FIRST, Found::New);
        pairing.have_passed(Side::Local, vec!["a".into()]);
        pairing.have_passed(Side::Remote, vec!["b".into()]);
        let owed = |pairing: &Pairing| (pairing.owes(Side::Local, "a"), pairing.owes(Side::Remote, "b"));
        assert!(pairing.owes(Side::Remote, "a"), "each side has its own");
        assert_eq!(owed(&Pairing::read(pairing.text().as_bytes())), (false, false));
        pairing.meet(FIRST, Found::New);
        assert_eq!(owed(&pairing), (false, true));
        pairing.have_passed(Side::Remote, vec!["b".into()]);
        pairing.meet(SECOND, Found::Old);
        assert_eq!(owed(&pairing), (true, false));
        pairing.have_passed(Side::Local, vec!["a".into()]);
        pairing.keep_to(&[], &[]);
        assert_eq!(owed(&pairing), (true, true), "no rule is about them any more");
        assert_eq!(Pairing::read(b"no record"), Pairing::default());
    }
}
