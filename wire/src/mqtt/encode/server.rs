//! What only a server sends.
//!
//! Owns the form of CONNACK, SUBACK, UNSUBACK, PINGRESP and a server's DISCONNECT. Must not know which connection gets
//! them. Start at [`ConnAckProperties`].

use bytes::BufMut;

use super::{Encoder, Shed, Unsent};
use crate::mqtt::{
    ConnAck, Disconnect, Property, PropertyBuf, Qos, ReasonCode, ServerPacket, SubAck, Value, Version,
};

/// What a server tells with CONNACK, each field with the value the protocol assumes when nothing is said
/// ([`ConnAckProperties::default`]); only what differs is written. A text of over 65,535 bytes is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// The keep alive in force if it is not the client's.
    pub server_keep_alive_seconds: Option<u16>,
    /// The highest alias the server takes; 0.
    pub topic_alias_maximum: u16,
    /// The id of a client that sent none.
    pub assigned_client_identifier: Option<&'a str>,
    /// The method of the client's CONNECT [MQTT-4.12.0-5].
    pub authentication_method: Option<&'a str>,
    /// The last step of the method; only beside it.
    pub authentication_data: Option<&'a [u8]>,
    /// Whether retained messages are kept; true.
    pub retain_available: bool,
    /// The largest packet the server takes; any.
    pub maximum_packet_size_bytes: Option<u32>,
    /// How many QoS 1 and 2 messages of the client may be unacknowledged; 65,535.
    pub receive_maximum: u16,
    /// The highest QoS; QoS 2.
    pub maximum_qos: Qos,
    /// Whether filters may have wildcards; true.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may have identifiers; true.
    pub subscription_identifier_available: bool,
    /// Whether subscriptions may be shared; true.
    pub shared_subscription_available: bool,
    /// The expiry in force if it is not the client's.
    pub session_expiry_interval_seconds: Option<u32>,
    /// The beginning of response topics, where asked for.
    pub response_information: Option<&'a str>,
    /// Another server.
    pub server_reference: Option<&'a str>,
    /// What happened, with a refusal.
    pub reason_string: Option<&'a str>,
    /// Names and values of the server's choice.
    pub user_properties: &'a [(&'a str, &'a str)],
}

impl Default for ConnAckProperties<'_> {
    fn default() -> Self {
        Self {
            server_keep_alive_seconds: None,
            topic_alias_maximum: 0,
            assigned_client_identifier: None,
            authentication_method: None,
            authentication_data: None,
            retain_available: true,
            maximum_packet_size_bytes: None,
            receive_maximum: u16::MAX,
            maximum_qos: Qos::ExactlyOnce,
            wildcard_subscription_available: true,
            subscription_identifier_available: true,
            shared_subscription_available: true,
            session_expiry_interval_seconds: None,
            response_information: None,
            server_reference: None,
            reason_string: None,
            user_properties: &[],
        }
    }
}

impl ConnAckProperties<'_> {
    /// In the order clients know from mosquitto (any is legal, MQTT 5.0, 2.2.2.2), then what mosquitto does not send.
    pub fn to_buf(&self) -> PropertyBuf {
        let mut out = PropertyBuf::new();
        let mut put = |property, value: Option<Value<'_>>| {
            if let Some(value) = value {
                out.push_if_it_fits(property, value);
            }
        };
        let unavailable = |available: bool| (!available).then_some(Value::Byte(0));
        put(Property::ServerKeepAlive, self.server_keep_alive_seconds.map(Value::U16));
        let aliases = Some(self.topic_alias_maximum).filter(|maximum| *maximum > 0);
        put(Property::TopicAliasMaximum, aliases.map(Value::U16));
        put(Property::AssignedClientIdentifier, self.assigned_client_identifier.map(Value::Text));
        put(Property::AuthenticationMethod, self.authentication_method.map(Value::Text));
        let data = self.authentication_data.filter(|_| self.authentication_method.is_some());
        put(Property::AuthenticationData, data.map(Value::Binary));
        put(Property::RetainAvailable, unavailable(self.retain_available));
        put(Property::MaximumPacketSize, self.maximum_packet_size_bytes.map(Value::U32));
        let window = Some(self.receive_maximum).filter(|maximum| *maximum < u16::MAX);
        put(Property::ReceiveMaximum, window.map(Value::U16));
        put(
            Property::MaximumQos,
            Some(self.maximum_qos).filter(|qos| *qos < Qos::ExactlyOnce).map(|qos| Value::Byte(qos.bits())),
        );
        put(Property::WildcardSubscriptionAvailable, unavailable(self.wildcard_subscription_available));
        put(Property::SubscriptionIdentifierAvailable, unavailable(self.subscription_identifier_available));
        put(Property::SharedSubscriptionAvailable, unavailable(self.shared_subscription_available));
        put(Property::SessionExpiryInterval, self.session_expiry_interval_seconds.map(Value::U32));
        put(Property::ResponseInformation, self.response_information.map(Value::Text));
        put(Property::ServerReference, self.server_reference.map(Value::Text));
        put(Property::ReasonString, self.reason_string.map(Value::Text));
        for (name, value) in self.user_properties {
            put(Property::UserProperty, Some(Value::Pair(name, value)));
        }
        out
    }
}

impl Encoder {
    /// Any packet of a server.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn server_packet(&self, packet: &ServerPacket<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        match packet {
            ServerPacket::ConnAck(connack) => self.connack(connack, out),
            ServerPacket::Publish(publish) => self.publish(publish, out),
            ServerPacket::PubAck(ack) => self.puback(ack, out),
            ServerPacket::PubRec(ack) => self.pubrec(ack, out),
            ServerPacket::PubRel(ack) => self.pubrel(ack, out),
            ServerPacket::PubComp(ack) => self.pubcomp(ack, out),
            ServerPacket::SubAck(suback) => self.suback(suback, out),
            ServerPacket::UnsubAck(unsuback) => self.unsuback(unsuback, out),
            ServerPacket::PingResp => self.pingresp(out),
            ServerPacket::Disconnect(disconnect) => self.disconnect(disconnect, out),
            ServerPacket::Auth(auth) => self.auth(auth, out),
        }
    }

    /// CONNACK. Version 3 gets the return code for the reason.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`]: a reason without a return code has no form in version 3.
    pub fn connack(&self, connack: &ConnAck<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let code = match self.version {
            Version::V3 => connack.reason.v3_return_code().ok_or(Unsent::NoForm)?,
            Version::V5 => connack.reason.byte(),
        };
        let fitted = self.fit(connack.properties, Shed::ToFit, |properties_bytes| {
            2 + self.properties_bytes(properties_bytes)
        })?;
        fitted.put_header(0x20, out);
        out.put_u8(u8::from(connack.session_present && connack.reason == ReasonCode::Success));
        out.put_u8(code);
        fitted.put(self.version, out);
        Ok(())
    }

    /// CONNACK that refuses, with a reason string in version 5.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`]: a reason without a return code has no form in version 3.
    pub fn refusal(&self, reason: ReasonCode, text: &str, out: &mut impl BufMut) -> Result<(), Unsent> {
        let properties = PropertyBuf::with_reason_string(text);
        let properties = properties.as_properties();
        self.connack(&ConnAck { session_present: false, reason, properties }, out)
    }

    /// SUBACK. Version 3 gets 0x80 for every failure.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn suback(&self, suback: &SubAck<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let fitted = self.answer_head(0x90, suback, suback.codes.len(), out)?;
        fitted.put(self.version, out);
        for code in suback.codes.iter() {
            out.put_u8(match self.version {
                Version::V3 => code.v3_suback_code(),
                Version::V5 => code.byte(),
            });
        }
        Ok(())
    }

    /// UNSUBACK. In version 3 it has no codes.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn unsuback(&self, unsuback: &SubAck<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let codes_bytes = match self.version {
            Version::V3 => 0,
            Version::V5 => unsuback.codes.len(),
        };
        let fitted = self.answer_head(0xb0, unsuback, codes_bytes, out)?;
        fitted.put(self.version, out);
        for code in unsuback.codes.iter().take(codes_bytes) {
            out.put_u8(code.byte());
        }
        Ok(())
    }

    fn answer_head<'p>(
        &self,
        first: u8,
        answer: &SubAck<'p>,
        codes_bytes: usize,
        out: &mut impl BufMut,
    ) -> Result<super::Fitted<'p>, Unsent> {
        let fitted = self.fit(answer.properties, Shed::Unrequested, |properties_bytes| {
            2 + self.properties_bytes(properties_bytes) + codes_bytes
        })?;
        fitted.put_header(first, out);
        out.put_u16(answer.packet_id.value());
        Ok(fitted)
    }

    /// PINGRESP.
    ///
    /// # Errors
    /// Nothing is appended: the receiver takes less than two bytes.
    pub fn pingresp(&self, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.empty(0xd0, out)
    }

    /// A packet without a body.
    pub(super) fn empty(&self, first: u8, out: &mut impl BufMut) -> Result<(), Unsent> {
        if !super::fits(0, self.packet_bytes_max) {
            return Err(Unsent::TooLarge);
        }
        out.put_slice(&[first, 0]);
        Ok(())
    }

    /// DISCONNECT of a server with a reason string; version 5 only.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn ending(&self, reason: ReasonCode, text: &str, out: &mut impl BufMut) -> Result<(), Unsent> {
        let properties = PropertyBuf::with_reason_string(text);
        self.disconnect(&Disconnect { reason, properties: properties.as_properties() }, out)
    }

    /// DISCONNECT of a server; version 5 only.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn disconnect(&self, disconnect: &Disconnect<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        match self.version {
            Version::V3 => Err(Unsent::NoForm),
            Version::V5 => self.disconnect_v5(disconnect.reason, disconnect.properties, out),
        }
    }
}
