//! What a Socket.IO client keeps for connection state recovery, and what it says with it.
//!
//! Must not know connections. Behaves as socket.io-client does: once it has a `pid`, the last argument of every event
//! without acknowledgement is its offset if it is a string, and it keeps that offset even when it is given a new `pid`.
//! Start at [`Resume`].

use std::borrow::Cow;

use serde_json::{Map, Value};
use wire::socketio::ConnectReply;
use wire::values::{Bounds, JsonText};

/// Who the client was: 64 bytes and three short texts, boxed, only for clients that want to be recovered.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    sid: Box<str>,
    pid: Option<Box<str>>,
    offset: Option<String>,
}

impl Resume {
    /// The credentials of a CONNECT. `csr` asks a server that recovers only who wants it; others ignore it.
    pub(super) fn credentials(&self) -> Map<String, Value> {
        let mut auth = Map::new();
        auth.insert("csr".into(), 1.into());
        if let Some(pid) = &self.pid {
            auth.insert("pid".into(), Value::from(&**pid));
            auth.extend(self.offset.as_ref().map(|offset| ("offset".into(), Value::from(offset.as_str()))));
        }
        auth
    }

    /// A server's answer to CONNECT, `0{..}`; says whether it gave us back who we were.
    pub(super) fn connected(&mut self, message: &str) -> Result<bool, String> {
        let wrong = || format!("no socket id in 4{message:.200}");
        let payload = JsonText::parse_object(message.get(1..).unwrap_or_default(), &Bounds::default());
        let payload = payload.map_err(|_| wrong())?;
        let reply = ConnectReply::parse(&payload).ok_or_else(wrong)?;
        let recovered = self.pid.is_some() && *self.sid == *reply.sid;
        self.sid = reply.sid.into();
        self.pid = reply.pid.map(Into::into);
        Ok(recovered)
    }

    /// Whether events may come before the answer to CONNECT: what was missed does.
    pub(super) fn is_returning(&self) -> bool {
        self.pid.is_some()
    }

    /// An event arrived, `2[..]`.
    pub(super) fn event(&mut self, message: &str) {
        let Some(offset) = self.pid.as_ref().and_then(|_| last_string(message)) else { return };
        let kept = self.offset.get_or_insert_default();
        kept.clear();
        kept.push_str(&offset);
    }
}

/// The last element of an event that asks for no acknowledgement, if it is a string. Looks at the end of the text only,
/// however long it is, as long as the string has no escapes.
fn last_string(message: &str) -> Option<Cow<'_, str>> {
    let args = message.strip_prefix("2[")?;
    let body = args.strip_suffix("\"]")?;
    let (before, text) = body.rsplit_once('"')?;
    if !before.ends_with('\\') && !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let args: Vec<Value> = serde_json::from_str(message.strip_prefix('2')?).ok()?;
    Some(Cow::Owned(args.last()?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(resume: &Resume) -> String {
        Value::Object(resume.credentials()).to_string()
    }

    #[test]
    fn the_offset_is_the_last_string() {
        for (message, expected) in [
            (r##"2["message","#00000001@00","o1"]"##, Some("o1")),
            (r#"2["message",{"a":["x"]},"Q81V9oh.0"]"#, Some("Q81V9oh.0")),
            (r#"2["message","a \"quoted\" one"]"#, Some("a \"quoted\" one")),
            (r#"2["message","\u0041"]"#, Some("A")),
            (r#"2["message",{"a":"]"}]"#, None),
            (r#"2["message",["x"]]"#, None),
            (r#"2["message",1]"#, None),
            // With an acknowledgement the callback is the last argument.
            (r#"212["message","o1"]"#, None),
            ("2", None),
        ] {
            assert_eq!(last_string(message).as_deref(), expected, "{message}");
        }
    }

    #[test]
    fn who_had_a_session_names_it_with_the_last_offset() {
        let mut resume = Resume::default();
        assert_eq!(said(&resume), r#"{"csr":1}"#);
        resume.event(r#"2["message","early"]"#);
        assert_eq!(resume.connected(r#"0{"sid":"s1","pid":"p1"}"#), Ok(false));
        assert_eq!(said(&resume), r#"{"csr":1,"pid":"p1"}"#);
        resume.event(r#"2["message",1,"o7"]"#);
        resume.event(r#"2["message",1]"#);
        assert_eq!(said(&resume), r#"{"csr":1,"offset":"o7","pid":"p1"}"#);
        assert_eq!(resume.connected(r#"0{"sid":"s1","pid":"p1"}"#), Ok(true));
        assert_eq!(resume.connected(r#"0{"sid":"s2","pid":"p2"}"#), Ok(false));
        assert_eq!(said(&resume), r#"{"csr":1,"offset":"o7","pid":"p2"}"#);
        assert!(resume.connected("0").is_err());
    }
}
