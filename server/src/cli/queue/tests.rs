//! What commands about queues say to the server, and what they print.

use clap::Parser;
use serde_json::json;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    queue: Queue,
}

fn parsed(arguments: &[&str]) -> What {
    Line::try_parse_from(["queue"].iter().chain(arguments)).expect("is accepted").queue.what
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn a_queue_is_named_by_up_to_three_parts() {
    for (typed, url, query) in [
        ("q.fifo", "q.fifo", vec![]),
        ("1/q", "/1/q", vec![("account", "1")]),
        ("1/eu-west-1/q", "/queue/eu-west-1/1/q", vec![("account", "1"), ("region", "eu-west-1")]),
    ] {
        assert_eq!((name(typed).url().as_str(), name(typed).query()), (url, query), "{typed}");
    }
    assert_eq!(name("1/q.fifo").path(), "/v1/queues/q.fifo");
    for wrong in ["", "/q", "a/b/c/d", "q?x", "q q", "a//q"] {
        assert!(wrong.parse::<Name>().is_err(), "{wrong}");
    }
}

#[test]
fn a_queue_is_created_with_what_was_typed() {
    let typed = ["create", "q.fifo", "--attribute", "VisibilityTimeout=5", "--tag", "a=b=c"];
    let more = ["--dead-letter-queue", "dead.fifo", "--receives-max", "3"];
    let What::Create(create) = parsed(&[&typed[..], &more[..]].concat()) else { panic!() };
    let input = create.input(Some("arn"));
    assert_eq!((&input["QueueName"], &input["tags"]), (&json!("q.fifo"), &json!({ "a": "b=c" })));
    assert_eq!(input["Attributes"]["FifoQueue"], "true");
    assert_eq!(input["Attributes"]["VisibilityTimeout"], "5");
    let policy = input["Attributes"]["RedrivePolicy"].as_str().expect("a policy");
    let policy: Value = serde_json::from_str(policy).expect("JSON");
    assert_eq!(policy, json!({ "deadLetterTargetArn": "arn", "maxReceiveCount": 3 }));
}

#[test]
fn a_message_has_what_was_typed_and_nothing_else() {
    let What::Send(send) = parsed(&["send", "q", "hi"]) else { panic!() };
    assert_eq!(Value::Object(send.message("hi")), json!({ "MessageBody": "hi" }));
    let typed =
        ["send", "q", "hi", "--group", "g", "--deduplication-id", "d", "--delay", "9", "--attribute", "k=v"];
    let What::Send(send) = parsed(&typed) else { panic!() };
    let attributes = json!({ "k": { "DataType": "String", "StringValue": "v" } });
    assert_eq!(
        Value::Object(send.message("hi")),
        json!({
            "MessageBody": "hi", "MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 9,
            "MessageAttributes": attributes,
        })
    );
}

#[test]
fn attributes_count_against_the_bound_of_a_batch() {
    let What::Send(send) = parsed(&["send", "q", "hi", "--attribute", "k=v", "--attribute", "zip=1234"])
    else {
        panic!()
    };
    assert_eq!(send.bytes_of("hi"), 2 + (1 + 6 + 1) + (3 + 6 + 4));
}

#[test]
fn parts_of_a_second_are_refused_instead_of_left_out() {
    assert!(messages::whole_seconds("--wait", std::time::Duration::from_secs(3)).is_ok());
    let refused = messages::whole_seconds("--wait", std::time::Duration::from_millis(1500));
    assert_eq!(refused.err().map(|failure| failure.0).as_deref(), Some("--wait has whole seconds, got 1.5s"));
}

#[test]
fn queues_are_a_table_with_places_only_where_they_differ() {
    let mut a = json!({ "name": "a", "account": "0", "region": "eu", "visible": 12, "in_flight": 3, "oldest_seconds": 7 });
    let b = json!({ "name": "long-name", "account": "0", "region": "eu", "sent": 5 });
    let table = manage::lines(&[a.clone(), b.clone()]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["a", "12", "3", "0", "0", "0", "0", "7", "s"]);
    assert_eq!(rows[2], ["long-name", "0", "0", "0", "5", "0", "0", "-"]);
    a["region"] = json!("us");
    assert!(manage::lines(&[a, b]).contains("\n0/us/a "));
}

#[test]
fn messages_that_were_looked_at_are_printed_for_people() {
    let message =
        json!({ "stage": "in-flight", "age_seconds": 5, "receives": 2, "group": "g", "body": "hi" });
    assert_eq!(messages::for_people(&message), "in-flight 5 s, received 2 times [g]: hi\n");
}

#[test]
fn a_task_that_failed_says_why() {
    let task = json!({ "Status": "FAILED", "ApproximateNumberOfMessagesMoved": 4, "FailureReason": "gone" });
    let failure = redrive::outcome("dead", &task).expect_err("failed");
    assert_eq!(failure.0, "the task ended failed after 4 messages gone");
}
