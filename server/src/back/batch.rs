//! Many messages at once: each shard gets its part in a few mails, and all reports come back together, so that a batch costs
//! one way to the shards and back however many messages it has.
//!
//! Messages that go to one shard keep their order. Must not know where they come from. Start at [`Office::publish_many`].

use super::gather::{Delivery, Outline, Tally, message_id};
use super::office::{ANSWER_WAIT, MANY_MAX, ManyAnswers, Office, OfficeError};
use crate::mail::Mail;
use hub::{Command, MessageId, Report, ShardId};
use tokio::time::Instant;

/// Most messages of a batch.
pub const BATCH_MESSAGES_MAX: usize = MANY_MAX;

/// Messages of one mail: what a shard does before it looks at its clients again.
const MAIL_MESSAGES_MAX: usize = 32;

/// What is wanted of one message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// What becomes of it.
    Delivery,
    /// Nothing but its id.
    Id,
}

/// What became of one.
#[derive(Debug)]
pub enum Published {
    /// It is where it belongs.
    Delivered(Delivery),
    /// It is on its way.
    Sent(MessageId),
}

/// One that is on its way: where it stands in the batch, and what is known of it.
enum Standing {
    Waits { tally: Box<Tally>, must_be_kept: bool },
    Is(Result<Published, OfficeError>),
}

/// The part of a batch that one shard gets.
#[derive(Default)]
struct Part {
    commands: Vec<Command>,
    places: Vec<usize>,
}

impl Office {
    /// Publishes all of them, in their order where they go to one shard; at most [`BATCH_MESSAGES_MAX`]. What becomes of each,
    /// in the order given: errors as [`Office::publish`] has them, each of one message only.
    pub async fn publish_many(&self, outlines: Vec<(Outline, Want)>) -> Vec<Result<Published, OfficeError>> {
        let mut answers = self.expect_many(outlines.len()).await;
        let mut parts: Vec<Part> = self.shards().map(|_| Part::default()).collect();
        let mut standings: Vec<Standing> = Vec::with_capacity(outlines.len());
        for (place, (outline, want)) in outlines.into_iter().enumerate() {
            standings.push(self.put(&mut parts, (place, answers.token(place)), outline, want));
        }
        for (shard, part) in self.shards().zip(parts) {
            self.tell_part(shard, part, &mut standings).await;
        }
        gather_many(&mut standings, &mut answers).await;
        let is_draining = self.is_draining();
        standings.into_iter().map(|standing| standing.outcome(is_draining)).collect()
    }

    fn put(
        &self,
        parts: &mut [Part],
        (place, token): (usize, hub::Token),
        outline: Outline,
        want: Want,
    ) -> Standing {
        let (id, shards) = (message_id(), self.shards_of(&outline.target));
        let token = (want == Want::Delivery).then_some(token);
        let standing = match want {
            Want::Id => Standing::Is(Ok(Published::Sent(id))),
            Want::Delivery => {
                let must_be_kept = self.has_to_keep(&outline);
                let mut tally = Tally::new(id, outline.involves(&shards), outline.reply_within);
                if must_be_kept {
                    tally.wait_for_counts(ANSWER_WAIT);
                }
                Standing::Waits { tally: Box::new(tally), must_be_kept }
            }
        };
        let (last, others) =
            shards.split_last().map_or((None, &[][..]), |(last, others)| (Some(*last), others));
        for shard in others {
            if let Some(part) = parts.get_mut(usize::from(shard.0)) {
                part.add(place, outline.command(id, token));
            }
        }
        if let Some(part) = last.and_then(|shard| parts.get_mut(usize::from(shard.0))) {
            part.add(place, outline.into_command(id, token));
        }
        standing
    }

    /// What could not be sent is told of each message; one that another shard has may have been published.
    async fn tell_part(&self, shard: ShardId, part: Part, standings: &mut [Standing]) {
        let Part { commands, places } = part;
        let mut commands = commands.into_iter();
        for places in places.chunks(MAIL_MESSAGES_MAX) {
            let some: Vec<Command> = commands.by_ref().take(places.len()).collect();
            let Err(error) = self.tell(shard, Mail::Commands(some)).await else { continue };
            for place in places {
                if let Some(standing) = standings.get_mut(*place) {
                    standing.fail(error.clone());
                }
            }
        }
    }
}

impl Part {
    fn add(&mut self, place: usize, command: Command) {
        self.commands.push(command);
        self.places.push(place);
    }
}

impl Standing {
    fn fail(&mut self, error: OfficeError) {
        *self = Self::Is(Err(error));
    }

    fn take(&mut self, report: Report) {
        match (self, report) {
            (Self::Waits { tally, .. }, report) if !matches!(report, Report::Refused(_)) => {
                tally.take(report)
            }
            (standing @ Self::Waits { .. }, Report::Refused(refusal)) => {
                standing.fail(OfficeError::Refused(refusal));
            }
            _ => {}
        }
    }

    /// Until when something of it is owed.
    fn waits_until(&self) -> Option<Instant> {
        match self {
            Self::Waits { tally, .. } => tally.waits_until(),
            Self::Is(_) => None,
        }
    }

    fn give_up_if_overdue(&mut self, now: Instant) {
        let Self::Waits { tally, .. } = self else { return };
        if tally.waits_until().is_some_and(|until| until <= now)
            && let Err(error) = tally.give_up_on_overdue()
        {
            self.fail(error);
        }
    }

    fn outcome(self, is_draining: bool) -> Result<Published, OfficeError> {
        match self {
            Self::Is(outcome) => outcome,
            Self::Waits { tally, must_be_kept } => {
                let is_certain = tally.delivery.missing_shards.is_empty() || !(must_be_kept || is_draining);
                if is_certain {
                    Ok(Published::Delivered(tally.delivery))
                } else {
                    Err(OfficeError::Uncertain)
                }
            }
        }
    }
}

/// Until nothing more is owed of any, or the time of what is owed is up.
async fn gather_many(standings: &mut [Standing], answers: &mut ManyAnswers) {
    while let Some(until) = standings.iter().filter_map(Standing::waits_until).min() {
        match answers.until(until).await {
            Some(reports) => {
                for (place, report) in reports {
                    if let Some(standing) = standings.get_mut(place) {
                        standing.take(report);
                    }
                }
            }
            None => {
                let now = Instant::now();
                standings.iter_mut().for_each(|standing| standing.give_up_if_overdue(now));
            }
        }
    }
}
