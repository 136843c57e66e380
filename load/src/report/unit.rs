//! Numbers and units for people: the unit a figure's name ends with, digits in groups, steps that read well.
//!
//! Must not know reports. Start at [`of`] and [`number`].

/// The last word of a name, and the unit it stands for.
const UNITS: [(&str, &str); 10] = [
    ("us", "µs"),
    ("ms", "ms"),
    ("ns", "ns"),
    ("seconds", "s"),
    ("minutes", "min"),
    ("bytes", "bytes"),
    ("kb", "KB"),
    ("mb", "MB"),
    ("megabytes", "MB"),
    ("percent", "%"),
];

/// What a figure is called, and its unit: `cpu_us_per_delivery` is `cpu` in `µs per delivery`. No unit is empty.
pub(super) fn of(name: &str) -> (String, String) {
    let words = |text: &str| text.replace("_p99_9", "_p99.9").replace('_', " ");
    if let Some((label, unit)) = with_unit(name) {
        return (words(label), unit.to_owned());
    }
    let Some((head, tail)) = name.rsplit_once("_per_") else { return (words(name), String::new()) };
    let per = format!("per {}", words(tail));
    match with_unit(head) {
        Some(("megabytes", unit)) => ("data".to_owned(), format!("{unit} {per}")),
        Some((label, unit)) => (words(label), format!("{unit} {per}")),
        None => (words(head), per),
    }
}

/// A name without its unit; a name that is nothing else keeps it.
fn with_unit(name: &str) -> Option<(&str, &'static str)> {
    let (label, last) = name.rsplit_once('_').unwrap_or((name, name));
    let (_, unit) = UNITS.iter().find(|(word, _)| *word == last)?;
    Some((label, unit))
}

/// Whole numbers in full, others to four significant digits, thousands in groups.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = if value.fract() == 0.0 { 0 } else { (3 - magnitude).clamp(0, 9) as usize };
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds, without zeros that say nothing.
pub(super) fn ms(us: u64) -> String {
    number(us as f64 / 1e3)
}

/// A factor and the unit that goes with it, so that large numbers of bytes are read as MB.
pub(super) fn scaled(unit: &str, max: f64) -> (f64, String) {
    let steps = [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    let step = steps.iter().find(|(size, _)| unit == "bytes" && max >= *size * 2.0);
    step.map_or((1.0, unit.to_owned()), |(size, name)| (1.0 / size, (*name).to_owned()))
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `value`.
pub(super) fn nice_step(value: f64) -> f64 {
    let decade = 10f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|mantissa| mantissa * decade);
    // A hair below, so that 0.1 + 0.2 is still 0.3.
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(decade * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_is_its_unit() {
        for (name, label, unit) in [
            ("latency_p99_9_ms", "latency p99.9", "ms"),
            ("cpu_us_per_delivery", "cpu", "µs per delivery"),
            ("deliveries_per_second", "deliveries", "per second"),
            ("megabytes_per_second", "data", "MB per second"),
            ("rss_per_session_bytes", "rss per session", "bytes"),
            ("delivered_percent", "delivered", "%"),
            ("sessions", "sessions", ""),
        ] {
            assert_eq!(of(name), (label.to_owned(), unit.to_owned()));
        }
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (value, text) in [
            (0.0, "0"),
            (1_234_567.0, "1,234,567"),
            (-1234.5, "-1,234"),
            (12.3456, "12.35"),
            (0.000_123_456, "0.0001235"),
            (100.0, "100"),
            (1e3, "1,000"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn bytes_are_scaled_and_steps_are_round() {
        assert_eq!(scaled("bytes", 3e6), (1e-6, "MB".to_owned()));
        assert_eq!(scaled("bytes", 800.0), (1.0, "bytes".to_owned()));
        assert_eq!(scaled("ms", 3e6), (1.0, "ms".to_owned()));
        assert_eq!([0.03, 0.3, 1.0, 6.0, 20.0].map(nice_step), [0.05, 0.5, 1.0, 10.0, 20.0]);
    }
}
