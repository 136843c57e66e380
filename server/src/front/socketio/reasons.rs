//! Why a session ended, in the words of Socket.IO, and how the transport under it is told.
//!
//! Owns both mappings, complete by construction: no match has a wildcard arm. Must not know how anything is closed.

use hub::Reason;

/// The reason string that `disconnect` handlers of the reference server get; the back end is given the same words.
pub(super) fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientLeft => "client namespace disconnect",
        Reason::ConnectionClosed => "transport close",
        Reason::ConnectionFailed => "transport error",
        Reason::Silent => "ping timeout",
        Reason::Malformed => "parse error",
        Reason::Misbehaved => "forced close",
        Reason::Kicked => "server namespace disconnect",
        Reason::Disconnected => "forced server close",
        Reason::SlowConsumer => "slow consumer",
        Reason::OverLimit => "over limit",
        Reason::Refused => "refused",
        Reason::NeverAdmitted => "connect timeout",
        Reason::TakenOver => "taken over",
        Reason::Expired => "recovery expired",
        Reason::CredentialsExpired => "credentials expired",
        Reason::Revoked => "token revoked",
        Reason::Draining => "server shutting down",
        Reason::Superseded => "newer session",
        Reason::UserFull => "too many sessions",
    }
}

/// What an ended session means for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The client knows already, or was told by another packet.
    Nothing,
    /// DISCONNECT on this namespace, or CONNECT_ERROR with these words if it is not joined yet; the connection and its other
    /// namespaces stay.
    Goodbye(&'static str),
    /// The transport closes, so that the client comes back by itself.
    CloseTransport,
}

/// How a client is told that the hub ended its session.
pub(super) fn farewell(reason: Reason) -> Farewell {
    match reason {
        Reason::ClientLeft | Reason::Refused => Farewell::Nothing,
        Reason::Kicked => Farewell::Goodbye("disconnected by the server"),
        Reason::Revoked => Farewell::Goodbye("the token is revoked"),
        Reason::Superseded => Farewell::Goodbye("The user has a newer session"),
        Reason::UserFull => Farewell::Goodbye("Too many sessions"),
        Reason::ConnectionClosed
        | Reason::ConnectionFailed
        | Reason::Silent
        | Reason::Malformed
        | Reason::Misbehaved
        | Reason::Disconnected
        | Reason::SlowConsumer
        | Reason::OverLimit
        | Reason::NeverAdmitted
        | Reason::TakenOver
        | Reason::Expired
        | Reason::CredentialsExpired
        | Reason::Draining => Farewell::CloseTransport,
    }
}

/// Whether the client of a connection that we close is to come back by itself, or was closed for what it did (or
/// has come back already, on another connection).
pub(super) fn may_come_back(reason: Reason) -> bool {
    match reason {
        Reason::Silent
        | Reason::Disconnected
        | Reason::SlowConsumer
        | Reason::OverLimit
        | Reason::NeverAdmitted
        | Reason::Expired
        | Reason::CredentialsExpired
        | Reason::Draining => true,
        Reason::ClientLeft
        | Reason::ConnectionClosed
        | Reason::ConnectionFailed
        | Reason::Malformed
        | Reason::Misbehaved
        | Reason::Kicked
        | Reason::Refused
        | Reason::Revoked
        | Reason::Superseded
        | Reason::UserFull
        | Reason::TakenOver => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strings_are_those_of_the_reference() {
        let pairs = [
            (Reason::ConnectionFailed, "transport error"),
            (Reason::ConnectionClosed, "transport close"),
            (Reason::Misbehaved, "forced close"),
            (Reason::Silent, "ping timeout"),
            (Reason::Malformed, "parse error"),
            (Reason::Draining, "server shutting down"),
            (Reason::Disconnected, "forced server close"),
            (Reason::ClientLeft, "client namespace disconnect"),
            (Reason::Kicked, "server namespace disconnect"),
        ];
        for (reason, words) in pairs {
            assert_eq!(text(reason), words);
        }
    }

    #[test]
    fn who_is_not_to_come_back_is_told_goodbye() {
        for reason in [Reason::Kicked, Reason::Revoked, Reason::Superseded, Reason::UserFull] {
            assert!(matches!(farewell(reason), Farewell::Goodbye(_)));
        }
        assert_eq!(farewell(Reason::ClientLeft), Farewell::Nothing);
        assert_eq!(farewell(Reason::Disconnected), Farewell::CloseTransport);
    }
}
