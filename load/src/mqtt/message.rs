//! Messages as plain data: those a client publishes and those it receives.
//!
//! Must not know connections. Start at [`Message`].

use wire::mqtt::{Error, Property, PropertyBuf, Publish, Value};

use super::Qos;
use super::login::user_properties;

/// What a client publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A topic name.
    pub topic: String,
    /// Bytes of any meaning.
    pub payload: Vec<u8>,
    /// How it travels to the server.
    pub qos: Qos,
    /// Whether the server keeps it for those who subscribe later. An empty one then removes what is kept.
    pub retain: bool,
    /// What goes with it; version 5 only.
    pub properties: Properties,
}

/// What goes with a message in version 5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Whether the payload is said to be text.
    pub is_text: bool,
    /// Seconds until nobody wants it any more.
    pub expiry_seconds: Option<u32>,
    /// What the payload is.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// Which request an answer is for.
    pub correlation_data: Option<Vec<u8>>,
    /// Names and values.
    pub user: Vec<(String, String)>,
}

/// What a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message; its QoS is that of the delivery, and it is retained if the server had kept it.
    pub message: Message,
    /// Whether it was sent before.
    pub dup: bool,
    /// Identifiers of the subscriptions by which it came.
    pub subscription_ids: Vec<u32>,
}

impl Properties {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn to_buf(&self) -> Result<PropertyBuf, Error> {
        let mut out = user_properties(&self.user)?;
        if self.is_text {
            out.push(Property::PayloadFormatIndicator, Value::Byte(1))?;
        }
        if let Some(seconds) = self.expiry_seconds {
            out.push(Property::MessageExpiryInterval, Value::U32(seconds))?;
        }
        let texts =
            [(Property::ContentType, &self.content_type), (Property::ResponseTopic, &self.response_topic)];
        for (property, text) in texts {
            text.iter().try_for_each(|text| out.push(property, Value::Text(text)))?;
        }
        if let Some(bytes) = &self.correlation_data {
            out.push(Property::CorrelationData, Value::Binary(bytes))?;
        }
        Ok(out)
    }
}

impl Message {
    /// Calls `with` with the packet, without a packet id.
    pub(super) fn publish<T>(&self, with: impl FnOnce(&Publish<'_>) -> T) -> Result<T, Error> {
        let properties = self.properties.to_buf()?;
        Ok(with(&Publish {
            dup: false,
            qos: self.qos.into(),
            retain: self.retain,
            topic: &self.topic,
            packet_id: None,
            properties: properties.as_properties(),
            payload: &self.payload,
        }))
    }
}

impl From<&Publish<'_>> for Received {
    fn from(publish: &Publish<'_>) -> Self {
        let from = &publish.properties;
        let properties = Properties {
            is_text: from.is_payload_text() == Some(true),
            expiry_seconds: from.message_expiry_interval_seconds(),
            content_type: from.content_type().map(str::to_owned),
            response_topic: from.response_topic().map(str::to_owned),
            correlation_data: from.correlation_data().map(<[u8]>::to_vec),
            user: from.user_properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        let message = Message {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos.into(),
            retain: publish.retain,
            properties,
        };
        Self { message, dup: publish.dup, subscription_ids: from.subscription_identifiers().collect() }
    }
}
