//! Values that channels retain.

use crate::node::Node;
use crate::script::{Rule, check, check_on, run};
use hub::{
    Body, CatchUp, ChannelName, Command, Join, MessageId, Millis, Options, Publish, Quality, Step, Target,
    Traits, claim_home,
};

const RULES: &[Rule] = &[
    (
        "who subscribes gets the newest value, at the quality of the subscription",
        "office publishes r old q1 retain
         office publishes r new q1 retain
         office publishes r/1 one q2 retain
         a claims
         > a claimed new
         a joins r q2 label=4
         > a joined new
         > a r new q1 #1 retained =4
         b claims
         > b claimed new
         b joins r/#
         >~ b joined new
         >~ b r new retained
         >~ b r/1 one retained",
    ),
    (
        "an empty body takes the value away and is delivered",
        "a claims
         > a claimed new
         a joins r
         > a joined new
         office publishes r v retain
         > a r v
         office publishes r - retain
         > a r 
         office publishes r/1 - retain
         a joins r
         > a joined
         a joins r/#
         > a joined new",
    ),
    (
        "what is not to be retained touches no value",
        "office publishes r v retain
         office publishes r w
         a claims
         > a claimed new
         a joins r
         > a joined new
         > a r v retained",
    ),
    (
        "always, if the subscription is new, or never",
        "office publishes r v retain
         a claims
         > a claimed new
         a joins r if_new
         > a joined new
         > a r v retained
         a joins r if_new
         > a joined
         a joins r never
         > a joined
         a joins r
         > a joined
         > a r v retained
         b claims
         > b claimed new
         b joins r never
         > b joined new
         b joins r group=g
         > b joined new",
    ),
    (
        "a value is gone when its life is over",
        "office publishes r v retain life=10
         time 9
         a claims
         > a claimed new
         a joins r
         > a joined new
         > a r v retained
         time 1
         a joins r
         > a joined",
    ),
    (
        "values outlive their publishers, and several channels at once retain theirs",
        "a claims
         > a claimed new
         a offers r/1 v retain
         a lost
         > a ended ConnectionFailed
         office publishes r/2,r/3 w retain
         b claims
         > b claimed new
         b joins r/+
         >~ b joined new
         >~ b r/1 v retained
         >~ b r/2 w retained
         >~ b r/3 w retained",
    ),
    (
        "`#` does not bring values of names that begin with $",
        "office publishes $r/1 v retain
         a claims
         > a claimed new
         a joins #
         > a joined new
         a joins $r/+
         > a joined new
         > a $r/1 v retained",
    ),
    (
        "the values wait for a place in the window, and for the client",
        "office publishes r/1 1 q1 retain
         office publishes r/2 2 q1 retain
         office publishes r/3 3 q1 retain
         a claims keep=10 window=1
         > a claimed new
         a joins r/1 q1
         > a joined new
         > a r/1 1 q1 #1 retained
         a joins r/2 q1
         > a joined new
         a lost
         a claims keep=10 window=2
         > a claimed resumed
         > a r/1 1 q1 #1 again retained
         > a r/2 2 q1 #2 retained",
    ),
];

#[test]
fn values_are_retained() {
    check(RULES);
}

/// What retains 150 values, and then `script`; and the names in the order of a walk.
fn many(script: &str) -> (String, Vec<String>) {
    let mut names: Vec<String> = (0..150).map(|n| format!("many/{n}")).collect();
    names.sort_unstable();
    let publish = |name: &String| format!("office publishes {name} v q1 retain\n");
    (names.iter().map(publish).collect::<String>() + script + "\n", names)
}

#[test]
fn very_many_values_come_as_the_window_allows() {
    let (mut script, names) = many(
        "a claims window=1
         > a claimed new
         a joins many/# q1
         > a joined new",
    );
    for (name, number) in names.iter().zip(1..) {
        script.push_str(&format!("> a {name} v q1 #{number} retained\na done {number}\n"));
    }
    check_on(&[1], &[("a walk", &script)]);
}

#[test]
fn a_walk_goes_on_after_a_lost_connection_and_ends_with_its_subscription() {
    let (mut script, names) = many(
        "a claims window=1 keep=10
         > a claimed new
         a joins many/+ q1
         > a joined new
         > a many/0 v q1 #1 retained
         a lost
         a claims window=40 keep=10
         > a claimed resumed
         > a many/0 v q1 #1 again retained",
    );
    for (name, number) in names.iter().zip(1..).take(40).skip(1) {
        script.push_str(&format!("> a {name} v q1 #{number} retained\n"));
    }
    script.push_str("a parts many/+\n> a left\n");
    // What has been asked for by then still comes.
    for (name, number) in names.iter().zip(1..).take(64).skip(40) {
        script.push_str(&format!("a done {}\n> a {name} v q1 #{number} retained\n", number - 40));
    }
    script.push_str("a done 25\na done 26\n");
    check_on(&[1], &[("a walk", &script)]);
}

/// Over several homes, the values of each in order, and no more at once than wait in one page.
#[test]
fn a_walk_over_several_homes_loses_nothing() {
    for window in [1, 7, 100] {
        let mut node = Node::new(3);
        let (script, mut names) = many("");
        run(&mut node, "a walk", &script);
        run(&mut node, "a walk", &format!("a claims window={window}\n> a claimed new"));
        let client = node.client("a");
        let options = Options { quality: Quality::AtLeastOnce, ..Options::default() };
        let (filter, catch_up) = ("many/+".to_owned(), CatchUp::Always);
        let join = Join { session: client.key, filter, group: None, options, catch_up, request: 1 };
        node.apply(client.shard, Command::Join(join));
        let (mut got, mut number) = (Vec::new(), 0);
        loop {
            let texts = node.got.remove("a").unwrap_or_default();
            got.extend(texts.into_iter().filter(|text| text != "joined new"));
            number += 1;
            if number > 150 {
                break;
            }
            node.apply(client.shard, Command::Settle { session: client.key, number, step: Step::Done });
        }
        let mut channels: Vec<String> =
            got.iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
        channels.sort_unstable();
        names.sort_unstable();
        assert_eq!(channels, names, "with a window of {window}");
        node.close();
    }
}

/// A value that is published while the subscription is on its way comes live or as retained, not twice.
#[test]
fn a_value_that_races_the_subscription_comes_once() {
    let mut node = Node::new(2);
    let home = usize::from(claim_home("a", &node.topology).0);
    let name = |shard: usize| {
        let is_there =
            |name: &String| ChannelName::parse(name, 9).unwrap().home(&node.topology).0 as usize == shard;
        (0..99).map(|n| format!("many/{n}")).find(is_there).unwrap()
    };
    let (near, far) = (name(home), name(1 - home));
    let script = format!(
        "office publishes {near} old q1 retain
         office publishes {far} old q1 retain
         a claims
         > a claimed new
         hold
         a joins many/# q1
         office publishes {near} new q1 retain
         > a {near} new q1 #1
         office publishes {far} new q1 retain
         flow
         > a joined new
         > a {far} new q1 #2 retained
         a joins many/#
         >~ a joined
         >~ a {near} new retained
         >~ a {far} new retained"
    );
    run(&mut node, "a race", &script);
    node.close();
}

/// What its publisher tells anew does not go on, nor does it take a place from what does.
#[test]
fn a_value_that_is_told_anew_is_in_no_snapshot() {
    let mut node = Node::new(1);
    for (name, told_anew) in [("r/1", false), ("r/2", true)] {
        let publish = Publish {
            id: MessageId(1),
            target: Target::Channel(ChannelName::parse(name, 9).unwrap()),
            event: None,
            body: Body::Raw(bytes::Bytes::from_static(b"v")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { retain: true, told_anew, ..Traits::default() },
            receipt: None,
        };
        node.apply(0, Command::Publish(Box::new(publish)));
    }
    run(
        &mut node,
        "both are there",
        "a claims\n> a claimed new\na joins r/+\n> a joined new\n> a r/1 v retained\n> a r/2 v retained",
    );
    let snapshot = node.hubs[0].snapshot(Millis(0));
    let names: Vec<_> =
        snapshot.retained.iter().map(|at| snapshot.messages[*at as usize].channel.as_str()).collect();
    assert_eq!((names, snapshot.messages.len()), (vec!["r/1"], 1));
}
