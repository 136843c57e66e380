//! What ends a node and begins the next one, and what must be so then and in the end.

use super::{HISTORY, Person, Sent, WITH_HISTORY, Wish, World, hubs};
use bytes::Bytes;
use hub::{ChannelName, Command, Effect, Effects, Query, Reason, Report, SessionKey, Snapshot, Span, Token};
use std::collections::{BTreeMap, VecDeque};

impl World {
    /// All shards end without a word. Of what they had not written, a part has arrived.
    pub(super) fn crash(&mut self) {
        self.meet("crashed");
        let is_waiting = |person: &Person| person.session.as_ref().is_some_and(|held| !held.is_told);
        if self.people.iter().any(is_waiting) {
            self.meet("crashed with an admission held");
        }
        if self
            .wishes
            .values()
            .any(|wish| matches!(wish, Wish::Publish(number) if !self.sent[*number].is_acknowledged))
        {
            self.meet("crashed with a publish not acknowledged");
        }
        self.store.crash(&mut self.rng);
        self.end();
        self.begin(Vec::new());
        self.note_lost_offsets();
        if self.rng.chance(50) {
            self.check_history();
        }
    }

    /// All shards end in order: everything is written, and nothing is left for a snapshot.
    pub(super) fn restart(&mut self) {
        self.settle();
        self.meet("restarted");
        let snapshots: Vec<Snapshot> = self.hubs.iter().map(|hub| hub.snapshot(self.now)).collect();
        assert!(snapshots.iter().all(|snapshot| snapshot.sessions.is_empty()), "what is kept is kept once");
        self.end();
        self.store.begin();
        self.begin(snapshots);
    }

    fn end(&mut self) {
        self.mail.clear();
        self.wishes.clear();
        for who in 0..self.people.len() {
            self.cut(who);
            if let Some(held) = &mut self.people[who].session {
                held.crashes += 1;
            }
        }
    }

    fn begin(&mut self, snapshots: Vec<Snapshot>) {
        self.now.0 += self.rng.below(100);
        self.go_on();
        let mut snapshots = snapshots.into_iter();
        for shard in 0..self.hubs.len() {
            let snapshot = snapshots.next().unwrap_or_else(|| self.hubs[shard].snapshot(self.now));
            let (last, records) = self.store.records_of(shard);
            self.hubs[shard].keep_journal(&last, records);
            let mut effects = Effects::default();
            let refused = self.hubs[shard].restore(self.now, 0, snapshot, &mut effects);
            assert_eq!(refused, []);
            self.perform(shard, effects);
            let keepsakes: BTreeMap<_, _> = self.hubs[shard].take_keepsakes().into_iter().collect();
            for (who, person) in self.people.iter().enumerate() {
                if let Some(held) = person.session.as_ref().filter(|held| self.home(&held.id) == shard) {
                    assert_eq!(keepsakes.get(&held.id), Some(&Bytes::from(vec![who as u8])), "{:?}", held.id);
                }
            }
        }
        while self.mail.values().any(|mails| !mails.is_empty()) {
            self.deliver_mail();
        }
    }

    /// New hubs, which are told what to keep only at the first start.
    pub(super) fn go_on(&mut self) {
        self.lives += 1;
        self.hubs = hubs(self.topology, &self.limits, self.lives);
        if self.lives == 1 {
            self.hubs.iter_mut().for_each(|hub| hub.keep_journal(&[], Vec::new()));
        }
    }

    fn note_lost_offsets(&mut self) {
        for who in 0..self.people.len() {
            let Some(offset) = self.people[who].session.as_ref().and_then(|held| held.offset) else {
                continue;
            };
            let is_it = |record: &hub::Record| matches!(record, hub::Record::Delivered(delivered) if delivered.sequence >= offset.sequence);
            if self.is_roomy && !self.store.safe.values().any(is_it) {
                self.meet("recovered by an offset that was lost");
            }
        }
    }

    /// Until nothing more follows.
    pub(super) fn settle(&mut self) {
        loop {
            while self.mail.values().any(|mails| !mails.is_empty()) {
                self.deliver_mail();
            }
            for shard in 0..self.hubs.len() {
                let waiting = self.store.waiting(shard);
                self.store.write(shard, waiting);
                self.tell(shard);
            }
            self.tick();
            let is_kept = (0..self.hubs.len()).all(|shard| self.store.waiting(shard) == 0);
            if is_kept && self.mail.values().all(VecDeque::is_empty) {
                return;
            }
        }
    }

    /// Whoever has a session has got, in the end, what was acknowledged.
    pub(super) fn check(&mut self) {
        for who in 0..self.people.len() {
            if self.people[who].session.is_some() && self.people[who].tag.is_none() {
                self.come_back(who);
            }
        }
        self.settle();
        for who in 0..self.people.len() {
            while !self.people[who].wire.is_empty() {
                self.read_one(who);
            }
            if let Some(held) = &self.people[who].session {
                let missing: Vec<_> = held.owed.difference(&held.got).collect();
                assert!(missing.is_empty(), "{missing:?} never came to {:?}", held.id);
            }
        }
        self.check_history();
    }

    /// What was acknowledged is in the history, or enough that is newer.
    fn check_history(&mut self) {
        let name = ChannelName::parse(WITH_HISTORY, 40).unwrap();
        let home = usize::from(name.home(&self.topology).0);
        let query = Query::History { channel: name, span: Span::after(None, 1000) };
        let mut effects = Effects::default();
        self.settle();
        self.hubs[home].apply(self.now, Command::Query { token: Token(0), query }, &mut effects);
        let Some(Effect::Report { report: Report::History(page, _), .. }) = effects.list.pop() else {
            panic!("all is safe, so nothing waits")
        };
        let there: Vec<usize> = page.items.iter().map(|message| message.id.0 as usize).collect();
        assert!(there.is_sorted(), "{there:?}");
        for message in &page.items {
            self.tell_position(message.id.0 as usize, message.position.expect("it has one"));
        }
        let is_due = |sent: &Sent| sent.channel == WITH_HISTORY && sent.is_acknowledged;
        for (number, _) in self.sent.iter().enumerate().filter(|(_, sent)| is_due(sent)) {
            let newer = there.iter().filter(|other| **other > number).count();
            assert!(there.contains(&number) || newer >= HISTORY as usize, "{number} is not in {there:?}");
        }
        if self.lives > 1 && !there.is_empty() {
            self.meet("a history went on after a crash");
        }
    }

    /// When the last session has ended, nothing is kept but histories.
    pub(super) fn leave_nothing(&mut self) {
        for shard in 0..self.hubs.len() {
            let query = Query::Sessions { of: None, after: None, limit: 1000 };
            let mut effects = Effects::default();
            self.hubs[shard].apply(self.now, Command::Query { token: Token(0), query }, &mut effects);
            let Some(Effect::Report { report: Report::Sessions(page), .. }) = effects.list.pop() else {
                panic!("{effects:?}")
            };
            for view in page.items {
                let session = SessionKey(view.id.slot());
                self.apply(shard, Command::End { session, reason: Reason::ClientLeft });
            }
        }
        self.settle();
        let is_history = |record: &hub::Record| matches!(record, hub::Record::History { .. });
        let others: Vec<_> = self.store.safe.values().filter(|record| !is_history(record)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}
