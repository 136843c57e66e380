//! What a client says of itself when it connects, as plain data.
//!
//! Must not know connections. Start at [`Login`].

use wire::mqtt::{Connect, Error, Property, PropertyBuf, Value};

use super::{Message, Version};

/// What CONNECT says.
#[derive(Clone, Debug)]
pub struct Login {
    /// The protocol.
    pub version: Version,
    /// Empty: the server chooses one.
    pub client_id: String,
    /// Who the client claims to be.
    pub user: Option<String>,
    /// How it proves that.
    pub password: Option<String>,
    /// What becomes of its session.
    pub session: Session,
    /// Seconds without a sign of life after which the server takes it for dead; 0 = never.
    pub keep_alive_seconds: u16,
    /// What the server publishes when the connection breaks.
    pub will: Option<Will>,
    /// Names and values for the server; version 5 only.
    pub user_properties: Vec<(String, String)>,
}

/// See [`Login::session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// A new one, which ends with the connection.
    New,
    /// The one it had, if there is one. It is kept for so many seconds without a connection; in version 3 for ever.
    Lasting(u32),
}

/// See [`Login::will`].
#[derive(Clone, Debug)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// How long the server waits with it; version 5 only.
    pub delay_seconds: u32,
}

impl Login {
    /// Calls `with` with the packet.
    pub(super) fn connect<T>(&self, with: impl FnOnce(&Connect<'_>) -> T) -> Result<T, Error> {
        let mut properties = user_properties(&self.user_properties)?;
        if let Session::Lasting(seconds) = self.session {
            properties.push(Property::SessionExpiryInterval, Value::U32(seconds))?;
        }
        let mut will_properties = PropertyBuf::new();
        if let Some(will) = &self.will {
            will_properties = will.message.properties.to_buf()?;
            if will.delay_seconds > 0 {
                will_properties.push(Property::WillDelayInterval, Value::U32(will.delay_seconds))?;
            }
        }
        let will = self.will.as_ref().map(|Will { message, .. }| wire::mqtt::Will {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos.into(),
            retain: message.retain,
            properties: will_properties.as_properties(),
        });
        Ok(with(&Connect {
            level: self.version.level(),
            is_bridge: false,
            clean_start: self.session == Session::New,
            keep_alive_seconds: self.keep_alive_seconds,
            client_id: &self.client_id,
            will,
            user_name: self.user.as_deref(),
            password: self.password.as_deref().map(str::as_bytes),
            properties: properties.as_properties(),
        }))
    }
}

pub(super) fn user_properties(pairs: &[(String, String)]) -> Result<PropertyBuf, Error> {
    let mut properties = PropertyBuf::new();
    for (name, value) in pairs {
        properties.push_user_property(name, value)?;
    }
    Ok(properties)
}
