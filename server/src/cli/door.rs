//! The client of the private port for commands: where it is, the key, requests, and errors in words.
//!
//! Must not know what is asked for. Start at [`Door`].

use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use super::Failure;

/// Where the private port is.
#[derive(Debug, clap::Args)]
pub(super) struct Door {
    /// The private port of the server [default: http://127.0.0.1:9000]
    #[arg(long, value_name = "URL", env = "TRUNKLINE_URL")]
    url: Option<String>,
    /// One of the server's private.keys, if it has any; better given by the variable, since arguments can be seen
    #[arg(long, value_name = "KEY", env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// The private port of `trunkline dev`.
const URL: &str = "http://127.0.0.1:9000";

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// A whole answer within this time.
    Within(Duration),
    /// For ever, as a stream does.
    Endless,
}

/// What [`Door::send`] sends.
pub(super) struct Upload<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Of the body.
    pub(super) media: &'a str,
    pub(super) body: &'a mut dyn std::io::Read,
}

/// Of an answer that is read whole: a page of a hundred messages may have a megabyte in each.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Time to establish a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

impl Door {
    /// GET with query parameters.
    pub(super) fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
        patience: Patience,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.agent(patience).get(self.address(path)?);
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        self.answer(self.with_key(request).call())
    }

    /// POST of a JSON body.
    pub(super) fn post(
        &self,
        path: &str,
        body: &Value,
        patience: Patience,
    ) -> Result<Response<Body>, Failure> {
        let request =
            self.agent(patience).post(self.address(path)?).header("content-type", "application/json");
        self.answer(self.with_key(request).send(body.to_string()))
    }

    /// POST of a body that is read while it is sent, for as long as that takes.
    pub(super) fn send(&self, upload: Upload<'_>) -> Result<Response<Body>, Failure> {
        let Upload { path, query, media, body } = upload;
        let mut request =
            self.agent(Patience::Endless).post(self.address(path)?).header("content-type", media);
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        self.answer(self.with_key(request).send(ureq::SendBody::from_reader(body)))
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// A client that goes straight to the server: a proxy of the environment is not meant for a private port.
    fn agent(&self, patience: Patience) -> Agent {
        let within = match patience {
            Patience::Within(time) => Some(time),
            Patience::Endless => None,
        };
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
        config.timeout_connect(Some(CONNECT_WITHIN)).timeout_global(within).build().into()
    }

    /// Where it is said to be, if it is.
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// What lets us in, if that was said.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The address of a path of the private port.
    pub(super) fn address(&self, path: &str) -> Result<String, Failure> {
        let url = self.url.as_deref().unwrap_or(URL);
        if !url.starts_with("http://") {
            return Err(Failure(format!("{url}: must begin with http://, which the private port speaks")));
        }
        Ok(format!("{}{path}", url.trim_end_matches('/')))
    }

    /// An answer of the 200s, or why there is none.
    fn answer(&self, outcome: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        match outcome {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(refusal(response)),
            Err(error) => Err(self.no_answer(&error)),
        }
    }

    fn no_answer(&self, error: &ureq::Error) -> Failure {
        let url = self.url.as_deref().unwrap_or(URL);
        match error {
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Failure(format!("no server answers at {url}: is `trunkline dev` running?"))
            }
            ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
                Failure(format!("no server answers at {url}: is `trunkline dev` running?"))
            }
            ureq::Error::HostNotFound => Failure(format!("{url}: there is no such host")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure(format!("{url}: not a URL")),
            ureq::Error::Timeout(_) => Failure(format!("{url} did not answer in time")),
            other => Failure(format!("{url}: {other}")),
        }
    }
}

/// A problem document (RFC 9457) in one line; other bodies of errors are left out.
fn refusal(mut response: Response<Body>) -> Failure {
    let status = response.status();
    let problem = response.body_mut().read_to_string().ok();
    let problem = problem.and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    let member = |name: &str| problem.get(name).and_then(Value::as_str);
    let what = member("detail").or(member("title")).or(status.canonical_reason()).unwrap_or("refused");
    let hint = match status.as_u16() {
        401 => "\nSet TRUNKLINE_KEY to one of the server's private.keys.",
        _ => "",
    };
    let code = member("code").map_or(String::new(), |code| format!(" {code}"));
    Failure(format!("the server refused: {}{code}: {what}{hint}", status.as_u16()))
}

/// A whole answer as JSON.
pub(super) fn json(mut response: Response<Body>) -> Result<Value, Failure> {
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
    serde_json::from_str(&text)
        .map_err(|_| Failure("the answer is not JSON: is this the private port?".into()))
}
