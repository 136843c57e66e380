//! Rules about words: protocol words in the hub, registry hosts, paths of one machine, unfinished marks.
//!
//! The hub speaks of channels, sessions and messages only, so that a new protocol never touches it. The other three
//! rules read every committed text file, not only Rust.

use super::Finding;
use super::source::Source;

/// Words that belong to one protocol, in singular; the plural is found too.
const PROTOCOL_WORDS: [&str; 36] = [
    "amqp",
    "cloudevent",
    "connack",
    "eio",
    "engine",
    "engineio",
    "http",
    "jetstream",
    "kafka",
    "mqtt",
    "namespace",
    "nats",
    "ndjson",
    "packet",
    "pingreq",
    "pingresp",
    "puback",
    "pubcomp",
    "pubrec",
    "pubrel",
    "redis",
    "room",
    "sio",
    "socketio",
    "sqlite",
    "sqs",
    "sse",
    "stomp",
    "suback",
    "tcp",
    "tls",
    "topic",
    "unsuback",
    "webhook",
    "websocket",
    "ws",
];

/// Protocol words as part of an identifier or in a comment of `hub`.
pub(crate) fn check(source: &Source, out: &mut Vec<Finding>) {
    if source.member() != "hub" {
        return;
    }
    let names = source.tokens.iter().filter(|token| token.ident).map(|token| (token.line, &token.text));
    let comments = source.comments.iter().map(|comment| (comment.line, &comment.text));
    for (line, text) in names.chain(comments) {
        for word in split(text) {
            let single = word.strip_suffix('s').filter(|_| word.len() > 3).unwrap_or(&word);
            if let Some(banned) = PROTOCOL_WORDS.iter().find(|banned| **banned == word || **banned == single)
            {
                out.push(Finding {
                    path: source.path.clone(),
                    line,
                    rule: "hub-words",
                    subject: (*banned).to_owned(),
                    message: format!("`{banned}` is a protocol's word; the hub has its own"),
                });
            }
        }
    }
}

/// Lower-case words of prose, `snake_case` and `CamelCase`; `socket.io` and `engine.io` stay whole, without dot.
fn split(text: &str) -> Vec<String> {
    let text = text.replace(".io", "io").replace(".IO", "io").replace("-io", "io");
    let mut words = vec![String::new()];
    let mut lower = false;
    for character in text.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && lower) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_alphanumeric(), words.last_mut()) {
            word.extend(character.to_lowercase());
        }
        lower = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Where package managers download from. Written in halves: this file is checked too.
const HOSTS: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("yarnpkg", ".com"),
    concat!("proxy.golang", ".org"),
];
/// How Cargo names its public index in every lock file.
const INDEX: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");
/// Folders that exist on one machine only.
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const MARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// The rules for every text file.
pub(crate) fn check_text(path: &str, text: &str, out: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        let mut found = |rule, subject: &str, message: String| {
            out.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                rule,
                subject: subject.to_owned(),
                message,
            });
        };
        let rest = line.replace(INDEX, "");
        if let Some(host) = HOSTS.iter().find(|host| rest.contains(**host)) {
            found("registry-host", host, format!("`{host}`: package managers know their registries"));
        } else if is_foreign_source(path, &rest) {
            let message = "a lock file names a host; machines have different mirrors".to_owned();
            found("registry-host", "lock", message);
        }
        if let Some(folder) = MACHINE.iter().find(|folder| is_path_at(line, folder)) {
            found("machine-path", folder, format!("`{folder}` exists on one machine"));
        }
        if let Some(mark) = MARKS.iter().find(|mark| is_word_in(line, mark)) {
            found("unfinished", mark, format!("`{mark}`: finish it or open an issue"));
        }
    }
}

/// A source other than the public index in a lock file.
fn is_foreign_source(path: &str, line: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        "Cargo.lock" => line.contains("registry+") || line.contains("sparse+"),
        "package-lock.json" => line.trim_start().starts_with("\"resolved\": \"http"),
        ".npmrc" | "requirements.txt" | "pip.conf" => {
            line.contains("registry=") || line.contains("index-url")
        }
        _ => false,
    }
}

/// The folder at the start of a path, not inside a longer one.
fn is_path_at(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().last());
        !before.is_some_and(|before| before.is_alphanumeric() || "._-/+#$*}".contains(before))
    })
}

fn is_word_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().last());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        ![before, after].iter().flatten().any(|beside| beside.is_alphanumeric() || *beside == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::findings;

    #[test]
    fn the_hub_knows_no_protocol() {
        for line in [
            "struct MqttSession;",
            "fn join_rooms() {}",
            "/// Sends a packet.",
            "// as Socket.IO does",
            "/* the engine */",
            "mod sqs {}",
            "fn f(topic_name: u8) {}",
        ] {
            assert_eq!(
                findings(check, "hub/src/a.rs", &format!("{line}\nstruct S;")),
                ["1 hub-words"],
                "{line}"
            );
            assert_eq!(findings(check, "wire/src/a.rs", &format!("{line}\nstruct S;")), [""; 0], "{line}");
        }
    }

    #[test]
    fn its_own_words_and_words_that_look_alike_are_free() {
        for line in
            ["fn bathroom() {}", "// a channel's history, topical", "struct Engineer;", "fn stop_icing() {}"]
        {
            assert_eq!(findings(check, "hub/src/a.rs", &format!("{line}\nstruct S;")), [""; 0], "{line}");
        }
    }

    fn text_findings(path: &str, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        check_text(path, text, &mut out);
        out.iter().map(|finding| format!("{} {}", finding.line, finding.rule)).collect()
    }

    #[test]
    fn registries_are_not_named() {
        let host = concat!("https://registry.npmjs", ".org/a");
        assert_eq!(text_findings("docs/a.md", host), ["1 registry-host"]);
        assert_eq!(
            text_findings("a/package-lock.json", "  \"resolved\": \"http://mirror/a\""),
            ["1 registry-host"]
        );
        assert_eq!(
            text_findings("Cargo.lock", "source = \"registry+http://mirror/index\""),
            ["1 registry-host"]
        );
        assert_eq!(text_findings("Cargo.lock", &format!("source = \"{INDEX}\"")), [""; 0]);
        assert_eq!(text_findings("a/package-lock.json", "  \"resolved\": \"file:../a\""), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(text_findings("a.sh", concat!("cd /wo", "rk/repo")), ["1 machine-path"]);
        assert_eq!(text_findings("a.sh", concat!("cd \"/ho", "me/a\"")), ["1 machine-path"]);
        assert_eq!(text_findings("a.sh", "cd ./work/repo; ls sport/home/a; ls +/home/a"), [""; 0]);
    }

    #[test]
    fn unfinished_marks_are_found() {
        assert_eq!(text_findings("a.md", concat!("a\n- TO", "DO: b")), ["2 unfinished"]);
        assert_eq!(text_findings("a.md", "a todo list, MASTODON_TODOS"), [""; 0]);
    }
}
