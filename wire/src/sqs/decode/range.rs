//! Numbers with their bounds and the reason a client is told.
//!
//! Owns which number may be how large. Must not know what it counts. Start at [`Range`].

use super::super::Error;
use super::super::input::Members;
use super::super::limits::{
    DELAY_S_MAX, MOVES_PER_SECOND_MAX, PAGE_MAX, RECEIVE_MAX, TASKS_MAX, VISIBILITY_TIMEOUT_S_MAX, WAIT_S_MAX,
};
use super::super::member::Member;

/// A whole number, both ends included, of a type that holds them.
pub(super) struct Range<T> {
    min: i64,
    max: T,
    reason: &'static str,
}

impl Range<u8> {
    pub(super) const RECEIVE: Self =
        Self { min: 1, max: RECEIVE_MAX, reason: "Must be between 1 and 10, if provided." };

    pub(super) const WAIT: Self =
        Self { min: 0, max: WAIT_S_MAX, reason: "Must be >= 0 and <= 20, if provided." };

    pub(super) const TASKS: Self =
        Self { min: 1, max: TASKS_MAX, reason: "Must be between 1 and 10, if provided." };
}

impl Range<u16> {
    pub(super) const DELAY: Self =
        Self { min: 0, max: DELAY_S_MAX, reason: "DelaySeconds must be >= 0 and <= 900." };

    pub(super) const PAGE: Self =
        Self { min: 1, max: PAGE_MAX, reason: "MaxResults must be an integer between 1 and 1000." };

    pub(super) const RATE: Self =
        Self { min: 1, max: MOVES_PER_SECOND_MAX, reason: "Must be between 1 and 500, if provided." };
}

impl Range<u32> {
    pub(super) const VISIBILITY: Self = Self {
        min: 0,
        max: VISIBILITY_TIMEOUT_S_MAX,
        reason: "VisibilityTimeout must be an integer between 0 and 43200.",
    };

    pub(super) const VISIBILITY_OF_RECEIVE: Self =
        Self { min: 0, max: VISIBILITY_TIMEOUT_S_MAX, reason: "Must be between 0 and 43200, if provided." };
}

impl<T: Copy + Into<i64> + TryFrom<i64>> Range<T> {
    /// Takes the number out of the members; `None` if it is missing.
    pub(super) fn read(&self, members: &mut Members<'_>, member: Member) -> Result<Option<T>, Error> {
        let Some(number) = members.integer(member)? else { return Ok(None) };
        self.check(number, members.name(member)).map(Some)
    }

    /// The same for a number that is there; `name` is what it is called.
    pub(super) fn check(&self, number: i64, name: &str) -> Result<T, Error> {
        let refused = || Error::invalid_value(&number.to_string(), name, self.reason);
        if !(self.min..=self.max.into()).contains(&number) {
            return Err(refused());
        }
        T::try_from(number).map_err(|_| refused())
    }
}
