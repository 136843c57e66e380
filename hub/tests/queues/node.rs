//! A node of several shards with a disk and a clock, for tests: plays what the server does around hubs. With `auto`, all that
//! is written is durable at once and mail is delivered at once; without, a test decides when.

use crate::disk::Disk;
use bytes::Bytes;
use hub::queue::{
    Answer, Delivery, Kind, Message, MoveId, QueueCommand, QueueConfig, QueueCopy, QueueMail, QueueName,
    QueueRefusal, QueueView, Receipt, Receive, Sent, Settings, StartTask, Taken, TaskId, Waiter, Wall,
};
use hub::{
    Binding, ChannelName, Command, Config, Effect, Effects, Entry, Hub, HubMail, Limits, MessageId, Millis,
    Partition, Place, RecoveryLimits, Report, ShardId, Token, Topology,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const LIMITS: Limits = Limits {
    sessions_max: 1,
    channels_max: 1,
    subscriptions_per_session_max: 1,
    channel_name_bytes_max: 20,
    outbox_messages_max: 1,
    outbox_bytes_max: 1,
    asks_per_session_max: 1,
    asks_max: 1,
    history_bytes_max: 0,
    retained_max: 0,
    retained_bytes_max: 0,
    delayed_max: 0,
    delayed_bytes_max: 0,
    recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
};

/// The wall clock when tests begin.
pub const START: u64 = 1_700_000_000_000;

/// What is on its way between hubs and store.
#[derive(Debug)]
pub enum Letter {
    Mail {
        from: ShardId,
        to: ShardId,
        mail: Box<QueueMail>,
    },
    Load {
        id: MoveId,
        place: Place,
    },
    /// A copy that was made for a binding, on its way back to the hub that asked for it.
    Copy {
        to: ShardId,
        copy: Box<QueueCopy>,
    },
}

/// A hub wants a message copied.
#[derive(Debug)]
pub struct Wanted {
    pub by: ShardId,
    pub binding: u32,
    pub channel: ChannelName,
    pub message: MessageId,
    pub waiter: Waiter,
}

pub struct Node {
    pub hubs: Vec<Hub>,
    pub topology: Topology,
    pub config: QueueConfig,
    pub disk: Disk,
    pub auto: bool,
    /// In this life.
    pub now: u64,
    /// What leaves, in the order it may.
    pub answers: BTreeMap<Token, Answer>,
    pub letters: Vec<Letter>,
    /// For new hubs.
    pub bindings: Vec<Binding>,
    pub wanted: Vec<Wanted>,
    /// What publishers are told.
    pub reports: Vec<(Token, Report)>,
    /// What hubs have written, in order; to be cleared by who looks at it.
    pub changes: Vec<Entry>,
    lives: u64,
    tokens: u64,
    ids: u128,
}

impl Node {
    pub fn new(shards: u8) -> Self {
        Self::with(shards, QueueConfig { start: Wall(START), ..QueueConfig::default() })
    }

    pub fn with(shards: u8, config: QueueConfig) -> Self {
        let topology = Topology { shards, partitions: 8 };
        let mut node = Self {
            hubs: Vec::new(),
            topology,
            config,
            disk: Disk::default(),
            auto: true,
            now: 0,
            answers: BTreeMap::new(),
            letters: Vec::new(),
            bindings: Vec::new(),
            wanted: Vec::new(),
            reports: Vec::new(),
            changes: Vec::new(),
            lives: 0,
            tokens: 0,
            ids: 0,
        };
        node.start();
        node
    }

    /// Of the first hub.
    pub fn hub_config(&self) -> Config {
        let (shard, topology) = (ShardId(0), self.topology);
        Config { shard, topology, epoch: 1, limits: LIMITS, rules: Vec::new() }
    }

    /// New hubs on what the disk has.
    fn start(&mut self) {
        self.lives += 1;
        self.hubs.clear();
        for shard in 0..self.topology.shards {
            let (topology, epoch) = (self.topology, self.lives * 1000);
            let shard = ShardId(shard);
            let mut hub = Hub::new(Config { shard, epoch, ..self.hub_config() });
            hub.configure_queues(self.config.clone());
            hub.bind(self.bindings.clone());
            let is_ours = |partition: Partition| topology.owner(partition) == shard;
            let last: Vec<_> = self.disk.ends().into_iter().filter(|(of, _)| is_ours(*of)).collect();
            let records = self.disk.recalled().filter(|(place, _)| is_ours(place.partition)).collect();
            hub.keep_journal(&last, records);
            let (mut effects, now) = (Effects::default(), Millis(self.now));
            let empty = hub.snapshot(now);
            hub.restore(now, 0, empty, &mut effects);
            self.hubs.push(hub);
            self.take(shard, effects);
        }
        self.go_on();
    }

    /// Everything is gone but what is durable; the clock says `start` when the hubs are back.
    pub fn crash(&mut self, start: u64) {
        self.disk.crash();
        self.answers.clear();
        self.letters.clear();
        self.wanted.clear();
        self.reports.clear();
        self.config.start = Wall(start);
        self.now = 0;
        self.start();
    }

    /// A crash after all is durable, so many milliseconds long.
    pub fn restart(&mut self, after_ms: u64) {
        self.flush();
        self.crash(self.wall() + after_ms);
    }

    /// The wall clock, as the hubs have it.
    pub fn wall(&self) -> u64 {
        self.config.start.0 + self.now
    }

    fn take(&mut self, from: ShardId, effects: Effects) {
        for entry in effects.entries {
            self.changes.push(entry.clone());
            self.disk.write(from, entry);
        }
        for effect in effects.list {
            match effect {
                Effect::Report { token, report: Report::Queue(answer) } => {
                    let before = self.answers.insert(token, *answer);
                    assert!(before.is_none(), "a second answer: {before:?}");
                }
                Effect::Mail { to, mail: HubMail::Queue(mail) } => {
                    self.letters.push(Letter::Mail { from, to, mail });
                }
                Effect::Load { id, place } => self.letters.push(Letter::Load { id, place }),
                Effect::Copy { binding, channel, message, waiter } => {
                    let message = message.id;
                    self.wanted.push(Wanted { by: from, binding, channel, message, waiter });
                }
                // For figures.
                Effect::Copied(_) => {}
                Effect::Report { token, report } => self.reports.push((token, report)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Tells hubs what is durable.
    pub fn release(&mut self) {
        for shard in (0..self.topology.shards).map(ShardId) {
            if let Some(safe) = self.disk.newly_safe(shard) {
                self.apply(shard, Command::Kept { safe });
            }
        }
    }

    pub fn is_durable(&self) -> bool {
        self.disk.partitions().into_iter().all(|partition| self.disk.pending(partition) == 0)
    }

    pub fn flush(&mut self) {
        while !self.is_durable() {
            for partition in self.disk.partitions() {
                self.disk.flush(partition, self.disk.pending(partition));
            }
            self.release();
        }
    }

    /// Delivers one letter.
    pub fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Mail { from, to, mail } => {
                self.apply(to, Command::Mail { from, mail: HubMail::Queue(mail) });
            }
            Letter::Load { id, place } => {
                let record = self.disk.sent(place).map(Box::new);
                self.ids += 1;
                let message = MessageId(self.ids);
                let to = self.topology.owner(id.partition);
                self.apply(to, Command::Queue(QueueCommand::Loaded { id, record, message }));
            }
            Letter::Copy { to, copy } => self.apply(to, Command::Copy(copy)),
        }
    }

    pub fn apply(&mut self, shard: ShardId, command: Command) {
        let mut effects = Effects::default();
        self.hubs[usize::from(shard.0)].apply(Millis(self.now), command, &mut effects);
        self.take(shard, effects);
    }

    /// With `auto`, everything that can follow at this time, follows.
    fn go_on(&mut self) {
        while self.auto {
            self.flush();
            if self.letters.is_empty() {
                return;
            }
            let letter = self.letters.remove(0);
            self.deliver(letter);
        }
    }

    pub fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// When the next tick is due.
    pub fn next_deadline(&self) -> Option<u64> {
        self.hubs.iter().filter_map(|hub| hub.next_deadline()).map(|at| at.0).min()
    }

    pub fn tick(&mut self) {
        for shard in 0..self.topology.shards {
            if self.hubs[usize::from(shard)].next_deadline().is_some_and(|at| at.0 <= self.now) {
                self.apply(ShardId(shard), Command::Tick);
            }
        }
        self.go_on();
    }

    /// Time goes on, with ticks when they are due.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut ticks = 0;
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
            ticks += 1;
            assert!(ticks < 1_000_000, "the hub is due for ever");
        }
        self.now = end;
    }

    /// A command for the home of a queue.
    pub fn tell(&mut self, queue: &str, command: QueueCommand) {
        let home = QueueName::new(queue).home(&self.topology);
        self.apply(home, Command::Queue(command));
        self.go_on();
    }

    pub fn ask(&mut self, queue: &str, command: impl FnOnce(QueueName, Token) -> QueueCommand) -> Answer {
        let token = self.token();
        self.tell(queue, command(QueueName::new(queue), token));
        self.answers.remove(&token).expect("an answer")
    }
}

/// Shorthands.
impl Node {
    pub fn create(&mut self, queue: &str, settings: Settings) -> QueueView {
        let settings = Arc::new(settings);
        match self.ask(queue, |queue, token| QueueCommand::Create { queue, settings, token }) {
            Answer::Created(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    pub fn configure(&mut self, queue: &str, settings: Settings) -> Result<QueueView, QueueRefusal> {
        let settings = Arc::new(settings);
        let command = |queue, token| QueueCommand::Configure { queue, settings, revision: None, token };
        match self.ask(queue, command) {
            Answer::Configured(view) => Ok(*view),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    pub fn view(&mut self, queue: &str) -> QueueView {
        match self.ask(queue, |queue, token| QueueCommand::Describe { queue, token }) {
            Answer::View(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    /// Visible, in flight, delayed.
    pub fn counts(&mut self, queue: &str) -> (u64, u64, u64) {
        let counts = self.view(queue).counts;
        (counts.visible, counts.in_flight, counts.delayed)
    }

    pub fn send_all(&mut self, queue: &str, messages: Vec<Message>) -> Vec<Result<Taken, QueueRefusal>> {
        match self.ask(queue, |queue, token| QueueCommand::Send { queue, messages, token }) {
            Answer::Sent(all) => all,
            Answer::Refused(why) => vec![Err(why)],
            other => panic!("{other:?}"),
        }
    }

    pub fn try_send(&mut self, queue: &str, message: Message) -> Result<Taken, QueueRefusal> {
        self.send_all(queue, vec![message]).remove(0)
    }

    pub fn send(&mut self, queue: &str, message: Message) -> Taken {
        self.try_send(queue, message).expect("taken")
    }

    /// A message with an id of its own.
    pub fn message(&mut self, body: &str) -> Message {
        self.ids += 1;
        message(self.ids, body)
    }

    pub fn post(&mut self, queue: &str, body: &str) -> Taken {
        let message = self.message(body);
        self.send(queue, message)
    }

    /// Into a FIFO queue, with the body as deduplication id.
    pub fn post_to(&mut self, queue: &str, group: &str, body: &str) -> Taken {
        let message = self.message(body).of(group).known_as(body);
        self.send(queue, message)
    }

    /// Not answered while it waits.
    pub fn start_receive(&mut self, mut receive: Receive) -> Token {
        receive.token = self.token();
        let (token, queue) = (receive.token, receive.queue.clone());
        self.tell(queue.as_str(), QueueCommand::Receive(Box::new(receive)));
        token
    }

    pub fn try_receive(&mut self, receive: Receive) -> Result<Vec<Got>, QueueRefusal> {
        let token = self.start_receive(receive);
        self.received(token).expect("an answer")
    }

    /// What a receive was answered, if it was.
    pub fn received(&mut self, token: Token) -> Option<Result<Vec<Got>, QueueRefusal>> {
        match self.answers.remove(&token)? {
            Answer::Received(all) => Some(Ok(all.iter().filter_map(|message| self.got(message)).collect())),
            Answer::Refused(why) => Some(Err(why)),
            other => panic!("{other:?}"),
        }
    }

    pub fn receive(&mut self, queue: &str, max: u32) -> Vec<Got> {
        self.try_receive(Receive { max, ..receive(queue) }).expect("not refused")
    }

    /// Bodies only.
    pub fn bodies(&mut self, queue: &str, max: u32) -> Vec<String> {
        self.receive(queue, max).into_iter().map(|got| got.body).collect()
    }

    fn got(&self, message: &Delivery) -> Option<Got> {
        let (partition, number) = (message.receipt.partition, message.receipt.offset);
        let sent = self.disk.sent(Place { partition, number })?;
        let body = String::from_utf8(sent.content.to_vec()).expect("text");
        Some(Got { body, receipt: message.receipt, receives: message.receives, sent })
    }

    pub fn settle(&mut self, queue: &str, receipt: Receipt) -> Result<(), QueueRefusal> {
        let command = |queue, token| QueueCommand::Settle { queue, receipts: vec![receipt], token };
        match self.ask(queue, command) {
            Answer::Settled(mut all) => all.remove(0),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    pub fn hold(&mut self, queue: &str, receipt: Receipt, ms: u64) -> Result<(), QueueRefusal> {
        let command =
            |queue, token| QueueCommand::SetVisibility { queue, changes: vec![(receipt, ms)], token };
        match self.ask(queue, command) {
            Answer::Settled(mut all) => all.remove(0),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    pub fn purge(&mut self, queue: &str) -> Answer {
        self.ask(queue, |queue, token| QueueCommand::Purge { queue, token })
    }

    pub fn delete(&mut self, queue: &str) -> Answer {
        self.ask(queue, |queue, token| QueueCommand::Delete { queue, token })
    }

    pub fn start_task(
        &mut self,
        queue: &str,
        target: Option<&str>,
        rate: u32,
    ) -> Result<TaskId, QueueRefusal> {
        self.ids += 1;
        let task = TaskId(self.ids);
        let target = target.map(QueueName::new);
        let command =
            |queue, token| QueueCommand::StartTask(Box::new(StartTask { queue, task, target, rate, token }));
        match self.ask(queue, command) {
            Answer::TaskStarted(task) => Ok(task),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    /// How many records are left.
    pub fn records(&self) -> usize {
        self.disk.live().count()
    }
}

/// A message as a test sees it.
#[derive(Clone, Debug)]
pub struct Got {
    pub body: String,
    pub receipt: Receipt,
    pub receives: u32,
    pub sent: Sent,
}

pub fn message(id: u128, body: &str) -> Message {
    Message {
        id: MessageId(id),
        content: Bytes::copy_from_slice(body.as_bytes()),
        size_bytes: body.len() as u32,
        group: None,
        deduplication: None,
        content_hash: None,
        delay_ms: None,
    }
}

/// Words for what a message is sent with.
pub trait Sending: Sized {
    fn of(self, group: &str) -> Self;
    fn known_as(self, id: &str) -> Self;
    fn hashed(self, hash: u8) -> Self;
    fn after(self, delay_ms: u64) -> Self;
}

impl Sending for Message {
    fn of(self, group: &str) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    fn known_as(self, id: &str) -> Self {
        Self { deduplication: Some(id.into()), ..self }
    }

    fn hashed(self, hash: u8) -> Self {
        Self { content_hash: Some([hash; 32]), ..self }
    }

    fn after(self, delay_ms: u64) -> Self {
        Self { delay_ms: Some(delay_ms), ..self }
    }
}

pub fn receive(queue: &str) -> Receive {
    let queue = QueueName::new(queue);
    Receive { queue, max: 10, visibility_ms: None, wait_ms: None, attempt: None, token: Token(0) }
}

pub fn waiting(queue: &str, wait_ms: u64) -> Receive {
    Receive { wait_ms: Some(wait_ms), ..receive(queue) }
}

pub fn standard() -> Settings {
    Settings::default()
}

pub fn fifo() -> Settings {
    Settings { kind: Kind::Fifo, ..Settings::default() }
}

impl Node {
    /// A move task whose answer nobody waits for.
    pub fn start_unanswered(&mut self, queue: &str) -> Token {
        let token = self.token();
        self.ids += 1;
        let (task, name) = (TaskId(self.ids), QueueName::new(queue));
        let start = StartTask { queue: name, task, target: None, rate: 0, token };
        self.tell(queue, QueueCommand::StartTask(Box::new(start)));
        token
    }
}
