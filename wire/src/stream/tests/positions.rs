//! Tokens: each has one text, and no other text is taken for one.

use crate::stream::{Mark, POSITIONS_MAX, Position, Positions, Token};

fn at(epoch: u64, offset: u64) -> Position {
    Position { epoch, offset }
}

#[test]
fn one_position_is_its_epoch_and_offset() {
    assert_eq!(at(0xfeed, 12).to_string(), "feed-12");
    assert_eq!(Token::parse("feed-12"), Some(Token::One(at(0xfeed, 12))));
    for text in
        ["", "-", "feed", "FEED-12", "0feed-12", "feed-012", "feed-+1", "feed-12 ", "1-99999999999999999999"]
    {
        assert_eq!(Token::parse(text), None, "{text}");
    }
}

#[test]
fn several_are_bytes_in_base64() {
    let mut positions = Positions::default();
    assert_eq!(positions.to_string(), "~AQ");
    positions.set(Mark::of("a"), at(0xe1, 300));
    assert_eq!(positions.to_string(), "~AeQMKSwAAAAAAAAA4awC");
    assert_eq!(Token::parse("~AeQMKSwAAAAAAAAA4awC"), Some(Token::Several(positions.clone())));
    positions.set(Mark::of("a"), at(0xe1, 301));
    assert_eq!((positions.find(Mark::of("a")), positions.find(Mark::of("b"))), (Some(at(0xe1, 301)), None));
    positions.clear(Mark::of("a"));
    assert_eq!(positions, Positions::default());
}

#[test]
fn what_was_not_written_here_is_no_token() {
    for text in [
        "~",                                     // nothing
        "~Ag",                                   // another version
        "~AQA",                                  // half a channel
        "~AeQMKSwAAAAAAAAA4QAA",                 // one and a half
        "~AeQMKSwAAAAAAAAA4YAA",                 // a number that is longer than it has to be
        "~AeQMKSwAAAAAAAAA4Qo=",                 // padding
        "~AeQMKSwAAAAAAAAA4QfkDCksAAAAAAAAAOEH", // a channel twice
        "AQ",
    ] {
        assert_eq!(Token::parse(text), None, "{text}");
    }
}

#[test]
fn the_longest_token_fits_into_any_request() {
    let mut positions = Positions::default();
    for channel in 0..POSITIONS_MAX + 10 {
        positions.set(Mark::of(&format!("channel-{channel}")), at(u64::MAX, u64::MAX));
    }
    let text = positions.to_string();
    assert!(text.len() < 4096, "{}", text.len());
    assert_eq!(Token::parse(&text), Some(Token::Several(positions)));
}
