//! What travels with a message besides its content, as MQTT has it.
//!
//! Must not know who gets it. Start at [`forwarded`].

use bytes::Bytes;
use hub::Message;
use wire::mqtt::{Forwarded, Property, PropertyBuf, Value};

/// The properties that travel with a message; one from another protocol tells its event.
pub(super) fn forwarded(message: &Message) -> Forwarded {
    let known = Some(&message.traits.attributes).filter(|attributes| !attributes.is_empty());
    if let Some(known) = known.and_then(|attributes| Forwarded::from_bytes(attributes.clone()).ok()) {
        return known;
    }
    match &message.event {
        // What cannot be a user property, by length or characters, is left out.
        Some(event) => Forwarded::with_event(event).unwrap_or(Forwarded::NONE),
        None => Forwarded::NONE,
    }
}

/// What goes with a message of the back end besides its content, in the form in which a message carries it.
///
/// # Errors
/// The name of what no client can be sent: longer than 65,535 bytes, or with characters that MQTT refuses.
pub fn attributes<'a>(
    content_type: Option<&str>,
    properties: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Bytes, &'static str> {
    let mut list = PropertyBuf::new();
    if let Some(text) = content_type {
        list.push(Property::ContentType, Value::Text(text)).map_err(|_| "content_type")?;
    }
    for (name, value) in properties {
        list.push_user_property(name, value).map_err(|_| "user_properties")?;
    }
    Ok(Forwarded::from(list).as_bytes().clone())
}
