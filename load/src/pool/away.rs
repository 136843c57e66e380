//! Clients that are away: how they are cut, how they come back, what they are missing.
//!
//! The part of [`Worker`] that concerns scenarios whose clients come back. Start at [`Worker::goes_away`].
//!
//! ```text
//! Open ──cut by us, or lost──> Resting ──Alarm: Return──> Connecting ──> Opening ──ready──> Open
//!                                 ^                            └── refused, or no answer ──────┐
//!                                 └─────────────────────────────────────────────────────────────┘
//! ```
//! Who comes back does so at its own time and waits for nobody: how many may open at once is bounded for first connections
//! only. How long a handshake may take is bounded for all.

use std::time::Duration;

use super::link::{Readiness, State};
use super::returning::What;
use super::worker::Worker;
use super::{Findings, Question};
use crate::comeback::{Comeback, Cut, CutPlan, Span, draw};

/// How a session words the answer of a server that is going down or full.
const UNAVAILABLE: &str = "upgrade refused with 503";

impl Worker {
    /// A connection was lost or an attempt refused, as `text` says. False if that is the end of the client.
    pub(super) fn goes_away(&mut self, at: usize, text: &str) -> bool {
        let Some(comeback) = self.script.comeback.filter(|_| !self.leaving) else { return false };
        let Some(link) = self.links.get_mut(at) else { return false };
        match link.readiness {
            Readiness::Never => return false,
            Readiness::Now => self.counts.lost += 1,
            Readiness::Away => {
                self.counts.refused += 1;
                self.counts.unavailable += u64::from(text.starts_with(UNAVAILABLE));
            }
        }
        self.rest(at, comeback);
        true
    }

    /// The client has no connection and will come back.
    fn rest(&mut self, at: usize, comeback: Comeback) {
        let due_ms = self.now_ms() + self.draw_ms(at, comeback.away, comeback.seed);
        let Some(link) = self.links.get_mut(at) else { return };
        link.readiness = Readiness::Away;
        link.state = State::Resting(due_ms);
        self.alarms.set(due_ms, at, What::Return);
    }

    /// A random time of this client.
    fn draw_ms(&mut self, at: usize, span: Span, seed: u64) -> u64 {
        let Some(link) = self.links.get_mut(at) else { return 0 };
        let index = link.index;
        let Some(returning) = &mut link.returning else { return 0 };
        returning.draws += 1;
        span.pick_ms(draw(seed, index, returning.draws))
    }

    /// From now on clients are cut, or no longer.
    pub(super) fn set_cuts(&mut self, cuts: Option<CutPlan>) {
        let begun = self.cuts.is_none();
        self.cuts = cuts;
        if let (Some(CutPlan { first, .. }), true) = (cuts, begun) {
            (0..self.links.len()).for_each(|at| self.set_cut(at, first));
        }
    }

    fn set_cut(&mut self, at: usize, after: Span) {
        let Some(comeback) = self.script.comeback else { return };
        let due_ms = self.now_ms() + self.draw_ms(at, after, comeback.seed);
        self.alarms.set(due_ms, at, What::Cut);
    }

    /// Does what is due.
    pub(super) fn ring(&mut self) {
        let now_ms = self.now_ms();
        while let Some((at, what)) = self.alarms.due(now_ms) {
            match what {
                What::Cut => self.cut(at),
                What::Return => self.come_back(at),
            }
        }
    }

    /// How long the poll may wait, at most `longest`.
    pub(super) fn until_alarm(&self, longest: Duration) -> Duration {
        let next = self.alarms.wait_ms(self.now_ms()).map(Duration::from_millis);
        next.map_or(longest, |next| next.min(longest))
    }

    fn cut(&mut self, at: usize) {
        let (Some(cuts), Some(comeback)) = (self.cuts, self.script.comeback) else { return };
        self.set_cut(at, cuts.every);
        let Some(link) = self.links.get_mut(at) else { return };
        if link.readiness != Readiness::Now || link.state != State::Open {
            return;
        }
        let (Some(mut stream), Some(returning)) = (link.disconnected(), link.returning.as_mut()) else {
            return;
        };
        let reset = match cuts.how {
            Cut::Close => false,
            Cut::Reset => true,
            Cut::Mixed => draw(comeback.seed, link.index, returning.draws).bool(),
            Cut::Silent => {
                // Whether it can still be polled makes no difference: nobody listens to it any more.
                let _ = self.poll.registry().deregister(stream.tcp());
                returning.silent = Some(stream);
                self.counts.cuts += 1;
                return self.rest(at, comeback);
            }
        };
        if reset {
            // Without this option it is a FIN, which is a cut, too.
            let _ = socket2::SockRef::from(&*stream.tcp()).set_linger(Some(Duration::ZERO));
        }
        drop(stream);
        self.counts.cuts += 1;
        self.rest(at, comeback);
    }

    fn come_back(&mut self, at: usize) {
        let now_ms = self.now_ms();
        let Some(link) = self.links.get_mut(at) else { return };
        let due = matches!(link.state, State::Resting(due_ms) if due_ms <= now_ms);
        if due && link.returning.is_some() {
            self.try_connect(at);
        }
    }

    /// What the clients are missing of the numbers in question.
    pub(super) fn findings(&self, question: &Question) -> Findings {
        let Question { end, excepted } = question;
        let mut findings = Findings::default();
        for link in self.links.iter().filter(|link| link.readiness != Readiness::Never) {
            let Some(returning) = &link.returning else { continue };
            let (gaps, next) = (&returning.gaps, link.next_number.min(*end));
            let excepted = |is: &dyn Fn(u32) -> bool| excepted.iter().filter(|it| is(**it)).count() as u64;
            let skipped = gaps.len() - excepted(&|number| gaps.contains(number));
            let behind = u64::from(end - next) - excepted(&|number| (next..*end).contains(&number));
            findings.skipped += skipped;
            findings.behind += behind;
            findings.clients_incomplete += u64::from(skipped + behind > 0);
        }
        findings
    }
}
