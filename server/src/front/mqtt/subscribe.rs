//! SUBSCRIBE and UNSUBSCRIBE: each filter is a question to the hub, and one packet answers them all.
//!
//! Owns which request of the hub is which packet's. Must not know what a subscription does. Start at [`Mqtt::subscribe`].

use std::collections::VecDeque;

use hub::{CatchUp, Command, Join, Options, Outcome};
use wire::mqtt::{
    PacketId, Qos, ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeOptions, Unsubscribe,
    Version, parse_share,
};

use super::access::{Leave, substituted};
use super::client::Question;
use super::publish::{Kind, quality};
use super::ruling::Filters;
use super::told::{self, Told};
use super::{Mqtt, availability};
use crate::shard::Cx;

/// What the hub is asked for, as the number that comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A message of QoS 1.
    PubAck(PacketId),
    /// A message of QoS 2.
    PubRec(PacketId),
    /// The end of its exchange.
    PubComp(PacketId),
    /// The filter at this place of a SUBSCRIBE or UNSUBSCRIBE.
    Filter(PacketId, u32),
}

impl Request {
    /// The kind in the lowest byte, then the packet id, then the place.
    pub(super) fn number(self) -> u64 {
        let (kind, packet_id, place) = match self {
            Self::PubAck(packet_id) => (1, packet_id, 0),
            Self::PubRec(packet_id) => (2, packet_id, 0),
            Self::PubComp(packet_id) => (3, packet_id, 0),
            Self::Filter(packet_id, place) => (4, packet_id, place),
        };
        kind | u64::from(packet_id.value()) << 8 | u64::from(place) << 32
    }

    pub(super) fn of(number: u64) -> Option<Self> {
        let packet_id = PacketId::new((number >> 8) as u16)?;
        match number & 0xff {
            1 => Some(Self::PubAck(packet_id)),
            2 => Some(Self::PubRec(packet_id)),
            3 => Some(Self::PubComp(packet_id)),
            4 => Some(Self::Filter(packet_id, (number >> 32) as u32)),
            _ => None,
        }
    }

    /// The acknowledgement that the client waits for.
    pub(super) fn ack(self) -> Option<(Kind, PacketId)> {
        match self {
            Self::PubAck(packet_id) => Some((Kind::PubAck, packet_id)),
            Self::PubRec(packet_id) => Some((Kind::PubRec, packet_id)),
            Self::PubComp(_) | Self::Filter(..) => None,
        }
    }
}

impl Mqtt {
    pub(super) fn subscribe(&mut self, cx: &mut Cx<'_>, index: u32, subscribe: &Subscribe<'_>) {
        let packet_id = subscribe.packet_id;
        let label = subscribe.properties.subscription_identifier().unwrap_or(0);
        if let Some(code) = self.breach(index, subscribe) {
            return self.part_for(cx, index, code);
        }
        let qos_max = availability::qos_max(&self.config.mqtt);
        let granted =
            subscribe.subscriptions.iter().map(|(_, options)| options.qos.min(qos_max).granted()).collect();
        self.ask(index, packet_id, true, granted);
        let mut asked = VecDeque::new();
        for (place, (filter, options)) in (0..).zip(subscribe.subscriptions.iter()) {
            let request = Request::Filter(packet_id, place);
            match self.join(index, filter, (options, label), request.number()) {
                Ok((join, Leave::Given)) => self.apply(cx, Command::Join(join)),
                Ok((join, Leave::Asked)) => asked.push_back((place, join)),
                Err(told) => self.filter_done(cx, index, (packet_id, place), told),
            }
        }
        self.ask_about_filter(cx, index, Filters { packet_id, asked });
    }

    /// A client of version 5 knows what is switched off, so to ask for it breaks the protocol.
    fn breach(&self, index: u32, subscribe: &Subscribe<'_>) -> Option<ReasonCode> {
        self.client(index).filter(|client| client.version() == Version::V5 && !client.kind.own)?;
        let label = subscribe.properties.subscription_identifier().unwrap_or(0);
        let mut filters = subscribe.subscriptions.iter();
        filters.find_map(|(filter, _)| availability::subscribe(&self.config.mqtt, filter, label).err())
    }

    fn join(
        &self,
        index: u32,
        filter: &str,
        (options, label): (SubscribeOptions, u32),
        request: u64,
    ) -> Result<(Join, Leave), Told> {
        let client = self.client(index).ok_or(ReasonCode::UnspecifiedError)?;
        let config = &self.config.mqtt;
        if !client.kind.own {
            availability::subscribe(config, filter, label)?;
        }
        let (group, filter) = split_share(filter);
        let asker = self.asker(index).ok_or(ReasonCode::UnspecifiedError)?;
        let leave = self.access.subscribe(asker, filter)?;
        if filter.len() > self.config.limits.channel_name_bytes_max as usize {
            let words = "the filter is longer than the server takes";
            return Err(Told::new(ReasonCode::TopicFilterInvalid, words));
        }
        let own = Options {
            quality: quality(options.qos.min(availability::qos_max(config))),
            skip_own: options.no_local,
            keep_retain: options.retain_as_published,
            label,
            ..Options::default()
        };
        let catch_up = match options.retain_handling {
            _ if !config.retain_available => CatchUp::Never,
            RetainHandling::Send => CatchUp::Always,
            RetainHandling::SendIfNew => CatchUp::IfNew,
            RetainHandling::DoNotSend => CatchUp::Never,
        };
        let (session, options) = (client.session, client.options(own));
        Ok((Join { session, filter: filter.to_owned(), group, options, catch_up, request }, leave))
    }

    /// The subscriptions that a new session begins with (MQTT 5.0, 4.5 allows a server to make some).
    pub(super) fn subscribe_at_start(&mut self, cx: &mut Cx<'_>, index: u32) {
        if self.client(index).is_some_and(|client| client.kind.own) {
            return;
        }
        for place in 0..self.config.mqtt_auto_subscribe.len() {
            self.subscribe_as_configured(cx, index, place);
        }
    }

    /// The one of them at this place.
    pub(super) fn subscribe_as_configured(&mut self, cx: &mut Cx<'_>, index: u32, place: usize) {
        let Some((entry, client)) = self.config.mqtt_auto_subscribe.get(place).zip(self.client(index)) else {
            return;
        };
        let Some(filter) = substituted(entry.filter.as_str(), client.asker()) else { return };
        let (group, filter) = split_share(&filter);
        let qos = u8::try_from(entry.qos).ok().and_then(Qos::from_bits).unwrap_or_default();
        let qos = qos.min(availability::qos_max(&self.config.mqtt));
        let own = Options { quality: quality(qos), ..Options::default() };
        // Nobody waits for the answer: 0 is no request of the client's.
        let (session, options, filter) = (client.session, client.options(own), filter.to_owned());
        let catch_up = if self.config.mqtt.retain_available { CatchUp::Always } else { CatchUp::Never };
        self.apply(cx, Command::Join(Join { session, filter, group, options, catch_up, request: 0 }));
    }

    pub(super) fn unsubscribe(&mut self, cx: &mut Cx<'_>, index: u32, unsubscribe: &Unsubscribe<'_>) {
        let packet_id = unsubscribe.packet_id;
        let success = unsubscribe.filters.iter().map(|_| ReasonCode::Success).collect();
        self.ask(index, packet_id, false, success);
        for (place, filter) in (0..).zip(unsubscribe.filters.iter()) {
            let Some(session) = self.client(index).map(|client| client.session) else { return };
            let (group, filter) = split_share(filter);
            let request = Request::Filter(packet_id, place).number();
            self.apply(cx, Command::Leave { session, filter: filter.to_owned(), group, request });
        }
    }

    fn ask(&mut self, index: u32, packet_id: PacketId, is_subscribe: bool, granted: Vec<ReasonCode>) {
        let Some(client) = self.client_mut(index) else { return };
        let open = granted.len() as u32;
        let question =
            Question { packet_id, is_subscribe, codes: granted.clone(), granted, open, refused: Vec::new() };
        client.rare().questions.push(question);
    }

    /// The hub's answer about one filter.
    pub(super) fn filter_answered(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        place: (PacketId, u32),
        outcome: Outcome,
    ) {
        let granted = || {
            let questions = &self.client(index)?.rare.as_ref()?.questions;
            let question = questions.iter().find(|question| question.packet_id == place.0)?;
            question.granted.get(place.1 as usize).copied()
        };
        let told = match outcome {
            Outcome::Left { existed: false } => ReasonCode::NoSubscriptionExisted.into(),
            Outcome::Refused(refusal) => Told::of_filter(refusal),
            Outcome::Left { existed: true }
            | Outcome::Joined { .. }
            | Outcome::Published { .. }
            | Outcome::Repeated
            | Outcome::Forgotten => granted().unwrap_or(ReasonCode::Success).into(),
        };
        self.filter_done(cx, index, place, told);
    }

    /// The back end lets a client have a filter at a lower quality of service than it has asked for.
    pub(super) fn grant_less(&mut self, index: u32, (packet_id, place): (PacketId, u32), qos: Qos) {
        let rare = self.client_mut(index).and_then(|client| client.rare.as_mut());
        let mut questions = rare.into_iter().flat_map(|rare| &mut rare.questions);
        let question = questions.find(|question| question.packet_id == packet_id);
        if let Some(granted) = question.and_then(|question| question.granted.get_mut(place as usize)) {
            *granted = qos.granted();
        }
    }

    pub(super) fn filter_done(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (packet_id, place): (PacketId, u32),
        told: Told,
    ) {
        let Some(client) = self.client_mut(index) else { return };
        let questions = &mut client.rare().questions;
        let Some(at) = questions.iter().position(|question| question.packet_id == packet_id) else { return };
        let Some(question) = questions.get_mut(at) else { return };
        if let Some(known) = question.codes.get_mut(place as usize) {
            *known = told.code;
        }
        if told.words().is_some() {
            question.refused.push((place, told));
        }
        question.open -= 1;
        if question.open > 0 {
            return;
        }
        let question = questions.remove(at);
        client.tidy();
        let codes = ReasonCodes::new(&question.codes);
        let words = told::of_filters(question.codes.len(), question.refused);
        let answer = SubAck { packet_id, properties: words.as_properties(), codes };
        self.put(cx, index, |encoder, out| match question.is_subscribe {
            true => encoder.suback(&answer, out),
            false => encoder.unsuback(&answer, out),
        });
    }
}

/// The group, if it is shared, and the filter.
pub(super) fn split_share(filter: &str) -> (Option<Box<str>>, &str) {
    match parse_share(filter) {
        Some((group, filter)) => (Some(Box::from(group)), filter),
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_numbers_and_back() {
        let id = PacketId::new(0xfffe).unwrap();
        for request in
            [Request::PubAck(id), Request::PubRec(id), Request::PubComp(id), Request::Filter(id, 70_000)]
        {
            assert_eq!(Request::of(request.number()), Some(request));
        }
        assert_eq!((Request::of(0), Request::of(5 | 1 << 8)), (None, None));
    }
}
