//! `cargo xtask compare`: the same measurements of our server and of others, in turns, as one page.
//!
//! Owns the order of things: what is installed and built, who has a turn when, what is written where. Servers are in
//! `server`, measurements in `scenario`; both are tables. Must not know the product: it runs `trunkline bench` and reads
//! its reports. Start at [`Options`].

mod bench;
mod charts;
mod machine;
mod mosquitto;
mod nats;
mod nchan;
mod page;
mod restart;
mod results;
mod running;
mod scenario;
mod server;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::install;
use crate::process;
use results::{FLOOR, Results, RunResult, ServerResult, Turn};
use running::Kit;
use scenario::{Run, SECTIONS, Section, Size};
use server::{OURS, Program, Reach, SERVERS, Server};

/// Where a whole comparison is shown.
pub(crate) const PAGE: &str = "docs/benchmarks.md";

/// Measure our server and its peers in turns and write docs/benchmarks.md.
///
/// Peers are installed if they are missing. A comparison of which nothing is left out, of a program built from this tree, writes
/// docs/benchmarks.md and its charts; any other one writes a page of its own into its folder below target/compare.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Sections, by name or by what stands before a dash.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Sections that are left out, named in the same way.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    without: Vec<String>,
    /// Peers; our own server always takes part.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peers: Vec<String>,
    /// Turns of everybody, instead of what each run wants.
    #[arg(long, value_name = "N")]
    rounds: Option<u16>,
    /// Everything very small and one turn each, with a debug build, to try the comparison itself.
    #[arg(long)]
    quick: bool,
    /// A folder below target/compare: what is measured now is added to what was measured then, or takes its place.
    #[arg(long, value_name = "FOLDER", conflicts_with = "from")]
    add_to: Option<PathBuf>,
    /// Make the page again out of a folder below target/compare, without measuring.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["peers", "rounds", "quick"])]
    from: Option<PathBuf>,
    /// Our program, both the server and the generator, instead of one that is built from this tree. Of which commit it is, nobody can
    /// say, so that docs/benchmarks.md is written only if --page names it.
    #[arg(long, value_name = "FILE")]
    trunkline: Option<PathBuf>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Print scenarios and servers and stop.
    #[arg(long)]
    list: bool,
}

/// Measures, or makes the page again.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let sections = options.sections()?;
    if options.list {
        list(&sections);
        return Ok(());
    }
    let trunkline = options.trunkline(root)?;
    let (results, folder) = match &options.from {
        Some(folder) => (Results::read(folder)?, folder.clone()),
        None => {
            let comparison = Comparison::prepare(root, options, (sections.clone(), trunkline.clone()))?;
            comparison.measure()?
        }
    };
    let page = options.page.clone().unwrap_or_else(|| match options.is_whole() {
        true => root.join(PAGE),
        false => folder.join("benchmarks.md"),
    });
    // Of sections that were measured before, the page tells as well.
    let shown = if options.add_to.is_some() { SECTIONS.iter().collect() } else { sections };
    write_page(root, &trunkline, (&results, &shown), &folder, &page)?;
    println!("\nreports: {}\npage:    {}", folder.display(), page.display());
    Ok(())
}

fn list(sections: &[&Section]) {
    for section in sections {
        println!("{:<14} {}", section.name, section.title);
        for run in section.runs {
            println!(
                "{:<14}   {}: {}",
                "",
                run.title,
                run.command.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
    }
    println!();
    for server in &SERVERS {
        println!("{:<14} {}", server.name, server.title);
    }
}

impl Options {
    fn sections(&self) -> Result<Vec<&'static Section>> {
        for name in self.only.iter().chain(&self.without) {
            let is_known = SECTIONS.iter().any(|section| section.is_meant_by(name));
            anyhow::ensure!(is_known, "no scenario `{name}`; `cargo xtask compare --list` names them");
        }
        let is_wanted = |section: &&Section| {
            let is_named = |names: &[String]| names.iter().any(|name| section.is_meant_by(name));
            (self.only.is_empty() || is_named(&self.only)) && !is_named(&self.without)
        };
        Ok(SECTIONS.iter().filter(is_wanted).collect())
    }

    fn servers(&self) -> Result<Vec<&'static Server>> {
        for name in &self.peers {
            anyhow::ensure!(
                server::by_name(name).is_some(),
                "no peer `{name}`; `cargo xtask compare --list` names them"
            );
        }
        let is_wanted = |server: &&Server| {
            self.peers.is_empty() || server.name == OURS || self.peers.iter().any(|name| name == server.name)
        };
        Ok(SERVERS.iter().filter(is_wanted).collect())
    }

    /// Whether nothing is left out.
    fn is_whole(&self) -> bool {
        let is_all = self.only.is_empty() && self.without.is_empty() && self.peers.is_empty();
        let is_new = self.from.is_none() && self.add_to.is_none();
        is_all && is_new && self.build() == "release" && self.rounds.is_none()
    }

    /// The program, which is built unless it was given.
    fn trunkline(&self, root: &Path) -> Result<PathBuf> {
        match &self.trunkline {
            Some(path) => path.canonicalize().with_context(|| path.display().to_string()),
            None => build_ours(root, self.build()),
        }
    }

    /// How our program is built.
    fn build(&self) -> &'static str {
        match (self.size(), self.trunkline.is_some()) {
            (_, true) => GIVEN,
            (Size::Quick, false) => "debug",
            (Size::Full, false) => "release",
        }
    }

    fn size(&self) -> Size {
        if self.quick { Size::Quick } else { Size::Full }
    }
}

/// What stands for the build of a program that was not built here.
const GIVEN: &str = "given";

/// One comparison while it runs.
struct Comparison {
    sections: Vec<&'static Section>,
    servers: Vec<&'static Server>,
    size: Size,
    rounds: Option<u16>,
    kit: Kit,
    folder: PathBuf,
    /// What was measured before, in the same folder.
    earlier: Results,
}

impl Comparison {
    /// Installs and builds peers and makes the folder.
    fn prepare(
        root: &Path,
        options: &Options,
        (sections, trunkline): (Vec<&'static Section>, PathBuf),
    ) -> Result<Self> {
        let (servers, size) = (options.servers()?, options.size());
        let node_folder = root.join("xtask/peers/socketio");
        for server in &servers {
            prepare_peer(root, server.program, &node_folder)?;
        }
        let given = (options.build() == GIVEN).then_some(trunkline.as_path());
        let head = machine::head(root, options.build(), given, &servers);
        let head = results::Head { quick: size == Size::Quick, ..head };
        let (folder, earlier) = match &options.add_to {
            // Programs that are started look for its files from another folder.
            Some(folder) => {
                let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
                let earlier = Results::read(&folder)?.continued(head)?;
                (folder, earlier)
            }
            None => {
                let folder = root.join("target/compare").join(machine::stamp());
                (folder, Results { head, runs: Vec::new() })
            }
        };
        let work = folder.join("servers");
        std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        let kit = Kit { trunkline, peers: root.join("target/peers"), node_folder, folder: work };
        let rounds = options.rounds.or((size == Size::Quick).then_some(1));
        Ok(Self { sections, servers, size, rounds, kit, folder, earlier })
    }

    /// Every run of every section. What was measured is saved after each, so that a comparison that is cut short is not lost.
    fn measure(self) -> Result<(Results, PathBuf)> {
        let mut results = self.earlier.clone();
        for section in &self.sections {
            for run in section.runs {
                println!("\n== {} {}", section.name, run.title);
                results.put(self.run(section, run));
                results.head.ended = machine::now();
                results.write(&self.folder)?;
            }
        }
        Ok((results, self.folder))
    }

    fn run(&self, section: &Section, run: &Run) -> RunResult {
        let load_average = machine::load_average();
        let mut servers: Vec<ServerResult> = Vec::new();
        let takes_part: Vec<_> = self.servers.iter().filter(|server| run.who.includes(server)).collect();
        for server in &takes_part {
            let reach = Reach::nominal(run.processes.max(1));
            let words = reach.fill(&self.size.words(run.command), run.who.speaks(server));
            servers.push(no_turns(server.name, &words));
        }
        if let Some(floor) = &run.floor {
            servers.push(no_turns(FLOOR, &self.size.words(floor.command)));
        }
        for round in 1..=self.rounds.unwrap_or(run.rounds) {
            for result in &mut servers {
                let name = format!("{}-{}.{}.{round}", section.name, run.name, result.server);
                let turn = self.turn(run, &result.server, &name);
                tell(section, run, &result.server, &turn);
                result.turns.push(turn);
            }
        }
        RunResult { section: section.name.into(), run: run.name.into(), load_average, servers }
    }

    /// One server is started, measured and ended.
    fn turn(&self, run: &Run, server: &str, name: &str) -> Turn {
        let report = self.folder.join(format!("{name}.json"));
        let time = Duration::from_secs(60 * run.minutes_max);
        let bench = |arguments: &[String]| bench::bench(&self.kit.trunkline, arguments, time, &report);
        let Some(server) = server::by_name(server) else {
            let floor = run.floor.as_ref().map(|floor| self.size.words(floor.command));
            return bench(&floor.unwrap_or_default());
        };
        let command = self.size.words(run.command);
        let speaks = run.who.speaks(server);
        match running::start(&self.kit, (server, speaks), run.mode, run.processes) {
            Ok(running) => bench(&running.reach.fill(&command, speaks)),
            Err(error) => Turn::without_report(format!("{error:#}")),
        }
    }
}

fn no_turns(server: &str, words: &[String]) -> ServerResult {
    ServerResult { server: server.into(), command: shell(words), turns: Vec::new() }
}

/// As it is typed: words that a shell would read otherwise are quoted.
fn shell(words: &[String]) -> String {
    let quoted = |word: &String| {
        let is_plain = word == "$P" || word.chars().all(|c| c.is_alphanumeric() || "-_.,:/=".contains(c));
        if is_plain { word.clone() } else { format!("'{word}'") }
    };
    let words: Vec<String> = words.iter().map(quoted).collect();
    format!("trunkline bench {}", words.join(" "))
}

/// One line while it runs.
fn tell(section: &Section, run: &Run, server: &str, turn: &Turn) {
    let name = |figure: &'static str| match (&run.floor, server) {
        (Some(floor), FLOOR) => floor.figure,
        _ => figure,
    };
    let figure = section.figures.first().and_then(|figure| {
        let value = turn.figures.get(name(figure.name))?;
        Some(format!("{} {}", verdict::short(*value), figure.title))
    });
    println!("{server:<14} {} {}", figure.unwrap_or_default(), turn.remark().unwrap_or_default());
}

/// Gives the path of our binary. A build for speed, unless it is only tried.
fn build_ours(root: &Path, build: &str) -> Result<PathBuf> {
    let release = if build == "release" { ["--release"].as_slice() } else { &[] };
    let arguments = [&["build", "--quiet", "--bin", "trunkline"], release].concat();
    process::run(&mut process::cargo(root, &arguments))?;
    Ok(root.join("target").join(build).join("trunkline"))
}

/// Installs and builds what a server needs. Peers are always built for speed: they are not ours to debug.
fn prepare_peer(root: &Path, program: Program, node_folder: &Path) -> Result<()> {
    match program {
        Program::Ours => Ok(()),
        Program::Node(_) => {
            install::debian(&[("node", &["--version"], "nodejs"), ("npm", &["--version"], "npm")])?;
            install::node_modules(node_folder)
        }
        Program::Socketioxide => build_peer(root, "socketioxide"),
        Program::Rumqttd => build_peer(root, "rumqttd"),
        Program::Rmqtt => build_peer(root, "rmqtt"),
        Program::Nchan => nchan::install(),
        Program::Mosquitto => mosquitto::install(),
        Program::Nats => nats::install(root),
    }
}

/// A program of `xtask/peers`, of which each is a workspace of its own.
fn build_peer(root: &Path, name: &str) -> Result<()> {
    let manifest = format!("xtask/peers/{name}/Cargo.toml");
    let build = ["build", "--release", "--quiet", "--locked", "--manifest-path", &manifest];
    let mut command = process::cargo(root, &build);
    process::run(command.env("CARGO_TARGET_DIR", root.join("target/peers").join(name)))
}

/// docs/benchmarks.md with what people have written meanwhile.
pub(crate) fn page_of_now(root: &Path) -> Result<String> {
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let parts = page::parts(&root.join("docs/benchmarks"))?;
    page::with_parts(&page, &parts).context("the first part of docs/benchmarks/ is not in docs/benchmarks.md")
}

/// Writes the page, with its charts in a folder of the page's name beside it.
fn write_page(
    root: &Path,
    trunkline: &Path,
    (results, sections): (&Results, &[&Section]),
    folder: &Path,
    page: &Path,
) -> Result<()> {
    let charts_name = page.file_stem().context("the page has no name")?.to_string_lossy().into_owned();
    let charts_folder = page.with_extension("");
    let charts = charts::draw(trunkline, results, sections, folder, &charts_folder)?;
    let parts = page::parts(&root.join("docs/benchmarks"))?;
    let contents =
        page::Contents { results, sections, charts: &charts, charts_folder: &charts_name, parts: &parts };
    std::fs::write(page, page::page(&contents)).with_context(|| page.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let line = [&["compare"], arguments].concat();
        <Line as clap::Parser>::parse_from(line).options
    }

    #[test]
    fn sections_and_peers_are_chosen_by_name() {
        let chosen = options(&["--only", "growth,fanout", "--peers", "nchan"]);
        let sections: Vec<&str> = chosen.sections().unwrap().iter().map(|section| section.name).collect();
        assert_eq!(sections, ["fanout", "growth-fanout", "growth-idle"]);
        let servers: Vec<&str> = chosen.servers().unwrap().iter().map(|server| server.name).collect();
        assert_eq!(servers, [OURS, "nchan"]);
        let but = options(&["--only", "idle,comet", "--without", "comet"]);
        assert_eq!(but.sections().unwrap().iter().map(|section| section.name).collect::<Vec<_>>(), ["idle"]);
        assert!(options(&["--without", "come"]).sections().is_err());
        assert!(options(&["--only", "growt"]).sections().is_err());
        assert!(options(&["--peers", "redis"]).servers().is_err());
    }

    #[test]
    fn only_a_whole_comparison_replaces_the_page() {
        assert!(options(&[]).is_whole());
        let parts: [&[&str]; 7] = [
            &["--quick"],
            &["--only", "idle"],
            &["--without", "comet"],
            &["--peers", "nchan"],
            &["--rounds", "1"],
            &["--add-to", "earlier"],
            &["--trunkline", "given"],
        ];
        for part in parts {
            assert!(!options(part).is_whole(), "{part:?}");
        }
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let words = ["idle", "--room", "r-%{i}", "--server-pid", "$P"].map(str::to_owned);
        assert_eq!(shell(&words), "trunkline bench idle --room 'r-%{i}' --server-pid $P");
    }
}
