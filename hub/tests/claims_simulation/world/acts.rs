//! What clients and the back end do.

use super::{CHANNELS, FILTERS, NAMES, QUALITIES, SHARED, Waits, World};
use crate::ledger::{Record, Sent};
use crate::person::{Asked, Exchange, Line};
use bytes::Bytes;
use hub::{
    Body, CatchUp, ChannelName, Claim, Command, Join, Members, MessageId, Millis, Offer, Options, Publish,
    Quality, Reason, Step, Tag, Target, Token, Traits, Will,
};
use std::collections::BTreeMap;

impl World {
    pub(super) fn act(&mut self, who: usize) {
        let Some(line) = &self.people[who].line else { return self.claim(who) };
        if line.is_closing {
            return self.lose(who, Reason::Disconnected);
        }
        if !line.is_agreed {
            return match self.rng.below(100) {
                0..3 => self.lose(who, Reason::ConnectionFailed),
                3..5 => self.claim(who),
                _ => {}
            };
        }
        match self.rng.below(100) {
            0..14 => self.join(who),
            14..19 => self.leave(who),
            19..45 => self.offer(who),
            45..72 => self.step(who),
            72..78 => self.forget(who),
            78..90 => self.pause_or_resume(who),
            90..94 => self.lose(who, Reason::ConnectionFailed),
            94..96 => self.goodbye(who),
            96..98 => self.claim(who),
            _ => self.change_keep(who),
        }
    }

    pub(super) fn claim(&mut self, who: usize) {
        if self.people[who].line.is_some() {
            // What is due by now comes to the connection that is taken over.
            self.tick();
        }
        let tag = Tag(self.number() as u32);
        let user = if self.rng.chance(95) { None } else { Some("eve") };
        let (mut is_fresh, window) = (self.rng.chance(10), self.rng.range(1, 5) as u16);
        is_fresh |= self.people[who].is_fresh_only;
        let keep_ms = *self.rng.pick(&[0, 30, 200, 200, u64::MAX, u64::MAX]).unwrap();
        let delay_ms = *self.rng.pick(&[0, 0, 20, 100]).unwrap();
        let will = self.rng.chance(30).then(|| self.will());
        let person = &mut self.people[who];
        let was_connected = person.line.replace(Line::new(tag)).is_some();
        if let Some(held) = &mut person.session {
            let is_over = !was_connected && held.until <= self.now;
            let goes_on = !is_fresh && !is_over && held.keep_ms > 0 && held.user == user;
            let will_waits = if was_connected {
                held.will.is_some_and(|(_, delay_ms)| delay_ms > 0)
            } else {
                held.will_at > self.now
            };
            held.is_changed = true;
            if let Some((name, _)) = held.will.take().filter(|_| goes_on && will_waits) {
                let sent = &mut self.ledger.sent[name];
                sent.is_void = !sent.is_begun;
            }
        }
        let publish = will.map(|name| self.command(name));
        let will_of = |publish: Box<Publish>| Will { publish: *publish, expires_after_ms: None, delay_ms };
        let mut random = [0; 9];
        random[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let claim = Claim {
            tag,
            name: self.people[who].name.as_str().into(),
            fresh: is_fresh,
            keep_ms,
            window,
            will: publish.map(|publish| Box::new(will_of(publish))),
            user: user.map(Into::into),
            info: None,
            random,
        };
        let shard = self.people[who].shard;
        self.people[who].line.as_mut().unwrap().tag = tag;
        self.apply(shard, Command::Claim(Box::new(claim)));
        let held = self.people[who].held();
        (held.keep_ms, held.window, held.user) = (keep_ms, window, user);
        held.will = will.map(|name| (name, delay_ms));
        if let Some(name) = will {
            self.ledger.sent[name].origin = Some(held.id);
        }
        held.is_kept = self.store.is_some() && keep_ms > 0;
        held.is_changed = true;
        if self.people[who].line.as_ref().unwrap().is_agreed {
            self.agreed(who);
        }
    }

    /// The client was told of its session.
    pub(super) fn agreed(&mut self, who: usize) {
        self.people[who].is_fresh_only = false;
        let held = self.people[who].held();
        (held.agreed, held.is_changed) = (Some(held.keep_ms), false);
        self.offer_again(who);
    }

    /// What the hub did not acknowledge on the last connection, in its order.
    fn offer_again(&mut self, who: usize) {
        let held = self.people[who].held();
        let open = held.exchanges.iter().filter(|(_, exchange)| !exchange.is_done);
        let mut exchanges: Vec<(usize, u16)> = open.map(|(n, exchange)| (exchange.message, *n)).collect();
        exchanges.sort_unstable();
        let unsure = std::mem::take(&mut held.unsure);
        for (name, number) in exchanges {
            self.ledger.meet("offered again");
            self.send_offer(who, name, Some(number));
        }
        for name in unsure {
            if self.ledger.sent[name].retain {
                continue;
            }
            self.ledger.sent[name].copies += 1;
            self.people[who].held().unsure.insert(name);
            self.send_offer(who, name, None);
        }
    }

    fn will(&mut self) -> usize {
        let (channel, quality) = (*self.rng.pick(CHANNELS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        self.ledger.publish(Sent { is_will: true, ..Sent::new(channel, quality, None, 0) })
    }

    /// Each time with another id.
    pub(super) fn command(&mut self, name: usize) -> Box<Publish> {
        let id = u128::from(self.number()) << 32 | name as u128;
        let sent = &self.ledger.sent[name];
        let body = if self.is_empty(name) { String::new() } else { name.to_string() };
        let expires = sent.ages.then_some(Millis(self.now + 15));
        let target = match sent.to {
            Some(id) => Target::Session(id),
            None => Target::Channel(ChannelName::parse(&sent.channel, 40).expect("valid")),
        };
        let (quality, retain, delay_ms) = (sent.quality, sent.retain, sent.delay_ms);
        Box::new(Publish {
            id: MessageId(id),
            target,
            event: None,
            body: Body::Raw(Bytes::from(body)),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { quality, retain, expires, delay_ms, ..Traits::default() },
            receipt: None,
        })
    }

    fn join(&mut self, who: usize) {
        let (label, request) = (self.number() as u32, self.number());
        let mut quality = *self.rng.pick(&QUALITIES).unwrap();
        let (mut filter, mut group) = (*self.rng.pick(FILTERS).unwrap(), None);
        if self.rng.chance(25) {
            let (name, shared) = *self.rng.pick(SHARED).unwrap();
            (filter, group) = (shared, Some(name));
            quality = quality.max(Quality::AtLeastOnce);
        }
        let skip_own = group.is_none() && self.rng.chance(20);
        let options = Options { quality, skip_own, keep_retain: false, label, ..Options::default() };
        let catches_up = group.is_none() && self.rng.chance(40);
        let catch_up = if catches_up { CatchUp::Always } else { CatchUp::Never };
        let person = &mut self.people[who];
        let (shard, held) = (person.shard, person.session.as_ref().unwrap());
        let record = Record {
            session: held.id,
            filter: filter.to_owned(),
            group: group.map(|group| format!("{group}/{filter}")),
            quality,
            skip_own,
            since: None,
            subscribed: None,
            left: None,
            is_left: false,
            at: self.ledger.now,
            values: BTreeMap::new(),
        };
        let (session, filter, group) = (held.key, filter.to_owned(), group.map(Into::into));
        person.line.as_mut().unwrap().requests.insert(request, Asked::Join(label));
        self.ledger.join(label, record, catches_up);
        self.apply(shard, Command::Join(Join { session, filter, group, options, catch_up, request }));
    }

    fn leave(&mut self, who: usize) {
        let request = self.number();
        let (filter, group) = if self.rng.chance(30) {
            let (group, filter) = *self.rng.pick(SHARED).unwrap();
            (filter, Some(group))
        } else {
            (*self.rng.pick(FILTERS).unwrap(), None)
        };
        let person = &mut self.people[who];
        let (shard, session, id) = (person.shard, person.held().key, person.held().id);
        let key = group.map(|group| format!("{group}/{filter}"));
        let labels = self.ledger.leave(id, filter, key.as_deref());
        person.line.as_mut().unwrap().requests.insert(request, Asked::Leave(labels));
        let (filter, group) = (filter.to_owned(), group.map(Into::into));
        self.apply(shard, Command::Leave { session, filter, group, request });
    }

    fn offer(&mut self, who: usize) {
        let (channel, quality) = (*self.rng.pick(CHANNELS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        let origin = Some(self.people[who].held().id);
        let (retain, ages) = (self.rng.chance(20), self.rng.chance(10));
        let sent = Sent::new(channel, quality, origin, self.ledger.now);
        let sent = if self.store.is_some() && self.rng.chance(10) {
            Sent { delay_ms: self.rng.range(1, 60), ..sent }
        } else {
            Sent { retain, ages: ages && !retain, ..sent }
        };
        let name = self.ledger.publish(sent);
        let first = self.rng.range(1, 9) as u16;
        let held = self.people[who].held();
        let exchange = (quality == Quality::ExactlyOnce)
            .then(|| (first..).find(|number| !held.exchanges.contains_key(number)).expect("one is free"));
        if let Some(number) = exchange {
            held.exchanges
                .insert(number, Exchange { message: name, is_done: false, is_released: false, offers: 0 });
        } else if quality > Quality::AtMostOnce {
            held.unsure.insert(name);
        }
        self.send_offer(who, name, exchange);
    }

    fn send_offer(&mut self, who: usize, name: usize, exchange: Option<u16>) {
        let request = self.number();
        let publish = self.command(name);
        let home = self.home(name);
        let is_kept = self.people[who].held().is_kept;
        let (person, sent) = (&mut self.people[who], &self.ledger.sent[name]);
        let (shard, session) = (person.shard, person.held().key);
        let asked = match exchange {
            Some(number) => {
                let exchange = person.held().exchanges.get_mut(&number).expect("the client's");
                exchange.offers += 1;
                Asked::Exchange(number, exchange.is_done)
            }
            None => Asked::Offer(name),
        };
        if sent.quality > Quality::AtMostOnce {
            person.line.as_mut().unwrap().requests.insert(request, asked);
        }
        // Under its number it came before, if it has its order, and waits until it is safe, if it is kept.
        let goes_now = exchange.is_none() || (sent.order.is_none() && !is_kept);
        if home == shard && goes_now {
            self.note_order(name);
        }
        self.apply(shard, Command::Offer(Box::new(Offer { session, exchange, publish: *publish, request })));
    }

    /// Tells the next step, or one out of turn.
    pub(super) fn step(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let line = person.line.as_mut().unwrap();
        let at = if self.rng.chance(80) { 0 } else { self.rng.below(line.steps.len().max(1) as u64) };
        let Some((number, mut step)) = line.steps.remove(at as usize) else { return };
        if step == Step::Received && self.rng.chance(5) {
            step = Step::Declined;
            self.ledger.meet("declined");
            let held = person.held();
            if let Some(open) = held.open.get(&number) {
                self.ledger.declined(held.id, open.message);
            }
        }
        person.steps(number, step);
        self.apply(shard, Command::Settle { session, number, step });
    }

    fn forget(&mut self, who: usize) {
        let request = self.number();
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let asked =
            |number: u16| move |asked: &Asked| matches!(asked, Asked::Forget(other) if *other == number);
        let line = person.line.as_ref().unwrap();
        let is_new = |number: u16| !line.requests.values().any(asked(number));
        let exchanges = &person.session.as_ref().unwrap().exchanges;
        let done = exchanges.iter().find(|(number, exchange)| exchange.is_done && is_new(**number));
        let done = done.map(|(number, exchange)| (*number, exchange.message, exchange.is_released));
        let Some((exchange, name, is_released)) = done else { return };
        if self.rng.chance(20) && !is_released {
            return self.send_offer(who, name, Some(exchange));
        }
        let person = &mut self.people[who];
        person.held().exchanges.get_mut(&exchange).expect("done").is_released = true;
        person.line.as_mut().unwrap().requests.insert(request, Asked::Forget(exchange));
        self.apply(shard, Command::Forget { session, exchange, request });
    }

    pub(super) fn pause_or_resume(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let line = person.line.as_mut().unwrap();
        if !line.is_paused {
            line.is_paused = true;
            return self.apply(shard, Command::Pause(session));
        }
        line.is_paused = false;
        self.resumed = Some(who);
        let budget = self.rng.range(1, 6) as u32;
        self.apply(shard, Command::Resume { session, budget });
        self.resumed = None;
    }

    pub(super) fn lose(&mut self, who: usize, reason: Reason) {
        self.hang_up(who, self.now);
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        self.apply(shard, Command::Detach { session, reason });
    }

    pub(super) fn hang_up(&mut self, who: usize, now: u64) {
        let person = &mut self.people[who];
        let line = person.line.take().expect("connected");
        if !line.requests.is_empty() {
            self.ledger.meet("late answer");
        }
        let held = person.held();
        held.until = now.saturating_add(held.keep_ms);
        held.will_at = held.until;
        if let Some((_, delay_ms)) = held.will {
            held.will_at = held.until.min(now + delay_ms);
        }
    }

    fn goodbye(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, held) = (person.shard, person.held());
        if let Some((name, _)) = held.will.take() {
            self.ledger.sent[name].is_void = true;
        }
        held.is_changed = true;
        let session = held.key;
        self.apply(shard, Command::Amend { session, keep_ms: None, drop_will: true });
        self.lose(who, Reason::ClientLeft);
    }

    fn change_keep(&mut self, who: usize) {
        let keep_ms = *self.rng.pick(&[0, 50, 500, 500]).unwrap();
        let person = &mut self.people[who];
        // A session that ends with its connection does so.
        if person.held().keep_ms > 0 {
            (person.held().keep_ms, person.held().is_changed) = (keep_ms, true);
        }
        let (shard, session) = (person.shard, person.held().key);
        self.apply(shard, Command::Amend { session, keep_ms: Some(keep_ms), drop_will: false });
    }

    pub(super) fn office(&mut self) {
        let who = self.rng.below(NAMES.len() as u64) as usize;
        let (token, kind) = (Token(self.number()), self.rng.below(10));
        let (filter, quality) = (*self.rng.pick(FILTERS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        if kind < 5 {
            let channel = *self.rng.pick(CHANNELS).unwrap();
            let name = self.ledger.publish(Sent::new(channel, quality, None, self.ledger.now));
            let mut publish = self.command(name);
            if self.rng.chance(50) {
                publish.token = Some(token);
                self.waits.insert(token, Waits::Publish(name, None, 0));
            }
            self.note_order(name);
            return self.apply(self.home(name), Command::Publish(publish));
        }
        let (shard, Some(held)) = (self.people[who].shard, &self.people[who].session) else { return };
        let (id, of, filter) = (held.id, Members::Session(held.id), filter.to_owned());
        let command = match kind {
            5..7 => {
                let channel = ChannelName::client(id);
                let sent = Sent::new(channel.as_str(), quality, None, self.ledger.now);
                let name = self.ledger.publish(Sent { to: Some(id), ..sent });
                let mut publish = self.command(name);
                publish.token = Some(token);
                self.waits.insert(token, Waits::Publish(name, Some(1 << shard), 0));
                Command::Publish(publish)
            }
            7 => {
                self.ledger.meet("by the office");
                self.ledger.office(id, &filter);
                Command::Subscribe { of, filter, token }
            }
            8 => {
                self.ledger.leave(id, &filter, None);
                Command::Unsubscribe { of, filter, token }
            }
            _ if self.rng.chance(30) => {
                self.waits.insert(token, Waits::End(id));
                Command::EndMembers { of, reason: Reason::Kicked, token }
            }
            _ => Command::EndMembers { of, reason: Reason::Disconnected, token },
        };
        self.apply(shard, command);
    }
}
