//! What every message and answer of a back end is checked for before a hub sees it, so that no client is sent what it
//! closes its connection at, and no record is larger than a store takes. REST and embedding both go through here.
//!
//! Must not know where a message comes from. Start at [`Outline::checked`].

use super::gather::{Outline, target_of};
use crate::config::Limits;
use hub::{Body, ChannelName, Except, Refusal, Target};
use wire::socketio::is_reserved_event;

/// What a message may have beside its body: room for a million names.
pub(crate) const NAMES_BYTES_MAX: usize = 64 << 20;

/// A user's name, as long as one of MQTT can be.
pub(crate) const USER_BYTES_MAX: usize = 65_535;

/// Why a message or an answer cannot be sent. Nothing was sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The event has one of the names that Socket.IO's clients use themselves: `connect`, `connect_error`,
    /// `disconnect`, `disconnecting`, `newListener`, `removeListener`. The empty name is none of them.
    #[error("the event's name is reserved by Socket.IO, whose clients close their connection at it")]
    Event,
    /// Larger than `limits.message_bytes_max`, binary values included.
    #[error("the message is over limits.message_bytes_max")]
    Bytes,
    /// The names it is for, those it is kept from, its event's name and its properties are larger than 64 MiB together.
    #[error("the names of targets, exceptions and event, and the properties, are over 64 MiB")]
    Names,
    /// More binary values than `limits.attachments_max`.
    #[error("the message has more binary values than limits.attachments_max")]
    Attachments,
    /// Nested deeper than `limits.json_depth_max`; the list of arguments is a level.
    #[error("the message is nested deeper than limits.json_depth_max")]
    Depth,
    /// The name of a session's user is longer than 65,535 bytes.
    #[error("the user's name is over 65,535 bytes")]
    User,
    /// A session's info is larger than `limits.message_bytes_max`.
    #[error("the info is over limits.message_bytes_max")]
    Info,
    /// The target or an exception is no name to publish to.
    #[error("refused: {0:?}")]
    Target(Refusal),
}

impl Outline {
    /// The outline, if clients can be sent it; sessions that are excepted as `$client/<id>` are put where they belong.
    ///
    /// # Errors
    /// Every [`Invalid`].
    pub fn checked(mut self, limits: &Limits) -> Result<Self, Invalid> {
        if self.event.as_deref().is_some_and(is_reserved_event) {
            return Err(Invalid::Event);
        }
        check_body(&self.body, limits)?;
        if self.names_bytes() > NAMES_BYTES_MAX {
            return Err(Invalid::Names);
        }
        let channels = match &self.target {
            Target::Channel(channel) => std::slice::from_ref(channel),
            Target::Union(channels) => channels,
            Target::Session(_) => &[],
        };
        channels.iter().try_for_each(check_name).map_err(Invalid::Target)?;
        // What reaches users and sessions by their own names has no later subscribers.
        let is_named =
            matches!(self.target, Target::Session(_)) || channels.iter().any(ChannelName::is_reserved);
        if self.traits.retain && is_named {
            return Err(Invalid::Target(Refusal::ReservedChannel));
        }
        if let Some(except) = &mut self.except {
            divide(except).map_err(Invalid::Target)?;
        }
        Ok(self)
    }

    /// What a record of it has beside the body.
    fn names_bytes(&self) -> usize {
        let len =
            |channels: &[ChannelName]| channels.iter().map(|name| name.as_str().len() + 1).sum::<usize>();
        let target = match &self.target {
            Target::Channel(channel) => channel.as_str().len(),
            Target::Union(channels) => len(channels),
            Target::Session(_) => 0,
        };
        let kept_from = |except: &Except| len(&except.channels) + size_of_val(except.sessions.as_slice());
        let event = self.event.as_ref().map_or(0, |event| event.len());
        target + event + self.traits.attributes.len() + self.except.as_deref().map_or(0, kept_from)
    }
}

/// Whether every protocol can tell an event by this name: an empty one some cannot, and a stream ends a line where the name does.
pub(crate) fn is_event_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['\0', '\r', '\n'])
}

/// Checks what a client is sent, an event's arguments or an answer.
///
/// # Errors
/// [`Invalid::Bytes`], [`Invalid::Attachments`], [`Invalid::Depth`].
pub fn check_body(body: &Body, limits: &Limits) -> Result<(), Invalid> {
    if body.len_bytes() > limits.message_bytes_max {
        return Err(Invalid::Bytes);
    }
    let (json, attachments) = match body {
        Body::Values { json, attachments } => (json, attachments.len()),
        Body::Raw(_) => return Ok(()),
    };
    if attachments > limits.attachments_max {
        return Err(Invalid::Attachments);
    }
    if depth_of(json) > limits.json_depth_max { Err(Invalid::Depth) } else { Ok(()) }
}

/// Checks what a back end says of a session that it accepts.
///
/// # Errors
/// [`Invalid::User`], [`Invalid::Info`].
pub fn check_identity(user: Option<&str>, info: Option<&[u8]>, limits: &Limits) -> Result<(), Invalid> {
    if user.is_some_and(|user| user.len() > USER_BYTES_MAX) {
        return Err(Invalid::User);
    }
    if info.is_some_and(|info| info.len() > limits.message_bytes_max) { Err(Invalid::Info) } else { Ok(()) }
}

/// `$` names other than those of users and of sessions are the server's own.
fn check_name(channel: &ChannelName) -> Result<(), Refusal> {
    match target_of(channel.clone()) {
        Target::Channel(name) if name.as_str().starts_with("$client/") => Err(Refusal::NotFound),
        Target::Channel(name) if name.is_reserved() && !name.as_str().starts_with("$user/") => {
            Err(Refusal::ReservedChannel)
        }
        _ => Ok(()),
    }
}

/// Makes sessions of the excepted channels that name one.
fn divide(except: &mut Except) -> Result<(), Refusal> {
    except.channels.iter().try_for_each(check_name)?;
    except.sessions.extend(except.channels.iter().filter_map(ChannelName::session));
    except.channels.retain(|channel| channel.session().is_none());
    Ok(())
}

/// Nested arrays and objects of text that is JSON. One pass over the bytes, no parsing.
fn depth_of(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_room_for_many_names_and_not_for_any_number() {
        let config = crate::config::Config::embedded_with(&[]).unwrap();
        let name = ChannelName::parse(&"n".repeat(65_535), 65_535).unwrap();
        let outline = |count: usize, except: usize| {
            let except = Except { sessions: Vec::new(), channels: vec![name.clone(); except] };
            Outline {
                version: None,
                target: Target::Union(vec![name.clone(); count]),
                event: None,
                body: Body::nothing(),
                volatile: false,
                except: Some(Box::new(except)),
                reply_within: None,
                traits: hub::Traits::default(),
            }
        };
        assert!(outline(500, 524).checked(&config.limits).is_ok());
        assert_eq!(outline(500, 525).checked(&config.limits).unwrap_err(), Invalid::Names);
    }

    #[test]
    fn what_is_said_of_a_session_is_bounded() {
        let config = crate::config::Config::embedded_with(&[]).unwrap();
        let (user, info) = ("u".repeat(USER_BYTES_MAX + 1), vec![b'1'; config.limits.message_bytes_max + 1]);
        let check = |user, info| check_identity(Some(user), Some(info), &config.limits);
        assert_eq!(check(&user[1..], &info[1..]), Ok(()));
        assert_eq!(check(&user, &info[1..]), Err(Invalid::User));
        assert_eq!(check("u", &info), Err(Invalid::Info));
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth_of(br#"[1,"[[\"[[\\"]"#), 1);
        assert_eq!(depth_of(br#"[[],{"a":[1]},[]]"#), 3);
    }
}
