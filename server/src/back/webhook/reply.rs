//! What a back end answers to an event it was asked about, read and checked as a whole before anything of it is done.
//!
//! Must not know how it is done. Start at [`read`].
//!
//! A yes is status 204, or 200 to 299 with a JSON object: exactly one of `result`, `error`, `disconnect` (none is an empty
//! result), and perhaps `actions` and `state`. 401 and 403 are a no. Everything else is no answer.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::Answer;
use super::failure::Failure;
use crate::mail::Denial;
use crate::objects::{self, present};

/// Bytes of a connection's state.
pub(crate) const STATE_BYTES_MAX: usize = 4096;

/// Bytes of a reason to disconnect (RFC 6455, section 5.5.1).
const REASON_BYTES_MAX: usize = 123;

/// Actions of one answer.
const ACTIONS_MAX: usize = 1000;

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) verdict: Verdict,
    /// Each is an object with one member, its kind.
    pub(super) actions: Vec<Box<RawValue>>,
    pub(super) state: StateChange,
}

/// What becomes of the operation.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Yes; with what it says, if it says something.
    Result(Option<Box<RawValue>>),
    /// No, for this operation.
    Error(ErrorReply),
    /// The connection is to end.
    Disconnect(DisconnectReply),
}

/// What becomes of the connection's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateChange {
    /// Nothing.
    Keep,
    /// It is this from now on, or nothing.
    Put(Option<Box<str>>),
}

/// Why an operation is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorReply {
    #[serde(default)]
    pub(super) code: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) data: Option<serde_json::Value>,
    /// Whether the client should try again.
    #[serde(default)]
    pub(super) temporary: bool,
    /// As what a client that connects is refused; the status says so, not the body.
    #[serde(skip, default = "forbidden")]
    pub(super) denial: Denial,
}

fn forbidden() -> Denial {
    Denial::Forbidden
}

/// How a connection ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DisconnectReply {
    /// 4000 to 4499: the client should come back; 4500 to 4999: it should not.
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    pub(super) reason: String,
    /// Says so, whatever the code is.
    #[serde(default)]
    reconnect: Option<bool>,
}

impl DisconnectReply {
    /// Whether the client should come back.
    pub(super) fn comes_back(&self) -> bool {
        self.reconnect.unwrap_or_else(|| self.code.is_some_and(|code| code < 4500))
    }

    fn check(&self) -> Result<(), String> {
        if self.code.is_some_and(|code| !(4000..=4999).contains(&code)) {
            return Err("disconnect.code must be between 4000 and 4999".to_owned());
        }
        if self.reason.len() > REASON_BYTES_MAX {
            return Err(format!("disconnect.reason must be at most {REASON_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ErrorReply>,
    #[serde(default)]
    disconnect: Option<DisconnectReply>,
    #[serde(default)]
    actions: Vec<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    state: Option<Option<Box<str>>>,
}

/// What an answer says.
///
/// # Errors
/// [`Failure::Garbage`], [`Failure::Status`]: it is none.
pub(super) fn read(answer: &Answer) -> Result<Reply, Failure> {
    match answer.status {
        204 => Ok(Reply::of(Verdict::Result(None))),
        200..=299 => accepted(&answer.body).map_err(Failure::Garbage),
        401 => {
            let error = refusal(&answer.body, "unauthorized", "Unauthorized");
            Ok(Reply::of(Verdict::Error(ErrorReply { denial: Denial::Unknown, ..error })))
        }
        403 => Ok(Reply::of(Verdict::Error(refusal(&answer.body, "forbidden", "Forbidden")))),
        status => Err(Failure::Status(status)),
    }
}

impl Reply {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, actions: Vec::new(), state: StateChange::Keep }
    }
}

/// Whether JSON text is an object; of one that is not this can be told in plain words.
pub(super) fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

fn accepted(body: &[u8]) -> Result<Reply, String> {
    if !is_object(body) {
        return Err("it is no JSON object".to_owned());
    }
    let written: Written = objects::from_slice(body).map_err(|error| error.to_string())?;
    let Written { result, error, disconnect, actions, state } = written;
    let verdict = match (result, error, disconnect) {
        (result, None, None) => Verdict::Result(result),
        (None, Some(error), None) => Verdict::Error(error),
        (None, None, Some(disconnect)) => {
            disconnect.check()?;
            Verdict::Disconnect(disconnect)
        }
        _ => return Err("only one of result, error and disconnect may be there".to_owned()),
    };
    if actions.len() > ACTIONS_MAX {
        return Err(format!("actions must be at most {ACTIONS_MAX}"));
    }
    let state = match state {
        None => StateChange::Keep,
        Some(state) => StateChange::Put(checked_state(state)?),
    };
    Ok(Reply { verdict, actions, state })
}

/// A connection's state that is not too long.
///
/// # Errors
/// What is wrong with it.
pub(super) fn checked_state(state: Option<Box<str>>) -> Result<Option<Box<str>>, String> {
    if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(format!("state must be at most {STATE_BYTES_MAX} bytes"));
    }
    Ok(state)
}

/// A no with what its body says, if that can be understood.
fn refusal(body: &[u8], code: &str, message: &str) -> ErrorReply {
    let object = Some(body).filter(|body| is_object(body));
    let written = object.and_then(|body| objects::from_slice::<Written>(body).ok()?.error);
    written.unwrap_or_else(|| ErrorReply {
        code: Some(code.into()),
        message: message.to_owned(),
        data: None,
        temporary: false,
        denial: Denial::Forbidden,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Result<Reply, Failure> {
        read(&Answer { status, retry_after: None, body: body.to_owned().into() })
    }

    #[test]
    fn a_yes_may_say_nothing_or_something() {
        assert!(matches!(of(204, "").unwrap().verdict, Verdict::Result(None)));
        assert!(matches!(of(200, "{}").unwrap().verdict, Verdict::Result(None)));
        let reply = of(201, r#"{"result":[1],"actions":[{"state":null}],"state":"s"}"#).unwrap();
        assert!(matches!(&reply.verdict, Verdict::Result(Some(result)) if result.get() == "[1]"));
        assert_eq!((reply.actions.len(), reply.state), (1, StateChange::Put(Some("s".into()))));
        assert!(matches!(of(200, r#"{"result":null}"#).unwrap().verdict, Verdict::Result(Some(_))));
        assert_eq!(of(200, r#"{"state":null}"#).unwrap().state, StateChange::Put(None));
    }

    #[test]
    fn a_no_is_one_operations_or_the_connections() {
        let Verdict::Error(error) =
            of(200, r#"{"error":{"code":7,"message":"m","data":[1]}}"#).unwrap().verdict
        else {
            panic!("an error")
        };
        assert_eq!((error.code, error.message.as_str(), error.temporary), (Some(7.into()), "m", false));
        let Verdict::Error(error) = of(401, "<html>").unwrap().verdict else { panic!("an error") };
        assert_eq!(error.message, "Unauthorized");
        let Verdict::Error(error) = of(403, r#"{"error":{"message":"not you"}}"#).unwrap().verdict else {
            panic!("an error")
        };
        assert_eq!(error.message, "not you");
        for (body, comes_back) in [
            (r#"{"disconnect":{}}"#, false),
            (r#"{"disconnect":{"code":4001}}"#, true),
            (r#"{"disconnect":{"code":4500}}"#, false),
            (r#"{"disconnect":{"code":4500,"reconnect":true}}"#, true),
        ] {
            let Verdict::Disconnect(disconnect) = of(200, body).unwrap().verdict else { panic!("{body}") };
            assert_eq!(disconnect.comes_back(), comes_back, "{body}");
        }
    }

    #[test]
    fn nothing_else_is_an_answer() {
        let long = format!(r#"{{"state":"{}"}}"#, "x".repeat(STATE_BYTES_MAX + 1));
        let reason = format!(r#"{{"disconnect":{{"reason":"{}"}}}}"#, "x".repeat(124));
        for (status, body) in [
            (200, ""),
            (200, "<html>hello</html>"),
            (200, "[]"),
            (200, r#"{"resutl":1}"#),
            (200, r#"{"result":1,"error":{}}"#),
            (200, r#"{"error":{},"disconnect":{}}"#),
            (200, r#"{"error":"no"}"#),
            (200, r#"{"error":["code","message",null,true]}"#),
            (200, r#"{"disconnect":[4000]}"#),
            (200, r#"{"disconnect":{"code":1000}}"#),
            (200, reason.as_str()),
            (200, r#"{"actions":{}}"#),
            (200, r#"{"state":7}"#),
            (200, long.as_str()),
            (100, "{}"),
            (301, "{}"),
            (404, "{}"),
            (429, "{}"),
            (500, r#"{"result":1}"#),
        ] {
            assert!(of(status, body).is_err(), "{status} {body}");
        }
    }
}
