//! Encoding whole packets, and the one place that keeps to what the receiver can take.
//!
//! Owns which properties are left out for whom. Must not know who sends a packet and why. Start at [`Encoder`]; its
//! packets are in `server` and `client`. A PUBLISH for many receivers is a [`super::PublishParts`].

mod client;
mod server;

pub use server::ConnAckProperties;

use bytes::BufMut;

use super::frame::{VARINT_MAX, varint_bytes};
use super::{Ack, Auth, Connect, Properties, Property, Publish, Qos, ReasonCode, Version};

/// How to encode for one receiver; 8 bytes, to be kept with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    packet_bytes_max: u32,
    version: Version,
    problem_information: ProblemInformation,
}

/// Whether the receiver wants reason strings and user properties in every packet (MQTT 5.0, 3.1.2.11.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemInformation {
    /// Request Problem Information is 1 or absent.
    Everywhere,
    /// It is 0: only in CONNACK, DISCONNECT and PUBLISH [MQTT-3.1.2-29].
    WhereItMatters,
}

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The packet is larger than the receiver takes, even without what may be left out. A message counts as sent
    /// [MQTT-3.1.2-25]; after a CONNACK that does not fit the connection is closed.
    TooLarge,
    /// The version has no packet or code for it: in version 3 there is no AUTH, no DISCONNECT of a server, no CONNACK
    /// without a return code. Close instead.
    NoForm,
}

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "packet is larger than the receiver takes",
            Self::NoForm => "version has no form for the packet",
        })
    }
}

impl std::error::Error for Unsent {}

/// Which properties a receiver gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Keep {
    All,
    NoUserProperties,
    /// No reason string either.
    Needed,
}

impl Keep {
    const fn keeps(self, property: Property) -> bool {
        match (self, property) {
            (Self::NoUserProperties | Self::Needed, Property::UserProperty)
            | (Self::Needed, Property::ReasonString) => false,
            (Self::All | Self::NoUserProperties | Self::Needed, _) => true,
        }
    }
}

/// What may become of reason string and user properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shed {
    /// They are part of what is said.
    Never,
    /// Left out where they do not fit [MQTT-3.2.2-19, -20, 3.14.2-3, -4].
    ToFit,
    /// Also where they were not asked for.
    Unrequested,
}

/// Properties that fit, and the size of the packet they make.
struct Fitted<'a> {
    properties: Properties<'a>,
    keep: Keep,
    properties_bytes: usize,
    body_bytes: usize,
}

impl Fitted<'_> {
    fn put_header(&self, first: u8, out: &mut impl BufMut) {
        out.put_u8(first);
        put_varint(self.body_bytes, out);
    }

    /// Length and properties.
    fn put(&self, version: Version, out: &mut impl BufMut) {
        if version == Version::V3 {
            return;
        }
        put_varint(self.properties_bytes, out);
        if self.keep == Keep::All {
            out.put_slice(self.properties.as_bytes());
            return;
        }
        for (_, entry) in self.properties.entries().filter(|(property, _)| self.keep.keeps(*property)) {
            out.put_slice(entry);
        }
    }
}

impl Encoder {
    /// For a receiver that takes packets of any size.
    pub const fn new(version: Version) -> Self {
        Self { packet_bytes_max: u32::MAX, version, problem_information: ProblemInformation::Everywhere }
    }

    /// For the client that sent this CONNECT.
    pub fn for_client(connect: &Connect<'_>) -> Self {
        let problem_information = match connect.properties.request_problem_information() {
            Some(false) => ProblemInformation::WhereItMatters,
            Some(true) | None => ProblemInformation::Everywhere,
        };
        Self {
            packet_bytes_max: connect.properties.maximum_packet_size_bytes().unwrap_or(u32::MAX),
            version: connect.level.version(),
            problem_information,
        }
    }

    /// With the largest packet the receiver takes.
    #[must_use]
    pub const fn with_packet_bytes_max(self, packet_bytes_max: u32) -> Self {
        Self { packet_bytes_max, ..self }
    }

    /// With what the receiver wants to be told.
    #[must_use]
    pub const fn with_problem_information(self, problem_information: ProblemInformation) -> Self {
        Self { problem_information, ..self }
    }

    /// The encoding.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The largest packet the receiver takes.
    pub const fn packet_bytes_max(&self) -> u32 {
        self.packet_bytes_max
    }

    /// PUBACK. In version 3 there is none that refuses: the message counts as taken.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn puback(&self, ack: &Ack<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.ack(0x40, ack, out)
    }

    /// PUBREC, as PUBACK.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn pubrec(&self, ack: &Ack<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.ack(0x50, ack, out)
    }

    /// PUBREL.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn pubrel(&self, ack: &Ack<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.ack(0x62, ack, out)
    }

    /// PUBCOMP.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn pubcomp(&self, ack: &Ack<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        self.ack(0x70, ack, out)
    }

    /// The shortest form: without code if that is a success, without a property length if there is nothing to count.
    fn ack(&self, first: u8, ack: &Ack<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let fitted = self.fit(ack.properties, Shed::Unrequested, |properties_bytes| {
            2 + self.reason_bytes(ack.reason, properties_bytes)
        })?;
        fitted.put_header(first, out);
        out.put_u16(ack.packet_id.value());
        self.put_reason(ack.reason, &fitted, out);
        Ok(())
    }

    /// AUTH; version 5 only.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn auth(&self, auth: &Auth<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        if self.version == Version::V3 {
            return Err(Unsent::NoForm);
        }
        let fitted = self.fit(auth.properties, Shed::Unrequested, |properties_bytes| {
            self.reason_bytes(auth.reason, properties_bytes)
        })?;
        fitted.put_header(0xf0, out);
        self.put_reason(auth.reason, &fitted, out);
        Ok(())
    }

    /// PUBLISH to one receiver. At QoS 1 and 2 there must be a packet id.
    ///
    /// # Errors
    /// Nothing is appended, see [`Unsent`].
    pub fn publish(&self, publish: &Publish<'_>, out: &mut impl BufMut) -> Result<(), Unsent> {
        let packet_id = match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce | Qos::ExactlyOnce => Some(publish.packet_id.ok_or(Unsent::NoForm)?),
        };
        let own_bytes =
            field_bytes(publish.topic.as_bytes())? + packet_id.map_or(0, |_| 2) + publish.payload.len();
        let fitted = self.fit(publish.properties, Shed::Never, |properties_bytes| {
            own_bytes + self.properties_bytes(properties_bytes)
        })?;
        let dup = publish.dup && packet_id.is_some();
        let flags = u8::from(dup) << 3 | publish.qos.bits() << 1 | u8::from(publish.retain);
        fitted.put_header(0x30 | flags, out);
        put_field(publish.topic.as_bytes(), out);
        if let Some(packet_id) = packet_id {
            out.put_u16(packet_id.value());
        }
        fitted.put(self.version, out);
        out.put_slice(publish.payload);
        Ok(())
    }

    /// DISCONNECT of version 5.
    fn disconnect_v5(
        &self,
        reason: ReasonCode,
        properties: Properties<'_>,
        out: &mut impl BufMut,
    ) -> Result<(), Unsent> {
        let fitted = self
            .fit(properties, Shed::ToFit, |properties_bytes| self.reason_bytes(reason, properties_bytes))?;
        fitted.put_header(0xe0, out);
        self.put_reason(reason, &fitted, out);
        Ok(())
    }

    /// Leaves out as little as makes the packet fit. `body_bytes` tells how long the body is with so many bytes of
    /// properties.
    fn fit<'p>(
        &self,
        properties: Properties<'p>,
        shed: Shed,
        body_bytes: impl Fn(usize) -> usize,
    ) -> Result<Fitted<'p>, Unsent> {
        let properties = match self.version {
            Version::V3 => Properties::NONE,
            Version::V5 => properties,
        };
        let unrequested =
            shed == Shed::Unrequested && self.problem_information == ProblemInformation::WhereItMatters;
        let choices = match shed {
            Shed::Never => &[Keep::All][..],
            Shed::ToFit | Shed::Unrequested if unrequested => &[Keep::Needed],
            Shed::ToFit | Shed::Unrequested => &[Keep::All, Keep::NoUserProperties, Keep::Needed],
        };
        for &keep in choices {
            let properties_bytes = kept_bytes(properties, keep);
            let body_bytes = body_bytes(properties_bytes);
            if fits(body_bytes, self.packet_bytes_max) {
                return Ok(Fitted { properties, keep, properties_bytes, body_bytes });
            }
        }
        Err(Unsent::TooLarge)
    }

    /// Bytes of properties with their length.
    const fn properties_bytes(&self, properties_bytes: usize) -> usize {
        match self.version {
            Version::V3 => 0,
            Version::V5 => varint_bytes(properties_bytes) + properties_bytes,
        }
    }

    /// Bytes of code and properties where both may be left out.
    fn reason_bytes(&self, reason: ReasonCode, properties_bytes: usize) -> usize {
        match (self.version, properties_bytes) {
            (Version::V3, _) => 0,
            (Version::V5, 0) => usize::from(reason != ReasonCode::Success),
            (Version::V5, properties_bytes) => 1 + self.properties_bytes(properties_bytes),
        }
    }

    fn put_reason(&self, reason: ReasonCode, fitted: &Fitted<'_>, out: &mut impl BufMut) {
        if self.reason_bytes(reason, fitted.properties_bytes) > 0 {
            out.put_u8(reason.byte());
        }
        if fitted.properties_bytes > 0 {
            fitted.put(self.version, out);
        }
    }
}

fn kept_bytes(properties: Properties<'_>, keep: Keep) -> usize {
    match keep {
        Keep::All => properties.as_bytes().len(),
        Keep::NoUserProperties | Keep::Needed => {
            let kept = properties.entries().filter(|(property, _)| keep.keeps(*property));
            kept.map(|(_, entry)| entry.len()).sum()
        }
    }
}

/// Whether a packet with a body of this size may be sent.
pub(super) const fn fits(body_bytes: usize, packet_bytes_max: u32) -> bool {
    body_bytes <= VARINT_MAX as usize
        && 1 + varint_bytes(body_bytes) + body_bytes <= packet_bytes_max as usize
}

/// Appends a variable byte integer of at most [`VARINT_MAX`].
pub(super) fn put_varint(value: usize, out: &mut impl BufMut) {
    let mut rest = value;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Bytes of a string or of binary data with their length.
pub(super) fn field_bytes(bytes: &[u8]) -> Result<usize, Unsent> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(Unsent::TooLarge);
    }
    Ok(2 + bytes.len())
}

/// Appends a string or binary data that [`field_bytes`] has measured.
pub(super) fn put_field(bytes: &[u8], out: &mut impl BufMut) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}
