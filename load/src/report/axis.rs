//! An axis of a chart: which values it spans, where its marks are and what they say.
//!
//! Drawing takes place on plain numbers; an axis maps values to them, so that linear, logarithmic and percentile axes
//! are drawn by the same code. Must not know how. Start at [`Axis`].

use std::ops::Range;

use super::unit;

/// Marks a reader can take in.
const MARKS_MAX: f64 = 7.0;

/// With more than these, only powers of ten are marked.
const LOGARITHMIC_MARKS_MAX: usize = 12;

/// Above this ratio of largest to smallest a linear axis would hide the small values.
const LINEAR_RATIO_MAX: f64 = 50.0;

/// A direction of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) title: String,
    /// What is drawn, in the axis' own measure.
    pub(super) range: Range<f64>,
    /// Places in that measure, with what stands there.
    pub(super) marks: Vec<(f64, String)>,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
    Percentile,
}

impl Axis {
    /// From `low`, or 0 if that is above it, to at least `high`.
    pub(super) fn linear(title: impl Into<String>, low: f64, high: f64) -> Self {
        Self::between(title, low.min(0.0), high)
    }

    /// From just `low` to at least `high`.
    pub(super) fn between(title: impl Into<String>, low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = unit::nice_step((high - low) / MARKS_MAX);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let marks = (0..=(last - first) as u32).map(|index| {
            let value = (first + f64::from(index)) * step;
            (value, unit::number((value / step).round() * step))
        });
        let (title, marks) = (title.into(), marks.collect());
        Self { title, range: first * step..last * step, marks, scale: Scale::Linear }
    }

    /// Logarithmic if all values are above 0 and far apart.
    pub(super) fn fitting(title: impl Into<String>, low: f64, high: f64) -> Self {
        if low <= 0.0 || high / low <= LINEAR_RATIO_MAX {
            return Self::linear(title, low, high);
        }
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let marks: Vec<(f64, f64)> = decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|mantissa| (mantissa, mantissa * 10f64.powi(decade))))
            .collect();
        // A hair of tolerance, so that 100 begins at 100.
        let first = marks.iter().rposition(|(_, value)| *value <= low * 1.000_001).unwrap_or(0);
        let last = marks.iter().position(|(_, value)| *value >= high * 0.999_999).unwrap_or(marks.len() - 1);
        let shown = marks.get(first..=last).unwrap_or_default();
        let place = |mark: Option<&(f64, f64)>| mark.map_or(0.0, |(_, value)| value.log10());
        let range = place(shown.first())..place(shown.last());
        let few = shown.len() <= LOGARITHMIC_MARKS_MAX;
        let told = shown.iter().filter(|(mantissa, _)| few || *mantissa == 1.0);
        let marks = told.map(|(_, value)| (value.log10(), unit::number(*value))).collect();
        Self { title: title.into(), range, marks, scale: Scale::Logarithmic }
    }

    /// Percentiles of up to `count` values, each nine as wide as the one before.
    pub(super) fn percentiles(count: u64) -> Self {
        let end = (count.max(10) as f64).log10();
        let mut marks = vec![(0.0, "0".to_owned()), (0.5, "50".to_owned())];
        let nines = (1..=end.floor() as usize).map(|nines| {
            let text = match nines {
                1 => "90".to_owned(),
                2 => "99".to_owned(),
                more => format!("99.{}", "9".repeat(more - 2)),
            };
            (1.0 - 10f64.powi(-(nines as i32)), text)
        });
        marks.extend(nines);
        let mut axis = Self {
            title: "percentile, %".into(),
            range: 0.0..end,
            marks: Vec::new(),
            scale: Scale::Percentile,
        };
        axis.marks = marks.into_iter().map(|(share, text)| (axis.at(share).min(end), text)).collect();
        axis
    }

    /// Places 0, 1 and so on with these names between them or at them.
    pub(super) fn places(title: impl Into<String>, range: Range<f64>, marks: Vec<(f64, String)>) -> Self {
        Self { title: title.into(), range, marks, scale: Scale::Linear }
    }

    /// Where a value is. A percentile is given as a share; 1 is at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10().max(self.range.start),
            Scale::Percentile if value >= 1.0 => self.range.end,
            Scale::Percentile => -(1.0 - value).log10(),
        }
    }

    /// What stands at the mark nearest to a place.
    pub(super) fn label(&self, place: f64) -> String {
        let near = |(at, _): &&(f64, String)| (*at - place).abs();
        let nearest = self.marks.iter().min_by(|a, b| near(a).total_cmp(&near(b)));
        nearest.map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.marks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn marks_are_round_and_span_the_values() {
        let axis = Axis::linear("ms", 3.0, 9.7);
        assert_eq!((labels(&axis).as_str(), axis.range), ("0 2 4 6 8 10", 0.0..10.0));
        assert_eq!(labels(&Axis::linear("ms", 0.0, 0.3)), "0 0.05 0.1 0.15 0.2 0.25 0.3");
        assert_eq!(labels(&Axis::linear("ms", 0.0, 0.0)), "0 0.2 0.4 0.6 0.8 1");
    }

    #[test]
    fn values_far_apart_get_a_logarithmic_axis() {
        let axis = Axis::fitting("connections", 100.0, 10_000.0);
        assert_eq!(labels(&axis), "100 200 500 1,000 2,000 5,000 10,000");
        assert_eq!(axis.at(1000.0), 3.0);
        assert_eq!(
            labels(&Axis::fitting("connections", 100.0, 102_400.0)),
            "100 200 500 1,000 2,000 5,000 10,000 20,000 50,000 100,000 200,000"
        );
        assert_eq!(labels(&Axis::fitting("ms", 0.3, 30_000.0)), "1 10 100 1,000 10,000");
        assert_eq!(labels(&Axis::fitting("ms", 0.0, 100.0)).split(' ').next(), Some("0"));
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        let axis = Axis::percentiles(20_000);
        assert_eq!(labels(&axis), "0 50 90 99 99.9 99.99");
        assert!((axis.at(0.999) - 3.0).abs() < 1e-9);
        assert_eq!(axis.at(1.0), axis.range.end);
        assert_eq!(axis.label(2.01), "99");
    }
}
