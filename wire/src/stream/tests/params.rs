//! What a query may ask for.

use crate::stream::{Mode, ParamError, Params, Position, Resume, Token, Wanted};

fn read(query: &str) -> Params {
    Params::read(query, None).unwrap()
}

fn refused(query: &str) -> ParamError {
    Params::read(query, None).unwrap_err()
}

fn at(epoch: u64, offset: u64) -> Resume {
    Resume::After(Token::One(Position { epoch, offset }))
}

#[test]
fn channels_come_in_their_order_and_once() {
    let params = read("channel=b%2Fc&channel=a+1&x=y&channel=b/c");
    assert_eq!(params, Params { channels: vec!["b/c".into(), "a 1".into()], ..Params::default() });
}

#[test]
fn everything_is_read() {
    let params = read("channel=a&after=e1-7&history=50&limit=10&envelope=1&wait=3&retained=1");
    let expected = Params {
        channels: vec!["a".into()],
        resume: at(0xe1, 7),
        history: Some(50),
        retained: Wanted::Yes,
        limit: Some(10),
        mode: Mode::Envelope,
        wait_seconds: Some(3),
    };
    assert_eq!(params, expected);
    assert_eq!(read("envelope=false&history=0").mode, Mode::Bare);
}

#[test]
fn the_header_wins_over_the_query_and_that_over_where_it_began() {
    let all = "after=1-1&last_event_id=2-2";
    assert_eq!(Params::read(all, Some("3-3")).unwrap().resume, at(3, 3));
    assert_eq!(Params::read(all, None).unwrap().resume, at(2, 2));
    assert_eq!(Params::read(all, Some("")).unwrap().resume, at(2, 2), "an empty one is none");
    assert_eq!(read("after=1-1&last_event_id=").resume, at(1, 1));
}

#[test]
fn what_a_program_gives_back_wrong_is_lost_and_what_a_person_writes_wrong_is_refused() {
    assert_eq!(Params::read("", Some("nginx:7")).unwrap().resume, Resume::Lost);
    assert_eq!(read("last_event_id=7").resume, Resume::Lost);
    assert_eq!(refused("after=7").to_string(), "after must be a position that this server gave out");
}

#[test]
fn numbers_and_switches_have_one_form() {
    for (query, name) in [
        ("history=-1", "history"),
        ("history=+1", "history"),
        ("history=", "history"),
        ("limit=0", "limit"),
        ("limit=99999999999", "limit"),
        ("wait=1.5", "wait"),
        ("envelope=yes", "envelope"),
    ] {
        assert_eq!(refused(query).name, name, "{query}");
    }
}
