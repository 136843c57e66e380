//! What real clients send, in both protocols.

use super::*;

const BOTO3: &str = include_str!("requests/boto3-1.43.txt");
const BOTO3_QUERY: &str = include_str!("requests/boto3-1.26.txt");
const JS: &str = include_str!("requests/js-3.1174.txt");
const CLI: &str = include_str!("requests/cli-2.9.txt");

fn orders() -> QueueAddress<'static> {
    QueueAddress { region: None, account: Some("123456789012".into()), name: "orders".into() }
}

fn arn(name: &str) -> QueueArn {
    QueueArn { region: "eu-central-1".to_owned(), account: "123456789012".to_owned(), name: name.to_owned() }
}

fn entry<T>(id: &'static str, content: T) -> Entry<'static, T> {
    Entry { id: id.into(), content: Ok(content) }
}

fn message(body: &'static str) -> NewMessage<'static> {
    NewMessage {
        body: body.into(),
        delay_s: None,
        attributes: MessageAttributes::default(),
        trace_header: None,
        system_attributes_md5: None,
        deduplication_id: None,
        group_id: None,
    }
}

fn settings(pairs: &[(&str, &str)], kind: QueueKind) -> Settings {
    Settings::parse(pairs.iter().copied(), kind, Purpose::Create).expect("settings")
}

/// What the clients were asked to do, the same for each.
fn expected(action: Action) -> Request<'static> {
    of_owner(action).unwrap_or_else(|| of_users(action))
}

/// What is asked by who looks after a queue.
fn of_owner(action: Action) -> Option<Request<'static>> {
    let queue = orders();
    Some(match action {
        Action::AddPermission => Request::AddPermission(AddPermission {
            queue,
            label: "l-1".into(),
            accounts: vec!["111122223333".into(), "444455556666".into()],
            actions: vec!["SendMessage".into(), "ReceiveMessage".into()],
        }),
        Action::CancelMessageMoveTask => {
            Request::CancelMessageMoveTask(TaskHandle { task_id: "t-1".to_owned(), source: arn("dead") })
        }
        Action::CreateQueue => Request::CreateQueue(CreateQueue {
            queue: QueueAddress::of_name("orders.fifo".into()),
            settings: settings(
                &[
                    ("FifoQueue", "true"),
                    (
                        "RedrivePolicy",
                        "{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-central-1:123456789012:dead.fifo\",\
                         \"maxReceiveCount\":\"3\"}",
                    ),
                    ("VisibilityTimeout", "60"),
                ],
                QueueKind::Fifo,
            ),
            tags: vec![("team".into(), "a b".into()), ("Ü".into(), "".into())],
        }),
        Action::GetQueueAttributes => {
            Request::GetQueueAttributes(GetQueueAttributes { queue, wanted: QueueAttributeSet::ALL })
        }
        Action::ListMessageMoveTasks => {
            Request::ListMessageMoveTasks(ListMessageMoveTasks { source: arn("dead"), max: 3 })
        }
        Action::ListQueueTags => Request::ListQueueTags(queue),
        Action::RemovePermission => {
            Request::RemovePermission(RemovePermission { queue, label: "l-1".into() })
        }
        Action::SetQueueAttributes => Request::SetQueueAttributes(SetQueueAttributes {
            queue,
            settings: settings(&[("DelaySeconds", "5"), ("Policy", "")], QueueKind::Standard),
        }),
        Action::StartMessageMoveTask => Request::StartMessageMoveTask(StartMessageMoveTask {
            source: arn("dead"),
            destination: Some(arn("orders")),
            per_second_max: Some(100),
        }),
        Action::TagQueue => Request::TagQueue(TagQueue {
            queue,
            tags: vec![("stage".into(), "".into()), ("team".into(), "x y".into())],
        }),
        Action::UntagQueue => {
            Request::UntagQueue(UntagQueue { queue, keys: vec!["team".into(), "stage".into()] })
        }
        _ => return None,
    })
}

/// What is asked by who uses it.
fn of_users(action: Action) -> Request<'static> {
    let queue = orders();
    match action {
        Action::ChangeMessageVisibility => Request::ChangeMessageVisibility(ChangeMessageVisibility {
            queue,
            change: VisibilityChange { receipt_handle: "h1".into(), timeout_s: 0 },
        }),
        Action::ChangeMessageVisibilityBatch => {
            let change = VisibilityChange { receipt_handle: "h1".into(), timeout_s: 9 };
            let entries = vec![entry("1", change)];
            Request::ChangeMessageVisibilityBatch(ChangeMessageVisibilityBatch { queue, entries })
        }
        Action::DeleteMessage => {
            Request::DeleteMessage(DeleteMessage { queue, receipt_handle: "AQE+/=".into() })
        }
        Action::DeleteMessageBatch => Request::DeleteMessageBatch(DeleteMessageBatch {
            queue,
            entries: vec![entry("1", "h1".into()), entry("2", "h2".into())],
        }),
        Action::DeleteQueue => Request::DeleteQueue(queue),
        Action::GetQueueUrl => Request::GetQueueUrl(queue),
        Action::ListDeadLetterSourceQueues => {
            let page = Page { after: None, max: Some(10) };
            Request::ListDeadLetterSourceQueues(ListDeadLetterSourceQueues { queue, page })
        }
        Action::ListQueues => Request::ListQueues(ListQueues {
            name_prefix: "or".into(),
            page: Page { after: Some("a".to_owned()), max: Some(5) },
        }),
        Action::PurgeQueue => Request::PurgeQueue(queue),
        Action::ReceiveMessage => Request::ReceiveMessage(ReceiveMessage {
            queue,
            max: 10,
            visibility_timeout_s: Some(33),
            wait_s: Some(20),
            system_attributes: SystemAttributeSet::default().with(SystemAttribute::SenderId),
            attributes: AttributeFilter::new(vec!["All".into(), "x.*".into()]),
            attempt_id: Some("try-1".into()),
        }),
        Action::SendMessage => Request::SendMessage(SendMessage { queue, message: full_message() }),
        Action::SendMessageBatch => {
            let second = NewMessage {
                delay_s: Some(7),
                attributes: MessageAttributes::new(vec![text_attribute("k", "String", "v")]),
                ..message("two")
            };
            let entries = vec![entry("a", message("one")), entry("b", second)];
            Request::SendMessageBatch(SendMessageBatch { queue, entries })
        }
        other => panic!("{other} is asked by nobody"),
    }
}

fn full_message() -> NewMessage<'static> {
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let system = MessageAttributes::new(vec![text_attribute("AWSTraceHeader", "String", trace)]);
    NewMessage {
        delay_s: Some(0),
        attributes: attributes(),
        trace_header: Some(trace.into()),
        system_attributes_md5: system.md5(),
        deduplication_id: Some("d-1".into()),
        group_id: Some("g-1".into()),
        ..message("grüße & <co>\r\n\"x\" \u{1f600}\t%+=")
    }
}

#[test]
fn every_action_of_every_client_is_understood_alike() {
    for (client, file, encoding) in [
        ("boto3", BOTO3, Encoding::Json),
        ("JavaScript", JS, Encoding::Json),
        ("older boto3", BOTO3_QUERY, Encoding::Query),
    ] {
        let requests = captured(file);
        // A last one may be presigned; that is another test.
        let (plain, presigned) = requests.split_at(23);
        assert!(presigned.len() <= 1, "{client}");
        for request in plain {
            let action = Action::from_name(request.title).expect("an action");
            let incoming = request.incoming();
            assert_eq!(Encoding::of(&incoming), Ok(encoding), "{client} {action}");
            assert_eq!(decode(&incoming, encoding), Ok(expected(action)), "{client} {action}");
        }
        let mut actions: Vec<_> = plain.iter().map(|request| request.title).collect();
        actions.sort_unstable();
        let all: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(actions, all, "{client}");
    }
}

#[test]
fn the_command_line_of_debian_is_understood() {
    let requests = captured(CLI);
    let read: Vec<_> =
        requests.iter().map(|request| read(&request.incoming()).expect(request.title)).collect();
    let queue = orders();
    let Request::SendMessage(sent) = &read[1] else { panic!("{:?}", read[1]) };
    assert_eq!((sent.message.body.as_ref(), sent.message.attributes.iter().len()), ("grüße & <co> +%", 1));
    assert_eq!(
        read[2],
        Request::ReceiveMessage(ReceiveMessage {
            queue: queue.clone(),
            max: 1,
            visibility_timeout_s: None,
            wait_s: Some(3),
            system_attributes: SystemAttributeSet::ALL,
            attributes: AttributeFilter::new(vec!["All".into()]),
            attempt_id: None,
        })
    );
    let two = NewMessage { delay_s: Some(7), ..message("two") };
    let entries = vec![entry("a", message("one")), entry("b", two)];
    assert_eq!(read[3], Request::SendMessageBatch(SendMessageBatch { queue, entries }));
    assert_eq!(read[6], Request::ListQueues(ListQueues { name_prefix: "".into(), page: Page::default() }));
}

#[test]
fn a_presigned_url_is_a_request_of_the_query_protocol() {
    let requests = captured(BOTO3_QUERY);
    let presigned = requests.last().expect("the last is presigned");
    assert_eq!(presigned.method, "GET");
    assert_eq!(
        read(&presigned.incoming()),
        Ok(Request::SendMessage(SendMessage { queue: orders(), message: message("a b+c~ü") }))
    );
}

#[test]
fn the_protocol_is_told_by_the_request() {
    let json = json("AmazonSQS.ListQueues", "{}");
    let form = form("Action=ListQueues");
    let unsaid = Incoming { content_type: None, body: b"Action=ListQueues", ..Incoming::default() };
    for (incoming, expected) in [
        (json, Ok(Encoding::Json)),
        (Incoming { query_mode: None, ..json }, Ok(Encoding::JsonPlain)),
        (
            Incoming { content_type: Some("Application/X-Amz-Json-1.0 ; charset=utf-8"), ..json },
            Ok(Encoding::Json),
        ),
        // Whatever stands in the path or the query string.
        (Incoming { path: "/1/q", query: "Action=ListQueues", ..json }, Ok(Encoding::Json)),
        (Incoming { content_type: Some("application/json"), ..json }, Err(Unroutable)),
        (form, Ok(Encoding::Query)),
        (Incoming { accept: Some("application/json"), ..form }, Ok(Encoding::QueryJson)),
        (Incoming { accept: Some("application/json;q=0.9, text/xml"), ..form }, Ok(Encoding::QueryJson)),
        (Incoming { accept: Some("*/*, application/json"), ..form }, Ok(Encoding::Query)),
        (unsaid, Ok(Encoding::Query)),
        (Incoming { query: "x&Action=ListQueues", body: b"", ..form }, Ok(Encoding::Query)),
        (
            Incoming { query: "Action=ListQueues", content_type: Some("text/plain"), ..form },
            Ok(Encoding::Query),
        ),
        (Incoming { content_type: Some("text/plain"), ..form }, Err(Unroutable)),
        (Incoming { body: b"Version=2012-11-05", ..form }, Err(Unroutable)),
        (Incoming::default(), Err(Unroutable)),
    ] {
        assert_eq!(Encoding::of(&incoming), expected, "{incoming:?}");
        // Whose body is not read is answered in the same protocol.
        let unread = Encoding::of_head(&Incoming { body: b"", ..incoming });
        assert_eq!(unread.is_json(), expected.is_ok_and(Encoding::is_json), "{incoming:?}");
    }
    assert_eq!((Page::default().limit(), Page { after: None, max: Some(3) }.limit()), (1000, 3));
}

#[test]
fn the_url_of_a_queue_stands_in_for_the_parameter() {
    let queue = QueueAddress { account: Some("1".into()), ..QueueAddress::of_name("q".into()) };
    fn at_queue(incoming: Incoming<'_>) -> Incoming<'_> {
        Incoming { path: "/1/q", ..incoming }
    }
    for incoming in [at_queue(json("AmazonSQS.PurgeQueue", "{}")), at_queue(form("Action=PurgeQueue"))] {
        assert_eq!(read(&incoming), Ok(Request::PurgeQueue(queue.clone())));
    }
    // PHP posts JSON there and names the queue, too.
    for incoming in [
        at_queue(json("AmazonSQS.PurgeQueue", "{\"QueueUrl\":\"http://h/2/other\"}")),
        at_queue(form("Action=PurgeQueue&QueueUrl=http%3A%2F%2Fh%2F2%2Fother")),
    ] {
        let Ok(Request::PurgeQueue(found)) = read(&incoming) else { panic!("{incoming:?}") };
        assert_eq!((found.account.as_deref(), found.name.as_ref()), (Some("2"), "other"));
    }
    // The host says the region there as it does in a URL.
    let incoming =
        Incoming { host: "sqs.eu-west-3.amazonaws.com", ..at_queue(json("AmazonSQS.PurgeQueue", "{}")) };
    let Ok(Request::PurgeQueue(found)) = read(&incoming) else { panic!("a purge") };
    assert_eq!(found.region.as_deref(), Some("eu-west-3"));
    for action in ["CreateQueue", "ListQueues"] {
        let body = format!("Action={action}&QueueName=q");
        let error = read(&at_queue(form(&body))).expect_err("a queue's URL");
        assert_eq!(error.kind, ErrorKind::UnknownOperationException);
        assert_eq!(error.message, format!("The action {action} is not valid for this endpoint."));
    }
}

#[test]
fn forms_are_read_by_number_and_the_last_one_counts() {
    let read = |body: &'static str| read(&form(body)).expect(body);
    let tags = |body| match read(body) {
        Request::TagQueue(request) => request.tags,
        other => panic!("{other:?}"),
    };
    let keys = |body| match read(body) {
        Request::UntagQueue(request) => request.keys,
        other => panic!("{other:?}"),
    };
    // Order is by number, gaps mean nothing, unknown names neither.
    assert_eq!(
        keys("TagKey.30=c&Action=UntagQueue&TagKey.2=b&QueueUrl=q&TagKey.1=a&Foo.Bar=1&&=&x&TagKey.y=z"),
        ["a", "b", "c"]
    );
    // A plus is a space, and so is %20; what is no escape stays.
    assert_eq!(keys("Action=UntagQueue&QueueUrl=q&TagKey.1=a+b%20c%2Bd%zz%"), ["a b c+d%zz%"]);
    // One that is no list.
    assert_eq!(keys("Action=UntagQueue&QueueUrl=q&TagKey=a"), ["a"]);
    // Names may be encoded, too; the last of equal ones counts; a value may be missing.
    assert_eq!(
        tags("Action=TagQueue&QueueUrl=q&Tag.1%2EKey=a&Tag.1.Value=1&Tag.1.Value=2&Tag.2.Key=b"),
        [("a".into(), "2".into()), ("b".into(), "".into())]
    );
    // A form is behind the query string.
    let incoming = Incoming { query: "QueueUrl=q&Action=PurgeQueue", ..form("QueueUrl=p") };
    assert_eq!(super::read(&incoming), Ok(Request::PurgeQueue(QueueAddress::of_name("p".into()))));
    // Names that contradict each other.
    assert_eq!(
        keys("Action=UntagQueue&QueueUrl=q&TagKey.1=a&TagKey.2=b&TagKey.2.Name=c&TagKey.2=d"),
        ["a", "d"]
    );
}

#[test]
fn json_takes_null_for_missing_and_numbers_for_texts() {
    let body = "{\"QueueUrl\":\"q\",\"MessageBody\":1,\"MessageGroupId\":null,\"DelaySeconds\":null,\"MessageAttributes\":\
                null,\"Unknown\":{\"x\":[1,{}]},\"MessageDeduplicationId\":true}";
    let Ok(Request::SendMessage(request)) = read_json("SendMessage", body) else { panic!("a message") };
    assert_eq!(request.message, NewMessage { deduplication_id: Some("true".into()), ..message("1") });
    // The prefix of the target is not asked for, white space is none, of equal members the last counts.
    let body = " {\"QueueUrl\":\"a\", \"QueueUrl\":\"b\"}\n";
    for action in ["PurgeQueue", "AmazonSQS.PurgeQueue"] {
        assert_eq!(read_json(action, body), Ok(Request::PurgeQueue(QueueAddress::of_name("b".into()))));
    }
    assert!(matches!(read_json("ListQueues", ""), Ok(Request::ListQueues(_))));
}

#[test]
fn the_trace_header_comes_from_the_attribute_or_the_field() {
    let send = json("SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"m\"}");
    let batch =
        json("SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"1\",\"MessageBody\":\"m\"}]}");
    let traced = |incoming| Incoming { trace_header: Some("Root=1"), ..incoming };
    let Ok(Request::SendMessage(one)) = read(&traced(send)) else { panic!("a message") };
    let Ok(Request::SendMessageBatch(many)) = read(&traced(batch)) else { panic!("a batch") };
    let expected = NewMessage { trace_header: Some("Root=1".into()), ..message("m") };
    assert_eq!((&one.message, &many.entries[0].content), (&expected, &Ok(expected.clone())));
    // The attribute wins, and only it has a digest.
    let body = "{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageSystemAttributes\":{\"AWSTraceHeader\":{\"DataType\":\
                \"String\",\"StringValue\":\"some-trace-id\"}}}";
    let Ok(Request::SendMessage(one)) = read(&traced(json("SendMessage", body))) else { panic!("a message") };
    assert_eq!(one.message.trace_header.as_deref(), Some("some-trace-id"));
    let md5 = one.message.system_attributes_md5.expect("a digest").to_string();
    assert_eq!(md5, "fdce4f2818803f2f73becc09a54792c0");
    // A field nobody could store is left out.
    let long = "x".repeat(1025);
    for bad in ["", &long, "\u{1}"] {
        let incoming = Incoming { trace_header: Some(bad), ..send };
        let Ok(Request::SendMessage(one)) = read(&incoming) else { panic!("a message") };
        assert_eq!(one.message.trace_header, None);
    }
}

#[test]
fn requests_borrow_what_they_can() {
    let body = "{\"QueueUrl\":\"http://h/1/q\",\"MessageBody\":\"plain\"}";
    let Ok(Request::SendMessage(request)) = read_json("SendMessage", body) else { panic!("a message") };
    assert!(matches!(request.message.body, std::borrow::Cow::Borrowed("plain")));
    assert!(matches!(request.queue.name, std::borrow::Cow::Borrowed("q")));
    let form = form("Action=SendMessage&QueueUrl=q&MessageBody=plain");
    let Ok(Request::SendMessage(request)) = read(&form) else { panic!("a message") };
    assert!(matches!(request.message.body, std::borrow::Cow::Borrowed("plain")));
}
