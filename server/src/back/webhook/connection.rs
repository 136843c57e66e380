//! One HTTP/1.1 connection to a back end: a request at a time, kept open between them.
//!
//! Owns the client of `hyper` and moves it along in the task of whoever waits: a connection has no task of its own. Must not
//! know what is said. Start at [`Connection::ask`].

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;

use super::failure::Failure;
use crate::back::dial::Stream;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// From the header of that name, seconds or a date.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; `None` once the connection is over.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Why a request was not answered.
pub(super) enum Trouble {
    /// The connection had ended before: the request did not leave.
    Stale(Box<Request<Full<Bytes>>>),
    /// What is wrong.
    Failed(Failure),
}

impl Connection {
    /// # Errors
    /// Never in practice: nothing is said before the first request.
    pub(super) async fn new(stream: Box<dyn Stream>) -> Result<Self, Failure> {
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::Cut(told(&error)))?;
        // What ended it is told to whoever waits for an answer.
        let driver = Box::pin(async move { drop(driver.await) });
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Whether it can be used again.
    pub(super) fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        answer_bytes_max: usize,
    ) -> Result<Answer, Trouble> {
        let Self { sender, driver } = self;
        let exchange = async {
            if sender.ready().await.is_err() {
                return Err(Trouble::Stale(Box::new(request)));
            }
            match sender.try_send_request(request).await {
                Ok(response) => whole(response, answer_bytes_max).await.map_err(Trouble::Failed),
                Err(mut error) => match error.take_message() {
                    Some(request) => Err(Trouble::Stale(Box::new(request))),
                    None => Err(Trouble::Failed(Failure::Cut(told(error.error())))),
                },
            }
        };
        let mut exchange = pin!(exchange);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                // Once it is over, what it has read is still there for the answer.
                let is_over = driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready());
                if !is_over {
                    return Poll::Pending;
                }
                *driver = None;
            }
        })
        .await
    }

    /// Comes when the other side closes a connection on which nothing is asked.
    pub(super) async fn closed(&mut self) {
        match &mut self.driver {
            Some(driver) => driver.await,
            None => std::future::pending().await,
        }
        self.driver = None;
    }
}

async fn whole(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Failure::LargeAnswer } else { Failure::Cut(error.to_string()) }
    })?;
    let status = head.status.as_u16();
    let retry_after = retry_after(&head.headers, SystemTime::now());
    Ok(Answer { status, retry_after, body: body.to_bytes() })
}

/// RFC 9110 section 10.2.3. A date that is over asks for nothing.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = || text.parse().ok().map(Duration::from_secs);
    let until = || Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default());
    seconds().or_else(until)
}

/// An error with what lies behind it.
fn told(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A back end that named a date was asked again at once.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!((of("120"), of(" 0 ")), (Some(120), Some(0)));
        // The three forms of RFC 9110 section 5.6.7.
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(of(date), Some(77), "{date}");
        }
        assert_eq!(of("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0), "it is over");
        for bad in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
