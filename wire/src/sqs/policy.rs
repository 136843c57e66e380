//! Access policies: checked, with a statement added or removed. They are kept and returned, never evaluated.
//!
//! Owns the JSON that AddPermission writes and the bounds of a policy. Must not know keys and what they may do.
//! Start at [`with_permission`].

use serde_json::{Map, Value, json};

use super::address::QueueArn;
use super::limits::{POLICY_BYTES_MAX, POLICY_CONDITIONS_MAX, POLICY_PRINCIPALS_MAX, POLICY_STATEMENTS_MAX};
use super::model::AddPermission;
use super::{Error, ErrorKind};

/// A queue's policy with one more statement.
///
/// # Errors
/// `InvalidParameterValue` if the label is in use, `OverLimit` if the policy becomes too large.
pub fn with_permission(
    current: Option<&str>,
    arn: &QueueArn,
    permission: &AddPermission<'_>,
) -> Result<String, Error> {
    let mut policy = read(current, arn);
    let statements = statements(&mut policy);
    if statements.iter().any(|statement| has_label(statement, &permission.label)) {
        return Err(Error::invalid_value(&permission.label, "Label", "Already exists."));
    }
    let accounts = permission.accounts.iter().map(|account| format!("arn:aws:iam::{account}:root"));
    let actions = permission.actions.iter().map(|action| format!("SQS:{action}"));
    statements.push(json!({
        "Sid": permission.label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_many(accounts.collect()) },
        "Action": one_or_many(actions.collect()),
        "Resource": arn.to_string(),
    }));
    let policy = Value::Object(policy).to_string();
    check(&policy)?;
    Ok(policy)
}

/// A queue's policy with a statement less; `None` if that was the last.
///
/// # Errors
/// `InvalidParameterValue` if there is no such label.
pub fn without_permission(
    current: Option<&str>,
    arn: &QueueArn,
    label: &str,
) -> Result<Option<String>, Error> {
    let mut policy = read(current, arn);
    let statements = statements(&mut policy);
    let before = statements.len();
    statements.retain(|statement| !has_label(statement, label));
    if statements.len() == before {
        return Err(Error::invalid_value(label, "Label", "can't find label."));
    }
    let is_empty = statements.is_empty();
    Ok((!is_empty).then(|| Value::Object(policy).to_string()))
}

/// Checks what a client sets.
pub(super) fn check(text: &str) -> Result<(), Error> {
    let invalid = || Error::invalid_setting("Policy");
    if text.len() > POLICY_BYTES_MAX {
        return Err(invalid());
    }
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return Err(invalid()) };
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err(invalid()),
    };
    if statements.is_empty() || !statements.iter().all(is_statement) {
        return Err(invalid());
    }
    at_most(statements.len(), POLICY_STATEMENTS_MAX, "statements")?;
    at_most(statements.iter().map(principals).sum(), POLICY_PRINCIPALS_MAX, "principals")?;
    at_most(statements.iter().map(conditions).sum(), POLICY_CONDITIONS_MAX, "conditions")
}

fn at_most(found: usize, max: usize, what: &str) -> Result<(), Error> {
    if found <= max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::OverLimit,
        format!("{found} {what} were found in the submitted policy, max allowed is {max}"),
    ))
}

fn is_statement(statement: &Value) -> bool {
    let has = |names: [&str; 2]| names.iter().any(|name| statement.get(name).is_some());
    matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny"))
        && has(["Action", "NotAction"])
        && has(["Principal", "NotPrincipal"])
}

/// `"*"` is one, an object has one or a list for each type.
fn principals(statement: &Value) -> usize {
    match statement.get("Principal").or_else(|| statement.get("NotPrincipal")) {
        Some(Value::Object(types)) => types.values().map(count).sum(),
        Some(_) => 1,
        None => 0,
    }
}

/// One for each operator and key.
fn conditions(statement: &Value) -> usize {
    match statement.get("Condition") {
        Some(Value::Object(operators)) => {
            operators.values().map(|keys| keys.as_object().map_or(1, Map::len)).sum()
        }
        _ => 0,
    }
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}

/// The policy there is, or the one AddPermission begins with.
fn read(current: Option<&str>, arn: &QueueArn) -> Map<String, Value> {
    match current.map(serde_json::from_str) {
        Some(Ok(Value::Object(policy))) => policy,
        _ => {
            let mut policy = Map::new();
            policy.insert("Version".to_owned(), json!("2008-10-17"));
            policy.insert("Id".to_owned(), json!(format!("{arn}/SQSDefaultPolicy")));
            policy
        }
    }
}

/// The statements as a list, which a policy with only one need not have.
fn statements(policy: &mut Map<String, Value>) -> &mut Vec<Value> {
    let entry = policy.entry("Statement").or_insert_with(|| json!([]));
    if !entry.is_array() {
        *entry = json!([entry.take()]);
    }
    entry.as_array_mut().expect("it was made a list")
}

fn has_label(statement: &Value, label: &str) -> bool {
    statement.get("Sid").and_then(Value::as_str) == Some(label)
}

fn one_or_many(mut values: Vec<String>) -> Value {
    match values.len() {
        1 => Value::String(values.remove(0)),
        _ => json!(values),
    }
}
