//! A client that waits for each answer: for a program that has one of them.
//!
//! Start at [`Connection::open`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Endpoint, refusal};
use crate::error::Error;
use crate::http::answer;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// One connection to an [`Endpoint`], kept between calls.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    stream: TcpStream,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error`] if nobody answers there.
    pub fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let host = &endpoint.target.host;
        let tried = |error| match error {
            error if is_refused(&error) => {
                Error::new(format!("no server answers at {host}: is `trunkline dev` running?"))
            }
            error => Error::io(host, &error),
        };
        let stream = TcpStream::connect_timeout(&endpoint.target.address, CONNECT_WITHIN).map_err(tried)?;
        stream.set_nodelay(true).map_err(tried)?;
        Ok(Self { endpoint: endpoint.clone(), stream })
    }

    /// Does an action and waits for its answer.
    ///
    /// # Errors
    /// [`Error`] with the name and the text of what the server said, or if it says nothing in that time.
    pub fn call(&mut self, action: &str, input: &Value, within: Duration) -> Result<Value, Error> {
        let body = self.exchange(action, input.to_string().as_bytes(), within)?;
        serde_json::from_slice(&body).map_err(|_| {
            Error::new(format!("{}: {action} was not answered with JSON", self.endpoint.target.host))
        })
    }

    /// The body of the answer to a body that is written already.
    pub(crate) fn exchange(
        &mut self,
        action: &str,
        input: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(input.len() + 256);
        self.endpoint.write(action, input, &mut out);
        let host = self.endpoint.target.host.clone();
        let tried = |error| Error::io(format!("{host}: {action}"), &error);
        self.stream.set_read_timeout(Some(within)).map_err(tried)?;
        self.stream.write_all(&out).map_err(tried)?;
        let (mut held, mut buf) = (Vec::new(), vec![0; READ_BYTES]);
        loop {
            let read = match self.stream.read(&mut buf) {
                Ok(0) => return Err(Error::new(format!("{host}: {action}: the connection was closed"))),
                Ok(read) => read,
                Err(error) if is_late(&error) => {
                    return Err(Error::new(format!("{host}: {action} was not answered in time")));
                }
                Err(error) => return Err(tried(error)),
            };
            held.extend_from_slice(buf.get(..read).unwrap_or_default());
            match answer(&held).map_err(Error::new)? {
                Some((_, 200, body)) => return Ok(body),
                Some((_, status, body)) => return Err(Error::new(refusal(status, &body))),
                None => {}
            }
        }
    }
}

fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionRefused
}

/// A read that took longer than it may says either, by system.
fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
