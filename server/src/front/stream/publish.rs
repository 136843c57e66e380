//! `POST /publish`, and frames of WebSockets that say the same: what is in them becomes a message, and the answer says where it stands.
//!
//! Owns what a request says of a message. Must not know who gets it. Start at [`Streams::publish`].

use std::sync::Arc;

use bytes::Bytes;
use hub::{
    Body, ChannelName, Command, MessageId, Outcome, Publish, Quality, Receipt, SessionId, Target, Traits,
};
use serde::Serialize;
use ulid::Ulid;
use wire::http::pairs;
use wire::stream::Said;

use super::access::{NO_SESSION, Turned};
use super::answer::{Later, Refusal};
use super::caller::{Asks, Caller, Publisher};
use super::reading::text_of;
use super::{Streams, owner};
use crate::auth::{Action, Grant, May};
use crate::back::checked::is_event_name;
use crate::front::copies::{self, Way};
use crate::front::{attributes, message_id};
use crate::mail::PeerMail;
use crate::shard::{ConnKey, Cx, Request};

/// Bytes of an event's name.
const EVENT_BYTES_MAX: usize = 256;

/// A media type that says nothing: what `curl -d` sends when it is not told.
const FORM: &str = "application/x-www-form-urlencoded";

/// What became of it.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    position: Option<String>,
}

/// A message that may be published.
struct Parcel {
    channel: ChannelName,
    event: Option<Box<str>>,
    attributes: Bytes,
    payload: Bytes,
    user: Option<Arc<str>>,
    /// Whose it is; a request has no session.
    origin: Option<SessionId>,
    /// Whether the back end says if it may be published.
    leave: May,
}

impl Streams {
    /// Publishes at quality `AtLeastOnce`: the answer means that the message is where it is needed, and stored where it is kept.
    pub(super) fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        request: &Request<'_>,
    ) -> Result<(), Turned> {
        let head = &request.head;
        if let Some(refusal) = self.turned_away(head) {
            return Err(refusal.into());
        }
        if self.drain.is_some() {
            return Err(Turned::Off(Later::Draining));
        }
        if !cx.io.allow_publish(conn) {
            return Err(Turned::Off(Later::Often));
        }
        let grant = self.look(cx, head)?;
        let parcel = self.parcel(&grant, request)?;
        let asks = Asks::Request(head.header("origin").map(Box::from));
        let index = match parcel.leave {
            May::Ask => {
                let message = message(cx, parcel);
                self.ask_about_post(cx, (conn, asks), message, (head, grant.user))?
            }
            // Nobody knows who it is: a request has no session that the back end could be asked about.
            May::Yes | May::No if self.asks() => return Err(Refusal::nobody(NO_SESSION).into()),
            May::Yes | May::No => {
                let message = message(cx, parcel);
                self.put(cx, (conn, asks), message)
            }
        };
        if self.publisher(index).is_some_and(|publisher| publisher.conn == conn) {
            cx.io.hold(conn, owner(index));
        }
        Ok(())
    }

    /// The same from a WebSocket.
    pub(super) fn publish_from(
        &mut self,
        cx: &mut Cx<'_>,
        reader: u32,
        (id, channel): (&str, &str),
        (event, media, payload): (Option<String>, Option<String>, Vec<u8>),
    ) -> Result<(), Refusal> {
        let bytes_max = self.config.limits.message_bytes_max;
        if payload.len() > bytes_max {
            return Err(Refusal::new(413, "too-large", format!("a message has at most {bytes_max} bytes")));
        }
        let Some((conn, origin)) = self.reader(reader).map(|reader| (reader.conn, reader.id)) else {
            return Ok(());
        };
        let grant = self.grant_of(cx, reader);
        let said = (channel, event.as_deref(), media.as_deref());
        let parcel = self.checked(&grant, said, Bytes::from(payload))?;
        let parcel = Parcel { origin: Some(origin), ..parcel };
        let leave = parcel.leave;
        let message = message(cx, parcel);
        if leave == May::Ask {
            self.ask_about_frame(cx, reader, (id, channel), message);
            return Ok(());
        }
        self.put_from(cx, (reader, conn), (id, channel), message);
        Ok(())
    }

    /// Publishes what came in a frame.
    pub(super) fn put_from(
        &mut self,
        cx: &mut Cx<'_>,
        (reader, conn): (u32, ConnKey),
        (id, channel): (&str, &str),
        message: Box<Publish>,
    ) {
        self.under_way(cx, reader);
        self.put(cx, (conn, Asks::Frame { reader, id: id.into(), channel: channel.into() }), message);
    }

    /// Sends a message on its way; whoever waits for its end is at the index.
    fn put(&mut self, cx: &mut Cx<'_>, from: (ConnKey, Asks), message: Box<Publish>) -> u32 {
        let index = self.wait_for(from, message.id);
        self.send_off(cx, index, message);
        index
    }

    /// Somebody waits for the end of a message.
    pub(super) fn wait_for(&mut self, (conn, asks): (ConnKey, Asks), id: MessageId) -> u32 {
        self.publishers = self.publishers.wrapping_add(1);
        let number = self.publishers;
        let (_, message) = time_and_text(id);
        let publisher = Box::new(Publisher { conn, number, message: message.into(), asks, held: None });
        self.insert(Caller::Publisher(publisher))
    }

    /// To the home of its channel, whose answer comes to the publisher at the index.
    pub(super) fn send_off(&mut self, cx: &mut Cx<'_>, index: u32, mut message: Box<Publish>) {
        let Some(number) = self.publisher(index).map(|publisher| publisher.number) else { return };
        let Target::Channel(channel) = &message.target else { return };
        let home = channel.home(&self.topology);
        let request = u64::from(number) << 32 | u64::from(index);
        message.receipt = Some(Receipt::Front { shard: self.shard, request });
        if home == self.shard {
            self.apply(cx, Command::Publish(message));
        } else {
            cx.io.post(home, PeerMail::Publish(message));
        }
    }

    fn parcel(&self, grant: &Grant, request: &Request<'_>) -> Result<Parcel, Refusal> {
        let head = &request.head;
        let (mut channel, mut event) = (None, None);
        for (name, value) in pairs(head.query) {
            match name.as_ref() {
                "channel" if channel.is_some() => {
                    return Err(Refusal::new(400, "malformed", "a message has one `channel`"));
                }
                "channel" => channel = Some(value),
                "event" => event = Some(value),
                _ => {}
            }
        }
        let Some(channel) = channel else {
            return Err(Refusal::new(400, "malformed", "`channel` is missing: name one"));
        };
        let is_telling = |media: &&str| !media.eq_ignore_ascii_case(FORM);
        let media = head.header("content-type").filter(is_telling);
        self.checked(grant, (&channel, event.as_deref(), media), Bytes::copy_from_slice(request.body))
    }

    fn checked(
        &self,
        grant: &Grant,
        (channel, event, media): (&str, Option<&str>, Option<&str>),
        payload: Bytes,
    ) -> Result<Parcel, Refusal> {
        let name = ChannelName::parse(channel, self.config.limits.channel_name_bytes_max)
            .map_err(|refusal| Refusal::of(refusal, channel))?;
        if name.is_reserved() {
            return Err(Refusal::of(hub::Refusal::ReservedChannel, channel));
        }
        if event.is_some_and(|event| !is_event_name(event) || event.len() > EVENT_BYTES_MAX) {
            let detail = format!("`event` has 1 to {EVENT_BYTES_MAX} bytes, without NUL and ends of lines");
            return Err(Refusal::new(400, "malformed", detail));
        }
        let attributes =
            attributes(media, event.map(|event| ("event", event)).into_iter()).map_err(|_| {
                Refusal::new(400, "malformed", "the media type or `event` has characters that may not be")
            })?;
        let leave = self.weigh(grant, Action::Publish, channel);
        if leave == May::No {
            return Err(Refusal::forbidden("this channel is not for this client to publish to"));
        }
        // Who publishes, for whoever takes it out of a queue.
        let user = grant.user.clone();
        Ok(Parcel {
            channel: name,
            event: event.map(Box::from),
            attributes,
            payload,
            user,
            origin: None,
            leave,
        })
    }

    /// The channel's home has answered.
    pub(super) fn placed(&mut self, cx: &mut Cx<'_>, request: u64, outcome: Outcome) {
        let (index, number) = (request as u32, (request >> 32) as u32);
        if self.publisher(index).is_none_or(|publisher| publisher.number != number) {
            return;
        }
        let Some(Caller::Publisher(publisher)) = self.remove(cx, index) else { return };
        let answered = match outcome {
            Outcome::Published { position, .. } => {
                self.figures.published += 1;
                Ok(position.map(text_of))
            }
            Outcome::Refused(refusal) => Err(Some(Refusal::of(refusal, "channel"))),
            Outcome::Joined { .. } | Outcome::Left { .. } | Outcome::Repeated | Outcome::Forgotten => {
                Err(None)
            }
        };
        self.answer_publisher(cx, *publisher, answered);
    }

    /// Says what became of a message: where it stands, or why it is nowhere.
    pub(super) fn answer_publisher(
        &mut self,
        cx: &mut Cx<'_>,
        publisher: Publisher,
        answered: Result<Option<String>, Option<Refusal>>,
    ) {
        match publisher.asks {
            Asks::Request(origin) => {
                let origin = origin.as_deref();
                let response = match answered {
                    Ok(position) => {
                        let answer = Answer { id: &publisher.message, position };
                        self.site.json(serde_json::to_string(&answer).unwrap_or_default(), origin)
                    }
                    Err(Some(refusal)) => self.site.refuse(&refusal, origin),
                    Err(None) => self.site.put_off(Later::Full, None, origin),
                };
                cx.io.respond(publisher.conn, response);
            }
            Asks::Frame { reader, id, channel } => {
                if self.reader(reader).is_none_or(|reader| reader.conn != publisher.conn) {
                    // It has left.
                    return;
                }
                let about = (&*channel, Some(&*id));
                match answered {
                    Ok(position) => {
                        let (message, position) = (&*publisher.message, position.as_deref());
                        self.tell(cx, reader, &Said::Published { message, position }, about);
                    }
                    Err(refusal) => {
                        let full = || Refusal::new(503, "unavailable", "it is not published");
                        self.tell_refused(cx, reader, about, &refusal.unwrap_or_else(full));
                    }
                }
                self.arrived(cx, reader);
            }
        }
    }
}

/// A message as the hub has it.
fn message(cx: &mut Cx<'_>, parcel: Parcel) -> Box<Publish> {
    let Parcel { channel, event, attributes, payload, user, origin, leave: _ } = parcel;
    let user = user.filter(|_| copies::may_be(cx));
    let way = if origin.is_some() { Way::WebSocket } else { Way::Request } as u8;
    Box::new(Publish {
        id: message_id(cx),
        target: Target::Channel(channel),
        event,
        body: Body::Raw(payload),
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: None,
        traits: Traits { quality: Quality::AtLeastOnce, attributes, user, origin, way, ..Traits::default() },
        receipt: None,
    })
}

/// When a message was published, in milliseconds since 1970, and its id as REST tells it.
pub(super) fn time_and_text(id: MessageId) -> (u64, String) {
    (u64::try_from(id.0 >> 80).unwrap_or(u64::MAX), Ulid(id.0).to_string())
}
