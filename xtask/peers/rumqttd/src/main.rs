//! rumqttd as its own program sets it up, for MQTT 3.1.1 alone, with room for as many clients and messages as every other
//! server of the comparison has.
//!
//! Prints `{"public","private","pids"}` in one line when it serves, `private` being the same, since publishers are clients; ends
//! when standard input is closed. Start at [`main`].

use std::collections::HashMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Clients that may be there.
const CLIENTS_MAX: usize = 100_000;

/// Messages of QoS 1 and 2 on their way to one client, as many as Trunkline has.
const IN_FLIGHT_MAX: usize = 100;

fn main() -> Result<(), Failure> {
    let address = address()?;
    let mut broker = Broker::new(config(address));
    std::thread::spawn(move || broker.start());
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    println!("{{\"public\":\"{address}\",\"private\":\"{address}\",\"pids\":[{}]}}", std::process::id());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The port of `--public PORT`, or one that nobody listens at: it cannot say which one it was given.
fn address() -> Result<SocketAddr, Failure> {
    let words: Vec<String> = std::env::args().collect();
    let asked = words.iter().position(|word| word == "--public").and_then(|at| words.get(at + 1));
    match asked {
        Some(port) => Ok((Ipv4Addr::LOCALHOST, port.parse()?).into()),
        None => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?),
    }
}

/// Sizes of segments, and what leaves in one turn, are those of the file it brings along.
fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 1 << 20,
        max_inflight_count: IN_FLIGHT_MAX,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "v4".into(), listen, tls: None, next_connection_delay_ms: 0, connections };
    let router = RouterConfig {
        max_connections: CLIENTS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: 104_857_600,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    Config { router, v4: Some(HashMap::from([("1".into(), server)])), ..Config::default() }
}
