//! Several saved reports side by side: of several servers, or of one server before and after a change.
//!
//! Owns which figures are compared and how. Names are the user's. Must not know where reports come from. Start at
//! [`Comparison`].

use std::fmt;

use serde_json::Value;

use super::chart::Width;
use super::draw::Picture;
use super::histogram::Histogram;
use super::json::bare;
use super::{Bars, Report, Series, SeriesChart, chart, html, page, text, unit};
use crate::error::Error;

/// Named reports, in the order in which they are shown. Ratios are to the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    reports: Vec<(String, Report)>,
}

impl Comparison {
    /// Of at least one report.
    ///
    /// # Errors
    /// [`Error`] if there is none, or two have the same name.
    pub fn new(reports: Vec<(String, Report)>) -> Result<Self, Error> {
        if reports.is_empty() {
            return Err(Error::new("there is no report to show"));
        }
        for (index, (name, _)) in reports.iter().enumerate() {
            if reports.iter().take(index).any(|(known, _)| known == name) {
                return Err(Error::new(format!(
                    "two reports are called {name:?}: tell them apart by --name"
                )));
            }
        }
        Ok(Self { reports })
    }

    /// The report, if there is nothing to compare it with.
    pub(super) fn only(&self) -> Option<&Report> {
        match self.reports.as_slice() {
            [(_, report)] => Some(report),
            _ => None,
        }
    }

    /// The page and its charts.
    pub(super) fn page(&self) -> Result<(String, Vec<Picture>), Error> {
        let (wide, figures) = (self.wide_pictures()?, self.figure_pictures()?);
        let title = format!("{}: {}", self.scenarios().join(", "), self.names().join(", "));
        let mut body = format!("<h1>trunkline bench {}</h1>\n", html::escape(&self.scenarios().join(", ")));
        body += &html::list("reasons", &self.doubts());
        for (name, report) in &self.reports {
            body += &format!("<h3>{}</h3>\n{}", html::escape(name), page::verdict(report));
            body += &format!("<p class=\"faint\">{}</p>\n", html::escape(&report.origin.line()));
        }
        let charts: String = wide.iter().map(html::figure).collect();
        body += &html::section("Charts", &charts);
        let charts: String = figures.iter().map(html::figure).collect();
        let halves =
            if charts.is_empty() { charts } else { format!("<div class=\"halves\">\n{charts}</div>\n") };
        body += &html::section("Figures that differ", &halves);
        body += &html::section("Figures", &html::table(&self.head("figure"), &self.figure_rows()));
        body += &html::section("Settings", &html::table(&self.head("setting"), &self.setting_rows()));
        for (name, report) in &self.reports {
            let rest = page::tail(report) + &page::command(report);
            if !rest.is_empty() {
                body += &format!("<h2>{}</h2>\n{}", html::escape(name), rest.replace("h2>", "h3>"));
            }
        }
        Ok((html::document(&title, &body), wide.into_iter().chain(figures).collect()))
    }

    fn names(&self) -> Vec<String> {
        self.reports.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Each scenario once.
    fn scenarios(&self) -> Vec<String> {
        each_once(self.reports.iter().map(|(_, report)| report.scenario.clone()))
    }

    /// Why a reader should not trust the comparison.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.scenarios().len() > 1 {
            doubts.push("these are reports of different scenarios".to_owned());
        }
        let machines =
            each_once(self.reports.iter().map(|(_, report)| format!("{:?}", report.origin.machine)));
        if machines.len() > 1 {
            doubts.push("these reports were made on different machines, or kernels".to_owned());
        }
        doubts
    }

    /// Curves of percentiles over each other, then series and bars.
    fn wide_pictures(&self) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for name in each_once(self.all(|report| report.histograms.iter().map(|h| h.name.clone()).collect())) {
            let lines =
                self.reports.iter().filter_map(|(who, report)| Some((who.clone(), report.histogram(&name)?)));
            let lines: Vec<(String, &Histogram)> = lines.collect();
            pictures.push(chart::percentiles(&format!("{name} by percentile"), &lines)?);
        }
        for title in each_once(self.all(|report| report.charts.iter().map(|c| c.title.clone()).collect())) {
            pictures.push(chart::series(&SeriesChart { series: self.series(&title), title })?);
        }
        for name in each_once(self.all(|report| report.bars.iter().map(|bars| bars.name.clone()).collect())) {
            pictures.push(chart::bars(&self.bars(&name), Width::Full)?);
        }
        Ok(pictures)
    }

    /// A small chart for each figure that all have and that is not the same for all.
    fn figure_pictures(&self) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for name in self.figure_names() {
            let values = self.reports.iter().map(|(who, report)| Some((who.clone(), report.figure(&name)?)));
            let Some(bars) = values.collect::<Option<Vec<_>>>() else { continue };
            let first = bars.first().map(|(_, value)| *value);
            if bars.iter().any(|(_, value)| Some(*value) != first) {
                let (name, unit) = (page::named(&name), unit::of(&name).1);
                pictures.push(chart::bars(&Bars { name, unit, bars }, Width::Half)?);
            }
        }
        Ok(pictures)
    }

    /// The lines of all charts with this title.
    fn series(&self, title: &str) -> Vec<Series> {
        let mut all = Vec::new();
        for (who, report) in &self.reports {
            let of_report = report.charts.iter().filter(|chart| chart.title == title);
            all.extend(of_report.flat_map(|chart| chart.series.iter()).map(|series| {
                let name = if series.name == title { who.clone() } else { format!("{who}: {}", series.name) };
                Series { name, ..series.clone() }
            }));
        }
        all
    }

    fn bars(&self, name: &str) -> Bars {
        let mut all = Bars { name: name.into(), unit: String::new(), bars: Vec::new() };
        for (who, report) in &self.reports {
            for bars in report.bars.iter().filter(|bars| bars.name == name) {
                all.unit.clone_from(&bars.unit);
                all.bars.extend(bars.bars.iter().map(|(label, value)| (format!("{who}: {label}"), *value)));
            }
        }
        all
    }

    fn all(&self, of: fn(&Report) -> Vec<String>) -> impl Iterator<Item = String> + '_ {
        self.reports.iter().flat_map(move |(_, report)| of(report))
    }

    fn figure_names(&self) -> Vec<String> {
        each_once(self.all(|report| report.figures.iter().map(|(name, _)| name.clone()).collect()))
    }

    fn head(&self, first: &str) -> Vec<String> {
        std::iter::once(first.to_owned()).chain(self.names()).collect()
    }

    /// Each figure with its values, the later ones with their ratio to the first.
    fn figure_rows(&self) -> Vec<Vec<String>> {
        let row = |name: &String| {
            let base = self.reports.first().and_then(|(_, report)| report.figure(name));
            let cells = self.reports.iter().enumerate().map(|(index, (_, report))| {
                let Some(value) = report.figure(name) else { return "-".to_owned() };
                match base {
                    Some(base) if index > 0 && base != 0.0 && base != value => {
                        format!("{} ×{:.2}", unit::number(value), value / base)
                    }
                    _ => unit::number(value),
                }
            });
            std::iter::once(page::named(name)).chain(cells).collect()
        };
        self.figure_names().iter().map(row).collect()
    }

    fn setting_rows(&self) -> Vec<Vec<String>> {
        let names = self.all(|report| report.settings.iter().map(|(name, _)| name.clone()).collect());
        let row = |name: String| {
            let value = |report: &Report| -> Option<String> {
                let found: &(String, Value) = report.settings.iter().find(|(known, _)| *known == name)?;
                Some(bare(&found.1))
            };
            let cells = self.reports.iter().map(|(_, report)| value(report).unwrap_or_else(|| "-".into()));
            std::iter::once(name.replace('_', " ")).chain(cells.collect::<Vec<_>>()).collect()
        };
        each_once(names).into_iter().map(row).collect()
    }
}

/// The table of figures, with verdicts and doubts.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenarios().join(", "))?;
        let rows = self.figure_rows();
        let table: Vec<_> = std::iter::once(self.head("figure")).chain(rows).collect();
        text::write_table(&table, f)?;
        for (name, report) in self.reports.iter().filter(|(_, report)| !report.passed()) {
            writeln!(f, "{name}: {}", report.verdict().text())?;
        }
        self.doubts().iter().try_for_each(|doubt| writeln!(f, "note: {doubt}"))
    }
}

/// Without repetitions, in order of the first appearance.
fn each_once(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known
}
