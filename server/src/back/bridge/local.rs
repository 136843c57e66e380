//! The half of a bridge on this server: a session like that of any MQTT client, whose connection stays in the process.
//!
//! Owns how such a connection is made, and that the session has the subscriptions of the rules before the broker is there: so
//! what is published meanwhile waits in it. Must not know the broker. Start at [`prepare`].

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hub::{Command, Members, Query, Report, claim_home};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use wire::mqtt::{
    Disconnect, Encoder, Filters, PacketId, Properties, Qos, ReasonCode, RetainHandling, Subscribe,
    SubscribeOptions, Subscriptions, Unsubscribe, Version,
};

use super::failure::Failure;
use super::handshake::{Hello, answers, greet};
use super::relay::options;
use super::topics::{Side, filter, from};
use crate::back::office::{Office, OfficeError};
use crate::config::Bridge;
use crate::front::OWN_NAMES;
use crate::mail::Mail;

/// How long this server may take; its store has to write first.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The client id of a bridge here.
pub(crate) fn name(config: &Bridge) -> String {
    format!("{OWN_NAMES}{}", config.name.as_str())
}

/// CONNECT on this server.
pub(super) fn hello<'a>(config: &Bridge, client_id: &'a str) -> Hello<'a> {
    Hello {
        version: Version::V5,
        is_bridge: false,
        clean_start: false,
        // Nobody can be silent in the same process.
        keep_alive_seconds: 0,
        client_id,
        user: None,
        password: None,
        session_expiry_seconds: config.session_expiry_seconds,
        receive_maximum: config.receive_maximum,
        packet_bytes_max: u32::MAX,
    }
}

/// A connection to the shard that is the home of this client.
///
/// # Errors
/// [`Failure::NoHome`]: the server ends, or does not get round to it.
pub(super) async fn open(office: &Office, client_id: &str) -> Result<UnixStream, Failure> {
    let lost = |error| Failure::Socket(Side::Local, error);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(lost)?;
    ours.set_nonblocking(true).map_err(lost)?;
    let home = claim_home(client_id, &office.topology());
    // A shard reads, writes and polls; what kind of socket it is makes no difference to it.
    let theirs = TcpStream::from(OwnedFd::from(theirs));
    office.tell(home, Mail::Own(theirs)).await.map_err(Failure::NoHome)?;
    UnixStream::from_std(ours).map_err(lost)
}

/// Makes the session, or finds it, and gives it the subscriptions of the rules and no others; gives the filters that are new to it.
///
/// # Errors
/// This server does not do it.
pub(super) async fn prepare(office: &Office, config: &Bridge) -> Result<Vec<String>, Failure> {
    let late = |_| Failure::Late(Side::Local);
    tokio::time::timeout(PATIENCE, make(office, config)).await.map_err(late)?
}

async fn make(office: &Office, config: &Bridge) -> Result<Vec<String>, Failure> {
    let name = name(config);
    let mut stream = open(office, &name).await?;
    let (_, rest) = greet(&mut stream, Side::Local, &hello(config, &name)).await?;
    let old = known(office, &name).await?.subscriptions;
    let rules: Vec<(&str, SubscribeOptions)> = from(&config.rules, Side::Local)
        .map(|rule| {
            // Values that are retained come once there is somebody to pass them on to.
            let retain_handling = RetainHandling::DoNotSend;
            let options = SubscribeOptions { retain_handling, ..options(config, rule, Qos::ExactlyOnce) };
            (filter(rule, Side::Local), options)
        })
        .collect();
    let stale: Vec<&str> =
        old.iter().map(String::as_str).filter(|old| rules.iter().all(|(filter, _)| filter != old)).collect();
    let encoder = Encoder::new(Version::V5);
    let (first, second) = (PacketId::FIRST, PacketId::FIRST.next());
    let (mut out, mut open) = (Vec::new(), Vec::new());
    if !rules.is_empty() {
        let subscriptions = Subscriptions::new(&rules);
        let subscribe = Subscribe { packet_id: first, properties: Properties::NONE, subscriptions };
        encoder.subscribe(&subscribe, &mut out).map_err(|_| Failure::TooLong("SUBSCRIBE"))?;
        open.push(first);
    }
    if !stale.is_empty() {
        let filters = Filters::new(&stale);
        let unsubscribe = Unsubscribe { packet_id: second, properties: Properties::NONE, filters };
        encoder.unsubscribe(&unsubscribe, &mut out).map_err(|_| Failure::TooLong("UNSUBSCRIBE"))?;
        open.push(second);
    }
    let lost = |error| Failure::Socket(Side::Local, error);
    stream.write_all(&out).await.map_err(lost)?;
    answers(&mut stream, (Side::Local, Version::V5), rest, open).await?;
    out.clear();
    let goodbye = encoder.client_disconnect(&Disconnect::new(ReasonCode::Success), &mut out);
    goodbye.map_err(|_| Failure::TooLong("DISCONNECT"))?;
    stream.write_all(&out).await.map_err(lost)?;
    // The session is free once the connection has gone; a late end does no harm.
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(GOODBYE, stream.read_to_end(&mut heard)).await;
    let filters = rules.iter().map(|(filter, _)| (*filter).to_owned());
    Ok(filters.filter(|filter| !old.contains(filter)).collect())
}

/// What the hub knows of the session of a bridge that it has let in.
///
/// # Errors
/// It does not say, which is not to say that there is nothing.
pub(super) async fn known(office: &Office, name: &str) -> Result<hub::SessionView, Failure> {
    let session = session(office, name).await.map_err(|error| Failure::Unsaid("the session", error))?;
    session.ok_or(Failure::NoSession)
}

/// What the hub knows of the session of a client, if there is one.
///
/// # Errors
/// As [`Office::ask`].
pub(super) async fn session(office: &Office, name: &str) -> Result<Option<hub::SessionView>, OfficeError> {
    let query = Query::Sessions { of: Some(Members::Name(name.into())), after: None, limit: 1 };
    let home = claim_home(name, &office.topology());
    match office.ask(home, |token| Command::Query { token, query }).await? {
        Report::Sessions(page) => Ok(page.items.into_iter().next()),
        _ => Err(OfficeError::Unanswered),
    }
}
