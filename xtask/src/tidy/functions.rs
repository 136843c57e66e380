//! Rules about functions: length, count of arguments, switches as arguments, names.
//!
//! Methods of a trait's implementation are measured but not named or counted: the trait decides those.

use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;

/// Lines from `fn` to the closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// With the receiver.
const ARGUMENTS_MAX: usize = 5;
/// What the standard library calls these on containers and wrappers.
const CONTAINER_NAMES: [&str; 2] = ["get_mut", "get_ref"];

/// Checks every function of a file.
pub(crate) fn check(source: &Source, out: &mut Vec<Finding>) {
    Functions { source, out, ours: true }.visit_file(&source.ast);
}

struct Functions<'a> {
    source: &'a Source,
    out: &'a mut Vec<Finding>,
    /// False inside `impl Trait for`.
    ours: bool,
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.length(&item.sig, &item.block);
        self.signature(&item.sig, is_public(&item.vis));
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let before = self.ours;
        self.ours = item.trait_.is_none();
        visit::visit_item_impl(self, item);
        self.ours = before;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.length(&item.sig, &item.block);
        if self.ours {
            self.signature(&item.sig, is_public(&item.vis));
        }
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.length(&item.sig, block);
        }
        self.signature(&item.sig, Reach::Public);
        visit::visit_trait_item_fn(self, item);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
}

fn is_public(visibility: &syn::Visibility) -> Reach {
    match visibility {
        syn::Visibility::Inherited => Reach::Private,
        _ => Reach::Public,
    }
}

impl Functions<'_> {
    fn length(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            self.found(signature, "function-length", format!("{lines} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }

    fn signature(&mut self, signature: &syn::Signature, reach: Reach) {
        let name = signature.ident.to_string();
        let count = signature.inputs.len();
        if count > ARGUMENTS_MAX {
            let message = format!("{count} arguments, at most {ARGUMENTS_MAX}: group what belongs together");
            self.found(signature, "arguments", message);
        }
        if name.starts_with("get_") && !CONTAINER_NAMES.contains(&name.as_str()) {
            self.found(signature, "get-prefix", format!("`{name}`: name what it gives, without `get_`"));
        }
        let in_test = self.source.in_test(signature.fn_token.span.start().line);
        if reach == Reach::Public && !in_test && signature.inputs.iter().any(is_bool) {
            let message = "a bool argument says nothing at the call: two functions or an enum".to_owned();
            self.found(signature, "bool-argument", message);
        }
    }

    fn found(&mut self, signature: &syn::Signature, rule: &'static str, message: String) {
        self.out.push(Finding {
            path: self.source.path.clone(),
            line: signature.ident.span().start().line,
            rule,
            subject: signature.ident.to_string(),
            message: format!("{}: {message}", signature.ident),
        });
    }
}

fn is_bool(input: &syn::FnArg) -> bool {
    let syn::FnArg::Typed(argument) = input else { return false };
    matches!(&*argument.ty, syn::Type::Path(path) if path.path.is_ident("bool"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::findings;

    fn check_text(text: &str) -> Vec<String> {
        findings(check, "wire/src/a.rs", text)
    }

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        assert_eq!(check_text(&function_of(71)), ["1 function-length"]);
        assert_eq!(check_text(&function_of(70)), [""; 0]);
        let method = format!("impl A for B {{\n{}}}", function_of(71));
        assert_eq!(check_text(&method), ["2 function-length"]);
    }

    #[test]
    fn six_arguments_are_too_many() {
        assert_eq!(check_text("fn f(a: A, b: A, c: A, d: A, e: A, f: A) {}"), ["1 arguments"]);
        assert_eq!(check_text("impl S { fn f(&self, a: A, b: A, c: A, d: A, e: A) {} }"), ["1 arguments"]);
        assert_eq!(check_text("impl T for S { fn f(&self, a: A, b: A, c: A, d: A, e: A) {} }"), [""; 0]);
        assert_eq!(check_text("fn f(a: A, b: A, c: A, d: A, e: A) {}"), [""; 0]);
    }

    #[test]
    fn a_public_function_takes_no_bool() {
        assert_eq!(check_text("pub fn f(on: bool) {}"), ["1 bool-argument"]);
        assert_eq!(check_text("pub(crate) fn f(on: bool) {}"), ["1 bool-argument"]);
        assert_eq!(check_text("trait T { fn f(&self, on: bool); }"), ["1 bool-argument"]);
        assert_eq!(check_text("fn f(on: bool) {}\npub fn g(on: Switch) -> bool { true }"), [""; 0]);
        assert_eq!(check_text("impl Sink for S { fn f(&self, on: bool) {} }"), [""; 0]);
    }

    #[test]
    fn names_begin_without_get() {
        assert_eq!(check_text("fn get_session() {}"), ["1 get-prefix"]);
        assert_eq!(check_text("fn getter() {}\nfn session() {}\nfn get() {}\nfn get_mut() {}"), [""; 0]);
    }
}
