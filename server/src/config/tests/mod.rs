//! Tests of the configuration; each file is a table of cases.

mod errors;
mod generated;
mod names;
mod values;

use super::*;

/// A machine that leaves nothing to warn about.
const MACHINE: Machine = Machine { cores: 4, open_files_max: 1_000_000 };

/// Sources of one file with the one required choice made ahead of it.
fn file(text: &str) -> Sources {
    Sources {
        presets: vec![("auth.mode", "anonymous".into())],
        file: Some(SourceFile { name: "trunkline.toml".into(), text: text.into() }),
        ..Sources::default()
    }
}

fn load(text: &str) -> Loaded {
    Config::load(&file(text), MACHINE).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(sources: &Sources) -> String {
    match Config::load(sources, MACHINE) {
        Ok(_) => "no problem".into(),
        Err(problems) => problems.to_string(),
    }
}
