//! Configurations of servers that tests start.

use trunkline::Config;
use trunkline::config::{Argument, Machine, SourceFile, Sources};

/// As from a file of this text and options of the command line, beside what every such test wants and the presets of its own. A
/// drain takes no time, and ports are free ones.
pub fn config(text: &str, presets: &[(&'static str, &str)], settings: &[(&str, &str)]) -> Config {
    let always = [
        ("server.public_listen", "127.0.0.1:0"),
        ("server.private_listen", "127.0.0.1:0"),
        ("server.drain_window_ms", "0"),
    ];
    let presets = always.iter().chain(presets).map(|(key, value)| (*key, (*value).into())).collect();
    let argument = |(key, value): &(&str, &str)| Argument {
        shown: (*key).to_owned(),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let file = Some(SourceFile { name: "rules.toml".into(), text: text.into() });
    let arguments = settings.iter().map(argument).collect();
    let sources = Sources { presets, file, environment: Vec::new(), arguments };
    Config::load(&sources, Machine { cores: 2, open_files_max: 10_000 }).unwrap().config
}
