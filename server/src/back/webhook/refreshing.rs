//! Clients whose time is nearly over: the back end is asked whether they may stay, and its answer puts off the end.
//!
//! Owns what such an answer says. Without one nothing changes: the connection ends when its time is over. Must not know how that looks
//! to a client. Start at [`Teller::refresh`].

use std::sync::Arc;

use hub::SessionId;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use wire::cloudevent::timestamp;

use super::failure::Failure;
use super::reply::{self, Verdict};
use super::teller::{Checked, Teller, note};
use crate::auth::{PermissionEntry, Permissions, UnixMs};
use crate::back::moment::Moment;
use crate::config::WebhookType;
use crate::mail::{Mail, Rewrite, SessionChange};
use crate::objects::{self, present};

/// What a session has from now on; a member that is left out stays as it is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Refreshed {
    #[serde(deserialize_with = "present")]
    expires_at: Option<Option<Moment>>,
    #[serde(deserialize_with = "present")]
    permissions: Option<Option<Vec<PermissionEntry>>>,
}

impl Teller {
    /// Asks about one; `token_id` is that of the token that has let it in.
    pub(super) async fn refresh(&self, session: SessionId, (expires, token_id): (UnixMs, Option<&str>)) {
        let Some(speaks) = self.lives.get(session).map(|life| life.speaks) else { return };
        let kind = WebhookType::SessionRefresh;
        let Some(endpoint) = self.endpoint(kind, &speaks) else { return };
        let claims = token_id.map(|id| json!({ "jti": id }));
        let data = json!({ "expires_at": timestamp(expires.0), "claims": claims }).to_string();
        let asked = self.ask(endpoint, session, (kind, None, &data)).await;
        let checked = asked.and_then(|checked| {
            let change = match &checked.verdict {
                Verdict::Result(Some(result)) => change(result).map_err(Failure::Garbage)?,
                Verdict::Result(None) | Verdict::Error(_) | Verdict::Disconnect(_) => {
                    SessionChange::default()
                }
            };
            Ok((checked, change))
        });
        let (Checked { verdict, actions, state, .. }, change) = match checked {
            Ok(checked) => checked,
            Err(failure) => return note(endpoint, kind, &failure),
        };
        self.put_state(session, state);
        if !change.is_nothing() {
            // Whether it is there still is nobody's concern here.
            let (reply, _) = oneshot::channel();
            self.tell(session, Mail::Change { session, change: Box::new(change), reply }).await;
        }
        actions.run(&self.desk).await;
        if let Verdict::Disconnect(disconnect) = verdict {
            self.disconnect(session, &disconnect).await;
        }
    }
}

/// What a result says; `null` says nothing.
fn change(result: &RawValue) -> Result<SessionChange, String> {
    if !reply::is_object(result.get().as_bytes()) && result.get() != "null" {
        return Err("result must be an object".to_owned());
    }
    let written: Option<Refreshed> =
        objects::from_slice(result.get().as_bytes()).map_err(|error| format!("result: {error}"))?;
    let Refreshed { expires_at, permissions } = written.unwrap_or_default();
    let at = |at: Option<Moment>| at.map(|at| at.checked("result.expires_at")).transpose();
    let may = |entries: Option<Vec<PermissionEntry>>| entries.map(Permissions::of_entries).transpose();
    let expires = expires_at.map(at).transpose()?;
    let permissions = permissions.map(may).transpose();
    let permissions = permissions.map_err(|error| format!("result.permissions: {error}"))?;
    Ok(SessionChange {
        expires: expires.map_or(Rewrite::Keep, Rewrite::Put),
        permissions: permissions.map_or(Rewrite::Keep, |permissions| Rewrite::Put(permissions.map(Arc::new))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_changes_what_it_names_and_nothing_else() {
        let of = |text: &str| change(&RawValue::from_string(text.to_owned()).unwrap());
        for nothing in ["null", "{}"] {
            assert!(of(nothing).unwrap().is_nothing(), "{nothing}");
        }
        let later = of(r#"{"expires_at":"2026-11-22T04:00:00Z"}"#).unwrap();
        assert_eq!(later.expires, Rewrite::Put(Some(UnixMs(1_795_320_000_000))));
        assert!(matches!(later.permissions, Rewrite::Keep));
        assert_eq!(of(r#"{"expires_at":null}"#).unwrap().expires, Rewrite::Put(None));
        let less = of(r#"{"permissions":[{"filters":["a/#"],"allow":["subscribe"]}]}"#).unwrap();
        assert!(matches!(less.permissions, Rewrite::Put(Some(_))) && less.expires == Rewrite::Keep);
        for bad in [
            "[]",
            "1",
            r#"{"expires_at":"soon"}"#,
            r#"{"user":"x"}"#,
            r#"{"permissions":[{"filters":["a/#/b"]}]}"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
