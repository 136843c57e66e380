//! Reason codes: one table of value, name, who may carry it, and what it becomes in version 3.
//!
//! Owns the codes of MQTT 5.0 (2.4 and the tables of each packet). Must not know when the server sends which.
//! Start at [`ReasonCode`].

/// The packets that carry reason codes, as one bit each; PUBREC takes the codes of PUBACK, PUBCOMP those of PUBREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier(u16);

impl Carrier {
    /// CONNACK (MQTT 5.0, 3.2.2.2).
    pub const CONNACK: Self = Self(1);
    /// PUBACK and PUBREC (3.4.2.1, 3.5.2.1).
    pub const PUBACK: Self = Self(1 << 1);
    /// PUBREL and PUBCOMP (3.6.2.1, 3.7.2.1).
    pub const PUBREL: Self = Self(1 << 2);
    /// SUBACK (3.9.3).
    pub const SUBACK: Self = Self(1 << 3);
    /// UNSUBACK (3.11.3).
    pub const UNSUBACK: Self = Self(1 << 4);
    /// DISCONNECT from a client (3.14.2.1).
    pub const CLIENT_DISCONNECT: Self = Self(1 << 5);
    /// DISCONNECT from a server (3.14.2.1).
    pub const SERVER_DISCONNECT: Self = Self(1 << 6);
    /// AUTH from a client (3.15.2.1).
    pub const CLIENT_AUTH: Self = Self(1 << 7);
    /// AUTH from a server (3.15.2.1).
    pub const SERVER_AUTH: Self = Self(1 << 8);

    const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn all(carriers: &[Self]) -> Self {
        let mut bits = 0;
        let mut rest = carriers;
        while let [first, others @ ..] = rest {
            bits |= first.0;
            rest = others;
        }
        Self(bits)
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $value:literal $variant:ident $name:literal [$($carrier:ident)*] $v3:expr;)*) => {
        /// What came of a request, or why a connection ends. Below 0x80 nothing failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $variant = $value,)*
        }

        impl ReasonCode {
            /// Every code, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code of this value, whoever may carry it.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in the specification.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn carriers(self) -> Carrier {
                match self {
                    $(Self::$variant => Carrier::all(&[$(Carrier::$carrier),*]),)*
                }
            }

            /// The return code of a version 3 CONNACK that says the same (MQTT 3.1.1, 3.2.2.3); `None`: close without
            /// CONNACK.
            pub const fn v3_return_code(self) -> Option<u8> {
                match self {
                    $(Self::$variant => $v3,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Done; also a normal disconnection, and granted QoS 0.
    0x00 Success "Success"
        [CONNACK PUBACK PUBREL SUBACK UNSUBACK CLIENT_DISCONNECT SERVER_DISCONNECT SERVER_AUTH] Some(0);
    /// Subscribed, QoS 1 at most.
    0x01 GrantedQos1 "Granted QoS 1" [SUBACK] None;
    /// Subscribed, QoS 2 at most.
    0x02 GrantedQos2 "Granted QoS 2" [SUBACK] None;
    /// The client leaves and wants its will published.
    0x04 DisconnectWithWill "Disconnect with Will Message" [CLIENT_DISCONNECT] None;
    /// Accepted, and nobody is subscribed.
    0x10 NoMatchingSubscribers "No matching subscribers" [PUBACK] None;
    /// There was nothing to unsubscribe from.
    0x11 NoSubscriptionExisted "No subscription existed" [UNSUBACK] None;
    /// The next step of an authentication.
    0x18 ContinueAuthentication "Continue authentication" [CLIENT_AUTH SERVER_AUTH] None;
    /// The client starts to authenticate again.
    0x19 Reauthenticate "Re-authenticate" [CLIENT_AUTH] None;
    /// The cause is not to be told.
    0x80 UnspecifiedError "Unspecified error"
        [CONNACK PUBACK SUBACK UNSUBACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The bytes are no packet.
    0x81 MalformedPacket "Malformed Packet" [CONNACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The packet is out of place or its values are.
    0x82 ProtocolError "Protocol Error" [CONNACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// Valid, but the receiver does not take it, or failed.
    0x83 ImplementationSpecificError "Implementation specific error"
        [CONNACK PUBACK SUBACK UNSUBACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The protocol level is unknown here.
    0x84 UnsupportedProtocolVersion "Unsupported Protocol Version" [CONNACK] Some(1);
    /// The client identifier is not allowed.
    0x85 ClientIdentifierNotValid "Client Identifier not valid" [CONNACK] Some(2);
    /// User name or password is wrong.
    0x86 BadUserNameOrPassword "Bad User Name or Password" [CONNACK] Some(4);
    /// The client may not do this.
    0x87 NotAuthorized "Not authorized" [CONNACK PUBACK SUBACK UNSUBACK SERVER_DISCONNECT] Some(5);
    /// What the server needs to answer is not available.
    0x88 ServerUnavailable "Server unavailable" [CONNACK] Some(3);
    /// Try again later.
    0x89 ServerBusy "Server busy" [CONNACK SERVER_DISCONNECT] Some(3);
    /// Banned by an administrator.
    0x8A Banned "Banned" [CONNACK] Some(5);
    /// The server stops.
    0x8B ServerShuttingDown "Server shutting down" [SERVER_DISCONNECT] None;
    /// The authentication method is unknown or another one.
    0x8C BadAuthenticationMethod "Bad authentication method" [CONNACK] None;
    /// Nothing came for 1.5 times the keep alive.
    0x8D KeepAliveTimeout "Keep Alive timeout" [SERVER_DISCONNECT] None;
    /// Another connection took the session.
    0x8E SessionTakenOver "Session taken over" [SERVER_DISCONNECT] None;
    /// The filter is well-formed but not accepted here.
    0x8F TopicFilterInvalid "Topic Filter invalid" [SUBACK UNSUBACK SERVER_DISCONNECT] None;
    /// The topic is well-formed but not accepted here.
    0x90 TopicNameInvalid "Topic Name invalid" [CONNACK PUBACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The packet identifier is in use.
    0x91 PacketIdentifierInUse "Packet Identifier in use" [PUBACK SUBACK UNSUBACK] None;
    /// The packet identifier is not in use.
    0x92 PacketIdentifierNotFound "Packet Identifier not found" [PUBREL] None;
    /// More than Receive Maximum messages are unacknowledged.
    0x93 ReceiveMaximumExceeded "Receive Maximum exceeded" [CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The topic alias is 0 or over the maximum.
    0x94 TopicAliasInvalid "Topic Alias invalid" [CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The packet is larger than the receiver takes.
    0x95 PacketTooLarge "Packet too large" [CONNACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// Too much for too long.
    0x96 MessageRateTooHigh "Message rate too high" [CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// A limit of the implementation or of an administrator is reached.
    0x97 QuotaExceeded "Quota exceeded" [CONNACK PUBACK SUBACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// An administrator ended the connection.
    0x98 AdministrativeAction "Administrative action" [CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// The payload is not what its format indicator says.
    0x99 PayloadFormatInvalid "Payload format invalid" [CONNACK PUBACK CLIENT_DISCONNECT SERVER_DISCONNECT] None;
    /// Retained messages are switched off.
    0x9A RetainNotSupported "Retain not supported" [CONNACK SERVER_DISCONNECT] None;
    /// The QoS is over the maximum.
    0x9B QosNotSupported "QoS not supported" [CONNACK SERVER_DISCONNECT] None;
    /// Use another server for now.
    0x9C UseAnotherServer "Use another server" [CONNACK SERVER_DISCONNECT] Some(3);
    /// Use another server from now on.
    0x9D ServerMoved "Server moved" [CONNACK SERVER_DISCONNECT] Some(3);
    /// Shared subscriptions are switched off.
    0x9E SharedSubscriptionsNotSupported "Shared Subscriptions not supported" [SUBACK SERVER_DISCONNECT] None;
    /// Too many connects in too little time.
    0x9F ConnectionRateExceeded "Connection rate exceeded" [CONNACK SERVER_DISCONNECT] Some(3);
    /// The connection has lasted as long as is allowed.
    0xA0 MaximumConnectTime "Maximum connect time" [SERVER_DISCONNECT] None;
    /// Subscription identifiers are switched off.
    0xA1 SubscriptionIdentifiersNotSupported "Subscription Identifiers not supported"
        [SUBACK SERVER_DISCONNECT] None;
    /// Filters with wildcards are switched off.
    0xA2 WildcardSubscriptionsNotSupported "Wildcard Subscriptions not supported"
        [SUBACK SERVER_DISCONNECT] None;
}

impl ReasonCode {
    /// Its value on the wire of version 5.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether something failed.
    pub const fn is_failure(self) -> bool {
        self.byte() >= 0x80
    }

    /// Whether this packet may carry the code.
    pub const fn may_stand_in(self, carrier: Carrier) -> bool {
        self.carriers().includes(carrier)
    }

    /// The code of a version 3 CONNACK in the words of version 5; `None`: no such return code.
    pub const fn from_v3_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// The code of a version 3 SUBACK: the granted QoS, or 0x80 whatever failed (MQTT 3.1.1, 3.9.3).
    pub const fn v3_suback_code(self) -> u8 {
        if self.is_failure() { Self::UnspecifiedError.byte() } else { self.byte() }
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
