//! The language of the scripts. A line is a step; lines with `>` say all that clients get by it, each in its order, or with
//! `>~` in any.
//!
//! ```text
//! A claims [fresh] [paused] [keep=MS|ever] [window=N] [user=U] [will=CHANNEL:BODY] [delay=MS] [life=MS] [q1|q2] [retain]
//! A lost | A bye | A amends keep=MS | A pauses | A resumes N
//! A joins FILTER [q1|q2] [group=G] [label=N] [skip_own] [keep_retain] [if_new|never]
//! A parts FILTER [group=G]
//! A offers CHANNEL BODY [q1|q2] [as=N] [retain] [life=MS]           A forgets N
//! A done|received|forgot|declines N
//! office publishes CHANNEL[,CHANNEL] BODY [q1|q2] [retain] [volatile] [tell]      ($client/A stands for A's session)
//! office subscribes|unsubscribes|kicks|disconnects A [FILTER]
//! time MS | hold | flow
//! ```

use crate::node::{LARGE_BYTES, Node, token};
use hub::{
    CatchUp, ChannelName, Claim, Command, Join, Members, Millis, Offer, Options, Quality, Reason, SessionId,
    Step, Target, Traits, Will, claim_home,
};

/// A rule, and a script that shows it.
pub type Rule = (&'static str, &'static str);

/// Runs every rule on one shard and on several.
pub fn check(rules: &[Rule]) {
    check_on(&[1, 2, 3, 5], rules);
}

pub fn check_on(nodes: &[u8], rules: &[(&str, &str)]) {
    for (rule, script) in rules {
        for shards in nodes {
            let mut node = Node::new(*shards);
            run(&mut node, rule, script);
            node.close();
        }
    }
}

pub fn run(node: &mut Node, rule: &str, script: &str) {
    let shards = node.hubs.len();
    let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    while let Some(step) = lines.next() {
        let (mut expected, mut is_free) = (Vec::new(), false);
        while let Some(line) = lines.next_if(|line| line.starts_with('>')) {
            is_free |= line.starts_with(">~");
            expected.push(line.trim_start_matches(['>', '~']).trim_start().to_owned());
        }
        perform(node, step);
        let got = std::mem::take(&mut node.got);
        let got = got.iter().flat_map(|(name, texts)| texts.iter().map(move |text| format!("{name} {text}")));
        let mut got: Vec<String> = got.collect();
        // Each client's in order; between clients there is none.
        let name = |line: &String| line.split(' ').next().unwrap().to_owned();
        got.sort_by_key(name);
        expected.sort_by_key(name);
        if is_free {
            got.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(got, expected, "\n{rule}\non {shards} shards, after: {step}\n");
    }
}

fn perform(node: &mut Node, step: &str) {
    let words: Vec<&str> = step.split(' ').collect();
    match words.as_slice() {
        ["time", ms] => {
            node.now += ms.parse::<u64>().unwrap();
            node.flow();
        }
        ["hold"] => node.is_held = true,
        ["flow"] => {
            node.is_held = false;
            node.flow();
        }
        ["office", "publishes", channels, body, rest @ ..] => publish(node, channels, body, &Rest(rest)),
        ["office", what, who, rest @ ..] => manage(node, what, who, rest),
        [who, "claims", rest @ ..] => claim(node, who, &Rest(rest)),
        [who, what, rest @ ..] => act(node, who, what, rest),
        _ => panic!("{step}"),
    }
}

/// What follows the fixed words of a step.
struct Rest<'a>(&'a [&'a str]);

impl Rest<'_> {
    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key).map(|value| if value == "ever" { u64::MAX } else { value.parse().unwrap() })
    }

    fn quality(&self) -> Quality {
        match (self.has("q1"), self.has("q2")) {
            (false, false) => Quality::AtMostOnce,
            (true, _) => Quality::AtLeastOnce,
            (_, true) => Quality::ExactlyOnce,
        }
    }

    fn traits(&self, now: u64) -> Traits {
        let expires = self.number("life").map(|life| Millis(now + life));
        let key = self.value("key").map(Into::into);
        Traits { quality: self.quality(), retain: self.has("retain"), expires, key, ..Traits::default() }
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 40).expect("valid")
}

fn claim(node: &mut Node, who: &str, rest: &Rest<'_>) {
    let tag = node.tag(who);
    let will = rest.value("will").map(|will| {
        let (to, body) = will.split_once(':').unwrap();
        let traits = Traits { expires: None, ..rest.traits(0) };
        let publish = *node.publish(Target::Channel(channel(to)), body, traits);
        let (expires_after_ms, delay_ms) = (rest.number("life"), rest.number("delay").unwrap_or(0));
        Box::new(Will { publish, expires_after_ms, delay_ms })
    });
    let random = (u128::from(node.number()) << 56).to_be_bytes();
    let claim = Claim {
        tag,
        name: who.into(),
        fresh: rest.has("fresh"),
        keep_ms: rest.number("keep").unwrap_or(0),
        window: rest.number("window").unwrap_or(10) as u16,
        will,
        user: rest.value("user").map(Into::into),
        info: None,
        random: random[..9].try_into().unwrap(),
    };
    let shard = usize::from(claim_home(who, &node.topology).0);
    node.apply(shard, Command::Claim(Box::new(claim)));
    if !rest.has("paused") && node.clients.get(who).is_some_and(|client| client.tag == tag) {
        node.apply(shard, Command::Resume { session: node.client(who).key, budget: 1000 });
    }
}

fn act(node: &mut Node, who: &str, what: &str, words: &[&str]) {
    let (client, request) = (node.client(who), node.number());
    let (session, rest) = (client.key, Rest(words));
    let number = || words[0].parse::<u16>().unwrap();
    let settle = |step| Command::Settle { session, number: number(), step };
    let amend = |keep_ms, drop_will| Command::Amend { session, keep_ms, drop_will };
    let command = match what {
        "lost" => Command::Detach { session, reason: Reason::ConnectionFailed },
        "bye" => {
            node.apply(client.shard, amend(None, true));
            Command::Detach { session, reason: Reason::ClientLeft }
        }
        "amends" => amend(rest.number("keep"), false),
        "pauses" => Command::Pause(session),
        "resumes" => Command::Resume { session, budget: u32::from(number()) },
        "done" => settle(Step::Done),
        "received" => settle(Step::Received),
        "forgot" => settle(Step::Forgotten),
        "declines" => settle(Step::Declined),
        "forgets" => Command::Forget { session, exchange: number(), request },
        "parts" => {
            let group = rest.value("group").map(Into::into);
            Command::Leave { session, filter: words[0].to_owned(), group, request }
        }
        "joins" => Command::Join(join(session, words[0], &rest, request)),
        "offers" => {
            let traits = rest.traits(node.now);
            let publish = *node.publish(Target::Channel(channel(words[0])), &body(words[1]), traits);
            let exchange = rest.number("as").map(|number| number as u16);
            Command::Offer(Box::new(Offer { session, exchange, publish, request }))
        }
        _ => panic!("{who} {what}"),
    };
    node.apply(client.shard, command);
}

fn join(session: hub::SessionKey, filter: &str, rest: &Rest<'_>, request: u64) -> Join {
    let options = Options {
        quality: rest.quality(),
        skip_own: rest.has("skip_own"),
        keep_retain: rest.has("keep_retain"),
        label: rest.number("label").unwrap_or(0) as u32,
        ..Options::default()
    };
    let catch_up = match (rest.has("if_new"), rest.has("never")) {
        (true, _) => CatchUp::IfNew,
        (_, true) => CatchUp::Never,
        _ => CatchUp::Always,
    };
    let group = rest.value("group").map(Into::into);
    Join { session, filter: filter.to_owned(), group, options, catch_up, request }
}

/// `-` is an empty one.
fn body(text: &str) -> String {
    match text {
        "-" => String::new(),
        "LARGE" => "L".repeat(LARGE_BYTES),
        text => text.to_owned(),
    }
}

fn publish(node: &mut Node, channels: &str, text: &str, rest: &Rest<'_>) {
    let name = |name: &str| match name.strip_prefix("$client/") {
        Some(who) => ChannelName::client(node.client(who).id),
        None => channel(name),
    };
    let names: Vec<ChannelName> = channels.split(',').map(name).collect();
    let session = |name: &ChannelName| -> Option<SessionId> { name.session() };
    let (target, shards) = match names.as_slice() {
        [name] => match session(name) {
            Some(id) => {
                let shard = usize::from(node.topology.owner(id.partition()).0);
                (Target::Session(id), shard..shard + 1)
            }
            None => (Target::Channel(name.clone()), node.home(name)..node.home(name) + 1),
        },
        _ => (Target::Union(names), 0..node.hubs.len()),
    };
    for shard in shards {
        let traits = rest.traits(node.now);
        let mut publish = node.publish(target.clone(), &body(text), traits);
        publish.volatile = rest.has("volatile");
        publish.token = rest.has("tell").then(|| token(node));
        node.apply(shard, Command::Publish(publish));
    }
}

fn manage(node: &mut Node, what: &str, who: &str, rest: &[&str]) {
    let client = node.client(who);
    let (of, token) = (Members::Session(client.id), token(node));
    let filter = || rest[0].to_owned();
    let command = match what {
        "subscribes" => Command::Subscribe { of, filter: filter(), token },
        "unsubscribes" => Command::Unsubscribe { of, filter: filter(), token },
        "kicks" => Command::EndMembers { of, reason: Reason::Kicked, token },
        "disconnects" => Command::EndMembers { of, reason: Reason::Disconnected, token },
        _ => panic!("office {what}"),
    };
    node.apply(client.shard, command);
}
