//! One getter per property.
//!
//! Owns their names and types. Must not know where a property may stand: what a packet cannot have is `None`. Start at
//! any of them.

use super::{Properties, Property, Value};
use crate::mqtt::Qos;

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident $read:ident -> $type:ty, $property:ident;)*) => {
        impl<'a> Properties<'a> {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> Option<$type> {
                    self.$read(Property::$property)
                }
            )*
        }
    };
}

getters! {
    /// Whether the payload is said to be UTF-8 text.
    is_payload_text flag -> bool, PayloadFormatIndicator;
    /// Seconds until the message expires.
    message_expiry_interval_seconds u32 -> u32, MessageExpiryInterval;
    /// What the payload is.
    content_type text -> &'a str, ContentType;
    /// Where an answer is expected.
    response_topic text -> &'a str, ResponseTopic;
    /// Which request an answer is for.
    correlation_data binary -> &'a [u8], CorrelationData;
    /// Seconds the session outlives the connection.
    session_expiry_interval_seconds u32 -> u32, SessionExpiryInterval;
    /// The id the server chose.
    assigned_client_identifier text -> &'a str, AssignedClientIdentifier;
    /// The keep alive the server wants.
    server_keep_alive_seconds u16 -> u16, ServerKeepAlive;
    /// How to authenticate.
    authentication_method text -> &'a str, AuthenticationMethod;
    /// A step of authentication.
    authentication_data binary -> &'a [u8], AuthenticationData;
    /// Whether reason strings and user properties are wanted everywhere; absent means yes.
    request_problem_information flag -> bool, RequestProblemInformation;
    /// Seconds to wait with the will.
    will_delay_interval_seconds u32 -> u32, WillDelayInterval;
    /// Whether the client asks for response information; absent means no.
    request_response_information flag -> bool, RequestResponseInformation;
    /// The beginning of response topics.
    response_information text -> &'a str, ResponseInformation;
    /// Another server.
    server_reference text -> &'a str, ServerReference;
    /// What happened.
    reason_string text -> &'a str, ReasonString;
    /// How many unacknowledged messages the sender takes; absent means 65,535.
    receive_maximum u16 -> u16, ReceiveMaximum;
    /// The highest alias the sender takes; absent means 0.
    topic_alias_maximum u16 -> u16, TopicAliasMaximum;
    /// The alias of this message.
    topic_alias u16 -> u16, TopicAlias;
    /// Whether retained messages are kept; absent means yes.
    retain_available flag -> bool, RetainAvailable;
    /// The largest packet the sender takes; absent means any.
    maximum_packet_size_bytes u32 -> u32, MaximumPacketSize;
    /// Whether filters may have wildcards; absent means yes.
    wildcard_subscription_available flag -> bool, WildcardSubscriptionAvailable;
    /// Whether subscriptions may have identifiers; absent means yes.
    subscription_identifier_available flag -> bool, SubscriptionIdentifierAvailable;
    /// Whether subscriptions may be shared; absent means yes.
    shared_subscription_available flag -> bool, SharedSubscriptionAvailable;
}

impl<'a> Properties<'a> {
    /// The highest QoS the server takes; absent means QoS 2.
    pub fn maximum_qos(&self) -> Option<Qos> {
        match self.find(Property::MaximumQos)? {
            Value::Byte(bits) => Qos::from_bits(bits),
            _ => None,
        }
    }

    /// The identifier of the subscription; the first one in a PUBLISH that has several.
    pub fn subscription_identifier(&self) -> Option<u32> {
        self.subscription_identifiers().next()
    }

    /// The identifiers of all subscriptions a message came by.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.entries().filter(|(property, _)| *property == Property::SubscriptionIdentifier).filter_map(
            |(property, entry)| match property.value_of(entry)? {
                Value::Varint(id) => Some(id),
                _ => None,
            },
        )
    }

    /// Names and values in the order of the sender, which is part of their meaning.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.entries().filter(|(property, _)| *property == Property::UserProperty).filter_map(
            |(property, entry)| match property.value_of(entry)? {
                Value::Pair(name, value) => Some((name, value)),
                _ => None,
            },
        )
    }

    /// The value of the first user property of this name.
    pub fn user_property(&self, name: &str) -> Option<&'a str> {
        self.user_properties().find(|pair| pair.0 == name).map(|pair| pair.1)
    }
}
