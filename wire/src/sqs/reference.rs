//! The reference page of the interface, printed from the tables.
//!
//! Owns the form of the page. Must not know more than the tables say. Start at [`page`].

use std::fmt::Write as _;

use super::action::{Action, Need};
use super::attribute::{Place, QueueAttribute, Rule, SystemAttribute};
use super::error::ErrorKind;
use super::limits;

/// The tables of actions, attributes, errors and limits in Markdown, without a title.
pub fn page() -> String {
    let mut out = String::new();
    for write in [actions, queue_attributes, system_attributes, errors, bounds] {
        write(&mut out);
    }
    out
}

fn table(out: &mut String, title: &str, columns: &[&str]) {
    let rule = "|---".repeat(columns.len());
    let gap = if out.is_empty() { "" } else { "\n" };
    line(out, format_args!("{gap}## {title}\n\n| {} |\n{rule}|", columns.join(" | ")));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

fn actions(out: &mut String) {
    table(out, "Actions", &["action", "parameters in JSON, `*` required", "what it does"]);
    for action in Action::ALL {
        let parameters = action.parameters().iter().map(|parameter| match parameter.need {
            Need::Required => format!("{}*", parameter.member.json),
            Need::Optional => parameter.member.json.to_owned(),
        });
        let parameters: Vec<_> = parameters.collect();
        line(out, format_args!("| {action} | {} |{} |", parameters.join(", "), action.doc()));
    }
}

fn queue_attributes(out: &mut String) {
    table(out, "Attributes of queues", &["attribute", "values", "default", "what it is"]);
    for attribute in QueueAttribute::ALL {
        let queues = match attribute.place() {
            Place::Any => "",
            Place::Fifo => "FIFO: ",
        };
        let values = values(attribute.rule());
        let (name, default) = (attribute.name(), attribute.default().unwrap_or_default());
        line(out, format_args!("| {name} | {queues}{values} | {default} |{} |", attribute.doc()));
    }
}

fn values(rule: Rule) -> String {
    match rule {
        Rule::Number { min, max } => format!("{min} to {max}"),
        Rule::Flag => "true, false".to_owned(),
        Rule::Word(words) => words.join(", "),
        Rule::Policy | Rule::RedrivePolicy | Rule::RedriveAllowPolicy => "JSON".to_owned(),
        Rule::Text => "text".to_owned(),
        Rule::ReadOnly => "read-only".to_owned(),
    }
}

fn system_attributes(out: &mut String) {
    table(out, "System attributes of messages", &["attribute", "what it is"]);
    for attribute in SystemAttribute::ALL {
        line(out, format_args!("| {} |{} |", attribute.name(), attribute.doc()));
    }
}

fn errors(out: &mut String) {
    table(out, "Errors", &["`__type`", "code of the Query protocol", "HTTP", "when"]);
    for kind in ErrorKind::ALL {
        let (name, code, status) = (kind.json_type(), kind.query_code(), kind.status());
        line(out, format_args!("| {name} | {code} | {status} |{} |", kind.doc()));
    }
}

fn bounds(out: &mut String) {
    table(out, "Limits", &["limit", "value", "what it bounds, and what happens there"]);
    for limit in limits::ALL {
        line(out, format_args!("| {} | {} |{} |", limit.name.to_ascii_lowercase(), limit.value, limit.doc));
    }
}
