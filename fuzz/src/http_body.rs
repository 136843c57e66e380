//! Bodies: the same content at any split, never over the limit, memory only for what came.

use wire::http::{BodyDecoder, BodyError, BodyLength, write_chunk, write_last_chunk};

use crate::Split;

/// Content, bytes consumed, and how it ended.
type Decoded = (Vec<u8>, usize, Result<bool, BodyError>);

/// The target. One byte chooses kind and limit, two the split, the rest is what a client sends.
pub fn http_body(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let Some((input, split)) = Split::new(rest) else { return };
    let length = match choice % 8 {
        0 => BodyLength::Length(u64::from(choice)),
        1 => BodyLength::UntilClose,
        _ => BodyLength::Chunked,
    };
    let body_bytes_max = u64::from(choice) * 4;
    let whole = decode(length, body_bytes_max, [input].into_iter());
    assert_eq!(decode(length, body_bytes_max, split), whole);
    let (content, consumed, result) = whole;
    assert!(content.len() as u64 <= body_bytes_max && content.len() <= input.len());
    assert!(content.capacity() <= 2 * input.len() + 64, "{} bytes allocated", content.capacity());
    if result == Ok(true) && length == BodyLength::Chunked {
        assert!(input[..consumed].ends_with(b"\r\n\r\n"));
        reencode(&content);
    }
}

fn decode<'d>(length: BodyLength, max: u64, pieces: impl Iterator<Item = &'d [u8]>) -> Decoded {
    let mut content = Vec::new();
    let mut decoder = match BodyDecoder::new(length, max) {
        Ok(decoder) => decoder,
        Err(error) => return (content, 0, Err(error)),
    };
    let mut consumed = 0;
    for piece in pieces {
        match decoder.decode(piece, &mut content) {
            Ok(progress) => {
                consumed += progress.consumed;
                assert!(progress.done || progress.consumed == piece.len());
            }
            // An error within a piece tells nothing about how much of it was read.
            Err(error) => return (content, 0, Err(error)),
        }
    }
    (content, consumed, Ok(decoder.is_done()))
}

fn reencode(content: &[u8]) {
    let mut body = Vec::new();
    for piece in content.chunks(7) {
        write_chunk(&mut body, piece);
    }
    write_last_chunk(&mut body);
    let whole = decode(BodyLength::Chunked, content.len() as u64, [&body[..]].into_iter());
    assert_eq!(whole, (content.to_vec(), body.len(), Ok(true)));
}
