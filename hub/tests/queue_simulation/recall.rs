//! What records mean after a crash, read in the most naive way.

use crate::disk::Disk;
use crate::model::{DELAY_MS_MAX, Marked, Model, Moving, Msg, Queue, body_of};
use hub::queue::{IdValue, Intent, MoveId, QueueRecord, Record, Sent, Stage, TaskStatus};
use hub::{MessageId, Partition, Place, Topology};
use std::collections::BTreeMap;

/// All records, by what is looked up in them.
#[derive(Default)]
struct Found {
    names: BTreeMap<(Partition, u64), String>,
    /// By the message's place.
    intents: BTreeMap<Place, (MoveId, Intent)>,
    tallies: BTreeMap<Place, u32>,
}

impl Model {
    /// As the records on the disk say it is, at this time.
    pub fn recall(disk: &Disk, topology: Topology, now: u64) -> Self {
        let mut model = Self::new(topology, now);
        let records: Vec<(Place, Record)> = disk.live().collect();
        let mut found = Found::default();
        model.recall_queues(&records, &mut found);
        for (place, record) in &records {
            let of = |number: u64| Place { partition: place.partition, number };
            match record {
                Record::Intent(intent) => {
                    let id = MoveId { partition: place.partition, intent: place.number };
                    found.intents.insert(of(intent.offset), (id, (**intent).clone()));
                }
                // The last one counts.
                Record::Tally(tally) => _ = found.tallies.insert(of(tally.offset), tally.receives),
                _ => {}
            }
        }
        for (place, record) in &records {
            let name = |incarnation: u64| found.names.get(&(place.partition, incarnation)).cloned();
            match record {
                Record::Sent(sent) => model.recall_sent(*place, sent, &found),
                Record::Arrived(id) => _ = model.arrived.insert(*id),
                Record::Mark(mark) => {
                    let until = mark.until.0.min(now + 300_000);
                    let queue = name(mark.queue).and_then(|name| model.queues.get_mut(&name));
                    let queue = queue.filter(|queue| mark.offset >= queue.floor && until > now);
                    if let Some(queue) = queue {
                        queue.recall_mark(mark.offset, (mark.id, until), read_key(&mark.key));
                    }
                }
                Record::Task(task) => {
                    // A later one of the same task stands behind it.
                    let running = (task.status == TaskStatus::Running).then_some((task.task, task.upto));
                    let queue = name(task.queue).and_then(|name| model.queues.get_mut(&name));
                    if let Some(queue) = queue {
                        let is_it = queue.task.is_some_and(|(id, _)| id == task.task);
                        queue.task = if running.is_some() || is_it { running } else { queue.task };
                    }
                }
                _ => {}
            }
        }
        model
    }

    /// Of several records of a queue the last one counts.
    fn recall_queues(&mut self, records: &[(Place, Record)], found: &mut Found) {
        let mut queues: BTreeMap<(Partition, u64), (Place, QueueRecord)> = BTreeMap::new();
        for (place, record) in records {
            if let Record::Queue(record) = record {
                let incarnation = if record.incarnation == 0 { place.number } else { record.incarnation };
                queues.insert((place.partition, incarnation), (*place, (**record).clone()));
            }
        }
        for (key, (place, record)) in queues {
            let mut queue = Self::new_queue(place, key.1, (*record.settings).clone());
            queue.floor = record.floor;
            let name = record.name.as_str().to_owned();
            let before = self.queues.insert(name.clone(), queue);
            assert!(before.is_none(), "two queues of one name");
            found.names.insert(key, name);
        }
    }

    fn recall_sent(&mut self, place: Place, sent: &Sent, found: &Found) {
        let now = self.now;
        self.arrived.extend(sent.origin.iter().map(|origin| origin.moved));
        let at = sent.sent.0.min(now);
        let source = sent.origin.as_ref().and_then(|origin| origin.source.as_ref());
        let mut msg = Msg {
            offset: place.number,
            body: body_of(sent),
            id: sent.id,
            sent: at,
            due: sent.due.0,
            group: sent.group.as_deref().unwrap_or_default().to_owned(),
            stage: Stage::Visible,
            until: 0,
            received: 0,
            hold: 0,
            receives: found.tallies.get(&place).copied().unwrap_or(0),
            source: source.map(|source| source.as_str().to_owned()),
        };
        let name = found.names.get(&(place.partition, sent.queue));
        let mut queue = name.and_then(|name| self.queues.get_mut(name));
        if let Some(queue) = &mut queue {
            queue.recall_due(&mut msg, now);
        }
        let is_void = queue.as_ref().is_none_or(|queue| place.number < queue.floor);
        if let Some(queue) = queue.as_mut().filter(|_| !is_void && at + 300_000 > now) {
            let group = sent.group.as_deref().unwrap_or_default();
            queue.marks.extend(sent.deduplication.as_ref().map(|id| Marked {
                key: (id.in_group.then(|| group.to_owned()), id.value.clone()),
                id: sent.id,
                offset: place.number,
                until: at + 300_000,
            }));
        }
        if let Some((id, intent)) = found.intents.get(&place) {
            msg.receives = intent.receives;
            let (queue, source) = ((place.partition, intent.queue), intent.name.as_str().to_owned());
            let (dead, void) = (intent.task.is_none(), is_void);
            self.moving.insert(*id, Moving { queue, source, msg, dead, void });
        } else if let Some(queue) = queue.filter(|_| !is_void) {
            queue.messages.insert(msg.offset, msg);
        }
    }
}

impl Queue {
    /// In the order of offsets. What is void or on its way counts for the order of a FIFO queue, too.
    fn recall_due(&mut self, msg: &mut Msg, now: u64) {
        if self.settings.kind == hub::queue::Kind::Fifo {
            msg.due = if msg.receives > 0 { 0 } else { msg.sent + self.settings.delay_ms };
        }
        msg.due = msg.due.min(now + DELAY_MS_MAX);
        if msg.receives == 0 {
            msg.due = self.in_order(msg.due, now);
        }
        msg.stage = if msg.due > now { Stage::Delayed } else { Stage::Visible };
    }

    /// It may stand beside its message, if that was about to end.
    fn recall_mark(&mut self, offset: u64, (id, until): (MessageId, u64), key: (Option<String>, IdValue)) {
        self.marks.retain(|marked| marked.offset != offset);
        self.marks.push(Marked { key, id, offset, until });
    }
}

/// A byte of two bits (content or text, in a group or not), the group up to a byte 255, the rest is the id.
fn read_key(key: &[u8]) -> (Option<String>, IdValue) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let end = key.iter().position(|byte| *byte == 255).filter(|_| key[0] & 2 != 0);
    let (group, value) = match end {
        Some(end) => (Some(text(&key[1..end])), &key[end + 1..]),
        None => (None, &key[1..]),
    };
    let value = match key[0] & 1 {
        0 => IdValue::Text(text(value).into()),
        _ => IdValue::Hash(value.try_into().expect("32 bytes")),
    };
    (group, value)
}
