//! Mailboxes between threads: bounded, and a sleeping receiver is woken once, not once per message.
//!
//! Owns the bound and the wake-up; must not know what is said. Start at [`Sender`].
//!
//! The queue itself is a list in blocks with a counter as its bound: a ring of `limits.mailbox_messages_max` slots
//! would hold memory for messages that are hardly ever there.

use crate::mail::{Mail, PeerMail};
use crossbeam_channel as channel;
use hub::ShardId;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Why a message was not taken.
#[derive(Debug)]
pub enum Unsent {
    /// The mailbox is full; the message comes back. Try again after other work, or wait.
    Full(Box<Mail>),
    /// The shard obeys nobody any more.
    Closed,
}

/// What arrives at a shard.
#[derive(Debug)]
pub(super) enum Letter {
    /// From the back office.
    Mail(Mail),
    /// From another shard, in order.
    Peers(ShardId, Vec<PeerMail>),
}

/// What both sides see.
#[derive(Debug)]
struct Shared {
    waker: mio::Waker,
    /// Set from the first message to the next look into the box.
    pending: AtomicBool,
    /// Messages of the back office in the box or about to be put in.
    mails: AtomicUsize,
    /// The same for messages of other shards: each kind has the whole bound, so that neither locks the other out.
    posts: AtomicUsize,
    /// The back office puts nothing in any more.
    closed: AtomicBool,
    /// When connections are to be gone, once the node is to end.
    end: OnceLock<Instant>,
    /// The back office has not done with what clients did, and needs the shard until then.
    needed: AtomicBool,
    /// The connections of the shard are gone since the node is to end.
    over: AtomicBool,
    /// So many of the shard's changes are safe.
    safe: AtomicU64,
}

impl Shared {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // Fails only when the poll is gone, and with it the receiver.
            let _ = self.waker.wake();
        }
    }
}

/// The sending side of a shard's mailbox; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    letters: channel::Sender<Letter>,
    shared: Arc<Shared>,
    messages_max: usize,
}

impl Sender {
    /// Puts a message in and wakes the shard. What is in is obeyed, also by a shard that is about to end.
    ///
    /// # Errors
    /// [`Unsent::Full`] at `limits.mailbox_messages_max`, [`Unsent::Closed`] once the shard is at its end.
    pub fn try_send(&self, mail: Mail) -> Result<(), Unsent> {
        if !self.reserve(&self.shared.mails, 1) {
            return Err(Unsent::Full(Box::new(mail)));
        }
        // After the reservation: a shard that closes waits for what is reserved.
        if self.shared.closed.load(Ordering::SeqCst) {
            self.shared.mails.fetch_sub(1, Ordering::SeqCst);
            return Err(Unsent::Closed);
        }
        self.put(Letter::Mail(mail));
        Ok(())
    }

    /// The node is to end: the shard closes its connections until then, refuses handshakes with 503 meanwhile, and ends its
    /// thread once all other shards are as far. They have to be told, too. Cannot fail, however full the box is; the first
    /// wish counts.
    pub fn end_at(&self, at: Instant) {
        // A second wish changes nothing.
        let _ = self.shared.end.set(at);
        self.shared.wake();
    }

    /// A shard that ends stays open, once its connections are gone, until [`Sender::not_needed`]; not for ever.
    pub fn needed(&self) {
        self.shared.needed.store(true, Ordering::SeqCst);
    }

    /// The shard may close.
    pub fn not_needed(&self) {
        self.shared.needed.store(false, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Whether the connections of a shard that ends are gone, and the back office was given all that their clients did.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::SeqCst)
    }

    /// So many of the changes that the shard gave to the journal, counted from the first one, are safe. Cannot fail, however
    /// full the box is.
    pub fn kept(&self, safe: u64) {
        self.shared.safe.fetch_max(safe, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Puts a batch of another shard in. One batch may exceed the bound, or it could never be delivered.
    ///
    /// # Errors
    /// The batch, when the box is full.
    pub(super) fn try_post(&self, from: ShardId, batch: Vec<PeerMail>) -> Result<(), Vec<PeerMail>> {
        if !self.reserve(&self.shared.posts, batch.len()) {
            return Err(batch);
        }
        self.put(Letter::Peers(from, batch));
        Ok(())
    }

    fn reserve(&self, count: &AtomicUsize, messages: usize) -> bool {
        let before = count.fetch_add(messages, Ordering::SeqCst);
        let fits = before < self.messages_max;
        if !fits {
            count.fetch_sub(messages, Ordering::SeqCst);
        }
        fits
    }

    fn put(&self, letter: Letter) {
        // Fails only when the shard has ended.
        let _ = self.letters.send(letter);
        self.shared.wake();
    }
}

/// The receiving side, owned by the shard.
#[derive(Debug)]
pub(super) struct Inbox {
    letters: channel::Receiver<Letter>,
    shared: Arc<Shared>,
    /// What the shard has heard of that is no letter.
    heard: Heard,
}

#[derive(Debug, Default)]
struct Heard {
    safe: u64,
    end: bool,
}

impl Inbox {
    /// When connections are to be gone; `None` while the node is not to end.
    pub(super) fn ends_at(&mut self) -> Option<Instant> {
        let at = self.shared.end.get().copied();
        self.heard.end = at.is_some();
        at
    }

    /// How many changes are safe.
    pub(super) fn safe(&mut self) -> u64 {
        self.heard.safe = self.shared.safe.load(Ordering::SeqCst);
        self.heard.safe
    }

    /// Whether there is more to hear than [`Inbox::safe`] and [`Inbox::ends_at`] said. To be asked between a look and a
    /// sleep: what is told after the last turn asked, and before the look, wakes nobody if something else already did.
    pub(super) fn has_news(&self) -> bool {
        self.shared.safe.load(Ordering::SeqCst) != self.heard.safe
            || self.shared.end.get().is_some() != self.heard.end
    }

    /// Tells the back office that the connections are gone.
    pub(super) fn tell_over(&self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }

    /// Whether the back office needs the shard.
    pub(super) fn is_needed(&self) -> bool {
        self.shared.needed.load(Ordering::SeqCst)
    }

    /// The back office is told from now on that nobody obeys it. What it put in before, or is about to, is still there.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// Whether messages of the back office are in the box or about to be put in.
    pub(super) fn has_mail(&self) -> bool {
        self.shared.mails.load(Ordering::SeqCst) > 0
    }

    /// Letters that are in now. Whatever comes after this wakes the poll.
    pub(super) fn look(&self) -> usize {
        self.shared.pending.store(false, Ordering::SeqCst);
        self.letters.len()
    }

    /// The next letter.
    pub(super) fn take(&self) -> Option<Letter> {
        let letter = self.letters.try_recv().ok()?;
        match &letter {
            Letter::Mail(_) => self.shared.mails.fetch_sub(1, Ordering::SeqCst),
            Letter::Peers(_, batch) => self.shared.posts.fetch_sub(batch.len(), Ordering::SeqCst),
        };
        Some(letter)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

/// A mailbox of at most `messages_max` messages, whose receiver sleeps in the poll that `waker` belongs to.
pub(super) fn mailbox(waker: mio::Waker, messages_max: usize) -> (Sender, Inbox) {
    let (sender, letters) = channel::unbounded();
    let (mails, posts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (pending, closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (end, safe) = (OnceLock::new(), AtomicU64::new(0));
    let (needed, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let shared = Arc::new(Shared { waker, pending, mails, posts, closed, end, needed, over, safe });
    let inbox = Inbox { letters, shared: Arc::clone(&shared), heard: Heard::default() };
    (Sender { letters: sender, shared, messages_max }, inbox)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ping() -> Mail {
        Mail::TailClosed
    }

    fn make(messages_max: usize) -> (mio::Poll, Sender, Inbox) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, inbox) = mailbox(waker, messages_max);
        (poll, sender, inbox)
    }

    fn woken(poll: &mut mio::Poll) -> bool {
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_full_box_gives_the_message_back_and_has_room_again_after_one_is_taken() {
        let (_poll, sender, inbox) = make(2);
        sender.try_send(ping()).unwrap();
        sender.try_send(ping()).unwrap();
        let Err(Unsent::Full(back)) = sender.try_send(ping()) else { panic!("the box holds two") };
        assert!(matches!(*back, Mail::TailClosed));
        assert!(inbox.take().is_some());
        sender.try_send(*back).unwrap();
        assert_eq!(inbox.look(), 2);
    }

    #[test]
    fn one_wake_up_for_many_messages_and_a_new_one_after_a_look() {
        let (mut poll, sender, inbox) = make(100);
        assert!(!woken(&mut poll));
        (0..10).for_each(|_| sender.try_send(ping()).unwrap());
        assert!(woken(&mut poll));
        assert!(!woken(&mut poll));
        assert_eq!(inbox.look(), 10);
        sender.try_send(ping()).unwrap();
        assert!(woken(&mut poll));
    }

    #[test]
    fn a_batch_larger_than_the_box_gets_through_when_the_box_has_room() {
        let (_poll, sender, inbox) = make(2);
        let batch =
            || (0..5).map(|_| PeerMail::Hub(hub::HubMail::InterestKnown { token: 1 })).collect::<Vec<_>>();
        sender.try_post(ShardId(1), batch()).unwrap();
        assert_eq!(sender.try_post(ShardId(1), batch()).unwrap_err().len(), 5);
        assert!(matches!(inbox.take(), Some(Letter::Peers(ShardId(1), batch)) if batch.len() == 5));
        sender.try_post(ShardId(1), batch()).unwrap();
    }

    #[test]
    fn a_closed_box_takes_no_mail_but_keeps_what_is_in_and_takes_posts() {
        let (_poll, sender, inbox) = make(2);
        sender.try_send(ping()).unwrap();
        inbox.close();
        assert!(matches!(sender.try_send(ping()), Err(Unsent::Closed)));
        assert!(inbox.has_mail());
        assert!(matches!(inbox.take(), Some(Letter::Mail(Mail::TailClosed))));
        assert!(!inbox.has_mail() && inbox.take().is_none());
        sender.try_post(ShardId(1), vec![PeerMail::Quiet]).unwrap();
        assert!(inbox.take().is_some());
    }

    #[test]
    fn a_shard_that_is_gone_is_told_of_instead_of_mail_being_dropped() {
        let (_poll, sender, inbox) = make(2);
        drop(inbox);
        assert!(matches!(sender.try_send(ping()), Err(Unsent::Closed)));
    }

    #[test]
    fn what_comes_late_in_a_turn_that_something_else_began_is_not_slept_over() {
        let (mut poll, sender, mut inbox) = make(2);
        // The turn is woken by a letter, and has heard all there is when more comes.
        sender.try_send(ping()).unwrap();
        assert!(woken(&mut poll));
        assert!(inbox.take().is_some() && inbox.safe() == 0 && inbox.ends_at().is_none());
        assert!(!inbox.has_news());
        sender.kept(7);
        assert!(inbox.look() == 0 && !woken(&mut poll));
        assert!(inbox.has_news());
        assert!(inbox.safe() == 7 && !inbox.has_news());

        sender.end_at(Instant::now());
        assert!(inbox.has_news());
        assert!(inbox.ends_at().is_some() && !inbox.has_news());
    }

    #[test]
    fn a_full_box_hears_of_what_is_safe() {
        let (mut poll, sender, mut inbox) = make(1);
        sender.try_send(ping()).unwrap();
        inbox.look();
        assert!(woken(&mut poll) && inbox.safe() == 0);
        sender.kept(5);
        sender.kept(3);
        assert!(woken(&mut poll));
        assert_eq!(inbox.safe(), 5);
    }

    #[test]
    fn a_full_box_hears_of_the_end_and_the_first_wish_counts() {
        let (mut poll, sender, mut inbox) = make(1);
        sender.try_send(ping()).unwrap();
        inbox.look();
        assert!(woken(&mut poll) && inbox.ends_at().is_none());
        let at = Instant::now();
        sender.end_at(at);
        sender.end_at(at + Duration::from_secs(1));
        assert!(woken(&mut poll));
        assert_eq!(inbox.ends_at(), Some(at));
    }
}
