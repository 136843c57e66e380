//! Clients with tokens: who is let in, what they may read and publish, what comes to a user, and the end of a token.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::support::client::{Answer, Http};
use super::support::stream::Stream;
use super::support::token::{SECRET, now_s, token, token_for};
use super::{Server, back_end, start};

async fn with_tokens(settings: &[(&str, &str)]) -> Server {
    let mut all = vec![("auth.mode", "jwt"), ("auth.jwt.secret", SECRET), ("auth.jwt.cookie", "session")];
    all.extend(settings);
    start(&all).await
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn stream(address: SocketAddr, target: &str, token: &str) -> Stream {
    Stream::get(address, target, &[("authorization", &bearer(token))])
}

fn post(address: SocketAddr, target: &str, token: &str) -> Answer {
    let mut http = Http::connect(address);
    let headers = [("authorization", &*bearer(token)), ("content-type", "text/plain")];
    http.send("POST", target, &headers, Some(b"hi"));
    http.answer()
}

fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut http = Http::connect(address);
    http.send("GET", target, headers, None);
    http.answer()
}

fn code(answer: &Answer) -> (u16, String) {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_header_query_or_cookie() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let good = token_for("u1", r#""log/#""#, r#""subscribe""#, "");
    let in_query = format!("/poll?channel=log/a&wait=0&access_token={good}");
    let target = "/poll?channel=log/a&wait=0";
    for (target, headers) in [
        (target, vec![("authorization", bearer(&good))]),
        (&in_query, vec![]),
        (target, vec![("cookie", format!("a=b; session={good}"))]),
        // The header wins.
        (&in_query.replace(&good, "x"), vec![("authorization", bearer(&good))]),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(get(address, target, &headers).status, 200, "{target} {headers:?}");
    }
    let nobody = get(address, target, &[]);
    assert_eq!(code(&nobody), (401, "unauthenticated".to_owned()));
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"trunkline\""));
    let expired = token(&format!("{{\"sub\":\"u1\",\"exp\":{}}}", now_s() - 40));
    for bad in ["x", &good[..good.len() - 2], &expired] {
        for path in ["/sse", "/ndjson", "/poll"] {
            let answer = get(address, &format!("{path}?channel=log/a"), &[("authorization", &bearer(bad))]);
            assert_eq!(code(&answer), (401, "unauthenticated".to_owned()), "{path} {bad}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
        }
        assert_eq!(post(address, "/publish?channel=log/a", bad).status, 401);
    }
    // What has nothing to show is refused by its head: its body is not waited for.
    let mut http = Http::connect(address);
    http.write(b"POST /publish?channel=a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    assert_eq!(http.answer().status, 401);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_which_channels_its_client_reads_and_publishes_to() {
    let server = with_tokens(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let filters = r#""log/#","inbox/{user}""#;
    let reader = token_for("u1", filters, r#""subscribe","history""#, "");
    let live_only = token_for("u1", filters, r#""subscribe""#, "");
    let writer = token_for("u2", filters, r#""publish""#, "");
    let headers = |token: &str| bearer(token);
    for (target, token, status) in [
        ("/poll?wait=0&channel=log/a&channel=inbox/u1", &reader, 200),
        ("/poll?wait=0&channel=log/a&history=3", &reader, 200),
        ("/poll?wait=0&channel=log/a&history=3", &live_only, 403),
        ("/poll?wait=0&channel=log/a&history=0", &live_only, 200),
        ("/poll?wait=0&channel=log/a&channel=inbox/u2", &reader, 403),
        ("/poll?wait=0&channel=other", &reader, 403),
        ("/poll?wait=0&channel=log/a", &writer, 403),
        ("/sse?channel=%23", &reader, 403),
        ("/sse?channel=$user/u2", &reader, 403),
    ] {
        let answer = get(address, target, &[("authorization", &headers(token))]);
        assert_eq!(answer.status, status, "{target} {}", answer.text());
    }
    let mut all = stream(address, "/ndjson?channel=log/%23", &reader);
    assert_eq!(all.status, 200);
    assert_eq!(post(address, "/publish?channel=log/a", &reader).status, 403);
    assert_eq!(post(address, "/publish?channel=inbox/u1", &writer).status, 403);
    assert_eq!(post(address, "/publish?channel=inbox/u2", &writer).status, 200);
    assert_eq!(post(address, "/publish?channel=log/a", &writer).status, 200);
    assert!(all.line().unwrap()["position"].is_string(), "where it stands");
    assert_eq!(all.line().unwrap()["data"], "hi");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_names_no_channel_is_its_users() {
    let server = with_tokens(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let store = |method, target, channel: &str| {
        let body = json!({"channel": channel});
        assert_eq!(back_end(&server, method, target, Some(&body)).0, 204);
    };
    store("PUT", "/v1/users/u1/subscriptions", "log/stored");
    let token = token(&format!(
        r#"{{"sub":"u1","exp":{},"trunkline":{{"subscriptions":["log/token"]}}}}"#,
        now_s() + 60
    ));
    let mut own = stream(address, "/sse?envelope=1", &token);
    assert_eq!(own.status, 200);
    let mut last = own.notice().id;
    let publish = |channel: &str, body: &str| {
        let message = json!({"channel": channel, "data": body});
        let (status, told) = back_end(&server, "POST", "/v1/messages", Some(&message));
        assert_eq!(status, 200);
        told["results"][0]["delivered"].as_u64()
    };
    let mut hear = |own: &mut Stream| {
        let heard = own.message();
        last = heard.id.clone().or(last.take());
        let told = heard.json();
        (
            told["channel"].as_str().unwrap().to_owned(),
            told["data"].as_str().unwrap().to_owned(),
            last.clone(),
        )
    };
    assert_eq!(publish("$user/u1", "1"), Some(1));
    publish("log/stored", "2");
    publish("log/token", "3");
    publish("log/other", "not for it");
    // What is stored later comes, too.
    store("PUT", "/v1/users/u1/subscriptions", "log/late");
    publish("log/late", "4");
    for (channel, data) in [("$user/u1", "1"), ("log/stored", "2"), ("log/token", "3"), ("log/late", "4")] {
        let (heard, said, _) = hear(&mut own);
        assert_eq!((heard.as_str(), said.as_str()), (channel, data));
    }
    let (_, sessions) = back_end(&server, "GET", "/v1/sessions?user=u1", None);
    assert_eq!(sessions["items"][0]["protocol"], "sse");
    // It comes back and has missed nothing of what is kept.
    drop(own);
    publish("log/late", "5");
    publish("log/stored", "6");
    let headers = [("authorization", &*bearer(&token)), ("last-event-id", last.as_deref().unwrap())];
    let mut own = Stream::get(address, "/sse?envelope=1", &headers);
    let mut missed = [own.message().json(), own.message().json()];
    missed.sort_by_key(|message| message["data"].to_string());
    assert_eq!(missed.map(|message| message["data"].clone()), ["5", "6"]);
    assert_eq!(own.notice().json()["recovered"], true);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_channels_gets_those_and_what_is_said_to_the_user() {
    let server = with_tokens(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let body = json!({"channel": "log/stored"});
    back_end(&server, "PUT", "/v1/users/u1/subscriptions", Some(&body));
    let token = token_for("u1", r#""log/a""#, r#""subscribe""#, "");
    let mut named = stream(address, "/sse?channel=log/a", &token);
    let begun = named.notice().id.unwrap();
    assert!(begun.ends_with("-0") && !begun.starts_with('~'), "of one channel: {begun}");
    for (channel, data) in [("log/stored", "no"), ("$user/u1", "to you"), ("log/a", "yes")] {
        back_end(&server, "POST", "/v1/messages", Some(&json!({"channel": channel, "data": data})));
    }
    let (to_user, yes) = (named.message(), named.message());
    assert_eq!(
        (to_user.data.as_str(), to_user.id.as_deref()),
        ("\"to you\"", Some(&*begun)),
        "it stands where it was"
    );
    assert_eq!((yes.data.as_str(), yes.id.unwrap()), ("\"yes\"", begun.replace("-0", "-1")));
    // The user's streams end when the back end says so.
    let (status, told) = back_end(&server, "DELETE", "/v1/users/u1/sessions", None);
    assert_eq!((status, &told["count"]), (200, &json!(1)), "{told}");
    assert!(named.is_ended());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_user_and_channel_there_is_nothing_to_read() {
    let server = with_tokens(&[]).await;
    let token = token("{}");
    let answer = get(server.public_addr(), "/sse", &[("authorization", &bearer(&token))]);
    assert_eq!(code(&answer), (400, "malformed".to_owned()));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_so_that_its_client_comes_back() {
    let server = with_tokens(&[("auth.jwt.leeway_seconds", "0")]).await;
    let address = server.public_addr();
    let ending = token(&format!(
        r#"{{"exp":{},"trunkline":{{"permissions":[{{"filters":["log/#"],"allow":["subscribe"]}}]}}}}"#,
        now_s() + 2
    ));
    let mut sse = stream(address, "/sse?channel=log/a", &ending);
    let mut poll = Http::connect(address);
    poll.send("GET", "/poll?channel=log/a", &[("authorization", &bearer(&ending))], None);
    let begun = sse.block().unwrap();
    assert_eq!(begun, "retry: 2000\n\n");
    assert!(sse.notice().id.is_some());
    assert!(sse.is_ended());
    let told = poll.answer();
    assert_eq!(told.status, 200, "as if its time were over");
    let answer = get(address, "/sse?channel=log/a", &[("authorization", &bearer(&ending))]);
    assert_eq!(code(&answer), (401, "unauthenticated".to_owned()));
    let (_, sessions) = back_end(&server, "GET", "/v1/sessions", None);
    assert_eq!(sessions["items"], json!([]));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_known_now_comes_back() {
    // Nobody listens there.
    let settings =
        [("auth.mode", "jwt"), ("auth.jwt.jwks_url", "http://127.0.0.1:9/keys"), ("auth.jwt.audience", "a")];
    let server = start(&settings).await;
    let address = server.public_addr();
    let token = token(r#"{"sub":"u1","aud":"a"}"#);
    let mut sse = stream(address, "/sse?channel=a", &token);
    assert_eq!((sse.status, sse.rest().as_str()), (200, "retry: 2000\n\n"));
    for path in ["/ndjson", "/poll"] {
        let answer = get(address, &format!("{path}?channel=a"), &[("authorization", &bearer(&token))]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert_eq!(post(address, "/publish?channel=a", &token).status, 503);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_has_all_its_sessions_is_refused_and_one_that_is_superseded_ends() {
    for shards in ["1", "2"] {
        let token = token_for("u1", r#""log/#""#, r#""subscribe""#, "");
        let server = with_tokens(&[("server.shards", shards), ("users.max_sessions", "1")]).await;
        let address = server.public_addr();
        let _first = stream(address, "/sse?channel=log/a", &token);
        for target in ["/sse?channel=log/a", "/ndjson?channel=log/a", "/poll?channel=log/a&wait=0", "/sse"] {
            let refused = get(address, target, &[("authorization", &bearer(&token))]);
            assert_eq!(code(&refused), (403, "over-limit".to_owned()), "{target}");
        }
        server.drain().await;
        let replacing = [("users.max_sessions", "1"), ("users.when_full", "end_oldest")];
        let server = with_tokens(&[replacing[0], replacing[1], ("server.shards", shards)]).await;
        let mut first = stream(server.public_addr(), "/ndjson?channel=log/a", &token);
        let _second = stream(server.public_addr(), "/ndjson?channel=log/a", &token);
        first.rest();
        assert!(first.is_ended());
        server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_cannot_sign_has_tokens_made() {
    let server = with_tokens(&[("auth.jwt.sign_tokens", "true"), ("auth.jwt.issuer", "[\"here\"]")]).await;
    let grant = json!({ "permissions": [{ "filters": ["log/#"], "allow": ["subscribe"] }] });
    let wanted = json!({ "claims": { "sub": "u1", "trunkline": grant }, "lifetime_seconds": 60 });
    let (status, made) = back_end(&server, "POST", "/v1/tokens", Some(&wanted));
    assert_eq!(status, 201, "{made}");
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z'));
    let bearer = bearer(made["token"].as_str().unwrap());
    let read = |target: &str| get(server.public_addr(), target, &[("authorization", &bearer)]).status;
    assert_eq!(read("/poll?channel=log/a&wait=0"), 200);
    assert_eq!(read("/poll?channel=else&wait=0"), 403);
    for wrong in [
        json!({ "claims": { "sub": "" } }),
        json!({ "claims": { "sub": "u1", "exp": 1 } }),
        json!({ "claims": { "trunkline": { "permissions": [{ "filters": ["#/x"], "allow": [] }] } } }),
        json!({ "claims": {}, "lifetime_seconds": 0 }),
        json!({ "claims": {}, "lifetime_seconds": 31_536_001 }),
        json!({}),
    ] {
        let (status, problem) = back_end(&server, "POST", "/v1/tokens", Some(&wrong));
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{wrong}");
    }
    server.drain().await;
    let server = with_tokens(&[]).await;
    let (status, problem) = back_end(&server, "POST", "/v1/tokens", Some(&wanted));
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("not-found")),
        "nobody is anybody unless it is wanted"
    );
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_found_and_ended_by_what_their_fronts_know() {
    let server = with_tokens(&[("server.shards", "2")]).await;
    let token = token_for("u1", r#""log/#""#, r#""subscribe""#, "");
    let mut lines = stream(server.public_addr(), "/ndjson?channel=log/a", &token);
    let mut events = stream(server.public_addr(), "/sse?channel=log/a", &token);
    let count = |query: &str| {
        let (status, found) = back_end(&server, "GET", &format!("/v1/sessions?{query}"), None);
        assert_eq!(status, 200, "{found}");
        found["items"].as_array().unwrap().len()
    };
    for (query, expected) in [
        ("", 2),
        ("protocol=ndjson", 1),
        ("protocol=sse&user=u1", 1),
        ("protocol=mqtt", 0),
        ("protocol=ndjson&user=u2", 0),
        ("connected=true&channel=log/a", 2),
        ("connected=false", 0),
        ("namespace=/", 0),
    ] {
        assert_eq!(count(query), expected, "{query}");
    }
    let (status, ended) = back_end(&server, "DELETE", "/v1/sessions?protocol=ndjson&connected=true", None);
    assert_eq!((status, &ended["count"]), (200, &json!(1)));
    lines.rest();
    assert!(lines.is_ended());
    assert_eq!(count(""), 1);
    let (status, _) = back_end(&server, "DELETE", "/v1/sessions?reconnect=true", None);
    assert_eq!(status, 400, "all of them have to be said");
    let (status, ended) = back_end(&server, "DELETE", "/v1/sessions?connected=true", None);
    assert_eq!((status, &ended["count"]), (200, &json!(1)));
    events.rest();
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_user_with_a_token_is_kept_out_whatever_it_speaks() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let ann = token_for("ann", r#""log/#""#, r#""subscribe","publish""#, "");
    let enter = || {
        let mut http = Http::connect(address);
        let path = "/socket.io/?EIO=4&transport=polling";
        http.send("GET", path, &[], None);
        let opened: Value = serde_json::from_str(http.answer().text().trim_start_matches('0')).unwrap();
        let path = format!("{path}&sid={}", opened["sid"].as_str().unwrap());
        http.send("POST", &path, &[], Some(format!("40{{\"token\":\"{ann}\"}}").as_bytes()));
        assert_eq!(http.answer().status, 200);
        http.send("GET", &path, &[], None);
        http.answer().text().to_owned()
    };
    assert_eq!(back_end(&server, "PUT", "/v1/blocks/ann", Some(&json!({}))).0, 204);
    let forbidden = (403, "forbidden".to_owned());
    for path in ["/sse", "/ndjson", "/poll"] {
        let answer =
            get(address, &format!("{path}?channel=log/a&wait=0"), &[("authorization", &bearer(&ann))]);
        assert_eq!(code(&answer), forbidden, "{path}");
    }
    assert_eq!(code(&post(address, "/publish?channel=log/a", &ann)), forbidden);
    assert_eq!(enter(), r#"44{"message":"blocked","data":{"status":403}}"#);
    assert_eq!(back_end(&server, "DELETE", "/v1/blocks/ann", None).0, 204);
    assert_eq!(post(address, "/publish?channel=log/a", &ann).status, 200);
    assert!(enter().starts_with("40"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_the_back_end_ends_is_told_so() {
    let server = with_tokens(&[]).await;
    let ann = token_for("ann", r#""log/#""#, r#""subscribe""#, "");
    let mut http = Http::connect(server.public_addr());
    http.send("GET", "/poll?channel=log/a&wait=60", &[("authorization", &bearer(&ann))], None);
    while back_end(&server, "DELETE", "/v1/users/ann/sessions", None).1["count"] != 1 {}
    assert_eq!(code(&http.answer()), (403, "forbidden".to_owned()));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_change_nothing_on_a_private_port_without_keys() {
    let server = with_tokens(&[]).await;
    let say = |target: &str, headers: &[(&str, &str)], body: &str| {
        let mut http = Http::connect(server.private_addr());
        http.send("POST", target, headers, Some(body.as_bytes()));
        http.answer()
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    let create = "Action=CreateQueue&QueueName=evil&Version=2012-11-05";
    assert_eq!(say("/", &[form, ("origin", "http://evil.example")], create).status, 403);
    assert_eq!(say("/", &[form, ("sec-fetch-site", "cross-site")], create).status, 403);
    assert_eq!(say("/v1/deliveries/attempts", &[("origin", "null")], "").status, 403);
    assert_eq!(say("/", &[form], create).status, 200);
    // What curl says to REST unless it is told otherwise is no request of SQS.
    let answer = say("/v1/messages", &[form], r#"{"channel":"a","data":1}"#);
    assert_eq!(code(&answer), (415, "media-type".to_owned()));
    server.drain().await;
}
