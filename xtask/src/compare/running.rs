//! Servers as processes: started for one measurement, ended by their own number.
//!
//! Owns starting, readiness and ending. A server that does not become ready in time is an error with what it said.
//! Must not know what is measured. Start at [`start`].

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::restart::{Plan, Ready, Restart};
use super::scenario::Mode;
use super::server::{Program, Reach, Recovery, Server, Speaks};
use super::{mosquitto, nats, nchan};
use crate::process::{signal, within};

/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a server may take to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may be away where recovery is on: longer than any scenario keeps one away.
const RECOVERY_MS: &str = "120000";

/// Programs that are built, and where files may be written.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    /// Our binary.
    pub(crate) trunkline: PathBuf,
    /// Where programs of `xtask/peers` were built, each in a folder of its own.
    pub(crate) peers: PathBuf,
    /// `xtask/peers/socketio`.
    pub(crate) node_folder: PathBuf,
    /// For configurations, addresses and what servers print.
    pub(crate) folder: PathBuf,
}

/// A server that accepts connections; ends with this value.
#[derive(Debug, Default)]
pub(crate) struct Running {
    children: Vec<Child>,
    /// Dropped before the children are ended.
    restarts: Vec<Restart>,
    /// Where it is.
    pub(crate) reach: Reach,
}

/// Starts `processes` independent processes of a server.
pub(crate) fn start(kit: &Kit, server: (&Server, Speaks), mode: Mode, processes: u16) -> Result<Running> {
    let mut running = Running::default();
    for number in 0..processes {
        let name = format!("{}-{number}", server.0.name);
        start_one(kit, server, mode, &name, &mut running).with_context(|| {
            format!("starting {name}; what it printed is in {}", log_path(kit, &name).display())
        })?;
    }
    Ok(running)
}

fn start_one(
    kit: &Kit,
    (server, speaks): (&Server, Speaks),
    mode: Mode,
    name: &str,
    running: &mut Running,
) -> Result<()> {
    match server.program {
        Program::Ours => ours(kit, (mode, speaks), name, running),
        Program::Node(arguments) => {
            let mut command = Command::new("node");
            command.arg("server.mjs").args(arguments).current_dir(&kit.node_folder);
            if mode != Mode::Plain && server.recovery == Recovery::Has {
                command.args(["--recovery", RECOVERY_MS]);
            }
            peer(kit, command, name, running)
        }
        Program::Socketioxide => peer(kit, Command::new(kit.peer("socketioxide")), name, running),
        Program::Rumqttd => peer(kit, Command::new(kit.peer("rumqttd")), name, running),
        Program::Rmqtt => peer(kit, Command::new(kit.peer("rmqtt")), name, running),
        Program::Mosquitto => {
            let (address, command) = mosquitto::prepare(&kit.folder.join(name))?;
            broker(kit, (address, command), name, running)
        }
        Program::Nats => {
            let (address, command) = nats::prepare(&kit.peers, &kit.folder.join(name))?;
            broker(kit, (address, command), name, running)
        }
        Program::Nchan => {
            let nchan = nchan::Nchan::prepare(&kit.folder.join(name))?;
            let child = spawn(kit, nchan.command(), name, running)?;
            let pids = nchan.ready(child, READY_WITHIN)?;
            running.add(nchan.public, nchan.private, pids);
            Ok(())
        }
    }?;
    if mode == Mode::Restart {
        let restart = Restart::prepare(&plan(kit, server, name, running)?)?;
        running.reach.restart = restart.command();
        running.restarts.push(restart);
    }
    Ok(())
}

/// How the server that was started last is started again at the same addresses.
fn plan(kit: &Kit, server: &Server, name: &str, running: &Running) -> Result<Plan> {
    let started = running.children.last().context("nothing was started")?;
    let (public, private) =
        running.reach.public.last().zip(running.reach.private.last()).context("no address")?;
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let ports = ["--public".to_owned(), port(public), "--private".to_owned(), port(private)];
    let (folder, words, ready) = match server.program {
        Program::Ours => {
            let (file, config) = (ready_path(kit, name), config_path(kit, name));
            let mut words = vec![kit.trunkline.display().to_string(), "dev".into()];
            for (option, value) in [("--public", public.clone()), ("--private", private.clone())] {
                words.extend([option.to_owned(), value]);
            }
            words.extend(["--ready-file".to_owned(), file.display().to_string()]);
            words.extend(["--config".to_owned(), config.display().to_string()]);
            (kit.folder.clone(), words, Ready::File(file))
        }
        Program::Node(arguments) => {
            let mut words = vec!["node".to_owned(), "server.mjs".to_owned()];
            words.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            words.extend(ports);
            if server.recovery == Recovery::Has {
                words.extend(["--recovery".to_owned(), RECOVERY_MS.to_owned()]);
            }
            (kit.node_folder.clone(), words, Ready::Line)
        }
        Program::Socketioxide => {
            let words = std::iter::once(kit.peer("socketioxide").display().to_string()).chain(ports);
            (kit.folder.clone(), words.collect(), Ready::Line)
        }
        Program::Nchan | Program::Mosquitto | Program::Rumqttd | Program::Rmqtt | Program::Nats => {
            anyhow::bail!("{} is not restarted by any run", server.name)
        }
    };
    Ok(Plan { files: kit.folder.join(name), folder, words, ready, pid: started.id() })
}

fn ready_path(kit: &Kit, name: &str) -> PathBuf {
    kit.folder.join(format!("{name}.ready.json"))
}

fn config_path(kit: &Kit, name: &str) -> PathBuf {
    kit.folder.join(format!("{name}.toml"))
}

/// Our own server says where it is in a file.
fn ours(kit: &Kit, how: (Mode, Speaks), name: &str, running: &mut Running) -> Result<()> {
    let ready = ready_path(kit, name);
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(&kit.trunkline);
    command.args(["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"]).arg(&ready);
    let path = config_path(kit, name);
    std::fs::write(&path, config(kit, how, name)).with_context(|| path.display().to_string())?;
    command.arg("--config").arg(&path);
    let pid = spawn(kit, command, name, running)?;
    let told = within(READY_WITHIN, || std::fs::read_to_string(&ready).ok())?;
    running.add_told(&told, pid)
}

/// With recovery the same as the configuration of `trunkline bench avalanche`, which cannot be seen from here: we know only the
/// program.
///
/// The back end that `trunkline dev` brings along decides about clients of Socket.IO; those of MQTT are let in as they come.
fn config(kit: &Kit, (mode, speaks): (Mode, Speaks), name: &str) -> String {
    let sessions = kit.folder.join(format!("{name}.sessions"));
    let _ = std::fs::remove_file(&sessions);
    let recovery = "[[socketio.namespace]]\nname = \"/\"\nrecovery = \"always\"\n";
    match mode {
        _ if speaks == Speaks::Mqtt => "[auth]\nmode = \"anonymous\"\n".to_owned(),
        Mode::Plain => String::new(),
        Mode::Recovery => recovery.to_owned(),
        Mode::Restart => format!("[server]\nstate_file = {:?}\n\n{recovery}", sessions.display().to_string()),
    }
}

/// A peer of ours says where it is in its first line.
fn peer(kit: &Kit, mut command: Command, name: &str, running: &mut Running) -> Result<()> {
    command.stdout(Stdio::piped());
    let pid = spawn(kit, command, name, running)?;
    let stdout = running.children.last_mut().and_then(|child| child.stdout.take()).context("no output")?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let _ = tell.send(lines.next().unwrap_or_default());
        // Read on, so that whatever else it prints blocks nobody.
        lines.for_each(drop);
    });
    let told = told.recv_timeout(READY_WITHIN).context("not ready in time")?;
    running.add_told(&told, pid)
}

/// A server of MQTT that says nothing when it is ready: its port answers then.
fn broker(kit: &Kit, (address, command): (String, Command), name: &str, running: &mut Running) -> Result<()> {
    let pid = spawn(kit, command, name, running)?;
    within(READY_WITHIN, || TcpStream::connect(&address).ok())?;
    running.add(address.clone(), address, vec![pid]);
    Ok(())
}

/// Starts a process whose standard input stays open as long as we live; what it says goes to a file.
fn spawn(kit: &Kit, mut command: Command, name: &str, running: &mut Running) -> Result<u32> {
    let log = File::create(log_path(kit, name))?;
    if command.get_program() == kit.trunkline {
        command.stdout(log.try_clone()?);
    }
    let child = command.stdin(Stdio::piped()).stderr(log).spawn()?;
    let pid = child.id();
    running.children.push(child);
    Ok(pid)
}

fn log_path(kit: &Kit, name: &str) -> PathBuf {
    kit.folder.join(format!("{name}.log"))
}

impl Kit {
    /// The binary of a program of `xtask/peers`.
    fn peer(&self, name: &str) -> PathBuf {
        self.peers.join(name).join("release").join(format!("trunkline-peer-{name}"))
    }
}

impl Running {
    fn add(&mut self, public: String, private: String, pids: Vec<u32>) {
        self.reach.public.push(public);
        self.reach.private.push(private);
        self.reach.pids.extend(pids.iter().map(u32::to_string));
    }

    /// `{"public","private"}` and perhaps `pids`.
    fn add_told(&mut self, told: &str, pid: u32) -> Result<()> {
        let told: serde_json::Value =
            serde_json::from_str(told).with_context(|| format!("it said {told:?}"))?;
        let address = |name| Some(told.get(name)?.as_str()?.to_owned());
        let (public, private) = (address("public"), address("private"));
        let pids = told.get("pids").and_then(serde_json::Value::as_array);
        let pids: Vec<u32> =
            pids.into_iter().flatten().filter_map(|pid| pid.as_u64()?.try_into().ok()).collect();
        let pids = if pids.is_empty() { vec![pid] } else { pids };
        self.add(public.context("no public address")?, private.context("no private address")?, pids);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.restarts.clear();
        self.children.iter_mut().for_each(|child| end(child, END_WITHIN));
    }
}

/// Asks a process of ours to end, and ends it if it does not.
pub(super) fn end(child: &mut Child, end_within: Duration) {
    signal("TERM", child.id());
    drop(child.stdin.take());
    if within(end_within, || child.try_wait().ok().flatten()).is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How many files a process of ours may open.
pub(super) fn files_max() -> u64 {
    let limits = std::fs::read_to_string(Path::new("/proc/self/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|hard| hard.parse().ok()).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit(name: &str) -> Kit {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Kit { trunkline: "sh".into(), peers: folder.clone(), node_folder: folder.clone(), folder }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_peer_is_known_by_its_first_line_and_ends_with_its_owner() {
        let kit = kit("peer");
        let mut running = Running::default();
        let script = r#"echo '{"public":"127.0.0.1:1","private":"127.0.0.1:2","pids":[7,8]}'; exec cat"#;
        let kit = Kit { trunkline: "no such program".into(), ..kit };
        peer(&kit, shell(script), "a", &mut running).unwrap();
        assert_eq!(running.reach.public, ["127.0.0.1:1"]);
        assert_eq!(running.reach.pids, ["7", "8"]);
        let pid = running.children[0].id();
        drop(running);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        std::fs::remove_dir_all(&kit.folder).unwrap();
    }

    #[test]
    fn a_peer_that_says_nothing_useful_is_an_error() {
        let kit = Kit { trunkline: "no such program".into(), ..kit("mute") };
        for said in ["", "hello", "{}", r#"{"public":"127.0.0.1:1"}"#] {
            let mut running = Running::default();
            assert!(peer(&kit, shell(&format!("echo '{said}'")), "a", &mut running).is_err(), "{said}");
        }
        std::fs::remove_dir_all(&kit.folder).unwrap();
    }

    #[test]
    fn who_is_to_end_is_asked_before_it_is_killed() {
        let ended = |script: &str, time: Duration| {
            let mut command = shell(script);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert_eq!(lines.next().as_deref(), Some("ready"));
            end(&mut child, time);
            lines.collect::<Vec<_>>()
        };
        let polite = "trap 'echo asked; exit' TERM; echo ready; while :; do :; done";
        assert_eq!(ended(polite, Duration::from_secs(60)), ["asked"]);
        let deaf = "trap '' TERM; echo ready; exec cat /dev/zero >/dev/null";
        assert!(ended(deaf, Duration::from_millis(50)).is_empty());
    }

    #[test]
    fn the_limit_of_files_is_read() {
        assert!(files_max() > 64);
    }
}
