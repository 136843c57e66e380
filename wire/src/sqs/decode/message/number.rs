//! Attributes of type Number: which texts are one, without ever computing it.
//!
//! Owns the syntax and the bounds of magnitude and precision. Must not re-write a number. Start at [`is_in_range`].

use super::super::super::limits::NUMBER_DIGITS_MAX;

/// The power of ten of the first digit, at least.
const EXPONENT_MIN: i64 = -128;

/// The power of ten of the first digit, at most. It is reached only by 10^126 itself.
const EXPONENT_MAX: i64 = 126;

/// Whether `text` is a decimal number, signed or not, with a point or an exponent or not, of at most 38 significant
/// digits, and zero or of a magnitude of 10^-128 to 10^126.
pub(super) fn is_in_range(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => match parse_exponent(exponent) {
            Some(exponent) => (mantissa, exponent),
            None => return false,
        },
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return false;
    }
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(first) = digits().position(|digit| digit != b'0') else { return true };
    let last =
        digits().enumerate().filter(|(_, digit)| *digit != b'0').map(|(at, _)| at).last().unwrap_or(first);
    // Texts are shorter than a message, so that no length is beyond an i64.
    let first_exponent = whole.len() as i64 - 1 - first as i64 + exponent;
    let is_one = first == last && digits().nth(first) == Some(b'1');
    last - first < NUMBER_DIGITS_MAX
        && first_exponent >= EXPONENT_MIN
        && (first_exponent < EXPONENT_MAX || first_exponent == EXPONENT_MAX && is_one)
}

/// An exponent of up to nine digits: more are out of range whatever the mantissa is, that of a million zeros included.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_plain =
        !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}
