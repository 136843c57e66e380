//! What happens to a random node: people who send, receive and settle, who manage queues, time, a disk that is late, mail that is
//! late, and crashes. After each step the model says what had to follow.

use crate::bound::{Publishers, bindings};
use crate::ledger::Ledger;
use crate::model::{Expected, Known, Model};
use crate::node::{Letter, Node, START, Sending};
use crate::rng::Rng;
use hub::queue::{
    Answer, DeadLetters, Delivery, Kind, QueueCommand, QueueConfig, QueueLimits, QueueName, Receipt, Receive,
    Scope, Settings, StartTask, TaskId, Wall,
};
use hub::{Command, Partition, Place, ShardId, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Each must be met often enough for the run to prove something.
pub const SITUATIONS: [&str; 25] = [
    "a copy known by its message",
    "a noisy group's turn",
    "a publisher refused for a copy",
    "attempt over",
    "attempt repeated",
    "bad receipt",
    "copied and acknowledged",
    "crash with a publisher not told",
    "crash with moves",
    "crash with records lost",
    "dead letter arrived",
    "deletion",
    "duplicate",
    "message gone",
    "move refused",
    "not in flight",
    "purge",
    "receipt over",
    "settled by an old receipt",
    "task completed",
    "task failed",
    "task message arrived",
    "time-out",
    "visibility too long",
    "woken",
];

const QUEUES: [(&str, Kind); 6] = [
    ("p", Kind::Standard),
    ("s", Kind::Standard),
    ("t", Kind::Standard),
    ("f", Kind::Fifo),
    ("g", Kind::Fifo),
    ("h", Kind::Fifo),
];

/// Who waits behind a token.
enum Ask {
    /// With the messages that end by it.
    End(Vec<u64>),
    Receive(String),
    Other,
}

pub struct World {
    pub rng: Rng,
    pub node: Node,
    pub model: Model,
    pub ledger: Ledger,
    pub publishers: Publishers,
    asks: BTreeMap<Token, Ask>,
    known: Vec<Known>,
    /// Receipts of this life: no two receives have the same.
    numbers: BTreeMap<(Partition, u64, u64), u64>,
    pub bodies: u64,
    waiting: BTreeSet<Token>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let shards = rng.range(1, 3) as u8;
        let task_moves_max = rng.range(1, 3) as u32;
        let limits = QueueLimits { task_moves_max, page_max: 1_000_000, ..QueueLimits::default() };
        let mut node = Node::with(shards, QueueConfig { start: Wall(START), limits, pause_ms: 0 });
        node.auto = false;
        node.bindings = bindings();
        node.hubs.iter_mut().for_each(|hub| hub.bind(bindings()));
        let model = Model::new(node.topology, START);
        let mut world = Self {
            rng,
            node,
            model,
            ledger: Ledger::default(),
            publishers: Publishers::default(),
            asks: BTreeMap::new(),
            known: Vec::new(),
            numbers: BTreeMap::new(),
            bodies: 0,
            waiting: BTreeSet::new(),
        };
        for (name, _) in QUEUES {
            world.create(name);
            world.quiesce();
        }
        world
    }

    pub fn run(mut self, steps: u32) -> BTreeMap<&'static str, u64> {
        for _ in 0..steps {
            self.step();
        }
        self.end();
        self.model.met
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..16 => self.send(),
            16..20 => self.publish(),
            20..40 => self.receive(),
            40..52 => self.settle(),
            52..57 => self.set_visibility(),
            57..60 => self.cancel(),
            60..70 => self.pass(),
            70..80 => self.flush(),
            80..88 => self.deliver(),
            88..90 => self.look(),
            90..92 => self.quiesce(),
            92..94 => self.configure(),
            94 => self.create_any(),
            95 => self.purge_or_delete(),
            96..98 => self.start_task(),
            98 => self.cancel_task(),
            _ => self.crash(),
        }
    }

    /// Applies a command; `op` is what the model makes of it.
    pub fn apply(&mut self, shard: ShardId, command: Command, op: impl FnOnce(&mut Model)) {
        self.node.changes.clear();
        self.node.apply(shard, command);
        self.model.turn = Some(shard);
        self.take_in(op);
    }

    fn take_in(&mut self, op: impl FnOnce(&mut Model)) {
        self.follow(op);
        self.answers();
    }

    fn follow(&mut self, op: impl FnOnce(&mut Model)) {
        let changes = std::mem::take(&mut self.node.changes);
        self.model.advance(self.node.wall());
        self.model.begin(&changes);
        op(&mut self.model);
        self.model.settle_all();
        self.model.follow(&changes);
        for body in std::mem::take(&mut self.model.over) {
            self.ledger.over(body);
        }
    }

    fn tell(&mut self, name: &str, command: QueueCommand, op: impl FnOnce(&mut Model)) {
        let home = QueueName::new(name).home(&self.node.topology);
        self.apply(home, Command::Queue(command), op);
    }

    fn any_queue(&mut self) -> (&'static str, Kind) {
        *self.rng.pick(&QUEUES).unwrap()
    }

    fn token(&mut self, ask: Ask) -> Token {
        let token = self.node.token();
        self.asks.insert(token, ask);
        token
    }

    // What people do.

    fn settings(&mut self, name: &str, kind: Kind) -> Settings {
        let rng = &mut self.rng;
        let others: Vec<_> = QUEUES.iter().filter(|(other, of)| *of == kind && *other != name).collect();
        let target = QueueName::new(rng.pick(&others).unwrap().0);
        // Seldom one of the other kind, which is refused.
        let target = if rng.chance(3) { QueueName::new("p") } else { target };
        let receives_max = rng.range(1, 3) as u32;
        let dead_letters = rng.chance(60).then_some(DeadLetters { target, receives_max });
        Settings {
            kind,
            visibility_ms: *rng.pick(&[0, 500, 2000, 30_000]).unwrap(),
            delay_ms: *rng.pick(&[0, 0, 0, 700, 5000]).unwrap(),
            wait_ms: *rng.pick(&[0, 0, 1000]).unwrap(),
            retention_ms: *rng.pick(&[60_000, 600_000, 7_200_000]).unwrap(),
            deduplicate_content: rng.chance(50),
            scope: if rng.chance(50) { Scope::Queue } else { Scope::Group },
            dead_letters,
            ..Settings::default()
        }
    }

    fn create(&mut self, name: &str) {
        let kind = QUEUES.iter().find(|(other, _)| *other == name).unwrap().1;
        let settings = Arc::new(self.settings(name, kind));
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        self.model.expected.insert(token, Expected::Any);
        self.tell(name, QueueCommand::Create { queue, settings, token }, |_| {});
    }

    fn create_any(&mut self) {
        let (name, _) = self.any_queue();
        self.create(name);
    }

    fn configure(&mut self) {
        let (name, kind) = self.any_queue();
        let settings = Arc::new(self.settings(name, kind));
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        self.model.expected.insert(token, Expected::Any);
        self.tell(name, QueueCommand::Configure { queue, settings, revision: None, token }, |_| {});
    }

    fn purge_or_delete(&mut self) {
        let (name, _) = self.any_queue();
        let queue = QueueName::new(name);
        let stored =
            self.model.queues.get(name).map(|queue| queue.messages.values().map(|msg| msg.body).collect());
        let token = self.token(Ask::End(stored.unwrap_or_default()));
        self.model.expected.insert(token, Expected::Any);
        let command = if self.rng.chance(50) {
            QueueCommand::Purge { queue, token }
        } else {
            QueueCommand::Delete { queue, token }
        };
        self.tell(name, command, |_| {});
    }

    fn send(&mut self) {
        let (name, kind) = self.any_queue();
        let count = if self.rng.chance(30) { self.rng.range(2, 10) } else { 1 };
        let mut messages = Vec::new();
        for _ in 0..count {
            self.bodies += 1;
            let mut message = self.node.message(&self.bodies.to_string());
            // All of "p" have none, so that its order is plain.
            if kind == Kind::Fifo || (name != "p" && self.rng.chance(90)) {
                message = message.of(self.rng.pick(&["x", "y", "z"]).unwrap());
            }
            if kind == Kind::Fifo {
                let pool = if self.rng.chance(30) { 5 } else { 1_000_000 };
                message = message.known_as(&self.rng.below(pool).to_string());
            } else if self.rng.chance(20) {
                message = message.after(self.rng.below(3000));
            }
            messages.push(message);
        }
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        let sent = messages.clone();
        self.tell(name, QueueCommand::Send { queue, messages, token }, |model| {
            model.send(name, &sent, token)
        });
    }

    fn receive(&mut self) {
        let (name, _) = self.any_queue();
        let token = self.token(Ask::Receive(name.to_owned()));
        let rng = &mut self.rng;
        let receive = Receive {
            queue: QueueName::new(name),
            max: rng.range(1, 10) as u32,
            visibility_ms: rng.chance(30).then(|| *rng.pick(&[0, 300, 20_000]).unwrap()),
            wait_ms: rng.chance(50).then(|| rng.below(4000)),
            attempt: rng.chance(20).then(|| rng.below(3).to_string().into()),
            token,
        };
        let asked = receive.clone();
        let command = QueueCommand::Receive(Box::new(receive));
        self.waiting.insert(token);
        self.tell(name, command, |model| model.start_receive(name, &asked));
    }

    fn cancel(&mut self) {
        let all: Vec<Token> = self.waiting.iter().copied().collect();
        let Some(token) = self.rng.pick(&all).copied() else { return };
        let Some(Ask::Receive(name)) = self.asks.get(&token) else { return };
        let name = name.clone();
        self.tell(&name, QueueCommand::Cancel { token }, |model| {
            if let Some(queue) = model.queues.get_mut(&name) {
                queue.waiters.retain(|(receive, _)| receive.token != token);
            }
        });
    }

    /// Of late, mostly.
    fn pick_known(&mut self) -> Option<Known> {
        let len = self.known.len() as u64;
        let far = if self.rng.chance(80) { 10 } else { 200 };
        let back = self.rng.range(1, far);
        self.known.get(len.checked_sub(back)? as usize).cloned()
    }

    fn settle(&mut self) {
        let Some(first) = self.pick_known() else { return };
        let mut all = vec![first.clone()];
        for _ in 0..self.rng.below(4) {
            all.extend(self.pick_known().filter(|known| known.queue == first.queue));
        }
        // Seldom to the wrong queue.
        let name = if self.rng.chance(3) { self.any_queue().0.to_owned() } else { first.queue };
        let receipts = all.iter().map(|known| known.receipt).collect();
        let (queue, token) = (QueueName::new(&name), self.token(Ask::Other));
        self.tell(&name, QueueCommand::Settle { queue, receipts, token }, |model| {
            model.settle(&name, &all, token);
        });
    }

    fn set_visibility(&mut self) {
        let Some(known) = self.pick_known() else { return };
        let ms = *self.rng.pick(&[0, 0, 100, 10_000, 43_200_000]).unwrap();
        let (name, queue) = (known.queue.clone(), QueueName::new(&known.queue));
        let token = self.token(Ask::Other);
        let changes = vec![(known.receipt, ms)];
        self.tell(&name, QueueCommand::SetVisibility { queue, changes, token }, |model| {
            model.set_visibility(&name, &[(known, ms)], token);
        });
    }

    fn start_task(&mut self) {
        let (name, _) = self.any_queue();
        let (token, id) = (self.token(Ask::Other), self.rng.next());
        self.model.expected.insert(token, Expected::Any);
        let target = self.rng.chance(20).then(|| QueueName::new(self.rng.pick(&QUEUES).unwrap().0));
        let task = StartTask {
            queue: QueueName::new(name),
            task: TaskId(u128::from(id)),
            target,
            rate: *self.rng.pick(&[0, 0, 1, 20]).unwrap(),
            token,
        };
        self.tell(name, QueueCommand::StartTask(Box::new(task)), |_| {});
    }

    fn cancel_task(&mut self) {
        let (name, _) = self.any_queue();
        let Some((task, _)) = self.model.queues.get(name).and_then(|queue| queue.task) else { return };
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        self.model.expected.insert(token, Expected::Any);
        self.tell(name, QueueCommand::CancelTask { queue, task, token }, |_| {});
    }

    /// Everything about one queue.
    fn look(&mut self) {
        let (name, _) = self.any_queue();
        self.look_at(name);
    }

    fn look_at(&mut self, name: &str) {
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        self.tell(name, QueueCommand::Describe { queue, token }, |model| model.describe(name, token));
        let (queue, token) = (QueueName::new(name), self.token(Ask::Other));
        let (after, limit) = (0, 1_000_000);
        self.tell(name, QueueCommand::Peek { queue, after, limit, token }, |model| model.peek(name, token));
    }

    // What happens around them.

    fn pass(&mut self) {
        let ms = match self.rng.below(100) {
            0..70 => self.rng.below(800),
            70..93 => self.rng.below(10_000),
            93..98 => self.rng.below(400_000),
            _ => self.rng.below(8_000_000),
        };
        self.pass_ms(ms);
    }

    fn pass_ms(&mut self, ms: u64) {
        let end = self.node.now + ms;
        let start = self.node.config.start.0;
        let mut ticks = 0;
        loop {
            let hub = self.node.next_deadline();
            let model = self.model.next_event().map(|at| at.saturating_sub(start));
            if let Some(event) = model.filter(|at| *at <= end) {
                assert!(
                    hub.is_some_and(|at| at <= event),
                    "hubs are due at {hub:?}, something happens at {event}"
                );
            }
            let Some(at) = hub.filter(|at| *at <= end) else { break };
            self.node.now = self.node.now.max(at);
            self.tick();
            ticks += 1;
            assert!(ticks < 100_000, "a hub is due for ever");
        }
        self.node.now = end;
    }

    fn tick(&mut self) {
        for shard in (0..self.node.topology.shards).map(ShardId) {
            let hub = &self.node.hubs[usize::from(shard.0)];
            if hub.next_deadline().is_some_and(|at| at.0 <= self.node.now) {
                self.apply(shard, Command::Tick, |model| {
                    model.settle_all();
                    model.time_out();
                });
            }
        }
    }

    fn flush(&mut self) {
        let all = self.node.disk.partitions();
        let Some(partition) = self.rng.pick(&all).copied() else { return };
        let pending = self.node.disk.pending(partition) as u64;
        let count = if self.rng.chance(50) { pending } else { self.rng.below(pending + 1) };
        self.node.disk.flush(partition, count as usize);
        self.release();
    }

    fn release(&mut self) {
        for shard in (0..self.node.topology.shards).map(ShardId) {
            if let Some(safe) = self.node.disk.newly_safe(shard) {
                self.apply(shard, Command::Kept { safe }, |_| {});
            }
        }
    }

    fn deliver(&mut self) {
        let count = self.node.letters.len() as u64;
        if count == 0 {
            return;
        }
        let letter = self.node.letters.remove(self.rng.below(count) as usize);
        self.deliver_one(letter);
    }

    fn deliver_one(&mut self, letter: Letter) {
        self.node.changes.clear();
        self.model.turn = Some(match &letter {
            Letter::Mail { to, .. } | Letter::Copy { to, .. } => *to,
            Letter::Load { id, .. } => self.node.topology.owner(id.partition),
        });
        let copy = self.arriving(&letter);
        self.node.deliver(letter);
        let Some((queue, message)) = copy else { return self.take_in(|_| {}) };
        let mut result = None;
        self.follow(|model| result = Some(model.take_in(queue.as_str(), &message)));
        self.copied(&queue, message.id, result.expect("it was taken in"));
        self.answers();
    }

    /// Nothing is late any more.
    fn quiesce(&mut self) {
        loop {
            for partition in self.node.disk.partitions() {
                self.node.disk.flush(partition, self.node.disk.pending(partition));
            }
            self.release();
            if !self.node.letters.is_empty() {
                let letter = self.node.letters.remove(0);
                self.deliver_one(letter);
            } else if self.node.is_durable() {
                break;
            }
        }
        self.answers();
        assert!(self.publishers.is_quiet(), "a publisher is never told");
        let open = self.model.expected.keys().next();
        assert!(open.is_none(), "no answer to {open:?}: {:?}", self.model.expected);
    }

    fn crash(&mut self) {
        let mut lost = 0;
        for partition in self.node.disk.partitions() {
            let pending = self.node.disk.pending(partition) as u64;
            let count = if self.rng.chance(30) { pending } else { self.rng.below(pending + 1) };
            self.node.disk.flush(partition, count as usize);
            lost += pending - count;
        }
        if lost > 0 {
            self.model.met("crash with records lost");
        }
        if !self.model.moving.is_empty() {
            self.model.met("crash with moves");
        }
        if self.publishers.crash() {
            self.model.met("crash with a publisher not told");
        }
        let wall = self.node.wall();
        let start = match self.rng.below(10) {
            0 => wall - self.rng.below(3_600_000),
            1 => wall + self.rng.below(3_600_000),
            _ => wall + self.rng.below(20_000),
        };
        let met = std::mem::take(&mut self.model.met);
        let holds = self.model.holds;
        self.node.disk.crash();
        self.model = Model::recall(&self.node.disk, self.node.topology, start);
        (self.model.met, self.model.holds) = (met, holds);
        self.ledger.check(&self.model);
        self.asks.clear();
        self.waiting.clear();
        self.numbers.clear();
        self.known.iter_mut().for_each(|known| known.is_of_this_life = false);
        self.node.changes.clear();
        self.node.crash(start);
        self.take_in(|_| {});
        for (name, _) in QUEUES {
            self.look_at(name);
        }
    }

    // What they are told.

    fn answers(&mut self) {
        self.told_publishers();
        for (token, answer) in std::mem::take(&mut self.node.answers) {
            let expected = self.model.expected.remove(&token);
            let expected = expected.unwrap_or_else(|| panic!("{token:?} is told {answer:?} for no reason"));
            let ask = self.asks.remove(&token);
            self.waiting.remove(&token);
            match (expected, answer) {
                (Expected::Any, answer) => {
                    if let (Some(Ask::End(bodies)), Answer::Done) = (ask, answer) {
                        bodies.into_iter().for_each(|body| self.ledger.gone(body));
                    }
                }
                (Expected::Refused(why), Answer::Refused(told)) => {
                    assert_eq!(why, told);
                    if why == hub::queue::QueueRefusal::AttemptOver {
                        self.model.met("attempt over");
                    }
                }
                (Expected::Sent(expected), Answer::Sent(told)) => self.told_sent(expected, &told),
                (Expected::Received(expected), Answer::Received(told)) => {
                    let Some(Ask::Receive(name)) = ask else { panic!("no receive") };
                    self.told_received(&name, &expected, &told);
                }
                (Expected::Settled(expected), Answer::Settled(told)) => self.told_settled(&expected, &told),
                (Expected::Counts(visible, in_flight, delayed), Answer::View(view)) => {
                    let told = (view.counts.visible, view.counts.in_flight, view.counts.delayed);
                    assert_eq!((visible, in_flight, delayed), told, "counts of {:?}", view.name);
                }
                (Expected::Peeked(expected), Answer::Peeked(page)) => {
                    let told = page.items.iter().map(|one| (one.offset, one.stage, one.receives));
                    assert_eq!(expected, told.collect::<Vec<_>>());
                }
                (expected, answer) => panic!("{token:?}: {expected:?}, but {answer:?}"),
            }
        }
    }

    fn told_sent(
        &mut self,
        expected: Vec<(u64, Result<hub::queue::Taken, hub::queue::QueueRefusal>)>,
        told: &[Result<hub::queue::Taken, hub::queue::QueueRefusal>],
    ) {
        assert_eq!(expected.iter().map(|(_, result)| *result).collect::<Vec<_>>(), told);
        for (body, result) in expected {
            if result.is_ok_and(|taken| !taken.duplicate) {
                self.ledger.acknowledged(body);
            }
        }
    }

    fn told_received(&mut self, name: &str, expected: &[(u64, u32, u64)], told: &[Delivery]) {
        if expected.is_empty() {
            self.model.met("time-out");
        }
        let what: Vec<_> = told.iter().map(|one| (one.receipt.offset, one.receives)).collect();
        assert_eq!(
            expected.iter().map(|(offset, receives, _)| (*offset, *receives)).collect::<Vec<_>>(),
            what
        );
        for ((_, _, hold), delivery) in expected.iter().zip(told) {
            let Receipt { partition, incarnation, offset, number } = delivery.receipt;
            let place = Place { partition, number: offset };
            assert!(self.node.disk.is_written(place), "a message is given before it is durable");
            let before = self.numbers.insert((partition, incarnation, number), *hold);
            assert!(before.is_none_or(|before| before == *hold), "two receives of one number");
            let known = Known {
                queue: name.to_owned(),
                receipt: delivery.receipt,
                hold: *hold,
                is_of_this_life: true,
            };
            self.known.push(known);
        }
    }

    fn told_settled(
        &mut self,
        expected: &[(Result<(), hub::queue::QueueRefusal>, Option<u64>)],
        told: &[Result<(), hub::queue::QueueRefusal>],
    ) {
        use hub::queue::QueueRefusal as Why;
        assert_eq!(expected.iter().map(|(result, _)| *result).collect::<Vec<_>>(), told);
        for (result, body) in expected {
            body.iter().for_each(|body| self.ledger.gone(*body));
            match result {
                Ok(()) => {}
                Err(Why::BadReceipt) => self.model.met("bad receipt"),
                Err(Why::Gone) => self.model.met("message gone"),
                Err(Why::NotInFlight) => self.model.met("not in flight"),
                Err(Why::ReceiptOver) => self.model.met("receipt over"),
                Err(Why::VisibilityTooLong) => self.model.met("visibility too long"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    /// Everybody leaves: in the end there are queues and nothing else.
    fn end(&mut self) {
        for token in self.waiting.clone() {
            if let Some(Ask::Receive(name)) = self.asks.get(&token) {
                let name = name.clone();
                self.tell(&name, QueueCommand::Cancel { token }, |model| {
                    if let Some(queue) = model.queues.get_mut(&name) {
                        queue.waiters.retain(|(receive, _)| receive.token != token);
                    }
                });
            }
        }
        self.quiesce();
        for (name, _) in QUEUES {
            self.look_at(name);
        }
        // Longer than any message lives, a few times over, since tasks may still move some and give them a new life.
        for _ in 0..8 {
            self.pass_ms(7_500_000);
            self.quiesce();
        }
        let queues = self.model.queues.len();
        let left: Vec<_> = self.node.disk.live().collect();
        let is_kept = |record: &hub::queue::Record| {
            matches!(record, hub::queue::Record::Queue(_) | hub::queue::Record::Task(_))
        };
        assert!(left.iter().all(|(_, record)| is_kept(record)), "records are left: {left:?}");
        let kept = left.iter().filter(|(_, record)| matches!(record, hub::queue::Record::Queue(_)));
        assert_eq!(kept.count(), queues);
        assert!(self.model.moving.is_empty());
    }
}
