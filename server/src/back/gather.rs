//! Publishing from the back office and adding up what the shards report: counts, positions, replies.

use super::office::{ANSWER_WAIT, Answers, Office, OfficeError};
use crate::mail::Mail;
use hub::{
    Body, ChannelName, Command, Counts, Except, MessageId, Position, Publish, Quality, Report, SessionId,
    ShardId, Target, Traits,
};
use smallvec::{SmallVec, smallvec};
use std::time::Duration;
use tokio::time::Instant;

/// How long the counts of a publish may take, once it is known who owes them, before shards are named as missing.
/// Milliseconds: 200.
pub const COUNT_WAIT: Duration = Duration::from_millis(200);

/// Slack for the last replies, which shards close at the same deadline as we do.
const CLOSING_SLACK: Duration = Duration::from_millis(250);

/// What to publish.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Where: one channel, a union of channels, or one session.
    pub target: Target,
    /// The event's name.
    pub event: Option<Box<str>>,
    /// The content.
    pub body: Body,
    /// Drop for sessions that cannot take it at once.
    pub volatile: bool,
    /// Left out.
    pub except: Option<Box<Except>>,
    /// Wait so long for replies of the sessions reached.
    pub reply_within: Option<Duration>,
    /// Quality, retaining, expiry; usually [`usual_traits`]. What is volatile is of quality `AtMostOnce`.
    pub traits: Traits,
    /// Only if it is newer than the last one of its channel, and of its key; for one channel.
    pub version: Option<u64>,
}

/// What a back end wants of a message unless it says otherwise: repeated until the client acknowledges it, and kept for
/// sessions whose client is away, where the client's protocol has that.
#[must_use]
pub fn usual_traits() -> Traits {
    Traits { quality: Quality::AtLeastOnce, ..Traits::default() }
}

/// One session's answer to an ask.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Who.
    pub session: SessionId,
    /// Its values.
    pub body: Body,
}

/// What became of a publish.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message's id.
    pub id: MessageId,
    /// Its place in the channel's history, when one is kept.
    pub position: Option<Position>,
    /// Sessions.
    pub counts: Counts,
    /// In order of arrival.
    pub replies: Vec<Reply>,
    /// Sessions that were asked and did not reply in time.
    pub missing: Vec<SessionId>,
    /// Shards that did not report their counts in time.
    pub missing_shards: Vec<ShardId>,
}

impl Office {
    /// Publishes and waits for the counts, and for replies when the outline asks for them.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] as the hub says; [`OfficeError::Busy`], [`OfficeError::Stopped`];
    /// [`OfficeError::Uncertain`] when the channel's home said nothing within [`ANSWER_WAIT`], or any shard involved while
    /// the node ends or where it has to keep the message.
    pub async fn publish(&self, outline: Outline) -> Result<Delivery, OfficeError> {
        let id = message_id();
        let answers = self.expect().await;
        let shards = self.shards_of(&outline.target);
        self.tell_all(&shards, || outline.command(id, Some(answers.token()))).await?;
        let mut tally = Tally::new(id, outline.involves(&shards), outline.reply_within);
        let must_be_kept = self.has_to_keep(&outline);
        if must_be_kept {
            tally.wait_for_counts(ANSWER_WAIT);
        }
        // Boxed, so that the handlers of a program, which mostly send without waiting, stay small.
        let delivery = Box::pin(gather(tally, answers)).await?;
        if !delivery.missing_shards.is_empty() && (must_be_kept || self.is_draining()) {
            return Err(OfficeError::Uncertain);
        }
        Ok(delivery)
    }

    /// Whether it is a success only when every shard involved has kept it.
    pub(super) fn has_to_keep(&self, outline: &Outline) -> bool {
        !outline.volatile && outline.traits.quality > Quality::AtMostOnce && self.is_keeping()
    }

    /// Publishes without waiting for anything but room in the mailbox.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`]; [`OfficeError::Uncertain`] when that befell some shards only.
    pub async fn publish_only(&self, outline: Outline) -> Result<MessageId, OfficeError> {
        let id = message_id();
        let shards = self.shards_of(&outline.target);
        match shards.as_slice() {
            // The usual case: nothing is copied.
            [only] => self.tell(*only, Mail::Hub(outline.into_command(id, None))).await?,
            several => self.tell_all(several, || outline.command(id, None)).await?,
        }
        Ok(id)
    }

    /// Once a shard has it, an error of another does not mean that nothing was published.
    async fn tell_all(&self, shards: &[ShardId], command: impl Fn() -> Command) -> Result<(), OfficeError> {
        for (told, shard) in shards.iter().enumerate() {
            let telling = self.tell(*shard, Mail::Hub(command())).await;
            telling.map_err(|error| if told == 0 { error } else { OfficeError::Uncertain })?;
        }
        Ok(())
    }

    pub(super) fn shards_of(&self, target: &Target) -> SmallVec<[ShardId; 4]> {
        match target {
            Target::Channel(channel) => smallvec![self.home_of_channel(channel)],
            Target::Session(session) => smallvec![self.home_of(*session)],
            Target::Union(_) => self.shards().collect(),
        }
    }

    /// The shard that gives a channel's messages their position.
    #[must_use]
    pub fn home_of_channel(&self, channel: &ChannelName) -> ShardId {
        channel.home(&self.topology())
    }
}

impl Outline {
    /// Which of the shards that get it will report; for one channel that is not known before its home has said so.
    pub(super) fn involves(&self, shards: &[ShardId]) -> Involved {
        match self.target {
            Target::Channel(_) => Involved::NotRoutedYet,
            Target::Union(_) | Target::Session(_) => {
                Involved::Shards(shards.iter().fold(0, |bits, shard| bits | bit(*shard)))
            }
        }
    }

    pub(super) fn command(&self, id: MessageId, token: Option<hub::Token>) -> Command {
        self.clone().into_command(id, token)
    }

    pub(super) fn into_command(self, id: MessageId, token: Option<hub::Token>) -> Command {
        let version = self.version;
        let publish = Box::new(self.into_publish(id, token));
        match version {
            None => Command::Publish(publish),
            Some(version) => Command::PublishNewer { version, publish },
        }
    }

    fn into_publish(self, id: MessageId, token: Option<hub::Token>) -> Publish {
        let Self { target, event, body, volatile, except, reply_within, traits, version: _ } = self;
        let quality = if volatile { Quality::AtMostOnce } else { traits.quality };
        let traits = Traits { quality, ..traits };
        let reply_within_ms = reply_within.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Publish { id, target, event, body, volatile, except, reply_within_ms, token, traits, receipt: None }
    }
}

/// Shards that owe a `Delivered`.
#[derive(Clone, Copy)]
pub(super) enum Involved {
    /// One channel: its home has not said yet.
    NotRoutedYet,
    /// These, one bit each.
    Shards(u64),
}

/// The sum of the reports to one publish, and what is still owed of them.
pub(super) struct Tally {
    counts_owed: Involved,
    /// Delivered came before Routed. One bit per shard, as everywhere here.
    counted_early: u64,
    replies_owed: u64,
    counts_until: Instant,
    /// How long counts may take once it is known who owes them.
    counts_wait: Duration,
    replies_until: Option<Instant>,
    pub(super) delivery: Delivery,
}

impl Tally {
    pub(super) fn new(id: MessageId, counts_owed: Involved, reply_within: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            counts_until: now + counts_wait(&counts_owed),
            counts_wait: COUNT_WAIT,
            counts_owed,
            counted_early: 0,
            replies_owed: 0,
            replies_until: reply_within.map(|wait| now + wait + CLOSING_SLACK),
            delivery: Delivery {
                id,
                position: None,
                counts: Counts::default(),
                replies: Vec::new(),
                missing: Vec::new(),
                missing_shards: Vec::new(),
            },
        }
    }

    /// Counts that wait for a disk may take longer than others.
    pub(super) fn wait_for_counts(&mut self, wait: Duration) {
        self.counts_until = self.counts_until.max(Instant::now() + wait);
        self.counts_wait = wait;
    }

    /// Until when something is still owed; `None` = all is in.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        let counts_owed = match self.counts_owed {
            Involved::NotRoutedYet => true,
            Involved::Shards(shards) => shards != 0,
        };
        if counts_owed {
            return Some(self.counts_until);
        }
        self.replies_until.filter(|_| self.replies_owed != 0)
    }

    pub(super) fn take(&mut self, report: Report) {
        match report {
            Report::Routed { shards, position } => {
                self.delivery.position = position;
                self.counts_until = Instant::now() + self.counts_wait;
                self.counts_owed = Involved::Shards(shards & !self.counted_early);
            }
            Report::Delivered { shard, counts, expecting } => self.count(shard, counts, expecting),
            Report::Reply { session, body } => self.delivery.replies.push(Reply { session, body }),
            Report::RepliesClosed { shard, missing } => {
                self.replies_owed &= !bit(shard);
                self.delivery.missing.extend(missing);
            }
            // No other report is sent for a publish.
            _ => {}
        }
    }

    fn count(&mut self, shard: ShardId, counts: Counts, expecting: u32) {
        self.delivery.counts.delivered += counts.delivered;
        self.delivery.counts.queued += counts.queued;
        self.delivery.counts.dropped += counts.dropped;
        if expecting > 0 {
            self.replies_owed |= bit(shard);
        }
        match &mut self.counts_owed {
            Involved::NotRoutedYet => self.counted_early |= bit(shard),
            Involved::Shards(shards) => *shards &= !bit(shard),
        }
    }

    /// Names the shards that are late, then the replies. A home that said nothing may be stuck before or after it published.
    pub(super) fn give_up_on_overdue(&mut self) -> Result<(), OfficeError> {
        match std::mem::replace(&mut self.counts_owed, Involved::Shards(0)) {
            Involved::Shards(0) => self.replies_owed = 0,
            Involved::Shards(late) => self.delivery.missing_shards.extend(shards_in(late)),
            Involved::NotRoutedYet => return Err(OfficeError::Uncertain),
        }
        Ok(())
    }
}

/// Adds up the reports to one publish until nothing more is owed or time is up.
async fn gather(mut tally: Tally, mut answers: Answers) -> Result<Delivery, OfficeError> {
    while let Some(until) = tally.waits_until() {
        let wait = until.saturating_duration_since(Instant::now());
        match answers.within(wait).await {
            Ok(report) => tally.take(report),
            Err(OfficeError::Unanswered) => tally.give_up_on_overdue()?,
            Err(error) => return Err(error),
        }
    }
    Ok(tally.delivery)
}

fn bit(shard: ShardId) -> u64 {
    1 << shard.0
}

fn shards_in(bits: u64) -> impl Iterator<Item = ShardId> {
    (0..64).filter(move |shard| bits & (1 << shard) != 0).map(ShardId)
}

/// A home that is behind is waited for like any answer, since without it nothing is known at all.
fn counts_wait(owed: &Involved) -> Duration {
    match owed {
        Involved::NotRoutedYet => ANSWER_WAIT,
        Involved::Shards(_) => COUNT_WAIT,
    }
}

/// A ULID: 48 bits of milliseconds, 80 random bits.
#[must_use]
pub fn message_id() -> MessageId {
    MessageId(ulid::Ulid::generate().0)
}

/// Where a publish to this name goes: `$client/<session>` names one session, every other name a channel.
#[must_use]
pub fn target_of(channel: ChannelName) -> Target {
    channel.session().map_or(Target::Channel(channel), Target::Session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::back::OfficePorts;

    fn to_nobody() -> Outline {
        Outline {
            version: None,
            target: Target::Union(Vec::new()),
            event: None,
            body: Body::Values { json: "[]".into(), attachments: Vec::new() },
            volatile: false,
            except: None,
            reply_within: None,
            traits: usual_traits(),
        }
    }

    /// A publish whose time is up before any shard said a word.
    async fn overdue(owed: Involved) -> Result<Delivery, OfficeError> {
        let topology = hub::Topology { shards: 2, partitions: 64 };
        let (_keep, reports) = tokio::sync::mpsc::unbounded_channel();
        let office = Office::start(OfficePorts { shards: Vec::new(), topology, reports });
        let mut tally = Tally::new(MessageId(1), owed, None);
        tally.counts_until = Instant::now();
        gather(tally, office.expect().await).await
    }

    /// A publish to all of two shards, of which some have ended.
    async fn published(there: [bool; 2]) -> Result<MessageId, OfficeError> {
        let config = crate::config::Config::loopback();
        let (shards, mut inlets): (Vec<_>, Vec<_>) =
            there.iter().map(|_| crate::shard::inlet(&config).unwrap()).unzip();
        let mut there = there.iter();
        inlets.retain(|_| *there.next().unwrap());
        let topology = hub::Topology { shards: 2, partitions: 64 };
        let (_keep, reports) = tokio::sync::mpsc::unbounded_channel();
        let office = Office::start(OfficePorts { shards, topology, reports });
        office.publish_only(to_nobody()).await
    }

    #[tokio::test]
    async fn a_publish_that_a_shard_took_before_another_ended_may_have_been_published() {
        assert!(published([true, true]).await.is_ok());
        assert_eq!(published([true, false]).await.unwrap_err(), OfficeError::Uncertain);
        assert_eq!(published([false, true]).await.unwrap_err(), OfficeError::Stopped);
    }

    #[tokio::test]
    async fn a_publish_that_no_home_confirmed_is_no_success() {
        assert_eq!(overdue(Involved::NotRoutedYet).await.unwrap_err(), OfficeError::Uncertain);
    }

    #[tokio::test]
    async fn shards_that_did_not_count_are_named() {
        let late = Involved::Shards(0b10);
        assert_eq!(overdue(late).await.unwrap().missing_shards, [ShardId(1)]);
    }
}
