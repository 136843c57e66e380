//! Tests of values and of the scanner below them.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { bytes_max: 10_000, attachments_max: 10, depth_max: 20 };

fn bytes(list: &[&'static [u8]]) -> Vec<Bytes> {
    list.iter().map(|data| Bytes::from_static(data)).collect()
}

fn parse(json: &str, attachments: &[&'static [u8]]) -> Result<Values, ValuesError> {
    Values::parse(json, bytes(attachments), &BOUNDS)
}

#[test]
fn elements_are_borrowed_text() {
    let values = parse(r#" [ "a,b\"]" , {"k":[1,{"x":"}"}]} ,[],-1.5e3 , null,true ] "#, &[]).unwrap();
    let elements: Vec<&str> = values.elements().collect();
    assert_eq!(elements, [r#""a,b\"]""#, r#"{"k":[1,{"x":"}"}]}"#, "[]", "-1.5e3", "null", "true"]);
    assert_eq!(parse("[]", &[]).unwrap().elements().count(), 0);
    assert_eq!(parse("[ ]", &[]).unwrap().elements().count(), 0);
}

#[test]
fn events() {
    for (json, name, args) in [
        (r#"["foo"]"#, "foo", "[]"),
        (r#"["foo",1]"#, "foo", "[1]"),
        (r#"[ "foo" , 1 , {"a" : [2]} ]"#, "foo", r#"[1 , {"a" : [2]}]"#),
        (r#"["caf\u00e9",[]]"#, "café", "[[]]"),
        (r#"[7,8]"#, "7", "[8]"),
        (r#"[-1.5]"#, "-1.5", "[]"),
        (r#"[""]"#, "", "[]"),
    ] {
        let values = parse(json, &[]).unwrap();
        let event = values.as_event().unwrap();
        assert_eq!((event.name.as_str(), event.args_json().as_str()), (name, args), "{json}");
    }
    for json in ["[]", "[null]", "[[]]", "[{}]", "[true]", r#"[false,"foo"]"#] {
        assert_eq!(parse(json, &[]).unwrap().as_event(), None, "{json}");
    }
}

#[test]
fn event_from_name_and_arguments() {
    let args = parse(r#"[1,{"_placeholder":true,"num":0}]"#, &[b"x"]).unwrap();
    let event = Values::event("say \"hi\"", &args);
    assert_eq!(event.json(), r#"["say \"hi\"",1,{"_placeholder":true,"num":0}]"#);
    assert_eq!(event.as_event().unwrap().args(), args);
    assert_eq!(Values::event("e", &Values::empty()).json(), r#"["e"]"#);
    assert_eq!(event.len_bytes(), event.json().len() + 1);
}

#[test]
fn single_argument() {
    let single = |json: &str, attachments: &[&'static [u8]]| {
        let values = parse(json, attachments).unwrap();
        let single = values.as_event().unwrap().single();
        single.map(|single| match single {
            Single::Json(json) => json.to_owned(),
            Single::Binary(data) => format!("binary {data:?}"),
        })
    };
    assert_eq!(single(r#"["e"]"#, &[]), None);
    assert_eq!(single(r#"["e",1,2]"#, &[]), None);
    assert_eq!(single(r#"["e", {"a":[1,2]} ]"#, &[]).as_deref(), Some(r#"{"a":[1,2]}"#));
    assert_eq!(single(r#"["e",{"_placeholder":true,"num":0}]"#, &[b"x"]).as_deref(), Some("binary b\"x\""));
    assert_eq!(
        single(r#"["e",{"_placeholder":true,"num":0}]"#, &[]).as_deref(),
        Some(r#"{"_placeholder":true,"num":0}"#),
        "without attachments nothing is a placeholder"
    );
}

/// Text and number of attachments, the text and the attachments afterwards. All attachments are `a`, `b`, `c`...
#[test]
fn placeholders_are_put_in_order() {
    let all: [&'static [u8]; 3] = [b"a", b"b", b"c"];
    for (json, given, expected, order) in [
        (r#"[{"_placeholder":true,"num":0}]"#, 1, r#"[{"_placeholder":true,"num":0}]"#, "a"),
        // The order of keys and white space do not matter.
        (r#"[{ "num" : 0, "_placeholder" : true }]"#, 1, r#"[{"_placeholder":true,"num":0}]"#, "a"),
        (
            r#"[{"_placeholder":true,"num":1},{"x":[{"_placeholder":true,"num":0}]}]"#,
            2,
            r#"[{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1}]}]"#,
            "ba",
        ),
        // Named twice is repeated, never named is dropped.
        (
            r#"[{"_placeholder":true,"num":2},{"_placeholder":true,"num":2}]"#,
            3,
            r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            "cc",
        ),
        ("[1]", 2, "[1]", ""),
        // An escape in the key, more keys, equal keys of which the last counts: a placeholder to JavaScript.
        (r#"[{"\u005fplaceholder":true,"n\u0075m":0}]"#, 1, r#"[{"_placeholder":true,"num":0}]"#, "a"),
        (
            r#"[{"a":{"b":1},"_placeholder":true,"num":0,"z":[]}]"#,
            1,
            r#"[{"_placeholder":true,"num":0}]"#,
            "a",
        ),
        (
            r#"[{"_placeholder":false,"num":9,"_placeholder":true,"num":1}]"#,
            2,
            r#"[{"_placeholder":true,"num":0}]"#,
            "b",
        ),
        // What stands inside a placeholder goes with it.
        (
            r#"[{"_placeholder":true,"num":0,"in":{"_placeholder":true,"num":77}}]"#,
            1,
            r#"[{"_placeholder":true,"num":0}]"#,
            "a",
        ),
        // Not `true`: plain data.
        (
            r#"[{"_placeholder":1,"num":5},{"_placeholder":"true"},{"_placeholder":true,"num":0,"_placeholder":[]}]"#,
            1,
            r#"[{"_placeholder":1,"num":5},{"_placeholder":"true"},{"_placeholder":true,"num":0,"_placeholder":[]}]"#,
            "",
        ),
        (
            r#"["_placeholder",true,"num",{"x":"_placeholder"}]"#,
            1,
            r#"["_placeholder",true,"num",{"x":"_placeholder"}]"#,
            "",
        ),
    ] {
        let values = parse(json, &all[..given]).unwrap();
        let got: Vec<u8> = values.attachments().iter().flatten().copied().collect();
        assert_eq!((values.json(), got.as_slice()), (expected, order.as_bytes()), "{json}");
        let again = Values::parse(values.json(), values.attachments().to_vec(), &BOUNDS).unwrap();
        assert_eq!(again, values, "stable");
    }
}

#[test]
fn refused_placeholders() {
    for json in [
        r#"[{"_placeholder":true,"num":1}]"#,
        r#"[{"_placeholder":true,"num":-1}]"#,
        r#"[{"_placeholder":true,"num":0.5}]"#,
        r#"[{"_placeholder":true,"num":"0"}]"#,
        r#"[{"_placeholder":true}]"#,
        r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0,"num":1}]"#,
        r#"[{"_placeholder":true,"num":[0]}]"#,
    ] {
        assert_eq!(parse(json, &[b"a"]), Err(ValuesError::BadPlaceholder), "{json}");
        assert_eq!(
            parse(json, &[]).map(|values| values.json().to_owned()),
            Ok(json.to_owned()),
            "plain data"
        );
    }
}

/// A small header must not multiply a large attachment.
#[test]
fn repeated_placeholders_are_bounded() {
    let list = |count: usize| format!("[{}]", vec![r#"{"_placeholder":true,"num":0}"#; count].join(","));
    assert_eq!(parse(&list(10), &[b"a"]).unwrap().attachments().len(), 10);
    assert_eq!(parse(&list(11), &[b"a"]), Err(ValuesError::TooManyAttachments));
    let large = Bytes::from(vec![0; 5000]);
    assert_eq!(Values::parse(&list(2), vec![large], &BOUNDS), Err(ValuesError::TooLarge));
}

#[test]
fn checks() {
    let check = |text: &str| JsonText::parse(text, &BOUNDS).map(|json| json.as_str().to_owned());
    for text in ["1", "null", "\"x\"", "{}", "[1e3,-0,1.5]", r#"{"a":1,"a":2}"#, "18446744073709551616"] {
        assert_eq!(check(text), Ok(text.to_owned()));
    }
    for text in [
        "",
        " ",
        "[",
        "[1,]",
        "{a:1}",
        "01",
        "NaN",
        "'x'",
        "[1]2",
        "\"\u{1}\"",
        "1e999",
        "\u{a0}1",
        "\u{c}1",
        "[1]\0",
    ] {
        assert_eq!(check(text), Err(ValuesError::NotJson), "{text:?}");
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(check(&nested(20)).is_ok());
    assert_eq!(check(&nested(21)), Err(ValuesError::TooDeep));
    assert_eq!(check(&"[".repeat(100_000)), Err(ValuesError::TooLarge));
    assert_eq!(check(&"[".repeat(9_000)), Err(ValuesError::TooDeep));
    assert_eq!(check(&format!("{}1{}", "{\"a\":".repeat(21), "}".repeat(21))), Err(ValuesError::TooDeep));
    let generous = Bounds { depth_max: usize::MAX, ..BOUNDS };
    assert!(JsonText::parse(&nested(120), &generous).is_ok());
    assert_eq!(JsonText::parse(&nested(121), &generous), Err(ValuesError::TooDeep));
    assert_eq!(parse("{}", &[]), Err(ValuesError::WrongKind));
    assert_eq!(JsonText::parse_object("[]", &BOUNDS), Err(ValuesError::WrongKind));
}

/// JavaScript writes a string cut inside a character as a lone surrogate; other parsers refuse the whole text.
#[test]
fn lone_surrogates_are_replaced() {
    for (text, expected) in [
        (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
        (r#"["\uDE00x"]"#, r#"["\ufffdx"]"#),
        (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
        (r#"["\ud83d\ude00\ude00"]"#, r#"["\ud83d\ude00\ufffd"]"#),
        (r#"["\\ud83d"]"#, r#"["\\ud83d"]"#),
        (r#"["\\\ud83d\n"]"#, r#"["\\\ufffd\n"]"#),
        (r#"{"\ud83d":"\u00e9"}"#, r#"{"\ufffd":"\u00e9"}"#),
    ] {
        assert_eq!(JsonText::parse(text, &BOUNDS).unwrap().as_str(), expected, "{text}");
    }
    assert_eq!(JsonText::parse(r#"["\ud83"]"#, &BOUNDS), Err(ValuesError::NotJson));
    assert_eq!(JsonText::parse(r#""\"#, &BOUNDS), Err(ValuesError::NotJson));
}

#[test]
fn builder() {
    let number = JsonText::parse(r#" {"n":1} "#, &BOUNDS).unwrap();
    let values =
        Values::builder().string("news\n").json(&number).binary(Bytes::from_static(b"x")).build().unwrap();
    assert_eq!(values.json(), r#"["news\n",{"n":1},{"_placeholder":true,"num":0}]"#);
    let lookalike = JsonText::parse(r#"{"_placeholder":true,"num":0}"#, &BOUNDS).unwrap();
    assert_eq!(
        Values::builder().json(&lookalike).binary(Bytes::new()).build(),
        Err(ValuesError::BadPlaceholder)
    );
    assert!(Values::builder().json(&lookalike).build().is_ok());
    assert_eq!(Values::builder().build(), Ok(Values::empty()));
}

#[test]
fn objects_of_strings() {
    let entries = [("a", "1"), ("b", "\"x\""), ("a", "2")].map(|(key, value)| (key.into(), value.into()));
    assert_eq!(JsonText::string_object(entries).as_str(), r#"{"a":"2","b":"\"x\""}"#);
}

/// Any JSON value without attachments.
pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e15..1e15f64).prop_map(|number| serde_json::Value::from(number + 0.25)),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            prop::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn elements_agree_with_a_tree(list in prop::collection::vec(any_json(), 0..6), pretty: bool) {
        let tree = serde_json::Value::Array(list.clone());
        let text = if pretty { serde_json::to_string_pretty(&tree).unwrap() } else { tree.to_string() };
        let values = parse(&text, &[]).unwrap();
        let elements: Vec<serde_json::Value> =
            values.elements().map(|element| serde_json::from_str(element).unwrap()).collect();
        prop_assert_eq!(elements, list);
    }

    #[test]
    fn repaired_text_parses(text in r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\\\|\\n|x){0,12}"#) {
        let text = format!("[\"{text}\"]");
        let json = JsonText::parse(&text, &BOUNDS);
        prop_assert!(json.is_ok(), "{} -> {:?}", text, json);
    }
}
