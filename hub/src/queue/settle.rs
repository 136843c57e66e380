//! What a receiver says of messages it has: done with, or to be visible at another time. Decides what a receipt is worth.
//!
//! Standard: any receipt of a stored message ends it. FIFO: only that of the receive that has it now; after a restart, when
//! nobody knows who had what, any from before as long as nobody else has received the message. A receipt of a message that
//! is gone, or on its way to another queue, does nothing and succeeds.

use super::Queues;
use super::answer::{Answer, QueueRefusal, Stage};
use super::desk::{Desk, Queue};
use super::ids::{QueueName, Receipt};
use super::leaving::Gate;
use super::receive::Numbers;
use crate::ids::Token;

impl Queues {
    pub(super) fn settle(&mut self, name: &QueueName, receipts: &[Receipt], token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let limits = &self.config.limits;
        let (Some(queue), desk) = (self.all.get_mut(key as usize), &mut self.desk) else { return };
        if receipts.len() > limits.batch_max as usize {
            desk.refuse(token, QueueRefusal::OverLimit);
        } else {
            let all = receipts.iter().map(|receipt| queue.settle(receipt, &self.numbers, desk)).collect();
            let gate = Gate::All;
            desk.answer(token, Answer::Settled(all), gate);
        }
        self.leave(key);
    }

    pub(super) fn set_visibility(&mut self, name: &QueueName, changes: &[(Receipt, u64)], token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let limits = &self.config.limits;
        let (Some(queue), desk) = (self.all.get_mut(key as usize), &mut self.desk) else { return };
        if changes.len() > limits.batch_max as usize {
            desk.refuse(token, QueueRefusal::OverLimit);
        } else {
            let max_ms = limits.visibility_ms_max;
            let all = changes.iter().map(|(receipt, ms)| queue.hold(receipt, (*ms, max_ms), desk)).collect();
            desk.answer(token, Answer::Settled(all), Gate::Open);
        }
        self.leave(key);
    }
}

impl Queue {
    fn settle(&mut self, receipt: &Receipt, numbers: &Numbers, desk: &mut Desk) -> Result<(), QueueRefusal> {
        self.is_ours(receipt)?;
        let Some(entry) = self.stock.find(receipt.offset) else { return Ok(()) };
        if self.settings.is_fifo() && self.flying(receipt.offset, receipt.number, desk.now).is_none() {
            let received = self.stock.tracked(receipt.offset).is_some_and(|tracked| tracked.number != 0);
            if entry.stage == Stage::InFlight || received || numbers.is_own(receipt.number) {
                return Err(QueueRefusal::ReceiptOver);
            }
        }
        self.end(receipt.offset, desk);
        self.flow.settled += 1;
        Ok(())
    }

    fn hold(
        &mut self,
        receipt: &Receipt,
        (ms, ms_max): (u64, u64),
        desk: &mut Desk,
    ) -> Result<(), QueueRefusal> {
        self.is_ours(receipt)?;
        let offset = receipt.offset;
        if self.stock.find(offset).is_none() {
            return Err(QueueRefusal::Gone);
        }
        let tracked = self.flying(offset, receipt.number, desk.now).ok_or(QueueRefusal::NotInFlight)?;
        let until = desk.now.plus(ms);
        if until > tracked.received.plus(ms_max) {
            return Err(QueueRefusal::VisibilityTooLong);
        }
        if ms == 0 {
            self.stock.give_back(offset, desk.now);
        } else {
            self.stock.hold_until(offset, until);
        }
        Ok(())
    }

    fn is_ours(&self, receipt: &Receipt) -> Result<(), QueueRefusal> {
        let is_ours = receipt.partition == self.partition && receipt.incarnation == self.incarnation;
        if is_ours { Ok(()) } else { Err(QueueRefusal::BadReceipt) }
    }
}
