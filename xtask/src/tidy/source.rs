//! One Rust file prepared for the rules: text, syntax tree, comments, paths and which lines are tests.
//!
//! It reads; it judges nothing. Start at [`Source::parse`]; every rule works on what stands here, so each file is
//! parsed once.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::comments::{self, Comment};

/// Where a file stands: tests may be long and may read files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Code that ships.
    Product,
    /// Under `tests/`, `benches/` or behind `#[cfg(test)] mod name;`.
    Test,
}

/// A token with its line; delimiters are tokens too.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) ident: bool,
}

/// One file, read once and looked at by every rule.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) role: Role,
    pub(crate) ast: syn::File,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// Lines of items behind `#[cfg(test)]`.
    pub(crate) test_lines: Vec<RangeInclusive<usize>>,
    /// Every path the file names, `use` groups spread out: `std::time::Instant`, with its line.
    pub(crate) paths: Vec<(String, usize)>,
}

impl Source {
    /// Fails when the text is no Rust file.
    pub(crate) fn parse(path: &str, text: String, role: Role) -> Result<Self> {
        let stream: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("{path}: cannot be read as tokens: {error}"))?;
        let ast: syn::File = syn::parse2(stream.clone())
            .with_context(|| format!("{path}: cannot be parsed as a Rust file"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let comments = comments::of(&text);
        let mut walk = Walk::default();
        walk.visit_file(&ast);
        let mut paths = walk.used;
        inline_paths(&tokens, &mut paths);
        paths.sort();
        paths.dedup();
        Ok(Self {
            path: path.to_owned(),
            text,
            role,
            ast,
            tokens,
            comments,
            test_lines: walk.test_lines,
            paths,
        })
    }

    /// Whether the line belongs to a test.
    pub(crate) fn in_test(&self, line: usize) -> bool {
        self.role == Role::Test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// The workspace folder the file belongs to: `hub` for `hub/src/lib.rs`.
    pub(crate) fn member(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// Collects test ranges and `use` paths.
#[derive(Default)]
struct Walk {
    test_lines: Vec<RangeInclusive<usize>>,
    used: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if attributes(item).iter().any(is_cfg_test) {
            let span = item.span();
            self.test_lines.push(span.start().line..=span.end().line);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        spread(&item.tree, String::new(), &mut self.used);
    }
}

/// `std::{net, time::Instant}` becomes `std::net` and `std::time::Instant`.
fn spread(tree: &syn::UseTree, prefix: String, out: &mut Vec<(String, usize)>) {
    let join = |name: &syn::Ident| {
        if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") }
    };
    match tree {
        syn::UseTree::Path(path) => spread(&path.tree, join(&path.ident), out),
        syn::UseTree::Name(name) => out.push((join(&name.ident), name.ident.span().start().line)),
        syn::UseTree::Rename(name) => out.push((join(&name.ident), name.ident.span().start().line)),
        syn::UseTree::Glob(glob) => out.push((format!("{prefix}::*"), glob.span().start().line)),
        syn::UseTree::Group(group) => {
            for item in &group.items {
                spread(item, prefix.clone(), out);
            }
        }
    }
}

/// Paths written in place, longest form. One that ends before a `use` group is left to [`spread`].
fn inline_paths(tokens: &[Token], out: &mut Vec<(String, usize)>) {
    let mut rest = tokens;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if !first.ident {
            continue;
        }
        let mut path = first.text.clone();
        let mut open = false;
        while let [a, b, next, ..] = rest
            && a.text == ":"
            && b.text == ":"
        {
            if !next.ident {
                open = next.text == "{";
                break;
            }
            path.push_str("::");
            path.push_str(&next.text);
            rest = rest.get(3..).unwrap_or_default();
        }
        if !open {
            out.push((path, first.line));
        }
    }
}

fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(Token { text: open.to_owned(), line, ident: false });
                flatten(group.stream(), out);
                let end = group.span_close().end().line;
                out.push(Token { text: close.to_owned(), line: end, ident: false });
            }
            TokenTree::Ident(ident) => out.push(Token { text: ident.to_string(), line, ident: true }),
            TokenTree::Punct(punct) => out.push(Token { text: punct.to_string(), line, ident: false }),
            TokenTree::Literal(literal) => {
                out.push(Token { text: literal.to_string(), line, ident: false });
            }
        }
    }
}

/// Whether an attribute is `#[cfg(test)]` or a `cfg` that needs `test`.
pub(crate) fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    if !list.path.is_ident("cfg") {
        return false;
    }
    let mut words = Vec::new();
    flatten(list.tokens.clone(), &mut words);
    words.iter().any(|word| word.text == "test") && !words.iter().any(|word| word.text == "not")
}

/// The attributes of any kind of item.
pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
