//! One way to write texts, lists and maps of an answer, as JSON or as XML.
//!
//! Owns the syntax of both: commas and escapes here, elements and entities there. Must not know answers. Start at
//! [`Writer`].
//!
//! Names come as one for JSON and one for the elements of XML where they differ: JSON has a list or a map under its
//! name, XML the elements one after another.

use super::super::Fault;

/// Which syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Xml,
}

/// Writes the members of structures one after another. The caller closes what it opens.
pub(super) struct Writer<'o> {
    form: Form,
    out: &'o mut Vec<u8>,
    /// Whether nothing has been written since the last opening bracket.
    is_first: bool,
}

impl<'o> Writer<'o> {
    pub(super) fn new(form: Form, out: &'o mut Vec<u8>) -> Self {
        Self { form, out, is_first: true }
    }

    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Opens the document of XML.
    pub(super) fn open_root(&mut self, name: &str, namespace: &str) {
        self.push("<?xml version=\"1.0\"?><");
        self.push(name);
        self.push(" xmlns=\"");
        self.push(namespace);
        self.push("\">");
    }

    /// Opens a structure: a member of this name, or the JSON document if it is empty.
    pub(super) fn open(&mut self, name: &str) {
        match self.form {
            Form::Json => {
                self.separate();
                if !name.is_empty() {
                    self.key(name);
                }
                self.bracket("{");
            }
            Form::Xml => self.tag("<", name),
        }
    }

    /// Closes a structure.
    pub(super) fn close(&mut self, name: &str) {
        match self.form {
            Form::Json => self.end("}"),
            Form::Xml => self.tag("</", name),
        }
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        match self.form {
            Form::Json => {
                self.separate();
                self.key(name);
                self.quoted(value);
            }
            Form::Xml => {
                self.tag("<", name);
                self.escaped(value);
                self.tag("</", name);
            }
        }
    }

    /// A member that is a number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.plain(name, &value.to_string());
    }

    /// A member that says whether it is the sender's fault.
    pub(super) fn flag(&mut self, name: &str, fault: Fault) {
        self.plain(
            name,
            match fault {
                Fault::Sender => "true",
                Fault::Receiver => "false",
            },
        );
    }

    /// A member without a value.
    pub(super) fn empty(&mut self, name: &str) {
        match self.form {
            Form::Json => self.plain(name, "null"),
            Form::Xml => self.tag("<", &format!("{name}/")),
        }
    }

    /// A list of texts.
    pub(super) fn texts<'t>(&mut self, [list, element]: [&str; 2], values: impl Iterator<Item = &'t str>) {
        self.open_list(list, "[");
        for value in values {
            match self.form {
                Form::Json => {
                    self.separate();
                    self.quoted(value);
                }
                Form::Xml => self.text(element, value),
            }
        }
        self.close_list("]");
    }

    /// A list of structures.
    pub(super) fn structures<T>(
        &mut self,
        [list, element]: [&str; 2],
        values: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.open_list(list, "[");
        for value in values {
            match self.form {
                Form::Json => self.open(""),
                Form::Xml => self.open(element),
            }
            write(self, value);
            self.close(element);
        }
        self.close_list("]");
    }

    /// A map of texts, which is left out if it is empty.
    pub(super) fn text_map<'t>(&mut self, names: [&str; 3], pairs: impl Iterator<Item = (&'t str, &'t str)>) {
        self.map(names, pairs, Self::text);
    }

    /// A map of structures, which is left out if it is empty.
    pub(super) fn structure_map<'t, T>(
        &mut self,
        names: [&str; 3],
        pairs: impl Iterator<Item = (&'t str, T)>,
        write: impl Fn(&mut Self, T),
    ) {
        self.map(names, pairs, |writer, name, value| {
            writer.open(name);
            write(writer, value);
            writer.close(name);
        });
    }

    /// `write` writes a value as a member of the name it is given.
    fn map<'t, T>(
        &mut self,
        [map, element, key]: [&str; 3],
        pairs: impl Iterator<Item = (&'t str, T)>,
        write: impl Fn(&mut Self, &str, T),
    ) {
        let mut pairs = pairs.peekable();
        if pairs.peek().is_none() {
            return;
        }
        self.open_list(map, "{");
        for (name, value) in pairs {
            match self.form {
                Form::Json => write(self, name, value),
                Form::Xml => {
                    self.open(element);
                    self.text(key, name);
                    write(self, "Value", value);
                    self.close(element);
                }
            }
        }
        self.close_list("}");
    }

    fn plain(&mut self, name: &str, value: &str) {
        match self.form {
            Form::Json => {
                self.separate();
                self.key(name);
                self.push(value);
                self.is_first = false;
            }
            Form::Xml => {
                self.tag("<", name);
                self.push(value);
                self.tag("</", name);
            }
        }
    }

    /// XML has nothing around its elements.
    fn open_list(&mut self, name: &str, bracket: &str) {
        if self.form == Form::Json {
            self.separate();
            self.key(name);
            self.bracket(bracket);
        }
    }

    fn close_list(&mut self, bracket: &str) {
        if self.form == Form::Json {
            self.end(bracket);
        }
    }

    fn bracket(&mut self, bracket: &str) {
        self.push(bracket);
        self.is_first = true;
    }

    fn end(&mut self, bracket: &str) {
        self.push(bracket);
        self.is_first = false;
    }

    fn separate(&mut self) {
        if !self.is_first {
            self.push(",");
        }
    }

    fn key(&mut self, name: &str) {
        self.quoted(name);
        self.push(":");
    }

    fn quoted(&mut self, value: &str) {
        serde_json::to_writer(&mut *self.out, value).expect("writing to a vector cannot fail");
        self.is_first = false;
    }

    fn tag(&mut self, open: &str, name: &str) {
        self.push(open);
        self.push(name);
        self.push(">");
    }

    /// A text of XML 1.0. A carriage return needs an entity, or parsers read a line feed, and line feeds at the ends are
    /// cut by some. What XML cannot hold at all can only be in what an error repeats, and becomes U+FFFD.
    fn escaped(&mut self, value: &str) {
        let mut plain = 0;
        for (at, char) in value.char_indices() {
            let entity = match char {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\r' => "&#xD;",
                '\n' => "&#xA;",
                '\t' => continue,
                '\0'..' ' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}",
                _ => continue,
            };
            self.push(value.get(plain..at).unwrap_or_default());
            self.push(entity);
            plain = at + char.len_utf8();
        }
        self.push(value.get(plain..).unwrap_or_default());
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}
