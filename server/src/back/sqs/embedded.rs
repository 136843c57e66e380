//! Queues for the program around the server, without HTTP: the same messages, checks and errors, in batches as large as a
//! program likes.
//!
//! Must not know how a program got hold of it. Start at [`Queue`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hub::queue::{Answer, Delivery, QueueCommand, QueueName, QueueRefusal, Receipt, Sent};
use wire::sqs::{
    AttributeValue, Content, Error, ErrorKind, Fault, MessageAttribute, MessageParts, Purpose, QueueArn,
    QueueAttributeSet, Response, Settings, Uuid, is_queue_name,
};

use super::messages::{Outgoing, rules};
use super::receive::Wanted;
use super::refusal::About;
use super::{Door, Trouble, declared, name_of, own};

/// Messages in one call. More are refused with `TooManyEntriesInBatchRequest`, and one receive gives no more.
pub(crate) const BATCH_MAX: u32 = 1000;
/// Who sends what the program sends, as receivers are told.
const SENDER: &str = "";

/// A queue of `sqs.account` and `sqs.region`, which SDKs of SQS know by the same name. Cheap to clone. It need not be there:
/// what is asked of one that is not is refused with `QueueDoesNotExist`.
#[derive(Clone)]
pub struct Queue {
    door: Door,
    arn: QueueArn,
}

/// A message to send: `QueueMessage::new("body").group("g")`. Texts are messages without anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueMessage {
    body: String,
    delay: Option<Duration>,
    attributes: Vec<QueueAttribute>,
    group: Option<String>,
    deduplication: Option<String>,
}

/// What a sender adds to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueAttribute {
    /// Its name.
    pub name: String,
    /// `String`, `Number` or `Binary`, perhaps with a label behind a dot.
    pub data_type: String,
    /// Its value.
    pub value: QueueValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueValue {
    /// Of types `String` and `Number`.
    Text(String),
    /// Of type `Binary`.
    Binary(Bytes),
}

/// A message that is stored as safely as the store is configured, or was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// Its id; of a duplicate, that of the first.
    pub id: String,
    /// A FIFO queue had been sent it before, and did not store it again.
    pub is_duplicate: bool,
}

/// A message that was received. It comes again after its visibility, unless it is deleted by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Its id, as its sender was told.
    pub id: String,
    /// Its body.
    pub body: String,
    /// By name.
    pub attributes: Vec<QueueAttribute>,
    /// Its group.
    pub group: Option<String>,
    /// When it was sent. Milliseconds since 1970.
    pub sent_ms: u64,
    /// How often it was received, this time included, in all queues it was in.
    pub receives: u32,
    /// To delete it by.
    pub receipt: QueueReceipt,
}

/// One receive of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueReceipt(Receipt);

/// Why a queue did not do what was asked: in the words of SQS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.kind.name(), .0.message)]
pub struct QueueError(Error);

impl QueueError {
    /// Its name, such as `QueueDoesNotExist`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.kind.name()
    }

    /// Whether the same may succeed later: the server, or its store, cannot do it now.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.kind.fault() == Fault::Receiver || self.0.kind == ErrorKind::RequestThrottled
    }
}

impl From<Error> for QueueError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl QueueMessage {
    /// Of 1 byte to 1 MiB, or what the queue allows.
    #[must_use]
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Not to be received before so much time, in whole seconds up to 900; instead of the queue's delay.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// A FIFO queue keeps the order within a group, and needs one; a standard queue is fair between groups. 1 to 128 of
    /// printable ASCII.
    #[must_use]
    pub fn group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// A FIFO queue takes a second message of the same id within five minutes for the first. 1 to 128 of printable ASCII.
    #[must_use]
    pub fn deduplication(self, id: impl Into<String>) -> Self {
        Self { deduplication: Some(id.into()), ..self }
    }

    /// Adds an attribute of type `String`; at most ten.
    #[must_use]
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = QueueValue::Text(value.into());
        self.with(QueueAttribute { name: name.into(), data_type: "String".to_owned(), value })
    }

    /// Adds an attribute of any type.
    #[must_use]
    pub fn with(mut self, attribute: QueueAttribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// As it goes to the queue.
    fn outgoing(&self, queue: &QueueArn) -> Result<Outgoing, Error> {
        let delay_s = self.delay.map(|delay| u32::try_from(delay.as_secs()).unwrap_or(u32::MAX));
        let parts = MessageParts {
            body: Cow::Borrowed(&self.body),
            delay_s,
            attributes: self.attributes.iter().map(QueueAttribute::of_message).collect(),
            deduplication_id: self.deduplication.as_deref().map(Cow::Borrowed),
            group_id: self.group.as_deref().map(Cow::Borrowed),
        };
        let message = parts.check()?;
        message.check(&rules(queue))?;
        Ok(Outgoing::new(message, queue, SENDER))
    }
}

impl From<String> for QueueMessage {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

impl From<&str> for QueueMessage {
    fn from(body: &str) -> Self {
        Self::new(body)
    }
}

impl QueueAttribute {
    fn of_message(&self) -> MessageAttribute<'_> {
        MessageAttribute {
            name: Cow::Borrowed(&self.name),
            data_type: Cow::Borrowed(&self.data_type),
            value: match &self.value {
                QueueValue::Text(text) => AttributeValue::Text(Cow::Borrowed(text)),
                QueueValue::Binary(bytes) => AttributeValue::Binary(Cow::Borrowed(bytes)),
            },
        }
    }

    pub(super) fn of(attribute: MessageAttribute<'_>) -> Self {
        Self {
            name: attribute.name.into_owned(),
            data_type: attribute.data_type.into_owned(),
            value: match attribute.value {
                AttributeValue::Text(text) => QueueValue::Text(text.into_owned()),
                AttributeValue::Binary(bytes) => QueueValue::Binary(Bytes::copy_from_slice(&bytes)),
            },
        }
    }
}

impl ReceivedMessage {
    /// `None` when it says nothing that this version understands.
    fn of(delivery: &Delivery, sent: &Sent) -> Option<Self> {
        let content = Content::decode(&sent.content)?;
        let before = sent.origin.as_ref().map_or(0, |origin| origin.receives);
        Some(Self {
            id: Uuid(sent.id.0).to_string(),
            body: content.body.into_owned(),
            attributes: content.attributes.into_iter().map(QueueAttribute::of).collect(),
            group: sent.group.as_deref().map(str::to_owned),
            sent_ms: sent.sent.0,
            receives: delivery.receives.saturating_add(before),
            receipt: QueueReceipt(delivery.receipt),
        })
    }
}

impl Queue {
    /// A queue by its name.
    pub(crate) fn new(door: Door, name: &str) -> Result<Self, QueueError> {
        if !is_queue_name(name) {
            let reason = "Must be 1 to 80 of A-Za-z0-9_-, perhaps with .fifo at the end.";
            return Err(Error::invalid_value(name, "QueueName", reason).into());
        }
        let arn = declared(&door.config, name);
        Ok(Self { door, arn })
    }

    /// A queue of the server's own, which the API of SQS has no address for.
    pub(crate) fn of_server(door: Door, name: &str) -> Self {
        let arn = own(&door.config, name);
        Self { door, arn }
    }

    /// The hub's name of it.
    pub(crate) fn full_name(&self) -> QueueName {
        name_of(&self.arn)
    }

    /// Where there are no queues.
    pub(crate) fn disabled() -> QueueError {
        Error::new(ErrorKind::UnsupportedOperation, "There are no queues, as sqs.enabled is false.").into()
    }

    /// Its name. One that ends in `.fifo` is a FIFO queue's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.arn.name
    }

    /// Creates it with all attributes at their defaults, or finds it.
    ///
    /// # Errors
    /// `RequestThrottled` at `sqs.queues_max`, `ServiceUnavailable`.
    pub async fn create(&self) -> Result<(), QueueError> {
        self.create_with(&[]).await
    }

    /// Creates it with attributes of SQS, such as `("VisibilityTimeout", "60")`, or finds it with those.
    ///
    /// # Errors
    /// `QueueNameExists` if it has other values, `InvalidAttributeName`, `InvalidAttributeValue`, and as [`Queue::create`].
    pub async fn create_with(&self, attributes: &[(&str, &str)]) -> Result<(), QueueError> {
        let settings = Settings::parse(attributes.iter().copied(), self.arn.kind(), Purpose::Create)?;
        Ok(self.door.create_as(&self.arn, &settings, []).await?)
    }

    /// Ends it with everything in it. Receives that wait there are refused with `QueueDoesNotExist`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ServiceUnavailable`.
    pub async fn delete_queue(&self) -> Result<(), QueueError> {
        self.door.delete(&self.arn).await?;
        Ok(())
    }

    /// Deletes all its messages.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ServiceUnavailable`; with `sqs.strict_timing` also `PurgeQueueInProgress`.
    pub async fn purge(&self) -> Result<(), QueueError> {
        self.door.purge(&self.arn).await?;
        Ok(())
    }

    /// Its attributes by their names in SQS, such as `ApproximateNumberOfMessages`, which is exact here.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ServiceUnavailable`.
    pub async fn attributes(&self) -> Result<BTreeMap<String, String>, QueueError> {
        let told = match self.door.attributes(&self.arn, QueueAttributeSet::ALL).await? {
            Response::GetQueueAttributes(told) => told,
            _ => return Err(Error::internal().into()),
        };
        let told =
            told.into_iter().map(|(attribute, value)| (attribute.name().to_owned(), value.into_owned()));
        Ok(told.collect())
    }

    /// Changes attributes of SQS.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, `QueueDoesNotExist`, `ServiceUnavailable`.
    pub async fn set_attributes(&self, attributes: &[(&str, &str)]) -> Result<(), QueueError> {
        let settings = Settings::parse(attributes.iter().copied(), self.arn.kind(), Purpose::Change)?;
        self.door.set(&self.arn, &settings).await?;
        Ok(())
    }

    /// Sends a message; done when it is stored as safely as configured.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `InvalidParameterValue`, `InvalidMessageContents`, `MissingParameter` for a FIFO queue without a
    /// group, `RequestThrottled` at `sqs.messages_max`, `ServiceUnavailable`.
    pub async fn send(&self, message: impl Into<QueueMessage>) -> Result<SentMessage, QueueError> {
        let sent = self.send_batch([message.into()]).await?.pop();
        sent.unwrap_or_else(|| Err(Error::internal().into()))
    }

    /// Sends up to 1,000 messages in order, and says what became of each.
    ///
    /// # Errors
    /// What concerns all of them: `TooManyEntriesInBatchRequest`, `QueueDoesNotExist`, `ServiceUnavailable`. Of one message:
    /// as [`Queue::send`].
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = QueueMessage>,
    ) -> Result<Vec<Result<SentMessage, QueueError>>, QueueError> {
        let (mut checked, mut outgoing) = (Vec::new(), Vec::new());
        for message in messages {
            let is_one = message.outgoing(&self.arn).map(|one| outgoing.push(one.message));
            checked.push(is_one.map_err(QueueError));
        }
        not_too_many(checked.len())?;
        let mut taken = self.door.taken(&self.arn, outgoing).await?.into_iter();
        let told = checked.into_iter().map(|is_one| {
            is_one?;
            let taken = taken.next().ok_or_else(Error::internal)?;
            let taken = taken.map_err(|refusal| self.about().refusal(refusal))?;
            Ok(SentMessage { id: Uuid(taken.id.0).to_string(), is_duplicate: taken.duplicate })
        });
        Ok(told.collect())
    }

    /// Receives up to `max` messages, at most 1,000; waits for the first so long. Each is invisible to others as long as the
    /// queue says.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `OverLimit` with too many in flight, `ServiceUnavailable`.
    pub async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<ReceivedMessage>, QueueError> {
        self.received(max, wait, None).await
    }

    /// The same with a visibility of its own, up to 12 hours.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub async fn receive_for(
        &self,
        max: u32,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        self.received(max, wait, Some(visibility)).await
    }

    async fn received(
        &self,
        max: u32,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let wanted =
            Wanted { max, visibility_ms: visibility.map(millis), wait_ms: Some(millis(wait)), attempt: None };
        let (deliveries, sent) = self.door.received(&self.arn, wanted).await?;
        let found = deliveries.iter().zip(&sent);
        Ok(found.filter_map(|(delivery, sent)| ReceivedMessage::of(delivery, sent.as_ref()?)).collect())
    }

    /// A message is done with.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` if it is of another queue, `InvalidParameterValue` on a FIFO queue if it was received again
    /// since; `QueueDoesNotExist`, `ServiceUnavailable`.
    pub async fn delete(&self, receipt: QueueReceipt) -> Result<(), QueueError> {
        single(self.delete_batch([receipt]).await?)
    }

    /// Up to 1,000 messages are done with; says what became of each.
    ///
    /// # Errors
    /// What concerns all of them: `TooManyEntriesInBatchRequest`, `QueueDoesNotExist`, `ServiceUnavailable`. Of one message:
    /// as [`Queue::delete`].
    pub async fn delete_batch(
        &self,
        receipts: impl IntoIterator<Item = QueueReceipt>,
    ) -> Result<Vec<Result<(), QueueError>>, QueueError> {
        let receipts: Vec<Receipt> = receipts.into_iter().map(|QueueReceipt(receipt)| receipt).collect();
        not_too_many(receipts.len())?;
        let known = receipts.clone();
        let settle = |queue, token| QueueCommand::Settle { queue, receipts, token };
        let settled = self.door.ask(&name_of(&self.arn), settle).await;
        let told = self.settled(settled)?.into_iter().zip(known);
        Ok(told
            .map(|(result, receipt)| result.map_err(|refusal| self.refused(refusal, receipt, 0)))
            .collect())
    }

    /// A message becomes visible after another time from now; at once with zero.
    ///
    /// # Errors
    /// `MessageNotInflight`, `ReceiptHandleIsInvalid`, `InvalidParameterValue` beyond 12 hours from the receive or for a
    /// message that is deleted; `QueueDoesNotExist`, `ServiceUnavailable`.
    pub async fn change_visibility(
        &self,
        QueueReceipt(receipt): QueueReceipt,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let changes = vec![(receipt, millis(visibility))];
        let change = |queue, token| QueueCommand::SetVisibility { queue, changes, token };
        let changed = self.door.ask(&name_of(&self.arn), change).await;
        let timeout_s = u32::try_from(visibility.as_secs()).unwrap_or(u32::MAX);
        let told = self.settled(changed)?.into_iter();
        single(told.map(|result| result.map_err(|why| self.refused(why, receipt, timeout_s))).collect())
    }

    fn settled(&self, answer: Result<Answer, Trouble>) -> Result<Vec<Result<(), QueueRefusal>>, QueueError> {
        match answer {
            Ok(Answer::Settled(results)) => Ok(results),
            Ok(_) => Err(Error::internal().into()),
            Err(trouble) => Err(self.about().error(trouble).into()),
        }
    }

    /// In the words that a client of SQS would hear, which repeat the handle.
    fn refused(&self, refusal: QueueRefusal, receipt: Receipt, timeout_s: u32) -> QueueError {
        let handle = self.door.shelf.seal(&receipt);
        About { handle: &handle, timeout_s, ..self.about() }.refusal(refusal).into()
    }

    fn about(&self) -> About<'_> {
        About::queue(&self.arn.name)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.arn.to_string()).finish()
    }
}

fn not_too_many(found: usize) -> Result<(), Error> {
    if found <= BATCH_MAX as usize {
        return Ok(());
    }
    let text = format!("Maximum number of messages per call are {BATCH_MAX}. You have given {found}.");
    Err(Error::new(ErrorKind::TooManyEntriesInBatchRequest, text))
}

/// The one result there is.
fn single(results: Vec<Result<(), QueueError>>) -> Result<(), QueueError> {
    results.into_iter().collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
