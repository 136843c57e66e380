//! What a client is told of its request: a code and, of version 5, words beside a refusal (MQTT 5.0, 3.4.2.2.2 and 3.9.2.1.2).
//!
//! Owns the words for what the hub refuses, and how a SUBACK, which has one place for words, speaks of several filters. Must not know
//! how a packet is encoded: the encoder leaves the words out where they are not wanted or do not fit. Start at [`Told`].

use std::borrow::Cow;
use std::fmt::Write as _;

use hub::Refusal;
use wire::mqtt::{PropertyBuf, ReasonCode};

use crate::auth::{Action, why_reserved};

/// A code, and why; no words where the code says all there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) code: ReasonCode,
    words: Cow<'static, str>,
}

/// After so many bytes of words a SUBACK names no more filters.
const FILTERS_BYTES_MAX: usize = 1024;

impl Told {
    pub(super) const fn new(code: ReasonCode, words: &'static str) -> Self {
        Self { code, words: Cow::Borrowed(words) }
    }

    /// In the back end's words. MQTT has no place for control characters, line feeds included (1.5.4).
    pub(super) fn by_back_end(message: &str) -> Self {
        let words = message.replace(char::is_control, " ");
        Self { code: ReasonCode::NotAuthorized, words: words.into() }
    }

    /// What the hub refuses of a message.
    pub(super) fn of_message(refusal: Refusal) -> Self {
        let words = match refusal {
            Refusal::OverLimit => {
                "a limit of the server: of values that are retained, messages that wait, channels with a history, or of its store"
            }
            Refusal::InvalidChannel | Refusal::InvalidFilter => "not a valid topic",
            Refusal::ReservedChannel => why_reserved(Action::Publish),
            Refusal::NotFound | Refusal::PositionLost | Refusal::Outdated | Refusal::Busy => "",
        };
        Self::new(code(refusal), words)
    }

    /// What the hub refuses of a filter.
    pub(super) fn of_filter(refusal: Refusal) -> Self {
        let words = match refusal {
            Refusal::OverLimit => {
                "a limit of the server: of subscriptions of one client, of members of a group, or of channels"
            }
            Refusal::InvalidChannel | Refusal::InvalidFilter => "not a valid filter",
            Refusal::ReservedChannel => why_reserved(Action::Subscribe),
            Refusal::NotFound | Refusal::PositionLost | Refusal::Outdated | Refusal::Busy => "",
        };
        Self::new(code(refusal), words)
    }

    /// The words, if there are some.
    pub(super) fn words(&self) -> Option<&str> {
        Some(&*self.words).filter(|words| !words.is_empty())
    }

    /// The words as properties.
    pub(super) fn properties(&self) -> PropertyBuf {
        self.words().map(PropertyBuf::with_reason_string).unwrap_or_default()
    }
}

impl From<ReasonCode> for Told {
    fn from(code: ReasonCode) -> Self {
        Self::new(code, "")
    }
}

/// What is said of the refused filters of a SUBSCRIBE with so many, by their places: which, and why.
pub(super) fn of_filters(count: usize, mut refused: Vec<(u32, Told)>) -> PropertyBuf {
    refused.sort_by_key(|(place, _)| *place);
    let mut words = String::new();
    for (place, told) in &refused {
        let Some(why) = told.words() else { continue };
        let between = if words.is_empty() { "" } else { "; " };
        if words.len() >= FILTERS_BYTES_MAX {
            words.push_str("; others, too");
            break;
        }
        // Writing to a string cannot fail.
        let _ = match count {
            1 => write!(words, "{why}"),
            _ => write!(words, "{between}filter {}: {why}", place + 1),
        };
    }
    if words.is_empty() { PropertyBuf::new() } else { PropertyBuf::with_reason_string(&words) }
}

/// What the hub refuses, in MQTT's codes.
fn code(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::OverLimit => ReasonCode::QuotaExceeded,
        Refusal::InvalidChannel => ReasonCode::TopicNameInvalid,
        Refusal::InvalidFilter => ReasonCode::TopicFilterInvalid,
        Refusal::ReservedChannel => ReasonCode::NotAuthorized,
        Refusal::NotFound | Refusal::PositionLost | Refusal::Outdated | Refusal::Busy => {
            ReasonCode::UnspecifiedError
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(count: usize, refused: Vec<(u32, Told)>) -> Option<String> {
        of_filters(count, refused).as_properties().reason_string().map(str::to_owned)
    }

    #[test]
    fn one_reason_string_says_which_filters_and_why() {
        let no = |words| Told::new(ReasonCode::NotAuthorized, words);
        assert_eq!(said(1, vec![(0, no("why"))]).as_deref(), Some("why"));
        let refused = vec![(4, no("late")), (0, no("")), (1, no("why"))];
        assert_eq!(said(5, refused).as_deref(), Some("filter 2: why; filter 5: late"));
        assert_eq!((said(2, vec![(0, no(""))]), said(2, vec![])), (None, None));
    }

    #[test]
    fn many_filters_have_few_words() {
        let refused = (0..1000).map(|place| (place, Told::new(ReasonCode::NotAuthorized, "why"))).collect();
        let said = said(1000, refused).unwrap();
        assert!(said.len() < 1100 && said.ends_with("; others, too"), "{said}");
    }

    #[test]
    fn words_of_the_back_end_are_one_line() {
        let told = Told::by_back_end("no,\nnot\u{0}you");
        assert_eq!(told.properties().as_properties().reason_string(), Some("no, not you"));
    }
}
