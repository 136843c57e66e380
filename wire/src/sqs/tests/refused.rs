//! Every refusal that needs no state, with its code and text, and that both protocols give the same.

use super::*;

/// Refuses JSON with the members of a queue's request.
fn refused(action: &str, members: &str) -> Error {
    let body =
        format!("{{\"QueueUrl\":\"http://h/1/q\"{}{members}}}", if members.is_empty() { "" } else { "," });
    match read(&json(action, &body)) {
        Err(error) => error,
        Ok(request) => panic!("{action} {members} is taken: {request:?}"),
    }
}

fn check(cases: &[(&str, &str, ErrorKind, &str)]) {
    for (action, members, kind, message) in cases {
        let error = refused(action, members);
        assert_eq!((error.kind, error.message.as_ref()), (*kind, *message), "{action} {members}");
    }
}

const VALUE: ErrorKind = ErrorKind::InvalidParameterValueException;
const MISSING: ErrorKind = ErrorKind::MissingRequiredParameterException;
const SERIAL: ErrorKind = ErrorKind::SerializationException;

#[test]
fn what_is_required_is_asked_for_in_the_words_of_the_protocol() {
    for action in Action::ALL {
        let required = action.parameters().iter().filter(|parameter| parameter.need == Need::Required);
        let Some(first) = required.map(|parameter| parameter.member).next() else {
            assert_eq!(*action, Action::ListQueues);
            continue;
        };
        let is_missing = |error: Error, name: &str| {
            assert_eq!(error.kind, MISSING, "{action}");
            assert_eq!(error.message, format!("The request must contain the parameter {name}."));
        };
        is_missing(read_json(action.name(), "{}").expect_err("nothing is given"), first.json);
        let null = format!("{{\"{}\":null}}", first.json);
        is_missing(read_json(action.name(), &null).expect_err("null is nothing"), first.json);
        let body = format!("Action={action}");
        is_missing(read(&form(&body)).expect_err("nothing is given"), first.query);
    }
    check(&[
        ("SendMessage", "", MISSING, "The request must contain the parameter MessageBody."),
        (
            "SendMessage",
            "\"MessageBody\":\"\"",
            MISSING,
            "The request must contain the parameter MessageBody.",
        ),
        ("DeleteMessage", "", MISSING, "The request must contain the parameter ReceiptHandle."),
        (
            "DeleteMessage",
            "\"ReceiptHandle\":\"\"",
            MISSING,
            "The request must contain the parameter ReceiptHandle.",
        ),
        (
            "ChangeMessageVisibility",
            "\"ReceiptHandle\":\"h\"",
            MISSING,
            "The request must contain the parameter VisibilityTimeout.",
        ),
        ("SetQueueAttributes", "", MISSING, "The request must contain the parameter Attributes."),
        ("TagQueue", "", MISSING, "The request must contain the parameter Tags."),
        ("UntagQueue", "", MISSING, "The request must contain the parameter TagKeys."),
        (
            "AddPermission",
            "\"Label\":\"l\"",
            MISSING,
            "The request must contain the parameter AWSAccountIds.",
        ),
        (
            "AddPermission",
            "\"Label\":\"l\",\"AWSAccountIds\":[\"111122223333\"],\"Actions\":[]",
            MISSING,
            "The request must contain the parameter Actions.",
        ),
    ]);
    let error = read(&form("Action=UntagQueue&QueueUrl=q")).expect_err("no keys");
    assert_eq!(error.message, "The request must contain the parameter TagKey.");
}

/// Action, other members, number, its bounds, the reason that is told.
type Number = (&'static str, &'static str, &'static str, (i64, i64), &'static str);

const NUMBERS: &[Number] = &[
    ("ReceiveMessage", "", "MaxNumberOfMessages", (1, 10), "Must be between 1 and 10, if provided."),
    ("ReceiveMessage", "", "WaitTimeSeconds", (0, 20), "Must be >= 0 and <= 20, if provided."),
    ("ReceiveMessage", "", "VisibilityTimeout", (0, 43_200), "Must be between 0 and 43200, if provided."),
    (
        "ChangeMessageVisibility",
        "\"ReceiptHandle\":\"h\",",
        "VisibilityTimeout",
        (0, 43_200),
        "VisibilityTimeout must be an integer between 0 and 43200.",
    ),
    (
        "SendMessage",
        "\"MessageBody\":\"m\",",
        "DelaySeconds",
        (0, 900),
        "DelaySeconds must be >= 0 and <= 900.",
    ),
    ("ListQueues", "", "MaxResults", (1, 1000), "MaxResults must be an integer between 1 and 1000."),
    (
        "ListDeadLetterSourceQueues",
        "",
        "MaxResults",
        (1, 1000),
        "MaxResults must be an integer between 1 and 1000.",
    ),
    (
        "ListMessageMoveTasks",
        "\"SourceArn\":\"arn:aws:sqs:r:1:q\",",
        "MaxResults",
        (1, 10),
        "Must be between 1 and 10, if provided.",
    ),
    (
        "StartMessageMoveTask",
        "\"SourceArn\":\"arn:aws:sqs:r:1:q\",",
        "MaxNumberOfMessagesPerSecond",
        (1, 500),
        "Must be between 1 and 500, if provided.",
    ),
];

#[test]
fn numbers_have_bounds() {
    for &(action, before, name, (min, max), reason) in NUMBERS {
        for value in [min, max] {
            let body = format!("{{\"QueueUrl\":\"q\",{before}\"{name}\":{value}}}");
            assert!(read_json(action, &body).is_ok(), "{action} {name} {value}");
        }
        for value in [min - 1, max + 1, i64::MAX, i64::MIN] {
            let error = refused(action, &format!("{before}\"{name}\":{value}"));
            assert_eq!(error.kind, VALUE);
            assert_eq!(
                error.message,
                format!("Value {value} for parameter {name} is invalid. Reason: {reason}")
            );
        }
        let error = refused(action, &format!("{before}\"{name}\":18446744073709551615"));
        assert_eq!(error.kind, VALUE);
        for (value, found) in [("\"5\"", "STRING_VALUE"), ("5.0", "DECIMAL_VALUE"), ("true", "TRUE_VALUE")] {
            let error = refused(action, &format!("{before}\"{name}\":{value}"));
            assert_eq!(error.kind, SERIAL);
            assert_eq!(error.message, format!("{found} can not be converted to an Integer"));
        }
    }
    for value in ["x", "", "1.5", "99999999999999999999", "+", "1e1"] {
        let body = format!("Action=ReceiveMessage&QueueUrl=q&WaitTimeSeconds={value}");
        let error = read(&form(&body)).expect_err(value);
        assert_eq!(error.kind, VALUE, "{value}");
        assert!(
            error.message.ends_with("for parameter WaitTimeSeconds is invalid. Reason: Must be an integer.")
        );
    }
}

#[test]
fn values_have_types() {
    check(&[
        ("SendMessage", "\"MessageBody\":{}", SERIAL, "STRUCTURE_VALUE can not be converted to a String"),
        ("SendMessage", "\"MessageBody\":[]", SERIAL, "LIST_VALUE can not be converted to a String"),
        ("UntagQueue", "\"TagKeys\":\"a\"", SERIAL, "STRING_VALUE can not be converted to a List"),
        ("UntagQueue", "\"TagKeys\":{\"1\":\"a\"}", SERIAL, "STRUCTURE_VALUE can not be converted to a List"),
        ("UntagQueue", "\"TagKeys\":[null]", SERIAL, "NULL_VALUE can not be converted to a String"),
        ("TagQueue", "\"Tags\":[]", SERIAL, "LIST_VALUE can not be converted to a Map"),
        ("TagQueue", "\"Tags\":{\"a\":{}}", SERIAL, "STRUCTURE_VALUE can not be converted to a String"),
        ("DeleteMessageBatch", "\"Entries\":[1]", SERIAL, "NUMBER_VALUE can not be converted to a Structure"),
        (
            "SendMessage",
            "\"MessageBody\":\"m\",\"MessageAttributes\":{\"a\":\"b\"}",
            SERIAL,
            "STRING_VALUE can not be converted to a Structure",
        ),
        (
            "SendMessage",
            "\"MessageBody\":\"m\",\"MessageAttributes\":{\"a\":{\"DataType\":\"Binary\",\"BinaryValue\":\"?\"}}",
            SERIAL,
            "STRING_VALUE can not be converted to a Blob: it is no base64",
        ),
        // In an entry, it is still the request that is wrong.
        (
            "SendMessageBatch",
            "\"Entries\":[{\"Id\":\"1\",\"MessageBody\":\"m\",\"DelaySeconds\":\"5\"}]",
            SERIAL,
            "STRING_VALUE can not be converted to an Integer",
        ),
    ]);
    for body in [
        "x",
        "{",
        "{\"QueueUrl\":\"q\"}}",
        "{\"QueueUrl\":\"\\ud800\"}",
        "{\"a\":1e999}",
        "{\"QueueUrl\":\"\u{1}\"}",
    ] {
        let error = read_json("PurgeQueue", body).expect_err(body);
        assert_eq!(error.kind, SERIAL, "{body}");
        assert!(
            error.message.starts_with("The body is not valid JSON at line 1, column "),
            "{}",
            error.message
        );
    }
    let invalid = Incoming { body: b"{\"QueueUrl\":\"\xff\"}", ..json("PurgeQueue", "") };
    assert_eq!(read(&invalid).map_err(|error| error.kind), Err(SERIAL));
    let error = read_json("PurgeQueue", "[]").expect_err("a list");
    assert_eq!(error.message, "LIST_VALUE can not be converted to a Structure");
    let deep = "[".repeat(100_000);
    assert_eq!(read_json("PurgeQueue", &deep).map_err(|error| error.kind), Err(SERIAL));
}

#[test]
fn what_is_kept_of_a_request_is_bounded() {
    let error = |incoming: &Incoming<'_>| read(incoming).expect_err("too many");
    let many = format!("{{\"QueueUrl\":\"q\",\"TagKeys\":[{}\"\"]}}", "\"\",".repeat(4095));
    let found = error(&json("UntagQueue", &many));
    assert_eq!(found.kind, VALUE);
    assert!(found.message.ends_with("The request has more than 4096 members."), "{}", found.message);
    let many = format!("Action=UntagQueue&QueueUrl=q{}", "&TagKey.1=".repeat(4096));
    let found = error(&form(&many));
    assert!(found.message.ends_with("The request has more than 4096 members."), "{}", found.message);
    // What no action knows is not kept.
    let others = format!("Action=PurgeQueue&QueueUrl=q{}", "&a.1.b=c".repeat(100_000));
    assert!(read(&form(&others)).is_ok());
    let deep = format!("Action=PurgeQueue&QueueUrl=q&{}=x", ["Tag"; 9].join("."));
    assert!(read(&form(&deep)).is_ok());
}

#[test]
fn queues_are_named_by_urls() {
    for (url, kind, message) in [
        ("http://h", ErrorKind::InvalidAddress, "The address http://h is not valid for this endpoint."),
        ("http://h/", ErrorKind::InvalidAddress, "The address http://h/ is not valid for this endpoint."),
        ("http://h/q", ErrorKind::InvalidAddress, "The address http://h/q is not valid for this endpoint."),
        (
            "http://h/1/2/q",
            ErrorKind::InvalidAddress,
            "The address http://h/1/2/q is not valid for this endpoint.",
        ),
        (
            "http://h/queue/r/1/q/x",
            ErrorKind::InvalidAddress,
            "The address http://h/queue/r/1/q/x is not valid for this endpoint.",
        ),
        ("a/b", ErrorKind::InvalidAddress, "The address a/b is not valid for this endpoint."),
        ("a b", ErrorKind::QueueDoesNotExist, "The specified queue does not exist."),
        ("http://h/1/a%20b", ErrorKind::QueueDoesNotExist, "The specified queue does not exist."),
        ("http://h//q", ErrorKind::QueueDoesNotExist, "The specified queue does not exist."),
        ("http://h/1/.fifo", ErrorKind::QueueDoesNotExist, "The specified queue does not exist."),
    ] {
        let body = format!("{{\"QueueUrl\":\"{url}\"}}");
        let error = read_json("PurgeQueue", &body).expect_err(url);
        assert_eq!((error.kind, error.message.as_ref()), (kind, message), "{url}");
    }
    let long = format!("{{\"QueueName\":\"{}\"}}", "q".repeat(81));
    assert_eq!(
        read_json("GetQueueUrl", &long).map_err(|error| error.kind),
        Err(ErrorKind::QueueDoesNotExist)
    );
}

#[test]
fn a_batch_is_refused_as_a_whole() {
    let entries = |count: usize| -> String {
        let one = |id| {
            format!(
                "{{\"Id\":\"{id}\",\"ReceiptHandle\":\"h\",\"MessageBody\":\"m\",\"VisibilityTimeout\":1}}"
            )
        };
        format!("\"Entries\":[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
    };
    for action in ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
        for members in ["", "\"Entries\":[]", "\"Entries\":null"] {
            let error = refused(action, members);
            assert_eq!(error.kind, ErrorKind::EmptyBatchRequest);
            assert_eq!(
                error.message,
                format!("There should be at least one {action}RequestEntry in the request.")
            );
        }
        let error = refused(action, &entries(20));
        assert_eq!(error.kind, ErrorKind::TooManyEntriesInBatchRequest);
        assert_eq!(error.message, "Maximum number of entries per request are 10. You have sent 20.");
        assert_eq!(refused(action, &entries(11)).kind, ErrorKind::TooManyEntriesInBatchRequest);
        let body = format!("{{\"QueueUrl\":\"q\",{}}}", entries(10));
        assert!(read_json(action, &body).is_ok(), "{action}");
        for id in ["", "invalid:id", "a b", "\u{e4}", &"x".repeat(81)] {
            let entry = format!("\"Entries\":[{{\"Id\":\"{id}\",\"ReceiptHandle\":\"h\"}}]");
            let error = refused(action, &entry);
            assert_eq!(error.kind, ErrorKind::InvalidBatchEntryId);
            assert_eq!(
                error.message,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long."
            );
        }
        let error = refused(action, "\"Entries\":[{\"Id\":\"a\"},{\"Id\":\"b\"},{\"Id\":\"a\"}]");
        assert_eq!(
            (error.kind, error.message.as_ref()),
            (ErrorKind::BatchEntryIdsNotDistinct, "Id a repeated.")
        );
    }
}

#[test]
fn a_batch_is_measured_before_it_is_looked_at() {
    let batch = |first: &str, second: usize| {
        format!(
            "{{\"QueueUrl\":\"q\",\"Entries\":[{{\"Id\":\"1\",\"MessageBody\":\"{first}\"}},{{\"Id\":\"2\",\"MessageBody\":\"x\",\
             \"MessageAttributes\":{{\"k\":{{\"DataType\":\"String\",\"StringValue\":\"{}\"}}}}}}]}}",
            "v".repeat(second)
        )
    };
    // Body, name, type and value count: 1 + 1 + 6 bytes beside the value.
    let limit = limits::BATCH_BYTES_MAX;
    let fits = batch("m", limit - 1 - 8);
    assert!(read_json("SendMessageBatch", &fits).is_ok());
    let error = read_json("SendMessageBatch", &batch("m", limit - 8)).expect_err("a byte more").clone();
    assert_eq!(error.kind, ErrorKind::BatchRequestTooLong);
    assert_eq!(
        error.message,
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
    );
    // An illegal body counts, too.
    let error = read_json("SendMessageBatch", &batch("\\u0000", limit - 8)).expect_err("a byte more").kind;
    assert_eq!(error, ErrorKind::BatchRequestTooLong);
}

#[test]
fn what_only_an_entry_does_wrong_is_its_own_error() {
    let body = "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"1\",\"MessageBody\":\"m\"},{\"Id\":\"2\",\"MessageBody\":\"\\u0000\"},\
                {\"Id\":\"3\"},{\"Id\":\"4\",\"MessageBody\":\"m\",\"DelaySeconds\":901}]}";
    let Ok(Request::SendMessageBatch(batch)) = read_json("SendMessageBatch", body) else { panic!("a batch") };
    let found: Vec<_> = batch
        .entries
        .iter()
        .map(|entry| (entry.id.as_ref(), entry.content.as_ref().map(|_| ()).map_err(|error| error.kind)))
        .collect();
    assert_eq!(
        found,
        [
            ("1", Ok(())),
            ("2", Err(ErrorKind::InvalidMessageContents)),
            ("3", Err(MISSING)),
            ("4", Err(VALUE)),
        ]
    );
    let body = "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"1\"},{\"Id\":\"2\",\"ReceiptHandle\":\"h\",\"VisibilityTimeout\":43201},\
                {\"Id\":\"3\",\"ReceiptHandle\":\"h\",\"VisibilityTimeout\":43200},{\"Id\":\"4\",\"ReceiptHandle\":\"h\"}]}";
    let Ok(Request::ChangeMessageVisibilityBatch(batch)) = read_json("ChangeMessageVisibilityBatch", body)
    else {
        panic!("a batch")
    };
    let found: Vec<_> = batch
        .entries
        .iter()
        .map(|entry| entry.content.as_ref().map_err(|error| error.kind).is_ok())
        .collect();
    assert_eq!(found, [false, false, true, false]);
}

#[test]
fn messages_have_a_size_and_characters() {
    let body = |body: &str| format!("\"MessageBody\":\"{body}\"");
    let largest = limits::MESSAGE_BYTES_MAX as usize;
    let fits = format!("{{\"QueueUrl\":\"q\",{}}}", body(&"x".repeat(largest)));
    assert!(read_json("SendMessage", &fits).is_ok());
    let error = refused("SendMessage", &body(&"x".repeat(largest + 1)));
    assert_eq!(error.kind, VALUE);
    assert_eq!(
        error.message,
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    );
    for legal in [
        "\\t\\n\\r ~",
        "\\u007f\\u0080",
        "\\ud7ff\\ue000\\ufffd",
        "\\ud800\\udc00\\udbff\\udfff",
        "\u{1f600}",
    ] {
        let fits = format!("{{\"QueueUrl\":\"q\",{}}}", body(legal));
        assert!(read_json("SendMessage", &fits).is_ok(), "{legal}");
    }
    for illegal in ["\\u0000", "a\\u0008", "\\u000b", "\\u000c", "\\u000e", "\\u001f", "\\ufffe", "b\\uffff"]
    {
        let error = refused("SendMessage", &body(illegal));
        assert_eq!(error.kind, ErrorKind::InvalidMessageContents, "{illegal}");
        assert_eq!(
            error.message,
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD \
             | #x10000 to #x10FFFF"
        );
    }
    for illegal in ["%00", "%0B", "%EF%BF%BE", "%FF", "%C3", "%ED%A0%80", "\u{1}"] {
        let body = format!("Action=SendMessage&QueueUrl=q&MessageBody={illegal}");
        let error = read(&form(&body)).expect_err(illegal);
        assert_eq!(error.kind, ErrorKind::InvalidMessageContents, "{illegal}");
    }
}

#[test]
fn ids_are_printable_ascii() {
    let all: String = (0x21..=0x7e_u8).map(char::from).collect();
    let quoted = serde_json::to_string(&all).expect("text");
    for (action, name) in [
        ("SendMessage", "MessageGroupId"),
        ("SendMessage", "MessageDeduplicationId"),
        ("ReceiveMessage", "ReceiveRequestAttemptId"),
    ] {
        for value in [&quoted, &format!("\"{}\"", "x".repeat(128))] {
            let body = format!("{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"{name}\":{value}}}");
            assert!(read_json(action, &body).is_ok(), "{name} {value}");
        }
        for value in ["", " ", "a b", "\u{e4}", "a\\n", &"x".repeat(129)] {
            let error = refused(action, &format!("\"MessageBody\":\"m\",\"{name}\":\"{value}\""));
            assert_eq!(error.kind, VALUE);
            assert!(error.message.ends_with(&format!(
                "for parameter {name} is invalid. Reason: {name} can only include alphanumeric and punctuation \
                 characters. 1 to 128 in length."
            )));
        }
    }
}

#[test]
fn names_of_attributes_are_known() {
    check(&[
        (
            "GetQueueAttributes",
            "\"AttributeNames\":[\"DelaySeconds\",\"Foo\"]",
            ErrorKind::InvalidAttributeName,
            "Unknown Attribute Foo.",
        ),
        (
            "GetQueueAttributes",
            "\"AttributeNames\":[\"SenderId\"]",
            ErrorKind::InvalidAttributeName,
            "Unknown Attribute SenderId.",
        ),
        (
            "ReceiveMessage",
            "\"AttributeNames\":[\"All\",\"Foo\"]",
            ErrorKind::InvalidAttributeName,
            "Unknown Attribute Foo.",
        ),
        (
            "ReceiveMessage",
            "\"MessageSystemAttributeNames\":[\"all\"]",
            ErrorKind::InvalidAttributeName,
            "Unknown Attribute all.",
        ),
    ]);
    // The older list is that of queue attributes, so they are no fault; the newer list wins.
    let body = "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\",\"SentTimestamp\"]}";
    let Ok(Request::ReceiveMessage(request)) = read_json("ReceiveMessage", body) else { panic!("a receive") };
    assert_eq!(request.system_attributes, SystemAttributeSet::default().with(SystemAttribute::SentTimestamp));
    let body =
        "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"All\"],\"MessageSystemAttributeNames\":[\"SenderId\"]}";
    let Ok(Request::ReceiveMessage(request)) = read_json("ReceiveMessage", body) else { panic!("a receive") };
    assert_eq!(request.system_attributes, SystemAttributeSet::default().with(SystemAttribute::SenderId));
}

#[test]
fn handles_tokens_and_arns_have_a_form() {
    let long = "x".repeat(1025);
    check(&[
        (
            "CancelMessageMoveTask",
            "\"TaskHandle\":\"foobared\"",
            VALUE,
            "Value for parameter TaskHandle is invalid.",
        ),
        (
            "CancelMessageMoveTask",
            "\"TaskHandle\":\"e30=\"",
            VALUE,
            "Value for parameter TaskHandle is invalid.",
        ),
        (
            "CancelMessageMoveTask",
            &format!("\"TaskHandle\":\"{long}\""),
            VALUE,
            "Value for parameter TaskHandle is invalid.",
        ),
        ("ListQueues", "\"NextToken\":\"invalidtoken\"", VALUE, "Invalid or expired next token."),
        ("ListQueues", "\"NextToken\":\"AP8\"", VALUE, "Invalid or expired next token."),
        ("ListQueues", "\"NextToken\":\"Af8\"", VALUE, "Invalid or expired next token."),
        ("ListQueues", &format!("\"NextToken\":\"{long}\""), VALUE, "Invalid or expired next token."),
        (
            "ListMessageMoveTasks",
            "\"SourceArn\":\"dead\"",
            VALUE,
            "You must use this format to specify the SourceArn: arn:<partition>:<service>:<region>:<account-id>:<resource-id>",
        ),
        (
            "StartMessageMoveTask",
            "\"SourceArn\":\"arn:aws:sqs:r:1:q\",\"DestinationArn\":\"arn:aws:sns:r:1:q\"",
            VALUE,
            "You must use this format to specify the DestinationArn: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>",
        ),
    ]);
    let error = refused("DeleteMessage", &format!("\"ReceiptHandle\":\"{long}\""));
    assert_eq!(error.kind, ErrorKind::ReceiptHandleIsInvalid);
}

#[test]
fn tags_have_keys_and_values() {
    let tags = |tags: &str| refused("TagQueue", &format!("\"Tags\":{{{tags}}}"));
    let (key, value) = ("k".repeat(129), "v".repeat(257));
    for (text, message) in [
        ("\"\":\"v\"".to_owned(), "Tag keys must be between 1 and 128 characters in length."),
        (format!("\"{key}\":\"v\""), "Tag keys must be between 1 and 128 characters in length."),
        (format!("\"k\":\"{value}\""), "Tag values must be between 0 and 256 characters in length."),
        (
            "\"AWS:x\":\"v\"".to_owned(),
            "Value AWS:x for parameter Tag.Key is invalid. Reason: Tag keys must not begin with aws:.",
        ),
    ] {
        let error = tags(&text);
        assert_eq!((error.kind, error.message.as_ref()), (VALUE, message));
    }
    assert_eq!(tags("\"k\\u0000\":\"v\"").kind, VALUE);
    let many: Vec<_> = (0..51).map(|at| format!("\"{at}\":\"\"")).collect();
    assert_eq!(tags(&many.join(",")).message, "Too many tags: 51, at most 50 are allowed.");
    // Characters, not bytes; the same when a queue is created.
    let (key, value) = ("\u{fc}".repeat(128), "\u{1f600}".repeat(256));
    for (action, name) in [("TagQueue", "Tags"), ("CreateQueue", "tags")] {
        let body = format!("{{\"QueueUrl\":\"q\",\"QueueName\":\"q\",\"{name}\":{{\"{key}\":\"{value}\"}}}}");
        assert!(read_json(action, &body).is_ok(), "{action}");
        let body = format!("{{\"QueueUrl\":\"q\",\"QueueName\":\"q\",\"{name}\":{{\"aws:\":\"\"}}}}");
        assert!(read_json(action, &body).is_err(), "{action}");
    }
}

#[test]
fn permissions_are_bounded() {
    let permission = |label: &str, accounts: &str, actions: &str| {
        refused(
            "AddPermission",
            &format!("\"Label\":\"{label}\",\"AWSAccountIds\":[{accounts}],\"Actions\":[{actions}]"),
        )
    };
    let account = "\"111122223333\"";
    let error = permission("a b", account, "\"*\"");
    assert_eq!(error.kind, VALUE);
    assert!(error.message.starts_with("Value a b for parameter Label is invalid. Reason: "));
    assert_eq!(permission(&"l".repeat(81), account, "\"*\"").kind, VALUE);
    let error = permission("l", "\"1\"", "\"*\"");
    assert_eq!(error.message, "Value 1 for parameter PrincipalId is invalid. Reason: Unable to verify.");
    let error = permission("l", account, &["\"SendMessage\""; 8].join(","));
    assert_eq!(
        (error.kind, error.message.as_ref()),
        (ErrorKind::OverLimit, "8 Actions were found, maximum allowed is 7.")
    );
    assert_eq!(permission("l", &[account; 51].join(","), "\"*\"").kind, ErrorKind::OverLimit);
    let error = permission("l", account, "\"FooBar\"");
    assert_eq!(
        error.message,
        "Value SQS:FooBar for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list \
         of valid actions. "
    );
}

#[test]
fn an_unknown_action_is_none() {
    for (action, name) in
        [("AmazonSQS.Foo", "Foo"), ("AmazonSQS.", ""), ("", ""), ("AmazonSNS.Publish", "AmazonSNS.Publish")]
    {
        let error = read_json(action, "{}").expect_err(action);
        assert_eq!(error.kind, ErrorKind::UnknownOperationException);
        assert_eq!(error.message, format!("The action {name} is not valid for this endpoint."));
    }
    let error = read(&Incoming { target: None, ..json("", "{}") }).expect_err("no target");
    assert_eq!(error.kind, ErrorKind::UnknownOperationException);
    let error = read(&form("Action=sendMessage")).expect_err("a lower-case name");
    assert_eq!(error.kind.query_code(), "InvalidAction");
}

/// Sends a message of 8 bytes with these members to a queue with these rules.
fn sent(members: &str, rules: &QueueRules) -> Result<(), Error> {
    let body = format!("{{\"QueueUrl\":\"q\",\"MessageBody\":\"12345678\"{members}}}");
    match read(&json("SendMessage", &body)) {
        Ok(Request::SendMessage(request)) => request.message.check(rules),
        other => panic!("{other:?}"),
    }
}

const NO_IDS: &str = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
const NO_GROUP: &str = "The request must contain the parameter MessageGroupId.";

#[test]
fn a_queue_asks_for_more_of_a_message() {
    let standard = QueueRules::new(QueueKind::Standard);
    let fifo = QueueRules::new(QueueKind::Fifo);
    let by_content = QueueRules { content_based_deduplication: true, ..fifo };
    let (group, id) = (",\"MessageGroupId\":\"g\"", ",\"MessageDeduplicationId\":\"d\"");
    let both = &format!("{group}{id}");
    for (rules, members) in [
        (&standard, ""),
        (&standard, group),
        (&standard, ",\"DelaySeconds\":900"),
        (&fifo, both),
        (&fifo, &format!("{both},\"DelaySeconds\":0")),
        (&by_content, group),
        (&by_content, both),
        (&QueueRules { message_bytes_max: 8, ..standard }, ""),
    ] {
        assert_eq!(sent(members, rules), Ok(()), "{rules:?} {members}");
    }
    for (rules, members, kind, message) in [
        (
            &standard,
            id,
            VALUE,
            "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not \
             valid for this queue type.",
        ),
        (&fifo, "", VALUE, NO_IDS),
        (&fifo, group, VALUE, NO_IDS),
        (&fifo, id, MISSING, NO_GROUP),
        (&by_content, "", MISSING, NO_GROUP),
        (
            &fifo,
            &format!("{both},\"DelaySeconds\":2"),
            VALUE,
            "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for \
             this queue type.",
        ),
        (
            &QueueRules { message_bytes_max: 7, ..standard },
            "",
            VALUE,
            "One or more parameters are invalid. Reason: Message must be shorter than 7 bytes.",
        ),
    ] {
        let error = sent(members, rules).expect_err(members);
        assert_eq!((error.kind, error.message.as_ref()), (kind, message));
    }
}

#[test]
fn a_batch_for_a_fifo_queue_is_refused_as_a_whole_for_want_of_ids() {
    let batch = |members: &'static str| {
        let entries = format!(
            "[{{\"Id\":\"1\",\"MessageBody\":\"a\"{members}}},{{\"Id\":\"2\",\"MessageBody\":\"{}\",\
                               \"MessageGroupId\":\"g\",\"MessageDeduplicationId\":\"d\"}}]",
            "x".repeat(2000)
        );
        format!("{{\"QueueUrl\":\"q\",\"Entries\":{entries}}}")
    };
    let check = |body: &str, rules: &QueueRules| {
        let Ok(Request::SendMessageBatch(mut batch)) = read(&json("SendMessageBatch", body)) else {
            panic!("a batch")
        };
        batch.check(rules).map(|()| {
            let kinds =
                batch.entries.iter().map(|entry| entry.content.as_ref().map_err(|error| error.kind).err());
            kinds.collect::<Vec<_>>()
        })
    };
    let fifo = QueueRules { message_bytes_max: 1024, ..QueueRules::new(QueueKind::Fifo) };
    for (members, message) in [
        ("", NO_IDS),
        (",\"MessageGroupId\":\"g\"", NO_IDS),
        // In a batch, this has the other code.
        (",\"MessageDeduplicationId\":\"d\"", NO_GROUP),
    ] {
        let error = check(&batch(members), &fifo).expect_err(members);
        assert_eq!((error.kind, error.message.as_ref()), (VALUE, message));
    }
    // What else is wrong with a message is its own error.
    let fine = batch(",\"MessageGroupId\":\"g\",\"MessageDeduplicationId\":\"d\"");
    assert_eq!(check(&fine, &fifo), Ok(vec![None, Some(VALUE)]));
    assert_eq!(check(&batch(""), &QueueRules::new(QueueKind::Standard)), Ok(vec![None, Some(VALUE)]));
}

#[test]
fn only_fifo_queues_know_attempts() {
    let body = "{\"QueueUrl\":\"q\",\"ReceiveRequestAttemptId\":\"a\"}";
    let Ok(Request::ReceiveMessage(request)) = read_json("ReceiveMessage", body) else { panic!("a receive") };
    assert_eq!(request.check(QueueKind::Fifo), Ok(()));
    let error = request.check(QueueKind::Standard).expect_err("a standard queue");
    assert_eq!(
        error.message,
        "Value a for parameter ReceiveRequestAttemptId is invalid. Reason: The request include parameter that is not \
         valid for this queue type."
    );
}
