//! Header fields of one head: lookup without regard to case, lists across repeated fields.
//!
//! Owns the view on parsed fields and the checks on single names and values. Must not know what a field means.

/// One header field. The value has no white space around it and no CR, LF or NUL in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name as sent; compare it without regard to ASCII case.
    pub name: &'a str,
    /// Value as sent. It may hold bytes above 0x7f (obs-text).
    pub value: &'a [u8],
}

/// The header fields of one head, in the order they came: one allocation of 32 bytes a field per request, and none
/// for a connection between requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    all: Vec<Field<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn from_httparse(headers: &[httparse::Header<'a>]) -> Self {
        let all = headers.iter().map(|h| Field { name: h.name, value: trim(h.value) }).collect();
        Self { all }
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.all.iter().copied()
    }

    /// Every value of the fields called `name`, in order.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The first value of `name` as text; `None` also when it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.first(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The members of a comma-separated list, over all fields called `name` (RFC 9110 section 5.6.1).
    /// Empty members are left out; a comma inside a quoted string splits too.
    pub fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(trim)
            .filter(|member| !member.is_empty())
    }

    /// Whether the list `name` holds `token`, without regard to case.
    pub fn list_has(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Takes optional white space (SP, HTAB and nothing else) off both ends.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// A field name: `token` of RFC 9110 section 5.6.2.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A field value that cannot end its line: no control character but HTAB.
pub(super) fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
