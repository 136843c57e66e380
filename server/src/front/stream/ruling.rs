//! What of a client waits until the back end has said whether it may: channels of a stream, or a message.
//!
//! Owns what an answer means to it. Must not know who answers, nor which channels are asked about ([`super::access`]). Start at
//! [`Streams::ask_about_channels`], [`Streams::ask_about_wish`], [`Streams::ask_about_frame`] and [`Streams::ask_about_post`].
//!
//! ```text
//! request for a stream ──> Upcall::Ask for each of its channels; then it is answered
//! frame of /ws         ──> Upcall::Ask; no more frames are read
//! POST /publish        ──> Upcall::Ask, under an id of its own, since there is no session
//!    ├──Mail::Answer, yes──> goes on, as the answer says
//!    ├──             , no──> 401, 403, or an event in the WebSocket
//!    └──        , unknown, or `streams.connect_timeout_ms`──> the client comes back: as for any other reason to
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use hub::{Partition, Publish, Reason, SessionId};
use wire::http::Head;
use wire::stream::Said;

use super::access::Turned;
use super::answer::{Later, Refusal};
use super::asking::{PARAMETERS, refusal};
use super::caller::{Asks, Caller, Stage};
use super::publish::time_and_text;
use super::socket::Doing;
use super::{Streams, owner};
use crate::front::facts::{facts, kept_bytes};
use crate::front::questions::{Open, change, publish_deed};
use crate::mail::{Deed, Denial, Handshake, Question, Ruling, Speaks, Terms, Wanted};
use crate::shard::{ConnKey, Cx};

/// What a reader waits for.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) open: Open,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Channels of its request that are to be asked about, one after the other.
    Channels(VecDeque<String>),
    /// It subscribes in a WebSocket.
    Wish(Box<Doing>),
    /// It publishes in one.
    Frame(Box<Frame>),
}

/// A message of a frame.
#[derive(Debug)]
struct Frame {
    /// The client's name of the event.
    id: Box<str>,
    channel: Box<str>,
    message: Box<Publish>,
}

/// A message of a request.
#[derive(Debug)]
pub(super) struct Post {
    open: Open,
    /// The question's: no session has it.
    id: SessionId,
    message: Box<Publish>,
}

impl Streams {
    /// Lets a session in once the back end has been asked about those of its channels whose rules say so.
    pub(super) fn ask_about_channels(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(asked) = self.reader(index).and_then(|reader| reader.rare.as_ref()?.asked.as_ref()) else {
            return;
        };
        let is_asked = |channel: &&String| self.is_to_be_asked(&asked.grant, channel, asked.history);
        let channels: VecDeque<String> = asked.channels.iter().filter(is_asked).cloned().collect();
        self.ask_about_next(cx, index, channels);
    }

    fn ask_about_next(&mut self, cx: &mut Cx<'_>, index: u32, channels: VecDeque<String>) {
        let Some(channel) = channels.front().map(|channel| Box::from(channel.as_str())) else {
            return self.let_session_in(cx, index);
        };
        let Some(asked) = self.reader(index).and_then(|reader| reader.rare.as_ref()?.asked.as_ref()) else {
            return;
        };
        let (user, history) = (asked.grant.user.clone(), asked.history);
        let deed = Deed::Subscribe { qos: None, group: None, history };
        self.hold(cx, index, (user, channel, deed), What::Channels(channels));
    }

    /// Asks about a subscription in a WebSocket.
    pub(super) fn ask_about_wish(&mut self, cx: &mut Cx<'_>, index: u32, doing: Doing) {
        let user = self.grant_of(cx, index).user;
        let deed = Deed::Subscribe { qos: None, group: None, history: doing.history };
        let channel = doing.channel.clone();
        self.hold(cx, index, (user, channel, deed), What::Wish(Box::new(doing)));
    }

    /// Asks about a message in a WebSocket.
    pub(super) fn ask_about_frame(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (id, channel): (&str, &str),
        message: Box<Publish>,
    ) {
        let user = self.grant_of(cx, index).user;
        let Some((name, deed)) = publish_deed(&message, None, None) else { return };
        let frame = Frame { id: id.into(), channel: channel.into(), message };
        self.hold(cx, index, (user, name, deed), What::Frame(Box::new(frame)));
    }

    /// Asks about a message of a request; whoever waits for its end is at the index.
    pub(super) fn ask_about_post(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, asks): (ConnKey, Asks),
        message: Box<Publish>,
        (head, user): (&Head<'_>, Option<Arc<str>>),
    ) -> Result<u32, Turned> {
        if kept_bytes(head.query, &PARAMETERS) > self.config.limits.handshake_bytes_max {
            let detail = "the query is over limits.handshake_bytes_max";
            return Err(Refusal::new(413, "too-large", detail).into());
        }
        let (remote, secure) = (cx.io.peer_addr(conn), cx.io.is_secure(conn));
        let request = Arc::new(Handshake { remote, secure, ..facts(head, &self.config, &PARAMETERS) });
        let index = self.wait_for((conn, asks), message.id);
        let Some((channel, deed)) = publish_deed(&message, None, Some(request)) else { return Ok(index) };
        // Its home is here, and where it would have its slot its publisher is.
        let id = SessionId::new(Partition(u16::from(self.shard.0)), index, cx.io.random());
        let question = Question { speaks: Speaks::Stream("publish"), user, channel, deed };
        let open = Open::ask(cx, id, question, self.config.streams.connect_timeout_ms);
        cx.io.arm(owner(index), open.until);
        if let Some(Caller::Publisher(publisher)) = self.callers.get_mut(index as usize) {
            publisher.held = Some(Box::new(Post { open, id, message }));
        }
        Ok(index)
    }

    fn hold(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (user, channel, deed): (Option<Arc<str>>, Box<str>, Deed),
        what: What,
    ) {
        let wait_ms = self.config.streams.connect_timeout_ms;
        let Some(reader) = self.reader_mut(index) else { return };
        let question = Question { speaks: Speaks::Stream(reader.kind.protocol()), user, channel, deed };
        let open = Open::ask(cx, reader.id, question, wait_ms);
        reader.rare().held = Some(Box::new(Held { open, what }));
        if reader.stage != Stage::Opening {
            // Else it is read from, as any request that waits, so that its end is seen.
            cx.io.pause_reading(reader.conn);
        }
        self.arm(cx, index);
    }

    /// The publisher whose message is asked about under this id.
    pub(super) fn post_of(&self, id: SessionId) -> Option<u32> {
        let publisher = self.publisher(id.slot())?;
        publisher.held.as_ref().filter(|post| post.id == id).map(|_| id.slot())
    }

    /// The back end has answered.
    pub(in crate::front) fn ruled(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        (number, ruling): (u64, Ruling),
    ) {
        if let Some(index) = self.post_of(id) {
            let is_it = |post: &Post| post.open.is(number);
            let asked = self.publisher(index).and_then(|publisher| publisher.held.as_deref());
            return if asked.is_some_and(is_it) {
                self.post_ruled(cx, index, ruling)
            };
        }
        let Some(index) = self.index_of(id) else { return };
        let Some(rare) = self.reader_mut(index).and_then(|reader| reader.rare.as_mut()) else { return };
        let Some(held) = rare.held.take_if(|held| held.open.is(number)) else { return };
        if matches!(ruling, Ruling::Unknown) {
            return self.finish(cx, index, Reason::Disconnected);
        }
        match held.what {
            What::Channels(channels) => return self.channel_ruled(cx, index, channels, ruling),
            What::Wish(doing) => self.wish_ruled(cx, index, *doing, ruling),
            What::Frame(frame) => self.frame_ruled(cx, index, *frame, ruling),
        }
        self.read_socket(cx, index);
        if let Some(reader) = self.reader_mut(index) {
            reader.tidy();
        }
    }

    fn channel_ruled(&mut self, cx: &mut Cx<'_>, index: u32, mut channels: VecDeque<String>, ruling: Ruling) {
        let Some(channel) = channels.pop_front() else { return };
        match ruling {
            Ruling::Yes(Terms { recovery, .. }) => {
                let rare = self.reader_mut(index).and_then(|reader| reader.rare.as_mut());
                let asked = rare.and_then(|rare| rare.asked.as_mut());
                if let Some(asked) = asked.filter(|_| recovery == Wanted::Never) {
                    asked.blank.push(channel);
                }
                self.ask_about_next(cx, index, channels);
            }
            no => self.turn_down(cx, index, &refusal_of(no)),
        }
        self.arm(cx, index);
    }

    fn wish_ruled(&mut self, cx: &mut Cx<'_>, index: u32, mut doing: Doing, ruling: Ruling) {
        match ruling {
            Ruling::Yes(Terms { recovery, .. }) => {
                if recovery == Wanted::Never {
                    doing.forget();
                }
                self.join(cx, index, doing);
            }
            no => self.refuse_frame(cx, index, (&doing.channel, &doing.id), no),
        }
    }

    fn frame_ruled(&mut self, cx: &mut Cx<'_>, index: u32, frame: Frame, ruling: Ruling) {
        let Frame { id, channel, mut message } = frame;
        match ruling {
            Ruling::Yes(terms) => {
                change(&mut message, terms);
                let Some(conn) = self.reader(index).map(|reader| reader.conn) else { return };
                self.put_from(cx, (index, conn), (&id, &channel), message);
            }
            Ruling::Drop => {
                let (_, text) = time_and_text(message.id);
                let said = Said::Published { message: &text, position: None };
                self.tell(cx, index, &said, (&channel, Some(&id)));
            }
            no => self.refuse_frame(cx, index, (&channel, &id), no),
        }
    }

    fn refuse_frame(&mut self, cx: &mut Cx<'_>, index: u32, (channel, id): (&str, &str), no: Ruling) {
        self.figures.refused += 1;
        self.tell_refused(cx, index, (channel, Some(id)), &refusal_of(no));
    }

    fn post_ruled(&mut self, cx: &mut Cx<'_>, index: u32, ruling: Ruling) {
        let Some(Caller::Publisher(publisher)) = self.callers.get_mut(index as usize) else { return };
        let Some(post) = publisher.held.take() else { return };
        cx.io.disarm(owner(index));
        let mut message = post.message;
        if let Ruling::Yes(terms) = ruling {
            change(&mut message, terms);
            return self.send_off(cx, index, message);
        }
        let Some(Caller::Publisher(publisher)) = self.remove(cx, index) else { return };
        match (ruling, &publisher.asks) {
            (Ruling::Unknown, Asks::Request(origin)) => {
                let later = self.site.put_off(Later::Unknown, None, origin.as_deref());
                cx.io.respond(publisher.conn, later);
            }
            (Ruling::Drop, _) => self.answer_publisher(cx, *publisher, Ok(None)),
            (no, _) => {
                self.figures.refused += 1;
                self.answer_publisher(cx, *publisher, Err(Some(refusal_of(no))));
            }
        }
    }

    /// Nobody has said in time whether a message of a request may be published.
    pub(super) fn post_unanswered(&mut self, cx: &mut Cx<'_>, index: u32) {
        if self.publisher(index).is_some_and(|publisher| publisher.held.is_some()) {
            self.post_ruled(cx, index, Ruling::Unknown);
        }
    }
}

/// What a client is told of a no.
fn refusal_of(ruling: Ruling) -> Refusal {
    match ruling {
        Ruling::No { denial, message } => refusal(denial, &message),
        Ruling::Yes(_) | Ruling::Drop | Ruling::Unknown => refusal(Denial::Forbidden, "refused"),
    }
}
