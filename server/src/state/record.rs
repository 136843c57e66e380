//! The records of a message and of what publisher and subscriber want of it. Owns their form in a state file, which
//! `format` puts together.

use std::sync::Arc;

use bytes::Bytes;
use hub::{
    Body, ChannelName, Except, Message, MessageId, Millis, Options, Origin, Position, Quality, Scope,
    SessionId, Traits,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct MessageRecord<'a> {
    id: u128,
    channel: &'a str,
    event: Option<&'a str>,
    #[serde(borrow)]
    body: BodyRecord<'a>,
    volatile: bool,
    except: Option<ExceptRecord<'a>>,
    /// Epoch and offset.
    position: Option<(u64, u64)>,
    traits: Option<TraitsRecord<'a>>,
}

/// Absent where all is as usual.
#[derive(Serialize, Deserialize)]
struct TraitsRecord<'a> {
    quality: u8,
    retain: bool,
    origin: Option<[u8; 15]>,
    attributes: &'a [u8],
    expires_ms: Option<u64>,
    delay_ms: u64,
}

#[derive(Serialize, Deserialize)]
enum BodyRecord<'a> {
    Values {
        json: &'a [u8],
        #[serde(borrow)]
        attachments: Vec<&'a [u8]>,
    },
    Raw(&'a [u8]),
}

#[derive(Serialize, Deserialize)]
struct ExceptRecord<'a> {
    sessions: Vec<[u8; 15]>,
    #[serde(borrow)]
    channels: Vec<&'a str>,
}

/// Whom a delivery concerned.
#[derive(Serialize, Deserialize)]
pub(crate) enum ScopeRecord<'a> {
    Channel,
    #[serde(borrow)]
    Union(Vec<&'a str>),
    Session([u8; 15]),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct OptionsRecord {
    quality: u8,
    skip_own: bool,
    keep_retain: bool,
    /// In its highest bits who made the subscription: labels have 28.
    label: u32,
}

const GIVEN: u32 = 1 << 31;

/// Beside [`GIVEN`]: and asked for.
const ASKED: u32 = 1 << 30;

impl<'a> MessageRecord<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        let traits = &message.traits;
        Self {
            id: message.id.0,
            channel: message.channel.as_str(),
            event: message.event.as_deref(),
            body: BodyRecord::of(&message.body),
            volatile: message.volatile,
            except: message.except.as_deref().map(ExceptRecord::of),
            position: message.position.map(|position| (position.epoch, position.offset)),
            traits: (*traits != Traits::default()).then(|| TraitsRecord::of(traits)),
        }
    }

    /// `None` where a name cannot be a channel's, or a number means nothing.
    pub(crate) fn message(self) -> Option<Arc<Message>> {
        let except = match self.except {
            Some(except) => Some(Box::new(except.except()?)),
            None => None,
        };
        let traits = match self.traits {
            Some(traits) => traits.traits()?,
            None => Traits::default(),
        };
        Some(Arc::new(Message {
            id: MessageId(self.id),
            channel: channel(self.channel)?,
            event: self.event.map(Box::from),
            body: self.body.body(),
            volatile: self.volatile,
            except,
            traits,
            position: self.position.map(|(epoch, offset)| Position { epoch, offset }),
            published: Millis(0),
        }))
    }
}

impl<'a> TraitsRecord<'a> {
    fn of(traits: &'a Traits) -> Self {
        let Traits { quality, retain, origin, user: _, attributes, expires, delay_ms, .. } = traits;
        let Traits { told_anew: _, gives_way: _, key: _, way: _, .. } = traits;
        Self {
            quality: quality_number(*quality),
            retain: *retain,
            origin: origin.map(|id| id.0),
            attributes,
            expires_ms: expires.map(|expires| expires.0),
            delay_ms: *delay_ms,
        }
    }

    fn traits(self) -> Option<Traits> {
        Some(Traits {
            quality: quality(self.quality)?,
            retain: self.retain,
            origin: self.origin.map(SessionId),
            user: None,
            attributes: Bytes::copy_from_slice(self.attributes),
            expires: self.expires_ms.map(Millis),
            delay_ms: self.delay_ms,
            told_anew: false,
            // By the rules of whoever takes it in.
            key: None,
            gives_way: false,
            way: 0,
        })
    }
}

impl<'a> BodyRecord<'a> {
    fn of(body: &'a Body) -> Self {
        match body {
            Body::Values { json, attachments } => {
                Self::Values { json, attachments: attachments.iter().map(|bytes| &**bytes).collect() }
            }
            Body::Raw(bytes) => Self::Raw(bytes),
        }
    }

    fn body(self) -> Body {
        match self {
            Self::Values { json, attachments } => Body::Values {
                json: Bytes::copy_from_slice(json),
                attachments: attachments.into_iter().map(Bytes::copy_from_slice).collect(),
            },
            Self::Raw(bytes) => Body::Raw(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl<'a> ExceptRecord<'a> {
    fn of(except: &'a Except) -> Self {
        Self {
            sessions: except.sessions.iter().map(|id| id.0).collect(),
            channels: except.channels.iter().map(ChannelName::as_str).collect(),
        }
    }

    fn except(self) -> Option<Except> {
        let sessions = self.sessions.into_iter().map(SessionId).collect();
        Some(Except { sessions, channels: channels(self.channels)? })
    }
}

impl<'a> ScopeRecord<'a> {
    pub(crate) fn of(scope: &'a Scope) -> Self {
        match scope {
            Scope::Channel => Self::Channel,
            Scope::Union(names) => Self::Union(names.iter().map(ChannelName::as_str).collect()),
            Scope::Session(id) => Self::Session(id.0),
        }
    }

    /// `None` where a name cannot be a channel's.
    pub(crate) fn scope(self) -> Option<Scope> {
        Some(match self {
            Self::Channel => Scope::Channel,
            Self::Union(names) => Scope::Union(channels(names)?.into()),
            Self::Session(id) => Scope::Session(SessionId(id)),
        })
    }
}

impl OptionsRecord {
    pub(crate) fn of(options: Options) -> Self {
        let Options { quality, skip_own, keep_retain, label, origin } = options;
        let label = match origin {
            Origin::Asked => label,
            Origin::Given => label | GIVEN,
            Origin::Both => label | GIVEN | ASKED,
        };
        Self { quality: quality_number(quality), skip_own, keep_retain, label }
    }

    pub(crate) fn options(self) -> Option<Options> {
        let Self { quality: number, skip_own, keep_retain, label } = self;
        let origin = match (label & GIVEN > 0, label & ASKED > 0) {
            (false, _) => Origin::Asked,
            (true, false) => Origin::Given,
            (true, true) => Origin::Both,
        };
        let label = label & !(GIVEN | ASKED);
        Some(Options { quality: quality(number)?, skip_own, keep_retain, label, origin })
    }
}

/// Names of every length: which are too long now is no question of what was delivered.
pub(crate) fn channel(name: &str) -> Option<ChannelName> {
    ChannelName::parse(name, u32::MAX).ok()
}

fn channels(names: Vec<&str>) -> Option<Vec<ChannelName>> {
    names.into_iter().map(channel).collect()
}

pub(crate) fn quality_number(quality: Quality) -> u8 {
    match quality {
        Quality::AtMostOnce => 0,
        Quality::AtLeastOnce => 1,
        Quality::ExactlyOnce => 2,
    }
}

pub(crate) fn quality(number: u8) -> Option<Quality> {
    match number {
        0 => Some(Quality::AtMostOnce),
        1 => Some(Quality::AtLeastOnce),
        2 => Some(Quality::ExactlyOnce),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were() {
        for label in [0, (1 << 28) - 1] {
            for origin in [Origin::Asked, Origin::Given, Origin::Both] {
                let quality = Quality::AtLeastOnce;
                let options = Options { quality, skip_own: true, keep_retain: false, label, origin };
                assert_eq!(OptionsRecord::of(options).options(), Some(options));
            }
        }
    }
}
