//! Requests as clients really sent them, answers to the letter, every refusal with its text, and properties.
//!
//! `requests/` holds what boto3, the AWS CLI and the JavaScript SDK sent to a server that recorded it; only the
//! user agent was replaced. [`captured`] reads such a file.

mod answers;
mod attributes;
mod names;
mod properties;
mod refused;
mod requests;
mod settings;
mod signatures;
mod tables;

use super::*;

/// The key everything in `requests/` was signed with.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A recorded request.
struct Captured {
    /// Its heading.
    title: &'static str,
    method: &'static str,
    path: &'static str,
    query: &'static str,
    fields: Vec<(&'static str, &'static [u8])>,
    body: &'static [u8],
}

/// The requests of a file: a heading, the head, an empty line, the body in one line.
fn captured(file: &'static str) -> Vec<Captured> {
    file.split("### ").skip(1).map(one).collect()
}

fn one(text: &'static str) -> Captured {
    let (title, rest) = text.split_once('\n').expect("a heading");
    let (head, body) = rest.split_once("\n\n").expect("a head");
    let mut lines = head.lines();
    let mut words = lines.next().expect("a request line").split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let field = |line: &'static str| {
        let (name, value) = line.split_once(':').expect("a field");
        (name, value.trim().as_bytes())
    };
    let fields = lines.map(field).collect();
    Captured { title, method, path, query, fields, body: body.trim_end_matches('\n').as_bytes() }
}

impl Captured {
    fn field(&self, name: &str) -> Option<&'static str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| str::from_utf8(value).expect("text"))
    }

    fn incoming(&self) -> Incoming<'static> {
        Incoming {
            path: self.path,
            query: self.query,
            host: self.field("host").expect("a host"),
            content_type: self.field("content-type"),
            accept: self.field("accept"),
            target: self.field("x-amz-target"),
            query_mode: self.field("x-amzn-query-mode"),
            trace_header: self.field("x-amzn-trace-id"),
            body: self.body,
        }
    }

    fn signed(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: self.method,
            path: self.path,
            query: self.query,
            fields: &self.fields,
            body: self.body,
        }
    }
}

/// A request in JSON.
fn json<'a>(action: &'a str, body: &'a str) -> Incoming<'a> {
    Incoming {
        path: "/",
        host: "localhost:9324",
        content_type: Some("application/x-amz-json-1.0"),
        target: Some(action),
        query_mode: Some("true"),
        body: body.as_bytes(),
        ..Incoming::default()
    }
}

/// A request as a form, action included.
fn form(body: &str) -> Incoming<'_> {
    Incoming {
        path: "/",
        host: "localhost:9324",
        content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
        body: body.as_bytes(),
        ..Incoming::default()
    }
}

/// What a request says.
fn read<'a>(incoming: &Incoming<'a>) -> Result<Request<'a>, Error> {
    decode(incoming, Encoding::of(incoming).expect("a protocol"))
}

/// What a JSON request says, where the action is named without its prefix.
fn read_json<'a>(action: &'a str, body: &'a str) -> Result<Request<'a>, Error> {
    read(&json(action, body))
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("answers are text")
}

/// The body of an answer.
fn answer(encoding: Encoding, response: &Response<'_>) -> String {
    let mut out = Vec::new();
    let head = encode_response(encoding, response, "r-1", &mut out);
    assert_eq!((head.status, head.query_error), (200, None));
    text(&out).to_owned()
}

/// Three attributes of text and bytes.
fn attributes() -> MessageAttributes<'static> {
    MessageAttributes::new(vec![
        text_attribute("tenant", "String", "grün"),
        text_attribute("count", "Number.int", "42"),
        MessageAttribute {
            name: "Zip".into(),
            data_type: "Binary.gzip".into(),
            value: AttributeValue::Binary(vec![0, 1, 255].into()),
        },
    ])
}

fn text_attribute(name: &str, data_type: &str, value: &str) -> MessageAttribute<'static> {
    MessageAttribute {
        name: name.to_owned().into(),
        data_type: data_type.to_owned().into(),
        value: AttributeValue::Text(value.to_owned().into()),
    }
}
