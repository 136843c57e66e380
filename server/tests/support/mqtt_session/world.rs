//! The node, its time, and the clients as far as they outlive their connections.
//!
//! Owns what holds whenever everything has come to rest: whatever was asked is answered, whoever was displaced, fell silent or
//! said goodbye is gone, one connection per client. Must not know packets. Start at [`World`].

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use hub::{Command, ShardId, claim_home};
use trunkline::config::{ChannelFilter, ChannelRule, Config, WhenFull};
use trunkline::embed::ByHand;
use trunkline::mail::Mail;
use trunkline::state::unix_ms;
use wire::mqtt::ReasonCode;

use super::Met;
use super::line::{Blame, Line, Phase};
use super::memory::Memory;
use super::message::Messages;
use super::script::{LINES, Pace, Step};

/// More turns than anything takes.
const TURNS_MAX: usize = 100_000;

/// `limits.head_timeout_ms`.
const HEAD_TIMEOUT_MS: u64 = 10_000;

/// How late a timer of a connection may be, with the way of its connection over the shards.
const LATE_MS: u64 = 10;

/// What the clock of the machine may add to the time between two nodes.
const RESTART_SLACK_MS: u64 = 1_000;

/// A client below which CONNACK may not fit.
const TINY_BYTES: usize = 100;

/// What any answer has room in.
const ANSWER_BYTES: usize = 32;

pub struct World {
    pub node: ByHand,
    pub config: Config,
    /// From the node's time to that of the world.
    offset_ms: u64,
    /// By how much ends of sessions may be off.
    slack_ms: u64,
    pub lines: [Option<Line>; LINES],
    pub people: Vec<Person>,
    pub messages: Messages,
    /// Where a value may be retained.
    pub kept: BTreeSet<String>,
    pub met: Met,
    /// Says what happens: `TRUNKLINE_TRACE`, for whoever looks for the cause of a failure.
    is_traced: bool,
}

/// A client, by its name.
#[derive(Debug, Default)]
pub struct Person {
    pub name: String,
    pub memory: Memory,
    /// It has a session, unless that is over by time.
    pub has_session: bool,
    /// `None`: for ever.
    pub keep_ms: Option<u64>,
    /// While it has no connection: when the session is over.
    pub until: Option<u64>,
    pub line: Option<usize>,
    /// Whether there is a session only the server knows.
    pub is_unsure: bool,
    /// The server may have begun another session, of which the client did not hear.
    pub is_lost: bool,
    /// It may begin it yet: CONNECT was written on a connection that failed, and may come later than that of the next one.
    pub is_loose: bool,
}

impl Person {
    /// Begins with nothing but what it may be subscribed to.
    pub fn forget(&mut self) {
        self.memory = Memory::of(std::mem::take(&mut self.memory.wants));
    }
}

impl World {
    pub fn new(kind: [u8; 2]) -> Self {
        let config = config(kind);
        Self {
            node: ByHand::start(config.clone(), None).unwrap(),
            config,
            offset_ms: 0,
            slack_ms: 0,
            lines: [const { None }; LINES],
            people: Vec::new(),
            messages: Messages::default(),
            kept: BTreeSet::new(),
            met: Met::new(),
            is_traced: std::env::var_os("TRUNKLINE_TRACE").is_some(),
        }
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>8} {}", self.now(), what());
        }
    }

    pub fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    pub fn now(&self) -> u64 {
        self.node.now().0 + self.offset_ms
    }

    pub fn line(&mut self, at: usize) -> Option<&mut Line> {
        self.lines[at].as_mut()
    }

    /// The client that a line is of, and its line.
    pub fn both(&mut self, at: usize) -> Option<(&mut Line, &mut Person)> {
        let line = self.lines[at].as_mut()?;
        let person = self.people.get_mut(line.person?)?;
        Some((line, person))
    }

    /// The client of this name; one without a name is another each time.
    pub fn person(&mut self, name: &str) -> usize {
        let known = self.people.iter().position(|person| !name.is_empty() && person.name == name);
        known.unwrap_or_else(|| {
            self.people.push(Person { name: name.to_owned(), ..Person::default() });
            self.people.len() - 1
        })
    }

    /// A connection to a shard.
    pub fn open(&mut self, at: usize, shard: u8) {
        self.cut(at);
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let shard = ShardId(shard % self.node.topology().shards);
        self.node.take(shard, TcpStream::from(OwnedFd::from(theirs)));
        self.lines[at] = Some(Line::new(ours, self.now()));
    }

    /// The client's side of a connection fails, with all that it has not read.
    pub fn cut(&mut self, at: usize) {
        self.lost(at);
        self.lines[at] = None;
    }

    /// A connection is over for its client.
    pub fn lost(&mut self, at: usize) {
        let now = self.now();
        let Some(phase) = self.line(at).map(|line| std::mem::replace(&mut line.phase, Phase::Ended)) else {
            return;
        };
        let Some((line, person)) = self.both(at) else { return };
        match phase {
            Phase::Asked if !line.is_superseded => {
                (person.is_lost, person.is_loose) = (true, true);
                person.memory.wants.append(&mut line.early);
            }
            Phase::In if person.line == Some(at) => {
                person.line = None;
                person.until = person.keep_ms.map(|keep_ms| now + keep_ms);
                person.has_session = person.keep_ms != Some(0);
                // A goodbye that the server may not have read may have changed how long it stays.
                person.is_unsure |= line.was_stalled || (line.has_said_goodbye && line.stream.is_some());
                person.memory.outgoing.retain(|outgoing| !outgoing.is_queued);
            }
            _ => {}
        }
    }

    /// Goes on as far as a step says.
    pub fn follow(&mut self, step: Step<'_>) {
        match step.pace {
            Pace::Rest => self.rest(),
            Pace::Turn => drop(self.node.turn()),
            Pace::Nothing => {}
        }
    }

    /// Until nothing moves any more, with all that comes read.
    pub fn rest(&mut self) {
        loop {
            self.settle();
            if !self.hear_all() {
                break;
            }
        }
        self.people.iter_mut().for_each(|person| person.is_loose = false);
        let cuts = (0..LINES).filter(|at| self.check(*at)).count();
        if cuts > 0 {
            return self.rest();
        }
        self.check_count();
    }

    /// Reads what has come; whether there was anything.
    fn hear_all(&mut self) -> bool {
        (0..LINES).filter(|at| self.hear(*at)).count() > 0
    }

    fn settle(&mut self) {
        // Mail between shards is taken in the turn after the one that sent it.
        let mut still = 0;
        for _ in 0..TURNS_MAX {
            still = if self.node.turn() { 0 } else { still + 1 };
            if still > 1 {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.node.stats());
    }

    /// What holds of a connection at rest; whether it was cut.
    fn check(&mut self, at: usize) -> bool {
        let (now, is_displaced) = (self.now(), self.is_displaced(at));
        let Some(line) = self.lines[at].as_mut().filter(|line| !line.is_stalled) else { return false };
        if line.phase == Phase::Ended || line.blame == Blame::Foreign {
            return false;
        }
        assert!(line.heard.is_empty(), "a part of a packet: {}", line.heard.escape_ascii());
        assert!(line.blame < Blame::Over, "not cut off: {line:?}");
        assert!(line.phase != Phase::Asked, "CONNECT is not answered: {line:?}");
        assert!(line.phase != Phase::Refused, "refused and not closed: {line:?}");
        assert!(!is_displaced, "two connections of one client: {line:?}");
        if line.is_superseded {
            // The other one was not let in. The client has given this one up all the same.
            self.cut(at);
            return true;
        }
        let silent_ms = now - line.spoke_at;
        match line.phase {
            Phase::Silent => assert!(silent_ms < 3 * HEAD_TIMEOUT_MS, "never asked who it is: {line:?}"),
            _ => {
                let keep_alive_ms = u64::from(line.keep_alive_seconds) * 1500;
                let is_heard = keep_alive_ms == 0 || silent_ms <= keep_alive_ms + LATE_MS;
                assert!(is_heard, "silent for {silent_ms} ms: {line:?}");
                let most = line.terms.as_ref().map_or(usize::MAX, |terms| terms.packet_bytes_max);
                assert!(line.owed.is_nothing() || most < ANSWER_BYTES, "unanswered: {line:?}");
            }
        }
        if let Some((_, person)) = self.both(at) {
            person.memory.is_heard();
        }
        false
    }

    /// Whether another connection of the same client was let in later.
    fn is_displaced(&self, at: usize) -> bool {
        let Some(line) = self.lines[at].as_ref().filter(|line| line.is_superseded) else { return false };
        let line_of_person = line.person.and_then(|person| self.people.get(person)?.line);
        line_of_person.is_some_and(|other| other != at)
    }

    /// The server has as many clients as there are.
    fn check_count(&mut self) {
        let lines = || self.lines.iter().flatten();
        if lines().any(|line| line.is_stalled) {
            return;
        }
        let connected = lines().filter(|line| line.phase == Phase::In).count() as u64;
        assert_eq!(self.node.figures().connections.iter().sum::<u64>(), connected);
    }

    /// Lets time pass, with everything that becomes due, one after the other.
    pub fn pass(&mut self, ms: u64) {
        self.rest();
        let until = self.node.now().0 + ms;
        while self.node.now().0 < until {
            let now = self.node.now().0;
            let next = self.node.next_deadline().map_or(until, |at| at.0.clamp(now + 1, until));
            self.node.advance(next - now);
            self.rest();
        }
    }

    /// Whether the server may have closed, and for what.
    pub fn check_end(&mut self, at: usize) {
        let now = self.now();
        let Some(line) = self.lines[at].as_mut() else { return };
        assert!(line.heard.is_empty(), "closed in a packet: {}", line.heard.escape_ascii());
        if line.blame > Blame::Nobody || line.is_to_end || line.was_stalled {
            return;
        }
        let packet_bytes_max = line.terms.as_ref().map_or(usize::MAX, |terms| terms.packet_bytes_max);
        let silent_ms = now - line.spoke_at;
        let keep_alive_ms = u64::from(line.keep_alive_seconds) * 1500;
        let is_right = match (line.phase, line.told) {
            _ if line.is_superseded => matches!(line.told, None | Some(ReasonCode::SessionTakenOver)),
            (Phase::Silent, _) => silent_ms >= HEAD_TIMEOUT_MS,
            (Phase::Asked, _) => packet_bytes_max < TINY_BYTES,
            (Phase::In, None | Some(ReasonCode::KeepAliveTimeout)) => {
                keep_alive_ms > 0 && silent_ms >= keep_alive_ms
            }
            (Phase::In | Phase::Refused | Phase::Ended, _) => false,
        };
        assert!(is_right, "closed after {silent_ms} ms for nothing: {line:?}");
        if line.phase == Phase::In && !line.is_superseded {
            self.meet("keep alive");
        }
    }

    pub fn send(&mut self, shard: ShardId, mail: Mail) {
        assert!(self.node.send(shard, mail));
    }

    /// To the hub of a client's session.
    pub fn command_of(&mut self, name: &str, command: Command) {
        let home = claim_home(name, &self.node.topology());
        self.send(home, Mail::Hub(command));
    }

    /// All clients read again, so that nothing of the past is under way.
    pub fn catch_up(&mut self) {
        self.lines.iter_mut().flatten().for_each(|line| line.is_stalled = false);
        self.rest();
    }

    /// The node ends in order, and the next one goes on with what it left.
    pub fn restart(&mut self) {
        self.catch_up();
        self.lines.iter_mut().flatten().for_each(|line| line.is_to_end = true);
        self.node.drain(0);
        let state = (0..TURNS_MAX).find_map(|_| {
            self.node.turn();
            self.hear_all();
            let state = self.node.state();
            if state.is_none() {
                self.node.advance(10);
            }
            state
        });
        let mut state = state.expect("the node ends");
        self.hear_all();
        let (config, now) = (self.config.clone(), self.now());
        state.saved_at_ms = unix_ms();
        self.node = ByHand::start(config, Some(state)).unwrap();
        self.offset_ms = now.saturating_sub(self.node.now().0);
        self.slack_ms += RESTART_SLACK_MS;
        self.lines = [const { None }; LINES];
        self.rest();
        self.meet("restart");
    }

    /// Whether a session is there that was not asked to end; `None` when that cannot be told.
    pub fn has_session(&self, person: &Person) -> Option<bool> {
        let now = self.now();
        let until = person.until.filter(|_| person.line.is_none());
        let is_close = until.is_some_and(|until| until.abs_diff(now) <= self.slack_ms && self.slack_ms > 0);
        let line = person.line.and_then(|at| self.lines[at].as_ref());
        let is_stalled = line.is_some_and(|line| line.was_stalled);
        if person.is_unsure || person.is_lost || is_close || is_stalled {
            return None;
        }
        let is_over = until.is_some_and(|until| until <= now);
        Some(person.has_session && person.keep_ms != Some(0) && !is_over)
    }
}

/// The configurations of this kind of node are read once each.
fn config([shards, rest]: [u8; 2]) -> Config {
    thread_local! {
        static KNOWN: RefCell<HashMap<[u8; 2], Config>> = RefCell::default();
    }
    let kind = [shards % 3, rest];
    KNOWN.with_borrow_mut(|known| known.entry(kind).or_insert_with(|| made(kind)).clone())
}

fn made([shards, rest]: [u8; 2]) -> Config {
    let mut settings = vec![
        format!("server.shards={}", shards + 1),
        "auth.mode=anonymous".into(),
        "limits.handshakes_per_address_per_second=0".into(),
        format!("limits.head_timeout_ms={HEAD_TIMEOUT_MS}"),
        "limits.message_bytes_max=1024".into(),
    ];
    let choices: [&[&str]; 8] = [
        &["mqtt.receive_maximum=2"],
        &["mqtt.v3_receive_maximum=1"],
        &["mqtt.topic_alias_maximum=0"],
        &["limits.outbox_messages_max=3", "limits.outbox_bytes_max=2048"],
        &["mqtt.packet_bytes_max=1024", "limits.write_buffer_bytes_max=4096"],
        &["mqtt.server_keep_alive_seconds=4", "mqtt.session_expiry_seconds_max=10"],
        &["limits.retained_max=2", "limits.delayed_max=2"],
        &["limits.channels_per_session_max=3", "limits.channel_name_bytes_max=16"],
    ];
    for (bit, keys) in choices.iter().enumerate() {
        if rest >> bit & 1 == 1 {
            settings.extend(keys.iter().map(|key| (*key).to_owned()));
        }
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut config = Config::embedded_with(&settings).unwrap();
    config.channels.push(ChannelRule {
        subscribe: None,
        publish: None,
        filter: ChannelFilter::parse("t/#").unwrap(),
        history_messages_max: 0,
        history_age_seconds_max: 0,
        history_durable: false,
        presence: false,
        presence_events: false,
        payload_format_check: false,
        when_full: WhenFull::Oldest,
    });
    config
}
