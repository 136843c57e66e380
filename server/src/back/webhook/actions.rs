//! What a back end wants done besides its answer: a list that is checked as a whole before the first of it is done, and then
//! done in its order.
//!
//! Must not know what was answered. Start at [`Actions::check`].

use hub::{Members, Reason, SessionId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reply::{StateChange, checked_state};
use crate::back::gather::Outline;
use crate::back::office::OfficeError;
use crate::back::rest::{Desk, PublishRequest, SubscriptionRequest};
use crate::objects;

/// One thing to do, as it is written: an object with one member.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    /// As the body of `POST /v1/messages`, without `reply`.
    Publish(Box<PublishRequest>),
    /// As the body of `PUT /v1/subscriptions`; the event's session if it names nobody.
    Subscribe(SubscriptionRequest),
    /// Likewise of `DELETE`.
    Unsubscribe(SubscriptionRequest),
    /// As `publish`, with `sessions` in the place of channels; the event's session if that is left out.
    Send(Box<RawValue>),
    /// Ends a session, this one if it names none.
    Disconnect(Ending),
    /// The connection's state.
    State(Option<Box<str>>),
}

/// Which session ends, and whether its client comes back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    /// The connection is closed under it, and the client comes back.
    #[serde(default)]
    reconnect: bool,
}

/// One thing to do, checked.
enum Action {
    Publish(Box<Outline>),
    Subscribe(Members, String),
    Unsubscribe(Members, String),
    End(Members, Reason),
}

/// What is to be done, in order.
#[derive(Default)]
pub(super) struct Actions {
    list: Vec<Action>,
    /// The last word on the connection's state.
    pub(super) state: Option<StateChange>,
}

impl Actions {
    /// What a list says, if all of it can be understood.
    ///
    /// # Errors
    /// Which one cannot, and why.
    pub(super) fn check(written: &[Box<RawValue>], own: SessionId, desk: &Desk) -> Result<Self, String> {
        let mut actions = Self::default();
        for (index, one) in written.iter().enumerate() {
            actions.add(one, own, desk).map_err(|error| format!("actions[{index}]: {error}"))?;
        }
        Ok(actions)
    }

    fn add(&mut self, written: &RawValue, own: SessionId, desk: &Desk) -> Result<(), String> {
        let written = objects::from_slice(written.get().as_bytes()).map_err(|error| error.to_string())?;
        self.list.push(match written {
            Written::Publish(request) => Action::Publish(Box::new(request.unanswered(desk)?)),
            Written::Send(request) => Action::Publish(Box::new(sent(&request, own)?.unanswered(desk)?)),
            Written::Subscribe(request) => {
                let (of, channel) = request.of_session(own, desk)?;
                if channel.starts_with('$') {
                    let level = first_level(&channel);
                    return Err(format!("only the server subscribes sessions to channels of {level}"));
                }
                Action::Subscribe(of, channel)
            }
            Written::Unsubscribe(request) => {
                let (of, channel) = request.of_session(own, desk)?;
                Action::Unsubscribe(of, channel)
            }
            Written::Disconnect(ending) => ending.checked(own)?,
            Written::State(state) => {
                self.state = Some(StateChange::Put(checked_state(state)?));
                return Ok(());
            }
        });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Does them one after the other. One that fails, for instance since its session is gone, does not stop the others; gives
    /// how many did.
    pub(super) async fn run(self, desk: &Desk) -> usize {
        let mut failed = 0;
        for action in self.list {
            let done = match action {
                Action::Publish(outline) => desk.office().publish(*outline).await.map(drop),
                Action::Subscribe(of, channel) => desk.office().subscribe(of, channel).await.map(drop),
                Action::Unsubscribe(of, channel) => desk.office().unsubscribe(of, channel).await.map(drop),
                Action::End(of, reason) => desk.office().end_members(of, reason).await.map(drop),
            };
            if let Err(error) = done {
                failed += 1;
                let is_trouble = !matches!(error, OfficeError::Refused(_));
                tracing::debug!(%error, is_trouble, "an action of the back end was not done");
            }
        }
        failed
    }
}

/// What is told of a reserved channel: below it may be the id of a session, which is for no log.
pub(super) fn first_level(channel: &str) -> &str {
    channel.split('/').next().unwrap_or_default()
}

/// A message to sessions as one to the channels that they are.
fn sent(written: &RawValue, own: SessionId) -> Result<PublishRequest, String> {
    let mut members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(written.get()).map_err(|error| error.to_string())?;
    if members.contains_key("channel") || members.contains_key("channels") {
        return Err("send goes to sessions, not to channels".to_owned());
    }
    let sessions = match members.remove("sessions") {
        None => vec![own.to_string()],
        Some(list) => serde_json::from_value::<Vec<String>>(list).map_err(|error| error.to_string())?,
    };
    if sessions.is_empty() {
        return Err("sessions must not be empty".to_owned());
    }
    if let Some(wrong) = sessions.iter().find(|session| session.parse::<SessionId>().is_err()) {
        return Err(format!("\"{wrong}\" is no session id"));
    }
    let channels: Vec<String> = sessions.iter().map(|session| format!("$client/{session}")).collect();
    members.insert("channels".to_owned(), channels.into());
    serde_json::from_value(members.into()).map_err(|error| error.to_string())
}

impl Ending {
    fn checked(self, own: SessionId) -> Result<Action, String> {
        let of = match (self.session, self.user, self.client_id) {
            (None, None, None) => Members::Session(own),
            (Some(session), None, None) => {
                let parsed = session.parse();
                Members::Session(parsed.map_err(|_| format!("\"{session}\" is no session id"))?)
            }
            (None, Some(user), None) => Members::User(user.into()),
            (None, None, Some(name)) => Members::Name(name.into()),
            _ => return Err("give only one of session, user and client_id".to_owned()),
        };
        Ok(Action::End(of, if self.reconnect { Reason::Disconnected } else { Reason::Kicked }))
    }
}
