//! What is generated from the table of keys: it reads back, and the committed copies are up to date.

use super::super::check::SECTIONS;
use super::super::table::{Default, Key, Repetition};
use super::*;
use proptest::prelude::*;

/// The full paths of the keys that are written at most once.
pub(super) fn single_keys() -> impl Iterator<Item = String> {
    let sections = SECTIONS.iter().filter(|section| section.repetition == Repetition::Once);
    sections.flat_map(|section| section.keys.iter().map(|key| format!("{}.{}", section.path, key.name)))
}

/// Whether a line is a key that is commented out.
fn is_key_off(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The example with the keys of the single sections commented in where `choose` says so; keys that have only an
/// example value stay out.
fn example_with(mut choose: impl FnMut() -> bool) -> String {
    let with_default = |name: &str| {
        let mut keys = SECTIONS.iter().filter(|s| s.repetition == Repetition::Once).flat_map(|s| s.keys);
        keys.any(|key| key.name == name && matches!(key.default, Default::Toml(_)))
    };
    let mut in_list = false;
    let mut lines = Vec::new();
    for line in example().lines() {
        in_list = if line.starts_with("#[[") { true } else { in_list && !line.starts_with('[') };
        let name = line.trim_start_matches('#').split(' ').next().unwrap_or_default();
        let on = is_key_off(line) && !in_list && with_default(name) && choose();
        lines.push(if on { line[1..].to_owned() } else { line.to_owned() });
    }
    lines.join("\n")
}

fn defaults() -> Config {
    let text = "[auth]\nmode = \"anonymous\"";
    load(text).config
}

#[test]
fn the_example_as_it_is_has_the_defaults() {
    assert_eq!(load(&example()).config, defaults());
}

#[test]
fn the_example_as_it_is_lets_nobody_in_by_accident() {
    let text = example();
    let sources =
        Sources { file: Some(SourceFile { name: "trunkline.toml".into(), text }), ..Sources::default() };
    assert!(
        problems(&sources).starts_with("trunkline.toml: auth.mode: must be set"),
        "{}",
        problems(&sources)
    );
}

#[test]
fn the_example_with_every_default_commented_in_has_the_defaults() {
    let text = example_with(|| true);
    assert!(text.contains("\nping_interval_ms = 25000\n"), "something was commented in");
    assert_eq!(load(&text).config, defaults());
}

proptest! {
    #[test]
    fn the_example_with_any_defaults_commented_in_has_the_defaults(choices in prop::collection::vec(any::<bool>(), 100)) {
        let mut choices = choices.into_iter().cycle();
        prop_assert_eq!(load(&example_with(|| choices.next().unwrap())).config, defaults());
    }
}

/// What a bridge needs below its keys.
const RULE: &str = "[[bridge.rule]]\ndirection = \"out\"\nfilter = \"a\"";

#[test]
fn every_example_value_is_valid() {
    for section in SECTIONS {
        for key in section.keys {
            let Some(example) = key.example else { continue };
            let text = match section.repetition {
                Repetition::Once => format!("[{}]\n{} = {example}", section.path, key.name),
                Repetition::Many => {
                    let needed = |other: &&Key| other.name != key.name && other.default == Default::Required;
                    let others = section.keys.iter().filter(needed);
                    let others = others.map(|key| format!("\n{} = {}", key.name, key.example.unwrap()));
                    let text = format!(
                        "[[{}]]\n{} = {example}{}",
                        section.path,
                        key.name,
                        others.collect::<String>()
                    );
                    match section.path {
                        "bridge" => format!("{text}\n{RULE}"),
                        "bridge.rule" => format!("[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n{text}"),
                        _ => text,
                    }
                }
            };
            // Files of TLS come in pairs only.
            let other = if key.name == "certificate" { "key" } else { "certificate" };
            let files = "\n[tls]\nkey = \"a\"\ncertificate = \"a\"";
            let text = match (section.path, key.name) {
                ("tls", _) => format!("{text}\n{other} = {example}"),
                ("mqtt", "tls_listen") => format!("{text}{files}"),
                // What goes into a queue needs one.
                ("binding", _) => format!("{text}\n[[queue]]\nname = \"orders\""),
                ("webhook", _) => format!("{text}\n[auth]\nmode = \"back_end\""),
                ("socketio.namespace", "queue") => format!("{text}\nname = \"/\""),
                ("auth.jwt", "jwks_url") => format!("{text}\naudience = [\"a\"]"),
                ("mqtt", "tls_client_ca") => format!("{text}\ntls_listen = \"0.0.0.0:8883\"{files}"),
                _ => text,
            };
            assert_eq!(problems(&file(&text)), "no problem", "{text}");
        }
    }
}

#[test]
fn every_key_is_read() {
    // A value of a type that no key has is refused for every key that is looked at, and only there.
    for path in single_keys() {
        let (section, name) = path.split_once('.').unwrap();
        let told = problems(&file(&format!("[{section}]\n{name} = 1979-05-27")));
        assert!(told.contains(&format!("trunkline.toml:2:{}: {path}: must be", name.len() + 4)), "{told}");
    }
}

#[test]
fn every_key_and_section_is_documented() {
    let documented = |doc: &str| doc.trim().ends_with('.');
    let bad_key = |key: &&Key| !documented(key.doc);
    for section in SECTIONS {
        assert!(documented(section.doc), "{}", section.path);
        assert!(!section.keys.iter().any(|key| bad_key(&key)), "{}", section.path);
    }
    let limits_without_end = Limits::SECTION.keys.iter().filter(|key| key.range.is_none());
    assert_eq!(limits_without_end.count(), 0, "a limit has a range and a unit");
}

#[test]
fn integers_have_ranges_that_hold_their_defaults() {
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        assert_eq!(key.kind == super::super::table::Kind::Integer, key.range.is_some(), "{}", key.name);
        if let (Some(range), Default::Toml(default)) = (key.range, key.default) {
            let default: i64 = default.replace('_', "").parse().unwrap();
            assert!((range.low..=range.high).contains(&default), "{}", key.name);
        }
    }
}

#[test]
fn the_committed_pages_are_up_to_date() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, generated, command) in [
        ("docs/config.md", config_reference(), "config"),
        ("docs/limits.md", limits_reference(), "limits"),
        ("trunkline.toml", example(), "example"),
    ] {
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(committed == generated, "run `cargo run -- reference {command} > {path}`");
    }
}
