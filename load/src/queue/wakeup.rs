//! How long a receive that waits takes to learn of a message.
//!
//! Owns a receiver and a sender with a connection each: one message at a time, into an empty queue. Start at [`run`].

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde_json::json;

use super::ledger::{Ledger, number_of};
use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::sqs::{Connection, Endpoint, Received};

/// Between the end of one message and the next, so that the receiver waits by then.
const PAUSE: Duration = Duration::from_millis(5);

/// Seconds that a receive waits.
const WAIT_S: u64 = 20;

/// How long an answer may take beside the wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What was measured.
pub(super) struct Wakeups {
    /// From the send's request to the answer of the receive.
    pub(super) whole: Latencies,
    /// From the send's request to its own answer: what it takes to store the message.
    pub(super) commit: Latencies,
    /// From the answer of the send to that of the receive; 0 where that came first.
    pub(super) above: Latencies,
}

/// Where messages go, and how many.
pub(super) struct Plan<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) queue_url: &'a str,
    /// How messages look.
    pub(super) ledger: &'a Ledger,
    pub(super) count: u32,
}

/// Sends and receives one after the other.
///
/// # Errors
/// [`Error`] if a send or a receive fails, or a message does not come within the longest wait.
pub(super) fn run(plan: &Plan<'_>, console: Console) -> Result<Wakeups, Error> {
    let mut sender = Connection::open(plan.endpoint)?;
    let receiver = Connection::open(plan.endpoint)?;
    let (arrivals, arrived) = mpsc::channel();
    let (whole, commit, above) = (Latencies::new(), Latencies::new(), Latencies::new());
    let mut wakeups = Wakeups { whole, commit, above };
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || receive_all(plan, receiver, &arrivals));
        let sent = send_all(plan, &mut sender, &arrived, (&mut wakeups, console));
        // Else the receiver would wait for messages that nobody sends.
        drop(arrived);
        let received = receiving.join().unwrap_or_else(|_| Err(Error::new("the receiver panicked")));
        sent.and(received)
    })?;
    Ok(wakeups)
}

fn send_all(
    plan: &Plan<'_>,
    sender: &mut Connection,
    arrived: &Receiver<Arrival>,
    (wakeups, console): (&mut Wakeups, Console),
) -> Result<(), Error> {
    let bar = console.progress("waking", plan.count.into());
    for nth in 0..u64::from(plan.count) {
        std::thread::sleep(PAUSE);
        let mut body = format!("{{\"QueueUrl\":{},", json!(plan.queue_url)).into_bytes();
        plan.ledger.push_message(nth, (0, nth), &mut body);
        body.push(b'}');
        let begun_ns = now_ns();
        sender.exchange("SendMessage", &body, ANSWER_WITHIN)?;
        let stored_ns = now_ns();
        let within = Duration::from_secs(WAIT_S) + ANSWER_WITHIN;
        let Ok(Arrival { arrived_ns, number }) = arrived.recv_timeout(within) else {
            return Err(Error::new(format!("message {nth} did not reach a receive that waits")));
        };
        if number != Some(nth) {
            return Err(Error::new(format!("message {number:?} came where {nth} was sent")));
        }
        wakeups.commit.record(Duration::from_nanos(stored_ns - begun_ns));
        wakeups.whole.record(Duration::from_nanos(arrived_ns.saturating_sub(begun_ns)));
        wakeups.above.record(Duration::from_nanos(arrived_ns.saturating_sub(stored_ns)));
        bar.set_position(nth + 1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A message that came.
struct Arrival {
    arrived_ns: u64,
    /// `None` if it is none of ours.
    number: Option<u64>,
}

/// Ends with the last message, or when nobody listens any more.
fn receive_all(plan: &Plan<'_>, mut connection: Connection, arrivals: &Sender<Arrival>) -> Result<(), Error> {
    let wanted = json!({ "QueueUrl": plan.queue_url, "WaitTimeSeconds": WAIT_S }).to_string();
    let mut left = plan.count;
    while left > 0 {
        let within = Duration::from_secs(WAIT_S) + ANSWER_WITHIN;
        let answer = connection.exchange("ReceiveMessage", wanted.as_bytes(), within)?;
        let arrived_ns = now_ns();
        let received: Received<'_> =
            serde_json::from_slice(&answer).map_err(|error| Error::new(format!("a receive: {error}")))?;
        let Some(message) = received.messages.first() else {
            return Err(Error::new("a receive that waits got nothing"));
        };
        let number = number_of(&message.body);
        let handle = json!({ "QueueUrl": plan.queue_url, "ReceiptHandle": message.receipt }).to_string();
        connection.exchange("DeleteMessage", handle.as_bytes(), ANSWER_WITHIN)?;
        left -= 1;
        if arrivals.send(Arrival { arrived_ns, number }).is_err() {
            break;
        }
    }
    Ok(())
}
