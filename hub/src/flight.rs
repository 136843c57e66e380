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
//! On a new connection everything that was sent is sent again in its order, under its number. Start at [`Flight`].

use crate::command::Step;
use crate::ids::Millis;
use crate::message::{Grade, Labels, Message, Quality};
use std::collections::VecDeque;
use std::sync::Arc;

/// What one session is to get for certain. Exists only while there is something.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// In the order of their first sending.
    sent: VecDeque<Sent>,
    /// So many of the first `sent` are with the client on this connection; the others are to be sent again.
    here: usize,
    waiting: VecDeque<Parcel>,
    /// Of the bodies that wait.
    bytes: u64,
}

/// A message for one session.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) message: Arc<Message>,
    /// Its number is void while it waits.
    pub(crate) grade: Grade,
    pub(crate) labels: Labels,
    /// The share group that it was dealt from.
    pub(crate) group: Option<Arc<str>>,
}

#[derive(Debug)]
struct Sent {
    number: u16,
    quality: Quality,
    /// `None` once the client has taken it and only the number is in use.
    parcel: Option<Parcel>,
}

/// What is to be sent now.
#[derive(Debug)]
pub(crate) enum Due {
    /// The message, under the number in its grade.
    Message(Parcel),
    /// That the number may be forgotten.
    Taken(u16),
}

/// What follows from a client's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The exchange is over: a place is free.
    Over,
    /// The client may forget the number.
    Taken,
    /// There is no such exchange.
    Unknown,
    /// The exchange is of another kind, or not there yet.
    Misstep,
}

impl Parcel {
    fn bytes(&self) -> u64 {
        self.message.body.len_bytes() as u64
    }

    fn is_late(&self, now: Millis) -> bool {
        self.message.traits.expires.is_some_and(|expires| expires <= now)
    }
}

impl Flight {
    pub(crate) fn len_waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn bytes_waiting(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.waiting.is_empty()
    }

    /// Whether a new message may be sent at once.
    pub(crate) fn has_room(&self, window: u16) -> bool {
        self.waiting.is_empty() && self.here == self.sent.len() && self.here < usize::from(window)
    }

    /// Puts a message behind those that wait.
    pub(crate) fn wait(&mut self, parcel: Parcel) {
        self.bytes += parcel.bytes();
        self.waiting.push_back(parcel);
    }

    /// Sends a message for which there `has_room` under a new number; `last` is the number given last.
    pub(crate) fn send(&mut self, parcel: Parcel, last: &mut u16) -> u16 {
        let number = self.next_number(last);
        self.sent.push_back(Sent { number, quality: parcel.grade.quality, parcel: Some(parcel) });
        self.here += 1;
        number
    }

    /// The next thing to send, while the client has a place for it. What is too old by now is dropped, unless its exchange
    /// has begun.
    pub(crate) fn next(&mut self, now: Millis, window: u16, last: &mut u16) -> Option<Due> {
        if self.here >= usize::from(window).max(1) {
            return None;
        }
        if let Some(sent) = self.sent.get(self.here) {
            self.here += 1;
            return Some(match &sent.parcel {
                Some(parcel) => {
                    let mut again = parcel.clone();
                    again.grade.again = true;
                    again.grade.number = sent.number;
                    Due::Message(again)
                }
                None => Due::Taken(sent.number),
            });
        }
        loop {
            let mut parcel = self.waiting.pop_front()?;
            self.bytes -= parcel.bytes();
            if !parcel.is_late(now) {
                parcel.grade.number = self.send(parcel.clone(), last);
                return Some(Due::Message(parcel));
            }
        }
    }

    /// Whether [`Flight::next`] has something.
    pub(crate) fn is_due(&self, window: u16) -> bool {
        let open = self.here < self.sent.len() || !self.waiting.is_empty();
        open && self.here < usize::from(window).max(1)
    }

    /// A new connection: what was sent is not there yet.
    pub(crate) fn restart(&mut self) {
        self.here = 0;
    }

    pub(crate) fn settle(&mut self, number: u16, step: Step) -> Settled {
        let Some((at, sent)) = self.find(number) else {
            return if step == Step::Received { Settled::Taken } else { Settled::Unknown };
        };
        match (sent.quality, step, sent.parcel.is_some()) {
            (Quality::AtLeastOnce, Step::Done, _)
            | (Quality::ExactlyOnce, Step::Forgotten, false)
            | (Quality::ExactlyOnce, Step::Declined, _) => {
                self.sent.remove(at);
                self.here -= usize::from(at < self.here);
                Settled::Over
            }
            (Quality::ExactlyOnce, Step::Received, _) => {
                sent.parcel = None;
                Settled::Taken
            }
            _ => Settled::Misstep,
        }
    }

    /// Messages of share groups whose exchanges another member may begin anew.
    pub(crate) fn returning(self) -> impl Iterator<Item = (Arc<str>, Arc<Message>)> {
        let sent = self.sent.into_iter().filter(|sent| sent.quality == Quality::AtLeastOnce);
        let parcels = sent.filter_map(|sent| sent.parcel).chain(self.waiting);
        parcels.filter_map(|parcel| Some((parcel.group?, parcel.message)))
    }

    /// The numbers in use are in the order in which they were given, so seen from the oldest they only rise.
    fn find(&mut self, number: u16) -> Option<(usize, &mut Sent)> {
        let oldest = self.sent.front()?.number;
        let distance = |number: u16| number.wrapping_sub(oldest);
        let found = self.sent.binary_search_by_key(&distance(number), |sent| distance(sent.number));
        let at = found.ok()?;
        self.sent.get_mut(at).map(|sent| (at, sent))
    }

    /// Numbers count up from 1, around those in use; fewer than 2^16 - 1 are, as the window is a `u16`. The next one in use
    /// is the oldest, then the one given after it, and so on.
    fn next_number(&self, last: &mut u16) -> u16 {
        let mut in_use = self.sent.iter().map(|sent| sent.number).peekable();
        loop {
            *last = last.checked_add(1).unwrap_or(1);
            if in_use.next_if_eq(last).is_none() {
                return *last;
            }
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
        };
        let grade = Grade { quality, ..Grade::default() };
        Parcel { message: Arc::new(message), grade, labels: None, group: None }
    }

    fn sent(due: Option<Due>) -> Option<(u16, bool)> {
        match due? {
            Due::Message(parcel) => Some((parcel.grade.number, parcel.grade.again)),
            Due::Taken(number) => Some((number, false)),
        }
    }

    #[test]
    fn the_window_holds_back_and_a_settled_exchange_frees_a_place() {
        let (mut flight, mut last) = (Flight::default(), 0);
        for _ in 0..3 {
            flight.wait(parcel(Quality::AtLeastOnce, None));
        }
        assert_eq!(flight.bytes_waiting(), 15);
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((1, false)));
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((2, false)));
        assert!(flight.next(Millis(0), 2, &mut last).is_none() && !flight.is_due(2));
        assert_eq!(flight.settle(2, Step::Done), Settled::Over);
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((3, false)));
        assert_eq!((flight.sent.len(), flight.len_waiting(), flight.bytes_waiting()), (2, 0, 0));
    }

    #[test]
    fn two_steps_keep_the_number_until_the_second() {
        let (mut flight, mut last) = (Flight::default(), 0);
        assert_eq!(flight.send(parcel(Quality::ExactlyOnce, None), &mut last), 1);
        assert_eq!(flight.settle(1, Step::Forgotten), Settled::Misstep);
        assert_eq!(flight.settle(1, Step::Done), Settled::Misstep);
        assert_eq!(flight.settle(1, Step::Received), Settled::Taken);
        assert_eq!(flight.settle(1, Step::Received), Settled::Taken);
        flight.restart();
        assert!(matches!(flight.next(Millis(0), 9, &mut last), Some(Due::Taken(1))));
        assert_eq!(flight.settle(1, Step::Forgotten), Settled::Over);
        assert!(flight.is_empty());
        assert_eq!(flight.settle(1, Step::Forgotten), Settled::Unknown);
        assert_eq!(flight.settle(1, Step::Received), Settled::Taken);
    }

    #[test]
    fn after_a_restart_all_is_sent_again_in_order_within_the_new_window() {
        let (mut flight, mut last) = (Flight::default(), 0);
        for _ in 0..3 {
            flight.send(parcel(Quality::AtLeastOnce, None), &mut last);
        }
        flight.restart();
        flight.wait(parcel(Quality::AtLeastOnce, None));
        assert!(!flight.has_room(9), "what waits goes first");
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((1, true)));
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((2, true)));
        assert!(flight.next(Millis(0), 2, &mut last).is_none());
        assert_eq!(flight.settle(1, Step::Done), Settled::Over);
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((3, true)));
        assert_eq!(flight.settle(2, Step::Done), Settled::Over);
        assert_eq!(sent(flight.next(Millis(0), 2, &mut last)), Some((4, false)));
    }

    #[test]
    fn numbers_wrap_around_those_in_use() {
        let (mut flight, mut last) = (Flight::default(), u16::MAX - 1);
        assert_eq!(flight.send(parcel(Quality::AtLeastOnce, None), &mut last), u16::MAX);
        assert_eq!(flight.send(parcel(Quality::AtLeastOnce, None), &mut last), 1);
        last = u16::MAX - 1;
        assert_eq!(flight.send(parcel(Quality::AtLeastOnce, None), &mut last), 2);
    }

    #[test]
    fn what_is_too_old_is_not_begun() {
        let (mut flight, mut last) = (Flight::default(), 0);
        flight.wait(parcel(Quality::AtLeastOnce, Some(Millis(5))));
        flight.wait(parcel(Quality::AtLeastOnce, None));
        assert_eq!(sent(flight.next(Millis(5), 2, &mut last)), Some((1, false)));
        assert!(flight.next(Millis(5), 2, &mut last).is_none() && flight.bytes_waiting() == 0);
    }

    #[test]
    fn what_a_share_group_dealt_goes_back_unless_it_was_begun_exactly_once() {
        let (mut flight, mut last) = (Flight::default(), 0);
        let dealt = |quality| Parcel { group: Some(Arc::from("g/a")), ..parcel(quality, None) };
        flight.send(dealt(Quality::ExactlyOnce), &mut last);
        flight.send(dealt(Quality::AtLeastOnce), &mut last);
        flight.send(parcel(Quality::AtLeastOnce, None), &mut last);
        flight.wait(dealt(Quality::ExactlyOnce));
        assert_eq!(flight.returning().count(), 2);
    }
}
