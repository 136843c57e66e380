//! Queues within their hub: commands and mail on the way in, and what leaves on the way out, once the records it rests on are
//! safe. Owns what waits for which of them; the journal itself is the hub's, and is lent to queues while they decide.

use super::Queues;
use super::answer::{Answer, QueueRefusal};
use super::command::QueueCommand;
use super::ids::MoveId;
use super::mail::{QueueCopy, QueueMail};
use crate::effect::{Effect, Effects, Report};
use crate::hub::Hub;
use crate::hub_mail::HubMail;
use crate::ids::{Partition, ShardId, Token};
use crate::journal::Promise;
use crate::record::Place;

/// What must be safe before something leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing.
    Open,
    /// The record at this place.
    Record(Partition, u64),
    /// Everything that was written so far.
    All,
}

/// What leaves.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// For whoever asked.
    Answer(Token, Box<Answer>),
    /// For the hub of another queue, or of the same.
    Mail(ShardId, Box<QueueMail>),
    /// A record is to be read.
    Load(MoveId, Place),
}

impl Hub {
    /// Without a journal there is nowhere for a message to be.
    pub(crate) fn queue(&mut self, command: QueueCommand, effects: &mut Effects) {
        if self.journal.has_queues() {
            return self.with_queues(effects, |queues| queues.apply(command));
        }
        if let Some(token) = command.token() {
            let refused = Box::new(Answer::Refused(QueueRefusal::NoJournal));
            effects.report(token, Report::Queue(refused));
        }
    }

    pub(crate) fn queue_mail(&mut self, from: ShardId, mail: QueueMail, effects: &mut Effects) {
        match mail {
            QueueMail::Copied(copied) => self.copied(copied, effects),
            mail => self.with_queues(effects, |queues| queues.mail(from, mail)),
        }
    }

    /// To the home of its queue.
    pub(crate) fn send_copy(&mut self, copy: Box<QueueCopy>, effects: &mut Effects) {
        let (to, own) = (copy.queue.home(&self.config.topology), self.config.shard);
        let mail = Box::new(QueueMail::Copy(copy));
        if to == own {
            self.queue_mail(own, *mail, effects);
        } else {
            effects.list.push(Effect::Mail { to, mail: HubMail::Queue(mail) });
        }
    }

    pub(crate) fn tick_queues(&mut self, effects: &mut Effects) {
        if self.queues.next_deadline().is_some_and(|at| at <= self.now) {
            self.with_queues(effects, Queues::tick);
        }
    }

    /// All records of queues were read.
    pub(crate) fn start_queues(&mut self, effects: &mut Effects) {
        self.with_queues(effects, Queues::start);
        self.empty_inbox(effects);
    }

    fn with_queues(&mut self, effects: &mut Effects, work: impl FnOnce(&mut Queues)) {
        self.queues.advance_to(self.now);
        std::mem::swap(&mut self.journal, &mut self.queues.desk.journal);
        work(&mut self.queues);
        std::mem::swap(&mut self.journal, &mut self.queues.desk.journal);
        let mut out = std::mem::take(&mut self.queues.desk.out);
        for (gate, leaving) in out.drain(..) {
            let is_safe = match gate {
                Gate::Open => true,
                Gate::Record(partition, number) => self.journal.is_safe(partition, number),
                // The promise itself looks.
                Gate::All => false,
            };
            if is_safe {
                self.let_go(leaving, effects);
            } else {
                self.promise(Promise::Queue(leaving), effects);
            }
        }
        self.queues.desk.out = out;
    }

    pub(crate) fn let_go(&mut self, leaving: Leaving, effects: &mut Effects) {
        match leaving {
            Leaving::Answer(token, answer) => effects.report(token, Report::Queue(answer)),
            Leaving::Mail(to, mail) => self.post(to, HubMail::Queue(mail), effects),
            Leaving::Load(id, place) => effects.list.push(Effect::Load { id, place }),
        }
    }
}
