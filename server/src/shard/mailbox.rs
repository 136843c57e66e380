//! Mailboxes between threads: bounded, and a sleeping receiver is woken once, not once per message.
//!
//! Owns the bound and the wake-up; must not know what is said. Start at [`Sender`].
//!
//! The queue itself is a list in blocks with a counter as its bound: a ring of `limits.mailbox_messages_max` slots
//! would hold memory for messages that are hardly ever there.

use crate::mail::{Mail, PeerMail};
use crossbeam_channel as channel;
use hub::ShardId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The mailbox is full; the message comes back. Try again after other work, or wait.
#[derive(Debug)]
pub struct Full(pub Box<Mail>);

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
    /// Puts a message in and wakes the shard. Messages to a shard that has ended are dropped.
    ///
    /// # Errors
    /// [`Full`] at `limits.mailbox_messages_max`.
    pub fn try_send(&self, mail: Mail) -> Result<(), Full> {
        if !self.reserve(&self.shared.mails, 1) {
            return Err(Full(Box::new(mail)));
        }
        self.put(Letter::Mail(mail));
        Ok(())
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
}

impl Inbox {
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

/// A mailbox of at most `messages_max` messages, whose receiver sleeps in the poll that `waker` belongs to.
pub(super) fn mailbox(waker: mio::Waker, messages_max: usize) -> (Sender, Inbox) {
    let (sender, letters) = channel::unbounded();
    let (mails, posts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = Arc::new(Shared { waker, pending: AtomicBool::new(false), mails, posts });
    (Sender { letters: sender, shared: shared.clone(), messages_max }, Inbox { letters, shared })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ping() -> Mail {
        Mail::Drain { window_ms: 0 }
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
        let Err(Full(back)) = sender.try_send(ping()) else { panic!("the box holds two") };
        assert!(matches!(*back, Mail::Drain { window_ms: 0 }));
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
}
