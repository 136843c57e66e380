//! What a report has to draw: percentiles, histograms, series, bars.
//!
//! Owns which axes a kind of chart has. Must not know how lines get into a file. Start at [`percentiles`].

use super::axis::Axis;
use super::draw::{Grid, Layer, Picture, Plot, Shape};
use super::histogram::Histogram;
use super::{Bars, SeriesChart, unit};
use crate::error::Error;

/// Pixels of a chart over the whole width of a page, and of the smaller ones that stand two in a row.
const WIDTH: u32 = 880;
const HEIGHT: u32 = 360;
const HALF_WIDTH: u32 = 432;

/// A line has no more points than these stretches of its axis have ends: more cannot be told apart.
const STRETCHES: usize = 800;

/// A series of so many values or fewer shows each of them.
const DOTS_MAX: usize = 40;

/// Characters of a bar's label.
const LABEL_MAX: usize = 36;

/// Names of units of time, so that an axis says so.
const TIMES: [&str; 8] = ["us", "µs", "ms", "s", "seconds", "min", "minutes", "h"];

/// How much of the width a chart of bars takes. In the small ones each bar has the colour of its place, as lines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Full,
    Half,
}

/// Latency at each percentile, one line for each named histogram; each further nine is as wide as the one before.
pub(super) fn percentiles(title: &str, lines: &[(String, &Histogram)]) -> Result<Picture, Error> {
    let of_all = |f: fn(&Histogram) -> u64| lines.iter().map(move |(_, histogram)| f(histogram));
    let count = of_all(|histogram| histogram.count).max().unwrap_or(0);
    let low_us = of_all(|histogram| histogram.min_us).min().unwrap_or(0);
    let high_us = of_all(|histogram| histogram.max_us).max().unwrap_or(0);
    let x = Axis::percentiles(count);
    let y = Axis::fitting("latency, ms", low_us as f64 / 1e3, high_us as f64 / 1e3);
    let layers = lines.iter().map(|(name, histogram)| {
        let mut points = vec![(0.0, y.at(histogram.min_us as f64 / 1e3))];
        let mut below = 0;
        for (upper_us, count) in &histogram.buckets {
            // A bucket begins where the one before ended, so a line of few values is a stair.
            let upper = y.at(*upper_us as f64 / 1e3);
            points.push((x.at(below as f64 / histogram.count as f64), upper));
            below += count;
            let share = below as f64 / histogram.count as f64;
            let end = if share < 1.0 { x.at(share) } else { (histogram.count.max(10) as f64).log10() };
            points.push((end, upper));
        }
        Layer { name: name.clone(), shape: Shape::Line(thinned(&points)) }
    });
    let layers = layers.collect();
    Plot { title: title.into(), x, y, layers, grid: Grid::Both, size: (WIDTH, HEIGHT) }.draw()
}

/// How many took how long: the steps of the terminal, as boxes of equal width.
pub(super) fn histogram(title: &str, histogram: &Histogram) -> Result<Picture, Error> {
    let steps = histogram.steps();
    let most = steps.iter().map(|step| histogram.percent(step.count)).fold(0.0, f64::max);
    let first = steps.first().map(|step| step.from_us);
    let edges = first.into_iter().chain(steps.iter().map(|step| step.to_us));
    let marks = edges.enumerate().map(|(place, us)| (place as f64, unit::ms(us))).collect();
    let boxes = steps.iter().enumerate().map(|(place, step)| {
        let place = place as f64;
        ([(place + 0.04, 0.0), (place + 0.96, histogram.percent(step.count))], String::new())
    });
    let layers = vec![Layer { name: histogram.name.clone(), shape: Shape::Boxes(boxes.collect()) }];
    let x = Axis::places("latency, ms", 0.0..steps.len() as f64, marks);
    let y = Axis::linear("share of all, %", 0.0, most);
    Plot { title: title.into(), x, y, layers, grid: Grid::Y, size: (WIDTH, HEIGHT) }.draw()
}

/// Values over time or size.
pub(super) fn series(chart: &SeriesChart) -> Result<Picture, Error> {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let (x_low, x_high) = span(points().map(|(x, _)| x));
    let (y_low, y_high) = span(points().map(|(_, y)| y));
    let first = chart.series.first().ok_or_else(|| Error::new("a chart without a line"))?;
    let (factor, unit) = unit::scaled(&first.unit, y_high);
    let x = if TIMES.contains(&first.x_unit.as_str()) {
        Axis::between(format!("time, {}", first.x_unit), x_low, x_high)
    } else {
        Axis::fitting(first.x_unit.as_str(), x_low, x_high)
    };
    let named = if chart.series.len() == 1 { format!("{}, {unit}", first.name) } else { unit };
    let y_title =
        if named.chars().count() > 40 { named.chars().take(39).chain(['…']).collect() } else { named };
    let y = Axis::linear(y_title, y_low * factor, y_high * factor);
    let layers = chart.series.iter().map(|series| {
        let placed: Vec<_> =
            series.points.iter().map(|(at, value)| (x.at(*at), y.at(value * factor))).collect();
        Layer {
            name: series.name.clone(),
            shape: if placed.len() <= DOTS_MAX { Shape::Dots(placed) } else { Shape::Line(thinned(&placed)) },
        }
    });
    let layers = layers.collect();
    Plot { title: chart.title.clone(), x, y, layers, grid: Grid::Both, size: (WIDTH, HEIGHT) }.draw()
}

/// One bar below the other, each with its label and value.
pub(super) fn bars(bars: &Bars, width: Width) -> Result<Picture, Error> {
    let (low, high) = span(bars.bars.iter().map(|(_, value)| *value));
    let (factor, unit) = unit::scaled(&bars.unit, high);
    let shown = |value: f64| value * factor;
    // The name of a small chart ends with the unit.
    let told = width == Width::Half && unit == bars.unit;
    let mut x = Axis::linear(if told { "" } else { unit.as_str() }, shown(low), shown(high));
    // Room for the value behind the longest bar.
    let texts = bars.bars.iter().map(|(_, value)| unit::number(shown(*value)).len()).max().unwrap_or(0);
    let pixels = match width {
        Width::Full => WIDTH,
        Width::Half => HALF_WIDTH,
    };
    let room = (x.range.end - x.range.start) * (texts as f64 * 9.0 + 10.0) / f64::from(pixels - 170);
    x.range.end = x.range.end.max(shown(high) + room);
    let count = bars.bars.len() as f64;
    let mut marks = Vec::new();
    let mut boxes = Vec::new();
    for (place, (label, value)) in bars.bars.iter().enumerate() {
        let middle = count - place as f64 - 0.5;
        let short: String = label.chars().take(LABEL_MAX).collect();
        marks.push((middle, short));
        let value = shown(*value);
        boxes.push(([(0.0, middle - 0.32), (value, middle + 0.32)], unit::number(value)));
    }
    let y = Axis::places("", 0.0..count, marks);
    let layer = |boxes| Layer { name: String::new(), shape: Shape::Boxes(boxes) };
    let layers = match width {
        Width::Full => vec![layer(boxes)],
        Width::Half => boxes.into_iter().map(|each| layer(vec![each])).collect(),
    };
    let size = (pixels, if told { 80 } else { 98 } + 30 * bars.bars.len() as u32);
    Plot { title: bars.name.clone(), x, y, layers, grid: Grid::X, size }.draw()
}

/// The smallest and the largest.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let wider = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), wider);
    if low.is_finite() { (low, high) } else { (0.0, 0.0) }
}

/// Of each stretch the first, the lowest, the highest and the last point, so that no peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (low, high) = span(points.iter().map(|(x, _)| *x));
    if points.len() <= STRETCHES || high <= low {
        return points.to_vec();
    }
    let stretch = |x: f64| ((x - low) / (high - low) * STRETCHES as f64) as usize;
    let mut kept = Vec::new();
    for run in points.chunk_by(|a, b| stretch(a.0) == stretch(b.0)) {
        let mut of_run: Vec<usize> = Vec::with_capacity(4);
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        of_run.push(0);
        of_run.extend(run.iter().enumerate().min_by(by_value).map(|(index, _)| index));
        of_run.extend(run.iter().enumerate().max_by(by_value).map(|(index, _)| index));
        of_run.push(run.len() - 1);
        of_run.sort_unstable();
        of_run.dedup();
        kept.extend(of_run.iter().filter_map(|index| run.get(*index).copied()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_keeps_its_ends_and_its_peaks() {
        let mut points: Vec<_> = (0..100_000).map(|x| (f64::from(x), 1.0)).collect();
        points[31_337].1 = 9.0;
        let kept = thinned(&points);
        assert!(kept.len() < 4 * STRETCHES, "{}", kept.len());
        assert!(kept.contains(&(31_337.0, 9.0)) && kept.contains(&(99_999.0, 1.0)) && kept[0] == (0.0, 1.0));
        assert_eq!(thinned(&points[..10]), points[..10]);
    }

    #[test]
    fn what_is_drawn_is_escaped_and_has_titles_and_units() {
        let chart = Bars {
            name: "CPU <of> \"all\"".into(),
            unit: "µs per delivery".into(),
            bars: vec![("a & b".into(), 7.5), ("<script>".into(), 0.0)],
        };
        let picture = bars(&chart, Width::Full).unwrap();
        for text in ["CPU &lt;of&gt;", "a &amp; b", "&lt;script&gt;", "µs per delivery", "7.5"] {
            assert!(picture.svg.contains(text), "{text}: {}", picture.svg);
        }
        assert!(!picture.svg.contains("<script"), "{}", picture.svg);
        assert_eq!(picture.file_stem(), "cpu-of-all");
        assert!(picture.document().contains("<style>"));
    }

    #[test]
    fn bytes_over_time_are_drawn_in_a_unit_that_reads_well() {
        let points = vec![(0.0, 10e6), (60.0, 25e6)];
        let one =
            super::super::Series { name: "memory".into(), unit: "bytes".into(), x_unit: "s".into(), points };
        let picture = series(&SeriesChart { title: "memory".into(), series: vec![one] }).unwrap();
        for text in ["memory, MB", "time, s", "\n25\n", "\n60\n"] {
            assert!(picture.svg.contains(text) || picture.svg.contains(&text.replace('\n', "")), "{text}");
        }
    }
}
