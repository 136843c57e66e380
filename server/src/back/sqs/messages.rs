//! Messages on their way in, and those that are done with or held longer.
//!
//! Start at [`Door::send`].

use std::borrow::Cow;

use bytes::Bytes;
use hub::queue::{Answer, Message, QueueCommand, QueueRefusal, Receipt, Taken};
use wire::sqs::{
    Content, Entry, Error, NewMessage, QueueArn, QueueKind, QueueRules, Response, SendMessageBatch,
    SentMessage, SequenceNumber, Uuid, VisibilityChange,
};

use super::caller::Caller;
use super::refusal::About;
use super::{Door, name_of};
use crate::back::gather::message_id;

/// A message on its way, and what its sender is told when it is there.
pub(super) struct Outgoing {
    pub(super) message: Message,
    told: SentMessage,
}

/// What is known of a queue by its name alone; the home of the queue checks the rest.
pub(super) fn rules(queue: &QueueArn) -> QueueRules {
    QueueRules { content_based_deduplication: true, ..QueueRules::new(queue.kind()) }
}

impl Outgoing {
    pub(super) fn new(message: NewMessage<'_>, queue: &QueueArn, sender: &str) -> Self {
        let id = message_id();
        let group = message.group_id.as_deref().map(Box::from);
        let deduplication: Option<Box<str>> = message.deduplication_id.as_deref().map(Box::from);
        let is_fifo = queue.kind() == QueueKind::Fifo;
        let content_hash = (is_fifo && deduplication.is_none()).then(|| message.content_sha256());
        let size_bytes = u32::try_from(message.bytes()).unwrap_or(u32::MAX);
        let delay_ms = message.delay_s.map(|delay_s| u64::from(delay_s) * 1000);
        let system_attributes_md5 = message.system_attributes_md5;
        let content = Content::of(message, sender);
        let told = SentMessage {
            id: Uuid(id.0),
            body_md5: content.body_md5,
            attributes_md5: content.attributes.md5(),
            system_attributes_md5,
            sequence_number: None,
        };
        let content = Bytes::from(content.encode());
        let message = Message { id, content, size_bytes, group, deduplication, content_hash, delay_ms };
        Self { message, told }
    }
}

/// What the sender of a message that was taken is told.
fn told(told: SentMessage, taken: &Taken, queue: &QueueArn) -> SentMessage {
    let is_fifo = queue.kind() == QueueKind::Fifo;
    let sequence_number = is_fifo.then(|| SequenceNumber::of_offset(taken.offset));
    SentMessage { id: Uuid(taken.id.0), sequence_number, ..told }
}

impl Door {
    pub(super) async fn send(
        &self,
        caller: &Caller<'_>,
        queue: &QueueArn,
        message: NewMessage<'_>,
    ) -> Result<Response<'static>, Error> {
        message.check(&rules(queue))?;
        let outgoing = Outgoing::new(message, queue, &caller.sender);
        let mut results = self.taken(queue, vec![outgoing.message]).await?;
        match results.pop() {
            Some(Ok(taken)) => Ok(Response::SendMessage(told(outgoing.told, &taken, queue))),
            Some(Err(refusal)) => Err(About::queue(&queue.name).refusal(refusal)),
            None => Err(Error::internal()),
        }
    }

    pub(super) async fn send_batch<'a>(
        &self,
        caller: &Caller<'_>,
        mut request: SendMessageBatch<'a>,
    ) -> Result<Response<'a>, Error> {
        let queue = &caller.arn(&request.queue);
        request.check(&rules(queue))?;
        let (mut messages, mut tolds) = (Vec::new(), Vec::new());
        let mut entries = Vec::new();
        for Entry { id, content } in request.entries {
            let content = content.map(|message| {
                let Outgoing { message, told } = Outgoing::new(message, queue, &caller.sender);
                messages.push(message);
                tolds.push(told);
            });
            entries.push(Entry { id, content });
        }
        let results = self.taken(queue, messages).await?;
        let told = tolds.into_iter().zip(results).map(|(sent, result)| match result {
            Ok(taken) => Ok(told(sent, &taken, queue)),
            Err(refusal) => Err(About::queue(&queue.name).refusal(refusal)),
        });
        Ok(Response::SendMessageBatch(filled(entries, told)))
    }

    pub(super) async fn taken(
        &self,
        queue: &QueueArn,
        messages: Vec<Message>,
    ) -> Result<Vec<Result<Taken, QueueRefusal>>, Error> {
        if messages.is_empty() {
            self.view(queue).await?;
            return Ok(Vec::new());
        }
        let send = |queue, token| QueueCommand::Send { queue, messages, token };
        match self.ask(&name_of(queue), send).await {
            Ok(Answer::Sent(results)) => Ok(results),
            Ok(_) => Err(Error::internal()),
            Err(trouble) => Err(About::queue(&queue.name).error(trouble)),
        }
    }

    pub(super) async fn settle(&self, queue: &QueueArn, handle: &str) -> Result<Response<'static>, Error> {
        let entries = vec![Entry { id: Cow::Borrowed(""), content: Ok(Cow::Borrowed(handle)) }];
        single(self.settled(queue, entries).await?)?;
        Ok(Response::DeleteMessage)
    }

    pub(super) async fn settle_batch<'a>(
        &self,
        queue: &QueueArn,
        entries: Vec<Entry<'a, Cow<'a, str>>>,
    ) -> Result<Response<'a>, Error> {
        Ok(Response::DeleteMessageBatch(self.settled(queue, entries).await?))
    }

    async fn settled<'a>(
        &self,
        queue: &QueueArn,
        entries: Vec<Entry<'a, Cow<'a, str>>>,
    ) -> Result<Vec<Entry<'a, ()>>, Error> {
        let entries = entries.into_iter().map(|Entry { id, content }| Entry {
            id,
            content: content.map(|handle| Held { handle: handle.into_owned(), timeout_s: 0 }),
        });
        self.done_with(queue, entries.collect(), |receipts| {
            let receipts = receipts.into_iter().map(|(receipt, _)| receipt).collect();
            |queue, token| QueueCommand::Settle { queue, receipts, token }
        })
        .await
    }

    pub(super) async fn hold(
        &self,
        queue: &QueueArn,
        change: &VisibilityChange<'_>,
    ) -> Result<Response<'static>, Error> {
        let entries = vec![Entry { id: Cow::Borrowed(""), content: Ok(change.clone()) }];
        single(self.held(queue, entries).await?)?;
        Ok(Response::ChangeMessageVisibility)
    }

    pub(super) async fn hold_batch<'a>(
        &self,
        queue: &QueueArn,
        entries: Vec<Entry<'a, VisibilityChange<'a>>>,
    ) -> Result<Response<'a>, Error> {
        Ok(Response::ChangeMessageVisibilityBatch(self.held(queue, entries).await?))
    }

    async fn held<'a, 'c>(
        &self,
        queue: &QueueArn,
        entries: Vec<Entry<'a, VisibilityChange<'c>>>,
    ) -> Result<Vec<Entry<'a, ()>>, Error> {
        let entries = entries.into_iter().map(|Entry { id, content }| Entry {
            id,
            content: content.map(|change| Held {
                handle: change.receipt_handle.into_owned(),
                timeout_s: change.timeout_s,
            }),
        });
        self.done_with(queue, entries.collect(), |receipts| {
            let changes = receipts
                .into_iter()
                .map(|(receipt, timeout_s)| (receipt, u64::from(timeout_s) * 1000))
                .collect();
            |queue, token| QueueCommand::SetVisibility { queue, changes, token }
        })
        .await
    }

    /// Opens the handles, has the queue's home do what `command` makes of them, and says what became of each.
    async fn done_with<'a, C>(
        &self,
        queue: &QueueArn,
        entries: Vec<Entry<'a, Held>>,
        command: impl FnOnce(Vec<(Receipt, u32)>) -> C,
    ) -> Result<Vec<Entry<'a, ()>>, Error>
    where
        C: FnOnce(hub::queue::QueueName, hub::Token) -> QueueCommand,
    {
        let (mut known, mut receipts) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        for Entry { id, content } in entries {
            let content = content.and_then(|held| {
                receipts.push((self.shelf.open(&held.handle)?, held.timeout_s));
                known.push(held);
                Ok(())
            });
            answers.push(Entry { id, content });
        }
        if receipts.is_empty() {
            // That there is no such queue is said first.
            self.view(queue).await?;
            return Ok(answers);
        }
        let results = match self.ask(&name_of(queue), command(receipts)).await {
            Ok(Answer::Settled(results)) => results,
            Ok(_) => return Err(Error::internal()),
            Err(trouble) => return Err(About::queue(&queue.name).error(trouble)),
        };
        let told = known.iter().zip(results).map(|(Held { handle, timeout_s }, result)| {
            let about = About { handle, timeout_s: *timeout_s, ..About::queue(&queue.name) };
            result.map_err(|refusal| about.refusal(refusal))
        });
        Ok(filled(answers, told))
    }
}

/// A received message, by its handle, and how long it is to be invisible.
struct Held {
    handle: String,
    timeout_s: u32,
}

/// Puts the results of those entries in their place that could be tried.
fn filled<'a, T>(
    entries: Vec<Entry<'a, ()>>,
    results: impl IntoIterator<Item = Result<T, Error>>,
) -> Vec<Entry<'a, T>> {
    let mut results = results.into_iter();
    let filled = entries.into_iter().map(|Entry { id, content }| {
        let content = content.and_then(|()| results.next().unwrap_or_else(|| Err(Error::internal())));
        Entry { id, content }
    });
    filled.collect()
}

/// The one result there is.
fn single(entries: Vec<Entry<'_, ()>>) -> Result<(), Error> {
    entries.into_iter().try_for_each(|entry| entry.content)
}
