//! What only a client sends.
//!
//! Owns the form of CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ and a client's DISCONNECT. Must not know which server gets
//! them. Start at [`Encoder::client_packet`].

use bytes::BufMut;

use super::{Encoder, Shed, Unsent, field_bytes, put_field};
use crate::mqtt::{ClientPacket, Connect, Disconnect, Level, Subscribe, Unsubscribe, Version, Will};

impl Encoder {
    /// Any packet of a client.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn client_packet(&self, packet: &ClientPacket<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        match packet {
            ClientPacket::Connect(connect) => self.connect(connect, out),
            ClientPacket::Publish(publish) => self.publish(publish, out),
            ClientPacket::PubAck(ack) => self.puback(ack, out),
            ClientPacket::PubRec(ack) => self.pubrec(ack, out),
            ClientPacket::PubRel(ack) => self.pubrel(ack, out),
            ClientPacket::PubComp(ack) => self.pubcomp(ack, out),
            ClientPacket::Subscribe(subscribe) => self.subscribe(subscribe, out),
            ClientPacket::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, out),
            ClientPacket::PingReq => self.pingreq(out),
            ClientPacket::Disconnect(disconnect) => self.client_disconnect(disconnect, out),
            ClientPacket::Auth(auth) => self.auth(auth, out),
        }
    }

    /// CONNECT, in the version of its own level.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`]: in version 3 a password without a user name has no form.
    pub fn connect(&self, connect: &Connect<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let encoder = Self { version: connect.level.version(), ..*self };
        if encoder.version == Version::V3 && connect.password.is_some() && connect.user_name.is_none() {
            return Err(Unsent::NoForm);
        }
        let (name, level) = match connect.level {
            Level::V31 => (&b"MQIsdp"[..], 3),
            Level::V311 => (&b"MQTT"[..], 4),
            Level::V5 => (&b"MQTT"[..], 5),
        };
        let user_name = connect.user_name.map(str::as_bytes);
        let will_bytes = connect.will.as_ref().map_or(Ok(0), |will| encoder.will_bytes(will))?;
        let own_bytes = field_bytes(name)?
            + 4
            + field_bytes(connect.client_id.as_bytes())?
            + will_bytes
            + user_name.map_or(Ok(0), field_bytes)?
            + connect.password.map_or(Ok(0), field_bytes)?;
        let fitted = encoder.fit(connect.properties, Shed::Never, |properties_bytes| {
            own_bytes + encoder.properties_bytes(properties_bytes)
        })?;
        fitted.put_header(0x10, out);
        put_field(name, out);
        out.put_u8(level | u8::from(connect.is_bridge) << 7);
        out.put_u8(connect_flags(connect));
        out.put_u16(connect.keep_alive_seconds);
        fitted.put(encoder.version, out);
        put_field(connect.client_id.as_bytes(), out);
        if let Some(will) = &connect.will {
            encoder.put_will(will, out);
        }
        for field in [user_name, connect.password].into_iter().flatten() {
            put_field(field, out);
        }
        Ok(())
    }

    fn will_bytes(&self, will: &Will<'_>) -> Result<usize, Unsent> {
        let properties_bytes = self.properties_bytes(will.properties.as_bytes().len());
        Ok(properties_bytes + field_bytes(will.topic.as_bytes())? + field_bytes(will.payload)?)
    }

    fn put_will(&self, will: &Will<'_>, out: &mut impl BufMut) {
        if self.version == Version::V5 {
            super::put_varint(will.properties.as_bytes().len(), out);
            out.put_slice(will.properties.as_bytes());
        }
        put_field(will.topic.as_bytes(), out);
        put_field(will.payload, out);
    }

    /// SUBSCRIBE. In version 3 only the QoS of the options is sent.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn subscribe(&self, subscribe: &Subscribe<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let mut own_bytes = 2;
        for (filter, _) in subscribe.subscriptions.iter() {
            own_bytes += field_bytes(filter.as_bytes())? + 1;
        }
        let fitted = self.fit(subscribe.properties, Shed::Never, |properties_bytes| {
            own_bytes + self.properties_bytes(properties_bytes)
        })?;
        fitted.put_header(0x82, out);
        out.put_u16(subscribe.packet_id.value());
        fitted.put(self.version, out);
        for (filter, options) in subscribe.subscriptions.iter() {
            put_field(filter.as_bytes(), out);
            out.put_u8(options.byte(self.version));
        }
        Ok(())
    }

    /// UNSUBSCRIBE.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn unsubscribe(&self, unsubscribe: &Unsubscribe<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let mut own_bytes = 2;
        for filter in unsubscribe.filters.iter() {
            own_bytes += field_bytes(filter.as_bytes())?;
        }
        let fitted = self.fit(unsubscribe.properties, Shed::Never, |properties_bytes| {
            own_bytes + self.properties_bytes(properties_bytes)
        })?;
        fitted.put_header(0xa2, out);
        out.put_u16(unsubscribe.packet_id.value());
        fitted.put(self.version, out);
        for filter in unsubscribe.filters.iter() {
            put_field(filter.as_bytes(), out);
        }
        Ok(())
    }

    /// PINGREQ.
    ///
    /// # Errors
    /// Nothing is appended: the receiver takes less than two bytes.
    pub fn pingreq(&self, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.empty(0xc0, out)
    }

    /// DISCONNECT of a client. In version 3 it is a normal one, whatever the reason.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn client_disconnect(
        &self,
        disconnect: &Disconnect<'_>,
        out: &mut impl BufMut,
    ) -> Result<(), Unsent> {
        match self.version {
            Version::V3 => self.empty(0xe0, out),
            Version::V5 => self.disconnect_v5(disconnect.reason, disconnect.properties, out),
        }
    }
}

fn connect_flags(connect: &Connect<'_>) -> u8 {
    let will =
        connect.will.as_ref().map_or(0, |will| 0x04 | will.qos.bits() << 3 | u8::from(will.retain) << 5);
    u8::from(connect.clean_start) << 1
        | will
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.user_name.is_some()) << 7
}
