//! Server-sent events (HTML Living Standard, section 9.2): fields in lines, an empty line behind each event.
//!
//! Must not know what an event is about. Start at [`data`].

/// Names under which `EventSource` or the server itself tells of something else; a message of such a name comes as `message`.
const TAKEN: [&str; 3] = [NOTICE, "open", "error"];

/// The name of what the server says of the stream itself.
pub(super) const NOTICE: &str = "trunkline";

/// Appends the time after which a client comes back when its connection has ended.
pub fn retry(ms: u64, out: &mut Vec<u8>) {
    field("retry", &ms.to_string(), out);
    out.push(b'\n');
}

/// Appends a field whose value has no line end.
pub(super) fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Appends the name of an event, unless it is the default. A line end in a name is a space here.
pub(super) fn event(name: Option<&str>, out: &mut Vec<u8>) {
    let Some(name) = name.filter(|name| !TAKEN.contains(name) && *name != "message" && !name.is_empty())
    else {
        return;
    };
    if name.contains(['\r', '\n']) {
        field("event", &name.replace(['\r', '\n'], " "), out);
    } else {
        field("event", name, out);
    }
}

/// Appends the content: a field per line of it. Whatever ended a line there, the client sees a line feed.
pub(super) fn data(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        let (line, after) = rest.split_at(end);
        field("data", line, out);
        rest = after.strip_prefix("\r\n").unwrap_or_else(|| after.get(1..).unwrap_or_default());
    }
    field("data", rest, out);
}
