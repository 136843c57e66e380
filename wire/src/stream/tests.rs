//! Golden vectors of every form, a reader written after the standard's text, and what holds for whatever comes.

mod params;
mod positions;
mod properties;
mod reader;

use super::{Entry, Form, Notice, Position, poll_answer, retry};

const ENTRY: Entry<'_> = Entry { channel: "chat/r1", event: Some("say"), payload: b"{\"t\": \"hi\"}" };
const PLACE: Position = Position { epoch: 0xe1, offset: 812 };

fn written(form: Form, entry: &Entry<'_>, position: Option<Position>) -> String {
    let mut out = Vec::new();
    form.message(entry, position, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_message_has_the_form_that_is_documented() {
    let cases = [
        (Form::Sse, "id: e1-812\nevent: say\ndata: {\"t\": \"hi\"}\n\n"),
        (
            Form::SseEnvelope,
            "id: e1-812\nevent: say\ndata: {\"position\":\"e1-812\",\"channel\":\"chat/r1\",\"event\":\"say\",\"data\":{\"t\":\"hi\"}}\n\n",
        ),
        (
            Form::Ndjson,
            "{\"position\":\"e1-812\",\"channel\":\"chat/r1\",\"event\":\"say\",\"data\":{\"t\":\"hi\"}}\n",
        ),
        (
            Form::Object,
            "{\"position\":\"e1-812\",\"channel\":\"chat/r1\",\"event\":\"say\",\"data\":{\"t\":\"hi\"}}",
        ),
    ];
    for (form, expected) in cases {
        assert_eq!(written(form, &ENTRY, Some(PLACE)), expected, "{form:?}");
    }
}

#[test]
fn what_has_no_place_has_no_id_and_what_has_no_name_no_event() {
    let entry = Entry { event: None, ..ENTRY };
    assert_eq!(written(Form::Sse, &entry, None), "data: {\"t\": \"hi\"}\n\n");
    assert_eq!(written(Form::Ndjson, &entry, None), "{\"channel\":\"chat/r1\",\"data\":{\"t\":\"hi\"}}\n");
    let entry = Entry { event: Some("message"), ..ENTRY };
    assert_eq!(written(Form::Sse, &entry, None), "data: {\"t\": \"hi\"}\n\n", "it is the default");
}

#[test]
fn content_is_json_or_text_or_base64() {
    let of = |form, payload| written(form, &Entry { payload, event: None, channel: "c" }, None);
    assert_eq!(of(Form::Ndjson, b"{a}"), "{\"channel\":\"c\",\"data\":\"{a}\"}\n");
    assert_eq!(of(Form::Ndjson, &[0, 255]), "{\"channel\":\"c\",\"data_base64\":\"AP8=\"}\n");
    assert_eq!(of(Form::Ndjson, b""), "{\"channel\":\"c\",\"data\":\"\"}\n");
    assert_eq!(of(Form::Sse, b"{a}"), "data: {a}\n\n");
    assert_eq!(of(Form::Sse, &[0, 255]), "data: AP8=\n\n");
    assert_eq!(of(Form::Sse, b""), "data: \n\n");
}

#[test]
fn lines_of_a_text_are_fields_of_their_own() {
    let of = |payload| written(Form::Sse, &Entry { payload, event: None, channel: "c" }, None);
    assert_eq!(of(b"a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
    assert_eq!(of(b"\n"), "data: \ndata: \n\n");
    assert_eq!(of(b"\r\r\n"), "data: \ndata: \ndata: \n\n");
}

#[test]
fn json_is_on_one_line_and_unchanged_otherwise() {
    let payload = b" {\"a\" : [ 1.10 ,\r\n\"x \\\" \\\\\" , \"\\n\" ] }\n";
    let text = written(Form::Ndjson, &Entry { payload, event: None, channel: "c" }, None);
    assert_eq!(text, "{\"channel\":\"c\",\"data\":{\"a\":[1.10,\"x \\\" \\\\\",\"\\n\"]}}\n");
}

#[test]
fn names_that_mean_something_else_to_event_source_come_as_messages() {
    for name in ["trunkline", "open", "error"] {
        let entry = Entry { event: Some(name), payload: b"1", channel: "c" };
        assert_eq!(written(Form::Sse, &entry, None), "data: 1\n\n");
        let expected = format!("data: {{\"channel\":\"c\",\"event\":\"{name}\",\"data\":1}}\n\n");
        assert_eq!(written(Form::SseEnvelope, &entry, None), expected);
    }
    let entry = Entry { event: Some("a\r\nid: 7"), payload: b"1", channel: "c" };
    assert_eq!(written(Form::Sse, &entry, None), "event: a  id: 7\ndata: 1\n\n");
}

#[test]
fn a_reader_with_a_token_of_its_own_gets_it_before_what_all_share() {
    for form in [Form::Sse, Form::SseEnvelope, Form::Ndjson, Form::Object] {
        let (mut parts, mut whole) = (Vec::new(), Vec::new());
        form.head(&ENTRY, Some("e1-812"), &mut parts);
        form.tail(&ENTRY, &mut parts);
        form.message(&ENTRY, Some(PLACE), &mut whole);
        assert_eq!(parts, whole, "{form:?}");
    }
}

#[test]
fn the_server_speaks_under_a_name_of_its_own() {
    let notice = |form: Form, notice| {
        let mut out = Vec::new();
        form.notice(&notice, &mut out);
        String::from_utf8(out).unwrap()
    };
    let lost = Notice { recovered: Some(false), channel: Some("a/#"), position: Some("e1-7") };
    assert_eq!(
        notice(Form::Sse, lost),
        "id: e1-7\nevent: trunkline\ndata: {\"recovered\":false,\"channel\":\"a/#\",\"position\":\"e1-7\"}\n\n"
    );
    let here = Notice { position: Some("e1-7"), ..Notice::default() };
    assert_eq!(notice(Form::Ndjson, here), "{\"position\":\"e1-7\"}\n");
    assert_eq!(notice(Form::Ndjson, Notice::default()), "{}\n");
    assert_eq!(
        notice(Form::Sse, Notice { recovered: Some(true), ..Notice::default() }),
        "event: trunkline\ndata: {\"recovered\":true}\n\n"
    );
}

#[test]
fn polls_are_answered_with_a_list_and_where_they_stand() {
    let answer = |messages: &[&[u8]], position| {
        let mut out = Vec::new();
        poll_answer(messages.iter().copied(), position, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(answer(&[], None), r#"{"messages":[],"position":null}"#);
    assert_eq!(
        answer(&[b"{\"a\":1}", b"{}"], Some("e1-7")),
        r#"{"messages":[{"a":1},{}],"position":"e1-7"}"#
    );
}

#[test]
fn a_stream_begins_with_when_to_come_back() {
    let mut out = Vec::new();
    retry(2000, &mut out);
    assert_eq!(out, b"retry: 2000\n\n");
    assert_eq!(Form::Sse.heartbeat(), b":\n\n");
    assert_eq!(Form::Ndjson.heartbeat(), b"{}\n");
}
