//! What a scenario found, and everything a person sees of it: text, JSON, charts, a page.
//!
//! Must not know scenarios. Names carry their unit last, so a figure needs no further legend. Start at [`Report`];
//! `text` is the terminal, `json` what is saved and read again, `chart` draws, `page` and `compare` are HTML.

mod axis;
mod chart;
mod compare;
mod draw;
mod folder;
mod histogram;
mod html;
mod json;
mod origin;
mod page;
mod text;
mod unit;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::latency::Latencies;
pub use compare::Comparison;
pub use histogram::Histogram;
use histogram::QUANTILES;
use origin::Origin;
pub(crate) use origin::rfc3339;

/// The outcome of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    scenario: String,
    origin: Origin,
    settings: Vec<(String, Value)>,
    figures: Vec<(String, Value)>,
    void: Vec<String>,
    failures: Vec<String>,
    notes: Vec<String>,
    table: Vec<Vec<String>>,
    histograms: Vec<Histogram>,
    charts: Vec<SeriesChart>,
    bars: Vec<Bars>,
    texts: Vec<Block>,
    historic: Vec<Historic>,
}

/// Values over time or over size: one line of a chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What is measured, `memory of the server`.
    pub name: String,
    /// Of the values: `ms`, `MB`; `bytes` are drawn as KB, MB or GB, whichever fits.
    pub unit: String,
    /// Of what they go with: a unit of time (`s`, `ms`, `min`), or what is counted (`connections`).
    pub x_unit: String,
    /// Ascending x, with the value at it. Pairs that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// One value each for some things that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// What is compared, `CPU per delivery`.
    pub name: String,
    /// Of the values.
    pub unit: String,
    /// What each bar stands for, and its length. Bars that are not finite are left out.
    pub bars: Vec<(String, f64)>,
}

/// A figure somebody published, to stand beside ours: it says little without its conditions.
///
/// A scenario keeps a constant list of `Historic<&str>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Historic<T = String> {
    /// Program, and who ran it.
    pub who: T,
    /// Year, or day.
    pub date: T,
    /// What it ran on.
    pub machine: T,
    /// The figures, with units.
    pub figures: T,
    /// What they really measure.
    pub measures: T,
}

/// Lines that are common to a chart.
#[derive(Clone, Debug, PartialEq)]
struct SeriesChart {
    title: String,
    series: Vec<Series>,
}

/// Text that is shown as it is, in a fixed width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    title: String,
    text: String,
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Void,
}

impl Report {
    /// An empty report of `scenario` that says when, where and how it was made.
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.into(),
            origin: Origin::here(),
            settings: Vec::new(),
            figures: Vec::new(),
            void: Vec::new(),
            failures: Vec::new(),
            notes: Vec::new(),
            table: Vec::new(),
            histograms: Vec::new(),
            charts: Vec::new(),
            bars: Vec::new(),
            texts: Vec::new(),
            historic: Vec::new(),
        }
    }

    /// What was asked for.
    pub(crate) fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.push((name.into(), value.into()));
    }

    /// A whole number that was counted.
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        self.figures.push((name.into(), value.into()));
    }

    /// A figure that was measured; kept to three decimals, small ones to six.
    pub(crate) fn number(&mut self, name: &str, value: f64) {
        let scale = if value.abs() < 0.1 { 1e6 } else { 1e3 };
        self.figures.push((name.into(), json!((value * scale).round() / scale)));
    }

    /// The percentiles as figures, `<name>_p50_ms` and so on, and the whole histogram. Nothing if nothing was measured.
    pub(crate) fn latencies(&mut self, name: &str, latencies: &Latencies) {
        let Some(histogram) = Histogram::of(name, latencies) else { return };
        for (label, quantile) in QUANTILES {
            self.number(&format!("{name}_{label}_ms"), histogram.ms(quantile));
        }
        self.number(&format!("{name}_min_ms"), histogram.min_us as f64 / 1e3);
        self.number(&format!("{name}_max_ms"), histogram.max_us as f64 / 1e3);
        self.number(&format!("{name}_mean_ms"), histogram.mean_us / 1e3);
        self.histograms.push(histogram);
    }

    /// A chart of one line, with the line's name as its title.
    pub fn series(&mut self, series: Series) {
        self.chart(&series.name.clone(), [series]);
    }

    /// A chart of several lines. They have one unit and one x unit, those of the first.
    pub fn chart(&mut self, title: &str, series: impl IntoIterator<Item = Series>) {
        let series = series.into_iter().map(Series::finite).filter(|series| !series.points.is_empty());
        let series: Vec<_> = series.collect();
        if !series.is_empty() {
            self.charts.push(SeriesChart { title: title.into(), series });
        }
    }

    /// A chart of bars.
    pub fn bars(&mut self, mut bars: Bars) {
        bars.bars.retain(|(_, value)| value.is_finite());
        if !bars.bars.is_empty() {
            self.bars.push(bars);
        }
    }

    /// Text that is shown as it is, in a fixed width, below the figures.
    pub fn block(&mut self, title: &str, text: impl Into<String>) {
        self.texts.push(Block { title: title.into(), text: text.into() });
    }

    /// The latencies of that name once more, in the form flashbot printed them.
    pub fn flashbot(&mut self, name: &str) {
        if let Some(histogram) = self.histogram(name) {
            self.block(&format!("{name}, as flashbot printed it"), histogram.flashbot());
        }
    }

    /// Published figures to stand beside ours.
    pub fn historic(&mut self, lines: &[Historic<&str>]) {
        self.historic.extend(lines.iter().map(Historic::kept));
    }

    /// A reason why the figures prove nothing.
    pub(crate) fn void(&mut self, reason: impl Into<String>) {
        self.void.push(reason.into());
    }

    /// A condition the server did not meet.
    pub(crate) fn failure(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// What a reader should know.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A row of the scenario's table; the first one names the columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.push(cells.into_iter().collect());
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == name)?.1.as_f64()
    }

    /// Latencies by their name.
    pub fn histogram(&self, name: &str) -> Option<&Histogram> {
        self.histograms.iter().find(|histogram| histogram.name == name)
    }

    /// Why the figures prove nothing; empty for a good run.
    pub fn void_reasons(&self) -> &[String] {
        &self.void
    }

    /// Conditions the server did not meet; empty when it passed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Whether the run is valid and the server met every condition.
    pub fn passed(&self) -> bool {
        self.verdict() == Verdict::Passed
    }

    fn verdict(&self) -> Verdict {
        match (self.void.is_empty(), self.failures.is_empty()) {
            (false, _) => Verdict::Void,
            (true, false) => Verdict::Failed,
            (true, true) => Verdict::Passed,
        }
    }
}

impl Series {
    fn finite(mut self) -> Self {
        self.points.retain(|(x, y)| x.is_finite() && y.is_finite());
        self
    }
}

impl Historic<&str> {
    fn kept(&self) -> Historic {
        let Self { who, date, machine, figures, measures } = self;
        let [who, date, machine, figures, measures] =
            [who, date, machine, figures, measures].map(|text| (*text).to_owned());
        Historic { who, date, machine, figures, measures }
    }
}

impl Verdict {
    /// In a word or a few.
    fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Void => "void: the figures prove nothing",
        }
    }
}
