//! Where clients connect to and from.
//!
//! Owns addresses, ports and the limit of open files. Must not know protocols. Start at [`Clients`].
//!
//! A source address has some 28,000 ports for one target. On loopback the whole of 127.0.0.0/8 belongs to us, so every
//! run takes addresses of its own there, [`CONNECTIONS_PER_SOURCE`] connections each; that also keeps it clear of the
//! ports the run before left in TIME_WAIT.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use mio::net::TcpStream;
use socket2::{Domain, Protocol as Transport, Socket, Type};

use crate::error::Error;

/// Connections from one source address. Polling clients come back, so half of what the ports allow.
const CONNECTIONS_PER_SOURCE: u32 = 10_000;

/// Open files besides the connections.
const FILES_BESIDES: u64 = 64;

/// `http://host:port`, with a path if the protocol's default path is not wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Resolved address.
    pub(crate) address: SocketAddr,
    /// Value of the header `host`.
    pub(crate) host: String,
    /// Path, or empty for the protocol's own.
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("must begin with http://")?;
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| format!("{with_port}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{with_port} has no address"))?;
        let path = if path == "/" { "" } else { path };
        Ok(Self { address, host: host.to_owned(), path: path.to_owned() })
    }
}

/// The clients of a scenario: how many, where to, how fast they come.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Servers, taken in turn.
    pub targets: Vec<Target>,
    /// Source addresses; empty = chosen by us on loopback, by the system elsewhere.
    pub sources: Vec<IpAddr>,
    /// How many.
    pub connections: u32,
    /// How many may be between connect and the last answer of their handshake.
    pub opening_max: u32,
    /// Event loops; 0 = one per core.
    pub threads: usize,
}

impl Clients {
    /// Makes room for all connections in the table of open files.
    pub(crate) fn reserve_files(&self) -> Result<(), Error> {
        let needed = u64::from(self.connections) + FILES_BESIDES;
        let limit =
            rlimit::increase_nofile_limit(u64::MAX).map_err(|error| Error::io("open files", &error))?;
        if limit >= needed {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} connections need {needed} open files and the hard limit is {limit}: raise it (ulimit -Hn, \
             LimitNOFILE=, docker --ulimit nofile=), use fewer connections, or several generators",
            self.connections
        )))
    }
}

/// Gives each connection its two ends.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    targets: Vec<Target>,
    sources: Vec<IpAddr>,
}

impl Route {
    /// Chooses source addresses for this run.
    pub(crate) fn new(clients: &Clients) -> Result<Self, Error> {
        let loopback = clients.targets.iter().all(|target| match target.address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(_) => false,
        });
        let sources = match (clients.sources.is_empty(), loopback) {
            (false, _) => clients.sources.clone(),
            (true, true) => own_sources(clients.connections),
            (true, false) => Vec::new(),
        };
        if clients.targets.is_empty() {
            return Err(Error::new("no target"));
        }
        Ok(Self { targets: clients.targets.clone(), sources })
    }

    /// The target of connection `index`.
    pub(crate) fn target(&self, index: u32) -> &Target {
        let turn = index as usize % self.targets.len();
        self.targets.get(turn).expect("the remainder is below the length")
    }

    /// Begins to connect; the socket becomes writable when it is connected or failed.
    pub(crate) fn connect(&self, index: u32) -> std::io::Result<TcpStream> {
        let address = self.target(index).address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source(index) {
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    fn source(&self, index: u32) -> Option<IpAddr> {
        let turn = (index / CONNECTIONS_PER_SOURCE) as usize;
        self.sources.get(turn % self.sources.len().max(1)).copied()
    }
}

/// EINPROGRESS on Linux; the standard library has no stable name for it.
const IN_PROGRESS: i32 = 115;

/// 127.p.r.n: p from the number of this process, r counts runs inside it.
fn own_sources(connections: u32) -> Vec<IpAddr> {
    static RUNS: AtomicU8 = AtomicU8::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let process = (std::process::id() % 250) as u8 + 1;
    let needed = connections.div_ceil(CONNECTIONS_PER_SOURCE).clamp(1, 250) as u8;
    (0..needed).map(|n| IpAddr::V4(Ipv4Addr::new(127, process, run, n + 2))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(connections: u32) -> Clients {
        let targets = vec!["http://127.0.0.1:8000".parse().unwrap()];
        Clients { targets, sources: Vec::new(), connections, opening_max: 10, threads: 0 }
    }

    #[test]
    fn targets_have_host_port_and_perhaps_a_path() {
        let target: Target = "http://127.0.0.1:8000".parse().unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8000", ""));
        let target: Target = "http://127.0.0.1/engine.io/".parse().unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (80, "/engine.io/"));
        assert_eq!("ws://127.0.0.1:1".parse::<Target>().unwrap_err(), "must begin with http://");
    }

    #[test]
    fn loopback_runs_use_addresses_of_their_own() {
        let (a, b) = (Route::new(&clients(25_000)).unwrap(), Route::new(&clients(1)).unwrap());
        assert_eq!((a.sources.len(), b.sources.len()), (3, 1));
        assert!(a.sources.iter().all(|source| source.is_loopback() && !b.sources.contains(source)));
        assert_ne!(a.source(0), a.source(10_000));
        assert_eq!(a.source(0), a.source(9_999));
    }

    #[test]
    fn too_few_files_is_said_in_words() {
        let error = clients(u32::MAX).reserve_files().unwrap_err().to_string();
        assert!(error.contains("4294967359 open files") && error.contains("ulimit -Hn"), "{error}");
    }
}
