//! Settings of queues, and the three policies among them.

use super::*;
use QueueKind::{Fifo, Standard};

fn parse(pairs: &[(&str, &str)], kind: QueueKind, purpose: Purpose) -> Result<Settings, Error> {
    Settings::parse(pairs.iter().copied(), kind, purpose)
}

fn refused(name: &str, value: &str, kind: QueueKind) -> (ErrorKind, String) {
    let error = parse(&[(name, value)], kind, Purpose::Change).expect_err(name);
    (error.kind, error.message.into_owned())
}

fn arn(name: &str) -> QueueArn {
    QueueArn { region: "r".to_owned(), account: "1".to_owned(), name: name.to_owned() }
}

const FIGURES: QueueFigures =
    QueueFigures { created_s: 1, modified_s: 2, visible: 3, in_flight: 4, delayed: 5 };

#[test]
fn a_fresh_queue_has_the_defaults_of_the_service() {
    let told = |kind, wanted| -> Vec<String> {
        let settings = Settings::defaults(kind);
        let told = settings.describe(wanted, &arn("q"), &FIGURES);
        told.iter().map(|(attribute, value)| format!("{}={value}", attribute.name())).collect()
    };
    let standard = [
        "VisibilityTimeout=30",
        "DelaySeconds=0",
        "ReceiveMessageWaitTimeSeconds=0",
        "MessageRetentionPeriod=345600",
        "MaximumMessageSize=1048576",
        "SqsManagedSseEnabled=true",
        "QueueArn=arn:aws:sqs:r:1:q",
        "CreatedTimestamp=1",
        "LastModifiedTimestamp=2",
        "ApproximateNumberOfMessages=3",
        "ApproximateNumberOfMessagesNotVisible=4",
        "ApproximateNumberOfMessagesDelayed=5",
    ];
    assert_eq!(told(Standard, QueueAttributeSet::ALL), standard);
    let fifo = [
        "FifoQueue=true",
        "ContentBasedDeduplication=false",
        "DeduplicationScope=queue",
        "FifoThroughputLimit=perQueue",
    ];
    let all = told(Fifo, QueueAttributeSet::ALL);
    assert_eq!((all.len(), &all[6..10]), (16, &fifo.map(str::to_owned)[..]));
    // What is asked for and not there is left out; nothing asked for, nothing told.
    let wanted = QueueAttributeSet::default().with(QueueAttribute::Policy).with(QueueAttribute::DelaySeconds);
    assert_eq!(told(Standard, wanted), ["DelaySeconds=0"]);
    assert_eq!(told(Standard, QueueAttributeSet::default()), [""; 0]);
}

/// The table of attributes, spelled out a second time: name, smallest and largest number.
const NUMBERS: &[(&str, u32, u32)] = &[
    ("VisibilityTimeout", 0, 43_200),
    ("DelaySeconds", 0, 900),
    ("ReceiveMessageWaitTimeSeconds", 0, 20),
    ("MessageRetentionPeriod", 60, 1_209_600),
    ("MaximumMessageSize", 1024, 1_048_576),
    ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
];

#[test]
fn numbers_have_bounds() {
    for &(name, min, max) in NUMBERS {
        for value in [min, max] {
            let text = value.to_string();
            let settings = parse(&[(name, &text)], Standard, Purpose::Change).expect(name);
            let attribute = QueueAttribute::from_name(name).expect(name);
            assert_eq!(settings.number(attribute), Some(value));
        }
        let above = (max + 1).to_string();
        let below = (i64::from(min) - 1).to_string();
        for value in [&above, &below, "", "x", "1.0", " 60", "+60", "1e2", "99999999999"] {
            assert_eq!(
                refused(name, value, Standard),
                (ErrorKind::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
            );
        }
    }
    let settings = parse(&[("DelaySeconds", "007")], Standard, Purpose::Create).expect("leading zeros");
    assert_eq!(settings.get(QueueAttribute::DelaySeconds), Some("7"));
}

#[test]
fn words_and_flags_are_few() {
    for (name, values, wrong) in [
        ("SqsManagedSseEnabled", &["true", "FALSE"][..], "yes"),
        ("ContentBasedDeduplication", &["True", "false"], ""),
        ("DeduplicationScope", &["queue", "messageGroup"], "messagegroup"),
        ("FifoThroughputLimit", &["perQueue", "perMessageGroupId"], ""),
    ] {
        for value in values {
            let settings = parse(&[(name, value)], Fifo, Purpose::Create).expect(name);
            let kept = settings.get(QueueAttribute::from_name(name).expect(name)).expect(name);
            assert!(kept.eq_ignore_ascii_case(value));
        }
        assert_eq!(refused(name, wrong, Fifo).0, ErrorKind::InvalidAttributeValue, "{name}");
    }
    let long = "k".repeat(4097);
    assert_eq!(refused("KmsMasterKeyId", &long, Standard).0, ErrorKind::InvalidAttributeValue);
}

#[test]
fn names_are_known_and_may_be_set() {
    for name in
        ["Foo", "", "All", "visibilitytimeout", "QueueArn", "CreatedTimestamp", "ApproximateNumberOfMessages"]
    {
        for kind in [Standard, Fifo] {
            let expected = (ErrorKind::InvalidAttributeName, format!("Unknown Attribute {name}."));
            assert_eq!(refused(name, "1", kind), expected);
        }
    }
    for name in ["FifoQueue", "ContentBasedDeduplication"] {
        let expected = (ErrorKind::InvalidAttributeName, format!("Unknown Attribute {name}."));
        assert_eq!(refused(name, "true", Standard), expected);
    }
    for (name, value) in [("DeduplicationScope", "queue"), ("FifoThroughputLimit", "perQueue")] {
        let text = format!("You can specify the {name} only when FifoQueue is set to true.");
        assert_eq!(refused(name, value, Standard), (ErrorKind::InvalidAttributeName, text));
    }
}

#[test]
fn a_queue_keeps_its_kind() {
    let again = parse(&[("FifoQueue", "true")], Fifo, Purpose::Change).expect("the same");
    assert_eq!(again, Settings::default());
    assert_eq!(
        refused("FifoQueue", "false", Fifo),
        (
            ErrorKind::InvalidAttributeValue,
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
                .to_owned()
        )
    );
    let create = |name: &str, fifo: &str| {
        let body = format!("{{\"QueueName\":\"{name}\",\"Attributes\":{{{fifo}}}}}");
        read_json("CreateQueue", &body).map(|_| ()).map_err(|error| (error.kind, error.message.into_owned()))
    };
    assert_eq!(create("q", ""), Ok(()));
    assert_eq!(create("q.fifo", "\"FifoQueue\":\"True\""), Ok(()));
    let standard = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
    let fifo = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
                .fifo suffix and be 1 to 80 in length";
    let long = "q".repeat(81);
    for (name, attribute, message) in [
        ("q.fifo", "", standard),
        ("a b", "", standard),
        (&long, "", standard),
        ("q.fifo", "\"FifoQueue\":\"false\"", standard),
        ("q", "\"FifoQueue\":\"true\"", fifo),
        (&format!("{long}.fifo"), "\"FifoQueue\":\"true\"", fifo),
    ] {
        let expected = (ErrorKind::InvalidParameterValueException, message.to_owned());
        assert_eq!(create(name, attribute), Err(expected), "{name}");
    }
    // As the service says it, odd as it is.
    assert_eq!(
        create("q", "\"FifoQueue\":\"false\""),
        Err((ErrorKind::InvalidAttributeName, "Unknown Attribute FifoQueue.".to_owned()))
    );
}

#[test]
fn changes_are_laid_over_what_is_there() {
    let queue = Settings::defaults(Standard);
    let change = |pairs: &[(&str, &str)]| parse(pairs, Standard, Purpose::Change).expect("a change");
    let policy = "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"SQS:*\"}]}";
    let with_policy =
        queue.changed(&change(&[("Policy", policy), ("DelaySeconds", "3")])).expect("makes sense");
    assert_eq!(with_policy.get(QueueAttribute::Policy), Some(policy));
    assert_eq!(with_policy.number(QueueAttribute::DelaySeconds), Some(3));
    assert_eq!(with_policy.number(QueueAttribute::VisibilityTimeout), Some(30));
    let without =
        with_policy.changed(&change(&[("Policy", ""), ("DelaySeconds", "0")])).expect("makes sense");
    assert_eq!(without, queue);
    // The default of the service removes it.
    let reuse = queue.changed(&change(&[("KmsDataKeyReusePeriodSeconds", "60")])).expect("makes sense");
    assert_eq!(reuse.number(QueueAttribute::KmsDataKeyReusePeriodSeconds), Some(60));
    let back = reuse.changed(&change(&[("KmsDataKeyReusePeriodSeconds", "300")])).expect("makes sense");
    assert_eq!(back, queue);
    // What is stored is read again, and what is unknown by then is left out.
    let stored: Vec<_> = with_policy.iter().map(|(attribute, value)| (attribute.name(), value)).collect();
    let restored = Settings::restore(stored.into_iter().chain([("Newer", "x")]));
    assert_eq!(restored, with_policy);
    let mut settings = restored;
    settings.set_policy(None);
    assert_eq!(settings.get(QueueAttribute::Policy), None);
}

#[test]
fn one_kind_of_encryption_excludes_the_other() {
    let queue = Settings::defaults(Standard);
    let change = |pairs: &[(&str, &str)]| parse(pairs, Standard, Purpose::Change);
    let both = change(&[("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")]).expect_err("both");
    let message = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS \
                   SSE.";
    assert_eq!((both.kind, both.message.as_ref()), (ErrorKind::InvalidAttributeName, message));
    // A key of one's own switches the default off.
    let with_key = queue.changed(&change(&[("KmsMasterKeyId", "k")]).expect("a key")).expect("makes sense");
    assert_eq!(with_key.get(QueueAttribute::SqsManagedSseEnabled), Some("false"));
    let on = change(&[("SqsManagedSseEnabled", "true")]).expect("on");
    assert_eq!(with_key.changed(&on).map_err(|error| error.kind), Err(ErrorKind::InvalidAttributeName));
    let without = change(&[("KmsMasterKeyId", ""), ("SqsManagedSseEnabled", "true")]).expect("back");
    assert_eq!(with_key.changed(&without), Ok(queue));
}

#[test]
fn throughput_per_group_needs_deduplication_per_group() {
    let queue = Settings::defaults(Fifo);
    let limit = [("FifoThroughputLimit", "perMessageGroupId")];
    let scope = [("DeduplicationScope", "messageGroup")];
    let limit = parse(&limit, Fifo, Purpose::Change).expect("a limit");
    let scope = parse(&scope, Fifo, Purpose::Change).expect("a scope");
    let error = queue.changed(&limit).expect_err("without the scope");
    assert_eq!(error.kind, ErrorKind::InvalidAttributeValue);
    let scoped = queue.changed(&scope).expect("makes sense");
    let both = scoped.changed(&limit).expect("makes sense");
    let back = parse(&[("DeduplicationScope", "queue")], Fifo, Purpose::Change).expect("a scope");
    assert!(both.changed(&back).is_err());
    let body = "{\"QueueName\":\"q.fifo\",\"Attributes\":{\"FifoQueue\":\"true\",\"FifoThroughputLimit\":\"perMessageGroupId\"}}";
    assert_eq!(
        read_json("CreateQueue", body).map_err(|error| error.kind),
        Err(ErrorKind::InvalidAttributeValue)
    );
}

#[test]
fn creating_again_compares_what_is_given() {
    let redrive = "{\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d\",\"maxReceiveCount\":3}";
    let create = |pairs: &[(&str, &str)]| parse(pairs, Standard, Purpose::Create).expect("settings");
    let queue = Settings::defaults(Standard)
        .changed(&create(&[("DelaySeconds", "5"), ("RedrivePolicy", redrive)]))
        .expect("makes sense");
    let spaced = "{ \"maxReceiveCount\": 3, \"deadLetterTargetArn\": \"arn:aws:sqs:r:1:d\" }";
    for same in [
        &[][..],
        &[("DelaySeconds", "5")],
        &[("VisibilityTimeout", "30"), ("RedrivePolicy", spaced), ("Policy", "")],
        &[("KmsDataKeyReusePeriodSeconds", "300")],
    ] {
        assert_eq!(queue.first_difference(&create(same)), None, "{same:?}");
    }
    let other = redrive.replace('3', "4");
    for (differs, attribute) in [
        (&[("DelaySeconds", "6")][..], QueueAttribute::DelaySeconds),
        (&[("RedrivePolicy", other.as_str())], QueueAttribute::RedrivePolicy),
        (&[("RedrivePolicy", "")], QueueAttribute::RedrivePolicy),
        (&[("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "false")], QueueAttribute::KmsMasterKeyId),
    ] {
        assert_eq!(queue.first_difference(&create(differs)), Some(attribute));
    }
    assert_eq!(
        Error::queue_name_exists(QueueAttribute::DelaySeconds).message,
        "A queue already exists with the same name and a different value for attribute DelaySeconds"
    );
}

#[test]
fn redrive_policies_name_a_queue_and_a_count() {
    let target = "\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d\"";
    for (count, expected) in [("1", 1), ("1000", 1000), ("\"5\"", 5)] {
        let text = format!("{{{target},\"maxReceiveCount\":{count}}}");
        let settings = parse(&[("RedrivePolicy", &text)], Standard, Purpose::Create).expect("a policy");
        let policy = RedrivePolicy { target: arn("d"), receive_count_max: expected };
        assert_eq!(settings.redrive_policy(), Some(policy));
        assert_eq!(settings.get(QueueAttribute::RedrivePolicy), Some(text.as_str()));
    }
    let text = format!("{{{target}}}");
    assert_eq!(RedrivePolicy::parse(&text).map(|policy| policy.receive_count_max), Ok(10));
    let long = format!("{{{target},{}\"maxReceiveCount\":1}}", " ".repeat(4096));
    for (text, reason) in [
        ("x", "Redrive policy is not a valid JSON map."),
        ("[]", "Redrive policy is not a valid JSON map."),
        (&long, "Redrive policy is not a valid JSON map."),
        ("{}", "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
        (
            "{\"deadLetterTargetArn\": \"dummy\", \"maxReceiveCount\": 42}",
            "Invalid value for deadLetterTargetArn.",
        ),
        ("{\"deadLetterTargetArn\": 1}", "Invalid value for deadLetterTargetArn."),
        (
            &format!("{{{target},\"maxReceiveCount\":0}}"),
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            &format!("{{{target},\"maxReceiveCount\":\"1001\"}}"),
            "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            &format!("{{{target},\"maxReceiveCount\":1.5}}"),
            "Invalid value for maxReceiveCount: 1.5, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            &format!("{{{target},\"x\":1}}"),
            "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
        ),
        (
            "{\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
            "Dead-letter queue must be same type of queue as the source.",
        ),
    ] {
        let (kind, message) = refused("RedrivePolicy", text, Standard);
        let text: String = text.chars().take(limits::ECHO_BYTES_MAX).collect();
        assert_eq!(kind, ErrorKind::InvalidParameterValueException);
        assert_eq!(message, format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"));
    }
}

#[test]
fn redrive_allow_policies_name_sources() {
    let by_queue = "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"arn:aws:sqs:r:1:a\"]}";
    for (text, expected) in [
        ("{\"redrivePermission\":\"allowAll\"}", RedriveAllowPolicy::AllowAll),
        ("{\"redrivePermission\":\"denyAll\"}", RedriveAllowPolicy::DenyAll),
        (by_queue, RedriveAllowPolicy::ByQueue(vec![arn("a")])),
    ] {
        let settings = parse(&[("RedriveAllowPolicy", text)], Standard, Purpose::Change).expect("a policy");
        assert_eq!(settings.redrive_allow_policy(), expected);
    }
    assert_eq!(Settings::default().redrive_allow_policy(), RedriveAllowPolicy::AllowAll);
    let other_account = QueueArn { account: "2".to_owned(), ..arn("a") };
    let by_queue = RedriveAllowPolicy::parse(by_queue).expect("a policy");
    for (policy, source, allows) in [
        (&RedriveAllowPolicy::AllowAll, &arn("a"), true),
        (&RedriveAllowPolicy::AllowAll, &other_account, false),
        (&RedriveAllowPolicy::DenyAll, &arn("a"), false),
        (&by_queue, &arn("a"), true),
        (&by_queue, &arn("b"), false),
    ] {
        assert_eq!(policy.allows(source, &arn("d")), allows);
    }
    let eleven = format!(
        "{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[{}]}}",
        ["\"arn:aws:sqs:r:1:a\""; 11].join(",")
    );
    let format = "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.";
    let missing = "Amazon SQS can't create the redrive allow policy. When you specify the byQueue permission type, you must \
                   also specify one or more sourceQueueArns values.";
    for (text, reason) in [
        ("x", format),
        ("{}", format),
        ("{\"redrivePermission\":\"x\"}", format),
        ("{\"redrivePermission\":\"allowAll\",\"x\":1}", format),
        ("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":\"a\"}", format),
        ("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"a\"]}", format),
        ("{\"redrivePermission\":\"byQueue\"}", missing),
        ("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[]}", missing),
        (
            "{\"redrivePermission\":\"denyAll\",\"sourceQueueArns\":[\"arn:aws:sqs:r:1:a\"]}",
            "Amazon SQS can't create the redrive allow policy. To specify one or more source queue ARNs, you must set \
             redrivePermission to byQueue.",
        ),
        (
            &eleven,
            "Amazon SQS can't create the redrive allow policy. The maximum number of source queue ARNs you can specify is \
             10.",
        ),
    ] {
        let (kind, message) = refused("RedriveAllowPolicy", text, Standard);
        assert_eq!(kind, ErrorKind::InvalidParameterValueException);
        assert_eq!(
            message,
            format!("Value {text} for parameter RedriveAllowPolicy is invalid. Reason: {reason}")
        );
    }
}

#[test]
fn policies_are_json_of_a_bounded_size() {
    let statement =
        |extra: &str| format!("{{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"SQS:*\"{extra}}}");
    let policy = |statements: &[String]| format!("{{\"Statement\":[{}]}}", statements.join(","));
    let principals = |count: usize| {
        let accounts = vec!["\"1\""; count].join(",");
        format!("{{\"Effect\":\"Deny\",\"NotPrincipal\":{{\"AWS\":[{accounts}]}},\"NotAction\":\"x\"}}")
    };
    let conditions = |count: usize| {
        let keys: Vec<_> = (0..count).map(|at| format!("\"k{at}\":\"v\"")).collect();
        statement(&format!(",\"Condition\":{{\"StringEquals\":{{{}}}}}", keys.join(",")))
    };
    let long = policy(&[statement(&format!(",\"Sid\":\"{}\"", "s".repeat(8192)))]);
    for text in [
        &policy(&[statement("")]),
        &format!("{{\"Version\":\"2012-10-17\",\"Statement\":{}}}", statement("")),
        &policy(&vec![statement(""); 20]),
        &policy(&[principals(50)]),
        &policy(&[conditions(10)]),
    ] {
        assert!(parse(&[("Policy", text)], Standard, Purpose::Change).is_ok(), "{text}");
    }
    for text in [
        "x",
        "[]",
        "{}",
        "{\"Statement\":[]}",
        "{\"Statement\":[1]}",
        "{\"Statement\":[{\"Effect\":\"Allow\"}]}",
        "{\"Statement\":[{\"Effect\":\"x\",\"Principal\":\"*\",\"Action\":\"*\"}]}",
        &long,
    ] {
        let expected =
            (ErrorKind::InvalidAttributeValue, "Invalid value for the parameter Policy.".to_owned());
        assert_eq!(refused("Policy", text, Standard), expected, "{text}");
    }
    for (text, message) in [
        (
            policy(&vec![statement(""); 21]),
            "21 statements were found in the submitted policy, max allowed is 20",
        ),
        (policy(&[principals(51)]), "51 principals were found in the submitted policy, max allowed is 50"),
        (policy(&[conditions(11)]), "11 conditions were found in the submitted policy, max allowed is 10"),
    ] {
        assert_eq!(refused("Policy", &text, Standard), (ErrorKind::OverLimit, message.to_owned()));
    }
}

#[test]
fn permissions_become_statements_of_the_policy() {
    let permission =
        |label: &'static str, accounts: &[&'static str], actions: &[&'static str]| AddPermission {
            queue: QueueAddress::of_name("q".into()),
            label: label.into(),
            accounts: accounts.iter().map(|account| (*account).into()).collect(),
            actions: actions.iter().map(|action| (*action).into()).collect(),
        };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let queue = arn("q");
    let first = permission("one", &["111122223333"], &["ReceiveMessage"]);
    let one = policy::with_permission(None, &queue, &first).expect("a policy");
    assert_eq!(
        json(&one),
        json(
            "{\"Version\":\"2008-10-17\",\"Id\":\"arn:aws:sqs:r:1:q/SQSDefaultPolicy\",\"Statement\":[{\"Sid\":\"one\",\
             \"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:root\"},\"Action\":\
             \"SQS:ReceiveMessage\",\"Resource\":\"arn:aws:sqs:r:1:q\"}]}"
        )
    );
    let second = permission("two", &["111122223333", "444455556666"], &["SendMessage", "*"]);
    let two = policy::with_permission(Some(&one), &queue, &second).expect("a policy");
    assert_eq!(
        json(&two)["Statement"][1],
        json(
            "{\"Sid\":\"two\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam::111122223333:root\",\
             \"arn:aws:iam::444455556666:root\"]},\"Action\":[\"SQS:SendMessage\",\"SQS:*\"],\"Resource\":\
             \"arn:aws:sqs:r:1:q\"}"
        )
    );
    let error = policy::with_permission(Some(&one), &queue, &first).expect_err("the label is used");
    assert_eq!(error.message, "Value one for parameter Label is invalid. Reason: Already exists.");
    // A policy with one statement that is no list keeps it.
    let bare = "{\"Statement\":{\"Sid\":\"x\",\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\"}}";
    let three = policy::with_permission(Some(bare), &queue, &first).expect("a policy");
    assert_eq!(json(&three)["Statement"].as_array().map(Vec::len), Some(2));
    let back =
        policy::without_permission(Some(&two), &queue, "two").expect("it is there").expect("one is left");
    assert_eq!(json(&back), json(&one));
    assert_eq!(policy::without_permission(Some(&back), &queue, "one"), Ok(None));
    for current in [None, Some(one.as_str())] {
        let error = policy::without_permission(current, &queue, "two").expect_err("not there");
        assert_eq!(error.message, "Value two for parameter Label is invalid. Reason: can't find label.");
    }
    let full = format!(
        "{{\"Statement\":[{}]}}",
        vec!["{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\"}"; 20].join(",")
    );
    let error = policy::with_permission(Some(&full), &queue, &first).expect_err("too many");
    assert_eq!(error.kind, ErrorKind::OverLimit);
}
