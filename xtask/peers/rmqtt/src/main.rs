//! rmqtt as a library, with its defaults but for the room for messages, of which every other server of the comparison has as much,
//! and for refusing clients while the machine is busy, which here it always is.
//!
//! Prints `{"public","private","pids"}` in one line when it serves, `private` being the same, since publishers are clients; ends
//! when standard input is closed. Start at [`main`].

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Messages of QoS 1 and 2 on their way to one client, as many as Trunkline has.
const IN_FLIGHT_MAX: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// Messages that may wait for one client.
const WAITING_MAX: usize = 100_000;

/// Connections that may wait to be accepted, as many as the other servers of the comparison have.
const BACKLOG: i32 = 4096;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let builder = Builder::new()
        .name("compare")
        .laddr(address()?)
        .backlog(BACKLOG)
        .allow_anonymous(true)
        .max_handshaking_limit(BACKLOG as usize)
        .max_inflight(IN_FLIGHT_MAX)
        .max_mqueue_len(WAITING_MAX);
    let listener = builder.bind()?.tcp()?;
    let address = listener.local_addr()?;
    println!("{{\"public\":\"{address}\",\"private\":\"{address}\",\"pids\":[{}]}}", std::process::id());
    std::thread::spawn(|| {
        // An error is an end as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    MqttServer::new(context).listener_by_id(listener, 1).build().run().await?;
    Ok(())
}

/// The port of `--public PORT`, or whatever the kernel gives.
fn address() -> Result<SocketAddr, Failure> {
    let words: Vec<String> = std::env::args().collect();
    let asked = words.iter().position(|word| word == "--public").and_then(|at| words.get(at + 1));
    let port = asked.map_or(Ok(0), |port| port.parse())?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}
