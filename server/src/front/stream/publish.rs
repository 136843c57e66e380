//! `POST /publish`: the body of a request becomes a message, and the answer says where it stands.
//!
//! Owns what a request says of a message. Must not know who gets it. Start at [`Streams::publish`].

use bytes::Bytes;
use hub::{Body, ChannelName, Command, MessageId, Outcome, Publish, Quality, Receipt, Target, Traits};
use serde::Serialize;
use ulid::Ulid;
use wire::http::{Head, pairs};

use super::access::Turned;
use super::answer::{Later, Refusal};
use super::caller::{Caller, Publisher};
use super::reading::text_of;
use super::{Streams, owner};
use crate::auth::Action;
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
        let grant = self.look(head)?;
        let Parcel { channel, event, attributes } = self.parcel(head)?;
        if !self.may(&grant, Action::Publish, channel.as_str()) {
            return Err(Refusal::forbidden("this channel is not for this client to publish to").into());
        }
        let user = self.publisher_of(&grant);
        let id = message_id(cx);
        self.publishers = self.publishers.wrapping_add(1);
        let publisher = Publisher {
            conn,
            number: self.publishers,
            message: text(id).into(),
            origin: head.header("origin").map(Box::from),
        };
        let request_number = u64::from(publisher.number) << 32;
        let index = self.insert(Caller::Publisher(publisher));
        let home = channel.home(&self.topology);
        let publish = Box::new(Publish {
            id,
            target: Target::Channel(channel),
            event,
            body: Body::Raw(Bytes::copy_from_slice(request.body)),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { quality: Quality::AtLeastOnce, attributes, user, ..Traits::default() },
            receipt: Some(Receipt::Front { shard: self.shard, request: request_number | u64::from(index) }),
        });
        if home == self.shard {
            self.apply(cx, Command::Publish(publish));
        } else {
            cx.io.post(home, PeerMail::Publish(publish));
        }
        if self.publisher(index).is_some_and(|publisher| publisher.conn == conn) {
            cx.io.hold(conn, owner(index));
        }
        Ok(())
    }

    fn parcel(&self, head: &Head<'_>) -> Result<Parcel, Refusal> {
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
        let name = ChannelName::parse(&channel, self.config.limits.channel_name_bytes_max)
            .map_err(|refusal| Refusal::of(refusal, &channel))?;
        if name.is_reserved() {
            return Err(Refusal::of(hub::Refusal::ReservedChannel, &channel));
        }
        if event.as_ref().is_some_and(|event| event.is_empty() || event.len() > EVENT_BYTES_MAX) {
            let detail = format!("`event` has 1 to {EVENT_BYTES_MAX} bytes");
            return Err(Refusal::new(400, "malformed", detail));
        }
        let is_telling = |media: &&str| !media.eq_ignore_ascii_case(FORM);
        let media = head.header("content-type").filter(is_telling);
        let attributes = attributes(media, event.as_deref().map(|event| ("event", event)).into_iter())
            .map_err(|_| {
                Refusal::new(400, "malformed", "`content-type` or `event` has characters that may not be")
            })?;
        Ok(Parcel { channel: name, event: event.map(|event| event.into()), attributes })
    }

    /// The channel's home has answered.
    pub(super) fn placed(&mut self, cx: &mut Cx<'_>, request: u64, outcome: Outcome) {
        let (index, number) = (request as u32, (request >> 32) as u32);
        if self.publisher(index).is_none_or(|publisher| publisher.number != number) {
            return;
        }
        let Some(Caller::Publisher(publisher)) = self.remove(cx, index) else { return };
        let origin = publisher.origin.as_deref();
        let response = match outcome {
            Outcome::Published { position, .. } => {
                self.figures.published += 1;
                let answer = Answer { id: &publisher.message, position: position.map(text_of) };
                self.site.json(serde_json::to_string(&answer).unwrap_or_default(), origin)
            }
            Outcome::Refused(refusal) => self.site.refuse(&Refusal::of(refusal, "channel"), origin),
            Outcome::Joined { .. } | Outcome::Left { .. } | Outcome::Repeated | Outcome::Forgotten => {
                self.site.put_off(Later::Full, None, origin)
            }
        };
        cx.io.respond(publisher.conn, response);
    }
}

/// As REST tells it.
fn text(id: MessageId) -> String {
    Ulid(id.0).to_string()
}
