//! What of a client waits until the back end has said whether it may: a subscription or a message.
//!
//! Owns what an answer means to it. Must not know who answers, nor which channels are asked about ([`super::access`]). Start at
//! [`Mqtt::ask_about_filter`] and [`Mqtt::ask_about_message`].
//!
//! ```text
//! SUBSCRIBE, PUBLISH ──> Upcall::Ask; nothing more is read, so what the client says keeps its order
//!    ├──Mail::Answer, yes──> done as the answer says; a SUBSCRIBE asks about its next filter
//!    ├──             , no──> SUBACK 80 or 87, PUBACK or PUBREC 87 with its words (of version 3 without them, and the message is dropped)
//!    ├──        , unknown, or `mqtt.connect_timeout_ms`──> the connection is closed; the client comes back and asks again
//!    └──the client is gone, or another one has its session──> forgotten: what is not acknowledged is sent again
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use hub::{CatchUp, Command, Join, Millis, Publish, Reason, SessionId};
use wire::mqtt::{PacketId, Qos, ReasonCode};

use super::Mqtt;
use super::publish::{Sent, quality};
use super::told::Told;
use crate::front::questions::{Open, change, publish_deed};
use crate::mail::{Deed, Question, Ruling, Speaks, Terms, Wanted};
use crate::shard::Cx;

/// What waits, and for which answer.
#[derive(Debug)]
pub(super) struct Held {
    open: Open,
    what: What,
}

#[derive(Debug)]
enum What {
    Filters(Filters),
    Message(Box<Publish>, Sent),
}

/// Filters of a SUBSCRIBE about which the back end is asked, one after the other.
#[derive(Debug)]
pub(super) struct Filters {
    pub(super) packet_id: PacketId,
    /// By their places.
    pub(super) asked: VecDeque<(u32, Join)>,
}

impl Mqtt {
    /// Asks about the first of these filters, if there is one.
    pub(super) fn ask_about_filter(&mut self, cx: &mut Cx<'_>, index: u32, filters: Filters) {
        let Some((_, join)) = filters.asked.front() else { return };
        let qos = Some(join.options.quality as u8);
        let deed = Deed::Subscribe { qos, group: join.group.clone(), history: 0 };
        let channel = Box::from(join.filter.as_str());
        self.hold(cx, index, (channel, deed), What::Filters(filters));
    }

    /// Asks about a message.
    pub(super) fn ask_about_message(&mut self, cx: &mut Cx<'_>, index: u32, message: Publish, sent: Sent) {
        let Some(asked) = publish_deed(&message, Some(sent.qos as u8), None) else { return };
        self.hold(cx, index, asked, What::Message(Box::new(message), sent));
    }

    fn hold(&mut self, cx: &mut Cx<'_>, index: u32, (channel, deed): (Box<str>, Deed), what: What) {
        let wait_ms = self.config.mqtt.connect_timeout_ms;
        let Some(client) = self.client_mut(index) else { return };
        let speaks = Speaks::Mqtt(Arc::clone(&client.name));
        let question = Question { speaks, user: client.user.clone(), channel, deed };
        let open = Open::ask(cx, client.id, question, wait_ms);
        client.rare().held = Some(Box::new(Held { open, what }));
        cx.io.pause_reading(client.conn);
        self.arm(cx, index);
    }

    /// When a client has waited for long enough.
    pub(super) fn held_until(&self, index: u32) -> Option<Millis> {
        self.client(index)?.rare.as_ref()?.held.as_ref().map(|held| held.open.until)
    }

    /// Whether a session is one of a client here, or the name of an open question.
    pub(in crate::front) fn has(&self, id: SessionId) -> bool {
        self.index_of(id).is_some() || self.asks(id)
    }

    /// The back end has answered.
    pub(in crate::front) fn ruled(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        (number, ruling): (u64, Ruling),
    ) {
        let Some(index) = self.index_of(id) else { return self.will_ruled(cx, id, (number, ruling)) };
        let Some(client) = self.client_mut(index) else { return };
        let Some(rare) = client.rare.as_mut() else { return };
        let Some(held) = rare.held.take_if(|held| held.open.is(number)) else { return };
        if matches!(ruling, Ruling::Unknown) {
            return self.unanswered(cx, index);
        }
        match held.what {
            What::Filters(filters) => self.filter_ruled(cx, index, filters, ruling),
            What::Message(message, sent) => self.message_ruled(cx, index, (*message, sent), ruling),
        }
        self.read_on(cx, index);
    }

    fn filter_ruled(&mut self, cx: &mut Cx<'_>, index: u32, mut filters: Filters, ruling: Ruling) {
        let Some((place, mut join)) = filters.asked.pop_front() else { return };
        let place = (filters.packet_id, place);
        match ruling {
            Ruling::Yes(Terms { qos_max, recovery, .. }) => {
                let less =
                    qos_max.and_then(Qos::from_bits).filter(|max| quality(*max) < join.options.quality);
                if let Some(qos) = less {
                    join.options.quality = quality(qos);
                    self.grant_less(index, place, qos);
                }
                if recovery == Wanted::Never {
                    join.catch_up = CatchUp::Never;
                }
                self.apply(cx, Command::Join(join));
            }
            Ruling::No { message, .. } => self.filter_done(cx, index, place, Told::by_back_end(&message)),
            Ruling::Drop | Ruling::Unknown => {
                self.filter_done(cx, index, place, ReasonCode::NotAuthorized.into());
            }
        }
        self.ask_about_filter(cx, index, filters);
    }

    fn message_ruled(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (mut message, sent): (Publish, Sent),
        ruling: Ruling,
    ) {
        match ruling {
            Ruling::Yes(terms) => {
                change(&mut message, terms);
                self.offer(cx, index, message, sent);
            }
            Ruling::Drop => self.swallowed(cx, index, sent),
            Ruling::No { message, .. } => self.turned_down(cx, index, sent, Told::by_back_end(&message)),
            Ruling::Unknown => self.turned_down(cx, index, sent, ReasonCode::NotAuthorized),
        }
    }

    /// Reads what the client has said meanwhile, unless there is something else to wait for.
    fn read_on(&mut self, cx: &mut Cx<'_>, index: u32) {
        let now = cx.io.now();
        let Some(client) = self.client_mut(index) else { return };
        client.tidy();
        if client.is_paused() {
            return;
        }
        client.heard = now;
        cx.io.resume_reading(client.conn);
        self.arm(cx, index);
    }

    /// Nobody can say whether the client may: it comes back and asks again.
    pub(super) fn unanswered(&mut self, cx: &mut Cx<'_>, index: u32) {
        self.part(cx, index, ReasonCode::ServerBusy, Reason::Disconnected);
    }
}
