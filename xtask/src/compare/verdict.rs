//! What the product promises, judged by the figures of one comparison.
//!
//! Owns the table of claims and how each is computed. A claim without figures is not measured, never passed. Must not
//! know how pages look. Start at [`verdicts`].

use super::results::{FLOOR, Results, RunResult, ServerResult};
use super::scenario::{Better, SECTIONS};
use super::server::{OURS, Speaks, by_name};

/// One promise.
struct Claim {
    /// On the page.
    text: &'static str,
    section: &'static str,
    run: &'static str,
    /// Of our own report.
    figure: &'static str,
    rule: Rule,
}

/// What our figure has to be.
enum Rule {
    AtMost(f64),
    /// So is another figure of the same run, which is named.
    AtMostBoth(f64, (&'static str, &'static str)),
    AtLeast(f64),
    /// Times a figure of the floor.
    AtLeastTheFloor(f64, &'static str),
    /// Times the best of the peers, those that speak this or all.
    AtLeastTheBest(f64, Option<Speaks>),
    /// Times the best Socket.IO peer, and not above that peer in another figure.
    AtLeastTheBestInTime(f64, &'static str),
    /// Not above our own figure in another run of the section.
    NotAboveRun(&'static str),
    /// Within so many percent over these runs of the section.
    Over(Band, f64, &'static [&'static str]),
    /// The same of what each further session adds from one of these runs to the next.
    Slopes(Band, f64, &'static [&'static str]),
}

/// How figures of several runs may differ.
#[derive(Clone, Copy)]
enum Band {
    /// The largest from the smallest.
    Flat,
    /// Each from the smallest before it: they may fall.
    NoRise,
}

/// One line of the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) text: &'static str,
    /// Name and unit of what was measured, as over the column of the section.
    pub(crate) figure: &'static str,
    /// What was measured, in words.
    pub(crate) measured: String,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Met,
    NotMet,
    NotMeasured,
}

const GROWTH: [&str; 3] = ["100", "1000", "10000"];
const GROWTH_IDLE: [&str; 3] = ["1000", "5000", "15000"];

const CLAIMS: &[Claim] = &[
    claim(
        "an idle session in a room takes at most 800 bytes, at 15,000, with and without warm-up",
        "idle",
        "15000",
        BYTES,
        Rule::AtMostBoth(800.0, COLD),
    ),
    claim("the same with a room of its own", "idle", "15000-own-room", BYTES, Rule::AtMostBoth(800.0, COLD)),
    claim("the same at 60,000 over 4 processes", "idle", "60000", BYTES, Rule::AtMostBoth(800.0, COLD)),
    claim("and not more at 60,000 than at 15,000", "idle", "60000", BYTES, Rule::NotAboveRun("15000")),
    claim(
        "a message to 10,000 reaches the last one within 1.3 times the floor's time",
        "broadcast",
        "10000",
        "ratio_last_delivery",
        Rule::AtMost(1.3),
    ),
    claim(
        "a message to 20,000, over two server processes, too",
        "broadcast",
        "20000",
        "ratio_last_delivery",
        Rule::AtMost(1.3),
    ),
    claim(
        "fan-out in batches has at least half the rate of the floor",
        "fanout",
        "batch",
        RATE,
        Rule::AtLeastTheFloor(0.5, RATE),
    ),
    claim(
        "fan-out in batches has at least 5 times the rate of the best Socket.IO peer",
        "fanout",
        "batch",
        RATE,
        Rule::AtLeastTheBest(5.0, Some(Speaks::SocketIo)),
    ),
    claim(
        "fan-out in batches has at least 3 times the rate of the best peer of any protocol",
        "fanout",
        "batch",
        RATE,
        Rule::AtLeastTheBest(3.0, None),
    ),
    claim(
        "echo of a burst: at least 3 times the rate of the best Socket.IO peer, at an equal or lower p99",
        "echo-burst",
        "2000",
        "burst_per_second",
        Rule::AtLeastTheBestInTime(3.0, "burst_p99_ms"),
    ),
    claim(
        "echo with 1 event on its way for each client: the same",
        "echo-closed",
        "1",
        "echoes_per_second",
        Rule::AtLeastTheBestInTime(3.0, P99),
    ),
    claim(
        "echo with 8 events on their way for each client: the same",
        "echo-closed",
        "8",
        "echoes_per_second",
        Rule::AtLeastTheBestInTime(3.0, P99),
    ),
    claim(
        "echo at the highest rate that is held: the same",
        "echo-held",
        "2000",
        "sustained_rate",
        Rule::AtLeastTheBestInTime(3.0, P99),
    ),
    claim(
        "with recovery, every message arrives exactly once, however connections are cut",
        "cuts",
        "recovery",
        "delivered_exactly_once_percent",
        Rule::AtLeast(100.0),
    ),
    claim("and none twice", "cuts", "recovery", "twice", Rule::AtMost(0.0)),
    claim(
        "after a restart all 15,000 clients are back",
        "avalanche",
        "15000",
        "never_back",
        Rule::AtMost(0.0),
    ),
    claim("and all are recovered", "avalanche", "15000", "recovered_percent", Rule::AtLeast(100.0)),
    claim(
        "an idle client of MQTT with a subscription at QoS 1 takes at most 800 bytes, at 15,000, with and without warm-up",
        "mqtt-idle",
        "15000",
        BYTES,
        Rule::AtMostBoth(800.0, COLD),
    ),
    claim(
        "a message to 20,000 clients of MQTT reaches the last one within a second",
        "mqtt-broadcast",
        "20000",
        "last_delivery_ms",
        Rule::AtMost(1000.0),
    ),
    claim(
        "fan-out to clients of MQTT at QoS 0 has at least half the rate of the floor",
        "mqtt-fanout",
        "qos-0",
        RATE,
        Rule::AtLeastTheFloor(0.5, RATE),
    ),
    claim(
        "and at least 3 times the rate of the best MQTT peer",
        "mqtt-fanout",
        "qos-0",
        RATE,
        Rule::AtLeastTheBest(3.0, Some(Speaks::Mqtt)),
    ),
    claim(
        "at QoS 1 nothing is lost, however connections are cut",
        "mqtt-cuts",
        "qos-1",
        "lost",
        Rule::AtMost(0.0),
    ),
    claim(
        "at QoS 2 every message arrives exactly once, however connections are cut",
        "mqtt-cuts",
        "qos-2",
        "delivered_exactly_once_percent",
        Rule::AtLeast(100.0),
    ),
    claim("and none twice", "mqtt-cuts", "qos-2", "twice", Rule::AtMost(0.0)),
    claim(
        "memory is flat over 20 minutes of messages (1 = flat)",
        "comet",
        "10000",
        "memory_flat",
        Rule::AtLeast(1.0),
    ),
    claim(
        "a delivery costs the same within 15 % at 100, 1,000 and 10,000 subscribers",
        "growth-fanout",
        "100",
        "cpu_us_per_delivery",
        Rule::Over(Band::Flat, 15.0, &GROWTH),
    ),
    claim(
        "and with more subscribers it does not cost over 15 % more than with fewer",
        "growth-fanout",
        "100",
        "cpu_us_per_delivery",
        Rule::Over(Band::NoRise, 15.0, &GROWTH),
    ),
    claim(
        "a further session takes the same within 15 % from 1,000 to 5,000 and from 5,000 to 15,000, in bytes",
        "growth-idle",
        "1000",
        BYTES,
        Rule::Slopes(Band::Flat, 15.0, &GROWTH_IDLE),
    ),
    claim(
        "and from 5,000 to 15,000 it does not take over 15 % more than from 1,000 to 5,000",
        "growth-idle",
        "1000",
        BYTES,
        Rule::Slopes(Band::NoRise, 15.0, &GROWTH_IDLE),
    ),
];

const BYTES: &str = "rss_per_session_bytes";
const COLD: (&str, &str) = ("without warm-up", "rss_per_session_without_warmup_bytes");
const RATE: &str = "deliveries_per_second";
const P99: &str = "latency_p99_ms";

/// How many clients there were, in a report.
const SESSIONS: &str = "sessions";

const fn claim(
    text: &'static str,
    section: &'static str,
    run: &'static str,
    figure: &'static str,
    rule: Rule,
) -> Claim {
    Claim { text, section, run, figure, rule }
}

/// Every claim, judged.
pub(crate) fn verdicts(results: &Results) -> Vec<Verdict> {
    CLAIMS.iter().map(|claim| claim.judge(results)).collect()
}

/// A peer and its figure, over the turns in which it did all it should.
#[derive(Debug)]
pub(crate) struct Best<'a> {
    server: &'a ServerResult,
    pub(crate) value: f64,
}

impl Best<'_> {
    /// For the page, with the turns that are left out.
    pub(crate) fn title(&self) -> String {
        let (name, unsound) = (title(&self.server.server), self.server.unsound_turns());
        match unsound {
            0 => name.to_owned(),
            _ => format!("{name} (without {unsound} of {} turns, void or failed)", self.server.turns.len()),
        }
    }
}

/// The peer with the best figure.
pub(crate) fn best_peer<'a>(
    run: &'a RunResult,
    figure: &str,
    better: Better,
    speaks: Option<Speaks>,
) -> Option<Best<'a>> {
    let speaks_it =
        |name: &str| by_name(name).is_some_and(|server| speaks.is_none_or(|it| server.does_speak(it)));
    let peers = run.servers.iter().filter(|each| each.server != OURS && each.server != FLOOR);
    let peers = peers.filter(|each| speaks_it(&each.server));
    let figures = peers.filter_map(|server| Some(Best { server, value: server.sound_median(figure)? }));
    figures.reduce(|best, each| if better.is_better(each.value, best.value) { each } else { best })
}

impl Claim {
    fn judge(&self, results: &Results) -> Verdict {
        let ours = results.named(self.section, self.run).and_then(|run| run.server(OURS));
        let is_sound = ours.is_some_and(ServerResult::is_sound);
        let (measured, outcome) = match self.measure(results) {
            Some((measured, true)) if is_sound => (measured, Outcome::Met),
            Some((measured, true)) => (format!("{measured}, but a turn was void or failed"), Outcome::NotMet),
            Some((measured, false)) => (measured, Outcome::NotMet),
            None if ours.is_some_and(|ours| ours.median(self.figure).is_none()) => {
                ("no turn of ours came to a figure".to_owned(), Outcome::NotMet)
            }
            None => ("not measured".to_owned(), Outcome::NotMeasured),
        };
        Verdict { text: self.text, figure: self.figure_title(), measured, outcome }
    }

    fn figure_title(&self) -> &'static str {
        let sections = SECTIONS.iter().filter(|section| section.name == self.section);
        let figure = sections.flat_map(|section| section.figures).find(|figure| figure.name == self.figure);
        figure.map_or(self.figure, |figure| figure.title)
    }

    /// What was measured, and whether it is enough.
    fn measure(&self, results: &Results) -> Option<(String, bool)> {
        let run = results.named(self.section, self.run)?;
        let ours = run.median(OURS, self.figure)?;
        let of_run = |name: &str| results.named(self.section, name)?.median(OURS, self.figure);
        let best = |speaks| best_peer(run, self.figure, Better::Higher, speaks);
        let times = |other: f64, whose: &str| {
            format!("{} against {} of {whose}: {:.2} times", short(ours), short(other), ours / other)
        };
        Some(match &self.rule {
            Rule::AtMost(most) => (short(ours), ours <= *most),
            Rule::AtMostBoth(most, (name, figure)) => {
                let other = run.median(OURS, figure)?;
                (format!("{}; {name} {}", short(ours), short(other)), ours.max(other) <= *most)
            }
            Rule::AtLeast(least) => (short(ours), ours >= *least),
            Rule::AtLeastTheFloor(least, figure) => {
                let floor = run.median(FLOOR, figure)?;
                (times(floor, "the floor"), ours >= least * floor)
            }
            Rule::AtLeastTheBest(least, speaks) => {
                let best = best(*speaks)?;
                (times(best.value, &best.title()), ours >= least * best.value)
            }
            Rule::AtLeastTheBestInTime(least, figure) => {
                let best = best(Some(Speaks::SocketIo))?;
                let (p99, theirs) = (run.median(OURS, figure)?, best.server.sound_median(figure)?);
                let rates = times(best.value, &best.title());
                let measured = format!("{rates}; p99 {} against {} ms", short(p99), short(theirs));
                (measured, ours >= least * best.value && p99 <= theirs)
            }
            Rule::NotAboveRun(name) => {
                let other = of_run(name)?;
                (format!("{} against {}", short(ours), short(other)), ours <= other)
            }
            Rule::Over(band, percent, runs) => {
                let values: Vec<f64> = runs.iter().map(|name| of_run(name)).collect::<Option<_>>()?;
                band.judge(*percent, &values)
            }
            Rule::Slopes(band, percent, runs) => {
                let point = |name: &&str| {
                    let sessions = results.named(self.section, name)?.median(OURS, SESSIONS)?;
                    Some((sessions, sessions * of_run(name)?))
                };
                band.judge(*percent, &slopes(&runs.iter().map(point).collect::<Option<Vec<_>>>()?))
            }
        })
    }
}

/// From each point to the next.
fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    points.iter().zip(points.iter().skip(1)).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect()
}

impl Band {
    /// How far they differ, and whether that is within the band.
    fn judge(self, percent_max: f64, values: &[f64]) -> (String, bool) {
        let (mut smallest, mut rise, mut largest) = (f64::INFINITY, 0.0_f64, 0.0_f64);
        for value in values.iter().copied() {
            rise = rise.max(value / smallest);
            (smallest, largest) = (smallest.min(value), largest.max(value));
        }
        let ratio = match self {
            Self::Flat => largest / smallest,
            Self::NoRise => rise,
        };
        let percent = 100.0 * (ratio - 1.0);
        let shown: Vec<String> = values.iter().copied().map(short).collect();
        let told = match self {
            Self::Flat => format!("within {percent:.1} %"),
            Self::NoRise if percent < 0.0 => format!("falling by at least {:.1} %", -percent),
            Self::NoRise => format!("at most {percent:.1} % more"),
        };
        (format!("{}: {told}", shown.join(", ")), percent <= percent_max)
    }
}

fn title(name: &str) -> &str {
    by_name(name).map_or(name, |server| server.title)
}

/// A figure as a reader wants it: whole above 100, else three digits that count.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 100.0 => grouped(value.round()),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// With a comma before every three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::results::Turn;
    use super::super::results::testing::{results, server};
    use super::*;

    fn outcomes(results: &Results, section: &str) -> Vec<(Outcome, String)> {
        let claims = CLAIMS.iter().filter(|claim| claim.section == section);
        claims.map(|claim| claim.judge(results)).map(|verdict| (verdict.outcome, verdict.measured)).collect()
    }

    fn batch(ours: f64, others: Vec<ServerResult>) -> Vec<Outcome> {
        let mut servers = vec![server(OURS, RATE, &[ours]), server(FLOOR, RATE, &[2e6])];
        servers.extend(others);
        outcomes(&results("fanout", "batch", servers), "fanout").into_iter().map(|each| each.0).collect()
    }

    #[test]
    fn claims_name_runs_and_figures_that_are_shown() {
        for claim in CLAIMS {
            let section = SECTIONS.iter().find(|section| section.name == claim.section).unwrap();
            assert!(section.runs.iter().any(|run| run.name == claim.run), "{}", claim.text);
            assert!(section.figures.iter().any(|figure| figure.name == claim.figure), "{}", claim.text);
            if let Rule::Over(_, _, runs) | Rule::Slopes(_, _, runs) = claim.rule {
                assert!(runs.iter().all(|name| section.runs.iter().any(|run| run.name == *name)));
            }
        }
    }

    #[test]
    fn rates_are_compared_with_the_floor_and_with_the_best_of_each_kind() {
        use Outcome::{Met, NotMeasured, NotMet};
        let peers = || vec![server("socketio", RATE, &[1e5]), server("nchan", RATE, &[3e5, 4e5, 2e5])];
        assert_eq!(batch(1.2e6, peers()), [Met, Met, Met]);
        assert_eq!(batch(0.8e6, peers()), [NotMet, Met, NotMet]);
        assert_eq!(batch(0.4e6, peers()), [NotMet, NotMet, NotMet]);
        assert_eq!(batch(1.2e6, Vec::new()), [Met, NotMeasured, NotMeasured]);
    }

    #[test]
    fn a_peer_that_lost_messages_is_not_the_best() {
        let mut loses = server("socketio", RATE, &[9e5]);
        loses.turns[0].failures.push("1 of 2 deliveries are missing".into());
        let good = server("socketio-2", RATE, &[2e5]);
        let results = results("fanout", "batch", vec![server(OURS, RATE, &[1.2e6]), loses, good]);
        let best = best_peer(&results.runs[0], RATE, Better::Higher, None).unwrap();
        assert_eq!((best.title().as_str(), best.value), ("npm socket.io, 2 workers", 2e5));
    }

    #[test]
    fn a_peer_counts_by_the_turns_in_which_it_did_all_it_should() {
        let mut peer = server("socketioxide", RATE, &[3e5, 9e5, 4e5]);
        peer.turns[1].failures.push("1 of 2 deliveries are missing".into());
        peer.turns.push(Turn { void: vec!["saturated".into()], ..Turn::default() });
        let servers = vec![server(OURS, RATE, &[1.4e6]), server("socketio-2", RATE, &[2e5]), peer];
        let results = results("fanout", "batch", servers);
        let best = best_peer(&results.runs[0], RATE, Better::Higher, None).unwrap();
        assert_eq!(best.title(), "socketioxide (without 2 of 4 turns, void or failed)");
        assert_eq!(best.value, 3.5e5);
    }

    #[test]
    fn memory_is_judged_by_the_larger_of_two_figures() {
        let judged = |cold: f64| {
            let mut ours = server(OURS, BYTES, &[440.0]);
            ours.turns[0].figures.insert(COLD.1.into(), cold);
            outcomes(&results("idle", "15000", vec![ours]), "idle").remove(0)
        };
        assert_eq!(judged(560.0), (Outcome::Met, "440; without warm-up 560".into()));
        assert_eq!(judged(810.0), (Outcome::NotMet, "440; without warm-up 810".into()));
    }

    #[test]
    fn an_echo_has_to_be_fast_and_in_time() {
        let judged = |ours: (f64, f64), theirs: (f64, f64)| {
            let with_p99 = |name, (rate, p99)| {
                let mut server = server(name, "burst_per_second", &[rate]);
                server.turns[0].figures.insert("burst_p99_ms".into(), p99);
                server
            };
            let servers = vec![with_p99(OURS, ours), with_p99("socketio", theirs)];
            outcomes(&results("echo-burst", "2000", servers), "echo-burst").remove(0)
        };
        let measured = "900 against 300 of npm socket.io: 3.00 times; p99 4 against 5 ms".to_owned();
        assert_eq!(judged((900.0, 4.0), (300.0, 5.0)), (Outcome::Met, measured));
        assert_eq!(judged((900.0, 6.0), (300.0, 5.0)).0, Outcome::NotMet);
        assert_eq!(judged((800.0, 4.0), (300.0, 5.0)).0, Outcome::NotMet);
    }

    #[test]
    fn a_promise_is_not_kept_by_turns_that_failed() {
        let mut ours = server(OURS, "never_back", &[0.0, 0.0]);
        let judged = |ours: &ServerResult| {
            let servers =
                vec![ServerResult { server: OURS.into(), command: String::new(), turns: ours.turns.clone() }];
            outcomes(&results("avalanche", "15000", servers), "avalanche").remove(0)
        };
        assert_eq!(judged(&ours), (Outcome::Met, "0".into()));
        ours.turns[1].failures.push("3 came twice".into());
        assert_eq!(judged(&ours), (Outcome::NotMet, "0, but a turn was void or failed".into()));
        ours.turns = vec![Turn::without_report("ended after 600 s without a report")];
        assert_eq!(judged(&ours), (Outcome::NotMet, "no turn of ours came to a figure".into()));
    }

    #[test]
    fn growth_is_judged_by_the_extremes() {
        let judged = |values: [f64; 3]| {
            let run = |(name, value): (&str, f64)| {
                results("growth-fanout", name, vec![server(OURS, "cpu_us_per_delivery", &[value])]).runs
            };
            let runs = GROWTH.into_iter().zip(values).flat_map(run).collect();
            outcomes(&Results { head: Default::default(), runs }, "growth-fanout")
        };
        let told = |outcome, text: &str| (outcome, text.to_owned());
        let (flat, risen) =
            (told(Outcome::Met, "5, 5.10, 5.70: within 14.0 %"), "5, 5.10, 5.70: at most 14.0 % more");
        assert_eq!(judged([5.0, 5.1, 5.7]), [flat, told(Outcome::Met, risen)]);
        let falling = "7, 5.10, 5.05: falling by at least 1.0 %";
        let (flat, fallen) = ("7, 5.10, 5.05: within 38.6 %", told(Outcome::Met, falling));
        assert_eq!(judged([7.0, 5.1, 5.05]), [told(Outcome::NotMet, flat), fallen]);
        assert_eq!(judged([7.0, 5.1, 6.0])[1], told(Outcome::NotMet, "7, 5.10, 6: at most 17.6 % more"));
    }

    #[test]
    fn growth_of_memory_is_judged_by_further_sessions() {
        let judged = |values: [f64; 3]| {
            let run = |((name, sessions), value): ((&str, f64), f64)| {
                let mut ours = server(OURS, BYTES, &[value]);
                ours.turns[0].figures.insert(SESSIONS.into(), sessions);
                results("growth-idle", name, vec![ours]).runs
            };
            let sizes = GROWTH_IDLE.into_iter().zip([1e3, 5e3, 15e3]);
            let runs = sizes.zip(values).flat_map(run).collect();
            outcomes(&Results { head: Default::default(), runs }, "growth-idle").remove(0)
        };
        // 700,000 bytes for the first 1,000, then 400 and 420 for each further one.
        assert_eq!(judged([700.0, 460.0, 6.5e6 / 15e3]), (Outcome::Met, "400, 420: within 5.0 %".into()));
        assert_eq!(judged([700.0, 460.0, 500.0]).0, Outcome::NotMet);
    }

    #[test]
    fn what_was_not_run_is_not_measured() {
        let empty = Results { head: Default::default(), runs: Vec::new() };
        assert!(verdicts(&empty).iter().all(|verdict| verdict.outcome == Outcome::NotMeasured));
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> = [1234567.0, -1000.4, 99.96, 12.0, 4.567, 0.0554, 0.0].map(short).into();
        assert_eq!(shown, ["1,234,567", "-1,000", "100.0", "12", "4.57", "0.055", "0"]);
    }
}
