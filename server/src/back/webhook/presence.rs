//! Who is there, as the back end is told: at once when one comes, and only after a while when one has gone, so that whoever comes
//! back before was never away.
//!
//! ```text
//!            comes                        goes             the pause is over
//!  unknown --------> there, to be told ---------> leaving ------------------> gone, to be told --> unknown
//!                          ^--------------------------+ comes back                 | comes back
//!                          ^-------------------------------------------------------+
//! ```
//!
//! Owns pauses and what was told of whom, over all shards. Reads no clock and waits for nothing. Start at [`Presence::comes`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use hub::{ShardId, Subject};
use tokio::time::Instant;

/// All that are there, or were told to be.
#[derive(Debug, Default)]
pub(super) struct Presence {
    all: HashMap<Subject, Place>,
    /// When absences are long enough.
    due: BTreeSet<(Instant, Subject)>,
    /// Of whom there is something to tell. Each is there once, so this is bounded by those who come and go.
    untold: VecDeque<Subject>,
}

/// What is known of one.
#[derive(Debug, Default)]
struct Place {
    /// The shards it is on, one bit each.
    shards: u64,
    /// When its absence is long enough; until then it is there.
    due: Option<Instant>,
    /// What was told last.
    told: Told,
    is_queued: bool,
}

/// Something to tell.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) subject: Subject,
    /// That it is there, or gone.
    pub(super) told: Told,
    /// What the back end believes until it hears that.
    before: Told,
}

/// What the back end believes of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// It is not there.
    #[default]
    Gone,
    /// It is there.
    Here,
    /// It may have been told that it is there, by a process that was killed meanwhile.
    Unsure,
}

impl Place {
    /// What is true of it, whatever was told.
    fn state(&self) -> Told {
        if self.shards != 0 || self.due.is_some() { Told::Here } else { Told::Gone }
    }
}

impl Presence {
    /// One has come to a shard.
    pub(super) fn comes(&mut self, shard: ShardId, subject: Subject) {
        let place = self.all.entry(subject.clone()).or_default();
        place.shards |= 1 << shard.0;
        if let Some(due) = place.due.take() {
            self.due.remove(&(due, subject.clone()));
        }
        self.queue(subject);
    }

    /// One has gone from a shard; what is long enough is when `now` is `pause` later.
    pub(super) fn goes(&mut self, shard: ShardId, subject: Subject, (now, pause): (Instant, Duration)) {
        let Some(place) = self.all.get_mut(&subject) else { return };
        let was_on = place.shards;
        place.shards &= !(1 << shard.0);
        if was_on != 0 && place.shards == 0 {
            self.expect_end(subject, now + pause);
        }
    }

    /// One of whom something was told by an earlier process, and who may come back by `until`.
    pub(super) fn restore(&mut self, subject: Subject, told: Told, until: Instant) {
        self.all.insert(subject.clone(), Place { told, ..Place::default() });
        self.expect_end(subject, until);
    }

    /// When [`Self::next`] may have more.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Of whom something is to be told now, and what; it counts as told.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        while let Some((_, subject)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            self.due.pop_first();
            if let Some(place) = self.all.get_mut(&subject) {
                place.due = None;
            }
            self.queue(subject);
        }
        loop {
            let subject = self.untold.pop_front()?;
            let Some(place) = self.all.get_mut(&subject) else { continue };
            place.is_queued = false;
            let told = place.state();
            let before = std::mem::replace(&mut place.told, told);
            if told == Told::Gone {
                self.all.remove(&subject);
            }
            if told != before {
                return Some(Step { subject, told, before });
            }
        }
    }

    /// What was given could not be told: the back end believes what it did before.
    pub(super) fn failed(&mut self, Step { subject, before, .. }: Step) {
        self.all.entry(subject.clone()).or_default().told = before;
        self.queue(subject);
    }

    fn expect_end(&mut self, subject: Subject, until: Instant) {
        let Some(place) = self.all.get_mut(&subject) else { return };
        place.due = Some(until);
        self.due.insert((until, subject));
    }

    fn queue(&mut self, subject: Subject) {
        let Some(place) = self.all.get_mut(&subject) else { return };
        if place.state() != place.told && !std::mem::replace(&mut place.is_queued, true) {
            self.untold.push_back(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(10);

    fn user(number: u64) -> Subject {
        Subject::User(format!("u{number}").into())
    }

    fn all(presence: &mut Presence, now: Instant) -> Vec<(Subject, Told)> {
        std::iter::from_fn(|| presence.next(now)).map(|step| (step.subject, step.told)).collect()
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let (mut presence, zero, shard) = (Presence::default(), Instant::now(), ShardId(0));
        let at = |ms| zero + Duration::from_millis(ms);
        presence.comes(shard, user(1));
        assert_eq!(all(&mut presence, zero), [(user(1), Told::Here)]);
        presence.goes(shard, user(1), (zero, PAUSE));
        assert_eq!(presence.next_deadline(), Some(at(10)));
        assert_eq!(all(&mut presence, at(9)), []);
        presence.comes(ShardId(1), user(1));
        assert_eq!((all(&mut presence, at(20)), presence.next_deadline()), (vec![], None));
        presence.goes(ShardId(1), user(1), (at(20), PAUSE));
        assert_eq!(all(&mut presence, at(30)), [(user(1), Told::Gone)]);
        assert!(presence.all.is_empty(), "nothing is left of it");
    }

    #[test]
    fn who_was_there_for_a_moment_only_is_told_to_have_come_and_gone() {
        let (mut presence, zero) = (Presence::default(), Instant::now());
        presence.comes(ShardId(0), user(1));
        presence.goes(ShardId(0), user(1), (zero, PAUSE));
        assert_eq!(all(&mut presence, zero), [(user(1), Told::Here)]);
        assert_eq!(all(&mut presence, zero + PAUSE), [(user(1), Told::Gone)]);
    }

    #[test]
    fn of_an_earlier_process_those_who_stay_away_are_told_and_those_who_were_unsure_are_told_again() {
        let (mut presence, zero) = (Presence::default(), Instant::now());
        (0..4).for_each(|n| {
            presence.restore(user(n), if n < 2 { Told::Here } else { Told::Unsure }, zero + PAUSE);
        });
        presence.comes(ShardId(0), user(0));
        presence.comes(ShardId(0), user(2));
        assert_eq!(all(&mut presence, zero), [(user(2), Told::Here)]);
        assert_eq!(all(&mut presence, zero + PAUSE), [(user(1), Told::Gone), (user(3), Told::Gone)]);
    }

    #[test]
    fn who_was_unsure_is_told_whatever_could_not_be_told_before() {
        let (mut presence, zero) = (Presence::default(), Instant::now());
        presence.restore(user(1), Told::Unsure, zero + PAUSE);
        presence.comes(ShardId(0), user(1));
        let coming = presence.next(zero).unwrap();
        presence.goes(ShardId(0), user(1), (zero, PAUSE));
        presence.failed(coming);
        assert_eq!(
            all(&mut presence, zero + PAUSE),
            [(user(1), Told::Gone)],
            "it may have been told to be there"
        );
        presence.restore(user(2), Told::Unsure, zero + PAUSE);
        let going = presence.next(zero + PAUSE).unwrap();
        presence.comes(ShardId(0), user(2));
        presence.failed(going);
        assert_eq!(all(&mut presence, zero + PAUSE), [(user(2), Told::Here)], "it may never have been told");
    }

    /// A pseudo random sequence (SplitMix64).
    fn random(state: &mut u64, below: u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// Whatever happens, in whatever order it is told: come and gone take turns, who is there longer than it takes to say so is
    /// told to be there, none is told to be gone that was away for less than the pause, and in the end all are.
    #[test]
    fn come_and_gone_take_turns_and_are_true() {
        for seed in 0..300 {
            let (mut presence, zero, mut rng) = (Presence::default(), Instant::now(), seed);
            let at = |ms: u64| zero + Duration::from_millis(ms);
            // On which shards it is, and since when on none.
            let mut model = [(0_u64, 0_u64); 3];
            let mut believed = [false; 3];
            let mut now = 0;
            for _ in 0..300 {
                now += random(&mut rng, 6);
                let (who, shard) = (random(&mut rng, 3), random(&mut rng, 3));
                let (shards, since) = &mut model[who as usize];
                match random(&mut rng, 3) {
                    0 => {
                        *shards |= 1 << shard;
                        presence.comes(ShardId(shard as u8), user(who));
                    }
                    1 if *shards > 0 => {
                        *shards &= !(1 << shard);
                        if *shards == 0 {
                            *since = now;
                        }
                        presence.goes(ShardId(shard as u8), user(who), (at(now), PAUSE));
                    }
                    _ => {}
                }
                if random(&mut rng, 3) > 0 {
                    continue;
                }
                for step in std::iter::from_fn(|| presence.next(at(now))).collect::<Vec<_>>() {
                    let who = (0..3).find(|n| user(*n) == step.subject).unwrap() as usize;
                    if random(&mut rng, 4) == 0 {
                        presence.failed(step);
                        continue;
                    }
                    let told = step.told;
                    assert_ne!(believed[who], told == Told::Here, "seed {seed}: nothing is told twice");
                    believed[who] = told == Told::Here;
                    let (shards, since) = model[who];
                    assert!(told == Told::Here || shards == 0 && since + 10 <= now, "seed {seed}: {who}");
                }
            }
            for who in 0..3 {
                (0..3).for_each(|shard| presence.goes(ShardId(shard), user(who), (at(now), PAUSE)));
            }
            for (subject, told) in all(&mut presence, at(now + 10)) {
                believed[(0..3).find(|n| user(*n) == subject).unwrap() as usize] = told == Told::Here;
            }
            assert!(believed.iter().all(|believed| !believed), "seed {seed}");
            assert!(presence.all.is_empty() && presence.due.is_empty(), "seed {seed}: {presence:?}");
        }
    }
}
