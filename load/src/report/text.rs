//! A report as text for a terminal or a file: 80 columns, no colours.
//!
//! Must not know what was measured. Start at the [`Display`](fmt::Display) of a report.

use std::fmt;

use super::histogram::Histogram;
use super::json::bare;
use super::{Bars, Block, Historic, Report, Series, SeriesChart, unit};

/// Columns of the longest bar.
const BAR_COLUMNS: f64 = 28.0;

/// Columns of a line of blocks that stands for a series.
const SPARK_COLUMNS: usize = 40;

/// Lines of free text are broken here.
const COLUMNS: usize = 80;

/// Eighths of a column, from the left.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Eighths of a line, from below.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> =
            self.settings.iter().map(|(name, value)| format!("{name}={}", bare(value))).collect();
        writeln!(f, "{}: {}", self.scenario, settings.join(" "))?;
        writeln!(f, "{}", self.origin.line())?;
        let width = self.figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.figures {
            writeln!(f, "  {name:width$}  {}", bare(value))?;
        }
        write_table(&self.table, f)?;
        self.histograms.iter().try_for_each(|histogram| write_histogram(histogram, f))?;
        self.charts.iter().try_for_each(|chart| write_series(chart, f))?;
        self.bars.iter().try_for_each(|bars| write_bars(bars, f))?;
        for Block { title, text } in &self.texts {
            writeln!(f, "\n{title}\n{}", text.trim_end())?;
        }
        write_historic(&self.historic, f)?;
        let after = [("VOID", &self.void), ("FAILED", &self.failures), ("note", &self.notes)];
        for (label, lines) in after {
            for line in lines {
                writeln!(f, "{label}: {line}")?;
            }
        }
        Ok(())
    }
}

/// Columns as wide as their widest cell.
pub(super) fn write_table(table: &[Vec<String>], f: &mut impl fmt::Write) -> fmt::Result {
    let columns = table.first().map_or(0, Vec::len);
    let wide = |cell: &String| cell.chars().count();
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(wide).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in table {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn write_histogram(histogram: &Histogram, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Histogram { name, count, .. } = histogram;
    writeln!(f, "\n{name}, ms: {} measured", unit::number(*count as f64))?;
    let steps = histogram.steps();
    let most = steps.iter().map(|step| step.count).max().unwrap_or(1).max(1);
    for step in steps {
        let bar = bar(step.count as f64 / most as f64);
        let percent = histogram.percent(step.count);
        let counted = unit::number(step.count as f64);
        let (from, to) = (unit::ms(step.from_us), unit::ms(step.to_us));
        writeln!(f, "  {from:>9} - {to:>9} {bar:<28} {counted:>13} {percent:>7.2} %")?;
    }
    Ok(())
}

/// Blocks for a share of the longest bar. What is above nothing is seen.
fn bar(share: f64) -> String {
    let eighths = (share * BAR_COLUMNS * 8.0).ceil() as usize;
    let part = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    "█".repeat(eighths / 8) + part
}

fn write_series(chart: &SeriesChart, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n{}", chart.title)?;
    for Series { name, unit, x_unit, points } in &chart.series {
        let values = || points.iter().map(|(_, value)| *value);
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let (factor, unit) = unit::scaled(unit, max);
        let [min, max, last] =
            [min, max, values().next_back().unwrap_or(0.0)].map(|v| unit::number(v * factor));
        let (from, to) = (points.first().map_or(0.0, |p| p.0), points.last().map_or(0.0, |p| p.0));
        writeln!(f, "  {}  {name}", spark(points))?;
        writeln!(
            f,
            "    {} to {} {x_unit}: min {min}, max {max}, last {last} {unit}",
            unit::number(from),
            unit::number(to)
        )?;
    }
    Ok(())
}

/// One block for each stretch of x, as high as the largest value in it; the lowest block is 0. A stretch without a
/// value repeats the one before.
fn spark(points: &[(f64, f64)]) -> String {
    let (first, last) = (points.first().map_or(0.0, |p| p.0), points.last().map_or(0.0, |p| p.0));
    let max = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let columns = points.len().min(SPARK_COLUMNS);
    let column_of = |x: f64| {
        let share = if last > first { (x - first) / (last - first) } else { 0.0 };
        ((share * columns as f64) as usize).min(columns.saturating_sub(1))
    };
    let mut highest: Vec<Option<f64>> = vec![None; columns];
    for (x, value) in points {
        if let Some(slot) = highest.get_mut(column_of(*x)) {
            *slot = Some(slot.map_or(*value, |known| known.max(*value)));
        }
    }
    let mut level = 0;
    let blocks = highest.iter().map(|value| {
        let share = |value: f64| if max > 0.0 { (value.max(0.0) / max * 7.0).round() as usize } else { 0 };
        level = value.map_or(level, share);
        LEVELS.get(level).copied().unwrap_or(' ')
    });
    blocks.collect()
}

fn write_bars(bars: &Bars, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let max = bars.bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let (factor, unit) = unit::scaled(&bars.unit, max);
    writeln!(f, "\n{}, {unit}", bars.name)?;
    let width = bars.bars.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, value) in &bars.bars {
        let bar = bar(if max > 0.0 { value.max(0.0) / max } else { 0.0 });
        writeln!(f, "  {label:width$}  {bar:<28} {:>13}", unit::number(value * factor))?;
    }
    Ok(())
}

fn write_historic(historic: &[Historic], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if historic.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nHistoric figures; other machines and other measures, so only for orientation")?;
    for Historic { who, date, machine, figures, measures } in historic {
        write_wrapped(&format!("{date}  {who}, {machine}: {figures}"), "  ", f)?;
        write_wrapped(&format!("measures {measures}"), "        ", f)?;
    }
    Ok(())
}

/// Breaks at spaces; all lines but the first are indented by six more.
fn write_wrapped(text: &str, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut line = indent.to_owned();
    let mut begun = false;
    for word in text.split(' ') {
        if begun && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(f, "{line}")?;
            line = format!("{indent}      ");
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    writeln!(f, "{line}")
}
