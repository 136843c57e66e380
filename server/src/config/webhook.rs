//! The keys of webhooks: where the back end is told and asked of what happens, of what, and how long it may take.
//!
//! Must not know how a request is made (`back/webhook`). Start at [`Webhook`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::NamespaceMatch;
use super::mqtt::{Password, Text};
use super::names::{ChannelFilter, NamespaceName, NamespacePattern};
use super::raw::Raw;
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// A URL of the back end at which it is asked and told of what clients do: POST requests, each with one CloudEvent (1.0,
    /// structured JSON), signed as Standard Webhooks has it. Several webhooks may take different events; of those that are asked,
    /// the first that matches in the order of the file is.
    ///
    /// Only answers with status 200 to 299 count as a yes, and 401 and 403 as a no. All others, and silence, are troubles of the
    /// back end, and the client comes back later. Redirects are never followed. Without TLS (`http://`) requests go to loopback
    /// and private addresses only (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7), whatever the name resolves to.
    pub struct Webhook at Many "webhook" {
        /// What it is called in logs and metrics: 1 to 48 of `A-Za-z0-9_-`.
        name: WebhookName = required, example "app";
        /// Where requests go: `https://host[:port]/path`, or `http://` in the own network.
        url: WebhookUrl = required, example "https://app.example.com/hooks/trunkline";
        /// Secrets that requests are signed with, each `whsec_` and base64 of 24 to 64 bytes. With several, which is for the time
        /// of a change, requests carry a signature of each.
        secrets: Vec<WebhookSecret> = required, example ["whsec_ZXhhbXBsZS1vZi0yNC1ieXRlcy1sb25n"];
        /// Sent along as `Authorization: Bearer`, if the back end wants that, too.
        bearer: Option<Password> = none, example "replace-me";
        /// PEM file with the authorities that the certificate there has to come from, read at the start. Without it those of the
        /// system.
        ca_file: Option<PathBuf> = none, example "/etc/trunkline/app-ca.pem";
        /// Which events. The back end is asked `session.connect` (who a client is, with `auth.mode = "back_end"`) and
        /// `session.event` (what clients of namespaces with `events = "back_end"` send) that asks for an acknowledgement, which is
        /// the answer; and `channel.subscribe` and `channel.publish`, where a rule of channels says `webhook`. It is told `session.event` without one, `session.connected`, `session.disconnected` and `session.ended`:
        /// these wait in a queue until it has heard them, in order within a session, at least once, over restarts with a store.
        /// So it is told `user.online` and `user.offline`, in order for a user, and `channel.occupied` and `channel.vacated` of
        /// channels that match `filters`, and `channel.subscribed` and `channel.unsubscribed` of what is subscribed to there, in
        /// order for a channel.
        types: Vec<WebhookType> = required, example ["session.connect", "session.event"];
        /// Only of clients that speak these. Empty takes all, but of long polls only what it is asked: each poll is a session of
        /// its own, so to hear of their coming and going name them.
        protocols: Vec<WebhookProtocol> = [], example ["mqtt"];
        /// Only of these Socket.IO namespaces; `*` stands for one or more characters other than `/`. Empty takes all,
        /// and clients that have no namespace.
        namespaces: Vec<NamespaceMatch> = [], example ["/chat", "/team-*"];
        /// Of `session.event` only events of these names; what has no name is not among them. Empty takes all.
        events: Vec<Text> = [], example ["order", "say"];
        /// Whether `session.connect` of MQTT clients has their passwords.
        send_passwords: SendPasswords = "never";
        /// Which channels events of channels are about: `+` is one level, a last `#` is all levels below. Of `channel.subscribe` and
        /// `channel.publish` empty takes all.
        /// A subscription by a filter is about them if that filter's text is such a channel. And
        /// what clients publish there, in whatever protocol, it is told as `session.event`, if that is among the types; they hear
        /// that their message was taken when the event is stored.
        filters: Vec<ChannelFilter> = [], example ["chat/#", "prices/+"];
        /// How long a user has to be without a connection before `user.offline` is told. Whoever comes back before was not away.
        offline_after_ms: u64 = 10_000, 0..=3_600_000 "milliseconds";
        /// How long a channel has to be without subscribers before `channel.vacated` is told; likewise.
        vacated_after_ms: u64 = 5_000, 0..=3_600_000 "milliseconds";
        /// What the types of events begin with; CloudEvents advises a domain in reverse.
        type_prefix: TypePrefix = "trunkline", example "com.example.trunkline";
        /// Who is told to send the requests (`WebHook-Request-Origin`, of the HTTP binding of CloudEvents), usually a name of DNS.
        /// `trunkline check-config` asks whether the back end allows it.
        origin: TypePrefix = "trunkline", example "trunkline.example.com";
        /// How long a client's operation waits for the answer, everything included: a free place, connecting, tries.
        timeout_ms: u64 = 3_000, 50..=60_000 "milliseconds";
        /// How long an answer to what the back end is only told may take.
        delivery_timeout_ms: u64 = 15_000, 100..=60_000 "milliseconds";
        /// Requests under way at once, and so connections; at most half of them are of what the back end is only told. Beyond it
        /// they wait for their turn, those that a client waits for until their time is over.
        concurrency: u16 = 64, 1..=10_000 "requests";
        /// Largest event; one above it is not sent, as if there were no answer, and is a dead letter at once if nobody waits for it.
        /// Receivers of CloudEvents take 64 KiB at least.
        event_bytes_max: usize = 65_536, 1_024..=1_000_000 "bytes";
        /// Largest body of an answer; one above it counts as none.
        answer_bytes_max: usize = 1_048_576, 1_024..=268_435_456 "bytes";
        /// What a client that connects is told when there is no answer.
        connect_without_answer: ConnectWithoutAnswer = "retry";
        /// What becomes of a subscription or a message that the back end was asked about when there is no answer.
        channel_without_answer: ChannelWithoutAnswer = "retry";
        /// What becomes of an event's acknowledgement when there is no answer.
        event_without_answer: EventWithoutAnswer = "retry";
        /// What a client whose event was answered with an error gets.
        event_errors: EventErrors = "none";
        /// After so many failures in a row requests wait while one at a time tries whether the back end is there again.
        breaker_failures: u32 = 10, 1..=1_000_000 "failures";
        /// How long until the first such try, and between them.
        breaker_pause_ms: u64 = 1_000, 10..=600_000 "milliseconds";
        /// What the back end is only told is sent again after this time when it was not heard, the first time; twice as long
        /// each further time, and up to half shorter by chance.
        retry_ms_min: u64 = 1_000, 10..=3_600_000 "milliseconds";
        /// The longest such wait.
        retry_ms_max: u64 = 300_000, 10..=3_600_000 "milliseconds";
        /// After so long it is a dead letter, in the queue `webhook-<name>-dead.fifo`.
        give_up_after_seconds: u64 = 86_400, 1..=1_000_000 "seconds";
        /// After so many answers with a status of 400 to 499, other than 408, 410, 415 and 429, it is a dead letter, too.
        refusals_max: u32 = 5, 1..=900 "answers";
    }
}

words! {
    /// What happened.
    pub enum WebhookType {
        /// a client wants to connect
        SessionConnect = "session.connect",
        /// the time of a client that may be connected until then is nearly over
        SessionRefresh = "session.refresh",
        /// a client sent an event
        SessionEvent = "session.event",
        /// a client wants to subscribe to a channel or filter whose rule says `webhook`
        ChannelSubscribe = "channel.subscribe",
        /// a client wants to publish on a channel whose rule says `webhook`
        ChannelPublish = "channel.publish",
        /// a client is connected, for the first time or again
        SessionConnected = "session.connected",
        /// a client has lost its connection or left
        SessionDisconnected = "session.disconnected",
        /// a session cannot go on any more
        SessionEnded = "session.ended",
        /// a user has a connection, and had none
        UserOnline = "user.online",
        /// a user has had no connection for `offline_after_ms`
        UserOffline = "user.offline",
        /// a session is subscribed to a channel, by its name, and none was
        ChannelOccupied = "channel.occupied",
        /// none has been for `vacated_after_ms`
        ChannelVacated = "channel.vacated",
        /// a session is subscribed to a channel or filter
        ChannelSubscribed = "channel.subscribed",
        /// it is no more, or is over
        ChannelUnsubscribed = "channel.unsubscribed",
    }
}

words! {
    /// What a client speaks.
    pub enum WebhookProtocol {
        /// Socket.IO
        SocketIo = "socketio",
        /// MQTT
        Mqtt = "mqtt",
        /// server-sent events
        Sse = "sse",
        /// lines of JSON
        Ndjson = "ndjson",
        /// long polls
        Poll = "poll",
        /// events in WebSockets
        WebSocket = "websocket",
        /// requests to publish, which are asked about alone
        Publish = "publish",
    }
}

words! {
    /// Whether the back end gets passwords.
    pub enum SendPasswords {
        /// it does not
        Never = "never",
        /// as base64, since a password may be any bytes
        Base64 = "base64",
    }
}

words! {
    /// What a client that connects is told when there is no answer.
    pub enum ConnectWithoutAnswer {
        /// its connection is closed, so that it comes back by itself
        Retry = "retry",
        /// it is let in, without a user
        Allow = "allow",
    }
}

words! {
    /// What becomes of a subscription or a message when there is no answer.
    pub enum ChannelWithoutAnswer {
        /// its client's connection is closed, so that it comes back and asks again
        Retry = "retry",
        /// the client may
        Allow = "allow",
    }
}

words! {
    /// What becomes of an event's acknowledgement when there is no answer.
    pub enum EventWithoutAnswer {
        /// there is none: the client's own time runs out
        Retry = "retry",
        /// it comes, without values, and the event is lost
        Allow = "allow",
        /// it comes, without values, once the event waits in the queue of those that the back end is told
        Queue = "queue",
    }
}

words! {
    /// What a client whose event was answered with an error gets.
    pub enum EventErrors {
        /// no acknowledgement
        None = "none",
        /// one with a single value, `{"error":{"code","message","data"}}`
        Ack = "ack",
    }
}

impl Setting for Vec<WebhookType> {
    const KIND: Kind = Kind::List("type of event");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let types: Self = value.list()?.iter().map(WebhookType::read).collect::<Result<_, _>>()?;
        if types.is_empty() { Err(value.flaw("must name at least one type")) } else { Ok(types) }
    }
}

impl Setting for Vec<WebhookProtocol> {
    const KIND: Kind = Kind::List("protocol");

    fn read(value: &Value) -> Result<Self, Flaw> {
        value.list()?.iter().map(WebhookProtocol::read).collect()
    }
}

impl Setting for Vec<NamespaceMatch> {
    const KIND: Kind = Kind::List("name or pattern of namespaces");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let one = |item: &Value| {
            let text = item.text()?;
            let read = if text.contains('*') {
                NamespacePattern::parse(text).map(NamespaceMatch::Pattern)
            } else {
                NamespaceName::parse(text).map(NamespaceMatch::Exact)
            };
            read.map_err(|text| item.flaw(text))
        };
        value.list()?.iter().map(one).collect()
    }
}

/// 1 to 48 of `A-Za-z0-9_-`, so that the names of queues made of it are not too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookName(String);

impl WebhookName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for WebhookName {
    const KIND: Kind = Kind::Text("1 to 48 of `A-Za-z0-9_-`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_word && (1..=48).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        Err(value.flaw(format!("must be 1 to 48 of `A-Za-z0-9_-`, got \"{text}\"")))
    }
}

/// What types begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePrefix(String);

impl TypePrefix {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for TypePrefix {
    const KIND: Kind = Kind::Text("words of `a-z0-9-` with dots between them");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let is_word = |word: &str| {
            let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !word.is_empty() && word.bytes().all(is_known)
        };
        if text.len() <= 128 && text.split('.').all(is_word) {
            return Ok(Self(text.into()));
        }
        let text =
            format!("must be words of `a-z0-9-` with dots between them, 128 bytes at most, got \"{text}\"");
        Err(value.flaw(text))
    }
}

/// A secret that requests are signed with (Standard Webhooks 1.0.0). Its bytes appear in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Box<[u8]>);

impl WebhookSecret {
    /// How its text begins.
    pub const PREFIX: &'static str = "whsec_";

    /// Takes the text of a secret.
    ///
    /// # Errors
    /// Says what is expected, as a predicate; never what was written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = format!("must be `{}` and base64 of 24 to 64 bytes", Self::PREFIX);
        let digits = text.strip_prefix(Self::PREFIX).ok_or_else(|| form.clone())?;
        let bytes = STANDARD.decode(digits).map_err(|_| form.clone())?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes.into())) } else { Err(form) }
    }

    /// The bytes, for signatures.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebhookSecret(..)")
    }
}

impl Setting for Vec<WebhookSecret> {
    const KIND: Kind = Kind::Secrets("`whsec_` secret");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let one = |item: &Value| WebhookSecret::parse(item.text()?).map_err(|text| item.flaw(text));
        let secrets: Self = value.list()?.iter().map(one).collect::<Result<_, _>>()?;
        match secrets.len() {
            0 => Err(value.flaw("must hold a secret")),
            1..=8 => Ok(secrets),
            more => Err(value.flaw(format!("must be at most 8, got {more}"))),
        }
    }
}

/// Where requests go.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    /// Whether there is TLS.
    pub is_secure: bool,
    /// Without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
    /// Host and, unless it is the usual one, port: the header `Host`.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "WebhookUrl({self})")
    }
}

/// Without its query, which may hold a secret.
impl fmt::Display for WebhookUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(without_query(&self.text))
    }
}

impl WebhookUrl {
    /// Takes a URL. None of its flaws shows the query.
    ///
    /// # Errors
    /// Says what is expected, as a predicate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = without_query(text);
        let (rest, is_secure, usual) = match text.split_once("://") {
            Some(("https", rest)) => (rest, true, 443),
            Some(("http", rest)) => (rest, false, 80),
            _ => return Err(format!("must begin with https:// or http://, got \"{shown}\"")),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', '"', '<', '>', '\\']) {
            return Err("must be visible ASCII characters, others percent-encoded, without a fragment".into());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("must not hold user and password: `bearer` is for that".into());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().unwrap_or(0)),
            _ => (authority, usual),
        };
        if port == 0 {
            return Err(format!("must have a port from 1 to 65535, got \"{shown}\""));
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') || bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_err())
        {
            return Err(format!("must have IPv6 addresses in brackets, got \"{shown}\""));
        }
        let plain = bare.unwrap_or(host);
        if plain.is_empty() {
            return Err(format!("must name a host, got \"{shown}\""));
        }
        if !is_secure && plain.parse().is_ok_and(|address| !is_near(address)) {
            return Err(format!(
                "must begin with https://, since that address is neither loopback nor private: \"{shown}\""
            ));
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let authority = if port == usual { host.to_owned() } else { format!("{host}:{port}") };
        Ok(Self { text: text.into(), is_secure, host: plain.into(), port, authority, target })
    }
}

/// What of a URL may be shown.
pub(super) fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Whether an address is loopback or private, so that requests may go there without TLS.
pub(crate) fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

impl Setting for WebhookUrl {
    const KIND: Kind = Kind::Text("`https://host[:port]/path`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        Self::parse(value.text()?).map_err(|text| value.flaw(text))
    }
}

impl WebhookProtocol {
    /// Of a stream that is called so.
    pub fn of_stream(name: &str) -> Option<Self> {
        let streams = [Self::Sse, Self::Ndjson, Self::Poll, Self::WebSocket, Self::Publish];
        streams.into_iter().find(|stream| stream.as_str() == name)
    }
}

impl Webhook {
    /// Whether it takes such an event of a client of that protocol, and namespace if it has those.
    pub fn takes(&self, kind: WebhookType, protocol: WebhookProtocol, namespace: Option<&str>) -> bool {
        let is_of = |namespace: &str| self.namespaces.iter().any(|names| names.matches(namespace));
        let is_asked = matches!(
            kind,
            WebhookType::SessionConnect | WebhookType::ChannelSubscribe | WebhookType::ChannelPublish
        );
        let is_usual = protocol != WebhookProtocol::Poll || is_asked;
        self.types.contains(&kind)
            && (self.protocols.is_empty() && is_usual || self.protocols.contains(&protocol))
            && (self.namespaces.is_empty() || namespace.is_some_and(is_of))
    }

    /// Whether it is told of users who come and go.
    pub fn watches_users(&self) -> bool {
        self.types.iter().any(|kind| matches!(kind, WebhookType::UserOnline | WebhookType::UserOffline))
    }

    /// Whether it is told of channels that come and go.
    pub fn watches_channels(&self) -> bool {
        let is_it = |kind| matches!(kind, &WebhookType::ChannelOccupied | &WebhookType::ChannelVacated);
        self.types.iter().any(is_it)
    }

    /// Whether it is told of single subscriptions.
    pub fn takes_subscriptions(&self) -> bool {
        let is_it =
            |kind| matches!(kind, &WebhookType::ChannelSubscribed | &WebhookType::ChannelUnsubscribed);
        self.types.iter().any(is_it)
    }

    /// Whether it is told of what clients publish.
    pub fn takes_publishes(&self) -> bool {
        self.types.contains(&WebhookType::SessionEvent) && !self.filters.is_empty()
    }

    /// Whether it takes `session.event` of that name, if it takes any.
    pub fn takes_event(&self, name: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|event| event.as_str() == name)
    }
}

/// All webhooks whose keys are right. What is wrong is noted.
pub(super) fn read(raw: &mut Raw) -> Vec<Webhook> {
    let count = raw.element_count(&Webhook::SECTION);
    (0..count).filter_map(|index| read_one(raw, index)).collect()
}

fn read_one(raw: &mut Raw, index: usize) -> Option<Webhook> {
    let webhook = Webhook::read(&mut raw.element(&Webhook::SECTION, index))?;
    let path = |key: &str| format!("webhook[{index}].{key}");
    let place = raw.element_place(&Webhook::SECTION, index);
    let before = raw.problems.len();
    if webhook.retry_ms_min > webhook.retry_ms_max {
        let text = format!("must not be above retry_ms_max {}", webhook.retry_ms_max);
        raw.problem(place.clone(), &path("retry_ms_min"), text);
    }
    if (webhook.watches_channels() || webhook.takes_subscriptions()) && webhook.filters.is_empty() {
        raw.problem(place.clone(), &path("filters"), "must name the channels that `types` are about");
    }
    let is_shown = |bearer: &Password| bearer.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !webhook.bearer.as_ref().is_none_or(is_shown) {
        raw.problem(
            place.clone(),
            &path("bearer"),
            "must be visible ASCII characters, without a line break, since it goes into a header",
        );
    }
    if webhook.ca_file.is_some() && !webhook.url.is_secure {
        raw.problem(place, &path("ca_file"), "needs a url with https://");
    }
    (raw.problems.len() == before).then_some(webhook)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_perhaps_more() {
        let parts = |text: &str| {
            WebhookUrl::parse(text).map(|url| (url.is_secure, url.host, url.port, url.authority, url.target))
        };
        let of = |secure, host: &str, port, authority: &str, target: &str| {
            Ok((secure, host.to_owned(), port, authority.to_owned(), target.to_owned()))
        };
        assert_eq!(parts("https://a.b/c?d=e"), of(true, "a.b", 443, "a.b", "/c?d=e"));
        assert_eq!(parts("https://a.b"), of(true, "a.b", 443, "a.b", "/"));
        assert_eq!(parts("https://a.b?x"), of(true, "a.b", 443, "a.b", "/?x"));
        assert_eq!(parts("http://127.0.0.1:8080/"), of(false, "127.0.0.1", 8080, "127.0.0.1:8080", "/"));
        assert_eq!(parts("http://[::1]:80/h"), of(false, "::1", 80, "[::1]", "/h"));
        assert_eq!(parts("http://backend:3000/h"), of(false, "backend", 3000, "backend:3000", "/h"));
        for bad in [
            "a",
            "ftp://a",
            "https://",
            "https://:1",
            "https://a:x",
            "https://a:0",
            "https://u:p@a/",
            "https://a/#b",
            "https://a/ b",
            "https://::1/",
            "https://[a]/",
            "http://8.8.8.8/",
            "http://169.254.169.254/latest",
            "http://[2001:db8::1]/",
        ] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_is_shown_nowhere() {
        let url = WebhookUrl::parse("https://a/b?token=hush").unwrap();
        assert!(!format!("{url} {url:?}").contains("hush"));
        assert!(!WebhookUrl::parse("https://a:0/?token=hush").unwrap_err().contains("hush"));
    }

    #[test]
    fn near_is_loopback_and_private() {
        for near in
            ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in [
            "0.0.0.0",
            "169.254.169.254",
            "172.32.0.1",
            "8.8.8.8",
            "2001:db8::1",
            "fe80::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn a_secret_has_its_form_and_its_length() {
        assert!(WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        let of = |bytes: usize| WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        assert!(of(24).is_ok() && of(64).is_ok());
        assert!(of(23).is_err() && of(65).is_err());
        assert!(WebhookSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
        assert!(!WebhookSecret::parse("whsec_hush!").unwrap_err().contains("hush"));
    }
}
