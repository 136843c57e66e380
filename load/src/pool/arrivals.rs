//! How long messages took, all together or each number by itself.
//!
//! Must not know clients. Start at [`Arrivals::arrived`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::message::Marker;

/// How latencies of messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attribution {
    /// In one histogram.
    Together,
    /// In one for each number until it is asked for: some 200 KB each in every event loop.
    ByNumber,
}

/// Latencies of messages since they were last asked for.
#[derive(Debug)]
pub(super) enum Arrivals {
    Together(Latencies),
    ByNumber(BTreeMap<u32, Latencies>),
}

impl Arrivals {
    /// None yet.
    pub(super) fn new(attribution: Attribution) -> Self {
        match attribution {
            Attribution::Together => Self::Together(Latencies::new()),
            Attribution::ByNumber => Self::ByNumber(BTreeMap::new()),
        }
    }

    /// A message came.
    pub(super) fn arrived(&mut self, marker: Marker, now_ns: u64) {
        let latencies = match self {
            Self::Together(latencies) => latencies,
            Self::ByNumber(by_number) => by_number.entry(marker.number).or_insert_with(Latencies::new),
        };
        latencies.arrived(marker.due_ns, now_ns);
    }

    /// Those of all numbers, which are forgotten here.
    pub(super) fn take(&mut self) -> Latencies {
        match self {
            Self::Together(latencies) => std::mem::replace(latencies, Latencies::new()),
            Self::ByNumber(by_number) => {
                std::mem::take(by_number).into_values().fold(Latencies::new(), Latencies::merged)
            }
        }
    }

    /// Those of one number, which are forgotten here; none where they are not kept apart.
    pub(super) fn take_of(&mut self, number: u32) -> Latencies {
        match self {
            Self::Together(_) => Latencies::new(),
            Self::ByNumber(by_number) => by_number.remove(&number).unwrap_or_else(Latencies::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_apart_where_that_is_wanted() {
        let mut arrivals = Arrivals::new(Attribution::ByNumber);
        for (number, now_ns) in [(1, 3_000_000), (2, 9_000_000), (1, 5_000_000)] {
            arrivals.arrived(Marker { number, due_ns: 1_000_000 }, now_ns);
        }
        let first = arrivals.take_of(1);
        assert_eq!((first.len(), first.max_ms().round()), (2, 4.0));
        assert_eq!((arrivals.take_of(1).len(), arrivals.take().len(), arrivals.take().len()), (0, 1, 0));
    }
}
