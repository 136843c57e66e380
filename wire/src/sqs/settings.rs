//! The settings of a queue: checked, kept as text, told again.
//!
//! Owns every check of queue attributes that needs no other queue. Must not know whether a dead-letter queue exists.
//! Start at [`Settings::parse`]; a queue's own settings are [`Settings::defaults`] and what [`Settings::changed`]
//! made of them.
//!
//! Values are kept as the text that is returned, so that a tool which compares what it set with what it reads finds
//! no difference; what the server follows is read from it when it is needed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::address::{QueueArn, QueueKind};
use super::attribute::{QueueAttribute, QueueAttributeSet, Rule};
use super::limits::SETTING_BYTES_MAX;
use super::policy;
use super::redrive::{RedriveAllowPolicy, RedrivePolicy};
use super::{Error, ErrorKind};

/// What to do with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Create a queue.
    Create,
    /// Change one.
    Change,
}

/// Attributes of a queue that can be set, each with its value. In a change an empty value removes the attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<QueueAttribute, String>);

/// What only the server says about a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFigures {
    /// When it was created, in seconds since 1970.
    pub created_s: u64,
    /// When its attributes were changed last, in seconds since 1970.
    pub modified_s: u64,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Messages that wait for their delay.
    pub delayed: u64,
}

impl Settings {
    /// Checks what a client sets for a queue of this kind.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`, `OverLimit`.
    pub fn parse<'p>(
        pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
        kind: QueueKind,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let mut settings = Self::default();
        for (name, value) in pairs {
            let attribute = settable(name, kind)?;
            if attribute == QueueAttribute::FifoQueue && purpose == Purpose::Change {
                keeps_kind(value)?;
                continue;
            }
            settings.0.insert(attribute, checked(attribute, value, kind)?);
        }
        settings.check_encryption()?;
        Ok(settings)
    }

    /// The settings of a queue for which nothing was set.
    pub fn defaults(kind: QueueKind) -> Self {
        let has = |attribute: &QueueAttribute| attribute.place().includes(kind);
        let attributes = QueueAttribute::ALL.iter().copied().filter(has);
        Self(attributes.filter_map(|attribute| Some((attribute, attribute.default()?.to_owned()))).collect())
    }

    /// These settings of a queue with `change` in them.
    ///
    /// # Errors
    /// `InvalidAttributeValue` or `InvalidAttributeName` if both together make no sense.
    pub fn changed(&self, change: &Self) -> Result<Self, Error> {
        let mut settings = self.clone();
        for (attribute, value) in &change.0 {
            if is_removal(*attribute, value) {
                settings.0.remove(attribute);
            } else {
                settings.0.insert(*attribute, value.clone());
            }
        }
        // A key of one's own replaces the service's unless both are asked for.
        let has_key = change.get(QueueAttribute::KmsMasterKeyId).is_some_and(|key| !key.is_empty());
        if has_key && change.get(QueueAttribute::SqsManagedSseEnabled).is_none() {
            settings.0.insert(QueueAttribute::SqsManagedSseEnabled, "false".to_owned());
        }
        settings.check_encryption()?;
        settings.check_throughput()?;
        Ok(settings)
    }

    /// The first attribute of `given` that a queue with these settings has another value for, if any.
    pub fn first_difference(&self, given: &Self) -> Option<QueueAttribute> {
        let differs = |(attribute, value): (&QueueAttribute, &String)| {
            let own = self.get(*attribute).unwrap_or_default();
            let is_same = own == value
                || is_removal(*attribute, value) && own.is_empty()
                || is_json(*attribute) && is_same_json(own, value);
            (!is_same).then_some(*attribute)
        };
        given.0.iter().find_map(differs)
    }

    /// The text of an attribute.
    pub fn get(&self, attribute: QueueAttribute) -> Option<&str> {
        self.0.get(&attribute).map(String::as_str)
    }

    /// All of them, for storage; [`Self::restore`] reads them again.
    pub fn iter(&self) -> impl Iterator<Item = (QueueAttribute, &str)> {
        self.0.iter().map(|(attribute, value)| (*attribute, value.as_str()))
    }

    /// The settings of a queue as they were stored. What this version does not know is left out.
    pub fn restore<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let known = |(name, value): (&str, &str)| Some((QueueAttribute::from_name(name)?, value.to_owned()));
        Self(pairs.into_iter().filter_map(known).collect())
    }

    /// Sets or removes the policy, which [`super::policy`] made.
    pub fn set_policy(&mut self, policy: Option<String>) {
        match policy {
            Some(policy) => self.0.insert(QueueAttribute::Policy, policy),
            None => self.0.remove(&QueueAttribute::Policy),
        };
    }

    /// The number an attribute is set to.
    pub fn number(&self, attribute: QueueAttribute) -> Option<u32> {
        self.get(attribute)?.parse().ok()
    }

    /// Whether a flag is set to true.
    pub fn is_on(&self, attribute: QueueAttribute) -> bool {
        self.get(attribute) == Some("true")
    }

    /// The redrive policy.
    pub fn redrive_policy(&self) -> Option<RedrivePolicy> {
        RedrivePolicy::parse(self.get(QueueAttribute::RedrivePolicy)?).ok()
    }

    /// The redrive allow policy; without one, every queue of the account and region is allowed.
    pub fn redrive_allow_policy(&self) -> RedriveAllowPolicy {
        self.get(QueueAttribute::RedriveAllowPolicy)
            .and_then(|text| RedriveAllowPolicy::parse(text).ok())
            .unwrap_or_default()
    }

    /// What is wanted of a queue with these settings, as it stands in an answer.
    pub fn describe(
        &self,
        wanted: QueueAttributeSet,
        arn: &QueueArn,
        figures: &QueueFigures,
    ) -> Vec<(QueueAttribute, Cow<'_, str>)> {
        let told = |attribute: QueueAttribute| -> Option<Cow<'_, str>> {
            let number = |number: u64| Some(Cow::Owned(number.to_string()));
            match attribute {
                QueueAttribute::QueueArn => Some(Cow::Owned(arn.to_string())),
                QueueAttribute::CreatedTimestamp => number(figures.created_s),
                QueueAttribute::LastModifiedTimestamp => number(figures.modified_s),
                QueueAttribute::ApproximateNumberOfMessages => number(figures.visible),
                QueueAttribute::ApproximateNumberOfMessagesNotVisible => number(figures.in_flight),
                QueueAttribute::ApproximateNumberOfMessagesDelayed => number(figures.delayed),
                _ => self.get(attribute).map(Cow::Borrowed),
            }
        };
        wanted.iter().filter_map(|attribute| Some((attribute, told(attribute)?))).collect()
    }

    /// A key of one's own and the service's keys exclude each other.
    fn check_encryption(&self) -> Result<(), Error> {
        let has_key = self.get(QueueAttribute::KmsMasterKeyId).is_some_and(|key| !key.is_empty());
        if has_key && self.is_on(QueueAttribute::SqsManagedSseEnabled) {
            return Err(Error::new(
                ErrorKind::InvalidAttributeName,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or \
                 SQS SSE.",
            ));
        }
        Ok(())
    }

    fn check_throughput(&self) -> Result<(), Error> {
        let is = |attribute, word| self.get(attribute) == Some(word);
        if is(QueueAttribute::FifoThroughputLimit, "perMessageGroupId")
            && !is(QueueAttribute::DeduplicationScope, "messageGroup")
        {
            return Err(Error::new(
                ErrorKind::InvalidAttributeValue,
                "Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed \
                 only when the value for DeduplicationScope is messageGroup.",
            ));
        }
        Ok(())
    }
}

/// The attribute of this name, if it may be set on a queue of this kind.
fn settable(name: &str, kind: QueueKind) -> Result<QueueAttribute, Error> {
    let attribute = QueueAttribute::from_name(name).filter(|found| found.rule() != Rule::ReadOnly);
    let attribute = attribute.ok_or_else(|| Error::unknown_attribute(name))?;
    if attribute.place().includes(kind) {
        return Ok(attribute);
    }
    match attribute {
        // The service tells these two apart from the others.
        QueueAttribute::DeduplicationScope | QueueAttribute::FifoThroughputLimit => Err(Error::new(
            ErrorKind::InvalidAttributeName,
            format!("You can specify the {name} only when FifoQueue is set to true."),
        )),
        _ => Err(Error::unknown_attribute(name)),
    }
}

/// The kind of a queue can be repeated, not changed.
fn keeps_kind(value: &str) -> Result<(), Error> {
    if value.eq_ignore_ascii_case("true") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidAttributeValue,
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    ))
}

/// The text to keep for a value.
fn checked(attribute: QueueAttribute, value: &str, kind: QueueKind) -> Result<String, Error> {
    let invalid = || Error::invalid_setting(attribute.name());
    if can_be_removed(attribute) && value.is_empty() {
        return Ok(String::new());
    }
    match attribute.rule() {
        Rule::Number { min, max } => {
            let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
            let number: u32 = value.parse().ok().filter(|_| is_plain).ok_or_else(invalid)?;
            if (min..=max).contains(&number) { Ok(number.to_string()) } else { Err(invalid()) }
        }
        Rule::Flag => match value.to_ascii_lowercase().as_str() {
            flag @ ("true" | "false") => Ok(flag.to_owned()),
            _ => Err(invalid()),
        },
        Rule::Word(words) if words.contains(&value) => Ok(value.to_owned()),
        Rule::Text if value.len() <= SETTING_BYTES_MAX => Ok(value.to_owned()),
        Rule::Policy => policy::check(value).map(|()| value.to_owned()),
        Rule::RedrivePolicy => {
            RedrivePolicy::parse(value)?.check_kind(kind, value).map(|()| value.to_owned())
        }
        Rule::RedriveAllowPolicy => RedriveAllowPolicy::parse(value).map(|_| value.to_owned()),
        Rule::Word(_) | Rule::Text | Rule::ReadOnly => Err(invalid()),
    }
}

const fn can_be_removed(attribute: QueueAttribute) -> bool {
    matches!(
        attribute,
        QueueAttribute::Policy
            | QueueAttribute::RedrivePolicy
            | QueueAttribute::RedriveAllowPolicy
            | QueueAttribute::KmsMasterKeyId
    )
}

fn is_removal(attribute: QueueAttribute, value: &str) -> bool {
    match attribute {
        QueueAttribute::KmsDataKeyReusePeriodSeconds => value == "300",
        _ => value.is_empty(),
    }
}

const fn is_json(attribute: QueueAttribute) -> bool {
    matches!(attribute.rule(), Rule::Policy | Rule::RedrivePolicy | Rule::RedriveAllowPolicy)
}

fn is_same_json(a: &str, b: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    value(a).is_some_and(|a| value(b).is_some_and(|b| a == b))
}
