//! Answers and errors to the letter, in both protocols.

use super::*;

/// Each answer in JSON and in XML, a line each. SDKs were seen to read all of them.
const GOLDEN: &str = include_str!("answers.txt");

fn arn(name: &str) -> QueueArn {
    QueueArn { region: "eu-central-1".to_owned(), account: "123456789012".to_owned(), name: name.to_owned() }
}

fn sent(body: &str) -> SentMessage {
    SentMessage {
        id: Uuid(0x219f_8380_5770_41f6_8c3e_5c9f_0e8b_a1d2),
        body_md5: Md5::of(body.as_bytes()),
        attributes_md5: None,
        system_attributes_md5: None,
        sequence_number: None,
    }
}

fn done<T>(id: &'static str, content: T) -> Entry<'static, T> {
    Entry { id: id.into(), content: Ok(content) }
}

fn failed<T>(id: &'static str, error: Error) -> Entry<'static, T> {
    Entry { id: id.into(), content: Err(error) }
}

fn url() -> std::borrow::Cow<'static, str> {
    "http://localhost:9324/123456789012/orders".into()
}

fn received() -> Vec<ReceivedMessage<'static>> {
    let source = arn("orders");
    let facts = MessageFacts {
        sender_id: Some("AKIAIOSFODNN7EXAMPLE"),
        sent_ms: 1_795_741_044_123,
        receive_count: 2,
        first_received_ms: 1_795_741_045_000,
        sequence_number: Some(SequenceNumber::of_offset(7)),
        deduplication_id: Some("d-1"),
        group_id: Some("g-1"),
        trace_header: Some("Root=1"),
        dead_letter_source: Some(&source),
    };
    let body = "grüße & <co>\r\n\"x\" \u{1f600}\t]]>";
    let whole = ReceivedMessage {
        id: Uuid(0x219f_8380_5770_41f6_8c3e_5c9f_0e8b_a1d2),
        receipt_handle: "AQE".into(),
        body: body.into(),
        body_md5: Md5::of(body.as_bytes()),
        attributes: attributes(),
        system_attributes: facts
            .select(SystemAttributeSet::ALL)
            .into_iter()
            .map(|(attribute, value)| (attribute, value.into_owned().into()))
            .collect(),
    };
    let bare = ReceivedMessage {
        id: Uuid(1),
        body: "m".into(),
        body_md5: Md5::of(b"m"),
        attributes: MessageAttributes::default(),
        system_attributes: Vec::new(),
        ..whole.clone()
    };
    vec![whole, bare]
}

fn tasks() -> Vec<MoveTask> {
    let task = MoveTask {
        handle: TaskHandle { task_id: Uuid(5).to_string(), source: arn("dead") },
        status: MoveStatus::Running,
        destination: Some(arn("orders")),
        per_second_max: Some(10),
        moved: 3,
        to_move: 9,
        started_ms: 1_795_741_044_123,
    };
    let failed = MoveTask {
        status: MoveStatus::Failed(ErrorKind::QueueDoesNotExist),
        destination: None,
        per_second_max: None,
        ..task.clone()
    };
    vec![task, failed]
}

/// One answer for each action, and some more.
fn answers() -> Vec<Response<'static>> {
    let full = SentMessage {
        attributes_md5: attributes().md5(),
        system_attributes_md5: Some(Md5([0xab; 16])),
        sequence_number: Some(SequenceNumber::of_offset(0)),
        ..sent("a")
    };
    let page = UrlPage { queue_urls: vec![url(), url()], more_after: Some("orders".into()) };
    vec![
        Response::AddPermission,
        Response::CancelMessageMoveTask { moved: 12 },
        Response::ChangeMessageVisibility,
        Response::ChangeMessageVisibilityBatch(vec![
            done("1", ()),
            failed("2", Error::message_not_in_flight()),
        ]),
        Response::CreateQueue { queue_url: url() },
        Response::DeleteMessage,
        Response::DeleteMessageBatch(vec![done("1", ()), done("2", ())]),
        Response::DeleteMessageBatch(vec![failed("1", Error::internal())]),
        Response::DeleteQueue,
        Response::GetQueueAttributes(vec![
            (QueueAttribute::VisibilityTimeout, "30".into()),
            (QueueAttribute::Policy, "{\"a\": \"<b>\"}".into()),
        ]),
        Response::GetQueueAttributes(Vec::new()),
        Response::GetQueueUrl { queue_url: url() },
        Response::ListDeadLetterSourceQueues(page.clone()),
        Response::ListDeadLetterSourceQueues(UrlPage::default()),
        Response::ListMessageMoveTasks(tasks()),
        Response::ListMessageMoveTasks(Vec::new()),
        Response::ListQueueTags(vec![("a".into(), "b c".into()), ("\"&".into(), "".into())]),
        Response::ListQueueTags(Vec::new()),
        Response::ListQueues(page),
        Response::ListQueues(UrlPage::default()),
        Response::PurgeQueue,
        Response::ReceiveMessage(received()),
        Response::ReceiveMessage(Vec::new()),
        Response::RemovePermission,
        Response::SendMessage(full),
        Response::SendMessage(sent("a")),
        Response::SendMessageBatch(vec![
            done("a", full),
            failed("b", Error::message_too_long(1024)),
            done("c", sent("c")),
        ]),
        Response::SetQueueAttributes,
        Response::StartMessageMoveTask(TaskHandle { task_id: Uuid(5).to_string(), source: arn("dead") }),
        Response::TagQueue,
        Response::UntagQueue,
    ]
}

#[test]
fn answers_are_what_clients_read() {
    let mut golden = GOLDEN.lines().filter(|line| !line.starts_with("### "));
    let answers = answers();
    for response in &answers {
        for encoding in [Encoding::Json, Encoding::Query] {
            let expected = golden.next().unwrap_or_default();
            assert_eq!(answer(encoding, response), expected, "{} {encoding:?}", response.action());
        }
        assert_eq!(answer(Encoding::JsonPlain, response), answer(Encoding::Json, response));
    }
    assert_eq!(golden.next(), None);
    for action in Action::ALL {
        assert!(answers.iter().any(|response| response.action() == *action), "{action} is answered");
    }
}

#[test]
fn forms_can_be_answered_in_json() {
    let metadata = "\"ResponseMetadata\":{\"RequestId\":\"r-1\"}";
    for (response, expected) in [
        (Response::PurgeQueue, format!("{{\"PurgeQueueResponse\":{{{metadata}}}}}")),
        (
            Response::CreateQueue { queue_url: "u".into() },
            format!(
                "{{\"CreateQueueResponse\":{{\"CreateQueueResult\":{{\"QueueUrl\":\"u\"}},{metadata}}}}}"
            ),
        ),
        (
            Response::ReceiveMessage(Vec::new()),
            format!(
                "{{\"ReceiveMessageResponse\":{{\"ReceiveMessageResult\":{{\"messages\":null}},{metadata}}}}}"
            ),
        ),
    ] {
        assert_eq!(answer(Encoding::QueryJson, &response), expected);
        assert_eq!(
            encode_response(Encoding::QueryJson, &response, "r", &mut Vec::new()).content_type,
            "application/json"
        );
    }
    let many = answer(Encoding::QueryJson, &Response::ReceiveMessage(received()));
    assert!(
        many.starts_with(
            "{\"ReceiveMessageResponse\":{\"ReceiveMessageResult\":{\"messages\":[{\"MessageId\":"
        )
    );
    let error = Error::missing_parameter("QueueUrl");
    let (head, body) = failure(Encoding::QueryJson, &error);
    assert_eq!((head.status, head.content_type, head.query_error), (400, "application/json", None));
    assert_eq!(
        body,
        "{\"Error\":{\"Type\":\"Sender\",\"Code\":\"MissingParameter\",\"Message\":\"The request must contain the \
         parameter QueueUrl.\",\"Detail\":null},\"RequestId\":\"r-1\"}"
    );
}

fn failure(encoding: Encoding, error: &Error) -> (Head, String) {
    let mut out = Vec::new();
    let head = encode_error(encoding, error, "r-1", &mut out);
    (head, text(&out).to_owned())
}

#[test]
fn an_error_is_told_in_the_words_of_each_protocol() {
    let error = Error::queue_does_not_exist();
    let (head, body) = failure(Encoding::Json, &error);
    assert_eq!(
        head,
        Head {
            status: 400,
            content_type: "application/x-amz-json-1.0",
            query_error: Some("AWS.SimpleQueueService.NonExistentQueue;Sender"),
        }
    );
    assert_eq!(
        body,
        "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specified queue does not exist.\"}"
    );
    let (head, body) = failure(Encoding::Query, &error);
    assert_eq!(head, Head { status: 400, content_type: "text/xml", query_error: None });
    assert_eq!(
        body,
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>\
         Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist \
         for this wsdl version.</Message><Detail/></Error><RequestId>r-1</RequestId></ErrorResponse>"
    );
    let (head, body) = failure(Encoding::Json, &Error::unavailable());
    assert_eq!((head.status, head.query_error), (503, Some("ServiceUnavailable;Receiver")));
    assert!(body.starts_with("{\"__type\":\"com.amazon.coral.service#ServiceUnavailable\""), "{body}");
}

/// The table of the reference, spelled out a second time: name, namespace, code of the Query protocol, status.
const ERRORS: &[(&str, bool, &str, u16)] = &[
    ("QueueDoesNotExist", true, "AWS.SimpleQueueService.NonExistentQueue", 400),
    ("QueueNameExists", true, "QueueAlreadyExists", 400),
    ("QueueDeletedRecently", true, "AWS.SimpleQueueService.QueueDeletedRecently", 400),
    ("PurgeQueueInProgress", true, "AWS.SimpleQueueService.PurgeQueueInProgress", 403),
    ("OverLimit", true, "OverLimit", 403),
    ("ReceiptHandleIsInvalid", true, "ReceiptHandleIsInvalid", 404),
    ("MessageNotInflight", true, "AWS.SimpleQueueService.MessageNotInflight", 400),
    ("InvalidAttributeName", true, "InvalidAttributeName", 400),
    ("InvalidAttributeValue", true, "InvalidAttributeValue", 400),
    ("InvalidMessageContents", true, "InvalidMessageContents", 400),
    ("InvalidIdFormat", true, "InvalidIdFormat", 400),
    ("EmptyBatchRequest", true, "AWS.SimpleQueueService.EmptyBatchRequest", 400),
    ("BatchRequestTooLong", true, "AWS.SimpleQueueService.BatchRequestTooLong", 400),
    ("InvalidBatchEntryId", true, "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
    ("TooManyEntriesInBatchRequest", true, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400),
    ("BatchEntryIdsNotDistinct", true, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400),
    ("UnsupportedOperation", true, "AWS.SimpleQueueService.UnsupportedOperation", 400),
    ("ResourceNotFoundException", true, "ResourceNotFoundException", 404),
    ("RequestThrottled", true, "RequestThrottled", 403),
    ("InvalidAddress", true, "InvalidAddress", 404),
    ("InvalidSecurity", true, "InvalidSecurity", 403),
    ("InvalidParameterValueException", false, "InvalidParameterValue", 400),
    ("MissingRequiredParameterException", false, "MissingParameter", 400),
    ("SerializationException", false, "SerializationException", 400),
    ("UnknownOperationException", false, "InvalidAction", 400),
    ("RequestEntityTooLarge", false, "RequestEntityTooLarge", 413),
    ("AccessDeniedException", false, "AccessDenied", 403),
    ("IncompleteSignature", false, "IncompleteSignature", 400),
    ("RequestExpired", false, "RequestExpired", 400),
    ("MissingAuthenticationToken", false, "MissingAuthenticationToken", 403),
    ("InvalidClientTokenId", false, "InvalidClientTokenId", 403),
    ("SignatureDoesNotMatch", false, "SignatureDoesNotMatch", 403),
    ("ThrottlingException", false, "ThrottlingException", 400),
    ("InternalFailure", false, "InternalFailure", 500),
    ("ServiceUnavailable", false, "ServiceUnavailable", 503),
];

#[test]
fn every_error_has_its_name_code_and_status() {
    assert_eq!(ErrorKind::ALL.len(), ERRORS.len());
    for (kind, &(name, is_modelled, code, status)) in ErrorKind::ALL.iter().zip(ERRORS) {
        let namespace = if is_modelled { "com.amazonaws.sqs" } else { "com.amazon.coral.service" };
        let fault = if status >= 500 { "Receiver" } else { "Sender" };
        assert_eq!((kind.name(), kind.query_code(), kind.status()), (name, code, status));
        assert_eq!(kind.json_type(), format!("{namespace}#{name}"));
        assert_eq!(kind.query_error(), format!("{code};{fault}"));
        let error = Error::new(*kind, "text");
        for (encoding, expected) in [
            (Encoding::Json, status),
            (Encoding::Query, status),
            (Encoding::QueryJson, status),
            // Who does not know the statuses of the model gets 400 for all faults of its own.
            (Encoding::JsonPlain, if status < 500 { 400 } else { status }),
        ] {
            assert_eq!(failure(encoding, &error).0.status, expected, "{name} {encoding:?}");
        }
    }
}

#[test]
fn what_xml_cannot_hold_does_not_break_it() {
    let error = Error::invalid_value("\u{0}\u{b}\u{fffe}\u{ffff}<&>\"'\t\n\r", "P", "R");
    let (_, body) = failure(Encoding::Query, &error);
    assert!(
        body.contains(
            "<Message>Value \u{fffd}\u{fffd}\u{fffd}\u{fffd}&lt;&amp;&gt;&quot;'\t&#xA;&#xD; for parameter P is invalid."
        ),
        "{body}"
    );
}

#[test]
fn an_error_repeats_only_so_much() {
    let long = "ä".repeat(2000);
    for error in [
        Error::invalid_value(&long, "P", "R"),
        Error::receipt_handle_is_invalid(&long),
        read_json("PurgeQueue", &format!("{{\"QueueUrl\":\"{long}/\"}}")).expect_err("no URL"),
        read_json(&long, "{}").expect_err("no action"),
    ] {
        assert!(error.message.len() < limits::ECHO_BYTES_MAX + 200, "{}", error.message.len());
        assert!(error.message.contains("ää"));
    }
}
