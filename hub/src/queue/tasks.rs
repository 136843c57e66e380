//! Move tasks: what a dead-letter queue has goes back to where it came from, or elsewhere, oldest first. Owns their states
//! (drawn at [`TaskStatus`]), pace and records; each single move is `moves`' business.
//!
//! A task moves what was in the queue when it started and can be received; it is over when there is no such message left.

use super::Queues;
use super::answer::{Answer, QueueRefusal};
use super::command::StartTask;
use super::desk::{Desk, Queue};
use super::ids::{QueueName, TaskId, Wall};
use super::leaving::Gate;
use super::limits::{QueueLimits, TASK_NOTE_EVERY};
use super::mail::{Check, Pending, QueueMail};
use super::record::{MoveRefusal, Record, TaskRecord, TaskStatus};
use super::waiters::QueueKey;
use crate::ids::{Partition, ShardId, Token};
use std::collections::VecDeque;

/// The tasks of one queue.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Option<Box<Task>>,
    /// Those that are over, newest first.
    over: VecDeque<Task>,
}

#[derive(Debug)]
struct Task {
    state: TaskRecord,
    /// Place of the record.
    record: u64,
    /// Messages on their way.
    open: u32,
    /// When the next message may go, in microseconds.
    next_us: u64,
    /// It waits for that.
    is_paced: bool,
}

impl Tasks {
    /// From a record.
    pub(crate) fn read(&mut self, record: u64, state: TaskRecord) {
        let task = Task { state, record, open: 0, next_us: 0, is_paced: false };
        if task.is_on() {
            self.running = Some(Box::new(task));
        } else {
            let at = self.over.partition_point(|over| over.state.started > task.state.started);
            self.over.insert(at, task);
        }
    }

    /// The task that is not over.
    pub(crate) fn running(&self) -> Option<TaskId> {
        self.running.as_ref().map(|task| task.state.task)
    }

    /// So many of its messages are on their way.
    pub(crate) fn set_open(&mut self, open: u32) {
        self.running.iter_mut().for_each(|task| task.open = open);
    }

    /// Places of all records.
    pub(crate) fn records(&self) -> impl Iterator<Item = u64> {
        self.running.iter().map(|task| task.record).chain(self.over.iter().map(|task| task.record))
    }

    /// When the pace lets the next message go.
    pub(crate) fn next_deadline(&self) -> Option<Wall> {
        let task = self.running.as_ref()?;
        (task.state.status == TaskStatus::Running && task.is_paced).then(|| Wall(task.next_us.div_ceil(1000)))
    }
}

impl Task {
    fn is_on(&self) -> bool {
        matches!(self.state.status, TaskStatus::Running | TaskStatus::Cancelling)
    }

    /// Its newest state in place of the one before.
    fn rewrite(&mut self, partition: Partition, desk: &mut Desk) {
        let before = self.record;
        self.record = desk.keep(partition, Record::Task(Box::new(self.state.clone())));
        desk.remove(partition, before);
    }

    /// A message goes now.
    fn count(&mut self, now: Wall) {
        self.open += 1;
        if self.state.rate > 0 {
            let step_us = 1_000_000 / u64::from(self.state.rate);
            self.next_us = self.next_us.max(now.0 * 1000) + step_us;
        }
    }
}

impl Queues {
    pub(super) fn start_task(&mut self, task: Box<StartTask>) {
        let Some(key) = self.enter(&task.queue, task.token) else { return };
        let is_running = self.all.get(key as usize).is_some_and(|queue| queue.tasks.running.is_some());
        if is_running {
            self.desk.refuse(task.token, QueueRefusal::TaskRunning);
        } else {
            self.find_source(self.shard, task);
        }
        self.leave(key);
    }

    /// Looks for a queue here that sends its dead letters to the one that the task is for; else the next shard does.
    pub(super) fn find_source(&mut self, home: ShardId, task: Box<StartTask>) {
        let from = (task.queue.clone(), QueueName::new(""));
        let found = self.sources.range(from..).next().is_some_and(|(target, _)| *target == task.queue);
        let next = ShardId((self.shard.0 + 1) % self.topology.shards.max(1));
        if found || next == home {
            self.desk.mail(home, QueueMail::SourceFound { task, found }, Gate::Open);
        } else {
            self.desk.mail(next, QueueMail::FindSource { home, task }, Gate::Open);
        }
    }

    pub(super) fn source_found(&mut self, task: Box<StartTask>) {
        let Some(target) = task.target.clone() else { return self.start_task_now(&task) };
        let Some(key) = self.enter(&task.queue, task.token) else { return };
        let Some(queue) = self.all.get(key as usize) else { return };
        let (source, kind, pending) = (queue.name.clone(), queue.settings.kind, Pending::Task(task));
        let to = target.home(&self.topology);
        let check = Check { target, source, kind, pending };
        self.desk.mail(to, QueueMail::CheckTarget(Box::new(check)), Gate::Open);
        self.leave(key);
    }

    pub(super) fn start_task_now(&mut self, start: &StartTask) {
        let Some(key) = self.enter(&start.queue, start.token) else { return };
        let Some((queue, desk)) = self.parts(key) else { return };
        if queue.tasks.running.is_some() {
            desk.refuse(start.token, QueueRefusal::TaskRunning);
        } else {
            let state = TaskRecord {
                queue: queue.incarnation,
                task: start.task,
                target: start.target.clone(),
                rate: start.rate,
                started: desk.now,
                upto: desk.journal.last(queue.partition) + 1,
                total: queue.stock.counts().visible,
                moved: 0,
                status: TaskStatus::Running,
            };
            let mut task = Task { state, record: 0, open: 0, next_us: 0, is_paced: false };
            task.rewrite(queue.partition, desk);
            queue.tasks.running = Some(Box::new(task));
            desk.answer(start.token, Answer::TaskStarted(start.task), Gate::All);
        }
        self.leave(key);
    }

    pub(super) fn cancel_task(&mut self, name: &QueueName, id: TaskId, token: Token) {
        let Some(key) = self.enter(name, token) else { return };
        let Some((queue, desk)) = self.parts(key) else { return };
        let (partition, gate) = (queue.partition, Gate::All);
        let task = queue.tasks.running.as_mut().filter(|task| task.state.task == id);
        match task.filter(|task| task.state.status == TaskStatus::Running) {
            Some(task) => {
                task.state.status = TaskStatus::Cancelling;
                task.rewrite(partition, desk);
                desk.answer(token, Answer::TaskCancelled { moved: task.state.moved }, gate);
            }
            None => desk.refuse(token, QueueRefusal::NoTask),
        }
        self.leave(key);
    }

    pub(super) fn list_tasks(&mut self, name: &QueueName, limit: u32, token: Token) {
        let limit = limit.min(self.config.limits.page_max) as usize;
        let Some(key) = self.enter(name, token) else { return };
        let Some((queue, desk)) = self.parts(key) else { return };
        let tasks = queue.tasks.running.as_deref().into_iter().chain(&queue.tasks.over);
        let tasks = tasks.take(limit).map(|task| task.state.clone()).collect();
        desk.answer(token, Answer::Tasks(tasks), Gate::All);
        self.leave(key);
    }

    /// Moves what may go now.
    pub(super) fn pump_task(&mut self, key: QueueKey) {
        while let Some(queue) = self.all.get_mut(key as usize) {
            let Some(offset) = queue.next_to_move(&self.config.limits, &mut self.desk) else { return };
            let Some(task) = queue.tasks.running.as_ref() else { return };
            let (target, id) = (task.state.target.clone(), task.state.task);
            if !self.start_move((key, offset), target, Some(id)) {
                return;
            }
            let now = self.desk.now;
            let queue = self.all.get_mut(key as usize);
            queue.and_then(|queue| queue.tasks.running.as_mut()).into_iter().for_each(|task| task.count(now));
        }
    }

    /// One of its messages is where it was to go.
    pub(super) fn task_moved(&mut self, key: QueueKey, id: TaskId) {
        let Some((queue, desk)) = self.parts(key) else { return };
        let Tasks { running, over } = &mut queue.tasks;
        if let Some(task) = running.as_mut().filter(|task| task.state.task == id) {
            task.open = task.open.saturating_sub(1);
            task.state.moved += 1;
            if task.state.moved % TASK_NOTE_EVERY == 0 {
                task.rewrite(queue.partition, desk);
            }
        } else if let Some(task) = over.iter_mut().find(|task| task.state.task == id) {
            task.state.moved += 1;
        }
    }

    /// One of its messages cannot go.
    pub(super) fn task_refused(&mut self, key: QueueKey, id: TaskId, why: MoveRefusal) {
        let max = self.config.limits.tasks_kept_max;
        let Some((queue, desk)) = self.parts(key) else { return };
        let task = queue.tasks.running.as_mut().filter(|task| task.state.task == id);
        let Some(task) = task else { return };
        task.open = task.open.saturating_sub(1);
        if task.state.status == TaskStatus::Running {
            queue.finish_task(TaskStatus::Failed(why), max, desk);
        }
    }
}

impl Queue {
    /// The next message of the task, if one may go now; ends the task when there is none left.
    fn next_to_move(&mut self, limits: &QueueLimits, desk: &mut Desk) -> Option<u64> {
        let task = self.tasks.running.as_mut()?;
        let oldest = self.stock.lanes.oldest().map(|(_, offset)| offset);
        let next = oldest.filter(|offset| *offset < task.state.upto);
        task.is_paced = false;
        let is_running = task.state.status == TaskStatus::Running;
        if task.open == 0 && (!is_running || next.is_none()) {
            let status = if is_running { TaskStatus::Completed } else { TaskStatus::Cancelled };
            self.finish_task(status, limits.tasks_kept_max, desk);
            return None;
        }
        let offset = next.filter(|_| is_running && task.open < limits.task_moves_max)?;
        task.is_paced = task.state.rate > 0 && task.next_us > desk.now.0 * 1000;
        let is_paced = task.is_paced;
        // One that is too old does not get a new life: it ends at the next tick, which is due.
        (!is_paced && !self.is_expired(offset, desk.now)).then_some(offset)
    }

    fn finish_task(&mut self, status: TaskStatus, kept_max: u32, desk: &mut Desk) {
        let Some(mut task) = self.tasks.running.take() else { return };
        task.state.status = status;
        task.rewrite(self.partition, desk);
        self.tasks.over.push_front(*task);
        while self.tasks.over.len() > kept_max as usize {
            let oldest = self.tasks.over.pop_back();
            oldest.into_iter().for_each(|oldest| desk.remove(self.partition, oldest.record));
        }
    }
}
