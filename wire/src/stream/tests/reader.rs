//! A client of server-sent events, written after the steps of the HTML Living Standard, section 9.2.6.

/// A dispatched event: name, content, and the last id by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) name: String,
    pub(super) data: String,
    pub(super) last_id: String,
}

/// What is dispatched, and the id by which a client would come back.
pub(super) fn read(stream: &str) -> (Vec<Heard>, String) {
    let (mut heard, mut now, mut last_id) = (Vec::new(), Heard::default(), String::new());
    let text = stream.replace("\r\n", "\n").replace('\r', "\n");
    let ended = text.rfind('\n').map_or("", |end| &text[..=end]);
    for line in ended.split_terminator('\n') {
        if line.is_empty() {
            last_id.clone_from(&now.last_id);
            if let Some(data) = now.data.strip_suffix('\n') {
                let name = if now.name.is_empty() { "message".into() } else { now.name.clone() };
                heard.push(Heard { name, data: data.to_owned(), last_id: last_id.clone() });
            }
            now = Heard { last_id: now.last_id, ..Heard::default() };
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut now.name),
            "data" => {
                now.data.push_str(value);
                now.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut now.last_id),
            _ => {}
        }
    }
    (heard, last_id)
}
