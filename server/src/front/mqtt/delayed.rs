//! Topics of the form `$delayed/<seconds>/<topic>`: the message is published to the topic so much later.
//!
//! Owns the form. Must not know where a message waits. Start at [`split`].

/// First level of such topics.
pub(super) const ROOT: &str = "$delayed";

/// Some 49 days: longer delays are schedules, which want to be seen and called off.
const SECONDS_MAX: u64 = 4_294_967;

/// The delay in milliseconds and the topic; `None` when it is not of that form, or names no topic or no delay that is
/// possible. Of a topic that does not begin so, itself.
pub(super) fn split(topic: &str) -> Option<(u64, &str)> {
    let Some(rest) = topic.strip_prefix(ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return Some((0, topic));
    };
    let (seconds, topic) = rest.strip_prefix('/')?.split_once('/')?;
    if topic.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = seconds.parse::<u64>().ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
    Some((seconds * 1000, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_number_of_seconds_before_a_topic() {
        for (topic, expected) in [
            ("a/b", Some((0, "a/b"))),
            ("$delayed2/1/a", Some((0, "$delayed2/1/a"))),
            ("$delayed/15/a/b", Some((15_000, "a/b"))),
            ("$delayed/0/a", Some((0, "a"))),
            ("$delayed/1//", Some((1000, "/"))),
            ("$delayed/4294967/a", Some((4_294_967_000, "a"))),
            ("$delayed/4294968/a", None),
            ("$delayed/99999999999999999999999/a", None),
            ("$delayed", None),
            ("$delayed/", None),
            ("$delayed/5", None),
            ("$delayed/5/", None),
            ("$delayed//a", None),
            ("$delayed/+5/a", None),
            ("$delayed/-5/a", None),
            ("$delayed/1.5/a", None),
        ] {
            assert_eq!(split(topic), expected, "{topic}");
        }
    }
}
