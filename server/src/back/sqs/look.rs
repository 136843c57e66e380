//! What operators see of messages without receiving them.
//!
//! Owns that looking stays within a bound of bytes, and what of a stored message can be shown. Start at [`Door::look`].

use hub::queue::{IdValue, Peeked, QueueName, Sent};
use wire::sqs::{Content, QueueArn, Uuid};

use super::embedded::QueueAttribute;
use super::{Door, name_of};
use crate::back::queues::{self, QueueTrouble};

/// Messages of one look at most; more are not given.
const LOOK_MESSAGES_MAX: u32 = 100;

/// Once so many bytes of messages were read no more are, so that a look takes at most these and a step of messages of 1 MiB.
const LOOK_BYTES_MAX: usize = 8 << 20;

/// Messages that are read at a time.
const STEP: usize = 8;

/// A stored message that nobody received by looking at it.
pub(crate) struct Looked {
    /// Its place, where it is, and how often it was received.
    pub(crate) peeked: Peeked,
    sent: Sent,
}

/// Some of a queue's messages.
pub(crate) struct Look {
    pub(crate) items: Vec<Looked>,
    /// Where to go on; `None` at the end, which is not where messages that have ended were left out.
    pub(crate) next: Option<u64>,
}

/// What a message says.
pub(crate) struct LookedContent {
    /// The body.
    pub(crate) body: String,
    /// What its sender added.
    pub(crate) attributes: Vec<QueueAttribute>,
    /// Who sent it.
    pub(crate) sender: Option<String>,
}

impl Door {
    /// The full name of a queue; of account and region those are meant that are configured, where they are not given.
    pub(crate) fn full_name(&self, account: Option<&str>, region: Option<&str>, name: &str) -> QueueName {
        let sqs = &self.config.sqs;
        name_of(&QueueArn {
            region: region.unwrap_or(sqs.region.as_str()).to_owned(),
            account: account.unwrap_or(sqs.account.as_str()).to_owned(),
            name: name.to_owned(),
        })
    }

    /// Messages stored behind the place `after`, oldest first, at most [`LOOK_MESSAGES_MAX`] of them. One that ends meanwhile is
    /// left out.
    ///
    /// # Errors
    /// [`QueueTrouble`]; `Store` when they cannot be read.
    pub(crate) async fn look(&self, queue: &QueueName, after: u64, limit: u32) -> Result<Look, QueueTrouble> {
        let page = queues::peek(&self.office, queue, after, limit.min(LOOK_MESSAGES_MAX)).await?;
        let partition = queue.partition(&self.office.topology());
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut next = page.items.last().filter(|_| page.more).map(|last| last.offset);
        let mut rest = page.items.as_slice();
        while !rest.is_empty() {
            let (step, behind) = rest.split_at(STEP.min(rest.len()));
            let places = step.iter().map(|peeked| (partition, peeked.offset)).collect();
            let read = self.shelf.fetch(places).await.map_err(|_| QueueTrouble::Store)?;
            for (peeked, sent) in step.iter().zip(read) {
                let Some(sent) = sent else { continue };
                bytes += sent.content.len();
                items.push(Looked { peeked: *peeked, sent });
            }
            rest = behind;
            if bytes > LOOK_BYTES_MAX && !rest.is_empty() {
                next = step.last().map(|last| last.offset);
                break;
            }
        }
        Ok(Look { items, next })
    }
}

impl Looked {
    /// The message's public name.
    pub(crate) fn id(&self) -> String {
        Uuid(self.sent.id.0).to_string()
    }

    /// As it was sent.
    pub(crate) fn group(&self) -> Option<String> {
        self.sent.group.as_deref().map(str::to_owned)
    }

    /// As it was sent; hexadecimal digits where it was made of the body.
    pub(crate) fn deduplication(&self) -> Option<String> {
        match &self.sent.deduplication.as_ref()?.value {
            IdValue::Text(text) => Some(text.to_string()),
            IdValue::Hash(hash) => Some(hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The queue whose dead letter it is.
    pub(crate) fn dead_letter_of(&self) -> Option<&QueueName> {
        self.sent.origin.as_ref()?.source.as_ref()
    }

    /// What it says; `None` if it was not sent through this API.
    pub(crate) fn content(&self) -> Option<LookedContent> {
        let content = Content::decode(&self.sent.content)?;
        Some(LookedContent {
            body: content.body.into_owned(),
            attributes: content.attributes.into_iter().map(QueueAttribute::of).collect(),
            sender: Some(content.sender_id.into_owned()).filter(|sender| !sender.is_empty()),
        })
    }
}
