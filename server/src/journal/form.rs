//! The bytes of a record: a version, then the record in postcard, whose fields have no names, so that any change is a new
//! version. Times are written as milliseconds of Unix time.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hub::{
    Message, MessageId, Millis, OwedRecord, Record, SessionId, SessionRecord, StoredList, WillRecord, queue,
};
use serde::{Deserialize, Serialize};

use super::resumption::ResumptionForm;
use crate::state::record::{MessageRecord, OptionsRecord, quality, quality_number};

/// The first byte of every record.
const VERSION: u8 = 1;

/// The hub's clock beside the calendar's. Both go on while a record is away, and only the second one is the same for the next
/// process. The end of time is the same on both.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    /// Unix time of the hub's zero, in milliseconds.
    zero_ms: u64,
}

impl Wall {
    /// For a clock whose zero is at this instant.
    #[must_use]
    pub fn of(zero: Instant) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let zero = now.saturating_sub(zero.elapsed());
        Self { zero_ms: u64::try_from(zero.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Unix time of the hub's zero, in milliseconds.
    pub fn zero_ms(self) -> u64 {
        self.zero_ms
    }

    pub(super) fn written(self, at: Millis) -> u64 {
        if at.0 == u64::MAX { at.0 } else { at.0.saturating_add(self.zero_ms) }
    }

    /// What lies before the zero is due at once.
    pub(super) fn read(self, at: u64) -> Millis {
        Millis(if at == u64::MAX { at } else { at.saturating_sub(self.zero_ms) })
    }

    /// A message as it was written.
    pub(super) fn message(self, form: MessageRecord<'_>) -> Option<Arc<Message>> {
        let message = form.message()?;
        let ends = message.traits.expires.is_some();
        Some(if ends { Arc::new(Self::moved(&message, |at| self.read(at.0))) } else { message })
    }

    /// A message, its end moved.
    fn moved(message: &Message, to: impl FnOnce(Millis) -> Millis) -> Message {
        let mut message = message.clone();
        message.traits.expires = message.traits.expires.map(to);
        message
    }
}

#[derive(Serialize, Deserialize)]
enum RecordForm<'a> {
    #[serde(borrow)]
    Session(SessionForm<'a>),
    Subscription {
        session: [u8; 15],
        name: &'a str,
        options: OptionsRecord,
    },
    Share {
        session: [u8; 15],
        group: &'a str,
        options: OptionsRecord,
    },
    #[serde(borrow)]
    Owed(OwedForm<'a>),
    Used {
        session: [u8; 15],
        number: u16,
        message: u128,
        group: Option<&'a str>,
    },
    Offer {
        session: [u8; 15],
        exchange: u16,
        #[serde(borrow)]
        message: MessageRecord<'a>,
    },
    Taken {
        session: [u8; 15],
        exchange: u16,
    },
    Due {
        at: u64,
        #[serde(borrow)]
        message: MessageRecord<'a>,
    },
    #[serde(borrow)]
    Retained(MessageRecord<'a>),
    Seen(u128),
    History {
        until: u64,
        #[serde(borrow)]
        message: MessageRecord<'a>,
    },
    #[serde(borrow)]
    Resumption(ResumptionForm<'a>),
    User {
        user: &'a str,
        list: &'a [u8],
    },
}

#[derive(Serialize, Deserialize)]
struct SessionForm<'a> {
    id: [u8; 15],
    name: &'a str,
    user: Option<&'a str>,
    since: u64,
    keep_ms: u64,
    window: u16,
    until: Option<u64>,
    #[serde(borrow)]
    will: Option<WillForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WillForm<'a> {
    #[serde(borrow)]
    message: MessageRecord<'a>,
    expires_after_ms: Option<u64>,
    delay_ms: u64,
    at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct OwedForm<'a> {
    session: [u8; 15],
    number: u16,
    quality: u8,
    retained: bool,
    labels: Vec<u32>,
    group: Option<&'a str>,
    #[serde(borrow)]
    message: MessageRecord<'a>,
}

/// The bytes of a record.
pub(super) fn encode(record: &Record, wall: Wall) -> Bytes {
    // A message that ends has another end on the disk.
    let moved = message_of(record).filter(|message| message.traits.expires.is_some());
    let moved = moved.map(|message| Wall::moved(message, |at| Millis(wall.written(at))));
    // Those of queues have a form of their own, which begins with another byte.
    if let Record::Queue(record) = record {
        return Bytes::from(record.encode());
    }
    let form = RecordForm::of(record, moved.as_ref(), wall).expect("it is none of queues");
    let bytes = postcard::to_extend(&form, vec![VERSION]);
    Bytes::from(bytes.expect("records hold nothing that has no form in postcard"))
}

fn message_of(record: &Record) -> Option<&Message> {
    match record {
        Record::Owed(owed) => Some(&owed.message),
        Record::Offer { message, .. } | Record::Due { message, .. } | Record::Retained(message) => {
            Some(message)
        }
        Record::History { message, .. } => Some(message),
        Record::Delivered(delivered) => Some(&delivered.message),
        // A will does not age before it is published.
        Record::Session(_)
        | Record::Subscription { .. }
        | Record::Share { .. }
        | Record::Used { .. }
        | Record::Taken { .. }
        | Record::Queue(_)
        | Record::Seen(_)
        | Record::Log(_)
        | Record::Resumable(_)
        | Record::Span { .. }
        | Record::User { .. }
        | Record::Mark { .. } => None,
    }
}

/// What [`encode`] wrote; `None` if it was another version, or something else.
pub(super) fn decode(bytes: &[u8], wall: Wall) -> Option<Record> {
    if queue::Record::is_one(bytes) {
        return queue::Record::recall(bytes).ok().map(Record::Queue);
    }
    let (&VERSION, rest) = bytes.split_first()? else { return None };
    match postcard::take_from_bytes::<RecordForm<'_>>(rest) {
        Ok((form, [])) => form.record(wall),
        Ok(_) | Err(_) => None,
    }
}

impl<'a> RecordForm<'a> {
    /// `None` for a record of queues.
    fn of(record: &'a Record, moved: Option<&'a Message>, wall: Wall) -> Option<Self> {
        let message = |message: &'a Message| MessageRecord::of(moved.unwrap_or(message));
        Some(match record {
            Record::Session(session) => Self::Session(SessionForm::of(session, wall)),
            Record::Subscription { session, name, options } => {
                Self::Subscription { session: session.0, name, options: OptionsRecord::of(*options) }
            }
            Record::Share { session, group, options } => {
                Self::Share { session: session.0, group, options: OptionsRecord::of(*options) }
            }
            Record::Owed(owed) => Self::Owed(OwedForm {
                session: owed.session.0,
                number: owed.number,
                quality: quality_number(owed.quality),
                retained: owed.retained,
                labels: owed.labels.iter().flatten().copied().collect(),
                group: owed.group.as_deref(),
                message: message(&owed.message),
            }),
            Record::Used { session, number, message, group } => Self::Used {
                session: session.0,
                number: *number,
                message: message.0,
                group: group.as_deref(),
            },
            Record::Offer { session, exchange, message: offered } => {
                Self::Offer { session: session.0, exchange: *exchange, message: message(offered) }
            }
            Record::Taken { session, exchange } => Self::Taken { session: session.0, exchange: *exchange },
            Record::Due { at, message: due } => Self::Due { at: wall.written(*at), message: message(due) },
            Record::Retained(value) => Self::Retained(message(value)),
            Record::Seen(message) => Self::Seen(message.0),
            Record::History { until, message: kept } => {
                Self::History { until: wall.written(*until), message: message(kept) }
            }
            Record::User { user, list } => Self::User { user, list: list.as_bytes() },
            Record::Log(_)
            | Record::Resumable(_)
            | Record::Span { .. }
            | Record::Delivered(_)
            | Record::Mark { .. } => Self::Resumption(ResumptionForm::of(record, moved, wall)?),
            Record::Queue(_) => return None,
        })
    }

    fn record(self, wall: Wall) -> Option<Record> {
        let message = |form| wall.message(form);
        Some(match self {
            Self::Session(session) => Record::Session(Box::new(session.record(wall)?)),
            Self::Subscription { session, name, options } => Record::Subscription {
                session: SessionId(session),
                name: Arc::from(name),
                options: options.options()?,
            },
            Self::Share { session, group, options } => Record::Share {
                session: SessionId(session),
                group: Arc::from(group),
                options: options.options()?,
            },
            Self::Owed(owed) => Record::Owed(Box::new(OwedRecord {
                session: SessionId(owed.session),
                number: owed.number,
                message: message(owed.message)?,
                quality: quality(owed.quality)?,
                retained: owed.retained,
                labels: (!owed.labels.is_empty()).then(|| owed.labels.into()),
                group: owed.group.map(Arc::from),
            })),
            Self::Used { session, number, message, group } => {
                let (session, message) = (SessionId(session), MessageId(message));
                Record::Used { session, number, message, group: group.map(Arc::from) }
            }
            Self::Offer { session, exchange, message: form } => {
                Record::Offer { session: SessionId(session), exchange, message: message(form)? }
            }
            Self::Taken { session, exchange } => Record::Taken { session: SessionId(session), exchange },
            Self::Due { at, message: form } => Record::Due { at: wall.read(at), message: message(form)? },
            Self::Retained(form) => Record::Retained(message(form)?),
            Self::Seen(message) => Record::Seen(MessageId(message)),
            Self::History { until, message: form } => {
                Record::History { until: wall.read(until), message: message(form)? }
            }
            Self::Resumption(form) => form.record(wall)?,
            Self::User { user, list } => {
                Record::User { user: Arc::from(user), list: StoredList::of_bytes(list) }
            }
        })
    }
}

impl<'a> SessionForm<'a> {
    fn of(session: &'a SessionRecord, wall: Wall) -> Self {
        let will = |will: &'a WillRecord| WillForm {
            message: MessageRecord::of(&will.message),
            expires_after_ms: will.expires_after_ms,
            delay_ms: will.delay_ms,
            at: will.at.map(|at| wall.written(at)),
        };
        Self {
            id: session.id.0,
            name: &session.name,
            user: session.user.as_deref(),
            since: wall.written(session.since),
            keep_ms: session.keep_ms,
            window: session.window,
            until: session.until.map(|until| wall.written(until)),
            will: session.will.as_ref().map(will),
        }
    }

    fn record(self, wall: Wall) -> Option<SessionRecord> {
        let will = match self.will {
            None => None,
            Some(will) => Some(WillRecord {
                message: will.message.message()?,
                expires_after_ms: will.expires_after_ms,
                delay_ms: will.delay_ms,
                at: will.at.map(|at| wall.read(at)),
            }),
        };
        Some(SessionRecord {
            id: SessionId(self.id),
            name: Arc::from(self.name),
            user: self.user.map(Arc::from),
            since: wall.read(self.since),
            keep_ms: self.keep_ms,
            window: self.window,
            until: self.until.map(|until| wall.read(until)),
            will,
        })
    }
}
