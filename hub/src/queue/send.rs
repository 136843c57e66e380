//! Sending: a message becomes a record and a place in its queue, unless it was sent before.

use super::Queues;
use super::answer::{Answer, QueueRefusal, Taken};
use super::command::Message;
use super::desk::{Desk, Queue};
use super::ids::{QueueName, Wall};
use super::leaving::Gate;
use super::limits::QueueLimits;
use super::marks::{Marked, key, window_end};
use super::record::{Id, IdValue, Record, Sent};
use super::settings::Scope;
use super::stock::Arriving;
use crate::ids::Token;

impl Queues {
    pub(super) fn send(&mut self, name: &QueueName, messages: Vec<Message>, token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let limits = &self.config.limits;
        let (Some(queue), desk) = (self.all.get_mut(key as usize), &mut self.desk) else { return };
        if messages.len() > limits.batch_max as usize {
            desk.refuse(token, QueueRefusal::OverLimit);
        } else if let Some(refusal) = messages.iter().find_map(|message| queue.lacks(message)) {
            desk.refuse(token, refusal);
        } else {
            let all = messages.into_iter().map(|message| queue.take_in(message, limits, desk)).collect();
            let gate = Gate::All;
            desk.answer(token, Answer::Sent(all), gate);
        }
        self.leave(key);
    }
}

impl Queue {
    /// What a message of a FIFO queue needs and does not have.
    pub(super) fn lacks(&self, message: &Message) -> Option<QueueRefusal> {
        if !self.settings.is_fifo() {
            return None;
        }
        if message.group.is_none() {
            return Some(QueueRefusal::NoGroup);
        }
        self.id_of(message).is_none().then_some(QueueRefusal::NoDeduplication)
    }

    fn id_of(&self, message: &Message) -> Option<Id> {
        let hash = message.content_hash.filter(|_| self.settings.deduplicate_content);
        let text = message.deduplication.clone().map(IdValue::Text);
        let value = text.or(hash.map(IdValue::Hash)).filter(|_| self.settings.is_fifo())?;
        Some(Id { in_group: self.settings.scope == Scope::Group, value })
    }

    pub(super) fn take_in(
        &mut self,
        message: Message,
        limits: &QueueLimits,
        desk: &mut Desk,
    ) -> Result<Taken, QueueRefusal> {
        self.check(&message, limits)?;
        let deduplication = self.id_of(&message);
        let mark = deduplication.as_ref().map(|id| key(id, message.group.as_deref()));
        if let Some(first) = mark.as_ref().and_then(|key| self.marks.find(key, desk.now)) {
            return Ok(Taken { id: first.id(), offset: first.offset, duplicate: true });
        }
        if desk.stored >= limits.messages_max || self.marks.len() >= limits.deduplication_max as usize {
            return Err(QueueRefusal::OverLimit);
        }
        let (id, now) = (message.id, desk.now);
        let delay_ms = message.delay_ms.filter(|_| !self.settings.is_fifo());
        let delay_ms = delay_ms.unwrap_or(self.settings.delay_ms).min(limits.delay_ms_max);
        let due = if delay_ms == 0 { Wall(0) } else { now.plus(delay_ms) };
        let sent = Sent {
            queue: self.incarnation,
            id,
            sent: now,
            // A FIFO queue may change its mind about those that are stored.
            due: if self.settings.is_fifo() { Wall(0) } else { due },
            group: message.group,
            deduplication,
            origin: None,
            content: message.content,
        };
        let offset = self.store(sent, due, desk);
        self.flow.sent += 1;
        if let Some(key) = mark {
            self.marks.insert(Marked::new((offset, key), id, window_end(now, now)));
        }
        Ok(Taken { id, offset, duplicate: false })
    }

    fn check(&self, message: &Message, limits: &QueueLimits) -> Result<(), QueueRefusal> {
        let bytes_max = self.settings.message_bytes_max;
        if message.size_bytes > bytes_max {
            return Err(QueueRefusal::TooLarge { bytes_max });
        }
        let fits = |id: &Option<Box<str>>| {
            id.as_ref().is_none_or(|id| !id.is_empty() && id.len() <= limits.id_bytes_max as usize)
        };
        if !fits(&message.group) || !fits(&message.deduplication) {
            return Err(QueueRefusal::BadId);
        }
        if self.settings.is_fifo() && message.delay_ms.is_some_and(|delay_ms| delay_ms > 0) {
            return Err(QueueRefusal::DelayNotAllowed);
        }
        Ok(())
    }

    /// A message is this queue's from now on; gives the place of its record.
    pub(super) fn store(&mut self, sent: Sent, due: Wall, desk: &mut Desk) -> u64 {
        let group: Box<str> = sent.group.clone().unwrap_or_default();
        let at = sent.sent;
        let offset = desk.keep(self.partition, Record::Sent(Box::new(sent)));
        desk.stored += 1;
        self.stock.insert(&Arriving { offset, sent: at, due, group: &group }, desk.now);
        offset
    }
}
