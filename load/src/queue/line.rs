//! One connection of a stage: one request on its way at a time, the next one when the answer is there.
//!
//! Owns what is asked next and how an answer is read. Must not know sockets. Start at [`Line::next`].
//!
//! ```text
//!  sends:  Sending -> Sending -> .. -> over
//!  cycles: Receiving -> Deleting -> Receiving -> .. -> over       nothing received: Receiving again
//! ```

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ledger::Ledger;
use crate::latency::{Latencies, now_ns};
use crate::sqs::{BatchAnswer, Endpoint, Received, push_text, refusal};

/// What the connections of a stage do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Send messages.
    Send,
    /// Receive messages and delete them.
    Cycle,
}

/// A stage, as all of its connections know it.
pub(super) struct Plan<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) queue_url: &'a str,
    pub(super) work: Work,
    /// Messages in one request, 1 to 10; 1 is said by the actions for one.
    pub(super) batch: u32,
    /// The number of the first message to send.
    pub(super) first: u64,
    /// Messages of the stage.
    pub(super) count: u64,
    pub(super) connections: u32,
    pub(super) ledger: &'a Ledger,
    /// Messages that nobody has asked for yet.
    pub(super) left: AtomicU64,
    /// Messages sent, or received and deleted.
    pub(super) done: AtomicU64,
}

/// What the lines of a loop measured, added up.
pub(super) struct Measured {
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// What the first failure said.
    pub(super) failure: Option<String>,
    /// Receives that got nothing.
    pub(super) empty: u64,
    pub(super) sends: Latencies,
    pub(super) receives: Latencies,
    pub(super) deletes: Latencies,
}

impl Measured {
    pub(super) fn new() -> Self {
        let (sends, receives, deletes) = (Latencies::new(), Latencies::new(), Latencies::new());
        Self { requests: 0, failures: 0, failure: None, empty: 0, sends, receives, deletes }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.empty += other.empty;
        self.failure = self.failure.take().or(other.failure);
        self.sends.add(&other.sends);
        self.receives.add(&other.receives);
        self.deletes.add(&other.deletes);
    }

    fn fail(&mut self, text: impl Into<String>) {
        self.failures += 1;
        self.failure.get_or_insert_with(|| text.into());
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// These many messages were sent.
    Sending(u64),
    /// At most these many were wanted.
    Receiving(u64),
    /// These many are to be deleted.
    Deleting(u64),
}

/// See [`self`].
pub(super) struct Line {
    index: u32,
    /// Messages sent over this line in this stage.
    sent: u64,
    asked: Option<Asked>,
    asked_ns: u64,
    /// Of what was received last.
    receipts: Vec<String>,
    body: Vec<u8>,
}

/// Seconds that a receive waits for messages which other connections hold up.
const WAIT_S: u32 = 1;

impl Line {
    pub(super) fn new(index: u32) -> Self {
        Self { index, sent: 0, asked: None, asked_ns: 0, receipts: Vec::new(), body: Vec::new() }
    }

    /// Since when an answer is awaited; `None` when it is over.
    pub(super) fn waiting_since_ns(&self) -> Option<u64> {
        self.asked.map(|_| self.asked_ns)
    }

    /// Appends the next request, if there is one.
    pub(super) fn next(&mut self, plan: &Plan<'_>, out: &mut Vec<u8>) {
        self.body.clear();
        self.asked = if self.receipts.is_empty() {
            match plan.work {
                Work::Send => self.send(plan, out),
                Work::Cycle => self.receive(plan, out),
            }
        } else {
            Some(self.delete(plan, out))
        };
        self.asked_ns = now_ns();
    }

    /// Takes the answer to the last request.
    pub(super) fn answered(
        &mut self,
        plan: &Plan<'_>,
        (status, body): (u16, &[u8]),
        measured: &mut Measured,
    ) {
        let Some(asked) = self.asked.take() else { return };
        measured.requests += 1;
        let time = Duration::from_nanos(now_ns().saturating_sub(self.asked_ns));
        if status != 200 {
            measured.fail(refusal(status, body));
            return self.give_up(plan, asked);
        }
        match asked {
            Asked::Sending(count) => {
                measured.sends.record(time);
                done(plan, count, body, measured);
            }
            Asked::Receiving(wanted) => self.received(plan, (wanted, time), body, measured),
            Asked::Deleting(count) => {
                self.receipts.clear();
                measured.deletes.record(time);
                done(plan, count, body, measured);
            }
        }
    }

    /// What was refused is not tried again, but a receive is.
    fn give_up(&mut self, plan: &Plan<'_>, asked: Asked) {
        self.receipts.clear();
        if let Asked::Receiving(wanted) = asked {
            plan.left.fetch_add(wanted, Ordering::Relaxed);
        }
    }

    fn send(&mut self, plan: &Plan<'_>, out: &mut Vec<u8>) -> Option<Asked> {
        let lines = u64::from(plan.connections);
        let own = (plan.count + lines - 1).saturating_sub(u64::from(self.index)) / lines;
        let count = (own - self.sent.min(own)).min(u64::from(plan.batch));
        if count == 0 {
            return None;
        }
        let body = &mut self.body;
        push_queue(plan, body);
        if plan.batch > 1 {
            body.extend_from_slice(b",\"Entries\":[");
        }
        for entry in 0..count {
            let nth = self.sent + entry;
            let number = plan.first + nth * lines + u64::from(self.index);
            if plan.batch > 1 {
                let comma = if entry == 0 { "" } else { "," };
                let _ = write!(body, "{comma}{{\"Id\":\"{entry}\",");
            } else {
                body.push(b',');
            }
            plan.ledger.push_message(number, (self.index, nth), body);
            if plan.batch > 1 {
                body.push(b'}');
            }
        }
        body.extend_from_slice(if plan.batch > 1 { b"]}" } else { b"}" });
        self.sent += count;
        plan.endpoint.write(if plan.batch > 1 { "SendMessageBatch" } else { "SendMessage" }, body, out);
        Some(Asked::Sending(count))
    }

    fn receive(&mut self, plan: &Plan<'_>, out: &mut Vec<u8>) -> Option<Asked> {
        let most = u64::from(plan.batch);
        let take = |left: u64| (left > 0).then(|| left - left.min(most));
        let left = plan.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let wanted = left.min(most);
        push_queue(plan, &mut self.body);
        let _ = write!(self.body, ",\"MaxNumberOfMessages\":{wanted},\"WaitTimeSeconds\":{WAIT_S}}}");
        plan.endpoint.write("ReceiveMessage", &self.body, out);
        Some(Asked::Receiving(wanted))
    }

    fn received(
        &mut self,
        plan: &Plan<'_>,
        (wanted, time): (u64, Duration),
        body: &[u8],
        measured: &mut Measured,
    ) {
        let received = match serde_json::from_slice::<Received<'_>>(body) {
            Ok(received) => received,
            Err(error) => {
                measured.fail(format!("the answer to a receive cannot be read: {error}"));
                return self.give_up(plan, Asked::Receiving(wanted));
            }
        };
        let count = received.messages.len() as u64;
        plan.left.fetch_add(wanted.saturating_sub(count), Ordering::Relaxed);
        if count == 0 {
            measured.empty += 1;
            return;
        }
        measured.receives.record(time);
        for message in received.messages {
            plan.ledger.received(&message.body);
            self.receipts.push(message.receipt.into_owned());
        }
    }

    fn delete(&mut self, plan: &Plan<'_>, out: &mut Vec<u8>) -> Asked {
        let body = &mut self.body;
        push_queue(plan, body);
        let count = self.receipts.len() as u64;
        let action = if plan.batch > 1 { "DeleteMessageBatch" } else { "DeleteMessage" };
        if plan.batch > 1 {
            body.extend_from_slice(b",\"Entries\":[");
            for (at, receipt) in self.receipts.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(body, "{comma}{{\"Id\":\"{at}\",\"ReceiptHandle\":");
                push_text(receipt, body);
                body.push(b'}');
            }
            body.extend_from_slice(b"]}");
        } else {
            body.extend_from_slice(b",\"ReceiptHandle\":");
            push_text(self.receipts.first().map_or("", String::as_str), body);
            body.push(b'}');
        }
        plan.endpoint.write(action, body, out);
        Asked::Deleting(count)
    }
}

fn push_queue(plan: &Plan<'_>, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"QueueUrl\":");
    push_text(plan.queue_url, body);
}

/// Counts what succeeded of a request for `count` messages.
fn done(plan: &Plan<'_>, count: u64, body: &[u8], measured: &mut Measured) {
    let mut good = count;
    if plan.batch > 1 {
        match serde_json::from_slice::<BatchAnswer<'_>>(body) {
            Ok(answer) => {
                good = count.saturating_sub(answer.failed.len() as u64);
                answer.failed.iter().for_each(|failed| measured.fail(failed.to_string()));
            }
            Err(error) => measured.fail(format!("the answer to a batch cannot be read: {error}")),
        }
    }
    plan.done.fetch_add(good, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sqs::Access;

    fn with_plan<T>(work: Work, batch: u32, count: u64, groups: u32, test: impl FnOnce(&Plan<'_>) -> T) -> T {
        let endpoint = Endpoint { target: "http://127.0.0.1:1".parse().unwrap(), access: Access::Open };
        let ledger = Ledger::new("run".into(), 100, 30, (2, groups));
        let (left, done) = (AtomicU64::new(count), AtomicU64::new(0));
        let (endpoint, queue_url) = (&endpoint, "http://h/0/q");
        let (first, connections, ledger) = (10, 2, &ledger);
        test(&Plan { endpoint, queue_url, work, batch, first, count, connections, ledger, left, done })
    }

    /// Action and body of the next request.
    fn next(line: &mut Line, plan: &Plan<'_>) -> Option<(String, Value)> {
        let mut out = Vec::new();
        line.next(plan, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let action = head.split_once("AmazonSQS.").unwrap().1.split("\r\n").next().unwrap();
        Some((action.to_owned(), serde_json::from_str(body).unwrap()))
    }

    #[test]
    fn each_line_sends_its_own_numbers_until_all_are_sent() {
        with_plan(Work::Send, 1, 5, 0, |plan| {
            let (mut lines, mut measured, mut sent) =
                ([Line::new(0), Line::new(1)], Measured::new(), Vec::new());
            for line in &mut lines {
                while let Some((action, body)) = next(line, plan) {
                    assert_eq!((action.as_str(), &body["QueueUrl"]), ("SendMessage", &"http://h/0/q".into()));
                    sent.push(body["MessageBody"].as_str().unwrap()[..12].parse::<u64>().unwrap());
                    line.answered(plan, (200, b"{}"), &mut measured);
                }
                assert_eq!(line.waiting_since_ns(), None);
            }
            sent.sort_unstable();
            assert_eq!(sent, [10, 11, 12, 13, 14]);
            assert_eq!((measured.requests, measured.failures, plan.done.load(Ordering::Relaxed)), (5, 0, 5));
        });
    }

    #[test]
    fn a_batch_has_groups_and_ids_and_its_failures_are_counted() {
        with_plan(Work::Send, 10, 30, 4, |plan| {
            let (mut line, mut measured) = (Line::new(1), Measured::new());
            let (action, body) = next(&mut line, plan).unwrap();
            let entries = body["Entries"].as_array().unwrap();
            assert_eq!((action.as_str(), entries.len()), ("SendMessageBatch", 10));
            assert_eq!(
                (&entries[0]["MessageGroupId"], &entries[1]["MessageGroupId"]),
                (&"g1".into(), &"g3".into())
            );
            assert_eq!(entries[2]["MessageDeduplicationId"], "run-15");
            let answer = br#"{"Successful":[],"Failed":[{"Id":"3","Code":"C","Message":"m"}]}"#;
            line.answered(plan, (200, answer), &mut measured);
            assert_eq!((measured.failure.as_deref(), plan.done.load(Ordering::Relaxed)), (Some("C: m"), 9));
            assert_eq!(next(&mut line, plan).unwrap().1["Entries"].as_array().unwrap().len(), 5);
            line.answered(plan, (503, b"busy"), &mut measured);
            assert_eq!((measured.failures, plan.done.load(Ordering::Relaxed)), (2, 9));
            assert_eq!(next(&mut line, plan), None);
        });
    }

    #[test]
    fn what_is_received_is_deleted_and_nothing_is_asked_beyond_the_count() {
        with_plan(Work::Cycle, 10, 12, 0, |plan| {
            let (mut line, mut other, mut measured) = (Line::new(0), Line::new(1), Measured::new());
            assert_eq!(next(&mut line, plan).unwrap().1["MaxNumberOfMessages"], 10);
            assert_eq!(next(&mut other, plan).unwrap().1["MaxNumberOfMessages"], 2);
            other.answered(plan, (200, b"{}"), &mut measured);
            let got = r#"{"Messages":[{"Body":"000000000010 0000000 x","ReceiptHandle":"a\"b"}]}"#;
            line.answered(plan, (200, got.as_bytes()), &mut measured);
            let (action, body) = next(&mut line, plan).unwrap();
            assert_eq!(
                (action.as_str(), &body["Entries"][0]["ReceiptHandle"]),
                ("DeleteMessageBatch", &"a\"b".into())
            );
            line.answered(plan, (200, b"{}"), &mut measured);
            assert_eq!((measured.empty, plan.done.load(Ordering::Relaxed)), (1, 1));
            assert_eq!(plan.left.load(Ordering::Relaxed), 11, "what did not come is asked for again");
        });
    }
}
