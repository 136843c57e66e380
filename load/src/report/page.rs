//! One report as a page: the verdict first, then everything it rests on.
//!
//! Owns what stands in which order. Must not know how charts are drawn or where files go. Start at [`Report::pictures`]
//! and [`page`]; the pieces are used by `compare`, too.

use super::chart::Width;
use super::draw::Picture;
use super::histogram::{Histogram, QUANTILES};
use super::json::bare;
use super::{Block, Historic, Report, Verdict, chart, html, unit};
use crate::error::Error;

impl Report {
    /// Every chart, in the order of the page.
    pub(super) fn pictures(&self) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for histogram in &self.histograms {
            let Histogram { name, .. } = histogram;
            pictures
                .push(chart::percentiles(&format!("{name} by percentile"), &[(name.clone(), histogram)])?);
            pictures.push(chart::histogram(&format!("{name} histogram"), histogram)?);
        }
        for series in &self.charts {
            pictures.push(chart::series(series)?);
        }
        for bars in &self.bars {
            pictures.push(chart::bars(bars, Width::Full)?);
        }
        Ok(pictures)
    }
}

/// The whole page; `pictures` are the report's.
pub(super) fn page(report: &Report, pictures: &[Picture]) -> String {
    let mut body = format!("<h1>trunkline bench {}</h1>\n", html::escape(&report.scenario));
    body += &verdict(report);
    body += &format!("<p class=\"faint\">{}</p>\n", html::escape(&report.origin.line()));
    body += &html::section("Settings", &columns(&settings(report)));
    body += &html::section("Figures", &columns(&figures(report)));
    let charts: String = pictures.iter().map(html::figure).collect();
    body += &html::section("Latencies", &percentiles(&report.histograms));
    body += &html::section("Charts", &charts);
    body += &tail(report);
    body += &html::section("Command", &command(report));
    html::document(&format!("{}: {}", report.scenario, report.verdict().text()), &body)
}

/// The verdict and the reasons for it.
pub(super) fn verdict(report: &Report) -> String {
    let class = match report.verdict() {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::Void => "void",
    };
    let reasons: Vec<String> = [("void", &report.void), ("failed", &report.failures)]
        .into_iter()
        .flat_map(|(label, texts)| texts.iter().map(move |text| format!("{label}: {text}")))
        .collect();
    let text = html::escape(report.verdict().text());
    format!("<div class=\"verdict {class}\">{text}</div>\n{}", html::list("reasons", &reasons))
}

/// Table, texts, historic figures and notes.
pub(super) fn tail(report: &Report) -> String {
    let mut rows = report.table.iter();
    let head = rows.next().cloned().unwrap_or_default();
    let mut html = html::section("Table", &html::table(&head, &rows.cloned().collect::<Vec<_>>()));
    for Block { title, text } in &report.texts {
        html += &html::section(title, &html::verbatim(text));
    }
    html += &html::section("Notes", &html::list("notes", &report.notes));
    html + &html::section("Historic figures", &historic(&report.historic))
}

/// What to type for another run; nothing if it is not known.
pub(super) fn command(report: &Report) -> String {
    let typed = report.origin.typed();
    if typed.is_empty() { typed } else { html::command(&typed) }
}

/// The name of a figure and the unit, in a cell.
pub(super) fn named(name: &str) -> String {
    let (label, unit) = unit::of(name);
    if unit.is_empty() { label } else { format!("{label}, {unit}") }
}

/// All but those that the table of latencies shows.
fn figures(report: &Report) -> String {
    let of_histogram = |name: &str| {
        let of = |histogram: &Histogram| {
            name.strip_prefix(&histogram.name)?.strip_prefix('_')?.strip_suffix("_ms")
        };
        let last = report.histograms.iter().find_map(of);
        last.is_some_and(|last| {
            QUANTILES.iter().any(|(q, _)| *q == last) || ["min", "max", "mean"].contains(&last)
        })
    };
    let value = |value: &serde_json::Value| value.as_f64().map_or_else(|| bare(value), unit::number);
    let rows = report.figures.iter().filter(|(name, _)| !of_histogram(name)).map(|(name, figure)| {
        let (label, unit) = unit::of(name);
        vec![label, value(figure), unit]
    });
    html::table(&[], &rows.collect::<Vec<_>>())
}

fn settings(report: &Report) -> String {
    let rows = report.settings.iter().map(|(name, value)| vec![name.replace('_', " "), bare(value)]);
    html::table(&[], &rows.collect::<Vec<_>>())
}

/// Several rows beside each other, where the window is wide enough.
fn columns(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!("<div class=\"columns\">{table}</div>\n") }
}

fn percentiles(histograms: &[Histogram]) -> String {
    let labels = QUANTILES.map(|(name, _)| name.replace('_', "."));
    let head: Vec<String> = ["latency, ms".to_owned(), "measured".to_owned(), "min".to_owned()]
        .into_iter()
        .chain(labels)
        .chain(["max".to_owned(), "mean".to_owned()])
        .collect();
    let rows = histograms.iter().map(|histogram| {
        let mut row =
            vec![histogram.name.clone(), unit::number(histogram.count as f64), unit::ms(histogram.min_us)];
        row.extend(QUANTILES.map(|(_, quantile)| unit::number(histogram.ms(quantile))));
        row.extend([unit::ms(histogram.max_us), unit::number(histogram.mean_us / 1e3)]);
        row
    });
    html::table(&head, &rows.collect::<Vec<_>>())
}

fn historic(lines: &[Historic]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let head = ["date", "who", "machine", "figures", "what they measure"].map(str::to_owned);
    let rows = lines.iter().map(|line| {
        let Historic { who, date, machine, figures, measures } = line.clone();
        vec![date, who, machine, figures, measures]
    });
    let table = html::table(&head, &rows.collect::<Vec<_>>());
    format!("<p>Other machines and other measures than ours, so only for orientation.</p>\n{table}")
}
