//! Streams in WebSockets: one CloudEvent per text frame, both ways.
//!
//! Owns the names of types and attributes. Must not know who may do what, or what comes of it. Start at [`Wish`].
//!
//! Source: the WebSockets binding of CloudEvents 1.0, whose subprotocol `cloudevents.json` has one event in the JSON format per
//! text frame, and no batches.

use super::content;
use super::form::Notice;
use super::params::Wanted;
use super::position::Token;
use crate::cloudevent::{Attribute, CHANNEL_MESSAGE, CloudEvent, Data, Received, ReceivedData};

/// The name of the subprotocol.
pub const SUBPROTOCOL: &str = "cloudevents.json";

/// What types of our own begin with.
const OWN: &str = "trunkline.";

const PUBLISH: &str = "trunkline.channel.publish";
const SUBSCRIBE: &str = "trunkline.channel.subscribe";
const UNSUBSCRIBE: &str = "trunkline.channel.unsubscribe";

/// What a client wants of a channel or filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The client's name of the event, which is told back with what came of it.
    pub id: String,
    /// The channel or filter: the event's subject.
    pub channel: String,
    /// What.
    pub deed: Deed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A message to a channel.
    Publish {
        /// Its name.
        event: Option<String>,
        /// What it is.
        media: Option<String>,
        /// Its content.
        payload: Vec<u8>,
    },
    /// Messages from now on.
    Subscribe {
        /// Those behind this place first.
        after: Option<Token>,
        /// Else the last so many first.
        history: u32,
        /// And the value that the channel retains, before all of them.
        retained: Wanted,
    },
    /// No more messages.
    Unsubscribe,
}

/// A frame that says nothing that could be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WishError {
    /// The client's name of the event, if it could be read.
    pub id: Option<String>,
    /// For people.
    pub text: String,
}

impl Wish {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`WishError`].
    pub fn read(text: &str) -> Result<Self, WishError> {
        let event = Received::from_json(text.as_bytes())
            .map_err(|error| WishError { id: None, text: error.to_string() })?;
        let error = |text: &str| WishError { id: Some(event.id.clone()), text: text.to_owned() };
        let Some(channel) = event.subject.clone().filter(|subject| !subject.is_empty()) else {
            return Err(error("subject, the channel, is missing"));
        };
        let deed = match event.kind.as_str() {
            PUBLISH | CHANNEL_MESSAGE => publish(&event, event.other("event")),
            SUBSCRIBE => {
                let after = event.other("after").map(|text| {
                    Token::parse(text)
                        .ok_or_else(|| error("after must be a position that this server gave out"))
                });
                let history = event.other("history").map_or(Ok(0), |text| {
                    text.parse().map_err(|_| error("history must be a number from 0 to 2147483647"))
                });
                let retained = match event.other("retained") {
                    None | Some("false" | "0") => Wanted::No,
                    Some("true" | "1") => Wanted::Yes,
                    Some(_) => return Err(error("retained must be true or false")),
                };
                Deed::Subscribe { after: after.transpose()?, history: history?, retained }
            }
            UNSUBSCRIBE => Deed::Unsubscribe,
            kind if kind.starts_with(OWN) => {
                return Err(error(
                    "no such type: publish, subscribe and unsubscribe are to `trunkline.channel`",
                ));
            }
            // As on the private port: an event of the client's own is a message of that name.
            kind => publish(&event, Some(event.other("event").unwrap_or(kind))),
        };
        Ok(Self { id: event.id, channel, deed })
    }
}

fn publish(event: &Received, name: Option<&str>) -> Deed {
    let is_text = event.media.as_deref().is_some_and(|media| !media.contains("json"));
    let payload = match &event.data {
        ReceivedData::Nothing => Vec::new(),
        ReceivedData::Binary(bytes) => bytes.clone(),
        // Text of another media type is written as a string (JSON format, 3.1).
        ReceivedData::Json(json) => match serde_json::from_str::<String>(json) {
            Ok(text) if is_text => text.into_bytes(),
            _ => json.clone().into_bytes(),
        },
    };
    Deed::Publish { event: name.map(str::to_owned), media: event.media.clone(), payload }
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The stream has begun; whatever it was opened with is there.
    Opened(Notice<'a>),
    /// Something was missed of a channel that is not there any more.
    Lost(Notice<'a>),
    /// A subscription is there.
    Subscribed(Notice<'a>),
    /// It is not there any more.
    Unsubscribed,
    /// A message is where it is needed.
    Published {
        /// Its id.
        message: &'a str,
        /// Its place, where its channel has places.
        position: Option<&'a str>,
    },
    /// What was wanted is not done.
    Refused {
        /// As a JSON object.
        problem: &'a str,
    },
}

/// What is around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around<'a> {
    /// Unique.
    pub id: &'a str,
    /// Now. Milliseconds since 1970.
    pub time_ms: u64,
    /// The channel or filter it is about, if it is about one.
    pub channel: &'a str,
    /// The client's name of the event that it answers.
    pub answers: Option<&'a str>,
}

impl Said<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "trunkline.stream.opened",
            Self::Lost(_) => "trunkline.channel.lost",
            Self::Subscribed(_) => "trunkline.channel.subscribed",
            Self::Unsubscribed => "trunkline.channel.unsubscribed",
            Self::Published { .. } => "trunkline.channel.published",
            Self::Refused { .. } => "trunkline.refused",
        }
    }

    /// As a text frame has it.
    pub fn to_json(&self, around: &Around<'_>) -> String {
        let mut data = Vec::new();
        match self {
            Self::Opened(notice) | Self::Lost(notice) | Self::Subscribed(notice) => notice.write(&mut data),
            Self::Unsubscribed => data.extend_from_slice(b"{}"),
            Self::Refused { problem } => data.extend_from_slice(problem.as_bytes()),
            Self::Published { message, position } => {
                data.extend_from_slice(b"{\"id\":");
                content::string(message, &mut data);
                data.extend_from_slice(b",\"position\":");
                match position {
                    Some(position) => content::string(position, &mut data),
                    None => data.extend_from_slice(b"null"),
                }
                data.push(b'}');
            }
        }
        let answers = around.answers.map(|id| ("answers", Attribute::Text(id)));
        let event = CloudEvent {
            id: around.id,
            source: "/ws",
            kind: self.kind(),
            subject: around.channel,
            time_ms: around.time_ms,
            extensions: answers.as_slice(),
            data: Data::Json(std::str::from_utf8(&data).unwrap_or("null")),
        };
        event.to_json()
    }
}

/// A message as a client gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEvent<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was published. Milliseconds since 1970.
    pub time_ms: u64,
    /// Where.
    pub channel: &'a str,
    /// Its name.
    pub event: Option<&'a str>,
    /// What it is, if the publisher said so.
    pub media: Option<&'a str>,
    /// Its content.
    pub payload: &'a [u8],
    /// Its place in the channel as text that sorts, and as a client gives it back.
    pub place: Option<(&'a str, &'a str)>,
}

impl MessageEvent<'_> {
    /// As a text frame has it.
    pub fn to_json(&self) -> String {
        let known = [
            ("event", self.event),
            ("sequence", self.place.map(|(sequence, _)| sequence)),
            ("position", self.place.map(|(_, position)| position)),
        ];
        let present = known.iter().filter_map(|(name, value)| Some((*name, Attribute::Text((*value)?))));
        let extensions: Vec<_> = present.collect();
        let event = CloudEvent {
            id: self.id,
            source: "/channels",
            kind: CHANNEL_MESSAGE,
            subject: self.channel,
            time_ms: self.time_ms,
            extensions: &extensions,
            data: Data::of_payload(self.payload, self.media),
        };
        event.to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Position;
    use proptest::prelude::*;

    fn read(rest: &str) -> Result<Wish, WishError> {
        Wish::read(&format!(r#"{{"specversion":"1.0","id":"7","source":"/me",{rest}}}"#))
    }

    #[test]
    fn what_is_wanted_is_read() {
        let wish = read(r#""type":"trunkline.channel.subscribe","subject":"a/+","after":"e1-7","history":3"#);
        let after = Some(Token::One(Position { epoch: 0xe1, offset: 7 }));
        assert_eq!(
            wish.unwrap(),
            Wish {
                id: "7".into(),
                channel: "a/+".into(),
                deed: Deed::Subscribe { after, history: 3, retained: Wanted::No }
            }
        );
        let wish = read(r#""type":"trunkline.channel.unsubscribe","subject":"a""#).unwrap();
        assert_eq!(wish.deed, Deed::Unsubscribe);
        let published = |rest: &str| match read(&format!(r#""subject":"a",{rest}"#)).unwrap().deed {
            Deed::Publish { event, media, payload } => (event, media, String::from_utf8(payload).unwrap()),
            other => panic!("{other:?}"),
        };
        let say = Some("say".to_owned());
        assert_eq!(
            published(r#""type":"trunkline.channel.publish","event":"say","data":{"a": 1}"#),
            (say.clone(), None, "{\"a\": 1}".into())
        );
        assert_eq!(published(r#""type":"say""#), (say, None, String::new()));
        let text = Some("text/plain".to_owned());
        assert_eq!(
            published(r#""type":"trunkline.channel.message","datacontenttype":"text/plain","data":"hi""#),
            (None, text, "hi".into())
        );
        assert_eq!(published(r#""type":"trunkline.channel.publish","data":"hi""#).2, "\"hi\"");
        assert_eq!(published(r#""type":"trunkline.channel.publish","data_base64":"aGk=""#).2, "hi");
    }

    #[test]
    fn what_cannot_be_done_is_told_with_the_clients_own_id() {
        for (rest, id) in [
            (r#""type":"trunkline.channel.publish""#, Some("7")),
            (r#""type":"trunkline.channel.subscribe","subject":"a","after":"soon""#, Some("7")),
            (r#""type":"trunkline.channel.subscribe","subject":"a","history":-1"#, Some("7")),
            (r#""type":"trunkline.channel.leave","subject":"a""#, Some("7")),
            (r#""type":"trunkline.channel.publish","subject":"a","data":1,"data_base64":"""#, None),
        ] {
            assert_eq!(read(rest).unwrap_err().id.as_deref(), id, "{rest}");
        }
        assert_eq!(Wish::read("[]").unwrap_err().id, None);
    }

    #[test]
    fn what_is_said_is_an_event() {
        let around = Around { id: "01K", time_ms: 1_795_320_000_000, channel: "tea", answers: Some("7") };
        let notice = Notice { recovered: Some(true), channel: None, position: Some("e1-7") };
        assert_eq!(
            Said::Subscribed(notice).to_json(&around),
            r#"{"specversion":"1.0","id":"01K","source":"/ws","type":"trunkline.channel.subscribed","subject":"tea","time":"2026-11-22T04:00:00.000Z","answers":"7","datacontenttype":"application/json","data":{"recovered":true,"position":"e1-7"}}"#
        );
        let nobody = Around { channel: "", answers: None, ..around };
        assert_eq!(
            Said::Opened(Notice::default()).to_json(&nobody),
            r#"{"specversion":"1.0","id":"01K","source":"/ws","type":"trunkline.stream.opened","time":"2026-11-22T04:00:00.000Z","datacontenttype":"application/json","data":{}}"#
        );
        let said = Said::Published { message: "01M", position: None }.to_json(&around);
        assert!(said.ends_with(r#""data":{"id":"01M","position":null}}"#), "{said}");
        let message = MessageEvent {
            id: "01M",
            time_ms: around.time_ms,
            channel: "tea",
            event: Some("say"),
            media: None,
            payload: b"hi",
            place: Some(("00000000000000000007", "e1-7")),
        };
        assert_eq!(
            message.to_json(),
            r#"{"specversion":"1.0","id":"01M","source":"/channels","type":"trunkline.channel.message","subject":"tea","time":"2026-11-22T04:00:00.000Z","event":"say","sequence":"00000000000000000007","position":"e1-7","datacontenttype":"text/plain; charset=utf-8","data":"hi"}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_heard_can_be_said_again(
            payload in prop_oneof![any::<Vec<u8>>(), "\\PC*".prop_map(String::into_bytes)],
            media in proptest::option::of("[a-z]{1,9}/[a-z]{1,9}"),
            channel in "\\PC{1,20}",
        ) {
            let message = MessageEvent {
                id: "1",
                time_ms: 0,
                channel: &channel,
                event: None,
                media: media.as_deref(),
                payload: &payload,
                place: None,
            };
            let wish = Wish::read(&message.to_json()).unwrap();
            prop_assert_eq!(wish.channel, channel);
            let Deed::Publish { payload: again, .. } = wish.deed else { panic!() };
            // White space around JSON is none of its value.
            prop_assert_eq!(again.trim_ascii(), payload.trim_ascii());
        }

        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC*", rest in "[\"a-z:,{}0-9.]{0,60}") {
            let _ = Wish::read(&text);
            let _ = Wish::read(&format!("{{\"specversion\":\"1.0\",\"id\":\"1\",{rest}"));
        }
    }
}
