//! What was published and subscribed, and what follows from it for each session: what it may get, what it must get, in which
//! order and how often. Knows hubs only by what they send.

use hub::{Grade, Quality, SessionId, filter_matches};
use std::collections::{BTreeMap, BTreeSet};

mod aftermath;

/// Worth testing; each must be met.
pub const SITUATIONS: &[&str] = &[
    "resumed",
    "taken over",
    "sent again",
    "number forgotten again",
    "offered again",
    "repeated",
    "several labels",
    "retained",
    "dealt",
    "dealt to another",
    "will",
    "expired",
    "declined",
    "full outbox",
    "late answer",
    "named",
    "by the office",
    "restarted",
    "crashed",
    "crashed with promises held",
    "offer published again after a crash",
    "number kept after a crash",
    "was not safe and is gone",
    "retained after a crash",
    "put-off after a crash",
];

/// A message, named by its place in the ledger, which is its body.
#[derive(Debug)]
pub struct Sent {
    pub channel: String,
    pub quality: Quality,
    pub retain: bool,
    /// It may be dropped for its age.
    pub ages: bool,
    pub is_will: bool,
    /// It is to be published so many milliseconds after it came.
    pub delay_ms: u64,
    /// A will that must not be published.
    pub is_void: bool,
    /// It names this session.
    pub to: Option<SessionId>,
    pub origin: Option<SessionId>,
    /// When, in steps.
    pub at: u64,
    /// How many messages it is: more than one when it was offered again without a number.
    pub copies: u32,
    /// Its newest place in the order of the channel's home, and all: after a crash it may be published again.
    pub order: Option<u64>,
    pub orders: Vec<u64>,
    pub ordered_at: u64,
    /// When those who are subscribed for certain were to get it, in steps.
    pub promised_at: Option<u64>,
    /// Its publisher was told that it is where it is needed, or it is kept until it is.
    pub is_acknowledged: bool,
    /// There was a crash before it was acknowledged: nobody needs to get it.
    pub is_in_doubt: bool,
    /// The client was told that it was not taken.
    pub is_refused: bool,
    /// A will that has been published; it may be in the moment of a crash and then be void.
    pub is_begun: bool,
    /// Crashes that it has seen.
    pub crashes: u32,
}

impl Sent {
    pub fn new(channel: &str, quality: Quality, origin: Option<SessionId>, at: u64) -> Self {
        Self {
            channel: channel.to_owned(),
            quality,
            retain: false,
            ages: false,
            is_will: false,
            delay_ms: 0,
            is_void: false,
            to: None,
            origin,
            at,
            copies: 1,
            order: None,
            orders: Vec::new(),
            ordered_at: 0,
            promised_at: None,
            is_acknowledged: false,
            is_in_doubt: false,
            is_refused: false,
            is_begun: false,
            crashes: 0,
        }
    }

    /// It is published at another time than it was offered.
    fn is_later(&self) -> bool {
        self.is_will || self.delay_ms > 0
    }
}

/// A subscription as one `Join` made it, named by its label.
#[derive(Debug)]
pub struct Record {
    pub session: SessionId,
    pub filter: String,
    pub group: Option<String>,
    pub quality: Quality,
    pub skip_own: bool,
    /// Known everywhere since, with these options.
    pub since: Option<u64>,
    /// And with any options.
    pub subscribed: Option<u64>,
    pub left: Option<u64>,
    /// The client was told that it is gone.
    pub is_left: bool,
    /// When, in steps.
    pub at: u64,
    /// Order numbers of the values there were when it began.
    pub values: BTreeMap<String, u64>,
}

impl Record {
    fn wants(&self, sent: &Sent) -> bool {
        let own = sent.origin == Some(self.session);
        filter_matches(&self.filter, &sent.channel) && !(own && self.skip_own) && sent.to.is_none()
    }

    fn is_certain(&self, at: u64) -> bool {
        self.left.is_none() && self.subscribed.is_some_and(|since| since <= at)
    }

    fn is_labelled(&self, at: u64) -> bool {
        self.left.is_none() && self.since.is_some_and(|since| since <= at)
    }
}

/// What a channel came to retain.
#[derive(Debug)]
struct Value {
    message: Option<usize>,
    /// It took the value away.
    is_empty: bool,
    /// It was there after a crash.
    is_safe: bool,
}

/// What is known of one session.
#[derive(Debug, Default)]
pub struct Account {
    /// Must still come, unless something ends the promise.
    must: BTreeSet<usize>,
    /// Label and channel: the value, or a newer one, must still come.
    values: BTreeSet<(u32, String)>,
    /// How often it came anew, by message and group, and how often of these exactly once.
    came: BTreeMap<(usize, Option<String>), (u32, u32)>,
    /// Highest order that came, by channel and quality.
    order: BTreeMap<(String, Quality), u64>,
    /// What came live for certain, and what came as retained, by label.
    live: BTreeSet<usize>,
    retained: BTreeSet<(usize, u32)>,
    /// What the back end subscribed it to, ever and now.
    office: BTreeSet<String>,
    /// Messages that it did not want, and may get again.
    declined: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub now: u64,
    pub sent: Vec<Sent>,
    pub records: BTreeMap<u32, Record>,
    pub accounts: BTreeMap<SessionId, Account>,
    /// Channel to message: what is retained, in the order of its home.
    pub retained: BTreeMap<String, usize>,
    /// Messages that some member of the group must still get.
    group_must: BTreeSet<(String, usize)>,
    /// Those that may be on their way back from a member of which nothing is kept.
    group_loose: BTreeSet<(String, usize)>,
    /// Messages that a member of the group has begun exactly once, or may have.
    group_begun: BTreeMap<(String, usize), SessionId>,
    orders: u64,
    restarted_at: u64,
    /// What channels have come to retain, in order, since the last crash.
    values: BTreeMap<String, Vec<Value>>,
    /// Values that homes have had before the crash.
    known_values: BTreeSet<usize>,
    /// Nothing is over a limit.
    pub is_ample: bool,
    pub seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub fn new(is_ample: bool) -> Self {
        Self { is_ample, ..Self::default() }
    }

    pub fn meet(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// A message is on its way; from now on who is subscribed for certain must get it.
    pub fn publish(&mut self, sent: Sent) -> usize {
        let (name, is_later) = (self.sent.len(), sent.is_later());
        self.sent.push(sent);
        if !is_later {
            self.promise(name);
        }
        name
    }

    /// Who is subscribed for certain now must get it; asked for again when it is published again, which counts once.
    pub fn promise(&mut self, name: usize) {
        let sent = &mut self.sent[name];
        if sent.promised_at.is_some() {
            return;
        }
        sent.promised_at = Some(self.now);
        let sent = &self.sent[name];
        let counts = sent.quality > Quality::AtMostOnce && !sent.ages;
        let certain = self.records.values().filter(|record| record.is_certain(self.now));
        for record in certain.filter(|record| record.wants(sent) && counts) {
            match &record.group {
                Some(group) => {
                    self.group_must.insert((group.clone(), name));
                }
                None if record.quality > Quality::AtMostOnce => {
                    self.accounts.get_mut(&record.session).unwrap().must.insert(name);
                }
                None => {}
            }
        }
        if let (Some(id), true) = (sent.to, counts)
            && let Some(account) = self.accounts.get_mut(&id)
        {
            account.must.insert(name);
        }
    }

    /// A promise was given that it is where it is needed, or will be.
    pub fn acknowledge(&mut self, name: usize) {
        let sent = &mut self.sent[name];
        (sent.is_acknowledged, sent.is_in_doubt) = (true, false);
    }

    /// The channel's home has it.
    pub fn ordered(&mut self, name: usize, body_is_empty: bool) {
        self.orders += 1;
        let sent = &mut self.sent[name];
        if sent.order.is_none() || sent.crashes > 0 {
            (sent.order, sent.ordered_at) = (Some(self.orders), self.now);
            sent.orders.push(self.orders);
        }
        // A value that there was is older than those behind it, also when it is published again.
        if !sent.retain || self.known_values.contains(&name) {
            return;
        }
        let (channel, weak) = (sent.channel.clone(), body_is_empty || sent.quality == Quality::AtMostOnce);
        let value = Value { message: Some(name), is_empty: body_is_empty, is_safe: false };
        self.values.entry(channel.clone()).or_default().push(value);
        if body_is_empty {
            self.retained.remove(&channel);
        } else {
            self.retained.insert(channel.clone(), name);
        }
        if weak {
            for account in self.accounts.values_mut() {
                account.values.retain(|(_, other)| *other != channel);
            }
        }
    }

    pub fn join(&mut self, label: u32, mut record: Record, catches_up: bool) {
        let same = |other: &Record| {
            (other.session, &other.filter, &other.group) == (record.session, &record.filter, &record.group)
        };
        for other in self.records.values_mut().filter(|other| other.left.is_none()) {
            if same(other) {
                other.left = Some(self.now);
                record.subscribed = other.subscribed;
            }
        }
        let account = self.accounts.entry(record.session).or_default();
        for (channel, name) in &self.retained {
            if catches_up && filter_matches(&record.filter, channel) {
                let sent = &self.sent[*name];
                record.values.insert(channel.clone(), sent.order.unwrap());
                if record.quality.min(sent.quality) > Quality::AtMostOnce && !record.skip_own {
                    account.values.insert((label, channel.clone()));
                }
            }
        }
        let session = record.session;
        self.records.insert(label, record);
        self.review(session);
    }

    pub fn joined(&mut self, label: u32) {
        let now = self.now;
        let record = self.records.get_mut(&label).unwrap();
        record.since.get_or_insert(now);
        record.subscribed.get_or_insert(now);
    }

    /// The records that end.
    pub fn leave(&mut self, session: SessionId, filter: &str, group: Option<&str>) -> Vec<u32> {
        let (now, mut labels) = (self.now, Vec::new());
        for (label, record) in &mut self.records {
            let is_it =
                (record.session, &*record.filter, record.group.as_deref()) == (session, filter, group);
            if is_it && record.left.is_none() {
                record.left = Some(now);
            }
            if is_it {
                labels.push(*label);
                let account = self.accounts.get_mut(&session).unwrap();
                account.values.retain(|(other, _)| other != label);
            }
        }
        match group {
            Some(group) => self.review_group(group),
            None => self.review(session),
        }
        labels
    }

    /// The client was told that they are gone.
    pub fn left(&mut self, labels: &[u32]) {
        for label in labels {
            self.records.get_mut(label).unwrap().is_left = true;
        }
    }

    /// What came live before is not left out of a walk that goes on.
    pub fn restarted(&mut self) {
        self.meet("restarted");
        self.restarted_at = self.now;
    }

    pub fn office(&mut self, session: SessionId, filter: &str) {
        self.accounts.entry(session).or_default().office.insert(filter.to_owned());
    }

    /// Nothing is kept of a session that ends: what its groups gave it goes back, unless there is a crash.
    pub fn loosen(&mut self, session: SessionId) {
        let groups: BTreeSet<&String> = self
            .records
            .values()
            .filter(|record| record.session == session)
            .filter_map(|record| record.group.as_ref())
            .collect();
        let loose = self.group_must.iter().filter(|(group, _)| groups.contains(group));
        self.group_loose.extend(loose.cloned());
    }

    /// A session is gone. `unsettled` are messages of groups that it had and did not acknowledge, but may go to others.
    pub fn ended(&mut self, session: SessionId, unsettled: &[(String, usize)]) {
        let now = self.now;
        let mut groups = BTreeSet::new();
        for record in self.records.values_mut().filter(|record| record.session == session) {
            record.left.get_or_insert(now);
            groups.extend(record.group.clone());
        }
        self.accounts.remove(&session);
        // What it may have begun, nobody else gets.
        let begun = self.group_begun.iter().filter(|(_, member)| **member == session);
        begun.for_each(|(of, _)| {
            self.group_must.remove(of);
        });
        for (group, name) in unsettled {
            let certain = self
                .records
                .values()
                .any(|record| record.group.as_ref() == Some(group) && record.is_certain(now));
            if certain && !self.sent[*name].ages {
                self.group_must.insert((group.clone(), *name));
            }
        }
        groups.iter().for_each(|group| self.review_group(group));
    }

    /// Promises hold while a subscription does that made them.
    fn review(&mut self, session: SessionId) {
        let (records, sent) = (&self.records, &self.sent);
        let Some(account) = self.accounts.get_mut(&session) else { return };
        account.must.retain(|name| {
            let sent = &sent[*name];
            let mut own = records.values().filter(|record| record.session == session);
            let at = sent.promised_at.unwrap();
            sent.to.is_some()
                || own.any(|record| {
                    let counts = record.group.is_none() && record.quality > Quality::AtMostOnce;
                    counts && record.is_certain(at) && record.wants(sent)
                })
        });
    }

    /// With its last certain member all is void.
    fn review_group(&mut self, group: &str) {
        let mut members = self.records.values().filter(|record| record.group.as_deref() == Some(group));
        if !members.any(|record| record.is_certain(self.now)) {
            self.group_must.retain(|(other, _)| other != group);
        }
    }

    /// A client got a message. `is_new` = it did not know it under that number.
    pub fn deliver(
        &mut self,
        id: SessionId,
        name: usize,
        (grade, is_new): (Grade, bool),
        labels: &[u32],
    ) -> Option<String> {
        let sent = &self.sent[name];
        assert!(!sent.is_void, "a will that was void was published: {sent:?}");
        assert!(!sent.is_refused, "it was refused: {sent:?}");
        let records: Vec<&Record> = labels.iter().map(|label| &self.records[label]).collect();
        let group = records.iter().find_map(|record| record.group.clone());
        assert!(records.iter().all(|record| record.session == id), "labels of another session");
        assert!(records.iter().all(|record| filter_matches(&record.filter, &sent.channel)));
        if grade.retained {
            assert!(sent.retain && labels.len() == 1 && group.is_none());
            let value = records[0].values.get(&sent.channel).copied().unwrap_or(0);
            assert!(sent.order.unwrap() >= value, "a value older than there was");
        } else if let Some(group) = &group {
            assert_eq!(labels.len(), 1);
            assert_eq!(grade.quality, sent.quality.min(records[0].quality));
            let begun_by = self.group_begun.get(&(group.clone(), name));
            assert!(begun_by.is_none_or(|member| *member == id), "begun by another member: {sent:?}");
            assert!(!is_new || begun_by.is_none() || sent.crashes > 0, "begun before: {sent:?}");
        } else {
            self.check_labels(id, name, grade, labels);
        }
        let (is_named, is_will, several) = (sent.to.is_some(), sent.is_will, labels.len() > 1);
        if !is_new {
            self.meet("sent again");
        } else {
            self.came_anew(id, name, grade, (group.clone(), labels));
            self.check_twice(id, name);
        }
        let account = self.accounts.get_mut(&id).unwrap();
        if group.is_none() {
            account.must.remove(&name);
        }
        let (sent, records) = (&self.sent[name], &self.records);
        account.values.retain(|(label, channel)| {
            let value = records[label].values[channel];
            *channel != sent.channel || group.is_some() || sent.order.is_none_or(|order| order < value)
        });
        for (what, is_met) in [("named", is_named), ("will", is_will), ("several labels", several)] {
            if is_met {
                self.meet(what);
            }
        }
        if grade.retained {
            self.meet("retained");
            if self.known_values.contains(&name) {
                self.meet("retained after a crash");
            }
        }
        if let Some(group) = &group {
            self.meet("dealt");
            self.group_must.remove(&(group.clone(), name));
        }
        group
    }

    /// What was published after a subscription comes to it live or, while it begins, as a value.
    fn check_twice(&self, id: SessionId, name: usize) {
        let (sent, account) = (&self.sent[name], &self.accounts[&id]);
        let values = account.retained.range((name, 0)..=(name, u32::MAX));
        for (_, label) in values.filter(|_| account.live.contains(&name)) {
            let record = &self.records[label];
            let is_old = record.at <= self.restarted_at || sent.ordered_at < record.at;
            let is_repeated = sent.orders.len() > 1;
            assert!(is_old || is_repeated, "live and as a value: {sent:?}, {record:?}");
        }
    }

    fn check_labels(&self, id: SessionId, name: usize, grade: Grade, labels: &[u32]) {
        let sent = &self.sent[name];
        let by_office = self.accounts[&id].office.iter().any(|filter| filter_matches(filter, &sent.channel));
        assert!(!labels.is_empty() || sent.to == Some(id) || by_office, "{id:?} was not to get {sent:?}");
        let given = labels.iter().map(|label| &self.records[label]);
        for record in given.clone() {
            assert!(record.left.is_none_or(|left| left >= sent.at), "left before: {record:?}, {sent:?}");
            assert!(record.wants(sent), "its own: {record:?}, {sent:?}");
        }
        let best = given.map(|record| record.quality).max();
        if let Some(best) = best.filter(|_| !by_office) {
            assert_eq!(grade.quality, sent.quality.min(best));
        }
        let own = self.records.iter().filter(|(_, record)| record.session == id && record.group.is_none());
        for (label, record) in own {
            let due = record.is_labelled(sent.at) && record.wants(sent) && !sent.is_will;
            assert!(!due || labels.contains(label), "without label {label}: {record:?}, {sent:?}");
        }
    }

    fn came_anew(
        &mut self,
        id: SessionId,
        name: usize,
        grade: Grade,
        (group, labels): (Option<String>, &[u32]),
    ) {
        let sent = &self.sent[name];
        let account = self.accounts.get_mut(&id).unwrap();
        // What a crash has seen may come again, unless it is to come once.
        let is_certain = sent.crashes == 0 || grade.quality == Quality::ExactlyOnce;
        let mut may_repeat = false;
        if grade.retained {
            let is_anew = account.retained.insert((name, labels[0]));
            assert!(is_anew || sent.crashes > 0, "a value twice");
        } else {
            if group.is_none() && grade.quality > Quality::AtMostOnce {
                account.live.insert(name);
            }
            let (came, exactly) = account.came.entry((name, group.clone())).or_default();
            *came += 1;
            *exactly += u32::from(grade.quality == Quality::ExactlyOnce);
            let count = if sent.crashes == 0 { *came } else { *exactly };
            // What a member gives back when it leaves may come to it again.
            may_repeat = group.is_some() || account.declined.remove(&name);
            assert!(count <= sent.copies || may_repeat, "{id:?} got {sent:?} {count} times");
        }
        // One that was dropped for its age may be there again.
        let is_late = sent.ages && sent.crashes > 0;
        let has_order = is_certain && !may_repeat && !is_late && sent.copies == 1 && sent.to.is_none();
        match group {
            Some(group) if grade.quality == Quality::ExactlyOnce => {
                self.group_begun.insert((group, name), id);
            }
            None if !grade.retained && has_order => {
                let last = account.order.entry((sent.channel.clone(), grade.quality)).or_default();
                // It came by the first time it was published after those that came before it.
                let order = sent.orders.iter().find(|order| *last < **order);
                assert!(order.is_some() || sent.orders.is_empty(), "out of order: {sent:?} behind {last}");
                *last = order.copied().unwrap_or(*last);
            }
            _ => {}
        }
    }

    pub fn has_seen_crash(&self, name: usize) -> bool {
        self.sent[name].crashes > 0
    }

    pub fn declined(&mut self, id: SessionId, name: usize) {
        self.accounts.get_mut(&id).unwrap().declined.insert(name);
    }

    /// Everything that was promised has come.
    pub fn close(&self) {
        if !self.is_ample {
            return;
        }
        let is_due = |name: &usize| !self.sent[*name].is_in_doubt;
        for (id, account) in &self.accounts {
            let missing = account.must.iter().filter(|name| is_due(name));
            let missing: Vec<_> = missing.map(|name| (name, &self.sent[*name])).collect();
            assert!(missing.is_empty(), "{id:?} misses {missing:?}");
            assert!(account.values.is_empty(), "{id:?} misses values {:?}", account.values);
        }
        let missing = self.group_must.iter().filter(|(_, name)| is_due(name));
        let missing: Vec<_> = missing.map(|(group, name)| (group, name, &self.sent[*name])).collect();
        assert!(missing.is_empty(), "groups miss {missing:?}");
    }
}
