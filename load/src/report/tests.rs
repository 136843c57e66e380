//! Tests of whole reports: text, JSON, page and comparison say the same, and nothing gets out unescaped.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A report with everything in it, on a machine and day that do not change.
fn sample() -> Report {
    let mut report = Report::new("fanout");
    report.origin.command = ["trunkline", "bench", "fanout", "--room", "r-%{i}"].map(str::to_owned).into();
    report.origin.date = "2026-11-26T10:00:00Z".into();
    report.origin.machine.cpu = "a processor".into();
    report.setting("connections", 100);
    report.setting("channel", "main");
    report.count("deliveries", 5_000);
    report.number("cpu_us_per_delivery", 7.123_456);
    report.row(["kind".to_owned(), "peak".to_owned()]);
    report.row(["half-open".to_owned(), "1".to_owned()]);
    let mut latencies = Latencies::new();
    for (ms, times) in [(1, 900), (2, 90), (14, 10)] {
        (0..times).for_each(|_| latencies.record(Duration::from_millis(ms)));
    }
    report.latencies("latency", &latencies);
    let of = |name: &str, points: &[(f64, f64)]| Series {
        name: name.into(),
        unit: "bytes".into(),
        x_unit: "s".into(),
        points: points.to_vec(),
    };
    let lines = [of("server", &[(0.0, 10e6), (1.0, 25e6)]), of("generator", &[(0.0, 5e6), (1.0, f64::NAN)])];
    report.chart("memory", lines);
    report.bars(Bars {
        name: "CPU per delivery".into(),
        unit: "µs".into(),
        bars: vec![("server".into(), 7.5), ("floor".into(), 5.0)],
    });
    report.flashbot("latency");
    report.historic(&[JANUS]);
    report.note("a note");
    report
}

const JANUS: Historic<&str> = Historic {
    who: "Janus flashbot, README",
    date: "2009",
    machine: "MacBook 2.93 GHz",
    figures: "10,000 clients: min 1.9 ms, max 1,270 ms",
    measures: "one message to all, with the clients on the same machine",
};

const EVIL: &str = "</p></pre><script>alert('x')</script>\"&";

/// Everything a user or a server can put into a report.
fn evil() -> Report {
    let mut report = Report::new("idle");
    report.origin.command = vec!["trunkline".into(), EVIL.into()];
    report.origin.machine.cpu = EVIL.into();
    report.setting(EVIL, EVIL);
    report.count(EVIL, 1);
    report.void(EVIL);
    report.failure(EVIL);
    report.note(EVIL);
    report.row([EVIL.to_owned()]);
    report.row([EVIL.to_owned()]);
    report.block(EVIL, EVIL);
    let mut latencies = Latencies::new();
    latencies.record(Duration::from_millis(1));
    report.latencies(EVIL, &latencies);
    let unit = || EVIL.to_owned();
    report.series(Series { name: unit(), unit: unit(), x_unit: unit(), points: vec![(1.0, 1.0)] });
    report.bars(Bars { name: unit(), unit: unit(), bars: vec![(unit(), 1.0)] });
    report.historic(&[Historic { who: EVIL, date: EVIL, machine: EVIL, figures: EVIL, measures: EVIL }]);
    report
}

fn page_of(report: &Report) -> String {
    page::page(report, &report.pictures().unwrap())
}

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("trunkline-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn text_and_json_say_the_same() {
    let mut report = Report::new("idle");
    report.setting("connections", 100);
    report.number("bytes_per_session", 812.3456);
    report.row(["kind".to_owned(), "peak".to_owned()]);
    report.row(["half-open".to_owned(), "1".to_owned()]);
    report.void("nothing connected");
    let text = report.to_string();
    assert!(text.contains("connections=100") && text.contains("bytes_per_session  812.346"), "{text}");
    assert!(text.contains("  half-open  1\n") && text.contains("VOID: nothing connected\n"), "{text}");
    let json = report.json();
    assert_eq!(json["figures"]["bytes_per_session"], 812.346);
    assert_eq!(json["table"][0]["kind"], "half-open");
    assert!(!report.passed());
}

#[test]
fn the_text_shows_histogram_series_bars_and_history() {
    let text = sample().to_string();
    let (_, below) = text.split_once("\nlatency, ms: 1,000 measured\n").unwrap();
    let lines: Vec<&str> = below.lines().take(8).collect();
    let full = "█".repeat(28);
    assert_eq!(lines[0], format!("        0.7 -         1 {full}           900   90.00 %"));
    assert_eq!(lines[1], format!("          1 -       1.5 {:28}             0    0.00 %", ""));
    assert_eq!(lines[2], format!("        1.5 -         2 {:28}            90    9.00 %", "██▉"));
    assert!(lines[7].starts_with("         10 -        15 ▍"), "{below}");
    for part in [
        "\nmemory\n  ▄█  server\n    0 to 1 s: min 10, max 25, last 25 MB\n",
        "\nCPU per delivery, µs\n  server  ████████████████████████████           7.5\n",
        "\nlatency, as flashbot printed it\n    1.0000ms | min\n",
        "\n  2009  Janus flashbot, README, MacBook 2.93 GHz: 10,000 clients: min 1.9 ms,\n        max 1,270 ms\n",
        "note: a note\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let wide = text.lines().skip(2).find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "80 columns");
}

#[test]
fn the_shape_of_the_json_is_stable() {
    let json = sample().json();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "bars columns command date failures figures generator histograms historic machine notes scenario \
                    series settings table texts void";
    assert_eq!(keys.join(" "), expected);
    let histogram = &json["histograms"][0];
    assert_eq!(histogram["buckets"], json!([[1000, 900], [2000, 90], [14007, 10]]));
    assert_eq!(histogram["percentiles_ms"], json!({"p50": 1.0, "p90": 1.0, "p99": 2.0, "p99_9": 14.007}));
    assert_eq!((&histogram["name"], &histogram["count"]), (&json!("latency"), &json!(1000)));
    let series = json!({"chart": "memory", "name": "generator", "unit": "bytes", "x_unit": "s", "points": [[0.0, 5e6]]});
    assert_eq!(json["series"][1], series);
    assert_eq!(json["bars"][0]["bars"], json!([["server", 7.5], ["floor", 5.0]]));
    assert_eq!(json["historic"][0]["machine"], "MacBook 2.93 GHz");
    assert_eq!(json["machine"]["cpu"], "a processor");
    assert_eq!(json["date"], "2026-11-26T10:00:00Z");
    assert_eq!(json["figures"]["latency_mean_ms"], 1.22);
}

#[test]
fn a_saved_report_is_read_as_it_was() {
    for report in [sample(), evil(), Report::new("empty")] {
        assert_eq!(Report::from_json(&report.json_text()).unwrap(), report);
    }
    let before_histograms =
        r#"{"scenario":"idle","figures":{"a_ms":1},"table":[{"kind":"x"}],"settings":{}}"#;
    let read = Report::from_json(before_histograms).unwrap();
    assert_eq!((read.figure("a_ms"), read.table.len()), (Some(1.0), 2));
}

#[test]
fn what_is_no_report_is_refused_with_its_place() {
    let refused = |text: &str| Report::from_json(text).unwrap_err().to_string();
    assert!(refused("").contains("EOF while parsing"), "{}", refused(""));
    assert!(refused(r#"{"scenario":"idle"}"#).contains("missing field `figures` at line 1 column 19"));
    let wrong_kind = refused(r#"{"scenario":"idle","figures":[]}"#);
    assert!(
        wrong_kind.contains("invalid type: sequence, expected an object at line 1 column"),
        "{wrong_kind}"
    );
    let mut json = sample().json();
    json["histograms"][0]["count"] = 7.into();
    assert!(refused(&json.to_string()).contains("histogram \"latency\": buckets must ascend"));
}

#[test]
fn the_page_begins_with_the_verdict_and_holds_everything() {
    let page = page_of(&sample());
    let (head, rest) = page.split_once("<h2>Settings</h2>").unwrap();
    assert!(head.contains("<div class=\"verdict passed\">passed</div>"), "{head}");
    for part in [
        "<tr><th>cpu</th><td class=\"n\">7.123</td><td>µs per delivery</td></tr>",
        "<td>latency</td><td class=\"n\">1,000</td><td class=\"n\">1</td>",
        "latency by percentile",
        "latency, ms",
        "<td>half-open</td><td class=\"n\">1</td>",
        " 500.0000ms | 1000   - 100.00%",
        "<td>MacBook 2.93 GHz</td>",
        "<li>a note</li>",
        "trunkline bench fanout --room &#39;r-%{i}&#39;",
    ] {
        assert!(rest.contains(part), "{part}");
    }
    assert_eq!(rest.matches("<svg ").count(), 4);
    for foreign in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn reasons_stand_below_the_verdict() {
    let mut report = sample();
    report.failure("5 of 10 deliveries are missing");
    assert!(
        page_of(&report)
            .contains("verdict failed\">failed</div>\n<ul class=\"reasons\">\n<li>failed: 5 of 10")
    );
    report.void("nothing connected");
    let page = page_of(&report);
    let verdict = "verdict void\">void: the figures prove nothing</div>\n<ul class=\"reasons\">\n<li>void: nothing connected</li>";
    assert!(page.contains(verdict), "{page}");
}

#[test]
fn nothing_gets_onto_a_page_or_into_a_chart_unescaped() {
    let compared = Comparison::new(vec![(EVIL.into(), evil()), ("b".into(), evil())]).unwrap();
    let (page, pictures) = compared.page().unwrap();
    let alone = evil().pictures().unwrap();
    let documents = pictures.iter().chain(&alone).map(|picture| picture.document());
    for text in documents.chain([page, page_of(&evil())]) {
        assert!(!text.contains("<script") && !text.contains("</p></pre>"), "{text}");
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
}

#[test]
fn a_folder_has_the_page_its_charts_and_the_json() {
    let folder = Folder::new("report-folder");
    let page = sample().write_to(&folder.0.join("deep")).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(page.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = "cpu-per-delivery.svg index.html latency-by-percentile.svg latency-histogram.svg memory.svg report.json";
    assert_eq!(names.join(" "), expected);
    let saved = std::fs::read_to_string(page.with_file_name("report.json")).unwrap();
    assert_eq!(Report::from_json(&saved).unwrap(), sample());
    let error = sample().write_to(&page).unwrap_err().to_string();
    assert!(error.contains("making the folder") && error.contains("index.html"), "{error}");
}

#[test]
fn two_reports_are_compared_figure_by_figure() {
    let mut slower = sample();
    slower.figures.retain(|(name, _)| name != "cpu_us_per_delivery");
    slower.number("cpu_us_per_delivery", 14.246);
    slower.count("only_here", 1);
    slower.void("nothing connected");
    slower.origin.machine.cores = 99;
    let compared = Comparison::new(vec![("ours".into(), sample()), ("theirs".into(), slower)]).unwrap();
    let text = compared.to_string();
    assert!(text.contains("cpu, µs per delivery  7.123  14.25 ×2.00\n"), "{text}");
    let only_here = text.lines().find(|line| line.contains("only here")).unwrap();
    assert_eq!(only_here.split_whitespace().collect::<Vec<_>>(), ["only", "here", "-", "1"]);
    assert!(text.contains("theirs: void") && text.contains("different machines"), "{text}");
    let (page, pictures) = compared.page().unwrap();
    let titles: Vec<&str> = pictures.iter().map(|picture| picture.title.as_str()).collect();
    assert_eq!(titles, ["latency by percentile", "memory", "CPU per delivery", "cpu, µs per delivery"]);
    for part in
        ["different machines", "void: nothing connected", "ours: server", "<td class=\"n\">14.25 ×2.00</td>"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_single_saved_report_gets_the_page_it_had() {
    let (first, again) = (Folder::new("report-first"), Folder::new("report-again"));
    let page = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let alone = Comparison::new(vec![("a".into(), sample())]).unwrap();
    assert_eq!(page(alone.write_to(&again.0).unwrap()), page(sample().write_to(&first.0).unwrap()));
}

#[test]
fn names_tell_reports_apart() {
    let twice = Comparison::new(vec![("a".into(), sample()), ("a".into(), sample())]);
    assert!(twice.unwrap_err().to_string().contains("two reports are called \"a\""));
    assert!(Comparison::new(Vec::new()).is_err());
}
