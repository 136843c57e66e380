//! What is switched off for clients, and the codes for those who use it all the same (MQTT 5.0, 3.2.2.3.4 to 3.2.2.3.13).
//!
//! Owns which switch is about what. Must not know how a client is told. Start at [`publish`] and [`subscribe`].

use wire::mqtt::{Publish, Qos, ReasonCode, parse_share};

use crate::config::Mqtt;

/// The highest QoS.
pub(super) fn qos_max(config: &Mqtt) -> Qos {
    match config.maximum_qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

/// Whether a message, or will, with its QoS and RETAIN is taken.
///
/// # Errors
/// The code for DISCONNECT, or for CONNACK.
pub(super) fn publish(config: &Mqtt, publish: &Publish<'_>) -> Result<(), ReasonCode> {
    if publish.qos > qos_max(config) {
        Err(ReasonCode::QosNotSupported)
    } else if publish.retain && !config.retain_available {
        Err(ReasonCode::RetainNotSupported)
    } else {
        Ok(())
    }
}

/// Whether a subscription of this kind is taken; `label` is its identifier, 0 for none.
///
/// # Errors
/// The code for DISCONNECT, or for SUBACK.
pub(super) fn subscribe(config: &Mqtt, filter: &str, label: u32) -> Result<(), ReasonCode> {
    let share = parse_share(filter);
    if share.is_some() && !config.shared_subscriptions {
        Err(ReasonCode::SharedSubscriptionsNotSupported)
    } else if filter.contains(['+', '#']) && !config.wildcard_subscriptions {
        Err(ReasonCode::WildcardSubscriptionsNotSupported)
    } else if label > 0 && !config.subscription_identifiers {
        Err(ReasonCode::SubscriptionIdentifiersNotSupported)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use wire::mqtt::Properties;

    #[test]
    fn each_switch_has_its_code() {
        let on = Config::loopback().mqtt;
        let off = Mqtt {
            maximum_qos: 1,
            retain_available: false,
            wildcard_subscriptions: false,
            shared_subscriptions: false,
            subscription_identifiers: false,
            ..on.clone()
        };
        let messages = [
            (Qos::AtLeastOnce, false, None),
            (Qos::ExactlyOnce, false, Some(ReasonCode::QosNotSupported)),
            (Qos::AtMostOnce, true, Some(ReasonCode::RetainNotSupported)),
        ];
        for (qos, retain, code) in messages {
            let message = Publish {
                dup: false,
                qos,
                retain,
                topic: "a",
                packet_id: None,
                properties: Properties::NONE,
                payload: b"",
            };
            assert_eq!(publish(&on, &message), Ok(()));
            assert_eq!(publish(&off, &message).err(), code, "{qos:?} {retain}");
        }
        let subscriptions = [
            ("a/b", 0, None),
            ("a/+", 0, Some(ReasonCode::WildcardSubscriptionsNotSupported)),
            ("#", 0, Some(ReasonCode::WildcardSubscriptionsNotSupported)),
            ("$share/g/a", 0, Some(ReasonCode::SharedSubscriptionsNotSupported)),
            ("a/b", 7, Some(ReasonCode::SubscriptionIdentifiersNotSupported)),
        ];
        for (filter, label, code) in subscriptions {
            assert_eq!(subscribe(&on, filter, label), Ok(()));
            assert_eq!(subscribe(&off, filter, label).err(), code, "{filter} {label}");
        }
    }
}
