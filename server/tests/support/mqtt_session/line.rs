//! One connection of a client: its socket, what was said in both directions, and what must be answered yet.
//!
//! Owns the rules that hold within a connection: CONNACK comes first and once, answers come in the order of what they
//! answer, nothing is larger than the client takes, no alias is used that was not told. Must not know sessions (`memory`).
//! Start at [`Line`].

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use wire::mqtt::{Answer, Connect, Error, Level, Publish, ReasonCode, Version, frame};

use super::memory::Want;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No CONNECT is written as a whole.
    Silent,
    /// CONNACK is waited for.
    Asked,
    /// The client is let in.
    In,
    /// It is not.
    Refused,
    /// The server has closed.
    Ended,
}

/// Whether the client has kept to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    Nobody,
    /// It may be cut off at any time.
    Rude,
    /// It has said what no server understands, or goodbye: it is cut off, and not heard any more.
    Over,
    /// It may not speak MQTT at all.
    Foreign,
}

/// What a client said of itself in CONNECT.
#[derive(Clone, Debug)]
pub struct Terms {
    pub level: Level,
    pub clean: bool,
    /// Seconds.
    pub expiry: u32,
    pub keep_alive_seconds: u16,
    pub window: usize,
    pub packet_bytes_max: usize,
    pub aliases_max: u16,
}

impl Terms {
    /// `v3_window` is what the server takes for the window of clients that have none.
    pub fn of(connect: &Connect<'_>, v3_window: u16) -> Self {
        let properties = &connect.properties;
        let is_v5 = connect.level == Level::V5;
        Self {
            level: connect.level,
            clean: connect.clean_start,
            expiry: match (is_v5, connect.clean_start) {
                (true, _) => properties.session_expiry_interval_seconds().unwrap_or(0),
                (false, true) => 0,
                (false, false) => u32::MAX,
            },
            keep_alive_seconds: connect.keep_alive_seconds,
            window: usize::from(match is_v5 {
                true => properties.receive_maximum().unwrap_or(u16::MAX),
                false => v3_window,
            }),
            packet_bytes_max: properties.maximum_packet_size_bytes().map_or(usize::MAX, |most| most as usize),
            aliases_max: properties.topic_alias_maximum().unwrap_or(0),
        }
    }
}

/// What the server owes an answer.
#[derive(Debug, Default)]
pub struct Owed {
    pub pubacks: VecDeque<u16>,
    pub pubrecs: VecDeque<u16>,
    pub pubcomps: VecDeque<u16>,
    pub pubrels: VecDeque<u16>,
    /// SUBSCRIBE and UNSUBSCRIBE, with the count of filters.
    pub questions: Vec<(u16, Question, usize)>,
    pub pings: u32,
}

/// What was asked of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Subscribe,
    Unsubscribe,
}

impl Owed {
    pub fn is_nothing(&self) -> bool {
        let acks = [&self.pubacks, &self.pubrecs, &self.pubcomps, &self.pubrels];
        acks.iter().all(|queue| queue.is_empty()) && self.questions.is_empty() && self.pings == 0
    }
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    pub stream: Option<UnixStream>,
    pub phase: Phase,
    pub blame: Blame,
    /// What is spoken.
    pub version: Version,
    /// Void before CONNECT.
    pub terms: Option<Terms>,
    /// Whose it is, among the clients.
    pub person: Option<usize>,
    /// Another connection of the same client has begun, so this one counts for nothing any more.
    pub is_superseded: bool,
    pub has_said_goodbye: bool,
    pub is_stalled: bool,
    /// It was, at some time: it may be found too slow.
    pub was_stalled: bool,
    /// The server was told to end it.
    pub is_to_end: bool,
    /// To be written with what comes next.
    pub queue: Vec<u8>,
    /// Written; the beginning of a packet.
    pub said: Vec<u8>,
    /// Read; the beginning of a packet.
    pub heard: Vec<u8>,
    pub owed: Owed,
    /// PUBRELs for numbers that the client does not know.
    pub strays: Vec<u16>,
    /// Subscribed to before CONNACK came.
    pub early: Vec<Want>,
    /// For how long the session is to be kept, said before CONNACK came.
    pub early_keep_ms: Option<Option<u64>>,
    /// PUBLISHes of QoS 1 and 2 on this connection that are not acknowledged.
    pub open: usize,
    /// Most of them at once.
    pub open_max: usize,
    /// Seconds, as agreed on.
    pub keep_alive_seconds: u16,
    /// When the last packet was written, or the connection began.
    pub spoke_at: u64,
    /// The session is one that was there before.
    pub is_resumed: bool,
    /// Something came that was not sent before: nothing comes again.
    pub is_past_again: bool,
    /// The place of what came again last.
    again: u64,
    /// What was not acknowledged on an earlier connection is sent again.
    pub has_sent_again: bool,
    /// What the server's aliases stand for.
    aliases_in: BTreeMap<u16, String>,
    /// Topics that the server knows by aliases of the client's.
    pub aliases_out: BTreeMap<u16, String>,
    /// Of the last packet, from the server.
    pub told: Option<ReasonCode>,
}

impl Line {
    pub fn new(stream: UnixStream, now: u64) -> Self {
        Self {
            stream: Some(stream),
            phase: Phase::Silent,
            blame: Blame::Nobody,
            version: Version::V5,
            terms: None,
            person: None,
            is_superseded: false,
            has_said_goodbye: false,
            is_stalled: false,
            was_stalled: false,
            is_to_end: false,
            queue: Vec::new(),
            said: Vec::new(),
            heard: Vec::new(),
            owed: Owed::default(),
            strays: Vec::new(),
            early: Vec::new(),
            early_keep_ms: None,
            open: 0,
            open_max: usize::MAX,
            keep_alive_seconds: 0,
            spoke_at: now,
            is_resumed: false,
            is_past_again: false,
            again: 0,
            has_sent_again: false,
            aliases_in: BTreeMap::new(),
            aliases_out: BTreeMap::new(),
            told: None,
        }
    }

    pub fn blames(&mut self, blame: Blame) {
        self.blame = self.blame.max(blame);
    }

    /// What the client said is no packet, or no CONNECT: it may be told so in the form that this names.
    pub fn is_refused(&mut self, error: &Error) {
        if let Answer::ConnAck(version, _) = error.answer {
            self.version = version;
        }
        self.blames(Blame::Over);
    }

    /// Whether the client would say anything here.
    pub fn is_of_use(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::In) && !self.is_superseded && self.blame < Blame::Over
    }

    /// Writes what the socket takes; how much that was. What a server that has closed does not get is lost, as in life.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(stream) = &mut self.stream else { return bytes.len() };
        match stream.write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => bytes.len(),
        }
    }

    /// Reads what the socket has; whether there was anything, an end included.
    pub fn read(&mut self) -> bool {
        let mut has_come = false;
        let mut more = [0; 16 << 10];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut more) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(count) if count > 0 => self.heard.extend_from_slice(more.get(..count).unwrap_or_default()),
                Ok(_) | Err(_) => self.stream = None,
            }
            has_come = true;
        }
        has_come
    }

    /// The next whole packet that was read, within what the client takes.
    pub fn next_packet(&mut self) -> Option<Vec<u8>> {
        let most = self.terms.as_ref().map_or(usize::MAX, |terms| terms.packet_bytes_max);
        let found = frame(&self.heard, u32::MAX).unwrap_or_else(|error| {
            panic!("{error}: {}", self.heard.escape_ascii());
        });
        let packet_bytes = found?.packet_bytes;
        assert!(packet_bytes <= most, "{packet_bytes} bytes for a client that takes {most}");
        Some(self.heard.drain(..packet_bytes).collect())
    }

    /// The topic of a PUBLISH of the server.
    pub fn topic(&mut self, publish: &Publish<'_>) -> String {
        let most = self.terms.as_ref().map_or(0, |terms| terms.aliases_max);
        let Some(alias) = publish.properties.topic_alias() else { return publish.topic.to_owned() };
        assert!((1..=most).contains(&alias), "alias {alias} of {most}");
        if publish.topic.is_empty() {
            return self.aliases_in.get(&alias).expect("the alias was told").clone();
        }
        self.aliases_in.insert(alias, publish.topic.to_owned());
        publish.topic.to_owned()
    }

    /// An acknowledgement comes in its turn.
    pub fn in_turn(queue: &mut VecDeque<u16>, id: u16) {
        assert_eq!(queue.pop_front(), Some(id), "an acknowledgement out of turn, or of nothing");
    }

    /// Something that was sent before comes again, in the order of first sending.
    pub fn comes_again(&mut self, order: u64) {
        assert!(self.is_resumed && !self.is_past_again, "sent again though not after a new connection");
        assert!(order > self.again, "sent again in another order");
        self.again = order;
    }
}
