//! Rules about what code may reach for: clocks, sockets and locks in the pure crates, crates in rooms, `unsafe`,
//! cargo features.
//!
//! The graph of crates itself is read from the manifests by `workspace`; this module looks at source files.

use super::Finding;
use super::source::Source;

/// Crates that take bytes and time in and give effects out.
const PURE: [&str; 2] = ["wire", "hub"];
/// Banned in the pure crates, tests included: tests run on virtual time too.
const CLOCK_AND_NETWORK: [&str; 6] = ["std::time", "core::time", "std::net", "core::net", "tokio", "mio"];
/// Banned in the pure crates outside tests, which may read vectors from files.
const INPUT_OUTPUT: [&str; 12] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::io::stdin",
    "std::io::stdout",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "futures",
];
/// A length of time is data; only clocks are banned.
const TIME_VALUES: [&str; 2] = ["std::time::Duration", "core::time::Duration"];
/// The rooms of the server that may name the pure crates: the doors, the loop between them, what they say to each other,
/// what of it outlives the process and what the library shows of that. Configuration, command line and logging may not.
const ROOMS: [&str; 8] = [
    "server/src/front/",
    "server/src/back/",
    "server/src/embed/",
    "server/src/shard/",
    "server/src/state/",
    "server/src/journal/",
    "server/src/mail.rs",
    "server/src/lib.rs",
];

/// All rules of this module.
pub(crate) fn check(source: &Source, out: &mut Vec<Finding>) {
    let product = source.path.contains("/src/") || source.path.contains("/build.rs");
    if product && PURE.contains(&source.member()) {
        pure(source, out);
    }
    if source.path.starts_with("server/src/") && !ROOMS.iter().any(|room| source.path.starts_with(room)) {
        rooms(source, out);
    }
    keywords(source, out);
}

fn found(source: &Source, line: usize, rule: &'static str, subject: &str, message: String) -> Finding {
    Finding { path: source.path.clone(), line, rule, subject: subject.to_owned(), message }
}

fn under(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn pure(source: &Source, out: &mut Vec<Finding>) {
    let rule = if source.member() == "wire" { "wire-no-io" } else { "hub-no-io" };
    for (path, line) in &source.paths {
        if TIME_VALUES.contains(&path.as_str()) {
            continue;
        }
        let clock = CLOCK_AND_NETWORK.iter().any(|banned| under(path, banned));
        let reads_clock = ["Instant::now", "SystemTime::now"].iter().any(|call| path.ends_with(call));
        let io = !source.in_test(*line) && INPUT_OUTPUT.iter().any(|banned| under(path, banned));
        if clock || reads_clock || io {
            let message = format!("`{path}`: bytes and time come in as arguments here");
            out.push(found(source, *line, rule, path, message));
        }
    }
    for token in source.tokens.iter().filter(|token| token.ident) {
        if matches!(token.text.as_str(), "async" | "await") {
            let message = format!("`{}`: nothing waits here", token.text);
            out.push(found(source, token.line, rule, &token.text, message));
        }
    }
}

fn rooms(source: &Source, out: &mut Vec<Finding>) {
    for (path, line) in &source.paths {
        let first = path.split("::").next().unwrap_or_default();
        if path.contains("::") && matches!(first, "wire" | "hub" | "trunkline_wire" | "trunkline_hub") {
            let message = format!(
                "`{path}`: only the doors (front/, back/, embed/, shard/, mail.rs), state/ and journal/ see wire and hub"
            );
            out.push(found(source, *line, "server-rooms", path, message));
        }
    }
}

/// `unsafe`, and features of Cargo as `cfg(feature = ..)`, `cfg!` or `cfg_attr`.
fn keywords(source: &Source, out: &mut Vec<Finding>) {
    for (index, token) in source.tokens.iter().enumerate() {
        if token.ident && token.text == "unsafe" {
            let message = "`unsafe` is forbidden outside one named module".to_owned();
            out.push(found(source, token.line, "unsafe", "unsafe", message));
        }
        let mut after = source.tokens.iter().skip(index + 1).map(|next| next.text.as_str());
        let condition = token.ident && matches!(token.text.as_str(), "cfg" | "cfg_attr");
        if condition && names_a_feature(&mut after) {
            let message = "no cargo features: the product is one binary".to_owned();
            out.push(found(source, token.line, "cfg-feature", "feature", message));
        }
    }
}

/// Looks through the parentheses after `cfg`.
fn names_a_feature(after: &mut dyn Iterator<Item = &str>) -> bool {
    let mut depth = 0_usize;
    let mut feature = false;
    for text in after {
        match text {
            "!" if depth == 0 => {}
            "(" => depth += 1,
            ")" if depth <= 1 => return false,
            ")" => depth -= 1,
            _ if depth == 0 => return false,
            "=" if feature => return true,
            _ => feature = text == "feature",
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::findings;

    #[test]
    fn pure_crates_have_no_clock_network_or_lock() {
        for line in [
            "use std::time::Instant;",
            "use std::{fmt, time::{Duration, SystemTime}};",
            "use std::time;",
            "fn f() { let a = std::net::TcpStream::connect(b); }",
            "fn f() { Instant::now(); }",
            "use tokio::sync::mpsc;",
            "use std::sync::Mutex;",
            "fn f() { std::fs::read(a); }",
        ] {
            assert_eq!(findings(check, "wire/src/a.rs", line), ["1 wire-no-io"], "{line}");
            assert_eq!(findings(check, "hub/src/a.rs", line), ["1 hub-no-io"], "{line}");
            assert_eq!(findings(check, "load/src/a.rs", line), [""; 0], "{line}");
        }
    }

    #[test]
    fn durations_and_arcs_are_values() {
        for line in [
            "use std::time::Duration;",
            "use std::{sync::Arc, time::Duration};",
            "fn f(a: std::time::Duration) {}",
            "#[cfg(test)] mod tests { use std::fs; }",
        ] {
            assert_eq!(findings(check, "hub/src/a.rs", line), [""; 0], "{line}");
        }
        let test = "#[cfg(test)] mod tests { use std::time::Instant; }";
        assert_eq!(findings(check, "hub/src/a.rs", test), ["1 hub-no-io"]);
    }

    #[test]
    fn nothing_waits_in_pure_crates() {
        assert_eq!(findings(check, "wire/src/a.rs", "async fn f() {}"), ["1 wire-no-io"]);
        assert_eq!(findings(check, "server/src/back/a.rs", "async fn f() {}"), [""; 0]);
    }

    #[test]
    fn only_the_front_and_the_back_see_wire_and_hub() {
        assert_eq!(findings(check, "server/src/config/a.rs", "use hub::Hub;"), ["1 server-rooms"]);
        assert_eq!(findings(check, "server/src/cli.rs", "fn f(a: wire::Frame) {}"), ["1 server-rooms"]);
        assert_eq!(findings(check, "server/src/front/a.rs", "use hub::Hub;"), [""; 0]);
        assert_eq!(findings(check, "server/src/config/a.rs", "fn f(hub: Hub) { hub.apply(); }"), [""; 0]);
    }

    #[test]
    fn unsafe_is_found_and_strings_about_it_are_not() {
        assert_eq!(findings(check, "load/src/a.rs", "fn f() { unsafe { g() } }"), ["1 unsafe"]);
        assert_eq!(findings(check, "load/src/a.rs", "const A: &str = \"unsafe\"; // unsafe"), [""; 0]);
    }

    #[test]
    fn features_of_cargo_are_found() {
        for line in [
            "#[cfg(feature = \"a\")] fn f() {}",
            "#[cfg(all(unix, feature = \"a\"))] fn f() {}",
            "fn f() { if cfg!(feature = \"a\") {} }",
            "#[cfg_attr(feature = \"a\", derive(Clone))] struct S;",
        ] {
            assert_eq!(findings(check, "load/src/a.rs", line), ["1 cfg-feature"], "{line}");
        }
        assert_eq!(findings(check, "load/src/a.rs", "#[cfg(unix)] fn f(feature: u8) {}"), [""; 0]);
    }
}
