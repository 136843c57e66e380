//! The bytes of records of a recovery log and of sessions that may be resumed. Owns their form, which is a part of `form`'s.

use std::sync::Arc;

use bytes::Bytes;
use hub::{DeliveredRecord, LogRecord, Message, Record, ResumableRecord, SessionId};
use serde::{Deserialize, Serialize};

use super::Wall;
use crate::state::record::{MessageRecord, ScopeRecord};

#[derive(Serialize, Deserialize)]
pub(super) enum ResumptionForm<'a> {
    Log {
        epoch: u64,
        shards: u8,
        purged: u64,
        skipped: u64,
        last: u64,
    },
    #[serde(borrow)]
    Session(SessionForm<'a>),
    Span {
        session: [u8; 15],
        name: &'a str,
        from: u64,
        to: Option<u64>,
    },
    Delivered {
        sequence: u64,
        until: u64,
        #[serde(borrow)]
        scope: ScopeRecord<'a>,
        message: MessageRecord<'a>,
    },
    Mark {
        name: &'a str,
        sequence: u64,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct SessionForm<'a> {
    id: [u8; 15],
    user: Option<&'a str>,
    info: Option<&'a [u8]>,
    since: u64,
    start: u64,
    admitted: u64,
    keepsake: &'a [u8],
}

impl<'a> ResumptionForm<'a> {
    /// `None` for a record of something else. `moved` is its message, if that has another end on the disk.
    pub(super) fn of(record: &'a Record, moved: Option<&'a Message>, wall: Wall) -> Option<Self> {
        Some(match record {
            Record::Log(log) => {
                let LogRecord { epoch, shards, purged, skipped, last } = *log;
                Self::Log { epoch, shards, purged, skipped, last }
            }
            Record::Resumable(session) => Self::Session(SessionForm {
                id: session.id.0,
                user: session.user.as_deref(),
                info: session.info.as_deref(),
                since: wall.written(session.since),
                start: session.start,
                admitted: session.admitted,
                keepsake: &session.keepsake,
            }),
            Record::Span { session, name, from, to } => {
                Self::Span { session: session.0, name, from: *from, to: *to }
            }
            Record::Delivered(delivered) => Self::Delivered {
                sequence: delivered.sequence,
                until: wall.written(delivered.until),
                scope: ScopeRecord::of(&delivered.scope),
                message: MessageRecord::of(moved.unwrap_or(&delivered.message)),
            },
            Record::Mark { name, sequence } => Self::Mark { name, sequence: *sequence },
            _ => return None,
        })
    }

    /// `None` where something means nothing.
    pub(super) fn record(self, wall: Wall) -> Option<Record> {
        Some(match self {
            Self::Log { epoch, shards, purged, skipped, last } => {
                Record::Log(LogRecord { epoch, shards, purged, skipped, last })
            }
            Self::Session(session) => Record::Resumable(Box::new(ResumableRecord {
                id: SessionId(session.id),
                user: session.user.map(Arc::from),
                info: session.info.map(Bytes::copy_from_slice),
                since: wall.read(session.since),
                start: session.start,
                admitted: session.admitted,
                keepsake: Bytes::copy_from_slice(session.keepsake),
            })),
            Self::Span { session, name, from, to } => {
                Record::Span { session: SessionId(session), name: Arc::from(name), from, to }
            }
            Self::Delivered { sequence, until, scope, message } => {
                let (message, scope) = (wall.message(message)?, scope.scope()?);
                let until = wall.read(until);
                Record::Delivered(Box::new(DeliveredRecord { sequence, message, scope, until }))
            }
            Self::Mark { name, sequence } => Record::Mark { name: Arc::from(name), sequence },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hub::{Body, ChannelName, MessageId, Millis, Position, Quality, Scope, Traits};

    use super::super::form::{decode, encode};
    use super::*;

    fn message(expires: Option<Millis>) -> Arc<Message> {
        Arc::new(Message {
            id: MessageId(9),
            channel: ChannelName::parse("a/b", 10).unwrap(),
            event: Some("say".into()),
            body: Body::nothing(),
            volatile: false,
            except: None,
            traits: Traits { quality: Quality::AtLeastOnce, expires, ..Traits::default() },
            position: Some(Position { epoch: 3, offset: 4 }),
            published: Millis(0),
        })
    }

    #[test]
    fn records_are_read_as_they_were_written_and_a_part_of_one_is_none() {
        let id = SessionId([7; 15]);
        let (user, info) = (Some("bob".into()), Some(Bytes::from_static(b"{}")));
        let (since, keepsake) = (Millis(5), Bytes::from_static(&[0, 255]));
        let session = ResumableRecord { id, user, info, since, start: 1, admitted: 2, keepsake };
        let union = Scope::Union([ChannelName::parse("a", 10).unwrap(), ChannelName::client(id)].into());
        let delivered = |scope, expires| {
            let (message, until) = (message(expires), Millis(60_000));
            Record::Delivered(Box::new(DeliveredRecord { sequence: 8, message, scope, until }))
        };
        let span = |to| Record::Span { session: id, name: "a/#".into(), from: 3, to };
        let records = [
            Record::Log(LogRecord { epoch: u64::MAX, shards: 3, purged: 5, skipped: 6, last: 7 }),
            Record::Resumable(Box::new(session)),
            span(None),
            span(Some(9)),
            delivered(Scope::Channel, None),
            delivered(union, Some(Millis(70_000))),
            delivered(Scope::Session(id), None),
            Record::Mark { name: "$user/bob".into(), sequence: 11 },
            Record::History { until: Millis(u64::MAX), message: message(Some(Millis(1))) },
        ];
        let wall = Wall::of(Instant::now());
        for record in records {
            let bytes = encode(&record, wall);
            let read = decode(&bytes, wall).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
            assert!((0..bytes.len()).all(|end| decode(&bytes[..end], wall).is_none()), "{record:?}");
        }
    }
}
