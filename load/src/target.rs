//! Where clients connect to and from.
//!
//! Owns addresses, ports and the limit of open files. Must not know protocols. Start at [`Clients`].
//!
//! A source address has some 28,000 ports for one target. On loopback the whole of 127.0.0.0/8 belongs to us, so every
//! run takes addresses of its own there, [`CONNECTIONS_PER_SOURCE`] connections each; that also keeps it clear of the
//! ports the run before left in TIME_WAIT.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::net::TcpStream;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol as Transport, Socket, Type};

use crate::error::Error;
use crate::helper::Helper;

/// Connections from one source address. Far below what its ports allow: an explicit bind first looks at every second port
/// of half the usual range, some 7,000, and each bind beyond those costs the kernel milliseconds, which would show as the
/// server's. (IP_BIND_ADDRESS_NO_PORT avoids the search, but is not offered by `socket2`.)
const CONNECTIONS_PER_SOURCE: u32 = 5_000;

/// Open files besides the connections.
const FILES_BESIDES: u64 = 64;

/// Most processes: a number beyond that is a slip of the keyboard.
const PROCESSES_MAX: u32 = 256;

/// What stands before the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scheme {
    /// `http://` or `ws://`: everything begins with a request.
    Http,
    /// `mqtt://`: MQTT without anything around it.
    Mqtt,
}

/// `http://host:port`, with a path if the protocol's default path is not wanted; `ws://` means the same, and `mqtt://` MQTT
/// over TCP; `https://`, `wss://` and `mqtts://` the same with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What is spoken there.
    pub(crate) scheme: Scheme,
    /// With TLS around it.
    pub(crate) is_secure: bool,
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
        let known = text.split_once("://").and_then(|(word, rest)| {
            let (scheme, is_secure, port) = match word {
                "http" | "ws" => (Scheme::Http, false, 80),
                "https" | "wss" => (Scheme::Http, true, 443),
                "mqtt" => (Scheme::Mqtt, false, 1883),
                "mqtts" => (Scheme::Mqtt, true, 8883),
                _ => return None,
            };
            Some((rest, scheme, is_secure, port))
        });
        let (rest, scheme, is_secure, port) =
            known.ok_or("must begin with http://, ws:// or mqtt://, or with https://, wss:// or mqtts://")?;
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| format!("{with_port}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{with_port} has no address"))?;
        let path = if path == "/" { "" } else { path };
        Ok(Self { scheme, is_secure, address, host: host.to_owned(), path: path.to_owned() })
    }
}

impl Target {
    /// Whether MQTT is spoken there, and not inside HTTP.
    pub fn is_mqtt(&self) -> bool {
        self.scheme == Scheme::Mqtt
    }

    /// One for requests of the back end, which go without TLS.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn of_back_end(text: &str) -> Result<Self, String> {
        let target: Self = text.parse()?;
        match target.is_secure {
            true if !target.is_mqtt() => Err("must be without TLS: the private port has none".to_owned()),
            _ => Ok(target),
        }
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
    /// Event loops of all processes together, at least one in each; 0 = one per core.
    pub threads: usize,
    /// Processes the clients are split over; 0 = as many as it takes to have enough open files. With one they are in this
    /// very process.
    pub processes: u32,
    /// How other processes are started; without it there is one.
    pub helper: Option<Helper>,
}

impl Clients {
    /// Makes room for all connections in the tables of open files. Returns how many processes that takes.
    pub(crate) fn reserve_files(&self) -> Result<u32, Error> {
        let asked = if self.helper.is_some() { self.processes } else { 1 };
        processes(self.connections, asked)
    }
}

/// How many processes are needed for so many connections, if `asked` is 0; otherwise whether as many as asked are enough.
/// Raises the limit of open files as far as it goes.
pub(crate) fn processes(connections: u32, asked: u32) -> Result<u32, Error> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).map_err(|error| Error::io("open files", &error))?;
    fitting(connections, asked, limit)
}

fn fitting(connections: u32, asked: u32, limit: u64) -> Result<u32, Error> {
    let each_max = limit.saturating_sub(FILES_BESIDES).max(1);
    let enough = u64::from(connections).div_ceil(each_max).max(1);
    let processes = if asked == 0 { enough.min(u64::from(PROCESSES_MAX)) } else { u64::from(asked) };
    if processes > u64::from(PROCESSES_MAX) {
        return Err(Error::new(format!("{asked} processes are too many: at most {PROCESSES_MAX}")));
    }
    if processes >= enough {
        return Ok(processes as u32);
    }
    let needed = u64::from(connections).div_ceil(processes) + FILES_BESIDES;
    let split = if processes == 1 { String::new() } else { format!(" in {processes} processes") };
    let each = if processes == 1 { "" } else { " each" };
    Err(Error::new(format!(
        "{connections} connections{split} need {needed} open files{each} and the hard limit is {limit}: raise it \
         (ulimit -Hn, LimitNOFILE=, docker --ulimit nofile=), use fewer connections, or more processes"
    )))
}

/// Gives each connection its two ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Route {
    targets: Vec<Target>,
    sources: Vec<IpAddr>,
    /// Neighbouring connections that have the same source, at least 1.
    per_source: u32,
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
        let per_source = match clients.sources.len() {
            0 => CONNECTIONS_PER_SOURCE,
            given => clients.connections.div_ceil(given as u32).max(1),
        };
        Ok(Self { targets: clients.targets.clone(), sources, per_source })
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

    /// Where connection `index` comes from. It depends on nothing but the number, so all processes together spread their
    /// connections over the sources as one process would.
    pub(crate) fn source(&self, index: u32) -> Option<IpAddr> {
        let turn = (index / self.per_source) as usize;
        self.sources.get(turn % self.sources.len().max(1)).copied()
    }
}

/// EINPROGRESS on Linux; the standard library has no stable name for it.
const IN_PROGRESS: i32 = 115;

/// 127.p.r.n: p from the number of this process, r counts runs inside it; a run of very many takes several r.
fn own_sources(connections: u32) -> Vec<IpAddr> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let needed = connections.div_ceil(CONNECTIONS_PER_SOURCE).max(1);
    let run = RUNS.fetch_add(needed.div_ceil(HOSTS), Ordering::Relaxed);
    let process = (std::process::id() % HOSTS) as u8 + 1;
    let address = |n: u32| Ipv4Addr::new(127, process, (run + n / HOSTS) as u8, (n % HOSTS) as u8 + 2);
    (0..needed).map(|n| IpAddr::V4(address(n))).collect()
}

/// Values of a byte of an address that we use.
const HOSTS: u32 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(connections: u32) -> Clients {
        let targets = vec!["http://127.0.0.1:8000".parse().unwrap()];
        Clients {
            targets,
            sources: Vec::new(),
            connections,
            opening_max: 10,
            threads: 0,
            processes: 0,
            helper: None,
        }
    }

    #[test]
    fn targets_have_host_port_and_perhaps_a_path() {
        let target: Target = "http://127.0.0.1:8000".parse().unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8000", ""));
        let target: Target = "http://127.0.0.1/engine.io/".parse().unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (80, "/engine.io/"));
        let target: Target = "mqtt://127.0.0.1".parse().unwrap();
        assert_eq!((target.address.port(), target.scheme), (1883, Scheme::Mqtt));
        let target: Target = "ws://127.0.0.1:9/mqtt".parse().unwrap();
        assert_eq!((target.path.as_str(), target.scheme), ("/mqtt", Scheme::Http));
        for (text, port, scheme) in [
            ("https://127.0.0.1", 443, Scheme::Http),
            ("wss://127.0.0.1", 443, Scheme::Http),
            ("mqtts://127.0.0.1", 8883, Scheme::Mqtt),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.address.port(), target.scheme, target.is_secure),
                (port, scheme, true),
                "{text}"
            );
        }
        let error = "ftp://127.0.0.1:1".parse::<Target>().unwrap_err();
        assert_eq!(error, "must begin with http://, ws:// or mqtt://, or with https://, wss:// or mqtts://");
    }

    #[test]
    fn loopback_runs_use_addresses_of_their_own() {
        let (a, b) = (Route::new(&clients(25_000)).unwrap(), Route::new(&clients(1)).unwrap());
        assert_eq!((a.sources.len(), b.sources.len()), (5, 1));
        assert!(a.sources.iter().all(|source| source.is_loopback() && !b.sources.contains(source)));
        assert_ne!(a.source(0), a.source(5_000));
        assert_eq!(a.source(0), a.source(4_999));
    }

    #[test]
    fn given_sources_take_equal_parts() {
        let sources = vec!["127.0.0.7".parse().unwrap(), "127.0.0.8".parse().unwrap()];
        let route = Route::new(&Clients { sources: sources.clone(), ..clients(50_001) }).unwrap();
        let first = (0..50_001).filter(|index| route.source(*index) == Some(sources[0])).count();
        assert_eq!(first, 25_001);
    }

    #[test]
    fn processes_are_as_many_as_open_files_demand() {
        assert_eq!(fitting(19_936, 0, 20_000), Ok(1));
        assert_eq!(fitting(19_937, 0, 20_000), Ok(2));
        assert_eq!(fitting(60_000, 0, 20_000), Ok(4));
        assert_eq!(fitting(100, 3, 20_000), Ok(3), "more may be asked for");
        let error = fitting(100, 257, 20_000).unwrap_err().to_string();
        assert_eq!(error, "257 processes are too many: at most 256");
        let error = fitting(60_000, 3, 20_000).unwrap_err().to_string();
        let expected =
            "60000 connections in 3 processes need 20064 open files each and the hard limit is 20000: ";
        assert!(error.starts_with(expected), "{error}");
        let error = fitting(u32::MAX, 0, 20_000).unwrap_err().to_string();
        assert!(error.contains("in 256 processes need"), "{error}");
    }

    #[test]
    fn too_few_files_is_said_in_words() {
        let error = clients(u32::MAX).reserve_files().unwrap_err().to_string();
        assert!(error.contains("4294967359 open files") && error.contains("ulimit -Hn"), "{error}");
    }
}
