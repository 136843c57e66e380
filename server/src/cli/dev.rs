//! `trunkline dev`: a server for the machine of a developer, and what to paste to use it.
//!
//! Must not know how a server runs (`run.rs`). Start at [`Dev::run`].

use std::net::SocketAddr;
use std::path::PathBuf;

use trunkline::config::{Config, Sources, is_loopback};

use super::load::{Overrides, argument, check, environment, read_file};
use super::run::{self, Addresses};
use super::service::BackEnd;
use super::{Failure, print};

/// Run a server for development: on loopback, open to every program of this machine, nothing to configure
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline dev
  trunkline dev --public 127.0.0.1:3000 --set socketio.cors_origins=http://localhost:5173
  trunkline dev --data ./data
  trunkline dev --config trunkline.toml --set log.filter=debug")]
pub(super) struct Dev {
    /// Where clients connect [default: 127.0.0.1:8000; port 0: any free one]
    #[arg(long, value_name = "ADDRESS")]
    public: Option<SocketAddr>,
    /// Where the back end and the other commands connect [default: 127.0.0.1:9000; port 0: any free one]
    #[arg(long, value_name = "ADDRESS")]
    private: Option<SocketAddr>,
    /// Write all addresses to this file as JSON, once connections are accepted
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Threads that hold connections [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Directory in which to keep what outlives the process [default: everything is in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file; everything in it is optional here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Dev {
    /// Runs until a signal.
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.load()?;
        let guide_config = config.clone();
        let told = move |addresses: Addresses| print(&guide(&guide_config, addresses));
        run::until_signal((config, BackEnd::Dev), self.ready_file.as_deref(), told)
    }

    /// The configuration; warnings are about production and not told.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let mut arguments = self.overrides.arguments();
        arguments.extend(self.public.map(|address| argument("--public", "server.public_listen", address)));
        arguments.extend(self.private.map(|address| argument("--private", "server.private_listen", address)));
        let data = self.data.as_ref().map(|dir| dir.display());
        arguments.extend(data.map(|dir| argument("--data", "store.dir", dir)));
        arguments.extend(self.shards.map(|shards| argument("--shards", "server.shards", shards)));
        let sources = Sources {
            presets: vec![
                // So MQTT clients are let in, about whom no back end is asked.
                ("auth.mode", "anonymous".into()),
                ("server.public_listen", "127.0.0.1:8000".into()),
                // Nobody waits for the end of a long drain on his own machine.
                ("server.drain_window_ms", "0".into()),
            ],
            file: self.config.as_deref().map(read_file).transpose()?,
            environment: environment(),
            arguments,
        };
        let mut config = check(&sources)?.config;
        // The back end it brings along is asked, as any other would be.
        config.ask_always = true;
        refuse_the_world("public", config.server.public_listen)?;
        refuse_the_world("private", config.server.private_listen)?;
        // There is no argument for these.
        let others = [
            ("mqtt.listen", config.mqtt.listen),
            ("mqtt.tls_listen", config.mqtt.tls_listen),
            ("sqs.listen", config.sqs.listen),
        ];
        for (key, address) in others {
            if let Some(address) = address.filter(|address| !is_loopback(*address)) {
                return Err(the_world_reaches(key, address, &format!("--set {key}=")));
            }
        }
        Ok(config)
    }
}

/// `dev` lets everybody in, so it listens where only this machine is.
fn refuse_the_world(port: &str, address: SocketAddr) -> Result<(), Failure> {
    if is_loopback(address) { Ok(()) } else { Err(the_world_reaches(port, address, &format!("--{port} "))) }
}

fn the_world_reaches(port: &str, address: SocketAddr, argument: &str) -> Failure {
    Failure(format!(
        "`trunkline dev` lets every client in without asking, so it listens on loopback only: the {port} address \
         {address} can be reached from other machines.\n\
         Use {argument}127.0.0.1:{}, or `trunkline serve` with a configuration that says who may connect.",
        address.port()
    ))
}

/// What is printed at the start: addresses, and a first message to try in three languages, or in none.
pub(super) fn guide(config: &Config, addresses: Addresses) -> String {
    let (public, private) = (addresses.public, addresses.private);
    let (path, channel) = (first_path(config), config.socketio.root_channel.as_str());
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let (js_path, python_path) = match path {
        "/socket.io/" => (String::new(), String::new()),
        path => (format!(", {{ path: \"{path}\" }}"), format!(", socketio_path=\"{path}\"")),
    };
    let url =
        if private == run::PRIVATE_DEFAULT { String::new() } else { format!(" --url http://{private}") };
    let (key_note, key_header) = match config.private.keys.is_empty() {
        true => ("", ""),
        false => {
            ("\n(set TRUNKLINE_KEY to one of private.keys)\n", " -H \"Authorization: Bearer $TRUNKLINE_KEY\"")
        }
    };
    format!(
        r#"trunkline {version} for development: loopback only, every client is let in

  clients   {scheme}://{public}
  back end  http://{private}
  live page http://{private}/
  queues    http://{private} (endpoint_url of any SDK for Amazon SQS)

JavaScript (npm install socket.io-client)

  import {{ io }} from "socket.io-client";
  const socket = io("{scheme}://{public}"{js_path});
  socket.onAny((event, ...args) => console.log(event, ...args));

Python (pip install "python-socketio[client]")

  import socketio
  client = socketio.Client()
  client.on("*", print)
  client.connect("{scheme}://{public}"{python_path})
  client.wait()

A browser, or curl, without a library

  new EventSource("{scheme}://{public}/sse?channel={channel}").onmessage = (event) => console.log(event.data);
  curl -N '{scheme}://{public}/sse?channel={channel}'

A message to all of them
{key_note}
  trunkline pub {channel} '{{"hello":"world"}}'{url}
  curl http://{private}/v1/messages{key_header} -H 'content-type: application/json' -d '{{"channel":"{channel}","data":{{"hello":"world"}}}}'

What passes by

  trunkline sub '#'{url}

Events that mean something here: join ROOM, leave ROOM, say ROOM DATA (as "message" to the others in it), echo DATA
(back to you); any other goes to all other clients.

Ctrl-C ends the server.
"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn first_path(config: &Config) -> &str {
    config.socketio.paths.first().map_or("/socket.io/", |path| path.as_str())
}
