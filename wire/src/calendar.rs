//! Times as protocols write them, without a clock.
//!
//! Owns the calendar between 1970 and 9999. Must not know what time it is. Start at [`parse_basic`] and [`print_rfc3339`].

/// Characters of a day: `20260131`.
pub(crate) const DAY_CHARS: usize = 8;

const SECONDS_PER_DAY: u64 = 86_400;

/// Seconds since 1970 of `20260131T235959Z`.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| parse_digits(text.get(from..to)?);
    let day = days(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
    seconds(day, [number(9, 11)?, number(11, 13)?, number(13, 15)?])
}

/// Seconds since 1970 of `Sat, 31 Jan 2026 23:59:59 GMT` (RFC 9110 section 5.6.7), in which SDKs also write the zone as
/// mail does; the older forms are not read.
pub(crate) fn parse_http(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, zone) = (parts.next()?, parts.next()?);
    if !matches!(zone, "GMT" | "UTC" | "+0000" | "-0000") || parts.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let day = days(parse_digits(year)?, month, parse_digits(day)?)?;
    let mut time = time.split(':').map(parse_digits);
    let [hour, minute, second] = [time.next()??, time.next()??, time.next()??];
    if time.next().is_some() { None } else { seconds(day, [hour, minute, second]) }
}

/// Milliseconds since 1970 of `2026-01-31T23:59:59.123Z`, with any fraction and offset (RFC 3339).
pub(crate) fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| parse_digits(text.get(from..to)?);
    let is_at = |at: usize, any_of: &str| text.get(at..=at).is_some_and(|c| any_of.contains(c));
    if !(is_at(4, "-") && is_at(7, "-") && is_at(10, "Tt") && is_at(13, ":") && is_at(16, ":")) {
        return None;
    }
    let day = days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let second = seconds(day, [number(11, 13)?, number(14, 16)?, number(17, 19)?])?;
    let rest = text.get(19..)?;
    let (ms, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            let digits = rest.get(..len.min(3)).filter(|digits| !digits.is_empty())?;
            let factor = [100, 10, 1].get(digits.len() - 1)?;
            (parse_digits(digits)? * factor, rest.get(len..)?)
        }
    };
    let ahead_s = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [b'+' | b'-', _, _, b':', _, _] => {
            let (hours, minutes) = (parse_digits(zone.get(1..3)?)?, parse_digits(zone.get(4..6)?)?);
            let ahead = i64::try_from(hours * 3600 + minutes * 60).ok()?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if zone.starts_with('-') { -ahead } else { ahead }
        }
        _ => return None,
    };
    Some(second.checked_add_signed(-ahead_s)? * 1000 + ms)
}

/// The last second of the year 9999: later times are written as this one.
const LAST_S: u64 = 253_402_300_799;

/// `2026-01-31T23:59:59.123Z` (RFC 3339), of milliseconds since 1970.
pub(crate) fn print_rfc3339(time_ms: u64) -> String {
    let (time_s, ms) = ((time_ms / 1000).min(LAST_S), time_ms % 1000);
    let (year, month, day) = date(time_s / SECONDS_PER_DAY);
    let second = time_s % SECONDS_PER_DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The form of signatures.
pub(crate) fn print_basic(time_s: u64) -> String {
    let time_s = time_s.min(LAST_S);
    let (year, month, day) = date(time_s / SECONDS_PER_DAY);
    let second = time_s % SECONDS_PER_DAY;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn parse_digits(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

fn seconds(day: u64, [hour, minute, second]: [u64; 3]) -> Option<u64> {
    // A leap second counts as the one after it.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    is_time.then_some(day * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date in the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(days_before(year) - days_before(1970) + months + day - 1)
}

fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) - days_before(1970) <= days {
        year += 1;
    }
    let mut rest = days - (days_before(year) - days_before(1970));
    let mut month = 1;
    while rest >= month_days(year, month) {
        rest -= month_days(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// Days between the first of January of year 1 and of this year.
const fn days_before(year: u64) -> u64 {
    let years = year - 1;
    years * 365 + years / 4 - years / 100 + years / 400
}

const fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_fractions_and_offsets() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T04:00:00.5Z", Some(1_795_320_000_500)),
            ("2026-11-22t05:30:00.123456+01:30", Some(1_795_320_000_123)),
            ("2026-11-21T23:00:00-05:00", Some(1_795_320_000_000)),
            ("2026-11-22T04:00:00", None),
            ("2026-11-22T04:00:00.Z", None),
            ("2026-11-22T04:00:00+1:00", None),
            ("2026-02-29T04:00:00Z", None),
            ("2026-11-22 04:00:00Z", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("2026-11-22T04:00:00ZZ", None),
            ("", None),
        ];
        for (text, time_ms) in cases {
            assert_eq!(parse_rfc3339(text), time_ms, "{text}");
        }
    }

    #[test]
    fn times_are_printed_with_their_milliseconds() {
        for (time_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_320_000_123, "2026-11-22T04:00:00.123Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.615Z"),
        ] {
            assert_eq!(print_rfc3339(time_ms), text);
        }
    }
}
