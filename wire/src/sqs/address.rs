//! How a queue is named: URLs in all their forms, ARNs, and the template that URLs are written by.
//!
//! Owns which names there can be. Must not know which queues there are, nor accounts and keys. Start at
//! [`QueueAddress`], what a client calls a queue, and [`QueueArn`], what it is once account and region are known.

use std::borrow::Cow;
use std::fmt;

use super::Error;
use super::limits::{QUEUE_NAME_CHARS_MAX, SCOPE_CHARS_MAX};

/// The region of a queue whose URL and signature name none.
pub const REGION_DEFAULT: &str = "us-east-1";

/// The account of a queue whose URL and key name none.
pub const ACCOUNT_DEFAULT: &str = "000000000000";

/// What the name of a FIFO queue ends with.
const FIFO_SUFFIX: &str = ".fifo";

/// The two kinds of queues, which their names tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// Messages in about the order they were sent.
    Standard,
    /// Messages in order within their group, each once.
    Fifo,
}

impl QueueKind {
    /// The kind of a queue of this name.
    pub fn of(name: &str) -> Self {
        if name.ends_with(FIFO_SUFFIX) { Self::Fifo } else { Self::Standard }
    }
}

/// Whether a queue may have this name: 1 to 80 of `A-Za-z0-9_-`, of which `.fifo` at the end may be five.
pub fn is_queue_name(name: &str) -> bool {
    let base = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    !base.is_empty() && name.len() <= QUEUE_NAME_CHARS_MAX && is_word(base)
}

/// A queue as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueAddress<'a> {
    /// The region, if the URL has one.
    pub region: Option<Cow<'a, str>>,
    /// The account, if the URL has one.
    pub account: Option<Cow<'a, str>>,
    /// The name; see [`is_queue_name`].
    pub name: Cow<'a, str>,
}

impl<'a> QueueAddress<'a> {
    /// A bare name.
    pub const fn of_name(name: Cow<'a, str>) -> Self {
        Self { region: None, account: None, name }
    }

    /// A queue URL of any form, or a bare name.
    ///
    /// # Errors
    /// `InvalidAddress` if it is no URL of a queue, `QueueDoesNotExist` if no queue can have that name.
    pub fn parse(url: Cow<'a, str>) -> Result<Self, Error> {
        match url {
            Cow::Borrowed(url) => Parts::of_queue_url(url).map(Parts::into_address),
            Cow::Owned(url) => Parts::of_queue_url(&url).map(|parts| parts.into_address().into_owned()),
        }
    }

    /// The queue of a request that was made to a queue's URL; `None` for any other path.
    pub fn of_request(host: &'a str, path: &'a str) -> Option<Self> {
        let mut parts = Parts::of_path(path)?;
        parts.region = parts.region.or_else(|| region_of(host));
        parts.could_exist().then(|| parts.into_address())
    }

    /// The same without borrowing.
    pub fn into_owned(self) -> QueueAddress<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        QueueAddress {
            region: self.region.map(owned),
            account: self.account.map(owned),
            name: owned(self.name),
        }
    }

    /// The kind its name tells.
    pub fn kind(&self) -> QueueKind {
        QueueKind::of(&self.name)
    }

    /// The queue meant, where the request comes with this region (the scope of its credentials) and account.
    pub fn resolve(&self, region: Option<&str>, account: Option<&str>) -> QueueArn {
        QueueArn {
            region: self.region.as_deref().or(region).unwrap_or(REGION_DEFAULT).to_owned(),
            account: self.account.as_deref().or(account).unwrap_or(ACCOUNT_DEFAULT).to_owned(),
            name: self.name.clone().into_owned(),
        }
    }
}

struct Parts<'t> {
    region: Option<&'t str>,
    account: Option<&'t str>,
    name: &'t str,
}

impl<'t> Parts<'t> {
    fn of_queue_url(url: &'t str) -> Result<Self, Error> {
        let parts = Self::of_url(url).ok_or_else(|| Error::invalid_address(url))?;
        if parts.could_exist() { Ok(parts) } else { Err(Error::queue_does_not_exist()) }
    }

    fn of_url(url: &'t str) -> Option<Self> {
        let Some((_, rest)) = url.split_once("://") else {
            return if url.contains('/') {
                Self::of_path(url)
            } else {
                Some(Self { region: None, account: None, name: url })
            };
        };
        let (host, _) = rest.split_once('/')?;
        let mut parts = Self::of_path(rest.get(host.len()..)?)?;
        parts.region = parts.region.or_else(|| region_of(host));
        Some(parts)
    }

    /// `/<account>/<queue>`, `/queue/<region>/<account>/<queue>`, or `/queue/<queue>`.
    fn of_path(path: &'t str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let mut parts = path.strip_suffix('/').unwrap_or(path).split('/');
        let (first, second, third, fourth) = (parts.next()?, parts.next()?, parts.next(), parts.next());
        match (first, third, fourth, parts.next()) {
            ("queue", None, None, None) => Some(Self { region: None, account: None, name: second }),
            (account, None, None, None) => Some(Self { region: None, account: Some(account), name: second }),
            ("queue", Some(account), Some(name), None) => {
                Some(Self { region: Some(second), account: Some(account), name })
            }
            _ => None,
        }
    }

    fn could_exist(&self) -> bool {
        let is_scope = |text: &str| !text.is_empty() && text.len() <= SCOPE_CHARS_MAX && is_word(text);
        is_queue_name(self.name) && self.account.is_none_or(is_scope) && self.region.is_none_or(is_scope)
    }

    fn into_address(self) -> QueueAddress<'t> {
        QueueAddress {
            region: self.region.map(Cow::Borrowed),
            account: self.account.map(Cow::Borrowed),
            name: Cow::Borrowed(self.name),
        }
    }
}

/// The region in a host of the forms `sqs.<region>.<domain>` and `<region>.queue.<domain>`. A host of one's own may
/// look alike (`sqs.example.org`), so that only names with the form of a region count.
fn region_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let (first, second) = (labels.next()?, labels.next()?);
    labels.next()?;
    match (first, second) {
        ("sqs", region) if is_region(region) => Some(region),
        (region, "queue") if is_region(region) => Some(region),
        ("queue", "amazonaws") => Some(REGION_DEFAULT),
        _ => None,
    }
}

/// Lower-case words and a number at the end, at least three parts: `us-east-1`, `eusc-de-east-1`.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.contains('-')
        && words.split('-').all(is_word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A queue with everything that tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueArn {
    /// Its region.
    pub region: String,
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
}

impl QueueArn {
    /// Reads `arn:<partition>:sqs:<region>:<account>:<queue>`; `None` for anything else. The partition means nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        if parts.next()? != "arn" || !parts.next()?.starts_with("aws") || parts.next()? != "sqs" {
            return None;
        }
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let found = Parts { region: Some(region), account: Some(account), name };
        (parts.next().is_none() && found.could_exist()).then(|| Self {
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The kind its name tells.
    pub fn kind(&self) -> QueueKind {
        QueueKind::of(&self.name)
    }
}

impl fmt::Display for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:sqs:{}:{}:{}", self.region, self.account, self.name)
    }
}

/// How URLs of queues are written, so that every client that got one reaches this server by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate(String);

/// Why a text is no [`UrlTemplate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// It does not begin with `{scheme}://`, `http://` or `https://`.
    Scheme,
    /// It does not end with `/{account}/{queue}`, so that a URL would not name its queue.
    End,
    /// What is before the end is no host, or a host and `/queue/{region}`.
    Path,
    /// It has a brace that belongs to no placeholder.
    Placeholder,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "must begin with {scheme}://, http:// or https://",
            Self::End => "must end with /{account}/{queue}",
            Self::Path => "may have only a host, or a host and /queue/{region}, before /{account}/{queue}",
            Self::Placeholder => "knows the placeholders {scheme}, {host}, {region}, {account} and {queue}",
        })
    }
}

impl std::error::Error for TemplateError {}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'o> {
    /// `http` or `https`.
    pub scheme: &'o str,
    /// Host and port as the client wrote them.
    pub host: &'o str,
}

impl UrlTemplate {
    /// The default: the host a client already uses works behind containers and proxies.
    pub const DEFAULT: &'static str = "{scheme}://{host}/{account}/{queue}";

    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`]: a URL made by it could not be read back.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = ["{scheme}://", "http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(TemplateError::Scheme)?;
        let rest = rest.strip_suffix("/{account}/{queue}").ok_or(TemplateError::End)?;
        let host = rest.strip_suffix("/queue/{region}").unwrap_or(rest);
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(TemplateError::Path);
        }
        if host.replace("{host}", "").replace("{region}", "").contains(['{', '}']) {
            return Err(TemplateError::Placeholder);
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL of a queue.
    pub fn print(&self, origin: Origin<'_>, queue: &QueueArn) -> String {
        let mut out = String::with_capacity(self.0.len() + origin.host.len() + queue.name.len() + 16);
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, behind) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            out.push_str(match placeholder {
                "scheme" => origin.scheme,
                "host" => origin.host,
                "region" => &queue.region,
                "account" => &queue.account,
                _ => &queue.name,
            });
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}

impl Default for UrlTemplate {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}
