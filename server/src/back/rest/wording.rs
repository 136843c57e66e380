//! What is wrong with a body or a query, in words of the API: which field, and what is wanted of it.
//!
//! Owns the way from the texts of the parsers to those of problems. Must not know any request. Start at [`of_json`].

use super::problem::{MALFORMED, Problem, UNKNOWN_FIELD};
use crate::objects::Objects;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// What is wrong with a body that is no `T`, where `error` was found. It is read once more to learn which field it was: nobody
/// who is right pays for that.
pub(super) fn of_json<T: DeserializeOwned>(json: &[u8], error: &serde_json::Error) -> Problem {
    if error.classify() != Category::Data {
        return Problem::new(&MALFORMED, format!("the body is not JSON: {error}"));
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = serde_path_to_error::deserialize::<_, T>(Objects(&mut reader));
    let place = found.err().map(|error| error.path().to_string()).filter(|place| place != ".");
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    worded(place.as_deref().unwrap_or_default(), text, "the body")
}

/// What is wrong with a query, from the text of the parser: `limit: invalid digit found in string`.
pub(super) fn of_query(text: &str) -> Problem {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let of_names = ["unknown field `", "missing field `", "duplicate field `"];
    if let Some(start) = of_names.iter().find_map(|start| text.find(start)) {
        return worded("", text.get(start..).unwrap_or(text), "the query");
    }
    let (place, text) = text.split_once(": ").unwrap_or(("", text));
    worded(place, text, "the query")
}

fn worded(place: &str, text: &str, whole: &str) -> Problem {
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (name, known) = rest.split_once('`').unwrap_or((rest, ""));
        let known = known.trim_start_matches(", expected ").trim_start_matches("one of ");
        let known = if known.contains('`') { format!("; there is {known}") } else { String::new() };
        return Problem::new(&UNKNOWN_FIELD, format!("there is no {}{known}", field(place, name)));
    }
    let named = |start: &str| text.strip_prefix(start).and_then(|rest| rest.split('`').next());
    let place_or_whole = || if place.is_empty() { whole.to_owned() } else { format!("`{place}`") };
    let text = if let Some(name) = named("missing field `") {
        format!("{} is missing", field(place, name))
    } else if let Some(name) = named("duplicate field `") {
        format!("{} is there more than once", field(place, name))
    } else if let Some((got, wanted)) = text.split_once(", expected ") {
        let got = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "]
            .iter()
            .find_map(|start| got.strip_prefix(start))
            .unwrap_or(got);
        format!("{} must be {}, not {}", place_or_whole(), of_kind(wanted), of_kind(got))
    } else {
        format!("{} {}", place_or_whole(), of_number(text))
    };
    Problem::new(&MALFORMED, text)
}

/// A field of the object at that place. What the parser calls the place may end with the field itself.
fn field(place: &str, name: &str) -> String {
    let is_there = place == name || place.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    if place.is_empty() || is_there {
        format!("`{}`", if place.is_empty() { name } else { place })
    } else {
        format!("`{place}.{name}`")
    }
}

/// What the parser says of a kind of value.
fn of_kind(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative, nor too large",
        "a boolean" => "true or false",
        "a sequence" | "sequence" => "a list",
        "any valid JSON value" => "a value",
        "a map" | "map" => "an object",
        wanted if wanted.starts_with("struct ") => "an object",
        wanted => wanted.strip_prefix("one of ").map_or(wanted, |several| several),
    }
}

/// What is wrong with a value that is text.
fn of_number(text: &str) -> String {
    match text {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number that is not negative".to_owned()
        }
        "number too large to fit in target type" => "is too large a number".to_owned(),
        "provided string was not `true` or `false`" => "must be true or false".to_owned(),
        other => format!("cannot be read: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is never read")]
    struct Order {
        tea: String,
        #[serde(default)]
        cups: u32,
        sugar: Option<Sugar>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is never read")]
    struct Sugar {
        spoons: u8,
        brown: Option<bool>,
    }

    fn told(json: &str) -> (&'static str, String) {
        let error = crate::objects::from_slice::<Order>(json.as_bytes()).unwrap_err();
        let document = of_json::<Order>(json.as_bytes(), &error).document();
        (document.code, document.detail)
    }

    #[test]
    fn a_problem_says_which_field_of_a_body_and_what_is_wanted_of_it() {
        for (json, text) in [
            ("{}", "`tea` is missing"),
            (r#"{"tea":7}"#, "`tea` must be a string, not integer `7`"),
            (r#"{"tea":"a","tea":"b"}"#, "`tea` is there more than once"),
            (
                r#"{"tea":"a","cups":-1}"#,
                "`cups` must be a whole number that is not negative, nor too large, not integer `-1`",
            ),
            (r#"{"tea":"a","sugar":{}}"#, "`sugar.spoons` is missing"),
            (
                r#"{"tea":"a","sugar":{"spoons":1,"brown":3}}"#,
                "`sugar.brown` must be true or false, not integer `3`",
            ),
            ("7", "the body must be an object, not integer `7`"),
            (r#"["a"]"#, "the body must be an object, not a list"),
            (r#"{"tea":"a","sugar":[1]}"#, "`sugar` must be an object, not a list"),
            (r#"{"tea":{}}"#, "`tea` must be a string, not an object"),
        ] {
            assert_eq!(told(json), ("malformed", text.to_owned()), "{json}");
        }
        let unknown = [
            (r#"{"tee":"a"}"#, "there is no `tee`; there is `tea`, `cups`, `sugar`"),
            (r#"{"tea":"a","sugar":{"lumps":1}}"#, "there is no `sugar.lumps`; there is `spoons` or `brown`"),
        ];
        for (json, text) in unknown {
            assert_eq!(told(json), ("unknown-field", text.to_owned()), "{json}");
        }
        assert!(told("{").1.starts_with("the body is not JSON: EOF"), "{}", told("{").1);
    }

    #[test]
    fn a_problem_says_which_parameter_and_what_is_wanted_of_it() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "it is never read")]
        struct Parameters {
            channel: String,
            limit: Option<u32>,
            wait: Option<bool>,
        }
        let told = |query: &str| {
            let uri = format!("/x?{query}").parse().unwrap();
            let error = axum::extract::Query::<Parameters>::try_from_uri(&uri).unwrap_err();
            of_query(&error.body_text()).into_detail()
        };
        for (query, text) in [
            ("limit=1", "`channel` is missing"),
            ("channel=a&limit=x", "`limit` must be a whole number that is not negative"),
            ("channel=a&limit=99999999999", "`limit` is too large a number"),
            ("channel=a&wait=yes", "`wait` must be true or false"),
            ("channel=a&channel=b", "`channel` is there more than once"),
            ("channel=a&colour=b", "there is no `colour`; there is `channel`, `limit`, `wait`"),
        ] {
            assert_eq!(told(query), text, "{query}");
        }
    }
}
