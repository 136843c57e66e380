//! Every way a session, or its attachment to a connection, can end. One variant each; the front maps them to its
//! protocol's strings and codes by a match without a wildcard arm.

/// Why a session ended or was detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client said goodbye to this session.
    ClientLeft,
    /// The connection was closed by its peer without a goodbye.
    ConnectionClosed,
    /// The connection failed: reset, aborted, heartbeat of the wrong kind, too large a frame.
    ConnectionFailed,
    /// No sign of life in time.
    Silent,
    /// Bytes that mean nothing in the protocol.
    Malformed,
    /// Well-formed, but against the protocol's rules; or the server closed the connection on purpose.
    Misbehaved,
    /// The back end ended this session.
    Kicked,
    /// The back end closed the connection under the session; the client may come back.
    Disconnected,
    /// The outbox or write buffer was full.
    SlowConsumer,
    /// A limit other than the outbox was exceeded.
    OverLimit,
    /// The back end refused the session.
    Refused,
    /// The session was never admitted in time.
    NeverAdmitted,
    /// Another connection took the session over.
    TakenOver,
    /// Detached for longer than the recovery window.
    Expired,
    /// Credentials ran out.
    CredentialsExpired,
    /// What let the client in holds no more.
    Revoked,
    /// The server is shutting down.
    Draining,
    /// The user has a newer session, and may have only so many.
    Superseded,
    /// The user has as many sessions as it may; the client was told nothing yet.
    UserFull,
}

impl Reason {
    /// Whether a session that ended so may be resumed within its recovery window.
    ///
    /// All but protocol bytes that make no sense and the deliberate ends of the session itself
    /// (notes of the reference implementation's recoverable reasons).
    #[must_use]
    pub fn recoverable(self) -> bool {
        match self {
            Self::ConnectionClosed
            | Self::ConnectionFailed
            | Self::Silent
            | Self::Misbehaved
            | Self::Disconnected
            | Self::SlowConsumer
            | Self::OverLimit
            | Self::TakenOver
            | Self::CredentialsExpired
            | Self::Draining => true,
            Self::ClientLeft
            | Self::Malformed
            | Self::Kicked
            | Self::Refused
            | Self::NeverAdmitted
            | Self::Expired
            | Self::Revoked
            | Self::Superseded
            | Self::UserFull => false,
        }
    }
}
