//! What becomes of an event that was sent, by what was answered: done, sent again later, given up, or kept until somebody looks.
//!
//! Must not know how events are sent or kept. Start at [`fate`].

use std::time::Duration;

use super::connection::Answer;
use super::failure::Failure;
use crate::config::Webhook;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The back end has it.
    Done,
    /// It is sent again after so long.
    Later(Duration),
    /// It is a dead letter.
    Dead,
    /// The back end wants no events any more: they are kept until somebody says otherwise.
    Disabled,
}

/// Judges the attempt of this number, from 1, at an event of this age. `chance` is between 0 and 1.
pub(super) fn fate(
    config: &Webhook,
    (attempt, age): (u32, Duration),
    result: &Result<Answer, Failure>,
    chance: f64,
) -> Fate {
    let is_old = age >= Duration::from_secs(config.give_up_after_seconds);
    let later = Fate::Later(backoff(config, attempt, chance));
    match result {
        Ok(Answer { status: 200..=299, .. }) => Fate::Done,
        Ok(Answer { status: 410, .. }) => Fate::Disabled,
        Ok(Answer { status: 415, .. }) | Err(Failure::LargeEvent) => Fate::Dead,
        _ if is_old => Fate::Dead,
        Ok(Answer { status: 429 | 503, retry_after: Some(wait), .. }) => {
            Fate::Later(backoff(config, attempt, chance).max((*wait).min(LATER_MAX)))
        }
        Ok(Answer { status: 408 | 429, .. }) => later,
        Ok(Answer { status: 400..=499, .. }) if attempt >= config.refusals_max => Fate::Dead,
        Ok(_) | Err(_) => later,
    }
}

/// As long as a message may be invisible after its receive.
const LATER_MAX: Duration = Duration::from_secs(3600 * 11);

/// Twice as long each time, and up to half shorter by chance, so that what failed together does not come back together.
fn backoff(config: &Webhook, attempt: u32, chance: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(32);
    let full_ms = config.retry_ms_min.saturating_mul(1 << doublings).min(config.retry_ms_max);
    Duration::from_millis(full_ms).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine, SourceFile, Sources};

    fn webhook() -> Webhook {
        let text = "[auth]\nmode = \"anonymous\"\n[[webhook]]\nname = \"a\"\nurl = \"https://a/\"\n\
                    secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\ntypes = [\"session.event\"]";
        let file = Some(SourceFile { name: "t".into(), text: text.into() });
        let machine = Machine { cores: 1, open_files_max: 10_000 };
        let loaded = Config::load(&Sources { file, ..Sources::default() }, machine).unwrap();
        loaded.config.webhooks.into_iter().next().unwrap()
    }

    fn of(status: u16, attempt: u32, age_s: u64) -> Fate {
        let answer = Answer { status, retry_after: None, body: bytes::Bytes::new() };
        fate(&webhook(), (attempt, Duration::from_secs(age_s)), &Ok(answer), 1.0)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_answer_has_its_fate() {
        for status in [200, 202, 204] {
            assert_eq!(of(status, 1, 0), Fate::Done);
        }
        assert_eq!(of(410, 1, 90_000), Fate::Disabled);
        assert_eq!(of(415, 1, 0), Fate::Dead);
        for status in [301, 307, 429, 408, 500, 502, 503] {
            assert_eq!(of(status, 100, 0), Fate::Later(SECOND * 300), "{status}");
            assert_eq!(of(status, 1, 86_400), Fate::Dead, "{status}");
        }
        assert_eq!((of(404, 4, 0), of(404, 5, 0)), (Fate::Later(SECOND * 8), Fate::Dead));
        let of = |failure| fate(&webhook(), (1, SECOND), &Err(failure), 0.0);
        assert_eq!(of(Failure::Late), Fate::Later(SECOND / 2));
        assert_eq!(of(Failure::LargeEvent), Fate::Dead);
    }

    #[test]
    fn waits_double_up_to_their_limit_and_the_back_end_may_ask_for_more() {
        let waits: Vec<Fate> = (1..=10).map(|attempt| of(500, attempt, 0)).collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map(|seconds| Fate::Later(SECOND * seconds));
        assert_eq!(waits, expected);
        let answer = |wait| Answer { status: 503, retry_after: Some(wait), body: bytes::Bytes::new() };
        let told = fate(&webhook(), (1, SECOND), &Ok(answer(SECOND * 77)), 1.0);
        assert_eq!(told, Fate::Later(SECOND * 77));
        assert_eq!(
            fate(&webhook(), (1, SECOND), &Ok(answer(SECOND * 1_000_000)), 1.0),
            Fate::Later(LATER_MAX)
        );
    }
}
