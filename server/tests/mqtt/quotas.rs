//! How many sessions a user may have, over protocols: who is refused, who ends, and in whose words.

use hub::{ChannelName, ShardId, Topology};

use super::rig::{Opening, Post, Site};
use super::token::token_for;
use super::tokens::{auth, joined, opening, site};

const RELAYED: &str = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n";

fn site_of(max_sessions: u32, when_full: &str) -> Site {
    site(&format!("[users]\nmax_sessions = {max_sessions}\nwhen_full = \"{when_full}\"\n{RELAYED}"))
}

/// A user whose home is this shard.
fn user_at(shard: u8) -> String {
    let topology = Topology { shards: 2, partitions: 64 };
    let is_there = |user: &String| ChannelName::user(user).home(&topology) == ShardId(shard);
    (0..).map(|n| format!("u{n}")).find(is_there).unwrap()
}

fn token_of(user: &str) -> String {
    token_for(user, "\"#\"", "\"publish\", \"subscribe\"", "")
}

#[test]
fn one_more_is_refused_in_the_words_of_its_protocol_and_leaves_nothing() {
    for shard in 0..2 {
        let site = site_of(1, "refuse");
        let token = token_of(&user_at(shard));
        let first = site.client_at(0, "a");
        let mut client = site.open(0);
        assert_eq!(client.connect(&opening(&first, &token)), "CONNACK new 00");
        assert_eq!(client.subscribe(1, &[("gone", 0)]), "SUBACK #1 [00]");
        for home in 0..2 {
            let mut second = site.open(1);
            let id = site.client_at(home, "b");
            let will = Post::new("gone", "x");
            assert_eq!(second.connect(&opening(&id, &token).lasting(100).will(will)), "CONNACK new 97");
            second.expect(&["END"]);
            let mut old = site.open(1);
            let opening = Opening { user: Some("u"), password: Some(token.as_bytes()), ..Opening::v3(&id) };
            // 5, not authorized, in the words of version 5.
            assert_eq!(old.connect(&opening), "CONNACK new 87");
            old.expect(&["END"]);
        }
        let (mut socket, said) = joined(&site, "", &[], &auth(&token));
        assert_eq!(said, "44{\"message\":\"Too many sessions\"}");
        assert!(!socket.has_ended(), "its other namespaces are not concerned");
        let mut other = site.open(0);
        assert_eq!(other.connect(&opening("other", &token_of("somebody"))), "CONNACK new 00");
        client.expect(&[]);
        // The same client again is the same session.
        let mut again = site.open(0);
        assert_eq!(again.connect(&opening(&first, &token)), "CONNACK new 00");
        client.expect(&["DISCONNECT 8E", "END"]);
        again.disconnect(0, None);
        let (_socket, said) = joined(&site, "", &[], &auth(&token));
        assert!(said.starts_with("40{"), "{said}");
        assert_eq!(site.sessions(), 2);
    }
}

#[test]
fn the_oldest_ends_before_the_newest_is_let_in() {
    for shard in 0..2 {
        let site = site_of(1, "end_oldest");
        let token = token_of(&user_at(shard));
        let (mut socket, said) = joined(&site, "", &[], &auth(&token));
        assert!(said.starts_with("40{"), "{said}");
        let mut first = site.open(0);
        assert_eq!(first.connect(&opening(&site.client_at(0, "a"), &token)), "CONNACK new 00");
        assert_eq!(socket.texts(), ["41"], "clients of Socket.IO stay away after that");
        assert!(!socket.has_ended());
        let mut second = site.open(0);
        assert_eq!(second.connect(&opening(&site.client_at(1, "b"), &token)), "CONNACK new 00");
        first.expect(&["DISCONNECT 98", "END"]);
        let mut other = site.open(0);
        assert_eq!(other.connect(&opening("other", &token_of("somebody"))), "CONNACK new 00");
        second.expect(&[]);
        assert_eq!(site.sessions(), 2);
    }
}

#[test]
fn a_session_without_a_connection_makes_room() {
    let site = site_of(1, "refuse");
    let token = token_of("u1");
    let mut first = site.open(0);
    assert_eq!(first.connect(&opening("a", &token).lasting(1000)), "CONNACK new 00");
    first.cut();
    site.run();
    let mut second = site.open(0);
    assert_eq!(second.connect(&opening("b", &token).lasting(1000)), "CONNACK new 00");
    assert_eq!(site.sessions(), 1, "what waited for the first is gone with it");
    let mut first = site.open(0);
    assert_eq!(first.connect(&opening("a", &token).lasting(1000)), "CONNACK new 97");
    second.cut();
    site.run();
    let mut second = site.open(0);
    assert_eq!(second.connect(&opening("b", &token).lasting(1000)), "CONNACK present 00", "it goes on");
    let mut first = site.open(0);
    assert_eq!(first.connect(&opening("a", &token).lasting(1000)), "CONNACK new 97");
}
