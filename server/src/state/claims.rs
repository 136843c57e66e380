//! The records of sessions under their clients' own names. Owns their form in a state file, which `format` puts together;
//! what of them makes sense is `sound`'s business.

use std::sync::Arc;

use hub::{
    SavedClaim, SavedExchange, SavedParcel, SavedSubscription, SavedWalk, SavedWill, SessionId, ShardId,
};
use serde::{Deserialize, Serialize};

use super::record::{OptionsRecord, channel, quality, quality_number};

#[derive(Serialize, Deserialize)]
pub(super) struct ClaimRecord<'a> {
    id: [u8; 15],
    name: &'a str,
    user: Option<&'a str>,
    age_ms: u64,
    keep_ms: u64,
    left_ms: u64,
    window: u16,
    last: u16,
    will: Option<WillRecord>,
    #[serde(borrow)]
    subscriptions: Vec<SubscriptionRecord<'a>>,
    shares: Vec<SubscriptionRecord<'a>>,
    sent: Vec<ExchangeRecord<'a>>,
    waiting: Vec<ParcelRecord<'a>>,
    taken: Vec<u16>,
    walks: Vec<WalkRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WillRecord {
    message: u32,
    expires_after_ms: Option<u64>,
    left_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SubscriptionRecord<'a> {
    name: &'a str,
    options: OptionsRecord,
}

#[derive(Serialize, Deserialize)]
struct ExchangeRecord<'a> {
    number: u16,
    quality: u8,
    #[serde(borrow)]
    parcel: Option<ParcelRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ParcelRecord<'a> {
    message: u32,
    quality: u8,
    retained: bool,
    labels: Vec<u32>,
    group: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct WalkRecord<'a> {
    home: u8,
    filter: &'a str,
    options: OptionsRecord,
    after: Option<&'a str>,
}

impl<'a> ClaimRecord<'a> {
    pub(super) fn of(saved: &'a SavedClaim) -> Self {
        let will = |will: &SavedWill| WillRecord {
            message: will.message,
            expires_after_ms: will.expires_after_ms,
            left_ms: will.left_ms,
        };
        Self {
            id: saved.id.0,
            name: &saved.name,
            user: saved.user.as_deref(),
            age_ms: saved.age_ms,
            keep_ms: saved.keep_ms,
            left_ms: saved.left_ms,
            window: saved.window,
            last: saved.last,
            will: saved.will.as_ref().map(will),
            subscriptions: saved.subscriptions.iter().map(SubscriptionRecord::of).collect(),
            shares: saved.shares.iter().map(SubscriptionRecord::of).collect(),
            sent: saved.sent.iter().map(ExchangeRecord::of).collect(),
            waiting: saved.waiting.iter().map(ParcelRecord::of).collect(),
            taken: saved.taken.clone(),
            walks: saved.walks.iter().map(WalkRecord::of).collect(),
        }
    }

    /// `None` where a number means nothing, or a name cannot be a channel's.
    pub(super) fn saved(self) -> Option<SavedClaim> {
        let will = |will: WillRecord| SavedWill {
            message: will.message,
            expires_after_ms: will.expires_after_ms,
            left_ms: will.left_ms,
        };
        let subscriptions = |list: Vec<SubscriptionRecord<'_>>| -> Option<Vec<SavedSubscription>> {
            list.into_iter().map(SubscriptionRecord::saved).collect()
        };
        Some(SavedClaim {
            id: SessionId(self.id),
            name: Arc::from(self.name),
            user: self.user.map(Arc::from),
            age_ms: self.age_ms,
            keep_ms: self.keep_ms,
            left_ms: self.left_ms,
            window: self.window,
            last: self.last,
            will: self.will.map(will),
            subscriptions: subscriptions(self.subscriptions)?,
            shares: subscriptions(self.shares)?,
            sent: self.sent.into_iter().map(ExchangeRecord::saved).collect::<Option<_>>()?,
            waiting: self.waiting.into_iter().map(ParcelRecord::saved).collect::<Option<_>>()?,
            taken: self.taken,
            walks: self.walks.into_iter().map(WalkRecord::saved).collect::<Option<_>>()?,
        })
    }
}

impl<'a> SubscriptionRecord<'a> {
    fn of(saved: &'a SavedSubscription) -> Self {
        Self { name: &saved.name, options: OptionsRecord::of(saved.options) }
    }

    fn saved(self) -> Option<SavedSubscription> {
        Some(SavedSubscription { name: Arc::from(self.name), options: self.options.options()? })
    }
}

impl<'a> ExchangeRecord<'a> {
    fn of(saved: &'a SavedExchange) -> Self {
        let quality = quality_number(saved.quality);
        Self { number: saved.number, quality, parcel: saved.parcel.as_ref().map(ParcelRecord::of) }
    }

    fn saved(self) -> Option<SavedExchange> {
        let parcel = match self.parcel {
            Some(parcel) => Some(parcel.saved()?),
            None => None,
        };
        Some(SavedExchange { number: self.number, quality: quality(self.quality)?, parcel })
    }
}

impl<'a> ParcelRecord<'a> {
    fn of(saved: &'a SavedParcel) -> Self {
        Self {
            message: saved.message,
            quality: quality_number(saved.quality),
            retained: saved.retained,
            labels: saved.labels.clone(),
            group: saved.group.as_deref(),
        }
    }

    fn saved(self) -> Option<SavedParcel> {
        Some(SavedParcel {
            message: self.message,
            quality: quality(self.quality)?,
            retained: self.retained,
            labels: self.labels,
            group: self.group.map(Arc::from),
        })
    }
}

impl<'a> WalkRecord<'a> {
    fn of(saved: &'a SavedWalk) -> Self {
        Self {
            home: saved.home.0,
            filter: &saved.filter,
            options: OptionsRecord::of(saved.options),
            after: saved.after.as_ref().map(hub::ChannelName::as_str),
        }
    }

    fn saved(self) -> Option<SavedWalk> {
        let after = match self.after {
            Some(after) => Some(channel(after)?),
            None => None,
        };
        let (home, filter) = (ShardId(self.home), Arc::from(self.filter));
        Some(SavedWalk { home, filter, options: self.options.options()?, after })
    }
}
