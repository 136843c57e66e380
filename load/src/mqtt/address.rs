//! Where a server of MQTT is.
//!
//! Must not know sockets. Start at [`Address`].

use std::str::FromStr;

/// `mqtt://host:port`, `mqtts://` with TLS, `ws://host:port/path` and `wss://` over WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it was typed.
    pub(super) text: String,
    pub(super) is_secure: bool,
    pub(super) is_websocket: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Empty if none was given.
    pub(super) path: String,
}

/// Schemes, whether there is TLS, whether there is WebSocket, ports.
const SCHEMES: [(&str, bool, bool, u16); 4] = [
    ("mqtt://", false, false, 1883),
    ("mqtts://", true, false, 8883),
    ("ws://", false, true, 80),
    ("wss://", true, true, 443),
];

impl Address {
    /// Whether a text is meant to be one.
    pub fn is_meant_by(text: &str) -> bool {
        SCHEMES.iter().any(|(prefix, ..)| text.starts_with(prefix))
    }

    /// The value of the header `host`.
    pub(super) fn authority(&self) -> String {
        let rest = self.text.split_once("://").map_or(self.text.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = SCHEMES.iter().find_map(|(prefix, is_secure, is_websocket, port)| {
            Some((text.strip_prefix(prefix)?, *is_secure, *is_websocket, *port))
        });
        let Some((rest, is_secure, is_websocket, default)) = known else {
            return Err("must begin with mqtt://, mqtts://, ws:// or wss://".into());
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("user and password do not belong into the address: --user and --password".into());
        }
        if !is_websocket && !path.trim_matches('/').is_empty() {
            return Err(format!("{path}: a path is for ws:// and wss://; the topic is --topic"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => {
                (host, digits.parse().map_err(|_| format!("{digits:?} is no port"))?)
            }
            _ => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("there is no host in it".into());
        }
        let (host, path) = (host.to_owned(), if path == "/" { String::new() } else { path.to_owned() });
        Ok(Self { text: text.to_owned(), is_secure, is_websocket, host, port, path })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_their_ports_and_paths() {
        let parsed = |text: &str| {
            let Address { is_secure, is_websocket, host, port, path, .. } = text.parse().unwrap();
            (is_secure, is_websocket, host, port, path)
        };
        let expected = |is_secure, is_websocket, host: &str, port, path: &str| {
            (is_secure, is_websocket, host.to_owned(), port, path.to_owned())
        };
        assert_eq!(parsed("mqtt://a"), expected(false, false, "a", 1883, ""));
        assert_eq!(parsed("mqtts://a/"), expected(true, false, "a", 8883, ""));
        assert_eq!(parsed("ws://a:9/mqtt"), expected(false, true, "a", 9, "/mqtt"));
        assert_eq!(parsed("wss://[::1]/x"), expected(true, true, "::1", 443, "/x"));
        assert_eq!(parsed("mqtt://[::1]:5"), expected(false, false, "::1", 5, ""));
        assert_eq!("ws://a:9/m".parse::<Address>().unwrap().authority(), "a:9");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("http://a", "must begin with mqtt://"),
            ("mqtt://", "no host"),
            ("mqtt://a:b", "\"b\" is no port"),
            ("mqtt://u:p@a", "--user"),
            ("mqtt://a/topic", "--topic"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
