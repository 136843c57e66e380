//! The two policies of dead letters: where they go, and who may send them here.
//!
//! Owns their JSON and its checks. Must not know whether the queues exist. Start at [`RedrivePolicy`].

use serde_json::Value;

use super::Error;
use super::address::{QueueArn, QueueKind};
use super::limits::{RECEIVE_COUNT_MAX, REDRIVE_SOURCES_MAX, SETTING_BYTES_MAX};

/// Receives before a message goes to the dead letters, unless the policy says so.
const RECEIVE_COUNT_DEFAULT: u16 = 10;

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedrivePolicy {
    /// The dead-letter queue.
    pub target: QueueArn,
    /// Receives a message may have; at the next one it goes.
    pub receive_count_max: u16,
}

impl RedrivePolicy {
    /// Reads `{"deadLetterTargetArn": .., "maxReceiveCount": ..}`; the count may be a text.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |reason: &str| Error::invalid_value(text, "RedrivePolicy", reason);
        let map = match read(text) {
            Some(Value::Object(map)) => map,
            _ => return Err(refused("Redrive policy is not a valid JSON map.")),
        };
        let is_known = |name: &String| matches!(name.as_str(), "deadLetterTargetArn" | "maxReceiveCount");
        if !map.keys().all(is_known) {
            return Err(refused(
                "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
            ));
        }
        let target = map.get("deadLetterTargetArn").ok_or_else(|| {
            refused("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        let target = target.as_str().and_then(QueueArn::parse);
        let target = target.ok_or_else(|| refused("Invalid value for deadLetterTargetArn."))?;
        let receive_count_max = match map.get("maxReceiveCount") {
            None => RECEIVE_COUNT_DEFAULT,
            Some(count) => receive_count(count).ok_or_else(|| {
                let count = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
                refused(&format!(
                    "Invalid value for maxReceiveCount: {count}, valid values are from 1 to {RECEIVE_COUNT_MAX} \
                     both inclusive."
                ))
            })?,
        };
        Ok(Self { target, receive_count_max })
    }

    /// Whether a queue of this kind may have it; `text` is what was read.
    pub(super) fn check_kind(&self, kind: QueueKind, text: &str) -> Result<(), Error> {
        if self.target.kind() == kind {
            return Ok(());
        }
        Err(Error::invalid_value(
            text,
            "RedrivePolicy",
            "Dead-letter queue must be same type of queue as the source.",
        ))
    }
}

fn receive_count(count: &Value) -> Option<u16> {
    let count = match count {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    u16::try_from(count).ok().filter(|count| (1..=RECEIVE_COUNT_MAX).contains(count))
}

/// Which queues may have a queue as their dead-letter queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedriveAllowPolicy {
    /// All of the same account and region.
    #[default]
    AllowAll,
    /// None.
    DenyAll,
    /// These.
    ByQueue(Vec<QueueArn>),
}

impl RedriveAllowPolicy {
    /// Reads `{"redrivePermission": .., "sourceQueueArns": [..]}`.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |reason: &str| {
            let reason = format!("Amazon SQS can't create the redrive allow policy. {reason}");
            Error::invalid_value(text, "RedriveAllowPolicy", &reason)
        };
        let unsupported = || {
            Error::invalid_value(
                text,
                "RedriveAllowPolicy",
                "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.",
            )
        };
        let Some(Value::Object(map)) = read(text) else { return Err(unsupported()) };
        let is_known = |name: &String| matches!(name.as_str(), "redrivePermission" | "sourceQueueArns");
        if !map.keys().all(is_known) {
            return Err(unsupported());
        }
        let permission = map.get("redrivePermission").and_then(Value::as_str).ok_or_else(unsupported)?;
        let sources = match map.get("sourceQueueArns") {
            None => None,
            Some(Value::Array(sources)) => Some(sources),
            Some(_) => return Err(unsupported()),
        };
        match (permission, sources) {
            ("allowAll", None) => Ok(Self::AllowAll),
            ("denyAll", None) => Ok(Self::DenyAll),
            ("allowAll" | "denyAll", Some(_)) => Err(refused(
                "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
            )),
            ("byQueue", Some(sources)) if !sources.is_empty() => {
                if sources.len() > REDRIVE_SOURCES_MAX {
                    return Err(refused("The maximum number of source queue ARNs you can specify is 10."));
                }
                let arn = |source: &Value| source.as_str().and_then(QueueArn::parse);
                let sources: Option<Vec<QueueArn>> = sources.iter().map(arn).collect();
                sources.map(Self::ByQueue).ok_or_else(unsupported)
            }
            ("byQueue", _) => Err(refused(
                "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns \
                 values.",
            )),
            _ => Err(unsupported()),
        }
    }

    /// Whether `source` may have the queue `target`, which has this policy, as its dead-letter queue.
    pub fn allows(&self, source: &QueueArn, target: &QueueArn) -> bool {
        match self {
            Self::AllowAll => source.account == target.account && source.region == target.region,
            Self::DenyAll => false,
            Self::ByQueue(sources) => sources.contains(source),
        }
    }
}

fn read(text: &str) -> Option<Value> {
    if text.len() > SETTING_BYTES_MAX { None } else { serde_json::from_str(text).ok() }
}
