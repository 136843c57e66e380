//! Messages of higher quality on their way to one session: which are with the client, under which numbers, and which
//! wait for a place. Owns numbers and order; knows nothing of sessions, connections or effects.
//!
//! ```text
//!            a place is free            Done, Declined
//!  waiting ------------------> sent ------------------------> gone
//!                                |  Received        Forgotten  ^
//!                                +------------> taken ---------+
//! ```
//!
//! A message has its number from when it is taken in, so that one that is kept durably is kept under its number. On a new
//! connection everything that was sent is sent again in its order, under its number. Start at [`Flight`].

use crate::command::Step;
use crate::exchange::{Waiting, make_way};
use crate::ids::Millis;
use crate::message::{Grade, Labels, Message, Quality};
use std::collections::VecDeque;
use std::sync::Arc;

/// Exchanges that one session can have, sent and waiting: every number but 0.
const NUMBERS: usize = u16::MAX as usize;

/// What one session is to get for certain. Exists only while there is something.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// In the order of their first sending.
    sent: VecDeque<Sent>,
    /// The numbers of `sent` and `waiting` do not rise from the oldest to the newest: they went once around while one was in
    /// use.
    is_mixed: bool,
    /// So many of the first `sent` are with the client on this connection; the others are to be sent again.
    here: usize,
    /// Of their bodies.
    bytes_here: u64,
    waiting: VecDeque<Parcel>,
    /// Of the bodies that wait.
    bytes: u64,
    /// Messages that are held back on this connection until they are safe.
    held: usize,
}

/// A message for one session.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) message: Arc<Message>,
    /// Its number is void until a flight has it.
    pub(crate) grade: Grade,
    pub(crate) labels: Labels,
    pub(crate) source: Source,
    /// Number of the record that keeps it, in the log of the session's partition; 0 = none.
    pub(crate) record: u64,
}

/// How a message came to a session.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// It was published, or sent to this session.
    Live,
    /// From this share group, whose home wants to hear when it is the client's.
    Group(Arc<str>),
    /// A value that its channel retains; asked for, so that it always has a place.
    Retained,
}

/// An exchange that is not over.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: u16,
    pub(crate) quality: Quality,
    /// `None` once the client has taken it and only the number is in use.
    pub(crate) parcel: Option<Parcel>,
    /// Of the record that keeps the number once the parcel is gone; 0 = none.
    pub(crate) record: u64,
    /// It may have come to the client. What was held back until it is safe has not.
    pub(crate) has_left: bool,
}

/// What is to be sent now.
#[derive(Debug)]
pub(crate) enum Due {
    /// The message, under the number in its grade.
    Message(Parcel),
    /// Not this one: it is too old by now.
    Late(Parcel),
    /// That the number may be forgotten.
    Taken(u16),
}

/// What follows from a client's step.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The exchange is over: a place is free.
    Over(Sent),
    /// The client may forget the number. With the message, if the client has taken it just now.
    Taken(Option<Parcel>),
    /// There is no such exchange.
    Unknown,
    /// The exchange is of another kind, or not there yet.
    Misstep,
}

impl Parcel {
    /// Whether it may take the place of what waits: what a channel retains is older than that.
    pub(crate) fn outdates(&self) -> bool {
        self.message.traits.key.is_some() && matches!(self.source, Source::Live)
    }

    fn bytes(&self) -> u64 {
        self.message.len_bytes()
    }

    pub(crate) fn numbered(mut self, number: u16) -> Self {
        self.grade.number = number;
        self
    }

    /// The publisher and the share group, if it was dealt from one.
    pub(crate) fn group(&self) -> Option<&Arc<str>> {
        match &self.source {
            Source::Group(group) => Some(group),
            Source::Live | Source::Retained => None,
        }
    }
}

impl Flight {
    /// As an earlier hub left it: nothing is with the client.
    pub(crate) fn restored(
        sent: impl Iterator<Item = Sent>,
        waiting: impl Iterator<Item = Parcel>,
        last: &mut u16,
    ) -> Self {
        let mut flight = Self { sent: sent.collect(), ..Self::default() };
        flight.is_mixed = !flight.is_rising();
        for parcel in waiting {
            let number = flight.next_number(last);
            flight.wait(parcel.numbered(number));
        }
        flight
    }

    /// Those that are not over, in the order in which they began.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    /// All records that keep something of it.
    pub(crate) fn records(&self) -> impl Iterator<Item = u64> {
        let sent =
            self.sent.iter().map(|sent| sent.parcel.as_ref().map_or(sent.record, |parcel| parcel.record));
        sent.chain(self.waiting.iter().map(|parcel| parcel.record)).filter(|record| *record > 0)
    }

    /// Nothing of it is kept any more.
    pub(crate) fn forget_records(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.record = 0);
        let parcels = self.sent.iter_mut().filter_map(|sent| sent.parcel.as_mut()).chain(&mut self.waiting);
        parcels.for_each(|parcel| parcel.record = 0);
    }

    /// Each record is another from now on: of a parcel, or of the number alone.
    pub(crate) fn renew_records(&mut self, mut renew: impl FnMut(u16, Option<&Parcel>, u64) -> u64) {
        for sent in &mut self.sent {
            let number = sent.number;
            match &mut sent.parcel {
                Some(parcel) => parcel.record = renew(number, Some(parcel), parcel.record),
                None => sent.record = renew(number, None, sent.record),
            }
        }
        for parcel in &mut self.waiting {
            parcel.record = renew(parcel.grade.number, Some(parcel), parcel.record);
        }
    }

    /// A number of an exchange is kept by this record.
    pub(crate) fn keep_number(&mut self, number: u16, record: u64) {
        if let Some((_, sent)) = self.find(number) {
            sent.record = record;
        }
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Parcel> {
        self.waiting.iter()
    }

    pub(crate) fn len_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Exchanges that have begun and are not over.
    pub(crate) fn len_sent(&self) -> usize {
        self.sent.len()
    }

    /// When the oldest message was published that waits, or that the client has not acknowledged. What it asked for, as values
    /// that channels retain, was published for others.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let sent = self.sent.iter().filter_map(|sent| sent.parcel.as_ref());
        let parcels = sent.chain(&self.waiting).filter(|parcel| !matches!(parcel.source, Source::Retained));
        // Each of the two is in order, but for what came back from a share group.
        parcels.map(|parcel| parcel.message.published).min()
    }

    /// Bytes in memory, with the bodies.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bodies = usize::try_from(self.bytes + self.bytes_here).unwrap_or(usize::MAX);
        let lists = self.sent.capacity() * size_of::<Sent>() + self.waiting.capacity() * size_of::<Parcel>();
        size_of::<Self>() + lists + bodies
    }

    /// Of the bodies that wait.
    pub(crate) fn bytes_waiting(&self) -> u64 {
        self.bytes
    }

    /// With the client on this connection.
    pub(crate) fn len_here(&self) -> usize {
        self.here
    }

    pub(crate) fn bytes_here(&self) -> u64 {
        self.bytes_here
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.waiting.is_empty()
    }

    /// Whether a new message may be sent at once.
    pub(crate) fn has_place(&self, window: u16) -> bool {
        self.waiting.is_empty() && self.here == self.sent.len() && self.here < usize::from(window)
    }

    /// Whether there is a number for one message more.
    pub(crate) fn has_number(&self) -> bool {
        self.sent.len() + self.waiting.len() < NUMBERS
    }

    /// Puts a message that has its number behind those that wait.
    pub(crate) fn wait(&mut self, parcel: Parcel) {
        self.bytes += parcel.bytes();
        self.waiting.push_back(parcel);
    }

    /// Takes away as many of the oldest that wait as are `enough`, of those that give way; gives the numbers of
    /// their records. What a share group dealt is not this session's to lose.
    pub(crate) fn make_way(&mut self, enough: impl Fn(Waiting) -> bool) -> Vec<u64> {
        let gives_way =
            |parcel: &Parcel| matches!(parcel.source, Source::Live) && parcel.message.traits.gives_way;
        let mut records: Vec<u64> =
            self.waiting.iter().filter(|parcel| gives_way(parcel)).map(|parcel| parcel.record).collect();
        let gone = make_way(&mut self.waiting, |parcel| gives_way(parcel).then(|| parcel.bytes()), enough);
        self.bytes -= gone.bytes;
        records.truncate(gone.count);
        records
    }

    /// Takes away what waits and says less than this later message; gives the numbers of their records. What a share group dealt
    /// is not this session's to lose.
    pub(crate) fn drop_outdated(&mut self, later: &Message) -> Vec<u64> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        self.waiting.retain(|parcel| {
            let is_outdated = matches!(parcel.source, Source::Live) && parcel.message.gives_way_to(later);
            if is_outdated {
                records.push(parcel.record);
                bytes += parcel.bytes();
            }
            !is_outdated
        });
        self.bytes -= bytes;
        records
    }

    /// Sends a message that has its number and for which there `has_place`.
    pub(crate) fn send(&mut self, parcel: Parcel) {
        self.bytes_here += parcel.bytes();
        let (number, quality) = (parcel.grade.number, parcel.grade.quality);
        self.sent.push_back(Sent { number, quality, parcel: Some(parcel), record: 0, has_left: false });
        self.here += 1;
    }

    /// A message that is to be sent goes to the client.
    pub(crate) fn left(&mut self, number: u16) {
        if let Some((_, sent)) = self.find(number) {
            sent.has_left = true;
        }
    }

    /// It is held back until it is safe.
    pub(crate) fn hold(&mut self) {
        self.held += 1;
    }

    /// It is safe and goes to the client.
    pub(crate) fn left_late(&mut self, number: u16) {
        self.held = self.held.saturating_sub(1);
        self.left(number);
    }

    /// Whether what is sent now would overtake something.
    pub(crate) fn holds_back(&self) -> bool {
        self.held > 0
    }

    /// The next thing to send, while the client has a place for it. What is too old by now leaves, unless its exchange has
    /// begun.
    pub(crate) fn next(&mut self, now: Millis, window: u16) -> Option<Due> {
        if self.here >= usize::from(window).max(1) {
            return None;
        }
        if let Some(sent) = self.sent.get(self.here) {
            self.here += 1;
            return Some(match &sent.parcel {
                Some(parcel) => {
                    self.bytes_here += parcel.bytes();
                    let mut again = parcel.clone();
                    again.grade.again = sent.has_left;
                    again.grade.number = sent.number;
                    Due::Message(again)
                }
                None => Due::Taken(sent.number),
            });
        }
        let parcel = self.waiting.pop_front()?;
        self.bytes -= parcel.bytes();
        if parcel.message.is_late(now) {
            return Some(Due::Late(parcel));
        }
        self.send(parcel.clone());
        Some(Due::Message(parcel))
    }

    /// Whether [`Flight::next`] has something.
    pub(crate) fn is_due(&self, window: u16) -> bool {
        let open = self.here < self.sent.len() || !self.waiting.is_empty();
        open && self.here < usize::from(window).max(1)
    }

    /// A new connection: what was sent is not there yet.
    pub(crate) fn restart(&mut self) {
        (self.here, self.bytes_here, self.held) = (0, 0, 0);
    }

    pub(crate) fn settle(&mut self, number: u16, step: Step) -> Settled {
        let Some((at, sent)) = self.find(number) else {
            return if step == Step::Received { Settled::Taken(None) } else { Settled::Unknown };
        };
        match (sent.quality, step, sent.parcel.is_some()) {
            (Quality::AtLeastOnce, Step::Done, _)
            | (Quality::ExactlyOnce, Step::Forgotten, false)
            | (Quality::ExactlyOnce, Step::Declined, _) => {
                let Some(gone) = self.sent.remove(at) else { return Settled::Unknown };
                self.no_longer_here(at, gone.parcel.as_ref());
                self.here -= usize::from(at < self.here);
                self.is_mixed = self.is_mixed && !self.is_rising();
                Settled::Over(gone)
            }
            (Quality::ExactlyOnce, Step::Received, _) => {
                let taken = sent.parcel.take();
                self.no_longer_here(at, taken.as_ref());
                Settled::Taken(taken)
            }
            _ => Settled::Misstep,
        }
    }

    /// The client has a message, or never gets it.
    fn no_longer_here(&mut self, at: usize, parcel: Option<&Parcel>) {
        if at < self.here {
            self.bytes_here -= parcel.map_or(0, Parcel::bytes);
        }
    }

    /// Messages of share groups whose exchanges another member may begin anew.
    pub(crate) fn returning(self) -> impl Iterator<Item = Parcel> {
        let may_return = |sent: &Sent| sent.quality == Quality::AtLeastOnce || !sent.has_left;
        let sent = self.sent.into_iter().filter(may_return);
        let parcels = sent.filter_map(|sent| sent.parcel).chain(self.waiting);
        parcels.filter(|parcel| parcel.group().is_some())
    }

    fn find(&mut self, number: u16) -> Option<(usize, &mut Sent)> {
        let at = self.place_of(number)?;
        self.sent.get_mut(at).map(|sent| (at, sent))
    }

    /// The numbers in use are in the order in which they were given, so seen from the oldest they only rise, unless one was
    /// in use for more than 2^16 others.
    fn place_of(&self, number: u16) -> Option<usize> {
        if self.is_mixed {
            return self.sent.iter().position(|sent| sent.number == number);
        }
        let oldest = self.sent.front()?.number;
        let distance = |number: u16| number.wrapping_sub(oldest);
        self.sent.binary_search_by_key(&distance(number), |sent| distance(sent.number)).ok()
    }

    fn is_waiting(&self, number: u16) -> bool {
        let Some(oldest) = self.waiting.front().map(|parcel| parcel.grade.number) else { return false };
        if self.is_mixed {
            return self.waiting.iter().any(|parcel| parcel.grade.number == number);
        }
        let distance = |number: u16| number.wrapping_sub(oldest);
        self.waiting.binary_search_by_key(&distance(number), |parcel| distance(parcel.grade.number)).is_ok()
    }

    fn is_rising(&self) -> bool {
        let waiting = self.waiting.iter().map(|parcel| parcel.grade.number);
        let mut numbers = self.sent.iter().map(|sent| sent.number).chain(waiting).peekable();
        let oldest = numbers.peek().copied().unwrap_or(0);
        numbers.is_sorted_by_key(|number| number.wrapping_sub(oldest))
    }

    /// Numbers count up from 1, around those in use; `last` is the number given last. There `has_number`.
    pub(crate) fn next_number(&mut self, last: &mut u16) -> u16 {
        loop {
            *last = last.checked_add(1).unwrap_or(1);
            if self.place_of(*last).is_none() && !self.is_waiting(*last) {
                return *last;
            }
            self.is_mixed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, ChannelName, MessageId, Traits};

    fn parcel(quality: Quality, expires: Option<Millis>) -> Parcel {
        let message = Message {
            id: MessageId(0),
            channel: ChannelName::parse("a", 9).expect("valid"),
            event: None,
            body: Body::Raw(bytes::Bytes::from_static(b"12345")),
            volatile: false,
            except: None,
            traits: Traits { quality, expires, ..Traits::default() },
            position: None,
            published: Millis(0),
        };
        let grade = Grade { quality, ..Grade::default() };
        Parcel { message: Arc::new(message), grade, labels: None, source: Source::Live, record: 0 }
    }

    fn give(flight: &mut Flight, quality: Quality, last: &mut u16) -> u16 {
        let number = flight.next_number(last);
        flight.send(parcel(quality, None).numbered(number));
        flight.left(number);
        number
    }

    fn wait(flight: &mut Flight, parcel: Parcel, last: &mut u16) {
        let number = flight.next_number(last);
        flight.wait(parcel.numbered(number));
    }

    fn sent(due: Option<Due>) -> Option<(u16, bool)> {
        match due? {
            Due::Message(parcel) => Some((parcel.grade.number, parcel.grade.again)),
            Due::Taken(number) => Some((number, false)),
            Due::Late(_) => Some((0, false)),
        }
    }

    #[test]
    fn the_window_holds_back_and_a_settled_exchange_frees_a_place() {
        let (mut flight, mut last) = (Flight::default(), 0);
        for _ in 0..3 {
            wait(&mut flight, parcel(Quality::AtLeastOnce, None), &mut last);
        }
        assert_eq!(flight.bytes_waiting(), 15);
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((1, false)));
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((2, false)));
        assert!(flight.next(Millis(0), 2).is_none() && !flight.is_due(2));
        assert!(matches!(flight.settle(2, Step::Done), Settled::Over(_)));
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((3, false)));
        assert_eq!((flight.sent.len(), flight.len_waiting(), flight.bytes_waiting()), (2, 0, 0));
    }

    #[test]
    fn two_steps_keep_the_number_until_the_second() {
        let (mut flight, mut last) = (Flight::default(), 0);
        assert_eq!(give(&mut flight, Quality::ExactlyOnce, &mut last), 1);
        assert!(matches!(flight.settle(1, Step::Forgotten), Settled::Misstep));
        assert!(matches!(flight.settle(1, Step::Done), Settled::Misstep));
        assert!(matches!(flight.settle(1, Step::Received), Settled::Taken(_)));
        assert!(matches!(flight.settle(1, Step::Received), Settled::Taken(_)));
        flight.restart();
        assert!(matches!(flight.next(Millis(0), 9), Some(Due::Taken(1))));
        assert!(matches!(flight.settle(1, Step::Forgotten), Settled::Over(_)));
        assert!(flight.is_empty());
        assert!(matches!(flight.settle(1, Step::Forgotten), Settled::Unknown));
        assert!(matches!(flight.settle(1, Step::Received), Settled::Taken(_)));
    }

    #[test]
    fn after_a_restart_all_is_sent_again_in_order_within_the_new_window() {
        let (mut flight, mut last) = (Flight::default(), 0);
        for _ in 0..3 {
            give(&mut flight, Quality::AtLeastOnce, &mut last);
        }
        flight.restart();
        wait(&mut flight, parcel(Quality::AtLeastOnce, None), &mut last);
        assert!(!flight.has_place(9), "what waits goes first");
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((1, true)));
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((2, true)));
        assert!(flight.next(Millis(0), 2).is_none());
        assert!(matches!(flight.settle(1, Step::Done), Settled::Over(_)));
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((3, true)));
        assert!(matches!(flight.settle(2, Step::Done), Settled::Over(_)));
        assert_eq!(sent(flight.next(Millis(0), 2)), Some((4, false)));
    }

    #[test]
    fn numbers_wrap_around_those_in_use() {
        let (mut flight, mut last) = (Flight::default(), u16::MAX - 1);
        assert_eq!(give(&mut flight, Quality::AtLeastOnce, &mut last), u16::MAX);
        assert_eq!(give(&mut flight, Quality::AtLeastOnce, &mut last), 1);
        last = u16::MAX - 1;
        assert_eq!(give(&mut flight, Quality::AtLeastOnce, &mut last), 2);
    }

    #[test]
    fn a_number_in_use_for_more_than_all_others_is_given_to_nobody_else_and_found() {
        let (mut flight, mut last) = (Flight::default(), 4);
        let give = |flight: &mut Flight, last: &mut u16| give(flight, Quality::AtLeastOnce, last);
        assert_eq!(give(&mut flight, &mut last), 5);
        last = 3;
        assert_eq!(give(&mut flight, &mut last), 4);
        assert_eq!(give(&mut flight, &mut last), 6, "5 is in use");
        assert!(matches!(flight.settle(6, Step::Done), Settled::Over(_)));
        last = 3;
        assert_eq!(give(&mut flight, &mut last), 6, "4 and 5 are in use, though 4 was given after 5");
        assert!(matches!(flight.settle(5, Step::Done), Settled::Over(_)));
        assert!(!flight.is_mixed, "in order again");
        assert!(matches!(flight.settle(6, Step::Done), Settled::Over(_)));
        assert!(matches!(flight.settle(4, Step::Done), Settled::Over(_)));
        assert!(flight.is_empty());
    }

    #[test]
    fn what_is_too_old_is_not_begun() {
        let (mut flight, mut last) = (Flight::default(), 0);
        wait(&mut flight, parcel(Quality::AtLeastOnce, Some(Millis(5))), &mut last);
        wait(&mut flight, parcel(Quality::AtLeastOnce, None), &mut last);
        assert!(matches!(flight.next(Millis(5), 2), Some(Due::Late(_))));
        assert_eq!(sent(flight.next(Millis(5), 2)), Some((2, false)));
        assert!(flight.next(Millis(5), 2).is_none() && flight.bytes_waiting() == 0);
    }

    #[test]
    fn what_a_share_group_dealt_goes_back_unless_it_was_begun_exactly_once() {
        let (mut flight, mut last) = (Flight::default(), 2);
        let dealt = |quality| Parcel { source: Source::Group(Arc::from("g/a")), ..parcel(quality, None) };
        flight.send(dealt(Quality::ExactlyOnce).numbered(1));
        flight.left(1);
        flight.send(dealt(Quality::AtLeastOnce).numbered(2));
        flight.left(2);
        give(&mut flight, Quality::AtLeastOnce, &mut last);
        flight.send(dealt(Quality::ExactlyOnce).numbered(4));
        flight.hold();
        last = 4;
        wait(&mut flight, dealt(Quality::ExactlyOnce), &mut last);
        let numbers: Vec<u16> = flight.returning().map(|parcel| parcel.grade.number).collect();
        assert_eq!(numbers, [2, 4, 5], "what was held back has not begun");
    }
}
