//! A time as a back end writes it: seconds since 1970, as tokens have them, or text of RFC 3339.
//!
//! Must not know what it is a time of. Start at [`Moment::checked`].

use serde::Deserialize;
use wire::cloudevent::parse_timestamp;

use crate::auth::UnixMs;

/// Up to the year 9999; later ones mean never, and so does leaving it out.
const SECONDS_MAX: f64 = 253_402_300_800.0;

/// As it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::back) enum Moment {
    /// Perhaps with a fraction.
    Seconds(f64),
    /// RFC 3339.
    Text(String),
}

impl Moment {
    /// As the server counts it. `name` is what the writer calls it.
    ///
    /// # Errors
    /// What it should be.
    pub(in crate::back) fn checked(self, name: &str) -> Result<UnixMs, String> {
        let ms = match self {
            Self::Seconds(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
                Some((seconds * 1000.0) as u64)
            }
            Self::Seconds(_) => None,
            Self::Text(text) => parse_timestamp(&text),
        };
        ms.map(UnixMs).ok_or_else(|| format!("{name} must be seconds since 1970 or a time of RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_or_a_text() {
        let of = |json: &str| serde_json::from_str::<Moment>(json).unwrap().checked("x");
        assert_eq!(of("1795320000.5"), Ok(UnixMs(1_795_320_000_500)));
        assert_eq!(of("\"2026-11-22T04:00:00Z\""), Ok(UnixMs(1_795_320_000_000)));
        for bad in ["-1", "1e300", "\"tomorrow\"", "\"\""] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
