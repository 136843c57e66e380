//! Signatures of real clients, and every way one is refused.

use super::*;

const FILES: [&str; 5] = [
    include_str!("requests/boto3-1.43.txt"),
    include_str!("requests/boto3-1.26.txt"),
    include_str!("requests/js-3.1174.txt"),
    include_str!("requests/cli-2.9.txt"),
    include_str!("requests/signed.txt"),
];

/// Noon of the day everything was recorded on, and a skew that makes the time of day mean nothing.
const THAT_DAY: Clock = Clock { now_s: 1_795_780_800, skew_s_max: 86_400 };

/// The time a recorded request was signed at.
fn clock_of(request: &Captured) -> Clock {
    let of_query = || request.query.split_once("X-Amz-Date=").map(|(_, rest)| &rest[..16]);
    match request.field("x-amz-date").or_else(of_query) {
        Some(time) => Clock { now_s: date_of(time), skew_s_max: 0 },
        None => THAT_DAY,
    }
}

fn signed_post() -> Captured {
    let js = captured(include_str!("requests/js-3.1174.txt"));
    let mut post = js.into_iter().find(|request| request.title == "SendMessage").expect("a message");
    // Its time is that of the recording.
    let time = post.field("x-amz-date").expect("a date");
    assert_eq!(time.len(), 16);
    post.title = time;
    post
}

fn found<'a>(request: &SignedRequest<'a>) -> Signature<'a> {
    Signature::find(request).expect("a whole signature").expect("a signature")
}

#[test]
fn requests_of_real_clients_are_signed_by_their_key() {
    let mut count = 0;
    for request in FILES.iter().flat_map(|file| captured(file)) {
        let signed = request.signed();
        let signature = found(&signed);
        assert_eq!(signature.access_key_id, "AKIAIOSFODNN7EXAMPLE");
        assert!(["eu-central-1", "local-1"].contains(&signature.region.as_ref()), "{}", signature.region);
        assert_eq!(signature.verify(&signed, SECRET, clock_of(&request)), Ok(()), "{}", request.title);
        count += 1;
    }
    assert_eq!(count, 24 + 23 + 23 + 7 + 6);
}

#[test]
fn what_a_client_signs_is_what_the_server_finds() {
    let signer = Signer { access_key_id: "KEY".into(), secret: "secret".into(), region: "local-1".into() };
    let fields: Vec<(&str, &[u8])> =
        vec![("Host", b"localhost:9000"), ("X-Amz-Target", b"AmazonSQS.ListQueues"), ("a", b" two  words ")];
    let request = SignedRequest { method: "POST", path: "/a b/", query: "", fields: &fields, body: b"{}" };
    let signed = signer.sign(&request, THAT_DAY.now_s);
    let mut sent = fields.clone();
    sent.push(("x-amz-date", signed.time.as_bytes()));
    sent.push(("authorization", signed.authorization.as_bytes()));
    let received = SignedRequest { fields: &sent, ..request };
    let signature = found(&received);
    assert_eq!((signature.access_key_id.as_ref(), signature.region.as_ref()), ("KEY", "local-1"));
    let clock = Clock { now_s: THAT_DAY.now_s, skew_s_max: 0 };
    assert_eq!(signature.verify(&received, "secret", clock), Ok(()));
    assert!(signature.verify(&received, "Secret", clock).is_err());
    assert!(signature.verify(&SignedRequest { body: b"[]", ..received }, "secret", clock).is_err());
    assert!(!format!("{signer:?}").contains("secret"), "{signer:?}");
}

#[test]
fn any_change_of_what_is_signed_is_found() {
    for request in FILES.iter().flat_map(|file| captured(file)) {
        let signed = request.signed();
        let clock = clock_of(&request);
        let is_presigned = request.query.contains("X-Amz-Signature");
        let other_host: Vec<(&str, &[u8])> = replaced(&request.fields, "host", b"other");
        let other_target = replaced(&request.fields, "x-amz-target", b"AmazonSQS.Other");
        let longer_query = format!("{}&x=y", request.query);
        let changes = [
            SignedRequest { method: "PUT", ..signed },
            SignedRequest { path: "/other", ..signed },
            SignedRequest { query: &longer_query, ..signed },
            SignedRequest { body: b"other", ..signed },
            SignedRequest { fields: &other_host, ..signed },
            SignedRequest { fields: &other_target, ..signed },
        ];
        for (at, changed) in changes.iter().enumerate() {
            let is_same = at == 5 && request.field("x-amz-target").is_none();
            let result = found(changed).verify(changed, SECRET, clock);
            let kind = result.map_err(|error| error.kind);
            let expected = if is_same { Ok(()) } else { Err(ErrorKind::SignatureDoesNotMatch) };
            assert_eq!(kind, expected, "{} change {at} presigned {is_presigned}", request.title);
        }
        let result = found(&signed).verify(&signed, "another secret", clock);
        assert_eq!(result.map_err(|error| error.kind), Err(ErrorKind::SignatureDoesNotMatch));
    }
}

fn replaced<'a>(fields: &[(&'a str, &'a [u8])], name: &str, value: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
    let replace = |&(known, old): &(&'a str, &'a [u8])| {
        (known, if known.eq_ignore_ascii_case(name) { value } else { old })
    };
    fields.iter().map(replace).collect()
}

#[test]
fn the_clocks_may_differ_by_the_skew() {
    let post = signed_post();
    let signed = post.signed();
    let signature = found(&signed);
    let at = date_of(post.title);
    let verify = |now_s| signature.verify(&signed, SECRET, Clock { now_s, skew_s_max: 900 });
    for now_s in [at, at - 900, at + 900] {
        assert_eq!(verify(now_s), Ok(()));
    }
    let error = verify(at + 901).expect_err("too late");
    assert_eq!(error.kind, ErrorKind::SignatureDoesNotMatch);
    assert!(
        error.message.starts_with(&format!("Signature expired: {} is now earlier than 2026", post.title))
    );
    assert!(error.message.ends_with(" - 15 min.)"), "{}", error.message);
    let error = verify(at - 901).expect_err("too early");
    assert_eq!(error.kind, ErrorKind::SignatureDoesNotMatch);
    assert!(error.message.starts_with(&format!("Signature not yet current: {} is still later", post.title)));
    assert!(error.message.ends_with(" + 15 min.)"), "{}", error.message);
    // Ends of time.
    for now_s in [0, u64::MAX] {
        assert!(verify(now_s).is_err());
    }
}

/// Seconds of a time of this test's day, or of the days around it.
fn date_of(text: &str) -> u64 {
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().expect("a number");
    assert_eq!(&text[..8], "20261127");
    1_795_737_600 + number(9, 11) * 3600 + number(11, 13) * 60 + number(13, 15)
}

#[test]
fn a_presigned_url_ends_when_it_says() {
    let requests = captured(include_str!("requests/signed.txt"));
    let request = requests.iter().find(|request| request.title == "presigned-get").expect("it is there");
    let signed = request.signed();
    let signature = found(&signed);
    let (_, rest) = request.query.split_once("X-Amz-Date=").expect("a date");
    let at = date_of(&rest[..16]);
    let kind = |now_s| {
        let result = signature.verify(&signed, SECRET, Clock { now_s, skew_s_max: 900 });
        result.map_err(|error| error.kind)
    };
    for now_s in [at - 900, at, at + 600] {
        assert_eq!(kind(now_s), Ok(()));
    }
    assert_eq!(kind(at + 601), Err(ErrorKind::RequestExpired));
    assert_eq!(kind(at - 901), Err(ErrorKind::SignatureDoesNotMatch));
}

/// Finds and verifies the signature of a request with these fields beside `host`.
fn verified(fields: &[(&str, &[u8])], query: &str) -> Result<(), Error> {
    let mut all: Vec<(&str, &[u8])> = vec![("Host", b"localhost")];
    all.extend_from_slice(fields);
    let request = SignedRequest { method: "POST", path: "/", query, fields: &all, body: b"" };
    match Signature::find(&request)? {
        Some(signature) => signature.verify(&request, SECRET, THAT_DAY),
        None => Err(Error::unsigned()),
    }
}

#[test]
fn what_is_missing_is_named() {
    let header = |authorization: &'static str| {
        verified(&[("x-amz-date", b"20261127T000000Z"), ("authorization", authorization.as_bytes())], "")
            .expect_err(authorization)
    };
    let incomplete = [
        ("", "Only the algorithm AWS4-HMAC-SHA256 is supported."),
        ("Basic YTpi", "Only the algorithm AWS4-HMAC-SHA256 is supported."),
        (
            "AWS4-HMAC-SHA256Credential=a/20261127/r/sqs/aws4_request",
            "Only the algorithm AWS4-HMAC-SHA256 is supported.",
        ),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "Only the algorithm AWS4-HMAC-SHA256 is supported."),
        ("AWS4-HMAC-SHA256 ", "Authorization header requires 'SignedHeaders' parameter."),
        ("AWS4-HMAC-SHA256 SignedHeaders=host", "Authorization header requires 'Signature' parameter."),
        (
            "AWS4-HMAC-SHA256 SignedHeaders=host,Signature=0",
            "Authorization header requires 'Credential' parameter.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127/sqs/aws4_request,SignedHeaders=host,Signature=0",
            "Credential must have exactly 5 slash-delimited elements.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=/20261127/r/sqs/aws4_request,SignedHeaders=host,Signature=0",
            "Credential must name an access key and a region.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127//sqs/aws4_request,SignedHeaders=host,Signature=0",
            "Credential must name an access key and a region.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127/r/sqs/aws4_request,SignedHeaders=x-amz-date,Signature=0",
            "'host' must be a 'SignedHeader' in the request.",
        ),
    ];
    for (authorization, message) in incomplete {
        let error = header(authorization);
        assert_eq!((error.kind, error.message.as_ref()), (ErrorKind::IncompleteSignature, message));
    }
    let mismatched = [
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127/r/s3/aws4_request,SignedHeaders=host,Signature=0",
            "Credential should be scoped to correct service: 'sqs'.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127/r/sqs/aws4,SignedHeaders=host,Signature=0",
            "Credential should be scoped with a valid terminator: 'aws4_request'.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261126/r/sqs/aws4_request,SignedHeaders=host,Signature=0",
            "Date in Credential scope does not match the date of the request.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/2026112/r/sqs/aws4_request,SignedHeaders=host,Signature=0",
            "Date in Credential scope does not match the date of the request.",
        ),
    ];
    for (authorization, message) in mismatched {
        let error = header(authorization);
        assert_eq!((error.kind, error.message.as_ref()), (ErrorKind::SignatureDoesNotMatch, message));
    }
    let error =
        header("AWS4-HMAC-SHA256 Credential=a/20261127/r/sqs/aws4_request,SignedHeaders=host,Signature=0");
    assert_eq!(error.kind, ErrorKind::SignatureDoesNotMatch);
    assert!(error.message.starts_with("The request signature we calculated does not match"));
    assert_eq!(verified(&[], "").map_err(|error| error.kind), Err(ErrorKind::MissingAuthenticationToken));
}

#[test]
fn an_action_has_to_be_signed_where_it_is_a_field() {
    let authorization =
        b"AWS4-HMAC-SHA256 Credential=a/20261127/r/sqs/aws4_request,SignedHeaders=host;x-amz-date,Signature=0";
    let fields: [(&str, &[u8]); 3] = [
        ("x-amz-date", b"20261127T000000Z"),
        ("X-Amz-Target", b"AmazonSQS.DeleteQueue"),
        ("authorization", authorization),
    ];
    let error = verified(&fields, "").expect_err("the target is not signed");
    assert_eq!(error.message, "'x-amz-target' must be a 'SignedHeader' in the request.");
}

#[test]
fn times_have_one_form() {
    let authorization: &[u8] =
        b"AWS4-HMAC-SHA256 Credential=a/20261127/r/sqs/aws4_request,SignedHeaders=host,Signature=0";
    let kind = |field: (&'static str, &'static str)| {
        let fields = [(field.0, field.1.as_bytes()), ("authorization", authorization)];
        verified(&fields, "").expect_err("no signature").kind
    };
    let fine = ErrorKind::SignatureDoesNotMatch;
    for (field, expected) in [
        (("x-amz-date", "20261127T000000Z"), fine),
        (("x-amz-date", "20261127T235960Z"), fine),
        (("date", "Fri, 27 Nov 2026 10:11:12 GMT"), fine),
        (("x-amz-date", "20261127T240000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20261127T006000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20261131T000000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20260229T000000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20261300T000000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "19691231T235959Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20261127 000000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "2026112+T000000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "20261127T000000"), ErrorKind::IncompleteSignature),
        (("x-amz-date", "2026112\u{e9}T00000Z"), ErrorKind::IncompleteSignature),
        (("x-amz-date", ""), ErrorKind::IncompleteSignature),
        (("date", "27 Nov 2026 10:11:12 GMT"), ErrorKind::IncompleteSignature),
        (("date", "Fri, 27 Nov 2026 10:11:12 CET"), ErrorKind::IncompleteSignature),
        (("date", "Fri, 27 Nov 2026 10:11 GMT"), ErrorKind::IncompleteSignature),
        (("date", "Fri, 27 nov 2026 10:11:12 GMT"), ErrorKind::IncompleteSignature),
        (("x-other", "20261127T000000Z"), ErrorKind::IncompleteSignature),
    ] {
        assert_eq!(kind(field), expected, "{field:?}");
    }
    // A leap day is one.
    let leap = b"AWS4-HMAC-SHA256 Credential=a/20280229/r/sqs/aws4_request,SignedHeaders=host,Signature=0";
    let fields: [(&str, &[u8]); 2] = [("x-amz-date", b"20280229T000000Z"), ("authorization", leap)];
    let error = verified(&fields, "").expect_err("in the future");
    assert!(error.message.contains("20280229T000000Z is still later than 20261128T"), "{}", error.message);
}

#[test]
fn a_presigned_url_needs_all_its_parts() {
    const PARTS: [(&str, &str); 6] = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", "a%2F20261127%2Fr%2Fsqs%2Faws4_request"),
        ("X-Amz-Date", "20261127T000000Z"),
        ("X-Amz-Expires", "604800"),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Signature", "0"),
    ];
    let query = |parts: &[(&str, &str)]| -> String {
        parts.iter().map(|(name, value)| format!("&{name}={value}")).collect()
    };
    let error = verified(&[], &query(&PARTS)).expect_err("a wrong signature");
    assert_eq!(error.kind, ErrorKind::SignatureDoesNotMatch);
    for missing in 1..PARTS.len() {
        let mut parts = PARTS.to_vec();
        let (name, _) = parts.remove(missing);
        let error = verified(&[], &query(&parts)).expect_err(name);
        assert_eq!(error.kind, ErrorKind::IncompleteSignature);
        assert_eq!(error.message, format!("AWS query-string parameters must include '{name}'."));
    }
    for (at, value) in
        [(0, "AWS4"), (2, "x"), (3, "604801"), (3, "-1"), (3, "x"), (1, "a%2Fb"), (4, "x-amz-date")]
    {
        let mut parts = PARTS.to_vec();
        parts[at].1 = value;
        let error = verified(&[], &query(&parts)).expect_err(value);
        assert_eq!(error.kind, ErrorKind::IncompleteSignature, "{value}");
    }
    // Many names would make the server read all fields many times.
    let many = ["host"; 65].join(";");
    let mut parts = PARTS.to_vec();
    parts[4].1 = &many;
    let error = verified(&[], &query(&parts)).expect_err("too many");
    assert_eq!(error.message, "At most 64 headers can be signed.");
}
