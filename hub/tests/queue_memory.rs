//! What a queued message costs in memory, counted at the allocator, with a backlog of a million: the budget of the design as a
//! test. Contents are not kept, so their size does not matter here.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use bytes::Bytes;
use std::sync::Arc;
use trunkline_hub::queue::{
    Answer, Kind, Message, QueueCommand, QueueLimits, QueueName, Receipt, Receive, Settings,
};
use trunkline_hub::{
    Command, Config, Effect, Effects, Hub, Limits, MessageId, Millis, RecoveryLimits, Report, ShardId, Token,
    Topology,
};

const MILLION: u32 = 1_000_000;
/// Enough where a message costs the same in any backlog.
const SOME: u32 = 100_000;

struct Bench {
    hub: Hub,
    now: u64,
    /// Changes that are safe, as all are at once.
    safe: u64,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let limits = Limits {
            sessions_max: 1,
            channels_max: 1,
            subscriptions_per_session_max: 1,
            channel_name_bytes_max: 20,
            outbox_messages_max: 1,
            outbox_bytes_max: 1,
            asks_per_session_max: 1,
            asks_max: 1,
            history_bytes_max: 0,
            recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
            retained_max: 0,
            retained_bytes_max: 0,
            delayed_max: 0,
            delayed_bytes_max: 0,
        };
        let topology = Topology { shards: 1, partitions: 64 };
        let mut hub = Hub::new(Config { shard: ShardId(0), topology, epoch: 1, limits, rules: Vec::new() });
        hub.configure_queues(trunkline_hub::queue::QueueConfig {
            limits: QueueLimits { in_flight_standard_max: MILLION, ..QueueLimits::default() },
            ..Default::default()
        });
        hub.keep_journal(&[], Vec::new());
        let mut bench = Self { hub, now: 0, safe: 0 };
        let settings = Arc::new(Settings { kind, ..Settings::default() });
        bench.apply(|queue, token| QueueCommand::Create { queue, settings, token });
        bench
    }

    fn apply(&mut self, command: impl FnOnce(QueueName, Token) -> QueueCommand) -> Answer {
        let mut effects = Effects::default();
        let command = command(QueueName::new("q"), Token(1));
        self.hub.apply(Millis(self.now), Command::Queue(command), &mut effects);
        self.settle_journal(&mut effects);
        match effects.list.pop() {
            Some(Effect::Report { report: Report::Queue(answer), .. }) => *answer,
            other => panic!("{other:?}"),
        }
    }

    fn settle_journal(&mut self, effects: &mut Effects) {
        self.safe += effects.entries.len() as u64;
        effects.entries.clear();
        self.hub.apply(Millis(self.now), Command::Kept { safe: self.safe }, effects);
    }

    /// Each in a group that `group` names, with an id like those that libraries make.
    fn fill(&mut self, backlog: u32, group: impl Fn(u32) -> Option<String>) {
        for n in 0..backlog {
            let message = Message {
                id: MessageId(u128::from(n)),
                content: Bytes::from_static(b"content"),
                size_bytes: 7,
                group: group(n).map(String::into_boxed_str),
                deduplication: Some(format!("{n:036}").into_boxed_str()),
                content_hash: None,
                delay_ms: None,
            };
            let answer =
                self.apply(|queue, token| QueueCommand::Send { queue, messages: vec![message], token });
            assert!(matches!(answer, Answer::Sent(all) if all[0].is_ok()));
        }
    }

    fn receive(&mut self) -> Vec<Receipt> {
        let receive = |queue, token| {
            let (visibility_ms, wait_ms, attempt) = (None, None, None);
            QueueCommand::Receive(Box::new(Receive {
                queue,
                max: 10,
                visibility_ms,
                wait_ms,
                attempt,
                token,
            }))
        };
        match self.apply(receive) {
            Answer::Received(all) => all.iter().map(|message| message.receipt).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, receipts: Vec<Receipt>) {
        self.apply(|queue, token| QueueCommand::Settle { queue, receipts, token });
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.hub.next_deadline().filter(|at| at.0 <= end) {
            self.now = self.now.max(at.0);
            let mut effects = Effects::default();
            self.hub.apply(Millis(self.now), Command::Tick, &mut effects);
            self.settle_journal(&mut effects);
        }
        self.now = end;
    }

    fn drain(&mut self) {
        loop {
            let receipts = self.receive();
            if receipts.is_empty() {
                return;
            }
            self.settle(receipts);
        }
    }
}

/// Bytes per message after `work`.
fn each(backlog: u32, work: impl FnOnce()) -> i64 {
    allocation_counter::measure(work).bytes_current / i64::from(backlog)
}

#[test]
fn a_message_of_a_standard_queue_that_was_never_received_costs_a_few_words() {
    let mut bench = Bench::new(Kind::Standard);
    let filled = each(MILLION, || bench.fill(MILLION, |_| None));
    assert!(filled <= 40, "{filled} bytes per message");
    let emptied = each(MILLION, || bench.drain());
    assert!(filled + emptied <= 0, "{} bytes per message are left", filled + emptied);
}

#[test]
fn a_message_that_was_received_and_is_visible_again_keeps_to_the_budget() {
    let mut bench = Bench::new(Kind::Standard);
    let filled = each(SOME, || bench.fill(SOME, |n| Some(format!("tenant-{}", n % 100))));
    assert!(filled <= 40, "{filled} bytes per message");
    let flying = filled + each(SOME, || while bench.receive().len() == 10 {});
    assert!(flying <= 200, "{flying} bytes per message in flight");
    let back = flying + each(SOME, || bench.pass(31_000));
    assert!(back <= 200, "{back} bytes per message");
    let emptied = back + each(SOME, || bench.drain());
    assert!(emptied <= 0, "{emptied} bytes per message are left");
}

#[test]
fn a_message_of_a_fifo_queue_with_ten_thousand_groups_keeps_to_the_budget() {
    let mut bench = Bench::new(Kind::Fifo);
    let filled = each(MILLION, || bench.fill(MILLION, |n| Some(format!("group-{}", n % 10_000))));
    assert!(filled <= 200, "{filled} bytes per message within the deduplication window");
    let later = filled + each(MILLION, || bench.pass(302_000));
    assert!(later <= 60, "{later} bytes per message");
    let emptied = later + each(MILLION, || bench.drain());
    assert!(emptied <= 0, "{emptied} bytes per message are left");
}

#[test]
fn a_message_in_a_group_of_its_own_keeps_to_the_budget() {
    let mut bench = Bench::new(Kind::Standard);
    let filled = each(SOME, || bench.fill(SOME, |n| Some(format!("group-{n}"))));
    assert!(filled <= 250, "{filled} bytes per message and group");
    let emptied = filled + each(SOME, || bench.drain());
    assert!(emptied <= 0, "{emptied} bytes per message are left");
}
