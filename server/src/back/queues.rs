//! Queues as operators look at them: lists with figures out of all shards, one queue, and what is stored in it.
//!
//! Changes nothing: to look at a message is not to receive it. Must not know by which protocol queues are used; what a message
//! says is its protocol's. Start at [`list`].

use hub::queue::{Answer, Peeked, QueueCommand, QueueLimits, QueueName, QueueRefusal, QueueView};
use hub::{Command, Page, Report, ShardId, Token};

use super::office::{Office, OfficeError};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueTrouble {
    /// The queue's home said no.
    Refused(QueueRefusal),
    /// It was not reached, or said nothing.
    Office(OfficeError),
    /// Stored messages cannot be read; the log says why.
    Store,
}

impl From<OfficeError> for QueueTrouble {
    fn from(error: OfficeError) -> Self {
        Self::Office(error)
    }
}

/// The first queues in order of name of those that begin with `prefix`, behind `after`; at most so many and never more than a
/// hub tells at once.
///
/// # Errors
/// [`QueueTrouble`] of any shard.
pub(crate) async fn list(
    office: &Office,
    prefix: &str,
    after: Option<&QueueName>,
    limit: u32,
) -> Result<Page<QueueView>, QueueTrouble> {
    let limit = limit.min(QueueLimits::default().page_max);
    let (mut items, mut more) = (Vec::new(), false);
    for shard in office.shards() {
        let command =
            |token| QueueCommand::List { prefix: prefix.to_owned(), after: after.cloned(), limit, token };
        if let Answer::Page(page) = ask(office, shard, command).await? {
            items.extend(page.items);
            more |= page.more;
        }
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    more |= items.len() > limit as usize;
    items.truncate(limit as usize);
    Ok(Page { items, more })
}

/// One queue.
///
/// # Errors
/// `NotFound` of [`QueueTrouble::Refused`], or what else is wrong.
pub(crate) async fn view(office: &Office, queue: &QueueName) -> Result<QueueView, QueueTrouble> {
    let home = queue.home(&office.topology());
    let command = |token| QueueCommand::Describe { queue: queue.clone(), token };
    match ask(office, home, command).await? {
        Answer::View(view) => Ok(*view),
        _ => Err(OfficeError::Unanswered.into()),
    }
}

/// Messages that are stored behind the place `after`, oldest first, whatever they are at.
///
/// # Errors
/// As [`view`].
pub(crate) async fn peek(
    office: &Office,
    queue: &QueueName,
    after: u64,
    limit: u32,
) -> Result<Page<Peeked>, QueueTrouble> {
    let home = queue.home(&office.topology());
    let command = |token| QueueCommand::Peek { queue: queue.clone(), after, limit, token };
    match ask(office, home, command).await? {
        Answer::Peeked(page) => Ok(page),
        _ => Err(OfficeError::Unanswered.into()),
    }
}

async fn ask(
    office: &Office,
    shard: ShardId,
    command: impl FnOnce(Token) -> QueueCommand,
) -> Result<Answer, QueueTrouble> {
    match office.ask(shard, |token| Command::Queue(command(token))).await? {
        Report::Queue(answer) => match *answer {
            Answer::Refused(refusal) => Err(QueueTrouble::Refused(refusal)),
            answer => Ok(answer),
        },
        _ => Err(OfficeError::Unanswered.into()),
    }
}

/// Account, region and name that a queue's full name is made of; one that was not given by the API of SQS has a name alone.
pub(crate) fn parts(queue: &QueueName) -> (&str, &str, &str) {
    let full = queue.as_str();
    let mut parts = full.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(account), Some(region), Some(name)) => (account, region, name),
        _ => ("", "", full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_has_three_parts_or_is_one() {
        assert_eq!(parts(&QueueName::new("0/us-east-1/q.fifo")), ("0", "us-east-1", "q.fifo"));
        assert_eq!(parts(&QueueName::new("a/b/c/d")), ("a", "b", "c/d"));
        assert_eq!(parts(&QueueName::new("jobs")), ("", "", "jobs"));
    }
}
