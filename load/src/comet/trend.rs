//! Whether samples over time grow: a straight line by least squares, and how sure its slope is.
//!
//! Must not know what was sampled. Start at [`Trend::of`].

/// A slope above this many standard errors is told from noise.
const STANDARD_ERRORS: f64 = 2.0;

/// Growth up to this share of the mean for each unit of time is allowed, however sure it is.
const SHARE_OF_MEAN: f64 = 0.001;

/// A line through samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    pub(super) mean: f64,
    /// For each unit of time.
    pub(super) slope: f64,
    pub(super) standard_error: f64,
}

impl Trend {
    /// What [`Trend::is_flat`] asks, with minutes as unit of time.
    pub(super) const RULE: &str = "its slope is not above two standard errors, or not above 0.1 % of the mean for each minute; what shrinks is flat";

    /// Of at least three samples at different times.
    pub(super) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let n = samples.len() as f64;
        if samples.len() < 3 {
            return None;
        }
        let middle = samples.iter().map(|(time, _)| time).sum::<f64>() / n;
        let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / n;
        let spread: f64 = samples.iter().map(|(time, _)| (time - middle).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let product: f64 = samples.iter().map(|(time, value)| (time - middle) * (value - mean)).sum();
        let slope = product / spread;
        let rest = |(time, value): &(f64, f64)| (value - mean - slope * (time - middle)).powi(2);
        let squares: f64 = samples.iter().map(rest).sum();
        Some(Self { mean, slope, standard_error: (squares / (n - 2.0) / spread).sqrt() })
    }

    /// See [`Trend::RULE`].
    pub(super) fn is_flat(&self) -> bool {
        !self.is_significant() || self.slope <= SHARE_OF_MEAN * self.mean.abs()
    }

    /// Whether it grows at all, as far as that can be told.
    pub(super) fn is_significant(&self) -> bool {
        self.slope > STANDARD_ERRORS * self.standard_error
    }

    /// Growth for each unit of time.
    pub(super) fn percent_of_mean(&self) -> f64 {
        100.0 * self.slope / self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_with_its_error() {
        // y = 3 x + 1 with residuals -1, 2, -1: slope 3, their squares 6 over 1 degree of freedom and spread 2.
        let trend = Trend::of(&[(0.0, 0.0), (1.0, 6.0), (2.0, 6.0)]).unwrap();
        assert!((trend.slope - 3.0).abs() < 1e-9 && (trend.mean - 4.0).abs() < 1e-9, "{trend:?}");
        assert!((trend.standard_error - 3.0_f64.sqrt()).abs() < 1e-9, "{trend:?}");
        assert!(trend.is_flat(), "3 is within twice 1.73");
    }

    #[test]
    fn growth_is_told_from_noise_and_from_next_to_nothing() {
        let line = |slope: f64| {
            let noise = |at: u32| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
            let samples: Vec<_> =
                (0..20).map(|at| (f64::from(at), 1000.0 + slope * f64::from(at) + noise(at))).collect();
            let trend = Trend::of(&samples).unwrap();
            (trend.is_significant(), trend.is_flat())
        };
        assert_eq!([0.0, 0.5, 5.0].map(line), [(false, true), (true, true), (true, false)]);
        assert_eq!(line(-5.0), (false, true), "what shrinks does not grow");
        assert_eq!(Trend::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0), (2.0, 2.0)]), None);
    }
}
