//! Receives, also those that wait: for messages a queue does not have yet no thread waits, only a task.
//!
//! Owns that a client who has gone gets nothing: its receive is cancelled, and what it was given meanwhile goes back. Start at
//! [`Door::receive`].

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hub::queue::{Answer, Delivery, QueueCommand, QueueName, Receive, Sent};
use hub::{Command, Report, ShardId};
use tokio::sync::OwnedSemaphorePermit;
use wire::sqs::{
    Content, Error, MessageFacts, QueueArn, QueueKind, ReceiveMessage, ReceivedMessage, SequenceNumber, Uuid,
    limits,
};

use super::caller::Caller;
use super::http::Replier;
use super::refusal::About;
use super::{Door, answered, arn_of, name_of};
use crate::back::office::{ANSWER_WAIT, Answers, Office};
use crate::mail::Mail;

/// What a receiver wants, as the home of the queue is told.
pub(super) struct Wanted {
    /// At most so many.
    pub(super) max: u32,
    /// How long they are invisible, instead of as the queue says. Milliseconds.
    pub(super) visibility_ms: Option<u64>,
    /// How long to wait for one, instead of as the queue says. Milliseconds.
    pub(super) wait_ms: Option<u64>,
    /// The name of the attempt.
    pub(super) attempt: Option<Box<str>>,
}

/// The longest that a queue has receives wait which do not say it themselves. Milliseconds.
const QUEUE_WAIT_MS_MAX: u64 = limits::WAIT_S_MAX as u64 * 1000;

impl Door {
    pub(super) async fn receive(
        &self,
        caller: &Caller<'_>,
        reply: &Replier,
        request: ReceiveMessage<'_>,
    ) -> Result<Response, Error> {
        let queue = caller.arn(&request.queue);
        request.check(queue.kind())?;
        let wanted = Wanted {
            max: u32::from(request.max),
            visibility_ms: request.visibility_timeout_s.map(|timeout_s| u64::from(timeout_s) * 1000),
            wait_ms: request.wait_s.map(|wait_s| u64::from(wait_s) * 1000),
            attempt: request.attempt_id.as_deref().map(Box::from),
        };
        let (deliveries, sent) = self.received(&queue, wanted).await?;
        let messages = deliveries.iter().zip(&sent).filter_map(|(delivery, sent)| {
            // One that is gone has ended meanwhile.
            self.message(&queue, &request, delivery, sent.as_ref()?)
        });
        Ok(reply.response(&wire::sqs::Response::ReceiveMessage(messages.collect())))
    }

    /// Messages with what stands in their records, which is gone for one that has ended meanwhile.
    pub(super) async fn received(
        &self,
        queue: &QueueArn,
        wanted: Wanted,
    ) -> Result<(Vec<Delivery>, Vec<Option<Sent>>), Error> {
        let attempt = wanted.attempt.clone().unwrap_or_default();
        let about = About { attempt: &attempt, ..About::queue(&queue.name) };
        let deliveries = match self.awaited(queue, wanted).await {
            Ok(Answer::Received(deliveries)) => deliveries,
            Ok(_) => return Err(Error::internal()),
            Err(trouble) => return Err(about.error(trouble)),
        };
        let place = |delivery: &Delivery| (delivery.receipt.partition, delivery.receipt.offset);
        let places = deliveries.iter().map(place).collect();
        let given = Given { office: self.office.clone(), queue: name_of(queue), deliveries };
        let sent = self.shelf.fetch(places).await?;
        Ok((given.taken(), sent))
    }

    async fn awaited(&self, queue: &QueueArn, wanted: Wanted) -> Result<Answer, super::Trouble> {
        let permit = self.leave_to_wait(wanted.wait_ms);
        let name = name_of(queue);
        let answers = self.office.expect().await;
        // Who finds too many waiting, or the server ending, does not wait.
        let wait_ms = if permit.is_some() { wanted.wait_ms } else { Some(0) };
        let receive = Box::new(Receive {
            queue: name.clone(),
            max: wanted.max,
            visibility_ms: wanted.visibility_ms,
            wait_ms,
            attempt: wanted.attempt,
            token: answers.token(),
        });
        let shard = name.home(&self.office.topology());
        let mail = Mail::Hub(Command::Queue(QueueCommand::Receive(receive)));
        if self.office.tell(shard, mail).await.is_err() {
            return Err(Error::unavailable().into());
        }
        let mut poll =
            Poll { office: self.office.clone(), shard, queue: name, answers: Some(answers), permit };
        poll.within(Duration::from_millis(wait_ms.unwrap_or(QUEUE_WAIT_MS_MAX)) + ANSWER_WAIT).await
    }

    /// For a receive that may wait; `None` for one that does not want to, or may not.
    fn leave_to_wait(&self, wait_ms: Option<u64>) -> Option<OwnedSemaphorePermit> {
        if wait_ms == Some(0) || self.office.is_draining() {
            return None;
        }
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// `None` when it says nothing that this API understands.
    fn message<'s>(
        &self,
        queue: &QueueArn,
        request: &ReceiveMessage<'_>,
        delivery: &Delivery,
        sent: &'s Sent,
    ) -> Option<ReceivedMessage<'s>> {
        let mut content = Content::decode(&sent.content)?;
        let (origin, is_fifo) = (sent.origin.as_deref(), queue.kind() == QueueKind::Fifo);
        let first_received = origin.map(|origin| origin.first_received).filter(|first| first.0 > 0);
        let source = origin.and_then(|origin| arn_of(origin.source.as_ref()?));
        let deduplication_id = deduplication_id(sent);
        let facts = MessageFacts {
            sender_id: Some(content.sender_id.as_ref()).filter(|sender| !sender.is_empty()),
            sent_ms: sent.sent.0,
            receive_count: delivery.receives.saturating_add(origin.map_or(0, |origin| origin.receives)),
            first_received_ms: first_received.unwrap_or(delivery.first_received).0,
            sequence_number: is_fifo.then(|| SequenceNumber::of_offset(delivery.receipt.offset)),
            deduplication_id: deduplication_id.as_deref().filter(|_| is_fifo),
            group_id: sent.group.as_deref(),
            trace_header: Some(content.trace_header.as_ref()).filter(|header| !header.is_empty()),
            dead_letter_source: source.as_ref(),
        };
        let system_attributes = facts.select(request.system_attributes).into_iter();
        let system_attributes =
            system_attributes.map(|(attribute, value)| (attribute, value.into_owned().into())).collect();
        content.attributes.retain(&request.attributes);
        Some(ReceivedMessage {
            id: Uuid(sent.id.0),
            receipt_handle: self.shelf.seal(&delivery.receipt).into(),
            body: content.body,
            body_md5: content.body_md5,
            attributes: content.attributes,
            system_attributes,
        })
    }
}

/// As it was given, or made of the body; of a dead letter, whose own is over, the message's id.
fn deduplication_id(sent: &Sent) -> Option<String> {
    use hub::queue::IdValue;
    match sent.deduplication.as_ref().map(|id| &id.value) {
        Some(IdValue::Text(text)) => Some(text.to_string()),
        Some(IdValue::Hash(hash)) => Some(hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        None => Some(Uuid(sent.id.0).to_string()),
    }
}

/// Messages that a queue gave and whose receiver does not have them yet: without it they go back.
struct Given {
    office: Office,
    queue: QueueName,
    deliveries: Vec<Delivery>,
}

impl Given {
    /// They are on their way to the receiver.
    fn taken(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Given {
    /// They cannot be read, or nobody waits for them any more.
    fn drop(&mut self) {
        let deliveries = std::mem::take(&mut self.deliveries);
        if let (false, Ok(runtime)) = (deliveries.is_empty(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(put_back(self.office.clone(), self.queue.clone(), deliveries));
        }
    }
}

/// A receive that may wait.
struct Poll {
    office: Office,
    shard: ShardId,
    queue: QueueName,
    /// Until it is answered.
    answers: Option<Answers>,
    /// Of one that waits.
    permit: Option<OwnedSemaphorePermit>,
}

impl Poll {
    async fn within(&mut self, wait: Duration) -> Result<Answer, super::Trouble> {
        let Some(answers) = &mut self.answers else { return Err(Error::internal().into()) };
        let report = tokio::select! {
            // What there is comes first.
            biased;
            report = answers.within(wait) => report,
            // Whoever waits hears at once that there is nothing; what comes all the same goes back when this is dropped.
            () = self.office.drain_begins(), if self.permit.is_some() => {
                return Ok(Answer::Received(Vec::new()));
            }
        };
        if report.is_ok() {
            self.answers = None;
        }
        answered(report)
    }
}

impl Drop for Poll {
    /// Nobody waits any more, as the client has gone.
    fn drop(&mut self) {
        let (Some(answers), Ok(runtime)) = (self.answers.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (office, shard, queue) = (self.office.clone(), self.shard, self.queue.clone());
        runtime.spawn(give_back(office, shard, queue, answers));
    }
}

/// Cancels a receive. What it was given before goes back: a question that is asked behind the cancellation is answered
/// behind all that.
async fn give_back(office: Office, shard: ShardId, queue: QueueName, mut answers: Answers) {
    let token = answers.token();
    let commands = [QueueCommand::Cancel { token }, QueueCommand::Describe { queue: queue.clone(), token }];
    for command in commands {
        if office.tell(shard, Mail::Hub(Command::Queue(command))).await.is_err() {
            return;
        }
    }
    let Ok(Report::Queue(answer)) = answers.within(ANSWER_WAIT).await else { return };
    if let Answer::Received(deliveries) = *answer {
        put_back(office, queue, deliveries).await;
    }
}

/// Makes messages visible again that nobody has.
async fn put_back(office: Office, queue: QueueName, deliveries: Vec<Delivery>) {
    if deliveries.is_empty() {
        return;
    }
    let shard = queue.home(&office.topology());
    let changes = deliveries.iter().map(|delivery| (delivery.receipt, 0)).collect();
    let command = |token| Command::Queue(QueueCommand::SetVisibility { queue, changes, token });
    // What cannot be given back becomes visible by itself.
    let _ = office.ask(shard, command).await;
}
