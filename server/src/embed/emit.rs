//! Building a publish step by step, in the words of Socket.IO's server: to, except, volatile, emit, ask.

use super::args::Args;
use super::handle::Handle;
use crate::back::gather::{Delivery, Outline, Reply, target_of, usual_traits};
use crate::back::office::OfficeError;
use hub::{ChannelName, Except, MessageId, Refusal, SessionId, Target};
use std::sync::Arc;
use std::time::Duration;

/// Answers to an ask.
#[derive(Debug, Clone)]
pub struct Replies {
    /// In order of arrival.
    pub replies: Vec<(SessionId, Args)>,
    /// Asked, but silent until the time was up, or gone.
    pub missing: Vec<SessionId>,
}

/// A publish being put together. Nothing happens before [`Emit::emit`], [`Emit::ask`] or [`Emit::send`].
#[derive(Clone)]
#[must_use = "nothing is sent before `emit`, `ask` or `send`"]
pub struct Emit {
    handle: Handle,
    namespace: Arc<str>,
    /// None = the whole namespace.
    target: Option<Target>,
    except: Except,
    volatile: bool,
    /// The first name that was not a valid room; reported when the message is sent.
    invalid: Option<Refusal>,
}

impl Emit {
    pub(super) fn new(handle: Handle, namespace: Arc<str>) -> Self {
        Self { handle, namespace, target: None, except: Except::default(), volatile: false, invalid: None }
    }

    /// Adds a room; several rooms are a union, each session once. No room at all = the whole namespace.
    pub fn to(mut self, room: &str) -> Self {
        match self.handle.room(&self.namespace, room) {
            Ok(channel) => self.add(target_of(channel)),
            Err(refusal) => self.invalid = self.invalid.or(Some(refusal)),
        }
        self
    }

    /// Adds a channel by its product-wide name.
    pub fn channel(mut self, channel: ChannelName) -> Self {
        self.add(target_of(channel));
        self
    }

    /// Adds one session; with rooms it is part of the union.
    pub fn session(mut self, session: SessionId) -> Self {
        self.add(Target::Session(session));
        self
    }

    fn add(&mut self, target: Target) {
        self.target = Some(match self.target.take() {
            None => target,
            Some(before) => {
                let mut names = names_of(before);
                names.extend(names_of(target));
                Target::Union(names)
            }
        });
    }

    /// Leaves out the members of a room.
    pub fn except(mut self, room: &str) -> Self {
        match self.handle.room(&self.namespace, room) {
            Ok(channel) => self.except.channels.push(channel),
            Err(refusal) => self.invalid = self.invalid.or(Some(refusal)),
        }
        self
    }

    /// Leaves out one session.
    pub fn except_session(mut self, session: SessionId) -> Self {
        self.except.sessions.push(session);
        self
    }

    /// Sessions that cannot take it at once do without.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Publishes and tells how many sessions it reached.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] for invalid names or unknown sessions; [`OfficeError::Invalid`] for what clients cannot
    /// be sent; [`OfficeError::Busy`], [`OfficeError::Stopped`]; [`OfficeError::Uncertain`] when it may have been published
    /// or not.
    pub async fn emit(self, event: &str, args: impl Into<Args>) -> Result<Delivery, OfficeError> {
        let (handle, outline) = self.outline(event, args.into(), None)?;
        handle.office().publish(outline).await
    }

    /// Publishes without waiting for counts: the fastest way.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] for invalid names; [`OfficeError::Invalid`]; [`OfficeError::Busy`],
    /// [`OfficeError::Stopped`]; [`OfficeError::Uncertain`] when it may have been published or not.
    pub async fn send(self, event: &str, args: impl Into<Args>) -> Result<MessageId, OfficeError> {
        let (handle, outline) = self.outline(event, args.into(), None)?;
        handle.office().publish_only(outline).await
    }

    /// Publishes and waits until every session reached has acknowledged, or the time is up.
    ///
    /// # Errors
    /// As [`Emit::emit`]. Silence is no error: see [`Replies::missing`].
    pub async fn ask(
        self,
        event: &str,
        args: impl Into<Args>,
        wait: Duration,
    ) -> Result<Replies, OfficeError> {
        let (handle, outline) = self.outline(event, args.into(), Some(wait))?;
        let delivery = handle.office().publish(outline).await?;
        let replies =
            delivery.replies.into_iter().map(|Reply { session, body }| (session, Args(body))).collect();
        Ok(Replies { replies, missing: delivery.missing })
    }

    fn outline(
        self,
        event: &str,
        args: Args,
        wait: Option<Duration>,
    ) -> Result<(Handle, Outline), OfficeError> {
        if let Some(refusal) = self.invalid {
            return Err(OfficeError::Refused(refusal));
        }
        let target = match self.target {
            Some(target) => target,
            None => {
                let whole = self.handle.namespace_channel(&self.namespace);
                Target::Channel(whole.map_err(OfficeError::Refused)?)
            }
        };
        let except = (self.except != Except::default()).then(|| Box::new(self.except));
        let outline = Outline {
            version: None,
            target,
            event: Some(event.into()),
            body: args.0,
            volatile: self.volatile,
            except,
            reply_within: wait,
            traits: usual_traits(),
        };
        let outline = outline.checked(&self.handle.config().limits)?;
        Ok((self.handle, outline))
    }
}

/// Channels and sessions as a union names them.
fn names_of(target: Target) -> Vec<ChannelName> {
    match target {
        Target::Channel(channel) => vec![channel],
        Target::Session(session) => vec![ChannelName::client(session)],
        Target::Union(channels) => channels,
    }
}
