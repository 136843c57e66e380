//! Records as bytes. Owns the form; a form that has been released does not change, a new one gets a new first byte.
//!
//! A record begins with a byte that says what it is, from 64 on: lower ones are for what is no record of queues. Numbers are unsigned, seven bits a byte, lowest first, the highest bit
//! set on all but the last byte. Text and bytes have their length before them. What may be missing has a byte 0 or 1 before
//! it. The content of a message comes last, as long as the rest.

use super::ids::{MoveId, QueueName, TaskId, Wall};
use super::record::{
    Id, IdValue, Intent, Mark, MoveRefusal, Origin, QueueRecord, Record, Sent, Tally, TaskRecord, TaskStatus,
};
use super::settings::{Allow, DeadLetters, Kind, Scope, Settings};
use crate::ids::Partition;
use crate::message::MessageId;
use bytes::Bytes;
use std::sync::Arc;

const QUEUE: u8 = 64;
const SENT: u8 = 65;
const MARK: u8 = 66;
const TALLY: u8 = 67;
const INTENT: u8 = 68;
const ARRIVED: u8 = 69;
const TASK: u8 = 70;

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Record {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        match self {
            Self::Queue(queue) => out.queue(queue),
            Self::Sent(sent) => out.sent(sent),
            Self::Mark(mark) => {
                out.byte(MARK);
                [mark.queue, mark.offset, mark.until.0].into_iter().for_each(|number| out.number(number));
                out.id(mark.id.0);
                out.bytes(&mark.key);
            }
            Self::Tally(tally) => {
                out.byte(TALLY);
                let numbers = [tally.queue, tally.offset, u64::from(tally.receives), tally.first_received.0];
                numbers.into_iter().for_each(|number| out.number(number));
            }
            Self::Intent(intent) => out.intent(intent),
            Self::Arrived(id) => {
                out.byte(ARRIVED);
                out.move_id(*id);
            }
            Self::Task(task) => out.task(task),
        }
        out.0
    }

    /// Whether bytes begin as a record of queues does.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| *first >= QUEUE)
    }

    /// From bytes; the content of a message is not copied.
    ///
    /// # Errors
    /// `Malformed` when they are no record that [`encode`](Self::encode) makes.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let (mut record, head) = parse(bytes)?;
        if let Self::Sent(sent) = &mut record {
            sent.content = bytes.slice(head..);
        }
        Ok(record)
    }

    /// From bytes, without the content of a message: what a hub needs to go on.
    ///
    /// # Errors
    /// `Malformed` when they are no record that [`encode`](Self::encode) makes.
    pub fn recall(bytes: &[u8]) -> Result<Self, Malformed> {
        parse(bytes).map(|(record, _)| record)
    }
}

/// A record, and where the content of a message begins.
fn parse(bytes: &[u8]) -> Result<(Record, usize), Malformed> {
    let mut from = Reader { bytes, at: 0 };
    let record = match from.byte()? {
        QUEUE => Record::Queue(Box::new(from.queue()?)),
        SENT => return Ok((Record::Sent(Box::new(from.sent()?)), from.at)),
        MARK => Record::Mark(Box::new(from.mark()?)),
        TALLY => Record::Tally(Tally {
            queue: from.number()?,
            offset: from.number()?,
            receives: from.small()?,
            first_received: from.wall()?,
        }),
        INTENT => Record::Intent(Box::new(from.intent()?)),
        ARRIVED => Record::Arrived(from.move_id()?),
        TASK => Record::Task(Box::new(from.task()?)),
        _ => return Err(Malformed),
    };
    if from.at == bytes.len() { Ok((record, from.at)) } else { Err(Malformed) }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn id(&mut self, id: u128) {
        self.0.extend_from_slice(&id.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        text.into_iter().for_each(|text| self.bytes(text.as_bytes()));
    }

    fn move_id(&mut self, id: MoveId) {
        self.number(u64::from(id.partition.0));
        self.number(id.intent);
    }

    fn queue(&mut self, queue: &QueueRecord) {
        self.byte(QUEUE);
        self.bytes(queue.name.as_str().as_bytes());
        let numbers = [queue.incarnation, queue.created.0, queue.modified.0, queue.floor];
        numbers.into_iter().for_each(|number| self.number(number));
        self.settings(&queue.settings);
    }

    fn settings(&mut self, settings: &Settings) {
        self.byte(u8::from(settings.kind == Kind::Fifo));
        let times = [settings.visibility_ms, settings.delay_ms, settings.wait_ms, settings.retention_ms];
        times.into_iter().for_each(|number| self.number(number));
        self.number(u64::from(settings.message_bytes_max));
        self.byte(u8::from(settings.deduplicate_content));
        self.byte(u8::from(settings.scope == Scope::Group));
        self.text(settings.dead_letters.as_ref().map(|dead| dead.target.as_str()));
        let dead = settings.dead_letters.as_ref();
        dead.into_iter().for_each(|dead| self.number(u64::from(dead.receives_max)));
        match &settings.allow {
            Allow::Everyone => self.byte(0),
            Allow::Nobody => self.byte(1),
            Allow::Only(sources) => {
                self.byte(2);
                self.number(sources.len() as u64);
                sources.iter().for_each(|source| self.bytes(source.as_str().as_bytes()));
            }
        }
        self.bytes(&settings.extra);
    }

    fn sent(&mut self, sent: &Sent) {
        self.0.reserve(sent.content.len() + 64);
        self.byte(SENT);
        [sent.queue, sent.sent.0, sent.due.0].into_iter().for_each(|number| self.number(number));
        self.id(sent.id.0);
        self.text(sent.group.as_deref());
        self.deduplication(sent.deduplication.as_ref());
        self.byte(u8::from(sent.origin.is_some()));
        if let Some(origin) = &sent.origin {
            self.move_id(origin.moved);
            self.text(origin.source.as_ref().map(QueueName::as_str));
            self.number(u64::from(origin.receives));
            self.number(origin.first_received.0);
        }
        self.0.extend_from_slice(&sent.content);
    }

    fn deduplication(&mut self, id: Option<&Id>) {
        let Some(id) = id else { return self.byte(0) };
        let in_group = u8::from(id.in_group);
        match &id.value {
            IdValue::Text(text) => {
                self.byte(1 + in_group);
                self.bytes(text.as_bytes());
            }
            IdValue::Hash(hash) => {
                self.byte(3 + in_group);
                self.bytes(hash);
            }
        }
    }

    fn intent(&mut self, intent: &Intent) {
        self.byte(INTENT);
        self.number(intent.queue);
        self.bytes(intent.name.as_str().as_bytes());
        self.byte(u8::from(intent.kind == Kind::Fifo));
        self.number(intent.offset);
        self.text(intent.target.as_ref().map(QueueName::as_str));
        self.byte(u8::from(intent.task.is_some()));
        intent.task.into_iter().for_each(|task| self.id(task.0));
        self.number(u64::from(intent.receives));
        self.number(intent.first_received.0);
    }

    fn task(&mut self, task: &TaskRecord) {
        self.byte(TASK);
        self.number(task.queue);
        self.id(task.task.0);
        self.text(task.target.as_ref().map(QueueName::as_str));
        let numbers = [u64::from(task.rate), task.started.0, task.upto, task.total, task.moved];
        numbers.into_iter().for_each(|number| self.number(number));
        self.byte(match task.status {
            TaskStatus::Running => 0,
            TaskStatus::Cancelling => 1,
            TaskStatus::Cancelled => 2,
            TaskStatus::Completed => 3,
            TaskStatus::Failed(MoveRefusal::NoTarget) => 4,
            TaskStatus::Failed(MoveRefusal::WrongKind) => 5,
            TaskStatus::Failed(MoveRefusal::NotAllowed) => 6,
            TaskStatus::Failed(MoveRefusal::OverLimit) => 7,
            TaskStatus::Failed(MoveRefusal::NoSource) => 8,
        });
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.bytes.get(self.at).copied().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                // One form for each number.
                return if byte == 0 && shift > 0 { Err(Malformed) } else { Ok(number) };
            }
        }
        Err(Malformed)
    }

    fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn wall(&mut self) -> Result<Wall, Malformed> {
        self.number().map(Wall)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn id(&mut self) -> Result<u128, Malformed> {
        let bytes = self.take(16)?.try_into().map_err(|_| Malformed)?;
        Ok(u128::from_be_bytes(bytes))
    }

    fn raw(&mut self) -> Result<&[u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    fn str(&mut self) -> Result<&str, Malformed> {
        std::str::from_utf8(self.raw()?).map_err(|_| Malformed)
    }

    fn name(&mut self) -> Result<QueueName, Malformed> {
        self.str().map(QueueName::new)
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn move_id(&mut self) -> Result<MoveId, Malformed> {
        let partition = u16::try_from(self.number()?).map_err(|_| Malformed)?;
        Ok(MoveId { partition: Partition(partition), intent: self.number()? })
    }

    fn kind(&mut self) -> Result<Kind, Malformed> {
        Ok(if self.flag()? { Kind::Fifo } else { Kind::Standard })
    }

    fn queue(&mut self) -> Result<QueueRecord, Malformed> {
        let name = self.name()?;
        let (incarnation, created, modified) = (self.number()?, self.wall()?, self.wall()?);
        let floor = self.number()?;
        let settings = Arc::new(self.settings()?);
        Ok(QueueRecord { name, incarnation, settings, created, modified, floor })
    }

    fn settings(&mut self) -> Result<Settings, Malformed> {
        Ok(Settings {
            kind: self.kind()?,
            visibility_ms: self.number()?,
            delay_ms: self.number()?,
            wait_ms: self.number()?,
            retention_ms: self.number()?,
            message_bytes_max: self.small()?,
            deduplicate_content: self.flag()?,
            scope: if self.flag()? { Scope::Group } else { Scope::Queue },
            dead_letters: self
                .option(|from| Ok(DeadLetters { target: from.name()?, receives_max: from.small()? }))?,
            allow: self.allow()?,
            extra: Bytes::copy_from_slice(self.raw()?),
        })
    }

    fn allow(&mut self) -> Result<Allow, Malformed> {
        match self.byte()? {
            0 => Ok(Allow::Everyone),
            1 => Ok(Allow::Nobody),
            2 => {
                let count = self.number()?;
                let sources: Result<_, _> = (0..count).map(|_| self.name()).collect();
                Ok(Allow::Only(sources?))
            }
            _ => Err(Malformed),
        }
    }

    fn sent(&mut self) -> Result<Sent, Malformed> {
        let (queue, sent, due) = (self.number()?, self.wall()?, self.wall()?);
        let id = MessageId(self.id()?);
        let group = self.option(|from| from.str().map(Box::from))?;
        let deduplication = self.deduplication()?;
        let origin = self.option(|from| {
            let (moved, source) = (from.move_id()?, from.option(Self::name)?);
            let (receives, first_received) = (from.small()?, from.wall()?);
            Ok(Box::new(Origin { moved, source, receives, first_received }))
        })?;
        Ok(Sent { queue, id, sent, due, group, deduplication, origin, content: Bytes::new() })
    }

    fn deduplication(&mut self) -> Result<Option<Id>, Malformed> {
        let form = self.byte()?;
        let value = match form {
            0 => return Ok(None),
            1 | 2 => IdValue::Text(self.str()?.into()),
            3 | 4 => IdValue::Hash(self.raw()?.try_into().map_err(|_| Malformed)?),
            _ => return Err(Malformed),
        };
        Ok(Some(Id { in_group: form % 2 == 0, value }))
    }

    fn mark(&mut self) -> Result<Mark, Malformed> {
        let (queue, offset, until) = (self.number()?, self.number()?, self.wall()?);
        let id = MessageId(self.id()?);
        Ok(Mark { queue, offset, id, key: self.raw()?.into(), until })
    }

    fn intent(&mut self) -> Result<Intent, Malformed> {
        Ok(Intent {
            queue: self.number()?,
            name: self.name()?,
            kind: self.kind()?,
            offset: self.number()?,
            target: self.option(Self::name)?,
            task: self.option(|from| from.id().map(TaskId))?,
            receives: self.small()?,
            first_received: self.wall()?,
        })
    }

    fn task(&mut self) -> Result<TaskRecord, Malformed> {
        Ok(TaskRecord {
            queue: self.number()?,
            task: TaskId(self.id()?),
            target: self.option(Self::name)?,
            rate: self.small()?,
            started: self.wall()?,
            upto: self.number()?,
            total: self.number()?,
            moved: self.number()?,
            status: self.status()?,
        })
    }

    fn status(&mut self) -> Result<TaskStatus, Malformed> {
        Ok(match self.byte()? {
            0 => TaskStatus::Running,
            1 => TaskStatus::Cancelling,
            2 => TaskStatus::Cancelled,
            3 => TaskStatus::Completed,
            4 => TaskStatus::Failed(MoveRefusal::NoTarget),
            5 => TaskStatus::Failed(MoveRefusal::WrongKind),
            6 => TaskStatus::Failed(MoveRefusal::NotAllowed),
            7 => TaskStatus::Failed(MoveRefusal::OverLimit),
            8 => TaskStatus::Failed(MoveRefusal::NoSource),
            _ => return Err(Malformed),
        })
    }
}
