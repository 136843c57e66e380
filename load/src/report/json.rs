//! A report as JSON: written, and read again.
//!
//! Owns the shape that is saved, [`Saved`], which is stable: keys are added, never renamed. Must not know how anything is
//! shown. Start at [`Report::json`].

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::histogram::{Histogram, QUANTILES};
use super::origin::{Machine, Origin};
use super::{Bars, Block, Historic, Report, Series, SeriesChart};
use crate::error::Error;

/// What is saved. Reading needs `scenario` and `figures`; all else may be missing.
#[derive(Serialize, Deserialize)]
struct Saved {
    scenario: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    date: String,
    #[serde(default)]
    generator: String,
    #[serde(default)]
    machine: Machine,
    #[serde(default)]
    void: Vec<String>,
    #[serde(default)]
    failures: Vec<String>,
    #[serde(default)]
    settings: Pairs,
    figures: Pairs,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    table: Vec<Pairs>,
    #[serde(default)]
    texts: Vec<Block>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    historic: Vec<Historic>,
    #[serde(default)]
    bars: Vec<Bars>,
    #[serde(default)]
    series: Vec<SavedSeries>,
    #[serde(default)]
    histograms: Vec<SavedHistogram>,
}

#[derive(Serialize, Deserialize)]
struct SavedSeries {
    chart: String,
    #[serde(flatten)]
    series: Series,
}

#[derive(Serialize, Deserialize)]
struct SavedHistogram {
    /// For readers; computed from the buckets.
    #[serde(default)]
    percentiles_ms: Pairs,
    #[serde(flatten)]
    histogram: Histogram,
}

/// A JSON object whose keys keep their order.
#[derive(Default)]
struct Pairs(Vec<(String, Value)>);

impl Report {
    /// One object:
    ///
    /// - `scenario`; `command`, the program and its arguments as typed, values of secret options replaced by `***`;
    ///   `date`, UTC in RFC 3339; `generator`, its version; `machine` of the generator: `kernel`, `cores`, `cpu`,
    ///   `memory_bytes`, empty or 0 where not known.
    /// - `void` and `failures`, lists of reasons, both empty when the run passed.
    /// - `settings` and `figures`, objects by name; names end with their unit.
    /// - `columns` and `table`, a list of objects of texts by column.
    /// - `texts`, a list of `{title, text}`; `notes`, a list of texts.
    /// - `historic`, a list of `{who, date, machine, figures, measures}`.
    /// - `bars`, a list of `{name, unit, bars: [[label, value], ..]}`.
    /// - `series`, a list of `{chart, name, unit, x_unit, points: [[x, value], ..]}`; those of one `chart` belong together.
    /// - `histograms`, a list of `{percentiles_ms: {p50, p90, p99, p99_9}, name, count, min_us, max_us, mean_us,
    ///   buckets: [[upper_us, count], ..]}`, buckets ascending, empty ones left out.
    pub fn json(&self) -> Value {
        serde_json::to_value(self.saved()).expect("every key is a string")
    }

    /// The same as a text without line breaks, the keys in this order.
    pub fn json_text(&self) -> String {
        serde_json::to_string(&self.saved()).expect("every key is a string")
    }

    /// Reads what [`Report::json`] gives.
    ///
    /// # Errors
    /// [`Error`] that says what is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let saved: Saved = serde_json::from_str(text)
            .map_err(|error| Error::new(format!("no report of trunkline bench: {error}")))?;
        let broken = saved.histograms.iter().find(|saved| !saved.histogram.is_sound());
        match broken {
            Some(SavedHistogram { histogram, .. }) => Err(Error::new(format!(
                "histogram {:?}: buckets must ascend to max_us, and their counts add up to count, which is above 0",
                histogram.name
            ))),
            None => Ok(saved.into()),
        }
    }

    fn saved(&self) -> Saved {
        let Origin { command, date, generator, machine } = self.origin.clone();
        let mut rows = self.table.iter();
        let columns = rows.next().cloned().unwrap_or_default();
        let named = |row: &Vec<String>| {
            Pairs(columns.iter().cloned().zip(row.iter().map(|cell| cell.as_str().into())).collect())
        };
        let series = self.charts.iter().flat_map(|chart| {
            let of = |series: &Series| SavedSeries { chart: chart.title.clone(), series: series.clone() };
            chart.series.iter().map(of)
        });
        Saved {
            scenario: self.scenario.clone(),
            command,
            date,
            generator,
            machine,
            void: self.void.clone(),
            failures: self.failures.clone(),
            settings: Pairs(self.settings.clone()),
            figures: Pairs(self.figures.clone()),
            table: rows.map(named).collect(),
            columns,
            texts: self.texts.clone(),
            notes: self.notes.clone(),
            historic: self.historic.clone(),
            bars: self.bars.clone(),
            series: series.collect(),
            histograms: self.histograms.iter().map(SavedHistogram::of).collect(),
        }
    }
}

impl From<Saved> for Report {
    fn from(saved: Saved) -> Self {
        let Saved { command, date, generator, machine, .. } = saved;
        let mut table = Vec::new();
        if let (true, Some(row)) = (saved.columns.is_empty(), saved.table.first()) {
            table.push(row.0.iter().map(|(column, _)| column.clone()).collect());
        } else if !saved.columns.is_empty() {
            table.push(saved.columns);
        }
        table.extend(saved.table.into_iter().map(|row| row.0.iter().map(|(_, cell)| bare(cell)).collect()));
        let mut charts: Vec<SeriesChart> = Vec::new();
        for SavedSeries { chart, series } in saved.series {
            match charts.iter_mut().find(|known| known.title == chart) {
                Some(known) => known.series.push(series),
                None => charts.push(SeriesChart { title: chart, series: vec![series] }),
            }
        }
        Self {
            scenario: saved.scenario,
            origin: Origin { command, date, generator, machine },
            settings: saved.settings.0,
            figures: saved.figures.0,
            void: saved.void,
            failures: saved.failures,
            notes: saved.notes,
            table,
            histograms: saved.histograms.into_iter().map(|saved| saved.histogram).collect(),
            charts,
            bars: saved.bars,
            texts: saved.texts,
            historic: saved.historic,
        }
    }
}

impl SavedHistogram {
    fn of(histogram: &Histogram) -> Self {
        let percentiles = QUANTILES.map(|(name, quantile)| (name.into(), histogram.ms(quantile).into()));
        Self { percentiles_ms: Pairs(percentiles.into()), histogram: histogram.clone() }
    }
}

/// A value without the quotes of a text.
pub(super) fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
