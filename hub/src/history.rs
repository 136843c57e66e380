//! What channels keep for those who come later: bounded by number, age and bytes of all together.
//! Owns positions; knows nothing of who reads.

use crate::effect::{Effects, Page, Refusal, Report};
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, Position, Token};
use crate::limits::HistoryRule;
use crate::message::Message;
use crate::roster::RosterKey;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// One channel's history. Its epoch ends with it, so that no position names two messages.
#[derive(Debug)]
pub(crate) struct History {
    epoch: u64,
    /// Offset of the newest message there ever was.
    newest: u64,
    kept: VecDeque<Kept>,
    /// Whether `Histories::expiries` holds a time at which to look at it.
    is_scheduled: bool,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    at: Millis,
}

/// What all histories of a hub share.
#[derive(Debug)]
pub(crate) struct Histories {
    /// Of the history made last; the first is the hub's.
    epoch: u64,
    bytes: u64,
    expiries: BTreeSet<(Millis, RosterKey)>,
}

impl History {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.newest }
    }

    fn pop(&mut self, histories: &mut Histories) -> bool {
        let Some(oldest) = self.kept.pop_front() else { return false };
        histories.bytes -= oldest.message.len_bytes();
        if self.kept.capacity() > 16 && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
        true
    }

    /// Offset of the oldest message kept; one more than `newest` when there is none.
    fn oldest(&self) -> u64 {
        self.newest + 1 - self.kept.len() as u64
    }

    fn page(&self, after: Option<Position>, limit: u32) -> Result<Page<Arc<Message>>, Refusal> {
        let oldest = self.oldest();
        let from = match after {
            None => oldest,
            Some(after) if after.epoch != self.epoch || after.offset > self.newest => {
                return Err(Refusal::PositionLost);
            }
            Some(after) if after.offset + 1 < oldest => return Err(Refusal::PositionLost),
            Some(after) => after.offset + 1,
        };
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let mut rest = self.kept.iter().skip(skip).map(|kept| Arc::clone(&kept.message));
        let items = rest.by_ref().take(limit as usize).collect();
        Ok(Page { items, more: rest.next().is_some() })
    }
}

impl Histories {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, bytes: 0, expiries: BTreeSet::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.expiries.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    fn new_history(&mut self) -> Box<History> {
        self.epoch = self.epoch.wrapping_add(1);
        Box::new(History { epoch: self.epoch, newest: 0, kept: VecDeque::new(), is_scheduled: false })
    }
}

impl Hub {
    /// The position of the message that is kept next.
    pub(crate) fn next_position(&mut self, key: RosterKey) -> Position {
        let (roster, histories) = (self.rosters.known_mut(key), &mut self.histories);
        let was_listed = roster.is_listed();
        let history = roster.history.get_or_insert_with(|| histories.new_history());
        let position = Position { offset: history.newest + 1, epoch: history.epoch };
        self.rosters.listed += u32::from(!was_listed);
        position
    }

    /// Keeps the message that `next_position` was for.
    pub(crate) fn keep(&mut self, key: RosterKey, rule: HistoryRule, message: Arc<Message>) {
        let (histories, limits) = (&mut self.histories, &self.config.limits);
        let Some(history) = &mut self.rosters.known_mut(key).history else { return };
        history.newest += 1;
        histories.bytes += message.len_bytes();
        history.kept.push_back(Kept { message, at: self.now });
        while history.kept.len() > rule.messages_max as usize || histories.bytes > limits.history_bytes_max {
            if !history.pop(histories) {
                break;
            }
        }
        schedule(histories, history, key, rule);
        self.drop_empty_history(key);
        self.rosters.remove_if_unused(key);
    }

    pub(crate) fn trim_histories(&mut self) {
        while let Some((at, key)) = self.histories.expiries.first().copied().filter(|(at, _)| *at <= self.now)
        {
            self.histories.expiries.remove(&(at, key));
            self.trim_history(key);
            self.drop_empty_history(key);
            self.rosters.remove_if_unused(key);
        }
    }

    fn trim_history(&mut self, key: RosterKey) {
        let Some(rule) = self.rosters.rule_of(key).and_then(|rule| rule.history) else { return };
        let Some(history) = &mut self.rosters.known_mut(key).history else { return };
        history.is_scheduled = false;
        while history
            .kept
            .front()
            .is_some_and(|oldest| oldest.at.0.saturating_add(rule.age_ms_max) <= self.now.0)
        {
            history.pop(&mut self.histories);
        }
        schedule(&mut self.histories, history, key, rule);
    }

    /// A history without messages lives on while somebody is subscribed, so that positions they know stay good.
    pub(crate) fn drop_empty_history(&mut self, key: RosterKey) {
        let roster = self.rosters.known_mut(key);
        let is_empty = |history: &History| history.kept.is_empty() && !history.is_scheduled;
        if roster.is_unwanted_here() && roster.wanted == 0 && roster.history.as_deref().is_some_and(is_empty)
        {
            roster.history = None;
            self.rosters.listed -= 1;
        }
    }

    pub(crate) fn newest_position(&self, key: RosterKey) -> Option<Position> {
        self.rosters
            .known(key)
            .history
            .as_ref()
            .filter(|history| history.newest > 0)
            .map(|history| history.position())
    }

    pub(crate) fn query_history(
        &self,
        token: Token,
        channel: &ChannelName,
        (after, limit): (Option<Position>, u32),
        effects: &mut Effects,
    ) {
        let key = self.rosters.find(channel.as_str());
        let history = key.and_then(|key| self.rosters.known(key).history.as_deref());
        let page = match (history, after) {
            (Some(history), after) => history.page(after, limit),
            (None, None) => Ok(Page { items: Vec::new(), more: false }),
            (None, Some(_)) => Err(Refusal::PositionLost),
        };
        match page {
            Ok(page) => {
                effects.report(token, Report::History(page, key.and_then(|key| self.newest_position(key))))
            }
            Err(refusal) => effects.refuse(token, refusal),
        }
    }
}

/// At most one time per history, when its oldest message gets too old or earlier.
fn schedule(histories: &mut Histories, history: &mut History, key: RosterKey, rule: HistoryRule) {
    let Some(oldest) = history.kept.front().filter(|_| !history.is_scheduled) else { return };
    if let Some(at) = oldest.at.0.checked_add(rule.age_ms_max) {
        history.is_scheduled = histories.expiries.insert((Millis(at), key));
    }
}
