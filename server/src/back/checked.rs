//! What every message and answer of a back end is checked for before a hub sees it, so that no client is sent what it
//! closes its connection at. REST and embedding both go through here.
//!
//! Must not know where a message comes from. Start at [`Outline::checked`].

use super::gather::{Outline, target_of};
use crate::config::Limits;
use hub::{Body, ChannelName, Except, Refusal, Target};
use wire::socketio::is_reserved_event;

/// Why a message or an answer cannot be sent. Nothing was sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The event has one of the names that Socket.IO's clients use themselves: `connect`, `connect_error`,
    /// `disconnect`, `disconnecting`, `newListener`, `removeListener`. The empty name is none of them.
    #[error("the event's name is reserved by Socket.IO, whose clients close their connection at it")]
    Event,
    /// More binary values than `limits.attachments_max`.
    #[error("the message has more binary values than limits.attachments_max")]
    Attachments,
    /// Nested deeper than `limits.json_depth_max`; the list of arguments is a level.
    #[error("the message is nested deeper than limits.json_depth_max")]
    Depth,
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
}

/// Checks what a client is sent, an event's arguments or an answer.
///
/// # Errors
/// [`Invalid::Attachments`], [`Invalid::Depth`].
pub fn check_body(body: &Body, limits: &Limits) -> Result<(), Invalid> {
    let (json, attachments) = match body {
        Body::Values { json, attachments } => (json, attachments.len()),
        Body::Raw(_) => return Ok(()),
    };
    if attachments > limits.attachments_max {
        return Err(Invalid::Attachments);
    }
    if depth_of(json) > limits.json_depth_max { Err(Invalid::Depth) } else { Ok(()) }
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
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth_of(br#"[1,"[[\"[[\\"]"#), 1);
        assert_eq!(depth_of(br#"[[],{"a":[1]},[]]"#), 3);
    }
}
