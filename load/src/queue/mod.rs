//! `queue`: how fast a server that speaks SQS takes messages, gives them and forgets them, and how soon a receive that waits
//! hears of one.
//!
//! Owns the order of the stages and what is counted. Every connection has one request on its way, so a latency here is that of
//! a request under this load, and rates are what the server answers. Messages are numbered: one that comes twice, or after a
//! later one of its group, is found. Start at [`Queue::run`].

mod ledger;
mod line;
mod stage;
mod wakeup;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::console::Console;
use crate::error::Error;
use crate::process::{Pids, cores};
use crate::report::{Historic, Report};
use crate::sqs::{Connection, Endpoint, stored_in, stored_query};
use ledger::{BODY_BYTES_MIN, Counts, GROUPS_MAX, Ledger, MESSAGES_MAX};
use line::{Plan, Work};
use stage::{Manner, Outcome};

/// What was published of ElasticMQ, and measured of others by the same kind of client on two cores.
const HISTORIC: [Historic<&str>; 4] = [
    Historic {
        who: "ElasticMQ 0.7.0, README",
        date: "2013",
        machine: "2012 MacBook Pro 2.6 GHz",
        figures: "REST, 20 and 40 threads: 2,541 and 2,600 messages/s",
        measures: "a message is a send, a receive and a delete; in memory",
    },
    Historic {
        who: "ElasticMQ 0.6.3, README",
        date: "2013",
        machine: "2009 MacBook Pro 2.4 GHz",
        figures: "REST with a file log, 20 threads: 676 messages/s",
        measures: "a message is a send, a receive and a delete",
    },
    Historic {
        who: "LocalStack 2026.3, measured by us",
        date: "2026",
        machine: "2 shared cores, 16 connections, 100 bytes",
        figures: "sends 584 to 861/s, batches 2,900 to 6,500 messages/s, cycles 306 to 413/s, by batch 2,270 to 3,420/s",
        measures: "single runs, in memory",
    },
    Historic {
        who: "lclq 0.2.2, measured by us",
        date: "2026",
        machine: "2 shared cores, 16 connections, 100 bytes",
        figures: "SQLite: sends 1,490/s, batches 1,500 messages/s, cycles 112/s, by batch 530/s",
        measures: "single runs",
    },
];

/// Entries of a batch, as many as there may be.
const BATCH: u32 = 10;

/// How long the answer to what is not measured may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// Connections, each with one request on its way.
    pub connections: u32,
    /// Event loops; 0 = one, which is enough for some ten thousand requests a second.
    pub threads: usize,
    /// What is sent.
    pub cargo: Cargo,
    /// What is measured, in this order.
    pub stages: Vec<Stage>,
    /// How long nothing may go on before a run is given up.
    pub patience: Duration,
    /// The measured processes.
    pub server: Pids,
}

/// The messages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cargo {
    /// Of each stage, but for that of waking.
    pub messages: u64,
    /// Stored beforehand, and left in the end.
    pub backlog: u64,
    /// Of waking.
    pub wakeups: u32,
    /// Characters of a body.
    pub body_bytes: usize,
    /// Of a FIFO queue; 0 = a standard queue.
    pub groups: u32,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One message in a request.
    Send,
    /// Ten messages in a request.
    SendBatch,
    /// Receive one, delete it.
    Cycle,
    /// Receive up to ten, delete them with one request.
    CycleBatch,
    /// A receive that waits gets a message.
    Wakeup,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Send, Self::SendBatch, Self::Cycle, Self::CycleBatch, Self::Wakeup];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendBatch => "send-batch",
            Self::Cycle => "cycle",
            Self::CycleBatch => "cycle-batch",
            Self::Wakeup => "wakeup",
        }
    }

    /// Messages that it adds or takes away, of so many.
    fn change(self, messages: u64) -> i128 {
        match self {
            Self::Send | Self::SendBatch => i128::from(messages),
            Self::Cycle | Self::CycleBatch => -i128::from(messages),
            Self::Wakeup => 0,
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("known are {names}")
        })
    }
}

impl Queue {
    /// Creates a queue, runs the stages on it, and deletes it.
    ///
    /// # Errors
    /// [`Error`] if arguments contradict each other, the server refuses the queue, a connection breaks or nothing goes on.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.server.check()?;
        let planned = self.check()?;
        let Cargo { body_bytes, groups, .. } = self.cargo;
        let run = name();
        let ledger = Ledger::new(run.clone(), planned, body_bytes, (self.connections, groups));
        let mut control = Connection::open(&self.endpoint)?;
        let queue_url = self.create(&mut control, &run)?;
        let mut report = self.report();
        let stages = Stages { queue: self, ledger: &ledger, queue_url: &queue_url, console };
        let ran = stages.run(&mut control, &mut report);
        let deleted = control.call("DeleteQueue", &json!({ "QueueUrl": queue_url }), ANSWER_WITHIN);
        ran.and(deleted.map(drop))?;
        judge(ledger.counts(), groups, &mut report);
        report.historic(&HISTORIC);
        Ok(report)
    }

    /// How many messages the run has.
    fn check(&self) -> Result<u64, Error> {
        let Cargo { messages, backlog, body_bytes, groups, .. } = self.cargo;
        let sends = self.stages.iter().filter(|stage| stage.change(1) > 0).count() as u64;
        let planned = messages.checked_mul(sends).and_then(|sent| sent.checked_add(backlog));
        let planned = planned.filter(|planned| *planned <= MESSAGES_MAX);
        let planned =
            planned.ok_or_else(|| Error::new(format!("a run has at most {MESSAGES_MAX} messages")))?;
        if self.endpoint.target.is_mqtt() {
            return Err(Error::new("queues are used over HTTP: --endpoint http://HOST:PORT"));
        }
        if self.connections == 0 || messages == 0 || self.stages.is_empty() {
            return Err(Error::new("at least one connection, one message and one stage are needed"));
        }
        if body_bytes < BODY_BYTES_MIN {
            return Err(Error::new(format!(
                "a body has at least {BODY_BYTES_MIN} characters, for its number"
            )));
        }
        if groups > GROUPS_MAX || groups > 0 && groups < self.connections {
            let connections = self.connections;
            return Err(Error::new(format!(
                "groups are at least as many as connections, {connections}, and at most {GROUPS_MAX}: each is sent over one \
                 connection, so that it has an order"
            )));
        }
        let mut stored = i128::from(backlog);
        for stage in &self.stages {
            stored += stage.change(messages);
            if stored < 0 {
                let name = stage.name();
                return Err(Error::new(format!("{name} would need more messages than are sent before it")));
            }
        }
        Ok(planned)
    }

    fn create(&self, control: &mut Connection, name: &str) -> Result<String, Error> {
        let (name, attributes) = match self.cargo.groups {
            0 => (name.to_owned(), json!({ "VisibilityTimeout": "600" })),
            _ => (format!("{name}.fifo"), json!({ "VisibilityTimeout": "600", "FifoQueue": "true" })),
        };
        let input = json!({ "QueueName": name, "Attributes": attributes });
        let answer = control.call("CreateQueue", &input, ANSWER_WITHIN)?;
        let url = answer.get("QueueUrl").and_then(Value::as_str);
        url.map(str::to_owned).ok_or_else(|| Error::new("CreateQueue was answered without a QueueUrl"))
    }

    fn report(&self) -> Report {
        let Cargo { messages, backlog, wakeups, body_bytes, groups } = self.cargo;
        let mut report = Report::new("queue");
        report.setting("endpoint", self.endpoint.target.host.as_str());
        report.setting("connections", self.connections);
        report.setting("threads", self.threads.clamp(1, cores().max(1)));
        report.setting("messages", messages);
        report.setting("backlog", backlog);
        report.setting("wakeups", wakeups);
        report.setting("body_bytes", body_bytes);
        if groups > 0 {
            report.setting("groups", groups / self.connections * self.connections);
        }
        let stages: Vec<_> = self.stages.iter().map(|stage| stage.name()).collect();
        report.setting("stages", stages.join(","));
        report
    }
}

/// The stages of a run, one after the other.
struct Stages<'a> {
    queue: &'a Queue,
    ledger: &'a Ledger,
    queue_url: &'a str,
    console: Console,
}

impl Stages<'_> {
    fn run(&self, control: &mut Connection, report: &mut Report) -> Result<(), Error> {
        let Cargo { messages, backlog, .. } = self.queue.cargo;
        let (mut next, mut stored) = (0, i128::from(backlog));
        if backlog > 0 {
            let plan = self.plan((Work::Send, BATCH), next, backlog);
            self.stage(("fill", "filling"), &plan, report)?;
            next += backlog;
        }
        for stage in &self.queue.stages {
            let (name, label, work, batch) = match stage {
                Stage::Send => ("send", "sending", Work::Send, 1),
                Stage::SendBatch => ("send_batch", "sending", Work::Send, BATCH),
                Stage::Cycle => ("cycle", "receiving", Work::Cycle, 1),
                Stage::CycleBatch => ("cycle_batch", "receiving", Work::Cycle, BATCH),
                Stage::Wakeup => {
                    self.wake(control, report)?;
                    continue;
                }
            };
            self.stage((name, label), &self.plan((work, batch), next, messages), report)?;
            stored += stage.change(messages);
            next += if work == Work::Send { messages } else { 0 };
        }
        self.count_left(control, stored, report)
    }

    fn plan(&self, (work, batch): (Work, u32), first: u64, count: u64) -> Plan<'_> {
        Plan {
            endpoint: &self.queue.endpoint,
            queue_url: self.queue_url,
            work,
            batch,
            first,
            count,
            connections: self.queue.connections,
            ledger: self.ledger,
            left: AtomicU64::new(count),
            done: AtomicU64::new(0),
        }
    }

    fn stage(
        &self,
        (name, label): (&str, &'static str),
        plan: &Plan<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Queue { threads, patience, server, .. } = self.queue;
        let threads = (*threads).clamp(1, cores().max(1));
        let used = server.usage()?;
        let manner = Manner { threads, patience: *patience, console: self.console, label };
        let outcome = stage::run(plan, manner)?;
        let cpu_ns = server.usage()?.since(&used).cpu_ns;
        tell((name, plan), &outcome, report);
        if !server.is_empty() {
            report.number(&format!("{name}_cpu_us_per_message"), cpu_ns as f64 / 1e3 / plan.count as f64);
            report.count(&format!("{name}_rss_after_bytes"), server.rss()?);
        }
        Ok(())
    }

    /// On a queue of its own, which has nothing else.
    fn wake(&self, control: &mut Connection, report: &mut Report) -> Result<(), Error> {
        let (queue, run) = (self.queue, name());
        let Cargo { wakeups: count, body_bytes, groups, .. } = queue.cargo;
        let queue_url = queue.create(control, &run)?;
        let ledger = Ledger::new(run, 0, body_bytes, (1, groups.min(1)));
        let (endpoint, queue_url, ledger) = (&queue.endpoint, queue_url.as_str(), &ledger);
        let plan = wakeup::Plan { endpoint, queue_url, ledger, count };
        let wakeups = wakeup::run(&plan, self.console);
        control.call("DeleteQueue", &json!({ "QueueUrl": queue_url }), ANSWER_WITHIN)?;
        let wakeups = wakeups?;
        report.latencies("wakeup", &wakeups.whole);
        report.latencies("wakeup_commit", &wakeups.commit);
        report.latencies("wakeup_above_commit", &wakeups.above);
        Ok(())
    }

    fn count_left(&self, control: &mut Connection, stored: i128, report: &mut Report) -> Result<(), Error> {
        let answer = control.call("GetQueueAttributes", &stored_query(self.queue_url), ANSWER_WITHIN)?;
        let counted = i128::from(stored_in(&answer));
        report.count("left_messages", u64::try_from(counted).unwrap_or(0));
        if counted != stored {
            report.failure(format!(
                "the server counts {counted} messages in the end where {stored} should be left"
            ));
        }
        Ok(())
    }
}

/// The figures of a stage.
fn tell((name, plan): (&str, &Plan<'_>), outcome: &Outcome, report: &mut Report) {
    let Outcome { elapsed, done, measured } = outcome;
    let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    report.number(&format!("{name}_messages_per_second"), *done as f64 / seconds);
    report.number(&format!("{name}_requests_per_second"), measured.requests as f64 / seconds);
    report.number(&format!("{name}_seconds"), seconds);
    match plan.work {
        Work::Send => report.latencies(&format!("{name}_request"), &measured.sends),
        Work::Cycle => {
            report.latencies(&format!("{name}_receive"), &measured.receives);
            report.latencies(&format!("{name}_delete"), &measured.deletes);
            report.count(&format!("{name}_empty_receives"), measured.empty);
        }
    }
    if let Some(failure) = &measured.failure {
        report.failure(format!("{name}: {} failures, the first one: {failure}", measured.failures));
    }
    if *done != plan.count {
        report.failure(format!("{name}: {done} of {} messages are done", plan.count));
    }
}

fn judge(counts: &Counts, groups: u32, report: &mut Report) {
    let (is_fifo, Counts { repeated, disorder, foreign }) = (groups > 0, counts);
    let [repeated, disorder, foreign] =
        [repeated, disorder, foreign].map(|count| count.load(Ordering::Relaxed));
    report.count("repeated", repeated);
    if is_fifo {
        report.count("out_of_order", disorder);
    }
    if is_fifo && (repeated > 0 || disorder > 0) {
        report.failure(format!(
            "{repeated} messages came twice and {disorder} after a later one of their group"
        ));
    } else if repeated > 0 {
        report.note(format!("{repeated} messages came twice, which a standard queue may do"));
    }
    if foreign > 0 {
        report.void(format!("{foreign} messages came that this run did not send"));
    }
}

/// Of a queue and of a run: nobody else has it.
fn name() -> String {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nth = NAMED.fetch_add(1, Ordering::Relaxed);
    format!("bench-{}-{}-{nth}", std::process::id(), since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqs::Access;

    fn checked(change: impl Fn(&mut Queue)) -> Result<u64, String> {
        let target = "http://127.0.0.1:1".parse().unwrap();
        let cargo = Cargo { messages: 100, backlog: 50, wakeups: 7, body_bytes: 100, groups: 0 };
        let mut queue = Queue {
            endpoint: Endpoint { target, access: Access::Open },
            connections: 16,
            threads: 1,
            cargo,
            stages: Stage::ALL.to_vec(),
            patience: Duration::from_secs(1),
            server: Pids::default(),
        };
        change(&mut queue);
        queue.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_run_is_refused_beforehand() {
        assert_eq!(checked(|_| {}), Ok(250));
        let refused = |change: &dyn Fn(&mut Queue)| checked(change).unwrap_err();
        assert!(refused(&|queue| queue.cargo.groups = 15).contains("connections, 16"));
        assert!(refused(&|queue| queue.cargo.body_bytes = 5).contains("at least 21 characters"));
        let mqtt = |queue: &mut Queue| queue.endpoint.target = "mqtt://127.0.0.1:1".parse().unwrap();
        assert!(refused(&mqtt).contains("over HTTP"));
        assert!(refused(&|queue| queue.connections = 0).contains("at least one connection"));
        assert!(refused(&|queue| queue.cargo.messages = u64::MAX).contains("at most"));
        let error = refused(&|queue| queue.stages = vec![Stage::Send, Stage::Cycle, Stage::CycleBatch]);
        assert_eq!(error, "cycle-batch would need more messages than are sent before it");
        assert_eq!(checked(|queue| queue.stages = vec![Stage::Wakeup]), Ok(50));
    }

    #[test]
    fn stages_have_names() {
        assert!(Stage::ALL.iter().all(|stage| stage.name().parse() == Ok(*stage)));
        assert!("sends".parse::<Stage>().unwrap_err().contains("send-batch"));
    }
}
