//! What happens to a node and its clients, as bytes: any bytes are a script, so that a fuzzer may change them as it likes.
//!
//! Owns the form. Must not know what a step does. Start at [`Script`].

/// Connections at once.
pub const LINES: usize = 4;

/// The steps of a script, four bytes each.
pub struct Script<'d> {
    rest: &'d [u8],
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Step<'d> {
    pub what: What<'d>,
    /// The connection it is about.
    pub line: usize,
    /// Where a new connection comes in.
    pub shard: u8,
    /// How much of what is said is written.
    pub part: Part,
    /// What follows.
    pub pace: Pace,
}

/// How much is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    All,
    /// The rest with what comes next.
    Half,
}

/// How far the node goes on before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Rest,
    Turn,
    Nothing,
}

/// What is done; the bytes choose among what is possible then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'d> {
    /// A new connection and its CONNECT.
    Connect(u8, u8),
    /// The same if there is none.
    Return(u8, u8),
    Subscribe(u8, u8),
    Unsubscribe(u8),
    Publish(u8, u8),
    /// What the client owes is answered.
    Answer(u8),
    /// After a lost connection: what was not acknowledged is sent again.
    Resend,
    Ping,
    Disconnect(u8),
    /// The connection fails.
    Cut,
    Pass(u8),
    /// The client reads no more, or again.
    Stall,
    /// Whatever the script has, as bytes.
    Raw(&'d [u8]),
    /// Against the rules.
    Rude(u8),
    /// The back end does something.
    Office(u8, u8),
    /// The node ends in order, and the next one goes on.
    Restart,
}

impl<'d> Script<'d> {
    /// The kind of node, in two bytes, and its script; `None` when there is none.
    pub fn new(data: &'d [u8]) -> Option<([u8; 2], Self)> {
        let (kind, rest) = data.split_first_chunk::<2>()?;
        Some((*kind, Self { rest }))
    }

    fn raw(&mut self, length: u8) -> &'d [u8] {
        let (raw, rest) = self.rest.split_at(usize::from(length % 48).min(self.rest.len()));
        self.rest = rest;
        raw
    }
}

impl<'d> Iterator for Script<'d> {
    type Item = Step<'d>;

    fn next(&mut self) -> Option<Step<'d>> {
        let (&[op, place, b, c], rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        let what = match op % 32 {
            0 => What::Connect(b, c),
            1..=4 => What::Return(b, c),
            5..=7 => What::Subscribe(b, c),
            8 => What::Unsubscribe(b),
            9..=14 => What::Publish(b, c),
            15..=18 => What::Answer(b),
            19 | 20 => What::Resend,
            21 => What::Ping,
            22 => What::Disconnect(b),
            23 => What::Cut,
            24 | 25 => What::Pass(b),
            26 => What::Stall,
            27 => What::Raw(self.raw(b)),
            28 => What::Rude(b),
            29 | 30 => What::Office(b, c),
            // Not often: it is a thousand times as much work as any other.
            _ if b < 32 => What::Restart,
            _ => What::Answer(b),
        };
        let pace = match place >> 6 {
            0 | 1 => Pace::Rest,
            2 => Pace::Turn,
            _ => Pace::Nothing,
        };
        let (line, shard) = (usize::from(place) % LINES, place >> 2 & 15);
        let part = if op >> 5 == 7 { Part::Half } else { Part::All };
        Some(Step { what, line, shard, part, pace })
    }
}
