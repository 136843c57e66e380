//! Answers of a server over HTTP, whoever asked.
//!
//! Must not know sockets or what was asked. Start at [`answer`].

use wire::http::{BodyDecoder, HeadLimits, parse_response_head};

/// Largest answer taken.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// One response at the start of `buf`: its length, status and body; `None` while it is incomplete.
pub(crate) fn answer(buf: &[u8]) -> Result<Option<(usize, u16, Vec<u8>)>, String> {
    let head = parse_response_head(buf, &HeadLimits::default()).map_err(|error| error.to_string())?;
    let Some(head) = head else { return Ok(None) };
    let mut body = Vec::new();
    let mut decoder = BodyDecoder::new(head.body, BODY_BYTES_MAX).map_err(|error| error.to_string())?;
    let rest = buf.get(head.len..).unwrap_or_default();
    let progress = decoder.decode(rest, &mut body).map_err(|error| error.to_string())?;
    Ok(progress.done.then_some((head.len + progress.consumed, head.status, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_complete() {
        let bytes = b"HTTP/1.1 202 A\r\ncontent-length: 2\r\n\r\n{}HTTP";
        assert_eq!(answer(&bytes[..37]).unwrap(), None);
        assert_eq!(answer(bytes).unwrap(), Some((bytes.len() - 4, 202, b"{}".to_vec())));
        assert!(answer(b"nonsense\r\n\r\n").is_err());
    }
}
