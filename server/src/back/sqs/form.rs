//! Attributes and tags of a queue: as this API knows them, and as the hub follows and keeps them.
//!
//! The hub gets what it follows as numbers, and beside them, opaque to it, the texts that are told again. Start at [`Form`].

use std::sync::Arc;

use bytes::Bytes;
use hub::queue::{Allow, DeadLetters, Kind, QueueView, Scope, Settings};
use serde::{Deserialize, Serialize};
use wire::sqs::{self, QueueArn, QueueAttribute, QueueKind, RedriveAllowPolicy};

use super::name_of;

/// The form of what the hub keeps; another one is not read.
const VERSION: u8 = 1;

/// A queue's attributes and tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// As they are told.
    pub(super) settings: sqs::Settings,
    /// By key.
    pub(super) tags: Vec<(String, String)>,
}

/// What the hub keeps of it.
#[derive(Serialize, Deserialize)]
struct Extra<'a> {
    #[serde(borrow)]
    settings: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    tags: Vec<(&'a str, &'a str)>,
}

impl Form {
    /// Of a queue as it is.
    pub(super) fn of(view: &QueueView) -> Self {
        match view.settings.extra.split_first() {
            Some((&VERSION, rest)) => match postcard::from_bytes::<Extra<'_>>(rest) {
                Ok(Extra { settings, tags }) => Self {
                    settings: sqs::Settings::restore(settings),
                    tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
                },
                Err(_) => Self::plain(&view.settings),
            },
            _ => Self::plain(&view.settings),
        }
    }

    /// Of a queue that was not made by this API.
    fn plain(settings: &Settings) -> Self {
        let kind = match settings.kind {
            Kind::Standard => QueueKind::Standard,
            Kind::Fifo => QueueKind::Fifo,
        };
        Self { settings: sqs::Settings::defaults(kind), tags: Vec::new() }
    }

    /// Sets tags; a key that is there gets the new value.
    pub(super) fn tag<'t>(&mut self, tags: impl IntoIterator<Item = (&'t str, &'t str)>) {
        for (key, value) in tags {
            self.tags.retain(|(known, _)| known != key);
            self.tags.push((key.to_owned(), value.to_owned()));
        }
        self.tags.sort();
    }

    /// What the hub follows, and keeps.
    pub(super) fn to_hub(&self, kind: QueueKind) -> Arc<Settings> {
        let settings = &self.settings;
        let number = |attribute| u64::from(settings.number(attribute).unwrap_or_default());
        let allow = match settings.redrive_allow_policy() {
            RedriveAllowPolicy::AllowAll => Allow::Everyone,
            RedriveAllowPolicy::DenyAll => Allow::Nobody,
            RedriveAllowPolicy::ByQueue(sources) => Allow::Only(sources.iter().map(name_of).collect()),
        };
        Arc::new(Settings {
            kind: match kind {
                QueueKind::Standard => Kind::Standard,
                QueueKind::Fifo => Kind::Fifo,
            },
            visibility_ms: number(QueueAttribute::VisibilityTimeout) * 1000,
            delay_ms: number(QueueAttribute::DelaySeconds) * 1000,
            wait_ms: number(QueueAttribute::ReceiveMessageWaitTimeSeconds) * 1000,
            retention_ms: number(QueueAttribute::MessageRetentionPeriod) * 1000,
            message_bytes_max: settings
                .number(QueueAttribute::MaximumMessageSize)
                .unwrap_or(sqs::limits::MESSAGE_BYTES_MAX),
            deduplicate_content: settings.is_on(QueueAttribute::ContentBasedDeduplication),
            scope: match settings.get(QueueAttribute::DeduplicationScope) {
                Some("messageGroup") => Scope::Group,
                _ => Scope::Queue,
            },
            dead_letters: settings.redrive_policy().map(|policy| DeadLetters {
                target: name_of(&policy.target),
                receives_max: u32::from(policy.receive_count_max),
            }),
            allow,
            extra: self.extra(),
        })
    }

    fn extra(&self) -> Bytes {
        let settings = self.settings.iter().map(|(attribute, value)| (attribute.name(), value)).collect();
        let tags = self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let bytes = postcard::to_extend(&Extra { settings, tags }, vec![VERSION]);
        Bytes::from(bytes.unwrap_or_default())
    }

    /// Whether the dead letters of `queue` go where it may send them: within its account and region.
    pub(super) fn dead_letters_stay(&self, queue: &QueueArn) -> bool {
        let stays = |target: &QueueArn| target.account == queue.account && target.region == queue.region;
        self.settings.redrive_policy().is_none_or(|policy| stays(&policy.target))
    }

    /// As it was given; empty without one.
    pub(super) fn redrive_policy(&self) -> &str {
        self.settings.get(QueueAttribute::RedrivePolicy).unwrap_or_default()
    }
}
