//! Who asks, and what they may do: keys and signatures where keys are configured, otherwise whoever reaches the port.
//!
//! Must not know queues beyond their names. Start at [`Door::caller`].

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use wire::sqs::{Clock, Error, ErrorKind, QueueArn, Request, Signature, SignedRequest};

use super::Door;
use super::http::Port;
use crate::back::rest::{bears_admin_key, check_without_keys};
use crate::config::SqsCredential;

/// How far a client's clock may be off. Seconds.
const SKEW_S_MAX: u64 = 900;

/// Who asks.
pub(super) struct Caller<'d> {
    /// Of queues that are named without one.
    pub(super) region: String,
    /// Likewise.
    pub(super) account: String,
    /// What receivers are told of a message's sender.
    pub(super) sender: String,
    /// What it may do; `None` = anything.
    rights: Option<&'d SqsCredential>,
}

impl Door {
    /// Who asks.
    pub(super) fn caller(&self, parts: &Parts, body: &[u8], port: Port) -> Result<Caller<'_>, Error> {
        if port == Port::Private && bears_admin_key(&parts.headers, &self.config) {
            // Who may do everything else there may do this, too.
            return Ok(self.anybody(None));
        }
        let fields: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let request = SignedRequest { method: parts.method.as_str(), path, query, fields: &fields, body };
        if self.config.sqs_credentials.is_empty() {
            self.check_open(parts, port)?;
            // Whatever stands there counts for nothing but names.
            return Ok(self.anybody(Signature::find(&request).ok().flatten().as_ref()));
        }
        let signature = Signature::find(&request)?.ok_or_else(Error::unsigned)?;
        let is_named =
            |credential: &&SqsCredential| credential.key_id.as_str() == signature.access_key_id.as_ref();
        let credential = self.config.sqs_credentials.iter().find(is_named);
        let credential = credential.ok_or_else(Error::unknown_access_key)?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        signature.verify(&request, credential.secret.expose(), Clock { now_s, skew_s_max: SKEW_S_MAX })?;
        let account = credential.account.as_ref().unwrap_or(&self.config.sqs.account).as_str();
        Ok(Caller {
            region: signature.region.into_owned(),
            account: account.to_owned(),
            sender: credential.key_id.as_str().to_owned(),
            rights: Some(credential),
        })
    }

    /// Without keys of its own the API is no way around those of the private port, nor one for web pages.
    fn check_open(&self, parts: &Parts, port: Port) -> Result<(), Error> {
        if port == Port::Private && self.config.has_private_keys() {
            let text = "Where there are private.keys this port takes only requests that have one as bearer token or are signed by an sqs.credential.";
            return Err(Error::new(ErrorKind::InvalidClientTokenId, text));
        }
        check_without_keys(&parts.headers).map_err(|wrong| {
            Error::new(ErrorKind::AccessDeniedException, format!("Without an sqs.credential {wrong}."))
        })
    }

    fn anybody(&self, signature: Option<&Signature<'_>>) -> Caller<'_> {
        let sqs = &self.config.sqs;
        let is_account = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        let key_id = signature.map(|signature| signature.access_key_id.as_ref()).filter(|id| is_account(id));
        let region = signature.map(|signature| signature.region.as_ref()).filter(|region| !region.is_empty());
        let account = key_id.unwrap_or(sqs.account.as_str()).to_owned();
        Caller {
            region: region.unwrap_or(sqs.region.as_str()).to_owned(),
            sender: account.clone(),
            account,
            rights: None,
        }
    }
}

impl Caller<'_> {
    /// Checks what is asked against what the key allows.
    pub(super) fn may(&self, request: &Request<'_>) -> Result<(), Error> {
        let Some(rights) = self.rights else { return Ok(()) };
        let action = request.action();
        let denied = || Error::access_denied(action);
        if !rights.actions.is_empty() && !rights.actions.iter().any(|one| one.as_str() == action.name()) {
            return Err(denied());
        }
        let moved: &[&QueueArn] = match request {
            Request::StartMessageMoveTask(task) => match &task.destination {
                Some(target) => &[&task.source, target],
                None => &[&task.source],
            },
            Request::ListMessageMoveTasks(list) => &[&list.source],
            Request::CancelMessageMoveTask(handle) => &[&handle.source],
            _ => &[],
        };
        let mut names = request.queue().map(|queue| queue.name.as_ref()).into_iter();
        let mut moved = moved.iter().map(|arn| arn.name.as_str());
        let is_foreign = |name: &str| !self.sees(name);
        if names.any(is_foreign) || moved.any(is_foreign) { Err(denied()) } else { Ok(()) }
    }

    /// Whether a queue of this name concerns it.
    pub(super) fn sees(&self, name: &str) -> bool {
        self.rights.is_none_or(|rights| rights.queues.iter().any(|pattern| pattern.matches(name)))
    }
}
