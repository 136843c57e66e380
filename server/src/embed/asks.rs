//! What clients want to do with channels of which the program says whether they may.
//!
//! Must not know when it is asked: the rules of channels say so. Start at [`Ask`].

use super::handle::Session;
use crate::back::checked::{Invalid, check_body};
use crate::back::office::OfficeError;
use crate::config::Limits;
use crate::mail::{self, Deed, Denial, Mail, Question, Ruling, Wanted};
use hub::Body;
use serde_json::Value;
use std::sync::Arc;
use wire::socketio::is_reserved_event;

/// A client that wants to do something with a channel, to be answered once.
#[derive(Debug)]
pub struct Ask {
    /// Whose client it is. A client that publishes by a single request has no session, and this one stands for nothing but the
    /// answer.
    pub session: Session,
    /// The user, if it is known.
    pub user: Option<Arc<str>>,
    /// The channel or, of a subscription, perhaps a filter.
    pub channel: String,
    /// What it wants.
    pub what: Asked,
    number: u64,
}

/// What a client wants to do with a channel.
#[derive(Debug)]
#[non_exhaustive]
pub enum Asked {
    /// To get its messages; with the quality of service of MQTT that it wants, if it speaks that.
    Subscribe(Option<u8>),
    /// To publish: the event's name, if any, and the content, of which raw bytes are one value.
    Publish(Option<String>, Vec<Value>),
}

/// As what a client may do it.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// A subscription with at most this quality of service of MQTT.
    pub qos_max: Option<u8>,
    /// A subscription without what the channel keeps from before.
    pub without_history: bool,
    /// A message with this payload instead. Not for events of Socket.IO.
    pub payload: Option<Vec<u8>>,
    /// A message with this name of an event instead.
    pub event: Option<String>,
}

impl Terms {
    fn checked(self, limits: &Limits) -> Result<mail::Terms, Invalid> {
        let Self { qos_max, without_history, payload, event } = self;
        let body = payload.map(|payload| Body::Raw(payload.into()));
        if let Some(body) = &body {
            check_body(body, limits)?;
        }
        if event.as_deref().is_some_and(is_reserved_event) {
            return Err(Invalid::Event);
        }
        let recovery = if without_history { Wanted::Never } else { Wanted::AsAsked };
        Ok(mail::Terms { qos_max, recovery, body, event: event.map(String::into_boxed_str) })
    }
}

impl Ask {
    pub(super) fn new(session: Session, number: u64, question: Question) -> Self {
        let what = match question.deed {
            Deed::Subscribe { qos, .. } => Asked::Subscribe(qos),
            Deed::Publish(draft) => {
                let event = draft.event.map(String::from);
                Asked::Publish(event, crate::back::values::values_of(&draft.body))
            }
        };
        Self { session, user: question.user, channel: question.channel.into(), what, number }
    }

    /// It may.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`].
    pub async fn allow(self) -> Result<(), OfficeError> {
        self.allow_as(Terms::default()).await
    }

    /// It may on these terms.
    ///
    /// # Errors
    /// As [`Ask::allow`]; [`OfficeError::Invalid`] for a payload that is too long, or a name that no event may have (nothing is
    /// answered then).
    pub async fn allow_as(self, terms: Terms) -> Result<(), OfficeError> {
        let terms = terms.checked(&self.session.handle().config().limits)?;
        self.rule(Ruling::Yes(terms)).await
    }

    /// Its message is taken, and nobody gets it. Of a subscription a refusal.
    ///
    /// # Errors
    /// As [`Ask::allow`].
    pub async fn swallow(self) -> Result<(), OfficeError> {
        self.rule(Ruling::Drop).await
    }

    /// It may not.
    ///
    /// # Errors
    /// As [`Ask::allow`].
    pub async fn refuse(self, message: &str) -> Result<(), OfficeError> {
        self.rule(Ruling::No { denial: Denial::Forbidden, message: message.into() }).await
    }

    /// Nobody can say now: the connection is closed, and the client comes back and asks again.
    ///
    /// # Errors
    /// As [`Ask::allow`].
    pub async fn unavailable(self) -> Result<(), OfficeError> {
        self.rule(Ruling::Unknown).await
    }

    async fn rule(self, ruling: Ruling) -> Result<(), OfficeError> {
        let (session, number) = (self.session.id(), self.number);
        self.session.tell_home(Mail::Answer { session, number, ruling: Box::new(ruling) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// [`super::super::Emit`] refused such a name, and this did not.
    #[test]
    fn a_message_is_not_renamed_to_what_clients_of_socket_io_close_at() {
        let limits = Config::loopback().limits;
        let named =
            |event: &str| Terms { event: Some(event.to_owned()), ..Terms::default() }.checked(&limits);
        assert!(matches!(named("connect"), Err(Invalid::Event)));
        assert_eq!(named("news").unwrap().event.as_deref(), Some("news"));
        let long = Terms { payload: Some(vec![0; limits.message_bytes_max + 1]), ..Terms::default() };
        assert!(matches!(long.checked(&limits), Err(Invalid::Bytes)));
    }
}
