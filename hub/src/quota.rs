//! How many sessions a user has at once, decided at the user's home, which hears of every session of the user in one order.
//!
//! ```text
//!              arrives            a place is free
//!  nobody ------------> Waits -----------------------> Sits <----> Away (no connection)
//!                         |                             |            |
//!                         | no place, `Refuse`           | a newer one arrives, `EndOldest`;
//!                         v                             v            v  without a connection always
//!                       Leaves <----------------------- Leaves <-----+          (any) departs: gone
//! ```
//!
//! A session holds its place until its hub says that it is gone, so there is never one more than the limit whose client knows
//! of it. Owns that order; nothing is kept unless there is a limit, and then some 100 bytes per user. Must not know what a
//! session is told. Start at [`Hub::quota_arrives`].

use crate::effect::{Effects, Refusal};
use crate::hub::Hub;
use crate::hub_mail::{HolderChange, HolderMail, HubMail};
use crate::ids::{ChannelName, SessionId, SessionKey, ShardId};
use crate::limits::{UserFull, UserLimits};
use crate::reason::Reason;
use crate::reassign::Standing;
use crate::session::ARRIVING;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who has sessions, of the users whose home this is.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) limits: UserLimits,
    users: BTreeMap<Arc<str>, SmallVec<[Holder; 1]>>,
}

/// A session of a user, in order of arrival.
#[derive(Debug)]
struct Holder {
    session: SessionId,
    shard: ShardId,
    /// Of the move by which it came; 0 = it was the user's from the start.
    number: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its client has not been told of it.
    Waits,
    Sits,
    /// It has no connection.
    Away,
    /// It was told to end.
    Leaves {
        /// It had come further than to wait.
        sat: bool,
    },
}

/// What follows at the shard of a session, with the number of its move.
type Verdict = (SessionId, u64, ShardId, Option<Reason>);

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn arrives(
        &mut self,
        user: Arc<str>,
        (session, number): (SessionId, u64),
        shard: ShardId,
    ) -> Vec<Verdict> {
        let holders = self.users.entry(Arc::clone(&user)).or_default();
        match holders.iter_mut().find(|holder| holder.session == session) {
            Some(holder) if matches!(holder.stage, Stage::Sits | Stage::Away) => {
                holder.stage = Stage::Sits;
                // Of several that a crash brought back above the limit, those go that are away still.
                let mut verdicts = vec![(session, number, shard, None)];
                verdicts.extend(self.settle(&user));
                return verdicts;
            }
            Some(_) => {}
            None => holders.push(Holder { session, shard, number, stage: Stage::Waits }),
        }
        self.settle(&user)
    }

    fn changes(&mut self, mail: HolderMail, shard: ShardId) -> Vec<Verdict> {
        let HolderMail { user, session, change } = mail;
        if change == HolderChange::Remains {
            let holders = self.users.entry(user).or_default();
            holders.push(Holder { session, shard, number: 0, stage: Stage::Away });
            return Vec::new();
        }
        let Some(holders) = self.users.get_mut(&user) else { return Vec::new() };
        let Some(at) = holders.iter().position(|holder| holder.session == session) else { return Vec::new() };
        if change == HolderChange::Departs {
            holders.remove(at);
            if holders.is_empty() {
                self.users.remove(&user);
                return Vec::new();
            }
        } else if let Some(holder) = holders.get_mut(at) {
            holder.stage = match (change, holder.stage) {
                (HolderChange::LosesConnection, Stage::Sits) => Stage::Away,
                (HolderChange::Returns, Stage::Away) => Stage::Sits,
                (_, stage) => stage,
            };
        }
        self.settle(&user)
    }

    /// Ends whoever has to, and lets in whoever there is a place for.
    fn settle(&mut self, user: &str) -> Vec<Verdict> {
        let UserLimits { sessions_max, when_full } = self.limits;
        let Some(holders) = self.users.get_mut(user) else { return Vec::new() };
        let mut verdicts = Vec::new();
        let is_staying = |holder: &&Holder| !matches!(holder.stage, Stage::Leaves { .. });
        let staying = holders.iter().filter(is_staying).count();
        for _ in sessions_max as usize..staying {
            let away = holders.iter().position(|holder| holder.stage == Stage::Away);
            let (at, reason) = match (away, when_full) {
                (Some(at), _) => (Some(at), Reason::Superseded),
                (None, UserFull::EndOldest) => {
                    (holders.iter().position(|holder| is_staying(&holder)), Reason::Superseded)
                }
                (None, UserFull::Refuse) => {
                    (holders.iter().rposition(|holder| holder.stage == Stage::Waits), Reason::UserFull)
                }
            };
            let Some(holder) = at.and_then(|at| holders.get_mut(at)) else { break };
            holder.stage = Stage::Leaves { sat: holder.stage != Stage::Waits };
            verdicts.push((holder.session, holder.number, holder.shard, Some(reason)));
        }
        let waits = |holder: &Holder| matches!(holder.stage, Stage::Waits | Stage::Leaves { sat: false });
        let taken = holders.iter().filter(|holder| !waits(holder)).count();
        let waiting = holders.iter_mut().filter(|holder| holder.stage == Stage::Waits);
        for holder in waiting.take((sessions_max as usize).saturating_sub(taken)) {
            holder.stage = Stage::Sits;
            verdicts.push((holder.session, holder.number, holder.shard, None));
        }
        verdicts
    }
}

impl Hub {
    /// How many sessions a user may have, before anything else. Without it the number is not limited.
    pub fn limit_users(&mut self, limits: UserLimits) {
        self.quotas.limits = limits;
    }

    pub(crate) fn has_quotas(&self) -> bool {
        self.quotas.limits.sessions_max > 0
    }

    /// At the user's home: a session asks to be let in.
    pub(crate) fn quota_arrives(
        &mut self,
        from: ShardId,
        user: Arc<str>,
        session: (SessionId, u64),
        effects: &mut Effects,
    ) {
        let verdicts = self.quotas.arrives(Arc::clone(&user), session, from);
        self.tell_verdicts(&user, verdicts, effects);
    }

    /// At the user's home: something happened to a session.
    pub(crate) fn quota_changes(&mut self, from: ShardId, mail: HolderMail, effects: &mut Effects) {
        let user = Arc::clone(&mail.user);
        let verdicts = self.quotas.changes(mail, from);
        self.tell_verdicts(&user, verdicts, effects);
    }

    fn tell_verdicts(&mut self, user: &Arc<str>, verdicts: Vec<Verdict>, effects: &mut Effects) {
        for (session, number, shard, reason) in verdicts {
            let user = Arc::clone(user);
            let mail = match reason {
                Some(reason) => HubMail::MakesWay { user, session, number, reason },
                None => HubMail::Welcome { list: self.stored_of(&user), user, session, number },
            };
            self.post(shard, mail, effects);
        }
    }

    /// To the home of the session's user, if it counts sessions.
    pub(crate) fn tell_quota(&mut self, key: SessionKey, change: HolderChange, effects: &mut Effects) {
        if !self.has_quotas() {
            return;
        }
        let session = self.sessions.known(key);
        let (session, Some(user)) = (session.id, session.user()) else { return };
        let home = ChannelName::user(&user).home(&self.config.topology);
        let mail = HubMail::Holder(Box::new(HolderMail { user, session, change }));
        self.post(home, mail, effects);
    }

    /// At the session's hub: it has to end, if it is the user's still, or does not become the user's. A client that was not told of
    /// it leaves nothing behind.
    pub(crate) fn make_way(
        &mut self,
        (user, number): (&str, u64),
        id: SessionId,
        reason: Reason,
        effects: &mut Effects,
    ) {
        let Some(key) = self.sessions.key_of(&id) else { return };
        match self.moves.standing(key, number) {
            Standing::Waits => return self.abandon_move(key, Refusal::OverLimit, effects),
            Standing::Goes => {}
            Standing::Stays if self.sessions.known(key).user().as_deref() == Some(user) => {}
            // It has become another user's: nothing that this one says holds its client back.
            Standing::Stays => return self.has_arrived(key, id, effects),
        }
        if self.sessions.known(key).held & ARRIVING > 0 {
            self.drop_will(key);
        }
        self.end(key, reason, effects);
    }

    /// Sessions of an earlier hub hold their places; above the limit they go when the next one arrives.
    pub(crate) fn restore_quotas(&mut self, effects: &mut Effects) {
        if self.has_quotas() {
            let keys: Vec<SessionKey> = self.sessions.iter_from(0).map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.tell_quota(key, HolderChange::Remains, effects));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(sessions_max: u32, when_full: UserFull) -> Quotas {
        Quotas { limits: UserLimits { sessions_max, when_full }, ..Quotas::default() }
    }

    fn id(number: u8) -> SessionId {
        SessionId([number; 15])
    }

    fn arrives(quotas: &mut Quotas, number: u8) -> Vec<(u8, Option<Reason>)> {
        short(quotas.arrives("ann".into(), (id(number), 0), ShardId(0)))
    }

    fn changes(quotas: &mut Quotas, number: u8, change: HolderChange) -> Vec<(u8, Option<Reason>)> {
        let mail = HolderMail { user: "ann".into(), session: id(number), change };
        short(quotas.changes(mail, ShardId(0)))
    }

    fn short(verdicts: Vec<Verdict>) -> Vec<(u8, Option<Reason>)> {
        verdicts.into_iter().map(|(session, _, _, reason)| (session.0[0], reason)).collect()
    }

    #[test]
    fn the_oldest_is_gone_before_the_newest_is_let_in() {
        let mut quotas = quotas(2, UserFull::EndOldest);
        assert_eq!(arrives(&mut quotas, 1), [(1, None)]);
        assert_eq!(arrives(&mut quotas, 2), [(2, None)]);
        assert_eq!(arrives(&mut quotas, 3), [(1, Some(Reason::Superseded))]);
        assert_eq!(arrives(&mut quotas, 4), [(2, Some(Reason::Superseded))]);
        assert_eq!(arrives(&mut quotas, 5), [(3, Some(Reason::Superseded))], "it waited for the first");
        assert_eq!(changes(&mut quotas, 3, HolderChange::Departs), [], "it had no place");
        assert_eq!(changes(&mut quotas, 2, HolderChange::Departs), [(4, None)]);
        assert_eq!(changes(&mut quotas, 1, HolderChange::Departs), [(5, None)]);
        assert_eq!(changes(&mut quotas, 4, HolderChange::Departs), []);
        assert_eq!(changes(&mut quotas, 5, HolderChange::Departs), []);
        assert!(quotas.is_empty());
    }

    #[test]
    fn of_more_sessions_than_a_user_may_have_a_crash_brings_back_no_more_than_that() {
        let mut quotas = quotas(1, UserFull::EndOldest);
        assert_eq!(changes(&mut quotas, 1, HolderChange::Remains), []);
        assert_eq!(changes(&mut quotas, 2, HolderChange::Remains), []);
        assert_eq!(arrives(&mut quotas, 2), [(2, None), (1, Some(Reason::Superseded))]);
        assert_eq!(arrives(&mut quotas, 1), [], "it was told to end");
        assert_eq!(changes(&mut quotas, 1, HolderChange::Departs), []);
        assert_eq!(changes(&mut quotas, 2, HolderChange::Departs), []);
        assert!(quotas.is_empty());
    }

    #[test]
    fn who_has_no_connection_makes_way_for_who_has_one() {
        let mut quotas = quotas(1, UserFull::Refuse);
        assert_eq!(arrives(&mut quotas, 1), [(1, None)]);
        assert_eq!(arrives(&mut quotas, 2), [(2, Some(Reason::UserFull))]);
        assert_eq!(changes(&mut quotas, 2, HolderChange::Departs), []);
        assert_eq!(changes(&mut quotas, 1, HolderChange::LosesConnection), []);
        assert_eq!(arrives(&mut quotas, 1), [(1, None)], "it goes on");
        assert_eq!(arrives(&mut quotas, 2), [(2, Some(Reason::UserFull))]);
        assert_eq!(changes(&mut quotas, 2, HolderChange::Departs), []);
        assert_eq!(changes(&mut quotas, 1, HolderChange::LosesConnection), []);
        assert_eq!(arrives(&mut quotas, 2), [(1, Some(Reason::Superseded))]);
        assert_eq!(changes(&mut quotas, 1, HolderChange::Returns), [], "too late");
        assert_eq!(changes(&mut quotas, 1, HolderChange::Departs), [(2, None)]);
    }
}
