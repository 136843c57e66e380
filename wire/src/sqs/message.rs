//! Messages: what a sender gives, its size and digests, and what of it a receiver wants.
//!
//! Owns message attributes, their digest and their selection, and what is known about a message on its way out. Must
//! not know the queue a message is in. Start at [`NewMessage`] and [`ReceivedMessage`].
//!
//! Source: the page "Message metadata" of the developer guide.

use std::borrow::Cow;
use std::fmt;

use md5::Digest as _;
use ring::digest::{SHA256, digest};

use super::address::{QueueArn, QueueKind};
use super::attribute::{SystemAttribute, SystemAttributeSet};
use super::limits::{FIFO_ID_CHARS_MAX, MESSAGE_BYTES_MAX};
use super::signature::hex;
use super::{Error, ErrorKind};

/// A message to be sent, checked as far as that needs no queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// The body: at least one character, all of them legal.
    pub body: Cow<'a, str>,
    /// Seconds to wait instead of the queue's delay.
    pub delay_s: Option<u16>,
    /// User attributes.
    pub attributes: MessageAttributes<'a>,
    /// The trace header, of the attribute or else of the HTTP field.
    pub trace_header: Option<Cow<'a, str>>,
    /// The digest of the system attributes that came as such.
    pub system_attributes_md5: Option<Md5>,
    /// The deduplication id.
    pub deduplication_id: Option<Cow<'a, str>>,
    /// The group.
    pub group_id: Option<Cow<'a, str>>,
}

/// What has to be known of a queue to accept messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// Its kind.
    pub kind: QueueKind,
    /// Its limit for messages in bytes.
    pub message_bytes_max: u32,
    /// Whether the hash of a body stands in for a deduplication id.
    pub content_based_deduplication: bool,
}

impl QueueRules {
    /// A queue as it is without settings.
    pub const fn new(kind: QueueKind) -> Self {
        Self { kind, message_bytes_max: MESSAGE_BYTES_MAX, content_based_deduplication: false }
    }
}

impl NewMessage<'_> {
    /// What counts for limits, in bytes: body and user attributes.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.attributes.bytes()
    }

    /// The digest of the body.
    pub fn body_md5(&self) -> Md5 {
        Md5::of(self.body.as_bytes())
    }

    /// SHA-256 of the body, which a queue with content-based deduplication takes for the id.
    pub fn content_sha256(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, self.body.as_bytes()).as_ref());
        out
    }

    /// Checks it against its queue.
    ///
    /// # Errors
    /// `InvalidParameterValue`, and `MissingParameter` without the group on a FIFO queue.
    pub fn check(&self, rules: &QueueRules) -> Result<(), Error> {
        if self.bytes() > rules.message_bytes_max as usize {
            return Err(Error::message_too_long(rules.message_bytes_max));
        }
        match rules.kind {
            QueueKind::Standard => match &self.deduplication_id {
                Some(id) => Err(Error::wrong_queue_type(id, "MessageDeduplicationId")),
                None => Ok(()),
            },
            QueueKind::Fifo => {
                if let Some(delay_s @ 1..) = self.delay_s {
                    return Err(Error::wrong_queue_type(&delay_s.to_string(), "DelaySeconds"));
                }
                self.check_fifo_ids(rules, ErrorKind::MissingRequiredParameterException)
            }
        }
    }

    /// The ids a FIFO queue asks for. Without the group a single send and a batch have different errors.
    pub(super) fn check_fifo_ids(&self, rules: &QueueRules, no_group: ErrorKind) -> Result<(), Error> {
        if rules.kind == QueueKind::Standard {
            return Ok(());
        }
        if self.deduplication_id.is_none() && !rules.content_based_deduplication {
            return Err(Error::no_deduplication());
        }
        match self.group_id {
            Some(_) => Ok(()),
            None => {
                let missing = Error::missing_parameter("MessageGroupId");
                Err(Error { kind: no_group, ..missing })
            }
        }
    }
}

/// The user attributes of a message, sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageAttributes<'a>(Vec<MessageAttribute<'a>>);

/// One user attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageAttribute<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// `String`, `Number` or `Binary`, perhaps with a label behind a dot.
    pub data_type: Cow<'a, str>,
    /// Its value.
    pub value: AttributeValue<'a>,
}

impl<'a> IntoIterator for MessageAttributes<'a> {
    type Item = MessageAttribute<'a>;
    type IntoIter = std::vec::IntoIter<MessageAttribute<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The value of an attribute; numbers are text and never re-written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// Of types `String` and `Number`.
    Text(Cow<'a, str>),
    /// Of type `Binary`.
    Binary(Cow<'a, [u8]>),
}

impl AttributeValue<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The byte that stands for the type in digests.
    const fn transport(&self) -> u8 {
        match self {
            Self::Text(_) => 1,
            Self::Binary(_) => 2,
        }
    }
}

impl<'a> MessageAttributes<'a> {
    /// Attributes in any order; of those with equal names the last stays.
    pub fn new(mut attributes: Vec<MessageAttribute<'a>>) -> Self {
        attributes.reverse();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        attributes.dedup_by(|later, kept| later.name == kept.name);
        Self(attributes)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &MessageAttribute<'a>> {
        self.0.iter()
    }

    /// Bytes of names, types and values.
    pub fn bytes(&self) -> usize {
        let bytes = |attribute: &MessageAttribute<'_>| {
            attribute.name.len() + attribute.data_type.len() + attribute.value.as_bytes().len()
        };
        self.0.iter().map(bytes).sum()
    }

    /// Their digest; `None` if there is no attribute.
    pub fn md5(&self) -> Option<Md5> {
        if self.0.is_empty() {
            return None;
        }
        let mut hasher = md5::Md5::new();
        for attribute in &self.0 {
            push_part(&mut hasher, attribute.name.as_bytes());
            push_part(&mut hasher, attribute.data_type.as_bytes());
            hasher.update([attribute.value.transport()]);
            push_part(&mut hasher, attribute.value.as_bytes());
        }
        Some(Md5(hasher.finalize().into()))
    }

    /// Keeps those a receiver wants.
    pub fn retain(&mut self, wanted: &AttributeFilter<'_>) {
        self.0.retain(|attribute| wanted.matches(&attribute.name));
    }
}

fn push_part(hasher: &mut md5::Md5, part: &[u8]) {
    // No part is longer than a message.
    hasher.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    hasher.update(part);
}

/// Which user attributes a receiver wants; none unless it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeFilter<'a>(Vec<Cow<'a, str>>);

impl<'a> AttributeFilter<'a> {
    /// Names, `prefix.*`, or `All`, `.*` or `*` for all of them.
    pub fn new(patterns: Vec<Cow<'a, str>>) -> Self {
        Self(patterns)
    }

    /// Whether none is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an attribute of this name is wanted.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.as_ref() {
            "All" | "*" => true,
            pattern => match pattern.strip_suffix(".*") {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            },
        })
    }
}

/// A message on its way to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage<'a> {
    /// Its id.
    pub id: Uuid,
    /// The handle of this receive.
    pub receipt_handle: Cow<'a, str>,
    /// Its body.
    pub body: Cow<'a, str>,
    /// The digest of the body.
    pub body_md5: Md5,
    /// The user attributes that are wanted; their digest is made of them.
    pub attributes: MessageAttributes<'a>,
    /// The system attributes that are wanted and known; see [`MessageFacts::select`].
    pub system_attributes: Vec<(SystemAttribute, Cow<'a, str>)>,
}

/// What is known about a message, out of which a receiver selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts<'a> {
    /// Who sent it.
    pub sender_id: Option<&'a str>,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: u64,
    /// Receives, this one included.
    pub receive_count: u32,
    /// When it was received first, in milliseconds since 1970.
    pub first_received_ms: u64,
    /// Its place in a FIFO queue.
    pub sequence_number: Option<SequenceNumber>,
    /// Its deduplication id.
    pub deduplication_id: Option<&'a str>,
    /// Its group.
    pub group_id: Option<&'a str>,
    /// Its trace header.
    pub trace_header: Option<&'a str>,
    /// The queue it came from as a dead letter.
    pub dead_letter_source: Option<&'a QueueArn>,
}

impl<'a> MessageFacts<'a> {
    /// What is wanted and known, as it stands in an answer.
    pub fn select(&self, wanted: SystemAttributeSet) -> Vec<(SystemAttribute, Cow<'a, str>)> {
        wanted.iter().filter_map(|attribute| Some((attribute, self.value(attribute)?))).collect()
    }

    fn value(&self, attribute: SystemAttribute) -> Option<Cow<'a, str>> {
        let number = |number: u64| Some(Cow::Owned(number.to_string()));
        match attribute {
            SystemAttribute::SenderId => self.sender_id.map(Cow::Borrowed),
            SystemAttribute::SentTimestamp => number(self.sent_ms),
            SystemAttribute::ApproximateReceiveCount => number(u64::from(self.receive_count)),
            SystemAttribute::ApproximateFirstReceiveTimestamp => number(self.first_received_ms),
            SystemAttribute::SequenceNumber => {
                self.sequence_number.map(|number| Cow::Owned(number.to_string()))
            }
            SystemAttribute::MessageDeduplicationId => self.deduplication_id.map(Cow::Borrowed),
            SystemAttribute::MessageGroupId => self.group_id.map(Cow::Borrowed),
            SystemAttribute::AWSTraceHeader => self.trace_header.map(Cow::Borrowed),
            SystemAttribute::DeadLetterQueueSourceArn => {
                self.dead_letter_source.map(|arn| Cow::Owned(arn.to_string()))
            }
        }
    }
}

/// A group or deduplication id made of any text: itself if it may be one, else percent-encoded, else its SHA-256.
/// Different texts give different ids.
pub fn id_of(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if !text.is_empty() && text.len() <= FIFO_ID_CHARS_MAX && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::new();
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte))
        } else {
            encoded.push_str(&format!("%{byte:02X}"))
        }
    }
    if !(1..=FIFO_ID_CHARS_MAX).contains(&encoded.len()) {
        // No percent-encoding begins so.
        encoded = format!("%h{}", hex(digest(&SHA256, text.as_bytes()).as_ref()));
    }
    Cow::Owned(encoded)
}

/// JSON with the two characters escaped that it may have and a message may not. They stand in its texts only.
pub fn legal_json(json: &str) -> Cow<'_, str> {
    if !json.contains(['\u{fffe}', '\u{ffff}']) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
}

/// An MD5 digest, which clients compare; it protects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Md5(pub [u8; 16]);

impl Md5 {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(md5::Md5::digest(bytes).into())
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The id of a message or of a move task: 16 bytes the server chooses, written like a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub u128);

impl Uuid {
    /// Reads the form it is written in; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split('-').collect();
        let is_plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let found = Self(u128::from_str_radix(&digits, 16).ok().filter(|_| is_plain)?);
        found.to_string().eq_ignore_ascii_case(text).then_some(found)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = *self;
        let (first, second, third) = (id >> 96, id >> 80 & 0xffff, id >> 64 & 0xffff);
        let (fourth, fifth) = (id >> 48 & 0xffff, id & 0xffff_ffff_ffff);
        write!(f, "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{fifth:012x}")
    }
}

/// The place of a message in a FIFO queue: 20 digits, so that the order of texts is that of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    /// The smallest number of 20 digits. Offsets above 8 * 10^18 share the largest.
    const FIRST: u64 = 10_000_000_000_000_000_000;

    /// The number of the message at this offset of its queue's log.
    pub const fn of_offset(offset: u64) -> Self {
        Self(Self::FIRST.saturating_add(offset))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
