//! Tokens that are revoked: nobody comes in with one, by whatever door, and who is in is not any more.

use serde_json::json;

use super::support::client::{Http, Said};
use super::support::stream::Stream;
use super::support::token::{now_s, token_for};
use super::support::whole::folder::Folder;
use super::support::whole::rest::ask;
use super::{goodbye, mqtt, socket, stream_socket, with_tokens};

fn token_of(id: &str) -> String {
    token_for("u1", r#""a/#""#, r#""subscribe","publish""#, &format!(r#","jti":"{id}""#))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_by_a_revoked_token_is_out_and_stays_out() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let (bad, good) = (token_of("t/1"), token_of("t2"));
    let bearer = format!("Bearer {bad}");
    let (mut socketio, said) = socket(address, &bad);
    assert!(said.starts_with("40{"), "{said}");
    let (lasting, _) = socket(address, &good);
    let mut sse = Stream::get(address, "/sse?channel=a/b", &[("authorization", &bearer)]);
    sse.block();
    let mut events = stream_socket(address, &bad);
    let mut poll = Http::connect(address);
    poll.send("GET", "/poll?channel=a/b", &[("authorization", &bearer)], None);
    let client = mqtt(&server, "c1", &bad);
    while ask(&server, "GET", "/v1/sessions", None).1["items"].as_array().unwrap().len() < 6 {}

    let until = json!({ "until": now_s() + 600 });
    assert_eq!(ask(&server, "PUT", "/v1/revocations/t%2F1", Some(until)).0, 204);
    assert_eq!(socketio.next_text(), "41", "the namespace ends, and the client stays away");
    assert_eq!(sse.rest().matches("data:").count(), 0);
    assert_eq!(events.next(), Said::Closed(Some(4506)));
    assert_eq!(poll.answer().status, 401);
    assert_eq!(goodbye(client), "disconnected by the server: 0x87 Not authorized, the token is revoked");
    let left = ask(&server, "GET", "/v1/sessions", None).1;
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    assert!(lasting.is_silent());

    let (_, said) = socket(address, &bad);
    assert_eq!(said, r#"44{"message":"the token is revoked","data":{"status":401}}"#);
    for path in ["/sse", "/ndjson", "/poll"] {
        let mut http = Http::connect(address);
        http.send("GET", &format!("{path}?channel=a/b"), &[("authorization", &bearer)], None);
        assert_eq!(http.answer().status, 401, "{path}");
    }
    let mut http = Http::connect(address);
    http.send("POST", "/publish?channel=a/b", &[("authorization", &bearer)], Some(b"x"));
    assert_eq!(http.answer().status, 401);
    assert_eq!(ask(&server, "DELETE", "/v1/revocations/t%2F1", None).0, 204);
    assert_eq!(ask(&server, "DELETE", "/v1/revocations/t%2F1", None).0, 404);
    assert!(socket(address, &bad).1.starts_with("40{"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_listed_and_bounded() {
    let server = with_tokens(&[("limits.revocations_max", "3")]).await;
    let put = |id: &str, body| ask(&server, "PUT", &format!("/v1/revocations/{id}"), Some(body));
    let until = now_s() + 600;
    for (id, body) in [
        ("a", json!({})),
        ("b", json!({ "until": until })),
        ("c", json!({ "until": "2999-01-01T00:00:00Z" })),
    ] {
        assert_eq!(put(id, body).0, 204, "{id}");
    }
    let full = put("d", json!({}));
    assert_eq!((full.0, &full.1["code"]), (422, &json!("over-limit")));
    assert_eq!(put("a", json!({ "until": until + 1 })).0, 204, "a change needs no place");
    for body in
        [json!({ "until": 1 }), json!({ "until": "soon" }), json!({ "until": -1 }), json!({ "seconds": 1 })]
    {
        assert_eq!(put("a", body.clone()).0, 400, "{body}");
    }
    assert_eq!(put(&"x".repeat(1025), json!({})).0, 400);
    let (status, one) = ask(&server, "GET", "/v1/revocations/c", None);
    assert_eq!((status, one), (200, json!({ "jti": "c", "until": "2999-01-01T00:00:00.000Z" })));
    assert_eq!(ask(&server, "GET", "/v1/revocations/d", None).0, 404);
    let (mut all, mut target) = (Vec::new(), "/v1/revocations?limit=1".to_owned());
    loop {
        let page = ask(&server, "GET", &target, None).1;
        all.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["jti"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/v1/revocations?limit=1&cursor={next}");
    }
    all.sort();
    assert_eq!(all, ["a", "b", "c"]);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_store_a_restart_forgets_no_revocation() {
    let folder = Folder::new("revocations");
    let store = folder.store().display().to_string();
    let settings = [("store.dir", &*store)];
    let server = with_tokens(&settings).await;
    for id in ["kept", "lifted"] {
        assert_eq!(ask(&server, "PUT", &format!("/v1/revocations/{id}"), Some(json!({}))).0, 204);
    }
    assert_eq!(ask(&server, "DELETE", "/v1/revocations/lifted", None).0, 204);
    server.drain().await;
    let server = with_tokens(&settings).await;
    assert!(socket(server.public_addr(), &token_of("kept")).1.starts_with("44"));
    assert!(socket(server.public_addr(), &token_of("lifted")).1.starts_with("40{"));
    server.drain().await;
}
