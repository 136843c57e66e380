//! The keys of queues and of the SQS API, by which they are used.
//!
//! Must not know how a request is served (`back/sqs`). Start at [`Sqs`].

use std::fmt;
use std::net::SocketAddr;

use super::mqtt::Text;
use super::names::ChannelFilter;
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// Queues, used through the API of Amazon SQS by any of its SDKs, with this server as `endpoint_url`. It is served on the
    /// private port, and on a port of its own. Queues are kept in the store (`store.dir`); without one they are in memory and
    /// end with the process.
    pub struct Sqs at Once "sqs" {
        /// Whether the API is served.
        enabled: bool = true;
        /// A further address on which it alone is served, without TLS. Beyond loopback it needs an `[[sqs.credential]]`. Port 0
        /// lets the kernel choose; `--ready-file` tells which.
        listen: Option<SocketAddr> = none, example "127.0.0.1:9324";
        /// Account of queues whose URL and key name none. Digits, as a rule 12 of them.
        account: ScopeName = "000000000000";
        /// Region of queues whose URL and signature name none.
        region: ScopeName = "us-east-1";
        /// How URLs of queues are written. `{scheme}` and `{host}` are those of the request, so that a client reaches the
        /// server by what it was told; behind a proxy that changes the host write it out.
        url_template: QueueUrlTemplate = "{scheme}://{host}/{account}/{queue}";
        /// Whether, as at the service, a deleted queue's name is free only after 60 s, and a queue is purged once in 60 s.
        strict_timing: bool = false;
        /// Queues of one shard. A further one is refused with `RequestThrottled`.
        queues_max: u32 = 100_000, 1..=100_000_000 "queues per shard";
        /// Messages in all queues of one shard; each takes up to 200 bytes of memory beside what the store holds. A further one
        /// is refused with `RequestThrottled`.
        messages_max: u64 = 100_000_000, 1..=10_000_000_000 "messages per shard";
        /// Without `store.dir`: bytes of all messages and queues in memory, with some hundred for each. What does not fit is
        /// not acknowledged, and tried again until there is room.
        memory_bytes_max: usize = 268_435_456, 1_048_576..=1_099_511_627_776 "bytes";
        /// Receives that wait for messages. A further one does not wait.
        waiting_max: usize = 32_768, 1..=1_000_000 "receives";
        /// Largest body of a request. Beyond it: 413. A batch at all its limits is up to 8 MiB, escapes included.
        request_bytes_max: usize = 8_388_608, 65_536..=8_388_608 "bytes";
        /// Queues that `GET /metrics` has series for, eight each: the first ones in order of account, region and name. Of the
        /// others nothing is told but how many there are.
        metrics_queues_max: u32 = 200, 0..=1000 "queues";
    }
}

section! {
    /// An access key. With any, every request has to be signed (Signature Version 4) by one of them. Without, whoever reaches
    /// a port of the API may use it: that is its own port if it is on loopback, and the private port if that needs no
    /// `private.keys` either. On the private port one of `private.keys` as bearer token does without a signature and may
    /// do everything.
    pub struct SqsCredential at Many "sqs.credential" {
        /// The access key id.
        key_id: ScopeName = required, example "ORDERS";
        /// The secret access key.
        secret: AccessSecret = required, example "replace-by-the-output-of-openssl-rand-hex-32";
        /// Account of queues that it names without one; `sqs.account` where this is not set.
        account: Option<ScopeName> = none, example "123456789012";
        /// Names of queues that it may use; `*` stands for any characters. Others are refused with `AccessDenied`.
        queues: Vec<QueuePattern> = ["*"];
        /// Actions that it may take, as in `SendMessage`; empty allows all. Others are refused with `AccessDenied`.
        actions: Vec<SqsAction> = [];
    }
}

section! {
    /// A queue that is there from the start, in `sqs.account` and `sqs.region`. If it is there already, what is written here
    /// holds from now on; its other attributes, and its messages, stay. A queue that is no longer written here stays, too.
    pub struct DeclaredQueue at Many "queue" {
        /// 1 to 80 of `A-Za-z0-9_-`. A name that ends in `.fifo` makes a FIFO queue.
        name: QueueText = required, example "orders";
        /// How long a received message is invisible, where a receive does not say.
        visibility_timeout_seconds: u32 = 30, 0..=43_200 "seconds";
        /// How long a sent message waits before it can be received, where it does not say.
        delay_seconds: u32 = 0, 0..=900 "seconds";
        /// How long a receive waits for a message, where it does not say.
        wait_seconds: u32 = 0, 0..=20 "seconds";
        /// How long after its send a message is gone.
        retention_seconds: u32 = 345_600, 60..=1_209_600 "seconds";
        /// Largest message, its attributes included. Beyond it a send is refused with `InvalidParameterValue`.
        message_bytes_max: u32 = 1_048_576, 1024..=1_048_576 "bytes";
        /// FIFO: whether a message without a deduplication id is known by its body.
        content_based_deduplication: bool = false;
        /// Where messages go that were received too often: a queue of the same kind, in the same account and region.
        dead_letter_queue: Option<QueueText> = none, example "orders-dead";
        /// A message goes there at the receive after so many.
        receives_max: u32 = 10, 1..=1000 "receives";
    }
}

section! {
    /// A binding: what is published on channels that match a filter, whoever publishes and in whatever protocol, is copied into a
    /// queue as a CloudEvent of type `trunkline.channel.message`. Whoever publishes is told that it is done when the copy is
    /// stored, too. A message whose event is larger than the queue takes is counted, logged and not copied. Where
    /// there is no room (`sqs.messages_max`), or the queue was deleted, its publisher is refused, although it was delivered. At
    /// most 1,000 bindings, with those of `PUT /v1/bindings`; each of them copies a message once.
    pub struct Binding at Many "binding" {
        /// Which channels: `+` is one level, a last `#` is all levels below.
        filter: ChannelFilter = required, example "orders/#";
        /// The queue, which a `[[queue]]` has to declare.
        queue: QueueText = required, example "orders";
        /// Only messages whose event has one of these names; empty takes all.
        events: Vec<Text> = [];
        /// In a FIFO queue: whose messages stay in order. A message is not stored again within five minutes under its id.
        group: BindingGroup = "channel";
    }
}

words! {
    /// What the messages of a group have in common.
    pub enum BindingGroup {
        /// the channel
        Channel = "channel",
        /// the session that published them; for the back end the channel
        Session = "session",
        /// the user who published them; without one the session, for the back end the channel. A message that was put off has
        /// none after a restart
        User = "user",
    }
}

/// Declares a checked text with `as_str`.
macro_rules! text {
    ($(#[doc = $doc:literal])+ $name:ident, $form:literal, $check:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Setting for $name {
            const KIND: Kind = Kind::Text($form);

            fn read(value: &Value) -> Result<Self, Flaw> {
                let check: fn(&str) -> Result<(), String> = $check;
                let text = value.text()?;
                check(text).map_err(|text| value.flaw(text))?;
                Ok(Self(text.into()))
            }
        }

        impl Setting for Vec<$name> {
            const KIND: Kind = Kind::List($form);

            fn read(value: &Value) -> Result<Self, Flaw> {
                value.list()?.iter().map($name::read).collect()
            }
        }
    };
}

/// 1 to 80 of `A-Za-z0-9_-`, of which `.fifo` at the end may be five.
fn is_queue_name(text: &str) -> bool {
    let base = text.strip_suffix(".fifo").unwrap_or(text);
    !base.is_empty() && text.len() <= 80 && is_word(base)
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

text! {
    /// An account, a region or an access key id: 1 to 64 of `A-Za-z0-9_-`.
    ScopeName, "1 to 64 of `A-Za-z0-9_-`", |text| {
        if is_word(text) && (1..=64).contains(&text.len()) {
            return Ok(());
        }
        Err(format!("must be 1 to 64 of `A-Za-z0-9_-`, got \"{text}\""))
    }
}

text! {
    /// The name of a queue.
    QueueText, "name of a queue", |text| {
        if is_queue_name(text) {
            return Ok(());
        }
        Err(format!("must be 1 to 80 of `A-Za-z0-9_-`, perhaps with `.fifo` at the end, got \"{text}\""))
    }
}

text! {
    /// Names of queues, with `*` for any characters.
    QueuePattern, "name of a queue, with `*` for any characters", |text| {
        if is_queue_name(&text.replace('*', "x")) {
            return Ok(());
        }
        Err(format!("must be a name of a queue with `*` for any characters, got \"{text}\""))
    }
}

impl QueuePattern {
    /// Whether a name is one of these.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

text! {
    /// The name of an action of the API, which the start checks.
    SqsAction, "action", |text| {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Ok(());
        }
        Err(format!("must be an action of SQS such as SendMessage, got \"{text}\""))
    }
}

text! {
    /// How URLs of queues are written; the start checks the rest.
    QueueUrlTemplate, "`{scheme}://{host}/{account}/{queue}`", |text| {
        if text.ends_with("/{account}/{queue}") {
            return Ok(());
        }
        Err(format!("must end with /{{account}}/{{queue}}, got \"{text}\""))
    }
}

/// A secret access key. Its text appears in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessSecret(Box<str>);

impl AccessSecret {
    /// The shortest, in bytes.
    pub const BYTES_MIN: usize = 16;

    /// The text, for signatures.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AccessSecret(..)")
    }
}

impl Setting for AccessSecret {
    const KIND: Kind = Kind::Text("secret text");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        if text.len() < Self::BYTES_MIN {
            let len = text.len();
            return Err(value.flaw(format!("must be at least {} bytes long, got {len}", Self::BYTES_MIN)));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let matches = |pattern: &str, name: &str| QueuePattern(pattern.into()).matches(name);
        for (pattern, name) in
            [("*", "a"), ("a*", "a"), ("a*", "ab"), ("*.fifo", "a.fifo"), ("a*c*e", "abcde")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a", "ab"), ("a", "b"), ("b*", "ab"), ("*b", "ba"), ("a*a", "a"), ("a*c*e", "ae")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
