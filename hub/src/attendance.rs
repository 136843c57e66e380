//! Who comes and goes on channels whose rule asks for it, in one order: that of the channel's home, which hears of each member
//! from the member's hub and counts.
//!
//! ```text
//!  hub of a session             home of the channel                caller
//!    joins, leaves -- Attends ----> counts ---- Effect::Attendance --> a message on the channel
//! ```
//!
//! In a large channel a message per coming and going would be a message to everybody for each of everybody, so above a size
//! there are only counts, the next when a tenth has come or gone. Owns the counts, some 100 bytes per channel that is told of;
//! must not know what a message says. A member is told of where it is a member by the channel's name, not by a filter. Start
//! at [`Hub::tell_attendance`].

use crate::effect::{Attendance, Effect, Effects, PresenceMember};
use crate::hub::Hub;
use crate::hub_mail::{AttendMail, HubMail};
use crate::ids::{ChannelName, SessionKey};
use crate::limits::Presence;
use crate::roster::RosterKey;
use std::collections::BTreeMap;

/// Members of a channel for whom a message each is told, of which nothing else is said.
const MEMBERS_MAX: u32 = 1000;

/// The channels with members whose home this is and whose rule asks for it.
#[derive(Debug)]
pub(crate) struct Attendances {
    members_max: u32,
    channels: BTreeMap<ChannelName, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    members: u32,
    /// The last number that was told.
    told: u32,
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attends {
    /// It is subscribed from now on.
    Joins,
    /// It is not any more.
    Leaves,
}

impl Default for Attendances {
    fn default() -> Self {
        Self { members_max: MEMBERS_MAX, channels: BTreeMap::new() }
    }
}

impl Attendances {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// What is told of a member that joins or leaves.
    fn note(
        &mut self,
        channel: &ChannelName,
        member: PresenceMember,
        attends: Attends,
    ) -> Option<Attendance> {
        let most = self.members_max;
        if attends == Attends::Joins {
            let count = self.channels.entry(channel.clone()).or_default();
            count.members += 1;
            return match count.members.checked_sub(most) {
                None | Some(0) => Some(Attendance::Joined(member)),
                Some(1) => count.tell(),
                Some(_) => count.told(),
            };
        }
        let count = self.channels.get_mut(channel)?;
        count.members -= 1;
        let (members, told) =
            (count.members, if count.members == most { count.tell() } else { count.told() });
        if members == 0 {
            self.channels.remove(channel);
        }
        if members < most { Some(Attendance::Left(member)) } else { told }
    }
}

impl Count {
    /// The number, if it is far enough from the last one.
    fn told(&mut self) -> Option<Attendance> {
        let is_due = u64::from(self.members.abs_diff(self.told)) * 10 >= u64::from(self.told);
        if is_due { self.tell() } else { None }
    }

    fn tell(&mut self) -> Option<Attendance> {
        self.told = self.members;
        Some(Attendance::Count(self.members))
    }
}

impl Hub {
    /// Up to how many members each of them is told of, before anything else. Without it the number is 1,000.
    pub fn limit_attendance(&mut self, members_max: u32) {
        self.attendances.members_max = members_max;
    }

    /// A session here joins or leaves a channel.
    pub(crate) fn tell_attendance(
        &mut self,
        key: SessionKey,
        roster: RosterKey,
        attends: Attends,
        effects: &mut Effects,
    ) {
        if self.rosters.rule_of(roster).is_none_or(|rule| rule.presence != Presence::Told) {
            return;
        }
        let (session, roster) = (self.sessions.known(key), self.rosters.known(roster));
        if session.is_observer() || roster.is_filter() {
            return;
        }
        let (member, channel) = (session.member(), roster.name.clone());
        let to = channel.home(&self.config.topology);
        let mail = HubMail::Attends(Box::new(AttendMail { channel, member, attends }));
        self.post(to, mail, effects);
    }

    /// At the channel's home.
    pub(crate) fn attended(&mut self, mail: AttendMail, effects: &mut Effects) {
        let AttendMail { channel, member, attends } = mail;
        if let Some(attendance) = self.attendances.note(&channel, member, attends) {
            effects.list.push(Effect::Attendance { channel, attendance: Box::new(attendance) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Millis, SessionId};

    fn told(attendances: &mut Attendances, attends: Attends) -> Option<String> {
        let member = PresenceMember { session: SessionId([7; 15]), user: None, info: None, since: Millis(0) };
        let channel = ChannelName::parse("hall", 100).unwrap();
        Some(match attendances.note(&channel, member, attends)? {
            Attendance::Joined(_) => "joined".to_owned(),
            Attendance::Left(_) => "left".to_owned(),
            Attendance::Count(count) => count.to_string(),
        })
    }

    #[test]
    fn above_a_size_there_are_only_counts_and_few_of_them() {
        let mut attendances = Attendances { members_max: 20, ..Attendances::default() };
        let mut joins = |count: usize| -> Vec<String> {
            (0..count).filter_map(|_| told(&mut attendances, Attends::Joins)).collect()
        };
        assert_eq!(joins(20), ["joined"; 20]);
        assert_eq!(joins(10), ["21", "24", "27", "30"]);
        let mut leaves = |count: usize| -> Vec<String> {
            (0..count).filter_map(|_| told(&mut attendances, Attends::Leaves)).collect()
        };
        assert_eq!(leaves(10), ["27", "24", "21", "20"], "from here the list can be asked for again");
        assert_eq!(leaves(1), ["left"]);
        assert_eq!(told(&mut attendances, Attends::Joins).unwrap(), "joined");
        assert_eq!(told(&mut attendances, Attends::Joins).unwrap(), "21");
        let mut leaves = |count: usize| -> Vec<String> {
            (0..count).filter_map(|_| told(&mut attendances, Attends::Leaves)).collect()
        };
        assert_eq!(leaves(1), ["20"]);
        assert_eq!(leaves(20), ["left"; 20]);
        assert!(attendances.is_empty());
    }
}
