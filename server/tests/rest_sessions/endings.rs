//! What clients are told when the back end ends their sessions with a reason.

use super::support::client::{Http, field};
use super::support::stream::Stream;
use super::support::token::token_for;
use super::support::whole::rest::ask;
use super::support::whole::until::until;
use super::{goodbye, mqtt, socket, with_tokens};

fn may_all() -> String {
    token_for("u1", r##""#""##, r#""subscribe","publish""#, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_told_where_the_protocol_has_a_place_for_it() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let client = mqtt(&server, "c1", &may_all());
    let target = "/v1/sessions?client_id=c1";
    let id = ask(&server, "GET", target, None).1["items"][0]["id"].as_str().unwrap().to_owned();
    let ended = ask(&server, "DELETE", &format!("/v1/sessions/{id}?reason=too%20loud"), None);
    assert_eq!((ended.0, &ended.1["count"]), (200, &1.into()));
    assert_eq!(goodbye(client), "disconnected by the server: 0x98 Administrative action, too loud");
    let client = mqtt(&server, "c1", &may_all());
    assert_eq!(ask(&server, "DELETE", "/v1/sessions?client_id=c1&reconnect=true&reason=again", None).0, 200);
    assert_eq!(goodbye(client), "disconnected by the server: 0x98 Administrative action, again");

    let client = mqtt(&server, "c2", &may_all());
    let (mut socketio, said) = socket(address, &may_all());
    let mut sse =
        Stream::get(address, "/sse?channel=a", &[("authorization", &format!("Bearer {}", may_all()))]);
    let mut poll = Http::connect(address);
    poll.send("GET", "/poll?channel=a", &[("authorization", &format!("Bearer {}", may_all()))], None);
    until("all of them", || {
        let page = ask(&server, "GET", "/v1/sessions?user=u1", None).1;
        (page["items"].as_array().unwrap().len() == 5).then_some(())
    });
    let except = field(&said, "sid").unwrap();
    let ended = ask(&server, "DELETE", &format!("/v1/users/u1/sessions?reason=moved&except={except}"), None);
    assert_eq!((ended.0, &ended.1["count"]), (200, &4.into()), "the lasting one of c1, too");
    assert_eq!(goodbye(client), "disconnected by the server: 0x98 Administrative action, moved");
    sse.rest();
    let refused = poll.answer();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("\"detail\":\"moved\""), "{}", refused.text());
    assert!(socketio.is_silent());
    assert_eq!(ask(&server, "DELETE", "/v1/users/u1/sessions?reason=bye", None).0, 200);
    assert_eq!(socketio.next_text(), "41", "which has no place for it");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_short_and_plain() {
    let server = with_tokens(&[]).await;
    let id = "AAAAAAAAAAAAAAAAAAAA";
    for reason in ["x".repeat(124), "a%0Ab".to_owned(), "%00".to_owned()] {
        for target in [
            format!("sessions/{id}?reason={reason}"),
            format!("sessions?user=u&reason={reason}"),
            format!("users/u/sessions?reason={reason}"),
        ] {
            assert_eq!(ask(&server, "DELETE", &format!("/v1/{target}"), None).0, 400, "{target}");
        }
    }
    assert_eq!(
        ask(&server, "DELETE", &format!("/v1/sessions?user=u&reason={}", "x".repeat(123)), None).0,
        200
    );
    server.drain().await;
}
