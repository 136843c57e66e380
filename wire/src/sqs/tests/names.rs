//! URLs, ARNs, templates and handles.

use super::*;

#[test]
fn a_queue_is_found_by_every_form_of_its_url() {
    let parts = |url: &'static str| {
        let address = QueueAddress::parse(url.into()).expect(url);
        let part = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
        format!("{} {} {}", part(&address.region), part(&address.account), address.name)
    };
    for (url, expected) in [
        ("https://sqs.us-east-2.amazonaws.com/123456789012/q", "us-east-2 123456789012 q"),
        ("https://sqs.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1 1 q"),
        ("https://sqs.eusc-de-east-1.amazonaws.eu/1/q", "eusc-de-east-1 1 q"),
        ("http://sqs.eu-central-1.localhost.localstack.cloud:4566/1/q.fifo", "eu-central-1 1 q.fifo"),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1 1 q"),
        ("https://queue.amazonaws.com/1/q", "us-east-1 1 q"),
        ("http://localhost:9324/queue/eu-central-1/1/q", "eu-central-1 1 q"),
        ("http://localhost:9324/queue/local/1/q", "local 1 q"),
        ("http://localhost:9324/000000000000/q", "- 000000000000 q"),
        ("http://localhost:9324/000000000000/q/", "- 000000000000 q"),
        ("http://localhost:9324/queue/q", "- - q"),
        // Hosts of one's own say nothing.
        ("https://sqs.example.com/1/q", "- 1 q"),
        ("https://sqs.prod.example.com/1/q", "- 1 q"),
        ("https://queue.example.com/1/q", "- 1 q"),
        ("https://sqs.us-east-1/1/q", "- 1 q"),
        ("http://[::1]:9324/1/q", "- 1 q"),
        ("/1/q", "- 1 q"),
        ("my-queue", "- - my-queue"),
        ("A_-9.fifo", "- - A_-9.fifo"),
    ] {
        assert_eq!(parts(url), expected, "{url}");
    }
    // Decoded from a form, it is owned and the same.
    let owned = QueueAddress::parse(std::borrow::Cow::Owned("http://h/queue/r/1/q".to_owned()));
    assert_eq!(owned, QueueAddress::parse("http://h/queue/r/1/q".into()));
}

#[test]
fn names_have_80_characters_at_most() {
    for (name, is_name) in [
        ("q", true),
        (&"q".repeat(80), true),
        (&"q".repeat(81), false),
        (&format!("{}.fifo", "q".repeat(75)), true),
        (&format!("{}.fifo", "q".repeat(76)), false),
        ("", false),
        (".fifo", false),
        ("a.b", false),
        ("a.fifo.fifo", false),
        ("a.FIFO", false),
        ("a/b", false),
        ("\u{e4}", false),
    ] {
        assert_eq!(is_queue_name(name), is_name, "{name}");
    }
    assert_eq!((QueueKind::of("a"), QueueKind::of("a.fifo")), (QueueKind::Standard, QueueKind::Fifo));
}

#[test]
fn what_a_url_leaves_out_comes_from_the_request() {
    let resolve = |url: &'static str, region, account| {
        QueueAddress::parse(url.into()).expect(url).resolve(region, account).to_string()
    };
    assert_eq!(resolve("q", None, None), "arn:aws:sqs:us-east-1:000000000000:q");
    assert_eq!(resolve("q", Some("local"), Some("1")), "arn:aws:sqs:local:1:q");
    assert_eq!(resolve("http://h/queue/r/2/q", Some("local"), Some("1")), "arn:aws:sqs:r:2:q");
}

#[test]
fn arns_name_a_queue() {
    let arn = QueueArn { region: "eu-1".to_owned(), account: "1".to_owned(), name: "q.fifo".to_owned() };
    assert_eq!(QueueArn::parse("arn:aws:sqs:eu-1:1:q.fifo"), Some(arn.clone()));
    assert_eq!(QueueArn::parse("arn:aws-cn:sqs:eu-1:1:q.fifo"), Some(arn.clone()));
    assert_eq!(arn.kind(), QueueKind::Fifo);
    for text in [
        "",
        "q",
        "arn:aws:sqs:r:1",
        "arn:aws:sqs:r:1:",
        "arn:aws:sqs::1:q",
        "arn:aws:sqs:r::q",
        "arn:aws:sns:r:1:q",
        "arn:gcp:sqs:r:1:q",
        "arn:aws:sqs:r:1:q:x",
        "arn:aws:sqs:r:1:a b",
        "urn:aws:sqs:r:1:q",
    ] {
        assert_eq!(QueueArn::parse(text), None, "{text}");
    }
}

#[test]
fn urls_follow_the_template_and_lead_back() {
    let arn = QueueArn { region: "eu-1".to_owned(), account: "1".to_owned(), name: "q.fifo".to_owned() };
    let origin = Origin { scheme: "https", host: "example.org:9324" };
    for (template, url) in [
        (UrlTemplate::DEFAULT, "https://example.org:9324/1/q.fifo"),
        ("http://queues.internal/{account}/{queue}", "http://queues.internal/1/q.fifo"),
        (
            "{scheme}://{host}/queue/{region}/{account}/{queue}",
            "https://example.org:9324/queue/eu-1/1/q.fifo",
        ),
        ("https://sqs.{region}.example.org/{account}/{queue}", "https://sqs.eu-1.example.org/1/q.fifo"),
    ] {
        let printed = UrlTemplate::parse(template).expect(template).print(origin, &arn);
        assert_eq!(printed, url);
        let back = QueueAddress::parse(printed.into()).expect(url).resolve(Some("eu-1"), None);
        assert_eq!(back, arn, "{url}");
    }
    assert_eq!(UrlTemplate::default(), UrlTemplate::parse(UrlTemplate::DEFAULT).expect("the default"));
    for (template, error) in [
        ("", TemplateError::Scheme),
        ("{host}/{account}/{queue}", TemplateError::Scheme),
        ("ftp://h/{account}/{queue}", TemplateError::Scheme),
        ("http://h", TemplateError::End),
        ("http://h/{queue}/{account}", TemplateError::End),
        ("http:///{account}/{queue}", TemplateError::Path),
        ("http://h/x/{account}/{queue}", TemplateError::Path),
        ("http://h?/{account}/{queue}", TemplateError::Path),
        ("http://u@h/{account}/{queue}", TemplateError::Path),
        ("http://{hosts}/{account}/{queue}", TemplateError::Placeholder),
        ("http://h{/{account}/{queue}", TemplateError::Placeholder),
        ("http://{queue}/{account}/{queue}", TemplateError::Placeholder),
    ] {
        assert_eq!(UrlTemplate::parse(template), Err(error), "{template}");
    }
}

const RECEIPT: Receipt = Receipt { partition: 63, incarnation: 1 << 40, offset: u64::MAX, receive: 3 };

#[test]
fn a_receipt_handle_is_opened_by_its_key_alone() {
    let key = ReceiptKey::new(&[7; 32]);
    let handle = key.seal(&RECEIPT);
    assert_eq!(handle.len(), 58);
    assert!(handle.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert_eq!(key.open(&handle), Ok(RECEIPT));
    let kind = |key: &ReceiptKey, handle: &str| key.open(handle).map_err(|error| error.kind);
    assert_eq!(kind(&ReceiptKey::new(&[8; 32]), &handle), Err(ErrorKind::ReceiptHandleIsInvalid));
    for garbage in
        ["", "garbage", "?", &handle[1..], &format!("{handle}A"), &"A".repeat(58), &"A".repeat(2000)]
    {
        assert_eq!(kind(&key, garbage), Err(ErrorKind::ReceiptHandleIsInvalid), "{garbage}");
    }
    let error = key.open("garbage").expect_err("garbage");
    assert_eq!(error.message, "The input receipt handle \"garbage\" is not a valid receipt handle.");
    // Any other character at any place.
    for at in 0..handle.len() {
        let mut other = handle.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        assert!(key.open(&other).is_err(), "{at}");
    }
}

#[test]
fn receipts_of_the_same_message_differ() {
    let key = ReceiptKey::new(&[7; 32]);
    let others = [
        Receipt { partition: 62, ..RECEIPT },
        Receipt { incarnation: 1, ..RECEIPT },
        Receipt { offset: 0, ..RECEIPT },
        Receipt { receive: 4, ..RECEIPT },
    ];
    for other in others {
        assert_ne!(key.seal(&other), key.seal(&RECEIPT));
        assert_eq!(key.open(&key.seal(&other)), Ok(other));
    }
}

#[test]
fn the_handle_of_a_task_is_readable() {
    let source = QueueArn { region: "eu-1".to_owned(), account: "1".to_owned(), name: "dead".to_owned() };
    let handle = TaskHandle { task_id: Uuid(1).to_string(), source };
    let text = handle.to_string();
    assert_eq!(TaskHandle::parse(&text), Ok(handle));
    use base64::Engine as _;
    let json = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    assert_eq!(
        super::text(&json),
        "{\"taskId\":\"00000000-0000-0000-0000-000000000001\",\"sourceArn\":\"arn:aws:sqs:eu-1:1:dead\"}"
    );
}
