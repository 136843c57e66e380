//! Retained values on their way from one side to the other, once a subscription has asked for them.
//!
//! ```text
//! Asked ──SUBACK──> Coming ──none more──> Said ──that side's PINGRESP──> Given ──the other's PINGRESP──> the other has them
//! ```
//!
//! A server answers PINGREQ behind what it has sent and taken before (MQTT 5.0, 4.6). So once a side has no more values, its
//! PINGRESP says that the bridge has given all of them on, and that of the other side that it took them; what has more than QoS 0
//! then is there or in a session. Owns how far that is; a connection that ends before gives them up to the next one. Must not
//! know packets. Start at [`Passing::new`].

use wire::mqtt::PacketId;

/// The values of the filters of one side that owe some.
#[derive(Debug)]
pub(super) struct Passing {
    question: PacketId,
    filters: Vec<String>,
    step: Step,
    /// Some came since the last look.
    has_come: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Asked,
    Coming,
    /// The side whose values they are was asked for its PINGRESP of this count.
    Said(u64),
    /// The other side was.
    Given(u64),
}

impl Passing {
    /// Asked for by a SUBSCRIBE of this id.
    pub(super) fn new(question: PacketId, filters: Vec<String>) -> Self {
        Self { question, filters, step: Step::Asked, has_come: true }
    }

    /// A SUBACK; the filters that were not granted are given.
    pub(super) fn granted(&mut self, question: PacketId, refused: &[&String]) {
        if self.step == Step::Asked && self.question == question {
            self.filters.retain(|filter| !refused.contains(&filter));
            self.step = Step::Coming;
        }
    }

    /// One came that is retained.
    pub(super) fn came(&mut self) {
        self.has_come = true;
    }

    /// Whether they are coming.
    pub(super) fn is_coming(&self) -> bool {
        self.step == Step::Coming
    }

    /// Whether they are coming and none has since this was asked before.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.is_coming() && !std::mem::replace(&mut self.has_come, false)
    }

    /// That side has no more; it was asked for its PINGRESP of this count.
    pub(super) fn said(&mut self, pings: u64) {
        self.step = Step::Said(pings);
    }

    /// So many PINGRESP have come from that side; whether the other is to be asked for one.
    pub(super) fn is_given(&self, answers: u64) -> bool {
        matches!(self.step, Step::Said(pings) if answers >= pings)
    }

    /// The other side was asked for its PINGRESP of this count.
    pub(super) fn given(&mut self, pings: u64) {
        self.step = Step::Given(pings);
    }

    /// So many PINGRESP have come from the other side; whether it has had them.
    pub(super) fn is_over(&self, answers: u64) -> bool {
        matches!(self.step, Step::Given(pings) if answers >= pings)
    }

    pub(super) fn into_filters(self) -> Vec<String> {
        self.filters
    }
}
