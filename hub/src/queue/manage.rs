//! The life of queues: created, configured, purged, deleted, listed. Decides about names and settings; what that does to
//! messages is `stock`'s business.
//!
//! A queue is one record, written anew with every change; what stands in the newest one counts. A purge raises the record's
//! floor, a deletion removes it: messages below the floor, or without a queue, are void and cleared away later.

use super::answer::{Answer, Peeked, QueueFlow, QueueRefusal, QueueView};
use super::attempts::Attempts;
use super::desk::Queue;
use super::ids::{QueueName, Wall};
use super::leaving::Gate;
use super::mail::{Check, Pending, Purpose, QueueMail};
use super::marks::Marks;
use super::record::{MoveRefusal, QueueRecord};
use super::rubbish::Heap;
use super::settings::{Kind, Settings};
use super::stock::Stock;
use super::tasks::Tasks;
use super::waiters::QueueKey;
use super::{Queues, limits::QueueLimits};
use crate::effect::Page;
use crate::ids::{Partition, ShardId, Token};
use std::ops::Bound;
use std::sync::Arc;

impl From<MoveRefusal> for QueueRefusal {
    fn from(why: MoveRefusal) -> Self {
        match why {
            MoveRefusal::NoTarget | MoveRefusal::NoSource => Self::NoTarget,
            MoveRefusal::WrongKind => Self::WrongTarget,
            MoveRefusal::NotAllowed => Self::TargetNotAllowed,
            MoveRefusal::OverLimit => Self::OverLimit,
        }
    }
}

impl Queues {
    pub(super) fn create(&mut self, queue: QueueName, settings: Arc<Settings>, token: Token) {
        if let Err(refusal) = self.may_create(&queue, &settings) {
            return self.desk.refuse(token, refusal);
        }
        let exists = self.names.contains_key(&queue);
        match settings.dead_letters.as_ref().filter(|_| !exists).map(|dead| dead.target.clone()) {
            Some(target) => {
                let kind = settings.kind;
                let pending = Pending::Create { queue: queue.clone(), settings, token };
                self.ask_target(Check { target, source: queue, kind, pending });
            }
            None => self.create_now(queue, settings, token),
        }
    }

    fn may_create(&mut self, queue: &QueueName, settings: &Settings) -> Result<(), QueueRefusal> {
        let limits = &self.config.limits;
        if self.names.contains_key(queue) {
            return Ok(());
        }
        let length = queue.as_str().len();
        if length == 0 || length > limits.name_bytes_max as usize || !settings.fit(limits) {
            return Err(QueueRefusal::BadSettings);
        }
        if self.deleted.get(queue).is_some_and(|until| *until > self.desk.now) {
            return Err(QueueRefusal::JustDeleted);
        }
        if self.all.len() >= limits.queues_max as usize {
            return Err(QueueRefusal::OverLimit);
        }
        Ok(())
    }

    fn create_now(&mut self, name: QueueName, settings: Arc<Settings>, token: Token) {
        if let Some(key) = self.names.get(&name).copied() {
            self.advance(key);
            let Some(view) = self.view(key) else { return };
            let gate = Gate::All;
            return self.desk.answer(token, Answer::Exists(Box::new(view)), gate);
        }
        if let Err(refusal) = self.may_create(&name, &settings) {
            return self.desk.refuse(token, refusal);
        }
        let partition = name.partition(&self.topology);
        let now = self.desk.now;
        let record = QueueRecord { name, incarnation: 0, settings, created: now, modified: now, floor: 0 };
        let mut queue = self.new_queue(partition, record, 0);
        let offset = self.desk.keep(partition, queue.record());
        (queue.incarnation, queue.revision) = (offset, offset);
        let key = self.add_queue(queue);
        if let Some(view) = self.view(key) {
            self.desk.answer(token, Answer::Created(Box::new(view)), Gate::All);
        }
    }

    /// A queue of that record, without messages.
    pub(super) fn new_queue(&self, partition: Partition, record: QueueRecord, revision: u64) -> Queue {
        Queue {
            name: record.name,
            partition,
            incarnation: record.incarnation,
            revision,
            stock: Stock::new(record.settings.kind, self.seed),
            settings: record.settings,
            created: record.created,
            modified: record.modified,
            floor: record.floor,
            flow: QueueFlow::default(),
            marks: Marks::new(self.seed),
            attempts: Attempts::default(),
            redrive_after: Wall(0),
            purged: None,
            tasks: Tasks::default(),
            armed: None,
        }
    }

    pub(super) fn add_queue(&mut self, queue: Queue) -> QueueKey {
        let key = QueueKey::try_from(self.all.vacant_key()).expect("fewer queues than 2^32");
        self.names.insert(queue.name.clone(), key);
        if let Some(dead) = &queue.settings.dead_letters {
            self.sources.insert((dead.target.clone(), queue.name.clone()));
        }
        self.all.insert(queue);
        key
    }

    pub(super) fn configure_queue(
        &mut self,
        name: QueueName,
        settings: Arc<Settings>,
        revision: Option<u64>,
        token: Token,
    ) {
        let Some(key) = self.enter(&name, token) else { return };
        let limits = &self.config.limits;
        let Some(queue) = self.all.get(key as usize) else { return };
        if let Err(refusal) = may_configure(queue, &settings, revision, limits) {
            self.desk.refuse(token, refusal);
            return self.leave(key);
        }
        let is_new = settings.dead_letters != queue.settings.dead_letters;
        match settings.dead_letters.as_ref().filter(|_| is_new).map(|dead| dead.target.clone()) {
            Some(target) => {
                let kind = settings.kind;
                let pending = Pending::Configure { queue: name.clone(), settings, revision, token };
                self.ask_target(Check { target, source: name, kind, pending });
            }
            None => self.configure_now(key, settings, token),
        }
        self.leave(key);
    }

    fn configure_now(&mut self, key: QueueKey, settings: Arc<Settings>, token: Token) {
        let Some(queue) = self.all.get_mut(key as usize) else { return };
        let (before, now) = (std::mem::replace(&mut queue.settings, Arc::clone(&settings)), self.desk.now);
        queue.modified = now;
        queue.redrive_after = Wall(0);
        queue.rewrite(&mut self.desk);
        if settings.is_fifo() && settings.delay_ms != before.delay_ms {
            queue.stock.set_delay(settings.delay_ms, now);
        }
        if let Some(dead) = &before.dead_letters {
            self.sources.remove(&(dead.target.clone(), queue.name.clone()));
        }
        if let Some(dead) = &settings.dead_letters {
            self.sources.insert((dead.target.clone(), queue.name.clone()));
        }
        self.advance(key);
        if let Some(view) = self.view(key) {
            let gate = Gate::All;
            self.desk.answer(token, Answer::Configured(Box::new(view)), gate);
        }
    }

    fn ask_target(&mut self, check: Check) {
        let to = check.target.home(&self.topology);
        self.desk.mail(to, QueueMail::CheckTarget(Box::new(check)), Gate::Open);
    }

    /// For another hub.
    pub(super) fn check_target(&mut self, from: ShardId, check: Check) {
        let Check { target, source, kind, pending } = check;
        let purpose = match pending {
            Pending::Task(_) => Purpose::Task,
            Pending::Create { .. } | Pending::Configure { .. } => Purpose::DeadLetter,
        };
        let verdict = self.check((&target, &source), kind, purpose);
        self.desk.mail(from, QueueMail::Checked { pending, verdict }, Gate::Open);
    }

    /// Whether messages of `source` may come to `target`, which is at home here.
    pub(super) fn check(
        &self,
        (target, source): (&QueueName, &QueueName),
        kind: Kind,
        purpose: Purpose,
    ) -> Result<(), MoveRefusal> {
        let queue = self.names.get(target).and_then(|key| self.all.get(*key as usize));
        let queue = queue.ok_or(MoveRefusal::NoTarget)?;
        if queue.settings.kind != kind || target == source {
            return Err(MoveRefusal::WrongKind);
        }
        if purpose == Purpose::DeadLetter && !queue.settings.allows(source) {
            return Err(MoveRefusal::NotAllowed);
        }
        Ok(())
    }

    /// A question of this hub was answered.
    pub(super) fn checked(&mut self, pending: Pending, verdict: Result<(), MoveRefusal>) {
        let token = match &pending {
            Pending::Create { token, .. } | Pending::Configure { token, .. } => *token,
            Pending::Task(task) => task.token,
        };
        if let Err(why) = verdict {
            return self.desk.refuse(token, why.into());
        }
        match pending {
            Pending::Create { queue, settings, token } => self.create_now(queue, settings, token),
            Pending::Configure { queue, settings, revision, token } => {
                let Some(key) = self.enter(&queue, token) else { return };
                let Some(queue) = self.all.get(key as usize) else { return };
                match may_configure(queue, &settings, revision, &self.config.limits) {
                    Ok(()) => self.configure_now(key, settings, token),
                    Err(refusal) => self.desk.refuse(token, refusal),
                }
                self.leave(key);
            }
            Pending::Task(task) => self.start_task_now(&task),
        }
    }

    pub(super) fn delete(&mut self, name: &QueueName, token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let queue = self.all.remove(key as usize);
        self.names.remove(name);
        queue.armed.into_iter().for_each(|at| _ = self.timers.remove(&(at, key)));
        if let Some(dead) = &queue.settings.dead_letters {
            self.sources.remove(&(dead.target.clone(), name.clone()));
        }
        self.desk.remove(queue.partition, queue.revision);
        let gate = Gate::All;
        let partition = queue.partition;
        queue.tasks.records().for_each(|record| self.rubbish.drop_record(partition, record));
        while let Some(receive) = self.waiters.pop_first(key) {
            self.desk.answer(receive.token, Answer::Refused(QueueRefusal::NotFound), gate);
        }
        let (stock, marks) = (queue.stock, queue.marks);
        self.rubbish.drop_heap(Heap { partition, stock, marks, places: Vec::new() });
        self.note_deleted(name);
        self.desk.answer(token, Answer::Done, gate);
    }

    fn note_deleted(&mut self, name: &QueueName) {
        let now = self.desk.now;
        if self.config.pause_ms == 0 {
            return;
        }
        self.deleted.retain(|_, until| *until > now);
        if self.deleted.len() < self.config.limits.queues_max as usize {
            self.deleted.insert(name.clone(), now.plus(self.config.pause_ms));
        }
    }

    pub(super) fn purge(&mut self, name: &QueueName, token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let (pause_ms, seed) = (self.config.pause_ms, self.seed);
        let Some((queue, desk)) = self.parts(key) else { return };
        let now = desk.now;
        if queue.purged.is_some_and(|at| at.plus(pause_ms) > now) {
            desk.refuse(token, QueueRefusal::JustPurged);
            return self.leave(key);
        }
        queue.purged = Some(now);
        queue.floor = desk.journal.last(queue.partition) + 1;
        queue.rewrite(desk);
        let kind = queue.settings.kind;
        let stock = std::mem::replace(&mut queue.stock, Stock::new(kind, seed));
        let marks = std::mem::replace(&mut queue.marks, Marks::new(seed));
        queue.attempts = Attempts::default();
        let (partition, gate) = (queue.partition, Gate::All);
        desk.answer(token, Answer::Done, gate);
        self.rubbish.drop_heap(Heap { partition, stock, marks, places: Vec::new() });
        self.leave(key);
    }

    pub(super) fn describe(&mut self, name: &QueueName, token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        if let Some(view) = self.view(key) {
            self.desk.answer(token, Answer::View(Box::new(view)), Gate::Open);
        }
        self.leave(key);
    }

    fn view(&self, key: QueueKey) -> Option<QueueView> {
        Some(self.all.get(key as usize)?.view(self.waiters.count(key)))
    }

    pub(super) fn list(&mut self, prefix: &str, after: Option<&QueueName>, limit: u32, token: Token) {
        let limit = limit.min(self.config.limits.page_max) as usize;
        let first = QueueName::new(prefix);
        let from = match after {
            Some(after) if *after >= first => Bound::Excluded(after),
            Some(_) | None => Bound::Included(&first),
        };
        let names = self.names.range((from, Bound::Unbounded));
        let mut names = names.take_while(|(name, _)| name.as_str().starts_with(prefix));
        let items = names.by_ref().take(limit).filter_map(|(_, key)| self.view(*key)).collect();
        let page = Page { items, more: names.next().is_some() };
        self.desk.answer(token, Answer::Page(page), Gate::Open);
    }

    pub(super) fn list_sources(
        &mut self,
        target: &QueueName,
        after: Option<&QueueName>,
        limit: u32,
        token: Token,
    ) {
        let limit = limit.min(self.config.limits.page_max) as usize;
        let first = QueueName::new("");
        let from = (target.clone(), after.unwrap_or(&first).clone());
        let all = self.sources.range((Bound::Excluded(from), Bound::Unbounded));
        let mut all = all.take_while(|(of, _)| of == target);
        let items = all.by_ref().take(limit).map(|(_, source)| source.clone()).collect();
        let page = Page { items, more: all.next().is_some() };
        self.desk.answer(token, Answer::Names(page), Gate::Open);
    }

    pub(super) fn peek(&mut self, name: &QueueName, after: u64, limit: u32, token: Token) {
        let limit = limit.min(self.config.limits.page_max) as usize;
        let Some(key) = self.enter(name, token) else { return };
        if let Some((queue, desk)) = self.parts(key) {
            let page = queue.peek(after, limit);
            desk.answer(token, Answer::Peeked(page), Gate::All);
        }
        self.leave(key);
    }
}

impl Queue {
    fn peek(&self, after: u64, limit: usize) -> Page<Peeked> {
        let mut all = self.stock.iter_after(after);
        let items = all.by_ref().take(limit).map(|entry| Peeked {
            offset: entry.offset,
            sent: entry.sent,
            stage: entry.stage,
            receives: self.stock.tracked(entry.offset).map_or(0, |tracked| tracked.receives),
        });
        Page { items: items.collect(), more: all.next().is_some() }
    }
}

fn may_configure(
    queue: &Queue,
    settings: &Settings,
    revision: Option<u64>,
    limits: &QueueLimits,
) -> Result<(), QueueRefusal> {
    if revision.is_some_and(|revision| revision != queue.revision) {
        return Err(QueueRefusal::Conflict);
    }
    if settings.kind != queue.settings.kind || !settings.fit(limits) {
        return Err(QueueRefusal::BadSettings);
    }
    Ok(())
}
