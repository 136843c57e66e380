//! Runs a server from start to end: file limit, log, runtime, ready file, signals, drain.
//!
//! Must not know the arguments of commands, nor how the library starts (`service.rs`). Start at [`until_signal`].

use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use tokio::signal::unix::{self, SignalKind};
use trunkline::config::Config;

use super::service::{self, BackEnd, Service};
use super::{Failure, log};

/// The private address when nothing is configured, which the other commands assume.
pub(super) const PRIVATE_DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9000));

/// Threads of the runtime beside the shards, which have the cores to themselves most of the time.
const BACK_OFFICE_THREADS: usize = 2;

/// Where a running server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) private: SocketAddr,
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) mqtt_tls: Option<SocketAddr>,
    pub(super) sqs: Option<SocketAddr>,
}

/// Runs a server until it is told to stop. `ready` is called once connections are accepted.
pub(super) fn until_signal(
    (config, back_end): (Config, BackEnd),
    ready_file: Option<&Path>,
    ready: impl FnOnce(Addresses) -> Result<(), Failure>,
) -> Result<(), Failure> {
    log::start(&config.log);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACK_OFFICE_THREADS)
        .enable_all()
        .build()?;
    let ran = runtime.block_on(async {
        let mut signals = UnixSignals::listen()?;
        let key = config.private.keys.first().map(|key| String::from_utf8_lossy(key.expose()).into_owned());
        let service = service::start(config, back_end).await?;
        let addresses = Addresses {
            public: service.public_addr(),
            private: service.private_addr(),
            mqtt: service.mqtt_addr(),
            mqtt_tls: service.mqtt_tls_addr(),
            sqs: service.sqs_addr(),
        };
        let written = ready_file.map_or(Ok(()), |path| {
            let written = write_ready_file(path, addresses, key.as_deref());
            written.map_err(|error| format!("{}: cannot be written: {error}", path.display()).into())
        });
        if let Err(failure) = written.and_then(|()| ready(addresses)) {
            // It has taken sessions in, which it leaves to the next start.
            service.drain().await;
            return Err(failure);
        }
        supervise(service, &mut signals).await
    });
    // Does not wait for shards that drain, or hang, nor for a state file that is being written: that is not at its place yet.
    runtime.shutdown_background();
    ran
}

/// Takes as many files as the machine allows; `limits.connections_max` was derived from that number.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Where signals come from; tests have their own.
pub(super) trait Signals {
    /// The next signal. Losing the future loses no signal.
    fn next(&mut self) -> impl Future<Output = Signal>;
}

/// Waits for the signal to stop, then drains; a second one cuts that short. A server that cannot go on is left as it is.
pub(super) async fn supervise(mut service: impl Service, signals: &mut impl Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            // Whoever started it starts it again, and then it goes on from what is safe.
            failure = service.failed() => return Err(Failure(failure)),
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => reload(&service).await,
            },
        }
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        // The drain has begun before the next signal is looked at.
        biased;
        () = service.drain() => {}
        () = stop(signals) => tracing::warn!("stopped before all connections were closed in order"),
    }
    Ok(())
}

async fn reload(service: &impl Service) {
    match service.reload_tls().await {
        Ok(true) => tracing::info!("the files of TLS were read again"),
        Ok(false) => tracing::info!("no certificates to read again: TLS is not configured"),
        Err(error) => tracing::error!(error, "the files of TLS could not be read, the old ones stay"),
    }
    match service.reload_keys().await {
        Ok(Some(keys)) => tracing::info!(keys, "the keys of tokens were read again"),
        Ok(None) => tracing::info!("no keys to read again: auth.jwt.key_file is not configured"),
        Err(error) => tracing::error!(error, "the keys of tokens could not be read, the old ones stay"),
    }
}

async fn stop(signals: &mut impl Signals) {
    while signals.next().await != Signal::Stop {}
}

/// The signals of the process.
struct UnixSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl UnixSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }
}

impl Signals for UnixSignals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

/// Writes `{"public":"..","private":"..","mqtt":"..","mqtt_tls":"..","sqs":"..","key":".."}` so that a reader sees nothing or all of it.
/// An address that is not listened on is null. The key is the first of `private.keys` or null, so only the owner may read the
/// file.
pub(super) fn write_ready_file(path: &Path, addresses: Addresses, key: Option<&str>) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = serde_json::json!({
        "public": addresses.public.to_string(),
        "private": addresses.private.to_string(),
        "mqtt": addresses.mqtt.map(|address| address.to_string()),
        "mqtt_tls": addresses.mqtt_tls.map(|address| address.to_string()),
        "sqs": addresses.sqs.map(|address| address.to_string()),
        "key": key,
    });
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never one that somebody else put there, to read it.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(text.to_string().as_bytes())?;
    std::fs::rename(&part, path)
}
