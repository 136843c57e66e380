//! Messages that are published elsewhere and copied into queues here. They are taken in as if they were sent; whoever asked
//! hears of it when they are safe.

use super::Queues;
use super::answer::QueueRefusal;
use super::command::Message;
use super::ids::QueueName;
use super::leaving::Gate;
use super::mail::{Copied, QueueCopy, QueueMail};
use crate::ids::ShardId;

impl Queues {
    pub(super) fn take_copy(&mut self, from: ShardId, copy: QueueCopy) {
        let QueueCopy { queue, message, waiter } = copy;
        let id = message.id;
        let result = self.take_one(&queue, message);
        let copied = Box::new(Copied { queue, message: id, waiter, result });
        let gate = if result.is_ok() { Gate::All } else { Gate::Open };
        self.desk.mail(from, QueueMail::Copied(copied), gate);
    }

    fn take_one(&mut self, name: &QueueName, message: Message) -> Result<(), QueueRefusal> {
        let key = self.named(name).ok_or(QueueRefusal::NotFound)?;
        let (Some(queue), desk) = (self.all.get_mut(key as usize), &mut self.desk) else {
            return Err(QueueRefusal::NotFound);
        };
        let taken = match queue.lacks(&message) {
            Some(refusal) => Err(refusal),
            None => queue.take_in(message, &self.config.limits, desk).map(drop),
        };
        self.leave(key);
        taken
    }
}
