//! Names and patterns: what is taken and what matches.

use super::*;
use proptest::prelude::*;

#[test]
fn filters() {
    for good in ["a", "a/b", "+", "#", "+/a/#", "a/+/b", "/", "$sys/#", "ä/ö"] {
        assert!(ChannelFilter::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a+", "a/b#", "#/a", "a/#/b", "a\0b", "a\nb"] {
        assert!(ChannelFilter::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn channels() {
    for good in ["a", "a/b", "chat room", "é"] {
        assert!(ChannelName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a/+", "#", "$sys/x", "a\tb"] {
        assert!(ChannelName::parse(bad).is_err(), "{bad:?}");
    }
    assert!(ChannelName::parse(&"x".repeat(2048)).is_ok());
    assert!(ChannelName::parse(&"x".repeat(2049)).is_err());
}

#[test]
fn namespaces() {
    for good in ["/", "/a", "/a/b", "/a-b.c_d"] {
        assert!(NamespaceName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a", "/a,b", "/a?b", "/a/", "//", "/a*", "/a#", "/$a"] {
        assert!(NamespaceName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn patterns_match_within_levels() {
    for (pattern, matching, others) in [
        ("/dyn-*", &["/dyn-1", "/dyn-x-y"][..], &["/dyn-", "/dyn", "/xdyn-1", "/dyn-1/a", "/"][..]),
        ("/*", &["/a", "/ab"], &["/", "/a/b", ""]),
        ("/a/*/c", &["/a/b/c"], &["/a/c", "/a//c", "/a/b/d", "/a/b/c/d"]),
        ("/a*b*c", &["/axbxc", "/axbxbxc", "/aabbcc"], &["/abc", "/axbc", "/abxc", "/axb"]),
        ("/*a", &["/aa", "/xa"], &["/a", "/ab"]),
        ("/*ü*", &["/xüx"], &["/üx", "/xü"]),
    ] {
        let parsed = NamespacePattern::parse(pattern).unwrap();
        for name in matching {
            assert!(parsed.matches(name), "{pattern} {name}");
        }
        for name in others {
            assert!(!parsed.matches(name), "{pattern} {name}");
        }
    }
    assert!(NamespacePattern::parse("/a").is_err());
    assert!(NamespacePattern::parse("/a**").is_err());
}

#[test]
fn paths_match_with_and_without_the_last_slash() {
    for (path, yes, no) in [
        (
            "/socket.io/",
            &["/socket.io/", "/socket.io"][..],
            &["/socket.io/x", "/socket.i", "/socket.iox", ""][..],
        ),
        ("/socket.io", &["/socket.io/", "/socket.io"], &["/"]),
        ("/", &["/"], &["", "/a"]),
    ] {
        let parsed = HttpPath::parse(path).unwrap();
        assert!(yes.iter().all(|request| parsed.matches(request)), "{path}");
        assert!(!no.iter().any(|request| parsed.matches(request)), "{path}");
    }
}

#[test]
fn origins() {
    for good in ["https://a.example", "http://localhost:3000", "http://[::1]:3000", "app://obsidian.md"] {
        assert!(Origin::parse(good).is_ok(), "{good}");
    }
    for bad in
        ["", "a.example", "https://", "https://a.example/x", "https://*.example", "https://a b", "://a"]
    {
        assert!(Origin::parse(bad).is_err(), "{bad:?}");
    }
    let listed = Origins::Listed(vec![Origin::parse("https://A.example").unwrap()]);
    assert!(listed.allow("https://a.EXAMPLE") && !listed.allow("https://a.example.evil"));
}

/// Matches by trying every split: slow and plainly right.
fn matches_slowly(level: &str, pattern: &str) -> bool {
    match pattern.chars().next() {
        None => level.is_empty(),
        Some('*') => (1..=level.len())
            .filter(|&at| level.is_char_boundary(at))
            .any(|at| matches_slowly(&level[at..], &pattern[1..])),
        Some(first) => {
            level.strip_prefix(first).is_some_and(|rest| matches_slowly(rest, &pattern[first.len_utf8()..]))
        }
    }
}

proptest! {
    #[test]
    fn a_level_matches_as_by_trying_every_split(level in "[abü]{0,8}", pattern in "([abü]{0,2}\\*){1,3}[abü]{0,2}") {
        prop_assume!(!pattern.contains("**"));
        let parsed = NamespacePattern::parse(&format!("/{pattern}")).unwrap();
        prop_assert_eq!(parsed.matches(&format!("/{level}")), matches_slowly(&level, &pattern));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _outcome = Config::load(&file(&text), MACHINE);
    }

    #[test]
    fn no_value_makes_a_key_panic(value in "\\PC{0,40}", pick in any::<prop::sample::Index>()) {
        let keys: Vec<String> = super::generated::single_keys().collect();
        let argument = Argument { shown: "--set".into(), key: pick.get(&keys).clone(), value };
        let _outcome = Config::load(&Sources { arguments: vec![argument], ..file("") }, MACHINE);
    }
}
