//! Receiving: which messages a receiver gets, and when one that waits gets them. Dead letters are found here: a message that
//! would be received once too often is moved instead.

use super::Queues;
use super::answer::{Answer, Delivery, QueueRefusal};
use super::command::Receive;
use super::desk::{Desk, Queue};
use super::ids::{Receipt, Wall};
use super::lane::LaneKey;
use super::leaving::Gate;
use super::limits::{QueueLimits, STEP_MAX};
use super::record::{Record, Tally};
use super::stock::{Hold, Tracked};
use super::waiters::QueueKey;
use crate::ids::Token;

/// Numbers of receives, unique in one life of the hub and hardly ever those of another.
#[derive(Debug)]
pub(crate) struct Numbers {
    base: u64,
    given: u64,
}

impl Numbers {
    pub(crate) fn new(epoch: u64) -> Self {
        // Lives that begin one after the other must not share numbers.
        Self { base: epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15), given: 0 }
    }

    fn give(&mut self) -> u64 {
        self.given += 1;
        let number = self.base.wrapping_add(self.given);
        // 0 stands for none.
        if number == 0 { self.give() } else { number }
    }

    /// Given in this life.
    pub(crate) fn is_own(&self, number: u64) -> bool {
        (1..=self.given).contains(&number.wrapping_sub(self.base))
    }
}

/// What a receive finds.
enum Found {
    Messages(Vec<Delivery>),
    Nothing,
    Refused(QueueRefusal),
}

/// Where a receive is: a FIFO queue goes on with the same group while it can.
#[derive(Clone, Copy, Default)]
struct Walk {
    /// The lane and the offset below which it may take.
    lane: Option<(LaneKey, u64)>,
}

impl Queues {
    pub(super) fn receive(&mut self, mut receive: Box<Receive>) {
        let Some(key) = self.enter(&receive.queue, receive.token) else { return };
        let Some(queue) = self.all.get(key as usize) else { return };
        let wait_ms = receive.wait_ms.unwrap_or(queue.settings.wait_ms);
        receive.max = receive.max.clamp(1, self.config.limits.receive_max.max(1));
        match self.find(key, &receive) {
            Found::Messages(messages) => self.hand_over(&receive, messages),
            Found::Refused(refusal) => self.desk.refuse(receive.token, refusal),
            Found::Nothing if wait_ms > 0 => self.wait(key, receive, wait_ms),
            Found::Nothing => self.find_none(key, &receive),
        }
        self.leave(key);
    }

    fn wait(&mut self, key: QueueKey, receive: Box<Receive>, wait_ms: u64) {
        if self.waiters.len() >= self.config.limits.waiters_max as usize {
            return self.desk.refuse(receive.token, QueueRefusal::OverLimit);
        }
        let until = self.desk.now.plus(wait_ms);
        self.waiters.insert(key, receive, until);
    }

    fn find_none(&mut self, key: QueueKey, receive: &Receive) {
        let limits = &self.config.limits;
        let Some(queue) = self.all.get(key as usize) else { return };
        if !queue.settings.is_fifo() && queue.is_full(limits) {
            return self.desk.refuse(receive.token, QueueRefusal::InFlightLimit);
        }
        self.desk.answer(receive.token, Answer::Received(Vec::new()), Gate::Open);
    }

    /// Not before the newest of the messages is durable: it must not be seen and then never have been.
    fn hand_over(&mut self, receive: &Receive, messages: Vec<Delivery>) {
        let newest = messages.iter().map(|message| message.receipt).max_by_key(|receipt| receipt.offset);
        let gate = newest.map_or(Gate::Open, |newest| Gate::Record(newest.partition, newest.offset));
        self.desk.answer(receive.token, Answer::Received(messages), gate);
    }

    /// Whoever is next may have to hear something else than the one before.
    pub(super) fn cancel(&mut self, token: Token) {
        if let Some(key) = self.waiters.cancel(token) {
            self.leave(key);
        }
    }

    /// Gives what there is to those that wait, first come first served.
    pub(super) fn serve(&mut self, key: QueueKey) {
        while let Some(receive) = self.waiters.first(key).cloned() {
            let found = self.find(key, &receive);
            if matches!(found, Found::Nothing) {
                return;
            }
            self.waiters.pop_first(key);
            match found {
                Found::Messages(messages) => self.hand_over(&receive, messages),
                Found::Refused(refusal) => self.desk.refuse(receive.token, refusal),
                Found::Nothing => {}
            }
        }
    }

    fn find(&mut self, key: QueueKey, receive: &Receive) -> Found {
        if let Some(found) = self.repeat(key, receive) {
            return found;
        }
        let messages = self.collect(key, receive);
        if messages.is_empty() {
            // Those of an earlier attempt may just have gone to the dead letters.
            return self.repeat(key, receive).unwrap_or(Found::Nothing);
        }
        let max = self.config.limits.attempts_max;
        if let (Some(attempt), Some((queue, desk))) = (&receive.attempt, self.parts(key))
            && queue.settings.is_fifo()
        {
            let until = desk.now.plus(queue.visibility_ms(receive.visibility_ms));
            let given = messages.iter().map(|message| message.receipt);
            let given = given.map(|receipt| (receipt.offset, receipt.number)).collect();
            queue.attempts.insert(attempt, (until, given), (desk.now, max));
        }
        Found::Messages(messages)
    }

    /// The messages of an earlier attempt of the same id, in flight for a new time. `None` if there was none, or its messages
    /// are visible again.
    fn repeat(&mut self, key: QueueKey, receive: &Receive) -> Option<Found> {
        let (queue, desk) = self.parts(key)?;
        let id = receive.attempt.as_deref()?;
        let attempt = queue.attempts.find(id, desk.now)?.clone();
        if attempt.until <= desk.now {
            let is_given = |(offset, number): &(u64, u64)| queue.last_number(*offset) == Some(*number);
            return (!attempt.messages.iter().all(is_given))
                .then_some(Found::Refused(QueueRefusal::AttemptOver));
        }
        let mut again = Vec::with_capacity(attempt.messages.len());
        for (offset, number) in &attempt.messages {
            let tracked = queue.flying(*offset, *number, desk.now);
            let Some(tracked) = tracked.filter(|tracked| tracked.until == attempt.until) else {
                return Some(Found::Refused(QueueRefusal::AttemptOver));
            };
            again.push(queue.delivery(*offset, &tracked));
        }
        let hold_ms = queue.visibility_ms(receive.visibility_ms);
        let until = desk.now.plus(hold_ms);
        for (offset, _) in &attempt.messages {
            queue.stock.hold_until(*offset, until);
            if hold_ms == 0 {
                queue.stock.give_back(*offset, desk.now);
            }
        }
        queue.attempts.prolong(id, until);
        Some(Found::Messages(again))
    }

    /// Takes what a receive may have.
    fn collect(&mut self, key: QueueKey, receive: &Receive) -> Vec<Delivery> {
        let (mut got, mut walk) = (Vec::new(), Walk::default());
        let Some(queue) = self.all.get(key as usize) else { return got };
        let hold_ms = queue.visibility_ms(receive.visibility_ms).min(self.config.limits.visibility_ms_max);
        for _ in 0..STEP_MAX {
            let Some(queue) = self.all.get_mut(key as usize) else { break };
            if got.len() >= receive.max as usize || queue.is_full(&self.config.limits) {
                break;
            }
            let Some((lane, offset)) = queue.next(&mut walk, self.desk.now) else { break };
            if queue.is_expired(offset, self.desk.now) {
                queue.end(offset, &mut self.desk);
            } else if queue.is_dead(offset, self.desk.now) {
                walk.lane = None;
                if !self.start_dead_letter(key, offset) {
                    break;
                }
            } else {
                let hold = Hold { number: self.numbers.give(), until: self.desk.now.plus(hold_ms) };
                got.extend(queue.give((lane, offset), hold, &mut self.desk));
            }
        }
        if let (0, Some((queue, desk))) = (hold_ms, self.parts(key)) {
            got.iter().for_each(|message| queue.stock.give_back(message.receipt.offset, desk.now));
        }
        got
    }
}

impl Queue {
    fn visibility_ms(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or(self.settings.visibility_ms)
    }

    fn is_full(&self, limits: &QueueLimits) -> bool {
        let max =
            if self.settings.is_fifo() { limits.in_flight_fifo_max } else { limits.in_flight_standard_max };
        self.stock.in_flight() >= u64::from(max)
    }

    fn next(&mut self, walk: &mut Walk, now: Wall) -> Option<(LaneKey, u64)> {
        if let Some((lane, bound)) = walk.lane {
            if let Some(first) = self.stock.lanes.first_of(lane).filter(|first| *first < bound) {
                return Some((lane, first));
            }
            walk.lane = None;
        }
        let in_flight = self.stock.in_flight();
        let (lane, offset) = self.stock.lanes.next(in_flight, now)?;
        if self.settings.is_fifo() {
            walk.lane = Some((lane, self.stock.lanes.bound(lane)));
        }
        Some((lane, offset))
    }

    pub(super) fn is_expired(&self, offset: u64, now: Wall) -> bool {
        let entry = self.stock.find(offset);
        entry.is_some_and(|entry| entry.sent.plus(self.settings.retention_ms) <= now)
    }

    /// Received as often as it may be, and there is somewhere to go.
    fn is_dead(&self, offset: u64, now: Wall) -> bool {
        let Some(dead) = self.settings.dead_letters.as_ref().filter(|_| self.redrive_after <= now) else {
            return false;
        };
        self.stock.tracked(offset).is_some_and(|tracked| tracked.receives >= dead.receives_max)
    }

    /// How often a message was received is written down from the second time on where that decides about dead letters: most
    /// messages are received once, and are spared that.
    fn give(&mut self, next: (LaneKey, u64), hold: Hold, desk: &mut Desk) -> Option<Delivery> {
        let (_, offset) = next;
        let tracked = self.stock.take(next, hold, desk.now)?;
        self.flow.received += 1;
        let counts = |max: u32| tracked.receives > 1 || max == 1;
        if self.settings.dead_letters.as_ref().is_some_and(|dead| counts(dead.receives_max)) {
            let (queue, receives) = (self.incarnation, tracked.receives);
            let tally = Tally { queue, offset, receives, first_received: tracked.first_received };
            let place = desk.keep(self.partition, Record::Tally(tally));
            let before = self.stock.note_tally(offset, place);
            desk.remove(self.partition, before);
        }
        Some(self.delivery(offset, &tracked))
    }

    fn delivery(&self, offset: u64, tracked: &Tracked) -> Delivery {
        let (partition, incarnation, number) = (self.partition, self.incarnation, tracked.number);
        let receipt = Receipt { partition, incarnation, offset, number };
        Delivery { receipt, receives: tracked.receives, first_received: tracked.first_received }
    }

    /// Of a stored message: the number of its last receive.
    fn last_number(&self, offset: u64) -> Option<u64> {
        self.stock.tracked(offset).map(|tracked| tracked.number)
    }

    /// A message that is in flight by this receive.
    pub(super) fn flying(&self, offset: u64, number: u64, now: Wall) -> Option<Tracked> {
        let is_flying = self.stock.find(offset)?.stage == super::Stage::InFlight;
        let tracked = self.stock.tracked(offset).filter(|_| is_flying)?;
        (tracked.number == number && tracked.until > now).then_some(tracked)
    }
}
