//! What finding the subscribers of a message costs when there are very many filters, in processor time: `cargo run --release -p
//! trunkline-hub --example matching`. One session each, all on one hub; a message goes to one of them, so that the time is that
//! of the search, of one delivery, and of memory that is in no cache.

use bytes::Bytes;
use trunkline_hub::{
    Body, CatchUp, ChannelName, Claim, Command, Config, Effects, Hub, Join, Limits, MessageId, Millis,
    Options, Publish, RecoveryLimits, SessionKey, ShardId, Tag, Target, Topology, Traits,
};

const MESSAGES: u32 = 200_000;

fn main() {
    println!(
        "| filters | of them wildcards | ns a message, to 64 of the channels | ns, to all in turn | sessions reached |"
    );
    println!("|---|---|---|---|---|");
    for count in [100, 1_000, 10_000, 100_000] {
        told(count, 0);
    }
    for count in [100, 1_000, 10_000] {
        told(count, count);
    }
    told(110_000, 10_000);
}

/// The best of three, since others use the machine, too.
fn told(filters: u32, wildcards: u32) {
    let mut hub = hub(filters, wildcards);
    let channels: Vec<ChannelName> =
        (0..filters).map(|at| ChannelName::parse(&channel(at), 100).expect("valid")).collect();
    // Far from each other, as the messages of many devices are.
    let spread = |number: u32, among: u32| (u64::from(number) * 7_919 % u64::from(among)) as usize;
    let mut measure = |among: u32| {
        let (mut best, mut reached) = (u64::MAX, 0);
        for _ in 0..3 {
            let mut effects = Effects::default();
            let begin = cpu_ns();
            reached = 0;
            for number in 0..MESSAGES {
                let channel = channels.get(spread(number, among)).expect("no more than there are filters");
                hub.apply(Millis(1), publish(channel), &mut effects);
                reached += effects.recipients.len();
                effects.clear();
            }
            best = best.min((cpu_ns() - begin) / u64::from(MESSAGES));
        }
        (best, reached as f64 / f64::from(MESSAGES))
    };
    let ((few, _), (all, reached)) = (measure(64), measure(filters));
    println!("| {filters} | {wildcards} | {few} | {all} | {reached:.2} |");
}

/// Time on a processor, so that others who use the machine do not count.
fn cpu_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let ns = told.split(' ').next().and_then(|ns| ns.parse().ok());
    ns.expect("the first number is the time")
}

fn channel(at: u32) -> String {
    format!("site/{}/device/{at}/temperature", at % 97)
}

fn filter(at: u32, wildcards: u32) -> String {
    match at {
        at if at >= wildcards => channel(at),
        at if at % 2 == 0 => format!("site/{}/device/{at}/#", at % 97),
        at => format!("site/+/device/{at}/temperature"),
    }
}

fn hub(filters: u32, wildcards: u32) -> Hub {
    let topology = Topology { shards: 1, partitions: 64 };
    let mut hub =
        Hub::new(Config { shard: ShardId(0), topology, epoch: 1, limits: limits(), rules: Vec::new() });
    let mut effects = Effects::default();
    for at in 0..filters {
        let claim = Claim {
            tag: Tag(at),
            name: format!("client-{at}").into(),
            fresh: true,
            keep_ms: 0,
            window: 10,
            will: None,
            user: None,
            info: None,
            random: [0; 9],
        };
        let session = SessionKey(at);
        let join = Join {
            session,
            filter: filter(at, wildcards),
            group: None,
            options: Options::default(),
            catch_up: CatchUp::Never,
            request: 0,
        };
        let resume = Command::Resume { session, budget: 1 };
        for command in [Command::Claim(Box::new(claim)), resume, Command::Join(join)] {
            hub.apply(Millis(0), command, &mut effects);
            effects.clear();
        }
    }
    hub
}

fn publish(channel: &ChannelName) -> Command {
    Command::Publish(Box::new(Publish {
        id: MessageId(1),
        target: Target::Channel(channel.clone()),
        event: None,
        body: Body::Raw(Bytes::from_static(b"21.5")),
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: None,
        traits: Traits::default(),
        receipt: None,
    }))
}

fn limits() -> Limits {
    Limits {
        sessions_max: 1_000_000,
        channels_max: 1_000_000,
        subscriptions_per_session_max: 10,
        channel_name_bytes_max: 100,
        outbox_messages_max: 10,
        outbox_bytes_max: 1_000,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 0,
        retained_max: 0,
        retained_bytes_max: 0,
        delayed_max: 0,
        delayed_bytes_max: 0,
        recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
    }
}
