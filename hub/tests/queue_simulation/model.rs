//! The rules of queues in their naive form: every question is answered by looking at every message. Times are the wall
//! clock's. What is on its way between two queues is told by the records that hubs write, and checked here.

use crate::tenants::Tenants;
use hub::queue::{
    Id, IdValue, Intent, Kind, Message, MoveId, QueueRefusal, Receipt, Receive, Record, Scope, Sent,
    Settings, Stage, Taken, TaskId, TaskStatus,
};
use hub::{Entry, MessageId, Partition, Place, ShardId, Token, Topology};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const DELAY_MS_MAX: u64 = 900_000;
pub const VISIBILITY_MS_MAX: u64 = 43_200_000;

#[derive(Clone, Debug)]
pub struct Msg {
    pub offset: u64,
    pub body: u64,
    pub id: MessageId,
    pub sent: u64,
    pub due: u64,
    /// Empty for none.
    pub group: String,
    pub stage: Stage,
    pub until: u64,
    pub received: u64,
    /// Which receive it was last given by, over all lives; 0 = none in this life.
    pub hold: u64,
    pub receives: u32,
    pub source: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Marked {
    pub key: (Option<String>, IdValue),
    pub id: MessageId,
    pub offset: u64,
    pub until: u64,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    id: String,
    over: u64,
    until: u64,
    messages: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub place: Place,
    pub incarnation: u64,
    pub floor: u64,
    pub settings: Settings,
    pub messages: BTreeMap<u64, Msg>,
    pub marks: Vec<Marked>,
    pub attempts: Vec<Attempt>,
    pub waiters: VecDeque<(Receive, u64)>,
    pub redrive_after: u64,
    pub last_due: u64,
    pub tenants: Tenants,
    pub task: Option<(TaskId, u64)>,
}

#[derive(Clone, Debug)]
pub struct Moving {
    pub queue: (Partition, u64),
    pub source: String,
    pub msg: Msg,
    pub dead: bool,
    /// Its queue was purged or deleted meanwhile.
    pub void: bool,
}

/// What a token is to be answered; of some only that it is.
#[derive(Clone, Debug)]
pub enum Expected {
    Any,
    Refused(QueueRefusal),
    Sent(Vec<(u64, Result<Taken, QueueRefusal>)>),
    /// Offset, receives and hold of each.
    Received(Vec<(u64, u32, u64)>),
    /// With the message that ends.
    Settled(Vec<(Result<(), QueueRefusal>, Option<u64>)>),
    Counts(u64, u64, u64),
    Peeked(Vec<(u64, Stage, u32)>),
}

pub struct Model {
    pub now: u64,
    pub topology: Topology,
    /// Whose hub does something now: queues of others are not looked at.
    pub turn: Option<ShardId>,
    pub queues: BTreeMap<String, Queue>,
    pub moving: BTreeMap<MoveId, Moving>,
    /// Moves whose messages arrived somewhere.
    pub arrived: BTreeSet<MoveId>,
    pub expected: BTreeMap<Token, Expected>,
    /// Messages that may or must be gone: settled, too old, purged, deleted.
    pub over: Vec<u64>,
    pub holds: u64,
    /// Records of the step that are to be accounted for.
    pub sents: BTreeMap<(Partition, u64), VecDeque<(Place, Sent)>>,
    pub intents: BTreeMap<(Partition, u64), VecDeque<(MoveId, Intent)>>,
    pub met: BTreeMap<&'static str, u64>,
}

impl Queue {
    pub fn is_fifo(&self) -> bool {
        self.settings.kind == Kind::Fifo
    }

    fn key(&self) -> (Partition, u64) {
        (self.place.partition, self.incarnation)
    }

    fn in_flight(&self) -> u64 {
        self.messages.values().filter(|msg| msg.stage == Stage::InFlight).count() as u64
    }

    fn visible(&self) -> impl Iterator<Item = &Msg> {
        self.messages.values().filter(|msg| msg.stage == Stage::Visible)
    }

    /// After any change: noise ends with the backlog, a group with its last message.
    fn tidy(&mut self, moving: &BTreeMap<MoveId, Moving>) {
        let key = self.key();
        let Self { tenants, messages, .. } = self;
        tenants.all.retain(|group, tenant| {
            let visible = |msg: &Msg| msg.group == *group && msg.stage == Stage::Visible;
            tenant.noisy &= messages.values().any(visible);
            let is_leaving =
                |moving: &Moving| moving.queue == key && !moving.void && moving.msg.group == *group;
            messages.values().any(|msg| msg.group == *group) || moving.values().any(is_leaving)
        });
    }

    fn land(&mut self, offset: u64, now: u64) {
        let Some(msg) = self.messages.get_mut(&offset) else { return };
        msg.stage = Stage::Visible;
        let (group, ms) = (msg.group.clone(), now - msg.received);
        if !self.is_fifo() {
            self.tenants.landed(&group, ms, now);
        }
    }

    pub fn counts(&self, moving: &BTreeMap<MoveId, Moving>) -> (u64, u64, u64) {
        let leaving = moving.values().filter(|moving| moving.queue == self.key() && !moving.void).count();
        let delayed = self.messages.values().filter(|msg| msg.stage == Stage::Delayed).count();
        (self.visible().count() as u64, self.in_flight() + leaving as u64, delayed as u64)
    }

    /// The lowest offset that holds up the group: in flight, or on its way out.
    fn held(&self, group: &str, moving: &BTreeMap<MoveId, Moving>) -> u64 {
        let flying = self.messages.values().filter(|msg| msg.stage == Stage::InFlight && msg.group == group);
        let leaving = moving.values().filter(|moving| moving.queue == self.key() && !moving.void);
        let leaving = leaving.map(|moving| &moving.msg).filter(|msg| msg.group == group);
        flying.chain(leaving).map(|msg| msg.offset).min().unwrap_or(u64::MAX)
    }

    /// Whose turn it is.
    fn next(&mut self, moving: &BTreeMap<MoveId, Moving>, now: u64) -> Option<u64> {
        if self.is_fifo() {
            return self
                .visible()
                .find(|msg| msg.offset < self.held(&msg.group, moving))
                .map(|msg| msg.offset);
        }
        loop {
            let in_flight = self.in_flight();
            let quiet = self.visible().find(|msg| !self.tenants.is_noisy(&msg.group));
            let Some((group, offset)) = quiet.map(|msg| (msg.group.clone(), msg.offset)) else { break };
            if !self.tenants.becomes_noisy(&group, in_flight, now) {
                return Some(offset);
            }
        }
        let fewest = |msg: &&Msg| (self.tenants.all[&msg.group].in_flight, msg.offset);
        self.visible().min_by_key(fewest).map(|msg| msg.offset)
    }

    /// The oldest that can be taken at all.
    fn oldest(&self, moving: &BTreeMap<MoveId, Moving>) -> Option<u64> {
        let can = |msg: &&Msg| !self.is_fifo() || msg.offset < self.held(&msg.group, moving);
        self.visible().find(can).map(|msg| msg.offset)
    }

    pub fn in_order(&mut self, due: u64, now: u64) -> u64 {
        if self.is_fifo() && (due > now || self.last_due > now) {
            self.last_due = self.last_due.max(due);
            return self.last_due;
        }
        due
    }

    fn insert(&mut self, msg: Msg, now: u64) {
        let due = self.in_order(msg.due, now);
        let stage = if due > now { Stage::Delayed } else { Stage::Visible };
        self.tenants.joined(&msg.group, now);
        self.messages.insert(msg.offset, Msg { due, stage, ..msg });
    }

    fn set_delay(&mut self, now: u64) {
        self.last_due = 0;
        let mut latest = 0;
        for msg in self.messages.values_mut() {
            if msg.stage == Stage::InFlight || msg.receives > 0 {
                continue;
            }
            latest = latest.max(msg.sent + self.settings.delay_ms);
            msg.due = latest;
            msg.stage = if latest > now { Stage::Delayed } else { Stage::Visible };
            if latest > now {
                self.last_due = latest;
            }
        }
    }
}

pub fn body_of(sent: &Sent) -> u64 {
    String::from_utf8_lossy(&sent.content).parse().expect("a number")
}

impl Model {
    pub fn new(topology: Topology, now: u64) -> Self {
        Self {
            now,
            topology,
            turn: None,
            queues: BTreeMap::new(),
            moving: BTreeMap::new(),
            arrived: BTreeSet::new(),
            expected: BTreeMap::new(),
            over: Vec::new(),
            holds: 0,
            sents: BTreeMap::new(),
            intents: BTreeMap::new(),
            met: BTreeMap::new(),
        }
    }

    pub fn met(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    fn name_of(&self, key: (Partition, u64)) -> Option<String> {
        self.queues.iter().find(|(_, queue)| queue.key() == key).map(|(name, _)| name.clone())
    }

    /// Everything that time does.
    pub fn advance(&mut self, now: u64) {
        self.now = now;
        let Self { queues, moving, over, topology, turn, .. } = self;
        let is_due =
            |queue: &&mut Queue| turn.is_none_or(|turn| topology.owner(queue.place.partition) == turn);
        for queue in queues.values_mut().filter(is_due) {
            let due: Vec<u64> = queue.messages.keys().copied().collect();
            for offset in due {
                let msg = &queue.messages[&offset];
                let (stage, sent) = (msg.stage, msg.sent);
                match stage {
                    Stage::InFlight if msg.until <= now => queue.land(offset, now),
                    Stage::Delayed if msg.due <= now => {
                        queue.messages.get_mut(&offset).unwrap().stage = Stage::Visible;
                    }
                    _ => {}
                }
                if sent + queue.settings.retention_ms <= now {
                    if queue.messages[&offset].stage == Stage::InFlight {
                        queue.land(offset, now);
                    }
                    over.extend(queue.messages.remove(&offset).map(|msg| msg.body));
                }
            }
            queue.marks.retain(|marked| marked.until > now);
            queue.attempts.retain(|attempt| attempt.over > now);
            queue.tenants.calm(now);
            queue.tidy(moving);
        }
    }

    /// When something happens by itself that somebody could see.
    pub fn next_event(&self) -> Option<u64> {
        let of = |queue: &Queue| {
            let messages = queue.messages.values().filter_map(|msg| match msg.stage {
                Stage::InFlight => Some(msg.until),
                Stage::Delayed => Some(msg.due),
                Stage::Visible => None,
            });
            messages.chain(queue.waiters.iter().map(|(_, until)| *until)).min()
        };
        self.queues.values().filter_map(of).min()
    }

    /// What hubs wrote in this step, to be accounted for by what follows.
    pub fn begin(&mut self, changes: &[Entry]) {
        for change in changes {
            let Entry::Keep { place, record: hub::Record::Queue(record) } = change else { continue };
            match record {
                Record::Sent(sent) if sent.origin.is_none() => {
                    let all = self.sents.entry((place.partition, sent.queue)).or_default();
                    all.push_back((*place, (**sent).clone()));
                }
                Record::Intent(intent) => {
                    let id = MoveId { partition: place.partition, intent: place.number };
                    let all = self.intents.entry((place.partition, intent.queue)).or_default();
                    all.push_back((id, (**intent).clone()));
                }
                _ => {}
            }
        }
    }

    /// Goes through what the records of the step say, in order, and what follows from each.
    pub fn follow(&mut self, changes: &[Entry]) {
        let mut dropped = BTreeSet::new();
        for change in changes {
            match change {
                Entry::Keep { place, record: hub::Record::Queue(record) } => self.kept(*place, record),
                Entry::Keep { .. } => {}
                Entry::Drop(place) => {
                    dropped.insert(*place);
                    self.dropped(*place, &dropped);
                }
            }
        }
        self.settle_all();
        self.sents.values().for_each(|left| assert!(left.is_empty(), "messages that nobody sent: {left:?}"));
        self.intents.values().for_each(|left| assert!(left.is_empty(), "moves without a reason: {left:?}"));
    }

    fn kept(&mut self, place: Place, record: &Record) {
        match record {
            Record::Queue(record) => {
                let incarnation = if record.incarnation == 0 { place.number } else { record.incarnation };
                let name = record.name.as_str();
                match self.queues.get_mut(name) {
                    Some(queue) => {
                        assert_eq!(queue.incarnation, incarnation, "two queues of one name");
                        queue.place = place;
                        let (purged, before) = (queue.floor < record.floor, queue.settings.clone());
                        queue.floor = record.floor;
                        queue.settings = (*record.settings).clone();
                        if purged {
                            self.purge(name);
                        } else {
                            queue.redrive_after = 0;
                            if queue.is_fifo() && before.delay_ms != queue.settings.delay_ms {
                                queue.set_delay(self.now);
                            }
                        }
                    }
                    None => {
                        let queue = Self::new_queue(place, incarnation, (*record.settings).clone());
                        self.queues.insert(name.to_owned(), queue);
                    }
                }
                self.advance(self.now);
                self.settle_all();
            }
            Record::Sent(sent) => self.arrived(place, sent),
            Record::Task(task) => {
                let Some(name) = self.name_of((place.partition, task.queue)) else { return };
                let is_running = task.status == TaskStatus::Running;
                if matches!(task.status, TaskStatus::Completed) {
                    self.met("task completed");
                }
                if matches!(task.status, TaskStatus::Failed(_)) {
                    self.met("task failed");
                }
                self.queues.get_mut(&name).unwrap().task = is_running.then_some((task.task, task.upto));
                self.settle_all();
            }
            Record::Mark(_) | Record::Tally(_) | Record::Intent(_) | Record::Arrived(_) => {}
        }
    }

    pub fn new_queue(place: Place, incarnation: u64, settings: Settings) -> Queue {
        Queue {
            place,
            incarnation,
            floor: 0,
            settings,
            messages: BTreeMap::new(),
            marks: Vec::new(),
            attempts: Vec::new(),
            waiters: VecDeque::new(),
            redrive_after: 0,
            last_due: 0,
            tenants: Tenants::default(),
            task: None,
        }
    }

    fn purge(&mut self, name: &str) {
        self.met("purge");
        let queue = self.queues.get_mut(name).unwrap();
        let key = queue.key();
        self.over.extend(std::mem::take(&mut queue.messages).into_values().map(|msg| msg.body));
        queue.marks.clear();
        queue.attempts.clear();
        queue.tenants = Tenants::default();
        queue.last_due = 0;
        self.moving.values_mut().filter(|moving| moving.queue == key).for_each(|moving| moving.void = true);
    }

    /// A message came by a move.
    fn arrived(&mut self, place: Place, sent: &Sent) {
        let Some(origin) = &sent.origin else { return };
        let now = self.now;
        let name = self.name_of((place.partition, sent.queue)).expect("a queue to arrive in");
        let moving = self.moving.get(&origin.moved).expect("nothing arrives that is not on its way").clone();
        assert!(self.arrived.insert(origin.moved), "a message arrives twice");
        assert_eq!(moving.msg.body, body_of(sent), "another message");
        let fifo = self.queues[&name].is_fifo();
        let fresh = !moving.dead || fifo;
        let at = if fresh { now } else { moving.msg.sent };
        assert_eq!(sent.sent.0, at, "the age of a message that was moved");
        assert_eq!(sent.id == moving.msg.id, moving.dead, "a dead letter keeps its id, others do not");
        assert_eq!(sent.group.as_deref().unwrap_or_default(), moving.msg.group);
        let source = moving.dead.then(|| moving.source.clone());
        assert_eq!(origin.source.as_ref().map(|source| source.as_str().to_owned()), source);
        let queue = self.queues.get_mut(&name).unwrap();
        let due = if fifo { now + queue.settings.delay_ms } else { 0 };
        let msg = Msg {
            offset: place.number,
            id: sent.id,
            sent: at,
            due,
            stage: Stage::Visible,
            until: 0,
            received: 0,
            hold: 0,
            receives: 0,
            source,
            ..moving.msg
        };
        queue.insert(msg, now);
        self.met(if moving.dead { "dead letter arrived" } else { "task message arrived" });
        // It may be too old for this queue.
        self.advance(now);
        self.settle_all();
    }

    fn dropped(&mut self, place: Place, dropped: &BTreeSet<Place>) {
        let deleted =
            self.queues.iter().find(|(_, queue)| queue.place == place).map(|(name, _)| name.clone());
        if let Some(name) = deleted {
            return self.delete(&name);
        }
        let id = MoveId { partition: place.partition, intent: place.number };
        let Some(moving) = self.moving.remove(&id) else { return };
        let source = Place { partition: id.partition, number: moving.msg.offset };
        let name = self.name_of(moving.queue);
        if dropped.contains(&source) {
            let arrived = self.arrived.contains(&id);
            assert!(moving.void || arrived, "a message that left arrived nowhere: {moving:?}");
            self.over.extend((!arrived).then_some(moving.msg.body));
        } else {
            assert!(!moving.void && !self.arrived.contains(&id), "it did arrive, or is over: {moving:?}");
            self.met("move refused");
            let now = self.now;
            let queue = self.queues.get_mut(&name.expect("its queue")).unwrap();
            if moving.dead {
                queue.redrive_after = now + 10_000;
            }
            queue.messages.insert(moving.msg.offset, Msg { stage: Stage::Visible, ..moving.msg });
        }
        self.advance(self.now);
        self.settle_all();
    }

    fn delete(&mut self, name: &str) {
        self.met("deletion");
        let queue = self.queues.remove(name).unwrap();
        let key = queue.key();
        self.over.extend(queue.messages.into_values().map(|msg| msg.body));
        self.moving.values_mut().filter(|moving| moving.queue == key).for_each(|moving| moving.void = true);
        for (receive, _) in queue.waiters {
            self.expected.insert(receive.token, Expected::Refused(QueueRefusal::NotFound));
        }
    }

    /// Tasks move what they may, those that wait get what there is.
    pub fn settle_all(&mut self) {
        let is_due =
            |queue: &Queue| self.turn.is_none_or(|turn| self.topology.owner(queue.place.partition) == turn);
        let due = self.queues.iter().filter(|(_, queue)| is_due(queue));
        let names: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            while self.pump(&name) {}
            while self.serve(&name) {}
        }
    }

    fn pump(&mut self, name: &str) -> bool {
        let Self { queues, moving, intents, .. } = self;
        let queue = queues.get_mut(name).unwrap();
        let Some(next) = intents.get_mut(&queue.key()) else { return false };
        // What makes it possible may be told of by a later record of this step: the task's start, or a group that goes on.
        let Some((task, upto)) = queue.task else { return false };
        let oldest = queue.oldest(moving);
        let is_its = |intent: &Intent| intent.task == Some(task) && Some(intent.offset) == oldest;
        let is_next = next.front().is_some_and(|(_, intent)| is_its(intent));
        let Some((id, intent)) = is_next.then(|| next.pop_front()).flatten() else { return false };
        assert!(intent.offset < upto);
        self.leave(name, id, &intent);
        true
    }

    /// A message is on its way out.
    fn leave(&mut self, name: &str, id: MoveId, intent: &Intent) {
        let queue = self.queues.get_mut(name).unwrap();
        let msg = queue.messages.remove(&intent.offset).expect("a message to move");
        assert_eq!(msg.stage, Stage::Visible, "only what nobody has can go");
        assert_eq!(intent.receives, msg.receives);
        let dead = intent.task.is_none();
        let moving = Moving { queue: queue.key(), source: name.to_owned(), msg, dead, void: false };
        self.moving.insert(id, moving);
        let Self { queues, moving, .. } = self;
        queues.get_mut(name).unwrap().tidy(moving);
    }

    fn serve(&mut self, name: &str) -> bool {
        let Some((receive, _)) = self.queues[name].waiters.front().cloned() else { return false };
        let Some(expected) = self.receive(name, &receive) else { return false };
        self.queues.get_mut(name).unwrap().waiters.pop_front();
        self.expected.insert(receive.token, expected);
        self.met("woken");
        true
    }

    /// Those whose time is over, one after the other: the next one may have to hear something else.
    pub fn time_out(&mut self) {
        let is_due =
            |queue: &Queue| self.turn.is_none_or(|turn| self.topology.owner(queue.place.partition) == turn);
        let due = self.queues.iter().filter(|(_, queue)| is_due(queue));
        let names: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            while let Some(token) = self.late(&name) {
                self.expected.insert(token, Expected::Received(Vec::new()));
                while self.serve(&name) {}
            }
        }
    }

    fn late(&mut self, name: &str) -> Option<Token> {
        let waiters = &mut self.queues.get_mut(name).unwrap().waiters;
        let first = waiters.iter().enumerate().min_by_key(|(_, (_, until))| *until);
        let at = first.filter(|(_, (_, until))| *until <= self.now)?.0;
        waiters.remove(at).map(|(receive, _)| receive.token)
    }

    pub fn start_receive(&mut self, name: &str, receive: &Receive) {
        let Some(queue) = self.queues.get(name) else {
            self.expected.insert(receive.token, Expected::Refused(QueueRefusal::NotFound));
            return;
        };
        let wait_ms = receive.wait_ms.unwrap_or(queue.settings.wait_ms);
        match self.receive(name, receive) {
            Some(expected) => _ = self.expected.insert(receive.token, expected),
            None if wait_ms > 0 => {
                let until = self.now + wait_ms;
                self.queues.get_mut(name).unwrap().waiters.push_back((receive.clone(), until));
            }
            None => {
                self.expected.insert(receive.token, Expected::Received(Vec::new()));
            }
        }
    }

    /// What a receive gets; `None` for nothing.
    fn receive(&mut self, name: &str, receive: &Receive) -> Option<Expected> {
        if let Some(again) = self.repeat(name, receive) {
            return Some(again);
        }
        let got = self.collect(name, receive);
        if got.is_empty() {
            // Those of an earlier attempt may just have gone to the dead letters.
            return self.repeat(name, receive);
        }
        let now = self.now;
        let queue = self.queues.get_mut(name).unwrap();
        let hold_ms = receive.visibility_ms.unwrap_or(queue.settings.visibility_ms);
        if let Some(id) = receive.attempt.as_deref().filter(|_| queue.is_fifo()) {
            let messages = got.iter().map(|(offset, _, hold)| (*offset, *hold)).collect();
            queue.attempts.retain(|attempt| attempt.id != id);
            queue.attempts.push(Attempt {
                id: id.to_owned(),
                over: now + 300_000,
                until: now + hold_ms,
                messages,
            });
        }
        Some(Expected::Received(got))
    }

    fn repeat(&mut self, name: &str, receive: &Receive) -> Option<Expected> {
        let now = self.now;
        let queue = self.queues.get_mut(name).unwrap();
        let id = receive.attempt.as_deref()?;
        let Queue { attempts, messages, settings, .. } = queue;
        let attempt = attempts.iter_mut().find(|attempt| attempt.id == id)?;
        let held = |(offset, hold): &(u64, u64)| messages.get(offset).filter(|msg| msg.hold == *hold);
        let over = Some(Expected::Refused(QueueRefusal::AttemptOver));
        if attempt.until <= now {
            return if attempt.messages.iter().all(|one| held(one).is_some()) { None } else { over };
        }
        let same = |one: &(u64, u64)| {
            held(one).is_some_and(|msg| msg.stage == Stage::InFlight && msg.until == attempt.until)
        };
        if !attempt.messages.iter().all(same) {
            return over;
        }
        attempt.until = now + receive.visibility_ms.unwrap_or(settings.visibility_ms);
        let mut again = Vec::new();
        for (offset, hold) in &attempt.messages {
            let msg = messages.get_mut(offset).unwrap();
            msg.until = attempt.until;
            again.push((*offset, msg.receives, *hold));
        }
        if attempt.until == now {
            again.iter().for_each(|(offset, ..)| queue.land(*offset, now));
        }
        self.met("attempt repeated");
        Some(Expected::Received(again))
    }

    fn collect(&mut self, name: &str, receive: &Receive) -> Vec<(u64, u32, u64)> {
        let (now, mut got, mut walk) = (self.now, Vec::new(), None);
        let hold_ms = receive.visibility_ms.unwrap_or(self.queues[name].settings.visibility_ms);
        while got.len() < receive.max as usize {
            let Self { queues, moving, intents, .. } = self;
            let queue = queues.get_mut(name).unwrap();
            let Some(offset) = Self::walk_on(queue, &mut walk, moving, now) else { break };
            let msg = &queue.messages[&offset];
            let (receives, noisy) = (msg.receives, queue.tenants.is_noisy(&msg.group));
            let dead = queue.settings.dead_letters.as_ref().filter(|_| queue.redrive_after <= now);
            if let Some(dead) = dead.filter(|dead| receives >= dead.receives_max) {
                let (id, intent) =
                    intents.get_mut(&queue.key()).and_then(VecDeque::pop_front).expect("a dead letter");
                assert_eq!(
                    (intent.offset, &intent.target, intent.task),
                    (offset, &Some(dead.target.clone()), None)
                );
                walk = None;
                self.leave(name, id, &intent);
                continue;
            }
            self.holds += 1;
            let msg = queue.messages.get_mut(&offset).unwrap();
            (msg.stage, msg.received, msg.until, msg.hold) =
                (Stage::InFlight, now, now + hold_ms, self.holds);
            msg.receives += 1;
            got.push((offset, msg.receives, self.holds));
            let group = msg.group.clone();
            queue.tidy(moving);
            if !queue.is_fifo() {
                queue.tenants.flew(&group, now);
            }
            if noisy {
                self.met("a noisy group's turn");
            }
        }
        if hold_ms == 0 {
            let Self { queues, moving, .. } = self;
            let queue = queues.get_mut(name).unwrap();
            got.iter().for_each(|(offset, ..)| queue.land(*offset, now));
            queue.tidy(moving);
        }
        got
    }

    /// The next message of a receive: FIFO as long as possible of the same group.
    fn walk_on(
        queue: &mut Queue,
        walk: &mut Option<(String, u64)>,
        moving: &BTreeMap<MoveId, Moving>,
        now: u64,
    ) -> Option<u64> {
        if let Some((group, bound)) = walk {
            let first = queue.visible().find(|msg| msg.group == *group).map(|msg| msg.offset);
            if let Some(first) = first.filter(|first| first < bound) {
                return Some(first);
            }
        }
        *walk = None;
        let offset = queue.next(moving, now)?;
        if queue.is_fifo() {
            let group = queue.messages[&offset].group.clone();
            let bound = queue.held(&group, moving);
            *walk = Some((group, bound));
        }
        Some(offset)
    }

    pub fn send(&mut self, name: &str, messages: &[Message], token: Token) {
        let expected = if self.queues.contains_key(name) {
            Expected::Sent(messages.iter().map(|message| self.take_in(name, message)).collect())
        } else {
            Expected::Refused(QueueRefusal::NotFound)
        };
        self.expected.insert(token, expected);
    }

    /// What becomes of one message, by its number.
    pub fn take_in(&mut self, name: &str, message: &Message) -> (u64, Result<Taken, QueueRefusal>) {
        let body = String::from_utf8_lossy(&message.content).parse().expect("a number");
        let Some(queue) = self.queues.get_mut(name) else { return (body, Err(QueueRefusal::NotFound)) };
        let group = message.group.as_deref().unwrap_or_default().to_owned();
        let id = Self::id_of(&queue.settings, message);
        let key = id.as_ref().map(|id| (id.in_group.then(|| group.clone()), id.value.clone()));
        // More than one when a clock went back: the newest.
        let same = queue.marks.iter().filter(|marked| Some(&marked.key) == key.as_ref());
        let first = same.max_by_key(|marked| marked.offset);
        if let Some(first) = first {
            *self.met.entry("duplicate").or_default() += 1;
            let (id, offset) = (first.id, first.offset);
            return (body, Ok(Taken { id, offset, duplicate: true }));
        }
        let next = self.sents.get_mut(&queue.key()).and_then(VecDeque::pop_front);
        let (place, sent) = next.expect("a record of a message that is taken");
        assert_eq!((sent.id, body_of(&sent), &sent.group), (message.id, body, &message.group));
        assert_eq!(sent.deduplication, id);
        let delay_ms = message.delay_ms.filter(|_| !queue.is_fifo()).unwrap_or(queue.settings.delay_ms);
        let msg = Msg {
            offset: place.number,
            body,
            id: message.id,
            sent: self.now,
            due: self.now + delay_ms,
            group,
            stage: Stage::Visible,
            until: 0,
            received: 0,
            hold: 0,
            receives: 0,
            source: None,
        };
        queue.insert(msg, self.now);
        let (id, offset) = (message.id, place.number);
        let until = self.now + 300_000;
        queue.marks.extend(key.map(|key| Marked { key, id, offset, until }));
        (body, Ok(Taken { id, offset, duplicate: false }))
    }

    fn id_of(settings: &Settings, message: &Message) -> Option<Id> {
        let hash = message.content_hash.filter(|_| settings.deduplicate_content).map(IdValue::Hash);
        let value = message.deduplication.clone().map(IdValue::Text).or(hash);
        let value = value.filter(|_| settings.kind == Kind::Fifo)?;
        Some(Id { in_group: settings.scope == Scope::Group, value })
    }

    pub fn settle(&mut self, name: &str, receipts: &[Known], token: Token) {
        if !self.queues.contains_key(name) {
            self.expected.insert(token, Expected::Refused(QueueRefusal::NotFound));
            return;
        }
        let results = receipts.iter().map(|known| self.settle_one(name, known)).collect();
        self.expected.insert(token, Expected::Settled(results));
    }

    fn settle_one(&mut self, name: &str, known: &Known) -> (Result<(), QueueRefusal>, Option<u64>) {
        let now = self.now;
        let queue = self.queues.get_mut(name).unwrap();
        let offset = known.receipt.offset;
        if (known.receipt.partition, known.receipt.incarnation) != queue.key() {
            return (Err(QueueRefusal::BadReceipt), None);
        }
        let Some(msg) = queue.messages.get(&offset) else { return (Ok(()), None) };
        let is_flying = msg.stage == Stage::InFlight;
        let has_it = is_flying && msg.hold == known.hold && msg.until > now;
        if queue.is_fifo() && !has_it && (is_flying || msg.hold != 0 || known.is_of_this_life) {
            return (Err(QueueRefusal::ReceiptOver), None);
        }
        if !has_it {
            self.met("settled by an old receipt");
        }
        let Self { queues, moving, .. } = self;
        let queue = queues.get_mut(name).unwrap();
        if is_flying {
            queue.land(offset, now);
        }
        let body = queue.messages.remove(&offset).map(|msg| msg.body);
        queue.tidy(moving);
        self.over.extend(body);
        (Ok(()), body)
    }

    pub fn set_visibility(&mut self, name: &str, changes: &[(Known, u64)], token: Token) {
        if !self.queues.contains_key(name) {
            self.expected.insert(token, Expected::Refused(QueueRefusal::NotFound));
            return;
        }
        let results = changes.iter().map(|(known, ms)| (self.hold(name, known, *ms), None)).collect();
        self.expected.insert(token, Expected::Settled(results));
    }

    fn hold(&mut self, name: &str, known: &Known, ms: u64) -> Result<(), QueueRefusal> {
        let Self { queues, moving, now, .. } = self;
        let (queue, now) = (queues.get_mut(name).unwrap(), *now);
        let offset = known.receipt.offset;
        if (known.receipt.partition, known.receipt.incarnation) != queue.key() {
            return Err(QueueRefusal::BadReceipt);
        }
        let msg = queue.messages.get_mut(&offset).ok_or(QueueRefusal::Gone)?;
        if msg.stage != Stage::InFlight || msg.hold != known.hold || msg.until <= now {
            return Err(QueueRefusal::NotInFlight);
        }
        if now + ms > msg.received + VISIBILITY_MS_MAX {
            return Err(QueueRefusal::VisibilityTooLong);
        }
        msg.until = now + ms;
        if ms == 0 {
            queue.land(offset, now);
            queue.tidy(moving);
        }
        Ok(())
    }

    pub fn describe(&mut self, name: &str, token: Token) {
        let expected = match self.queues.get(name) {
            Some(queue) => {
                let (visible, in_flight, delayed) = queue.counts(&self.moving);
                Expected::Counts(visible, in_flight, delayed)
            }
            None => Expected::Refused(QueueRefusal::NotFound),
        };
        self.expected.insert(token, expected);
    }

    pub fn peek(&mut self, name: &str, token: Token) {
        let expected = match self.queues.get(name) {
            Some(queue) => {
                let all = queue.messages.values().map(|msg| (msg.offset, msg.stage, msg.receives));
                Expected::Peeked(all.collect())
            }
            None => Expected::Refused(QueueRefusal::NotFound),
        };
        self.expected.insert(token, expected);
    }
}

/// A receipt that somebody got.
#[derive(Clone, Debug)]
pub struct Known {
    pub queue: String,
    pub receipt: Receipt,
    /// The receive it was given by.
    pub hold: u64,
    pub is_of_this_life: bool,
}
