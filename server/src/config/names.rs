//! Checked names and patterns of the configuration: channels, filters, namespaces, origins, paths, cookies, secrets.
//!
//! Each type parses once and can then be relied on. Must not know keys or files. Start at any type.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use subtle::ConstantTimeEq;

use super::table::{Flaw, Kind, Setting, Value};

/// The longest channel name or filter that the configuration itself may hold, in bytes.
const CHANNEL_BYTES_MAX: usize = 2048;

/// Implements a setting that is parsed from one string by `parse(&str) -> Result<Self, String>`.
macro_rules! text_setting {
    ($type:ty, $form:literal) => {
        impl Setting for $type {
            const KIND: Kind = Kind::Text($form);

            fn read(value: &Value) -> Result<Self, Flaw> {
                Self::parse(value.text()?).map_err(|text| value.flaw(text))
            }
        }

        impl Setting for Vec<$type> {
            const KIND: Kind = Kind::List($form);

            fn read(value: &Value) -> Result<Self, Flaw> {
                value.list()?.iter().map(<$type>::read).collect()
            }
        }
    };
}

/// A string newtype with `as_str` and display.
macro_rules! text_type {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a channel: 1 to 2,048 bytes of UTF-8 without `+`, `#` and control characters; no leading `$`.
    ChannelName
}
text_setting!(ChannelName, "channel name");

impl ChannelName {
    /// Parses a name.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        check_channel_text(text)?;
        if let Some(bad) = text.chars().find(|c| matches!(c, '+' | '#')) {
            return Err(format!("must not hold `{bad}`: that is a wildcard of filters"));
        }
        if text.starts_with('$') {
            return Err("must not begin with `$`: those channels are reserved".into());
        }
        Ok(Self(text.into()))
    }
}

/// What channel names and filters have in common.
fn check_channel_text(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > CHANNEL_BYTES_MAX {
        return Err(format!("must be at most {CHANNEL_BYTES_MAX} bytes, got {}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".into());
    }
    Ok(())
}

text_type! {
    /// A pattern over channels: levels split by `/`, where `+` stands for one whole level and a last `#` for the
    /// level before it and all levels below.
    ChannelFilter
}
text_setting!(ChannelFilter, "channel filter");

impl ChannelFilter {
    /// Parses a filter; the rules of wildcards are those of MQTT 5 section 4.7.1.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        check_channel_text(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level != "+" && level.contains('+') {
                return Err(format!("must have `+` alone in a level, got `{level}`"));
            }
            if level != "#" && level.contains('#') {
                return Err(format!("must have `#` alone in a level, got `{level}`"));
            }
            if level == "#" && levels.peek().is_some() {
                return Err("must have `#` only as the last level".into());
            }
        }
        Ok(Self(text.into()))
    }

    /// With `+` for the levels `{user}` and `{client}`: all that it matches, whoever asks.
    pub fn plain(&self) -> String {
        let level = |level| if matches!(level, "{user}" | "{client}") { "+" } else { level };
        self.0.split('/').map(level).collect::<Vec<_>>().join("/")
    }
}

text_type! {
    /// The exact name of a Socket.IO namespace: `/` or `/` and more, without `,` and control characters.
    NamespaceName
}
text_setting!(NamespaceName, "namespace");

impl NamespaceName {
    /// Parses a name.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        check_namespace_text(text)?;
        if text.contains('*') {
            return Err("must not hold `*`: write `pattern` instead of `name`".into());
        }
        Ok(Self(text.into()))
    }
}

/// A name has to survive the packet form, where `,` ends it and `?` begins a query (Socket.IO protocol 5), and to become
/// the first levels of a channel.
fn check_namespace_text(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("must begin with `/`, got \"{text}\""));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, ',' | '?' | '+' | '#' | '%')) {
        return Err(format!("must not hold `{}`", bad.escape_default()));
    }
    if text.starts_with("/$") {
        return Err("must not begin with `/$`: channels that begin with `$` are reserved".into());
    }
    if text.len() > 1 && (text.ends_with('/') || text.contains("//")) {
        return Err("must not have empty levels".into());
    }
    Ok(())
}

text_type! {
    /// A pattern for the names of dynamic namespaces: `*` stands for one or more characters other than `/`.
    NamespacePattern
}
text_setting!(NamespacePattern, "namespace pattern");

impl NamespacePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        check_namespace_text(text)?;
        if !text.contains('*') {
            return Err("must hold a `*`: write `name` for a single namespace".into());
        }
        if text.contains("**") {
            return Err("must not hold `**`: `*` never crosses a `/`".into());
        }
        Ok(Self(text.into()))
    }

    /// Whether a namespace has this form. Compares level by level, with the cost of one pass per `*`.
    pub fn matches(&self, namespace: &str) -> bool {
        let (mut levels, mut patterns) = (namespace.split('/'), self.0.split('/'));
        loop {
            match (levels.next(), patterns.next()) {
                (None, None) => return true,
                (Some(level), Some(pattern)) if level_matches(level, pattern) => {}
                _ => return false,
            }
        }
    }
}

/// Greedy match without backtracking over more than the last `*`: each piece is looked for after the one before.
pub(super) fn level_matches(level: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = level.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        // A `*` takes at least one character, so the search begins behind it.
        let mut chars = rest.chars();
        if chars.next().is_none() {
            return false;
        }
        let behind = chars.as_str();
        if pieces.peek().is_none() {
            return behind.ends_with(piece);
        }
        match behind.find(piece) {
            Some(at) => rest = behind.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

text_type! {
    /// The origin of a web page as browsers send it: `scheme://host` or `scheme://host:port`, in lower case, no path.
    Origin
}

impl Origin {
    /// Parses an origin (RFC 6454 section 6.2).
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be an origin such as \"https://example.com\" or \"*\", got \"{text}\"");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let scheme_ok =
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let host_ok =
            !rest.is_empty() && !rest.bytes().any(|b| b.is_ascii_whitespace() || b"*?#@,".contains(&b));
        if !scheme_ok || !host_ok {
            return Err(wrong());
        }
        if rest.contains('/') {
            return Err(format!("must not have a path, not even a last `/`, got \"{text}\""));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Which web pages of other origins may use the public port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// No list: no CORS headers are sent, and the origin of a WebSocket is not looked at.
    Unlisted,
    /// Every origin, written `["*"]`.
    Any,
    /// These.
    Listed(Vec<Origin>),
}

impl Setting for Origins {
    const KIND: Kind = Kind::List("origin");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let items = value.list()?;
        if items.is_empty() {
            return Ok(Self::Unlisted);
        }
        let mut origins = Vec::with_capacity(items.len());
        for item in items {
            match item.text()? {
                "*" if items.len() == 1 => return Ok(Self::Any),
                "*" => return Err(item.flaw("must be the only one when it is \"*\"")),
                text => origins.push(Origin::parse(text).map_err(|text| item.flaw(text))?),
            }
        }
        Ok(Self::Listed(origins))
    }
}

impl Origins {
    /// Whether the origin of a request is on the list. Without a list everything is allowed.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Unlisted | Self::Any => true,
            Self::Listed(origins) => origins.iter().any(|one| one.0.eq_ignore_ascii_case(origin)),
        }
    }
}

text_type! {
    /// The path of an endpoint, with a leading and a last `/`.
    HttpPath
}
text_setting!(HttpPath, "path");

impl HttpPath {
    /// Parses a path; a missing last `/` is added.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("must begin with `/`, got \"{text}\""));
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b"?#%".contains(&b)) {
            return Err("must hold visible ASCII characters without `?`, `#` and `%` only".into());
        }
        let slash = if text.ends_with('/') { "" } else { "/" };
        Ok(Self(format!("{text}{slash}")))
    }

    /// Whether the path of a request (without query) is this endpoint, with or without the last `/`.
    pub fn matches(&self, request: &str) -> bool {
        self.0
            .strip_prefix(request)
            .is_some_and(|rest| rest.is_empty() || (rest == "/" && !request.is_empty()))
    }
}

text_type! {
    /// The name of a cookie, an RFC 6265 token.
    CookieName
}
text_setting!(CookieName, "cookie name");

impl CookieName {
    /// Parses a name.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(format!("must be a cookie name (letters, digits, `-`, `_`, `.`), got \"{text}\""));
        }
        Ok(Self(text.into()))
    }
}

text_type! {
    /// The name of a header field (RFC 9110 section 5.1), in lower case.
    HeaderName
}
text_setting!(HeaderName, "header name");

impl HeaderName {
    /// Parses a name; upper case is read as lower case.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(format!("must be a header name (letters, digits, `-`, `_`, `.`), got \"{text}\""));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A shared secret of at least 16 bytes. Its text appears in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The shortest secret, in bytes: 128 bits if every byte is random.
    pub const BYTES_MIN: usize = 16;

    /// Takes a secret.
    ///
    /// # Errors
    /// Too short; the message names the lengths only.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < Self::BYTES_MIN {
            return Err(format!("must be at least {} bytes long, got {}", Self::BYTES_MIN, text.len()));
        }
        if text.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err("must hold visible ASCII characters only, since it travels in a header".into());
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// The bytes, for signatures.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether a presented key is this one, in a time that tells nothing but the length.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(presented).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl Setting for Vec<Secret> {
    const KIND: Kind = Kind::Secrets("secret");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let one = |item: &Value| Secret::parse(item.text()?).map_err(|text| item.flaw(text));
        value.list()?.iter().map(one).collect()
    }
}

/// Directives of the log, such as `info` or `warn,trunkline::front=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

text_setting!(LogFilter, "log directives");

impl LogFilter {
    /// Parses the directives.
    ///
    /// # Errors
    /// Says what is expected, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) if !text.trim().is_empty() => Ok(Self(text.into())),
            _ => Err(format!(
                "must be a level or directives such as \"warn,trunkline::front=debug\", got \"{text}\""
            )),
        }
    }

    /// The directives as a filter.
    pub fn targets(&self) -> tracing_subscriber::filter::Targets {
        self.0.parse().expect("was parsed when the configuration was read")
    }
}

impl Setting for SocketAddr {
    const KIND: Kind = Kind::Text("address and port");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let wrong = || format!("must be an IP address and port such as \"127.0.0.1:8000\", got \"{text}\"");
        text.parse().map_err(|_| value.flaw(wrong()))
    }
}

impl Setting for PathBuf {
    const KIND: Kind = Kind::Text("file");

    fn read(value: &Value) -> Result<Self, Flaw> {
        match value.text()? {
            "" => Err(value.flaw("must not be empty")),
            text => Ok(text.into()),
        }
    }
}
