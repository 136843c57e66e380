//! The naive form of fairness between the groups of a standard queue.

use std::collections::BTreeMap;

/// Milliseconds in flight, halved at the end of every minute of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    ms: u64,
    minute: u64,
}

impl Work {
    pub fn now(&self, now: u64) -> u64 {
        let halvings = (now / 60_000).saturating_sub(self.minute);
        if halvings < 64 { self.ms >> halvings } else { 0 }
    }

    pub fn add(&mut self, ms: u64, now: u64) {
        self.ms = self.now(now) + ms;
        self.minute = self.minute.max(now / 60_000);
    }
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub in_flight: u64,
    pub work: Work,
    pub sent: u64,
    pub noisy: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Tenants {
    pub all: BTreeMap<String, Tenant>,
    pub work: Work,
}

impl Tenants {
    pub fn joined(&mut self, group: &str, now: u64) {
        self.all.get_mut(group).into_iter().for_each(|tenant| tenant.sent = now);
    }

    pub fn flew(&mut self, group: &str, now: u64) {
        if !group.is_empty() {
            let new = Tenant { in_flight: 0, work: Work::default(), sent: now, noisy: false };
            self.all.entry(group.to_owned()).or_insert(new).in_flight += 1;
        }
    }

    pub fn landed(&mut self, group: &str, ms: u64, now: u64) {
        if let Some(tenant) = self.all.get_mut(group) {
            tenant.in_flight -= 1;
            tenant.work.add(ms, now);
        }
        self.work.add(ms, now);
    }

    /// A group with something visible: is it its turn before noisy ones?
    pub fn becomes_noisy(&mut self, group: &str, in_flight: u64, now: u64) -> bool {
        let all = self.work.now(now);
        let Some(tenant) = self.all.get_mut(group) else { return false };
        let own = tenant.work.now(now);
        let many = tenant.in_flight >= 30 && tenant.in_flight * 10 > in_flight;
        let long = own >= 30_000 && own * 10 > all;
        tenant.noisy = (many || long) && tenant.sent + 300_000 > now;
        tenant.noisy
    }

    pub fn is_noisy(&self, group: &str) -> bool {
        self.all.get(group).is_some_and(|tenant| tenant.noisy)
    }

    pub fn calm(&mut self, now: u64) {
        for tenant in self.all.values_mut() {
            tenant.noisy &= tenant.sent + 300_000 > now;
        }
    }
}
