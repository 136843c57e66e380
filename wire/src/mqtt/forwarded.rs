//! The properties that go with a message from its publisher to its subscribers.
//!
//! Owns which ones those are [MQTT-3.3.2-4, -15 to -20]. Must not know where a message waits meanwhile: to everybody
//! else they are bytes. Start at [`Forwarded::of`].

use bytes::Bytes;

use super::error::fault;
use super::property::Place;
use super::{Error, Properties, Property, PropertyBuf};

/// Payload format, content type, response topic, correlation data and the user properties in their order, as MQTT 5.0
/// encodes them, without a length before them. Empty, and then without memory, for most messages.
///
/// The expiry is not among them, because it becomes less while a message waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    raw: Bytes,
}

/// The user property that names an event where a message comes from or goes to a protocol that has events.
const EVENT: &str = "event";

impl Forwarded {
    /// No properties.
    pub const NONE: Self = Self { raw: Bytes::new() };

    /// Those of a PUBLISH or will that are to be forwarded; copies them.
    pub fn of(properties: &Properties<'_>) -> Self {
        let kept = || properties.entries().filter(|(property, _)| is_forwarded(*property));
        let mut raw = Vec::with_capacity(kept().map(|(_, entry)| entry.len()).sum());
        kept().for_each(|(_, entry)| raw.extend_from_slice(entry));
        Self { raw: raw.into() }
    }

    /// Those of a message that comes from another protocol, by the name of its event.
    ///
    /// # Errors
    /// The name has over 65,535 bytes or characters that are refused.
    pub fn with_event(name: &str) -> Result<Self, Error> {
        let mut properties = PropertyBuf::new();
        properties.push_user_property(EVENT, name)?;
        Ok(Self { raw: properties.into_bytes().into() })
    }

    /// What [`Forwarded::as_bytes`] gave, for example back from storage.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn from_bytes(raw: Bytes) -> Result<Self, Error> {
        let properties = Properties::validated(&raw, Place::ServerPublish)?;
        if properties.entries().all(|(property, _)| is_forwarded(property)) {
            Ok(Self { raw })
        } else {
            Err(fault!(malformed("property is not forwarded")).into())
        }
    }

    /// The bytes, to be kept beside the message.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// To read them: [`Properties::content_type`], [`Properties::response_topic`] and so on.
    pub fn properties(&self) -> Properties<'_> {
        Properties::from_checked(&self.raw)
    }

    /// The name of the event, when a user property gives one.
    pub fn event(&self) -> Option<&str> {
        self.properties().user_property(EVENT)
    }
}

impl From<PropertyBuf> for Forwarded {
    fn from(properties: PropertyBuf) -> Self {
        Self::of(&properties.as_properties())
    }
}

impl PropertyBuf {
    /// Appends those of a message that is passed on from server to server: what is forwarded in any case, and what is left of
    /// its expiry.
    pub fn push_passed_on(&mut self, properties: &Properties<'_>) {
        let passed_on = |property| is_forwarded(property) || property == Property::MessageExpiryInterval;
        for (_, entry) in properties.entries().filter(|(property, _)| passed_on(*property)) {
            self.push_entry(entry);
        }
    }
}

const fn is_forwarded(property: Property) -> bool {
    matches!(
        property,
        Property::PayloadFormatIndicator
            | Property::ContentType
            | Property::ResponseTopic
            | Property::CorrelationData
            | Property::UserProperty
    )
}
