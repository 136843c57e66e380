//! Comments: finding them in a file, and the rules about what may stand in them.
//!
//! The scanner knows strings, raw strings, characters and lifetimes, so that `"// not a comment"` is none. The rule
//! here is `commented-code`; what a comment may say about protocols is the business of `words`.

use super::Finding;
use super::source::Source;

/// One comment, as long as its marks reach; a run of `//` lines is a run of comments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) line: usize,
    /// Without its marks, not trimmed.
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `///`, `//!`, `/** */`, `/*! */`: may hold examples.
    Doc,
    Plain,
}

/// All comments of a file in order.
pub(crate) fn of(text: &str) -> Vec<Comment> {
    let mut scan = Scan { rest: text, line: 1, previous: ' ', found: Vec::new() };
    while !scan.rest.is_empty() {
        scan.step();
    }
    scan.found
}

struct Scan<'a> {
    rest: &'a str,
    line: usize,
    previous: char,
    found: Vec<Comment>,
}

impl Scan<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            self.line_comment();
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if self.rest.starts_with('"') {
            self.string();
        } else if let Some(hashes) = self.raw_string_start() {
            self.raw_string(hashes);
        } else if self.rest.starts_with('\'') {
            self.quote();
        } else {
            self.advance(1);
        }
    }

    /// Moves over `count` characters and counts lines.
    fn advance(&mut self, count: usize) {
        let mut chars = self.rest.chars();
        for character in chars.by_ref().take(count) {
            self.line += usize::from(character == '\n');
            self.previous = character;
        }
        self.rest = chars.as_str();
    }

    fn line_comment(&mut self) {
        let text = self.rest.lines().next().unwrap_or_default();
        let kind = match text.as_bytes() {
            [_, _, b'/', b'/', ..] => Kind::Plain,
            [_, _, b'/' | b'!', ..] => Kind::Doc,
            _ => Kind::Plain,
        };
        let body = text.trim_start_matches('/').trim_start_matches('!').to_owned();
        self.found.push(Comment { line: self.line, text: body, kind });
        self.advance(text.chars().count());
    }

    fn block_comment(&mut self) {
        let kind = match self.rest.as_bytes() {
            [_, _, b'*', b'*' | b'/', ..] => Kind::Plain,
            [_, _, b'*' | b'!', ..] => Kind::Doc,
            _ => Kind::Plain,
        };
        let (start, from) = (self.line, self.rest);
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
            } else {
                self.advance(1);
            }
            if depth == 0 || self.rest.is_empty() {
                break;
            }
        }
        let body = from.get(..from.len() - self.rest.len()).unwrap_or_default();
        for (offset, text) in body.lines().enumerate() {
            let text = text.trim().trim_start_matches("/*").trim_end_matches("*/").trim_start_matches('*');
            self.found.push(Comment { line: start + offset, text: text.to_owned(), kind });
        }
    }

    fn string(&mut self) {
        self.advance(1);
        while let Some(next) = self.rest.chars().next() {
            self.advance(if next == '\\' { 2 } else { 1 });
            if next == '"' {
                break;
            }
        }
    }

    /// The count of `#` when a raw string starts here.
    fn raw_string_start(&self) -> Option<usize> {
        if self.previous.is_alphanumeric() && !matches!(self.previous, 'b' | 'c') || self.previous == '_' {
            return None;
        }
        let after = self.rest.strip_prefix('r')?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        after.get(hashes..)?.starts_with('"').then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        self.advance(hashes + 2);
        let end = format!("\"{}", "#".repeat(hashes));
        let length = self.rest.find(&end).unwrap_or(self.rest.len());
        let count = self.rest.get(..length).unwrap_or_default().chars().count();
        self.advance(count + hashes + 1);
    }

    /// A character or a lifetime.
    fn quote(&mut self) {
        let mut next = self.rest.chars().skip(1);
        match (next.next(), next.next()) {
            (Some('\\'), _) => {
                self.advance(3);
                while !self.rest.is_empty() && self.previous != '\'' {
                    self.advance(1);
                }
            }
            (Some(_), Some('\'')) => self.advance(3),
            _ => self.advance(1),
        }
    }
}

/// Code that was switched off by a comment. Version control remembers it; readers should not have to.
pub(crate) fn check(source: &Source, out: &mut Vec<Finding>) {
    for comment in source.comments.iter().filter(|comment| comment.kind == Kind::Plain) {
        if is_code(comment.text.trim()) {
            out.push(Finding {
                path: source.path.clone(),
                line: comment.line,
                rule: "commented-code",
                subject: comment.text.split_whitespace().next().unwrap_or_default().to_owned(),
                message: format!("a comment that is code: `{}`", comment.text.trim()),
            });
        }
    }
}

/// Prose that ends in `;` does not parse, a statement does.
fn is_code(text: &str) -> bool {
    let whole = match text.chars().last() {
        Some(';') => format!("fn f() {{ {text} }}"),
        Some('{') if text.starts_with('}') => format!("fn f() {{ if a {{ {text} }} }}"),
        Some('{') => format!("fn f() {{ {text} }} }}"),
        Some(']') if text.starts_with("#[") => format!("{text} struct S;"),
        _ => return false,
    };
    syn::parse_file(&whole).is_ok() || syn::parse_file(&whole.replacen("fn f() {", "impl S {", 1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::findings;

    fn lines(text: &str) -> Vec<(usize, String)> {
        of(text).into_iter().map(|comment| (comment.line, comment.text)).collect()
    }

    #[test]
    fn strings_and_lifetimes_hide_no_comment_and_make_none() {
        let text = "let a = \"// no\"; // one\nlet b = r#\"\" // no\"#; /* two */\nfn f<'a>(c: &'a str) { '\"'; } // three\n";
        let expected = [(1, " one"), (2, " two "), (3, " three")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn escaped_quotes_and_nested_blocks_end_where_they_end() {
        let text = "let a = '\\''; /* a /* b */ c */ let b = \"\\\"//\"; // d";
        assert_eq!(lines(text).len(), 2);
    }

    #[test]
    fn doc_comments_are_known() {
        let kinds: Vec<Kind> = of("//! a\n/// b\n//// c\n// d").iter().map(|comment| comment.kind).collect();
        assert_eq!(kinds, [Kind::Doc, Kind::Doc, Kind::Plain, Kind::Plain]);
    }

    #[test]
    fn code_in_a_comment_is_found() {
        for code in [
            "let a = 1;",
            "if ready {",
            "} else {",
            "use std::fs;",
            "#[inline]",
            "fn f(&self) {",
            "self.close();",
        ] {
            let text = format!("//! Header of a sample.\n// {code}\n");
            assert_eq!(findings(check, "wire/src/a.rs", &text), ["2 commented-code"], "{code}");
        }
    }

    #[test]
    fn prose_and_examples_in_docs_are_no_code() {
        for prose in
            ["// first the head;", "// see [`Frame`]", "/// let a = 1;", "// {epoch, offset}", "// (a, b)"]
        {
            let text = format!("//! Header of a sample.\n{prose}\nstruct S;");
            assert_eq!(findings(check, "wire/src/a.rs", &text), [""; 0], "{prose}");
        }
    }
}
