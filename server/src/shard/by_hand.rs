//! A shard without a thread, turned by its owner: the very same turns, for simulations, on time that is told.
//!
//! Must not know what a simulation does. Start at [`Shard::by_hand`].

use super::Shard;
use super::connection::Flags;
use super::handler::{Handler, HubPort};
use super::setup::{ShardSetup, Takes, listen_in_poll};
use super::stats::Stats;
use crate::state::End;
use hub::{Hub, Millis};
use std::io;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::time::Duration;

impl<H: Handler + 'static> Shard<H> {
    /// A shard that runs while [`Shard::turn_now`] is called.
    ///
    /// # Errors
    /// Those of the operating system: registration of the listeners.
    pub fn by_hand(setup: ShardSetup, handler: H, hub: HubPort) -> io::Result<Self> {
        let registry = listen_in_poll(&setup)?;
        let mut shard = Self::new(setup, registry, handler, hub);
        shard.call(|handler, cx| handler.started(cx));
        Ok(shard)
    }

    /// Takes a connection as if a listener had accepted it, if there is a seat for it. Any stream socket will do.
    pub fn take(&mut self, stream: TcpStream) {
        if self.io.seats.try_take() && self.seat(stream, Flags::default(), Takes::Anything).is_none() {
            self.io.seats.leave();
        }
    }

    /// One turn, without sleep: whether anything moved, or the end.
    pub fn turn_now(&mut self) -> ControlFlow<End, bool> {
        let waiting = self.inbox.look();
        let before = self.moves();
        match self.turn_after(waiting, Some(Duration::ZERO)) {
            ControlFlow::Break(end) => {
                self.finish(end);
                ControlFlow::Break(end)
            }
            ControlFlow::Continue(()) => {
                let goes_on = waiting > 0 || !self.io.ready.is_empty() || self.io.outbox.is_waiting();
                let is_due = self.hub.hub.next_deadline().is_some_and(|at| at <= self.io.clock.now());
                ControlFlow::Continue(goes_on || is_due || self.moves() != before)
            }
        }
    }

    /// When something is due by itself.
    pub fn next_deadline(&self) -> Option<Millis> {
        let deadlines = [self.hub.hub.next_deadline(), self.io.owners.next(), self.io.deadlines.next()];
        deadlines.into_iter().flatten().min()
    }

    /// Its decisions so far.
    pub fn hub(&self) -> &Hub {
        &self.hub.hub
    }

    /// Its protocols.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Its figures.
    pub fn stats(&self) -> Stats {
        self.io.snapshot()
    }

    /// All figures that change when something happens.
    fn moves(&self) -> Stats {
        Stats { turns: 0, turns_stalled: 0, ..self.stats() }
    }
}
