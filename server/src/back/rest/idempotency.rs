//! `Idempotency-Key`: a POST that is sent twice under one key is carried out once and answered twice
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! Owns the keys and the answers under them. They are kept in memory, at most 24 hours: a restart forgets them. What a request
//! does goes on when its client does not wait for it, so that the answer is there when it asks again. Must not know what a
//! request is about. Start at [`once`].

use super::Desk;
use super::problem::{BUSY, IN_PROGRESS, MALFORMED, MISMATCH, Problem, TOO_LARGE};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response as HttpResponse, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{Context, SHA256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest key with its quotes, in bytes.
pub(super) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// How long an answer is kept.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// What a kept answer takes beside its body, in bytes, about.
const ENTRY_BYTES: usize = 256;

pub(super) const NAME: &str = "idempotency-key";

/// Streams its body and looks after its key itself.
const ITS_OWN: &str = "/v1/imports";

/// SHA-256.
pub(super) type Digest = [u8; 32];

/// The answers under keys; clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pages: Arc<Mutex<Pages>>,
    keys_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Pages {
    entries: HashMap<Digest, Entry>,
    /// Answers in the order in which they came, each with the time.
    answered: VecDeque<(Instant, Digest)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Of the request.
    fingerprint: Digest,
    /// `None` while the request is carried out.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Carries a request out, or answers it as before.
pub(super) async fn once(
    State(desk): State<Desk>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let has_key = request.headers().contains_key(NAME);
    if !has_key || request.method() != Method::POST || request.uri().path() == ITS_OWN {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let key = key_of(&parts.headers)?;
    let body = to_bytes(body, desk.config.limits.rest_body_bytes_max).await;
    let body = body.map_err(|_| Problem::new(&TOO_LARGE, "the body is over limits.rest_body_bytes_max"))?;
    let fingerprint = fingerprint(&parts, &body);
    let turn = match desk.book.begin((key, fingerprint), Instant::now())? {
        Begun::Answered(answer) => return Ok(answer.into_response()),
        Begun::First(turn) => turn,
    };
    // A task of its own goes on when the client is gone.
    let carried_out = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        turn.end(response).await
    });
    let answer = carried_out.await.map_err(|_| Problem::new(&BUSY, "the request was given up"))?;
    Ok(answer.into_response())
}

/// The key of a request, which is its caller's own.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Digest, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::new(&MALFORMED, "more than one Idempotency-Key"));
    };
    let text = value.to_str().ok().filter(|text| is_string(text.trim_matches(' ')));
    let text = text.ok_or_else(|| {
        Problem::new(
            &MALFORMED,
            "Idempotency-Key is a quoted string of 1 to 254 characters of ASCII, such as \"a3f1\"",
        )
    })?;
    let caller = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    Ok(digest(&[caller, text.trim_matches(' ').as_bytes()]))
}

/// RFC 9651, 3.3.3.
fn is_string(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(inner) = inner.filter(|inner| !inner.is_empty() && text.len() <= IDEMPOTENCY_KEY_BYTES_MAX)
    else {
        return false;
    };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'\\' => matches!(bytes.next(), Some(b'"' | b'\\')),
            b'"' => false,
            byte => (b' '..=b'~').contains(&byte),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

fn fingerprint(parts: &Parts, body: &[u8]) -> Digest {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let media = parts.headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    digest(&[target.as_bytes(), media, body])
}

fn digest(pieces: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(&(piece.len() as u64).to_be_bytes());
        context.update(piece);
    }
    finished(context)
}

/// What was digested.
pub(super) fn finished(context: Context) -> Digest {
    let mut made = [0; 32];
    made.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    made
}

/// What a request under a key is.
enum Begun {
    First(Turn),
    Answered(Answer),
}

/// A request that is carried out. Dropped without an end it is forgotten, and may be sent again.
struct Turn {
    book: Book,
    key: Digest,
    is_over: bool,
}

impl Book {
    pub(super) fn new(keys_max: usize, bytes_max: usize) -> Self {
        Self { pages: Arc::default(), keys_max, bytes_max }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, (key, fingerprint): (Digest, Digest), now: Instant) -> Result<Begun, Problem> {
        let mut pages = self.pages();
        pages.forget_old(now);
        match pages.entries.get(&key) {
            Some(entry) if entry.fingerprint != fingerprint => {
                return Err(Problem::new(&MISMATCH, "its target, media type or body was another one"));
            }
            Some(Entry { answer: None, .. }) => {
                return Err(Problem::new(&IN_PROGRESS, "ask again when it is answered"));
            }
            Some(Entry { answer: Some(answer), .. }) => return Ok(Begun::Answered(answer.clone())),
            None => {}
        }
        while pages.entries.len() >= self.keys_max {
            if !pages.forget_oldest() {
                return Err(Problem::new(&BUSY, "limits.idempotency_keys_max requests are carried out"));
            }
        }
        pages.entries.insert(key, Entry { fingerprint, answer: None });
        Ok(Begun::First(Turn { book: self.clone(), key, is_over: false }))
    }
}

impl Turn {
    /// Keeps the answer, unless the server failed.
    async fn end(mut self, response: Response) -> Answer {
        let (parts, body) = response.into_parts();
        // Only a body that is a stream can fail, and no POST has one.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            return answer;
        }
        let mut pages = self.book.pages();
        if let Some(entry) = pages.entries.get_mut(&self.key) {
            entry.answer = Some(answer.clone());
            pages.answered.push_back((Instant::now(), self.key));
            pages.bytes += answer.body.len() + ENTRY_BYTES;
            while pages.bytes > self.book.bytes_max && pages.forget_oldest() {}
        }
        drop(pages);
        self.is_over = true;
        answer
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.book.pages().entries.remove(&self.key);
        }
    }
}

impl Pages {
    fn forget_old(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= KEEP) {
            self.forget_oldest();
        }
    }

    /// `false` if there is no answer.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.answered.pop_front() else { return false };
        if let Some(Entry { answer: Some(answer), .. }) = self.entries.remove(&key) {
            self.bytes -= answer.body.len() + ENTRY_BYTES;
        }
        true
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = HttpResponse::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = [1; 32];
    const OTHER: Digest = [2; 32];
    const BODY: Digest = [3; 32];

    async fn carry_out(book: &Book, key: Digest, status: StatusCode) {
        let Ok(Begun::First(turn)) = book.begin((key, BODY), Instant::now()) else {
            panic!("it is the first")
        };
        turn.end((status, "done").into_response()).await;
    }

    fn code(begun: Result<Begun, Problem>) -> &'static str {
        match begun {
            Ok(Begun::First(_)) => "first",
            Ok(Begun::Answered(_)) => "answered",
            Err(problem) => problem.document().code,
        }
    }

    #[tokio::test]
    async fn a_repeat_is_answered_for_a_day_and_another_body_is_refused() {
        let book = Book::new(10, 10_000);
        let now = Instant::now();
        let turn = book.begin((KEY, BODY), now);
        assert_eq!(code(book.begin((KEY, BODY), now)), "idempotency-in-progress");
        assert_eq!(code(book.begin((KEY, OTHER), now)), "idempotency-mismatch");
        drop(turn);
        carry_out(&book, KEY, StatusCode::ACCEPTED).await;
        let Ok(Begun::Answered(answer)) = book.begin((KEY, BODY), now) else { panic!("it is answered") };
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::ACCEPTED, &b"done"[..]));
        assert_eq!(code(book.begin((KEY, OTHER), now)), "idempotency-mismatch");
        let next_day = Instant::now() + KEEP;
        assert_eq!(code(book.begin((KEY, OTHER), next_day)), "first");
        assert_eq!(book.pages().bytes, 0);
    }

    #[tokio::test]
    async fn a_failure_of_the_server_may_be_tried_again() {
        let book = Book::new(10, 10_000);
        carry_out(&book, KEY, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(code(book.begin((KEY, BODY), Instant::now())), "first");
    }

    #[tokio::test]
    async fn the_oldest_answer_makes_place_and_what_is_carried_out_does_not() {
        let book = Book::new(2, 10_000);
        let _running = book.begin((KEY, BODY), Instant::now());
        carry_out(&book, OTHER, StatusCode::OK).await;
        carry_out(&book, BODY, StatusCode::OK).await;
        assert_eq!(code(book.begin((OTHER, BODY), Instant::now())), "first");
        let _running_too = book.begin((BODY, BODY), Instant::now());
        assert_eq!(code(book.begin((OTHER, BODY), Instant::now())), "busy");
        let small = Book::new(10, ENTRY_BYTES + 4);
        carry_out(&small, KEY, StatusCode::OK).await;
        carry_out(&small, OTHER, StatusCode::OK).await;
        assert_eq!(code(small.begin((KEY, BODY), Instant::now())), "first");
        assert_eq!(code(small.begin((OTHER, BODY), Instant::now())), "answered");
    }

    #[test]
    fn a_key_is_a_quoted_string() {
        for good in [r#""a""#, r#""a b\"\\~""#, &format!("\"{}\"", "x".repeat(254))] {
            assert!(is_string(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "\"\"",
            "\"a",
            "\"a\"b\"",
            "\"ä\"",
            r#""\a""#,
            "\"\t\"",
            &format!("\"{}\"", "x".repeat(255)),
        ] {
            assert!(!is_string(bad), "{bad}");
        }
    }

    #[test]
    fn a_key_is_its_callers_own() {
        let headers = |caller: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, r#""a""#.parse().unwrap());
            caller.map(|caller| headers.insert(header::AUTHORIZATION, caller.parse().unwrap()));
            headers
        };
        let keys = [headers(None), headers(Some("Bearer x")), headers(Some("Bearer y"))]
            .map(|h| key_of(&h).unwrap());
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
        let mut twice = headers(None);
        twice.append(NAME, r#""b""#.parse().unwrap());
        assert!(key_of(&twice).is_err());
    }
}
