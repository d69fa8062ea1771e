//! A request to a registry, and its answer.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cache::registry::transport::endpoint::Endpoint;
use crate::model::secret::Secret;

pub struct Request<'a> {
    /// HEAD, GET or POST.
    pub method: Method,
    pub endpoint: Endpoint,
    /// The value of `Authorization`.
    pub authorization: Option<&'a Secret>,
    pub accept: Option<&'static str>,
    /// The body: a URL-encoded form.
    pub form: Option<Secret>,
}

/// The longest answer that is read whole. Manifests have a few KB; registries accept up to 4 MiB.
const LONGEST: usize = 4 << 20;

/// An answer whose body has not been read.
#[derive(Debug)]
pub struct StreamedAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Incoming,
    /// The host that answered, after redirects.
    pub endpoint: Endpoint,
    /// When the request was sent, and its deadline.
    pub(super) asked: (Instant, Duration),
}

impl StreamedAnswer {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    pub async fn whole(self) -> Result<Answer, RequestError> {
        let (asked, deadline) = self.asked;
        let body = Limited::new(self.body, LONGEST).collect();
        let body = timeout_at(asked + deadline, body).await;
        let body = body.map_err(|_| RequestError::timeout(deadline))?;
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: body.map_err(|error| error.to_string())?.to_bytes(),
            endpoint: self.endpoint,
        })
    }
}

/// An answer with its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The host that answered, after redirects.
    pub endpoint: Endpoint,
}

impl Answer {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why there is no answer.
#[derive(Debug)]
pub struct RequestError {
    /// Not fit to print: it may contain foreign text.
    pub why: String,
    /// No complete answer came within the deadline.
    pub timed_out: bool,
}

impl RequestError {
    /// No complete answer within this time.
    pub fn timeout(deadline: Duration) -> Self {
        Self {
            why: format!("no answer within {} s", deadline.as_secs()),
            timed_out: true,
        }
    }
}

impl From<String> for RequestError {
    fn from(why: String) -> Self {
        Self {
            why,
            timed_out: false,
        }
    }
}

impl From<&str> for RequestError {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<std::io::Error> for RequestError {
    fn from(error: std::io::Error) -> Self {
        error.to_string().into()
    }
}

impl From<hyper::Error> for RequestError {
    /// hyper's own message lacks the cause.
    fn from(error: hyper::Error) -> Self {
        match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}").into(),
            None => error.to_string().into(),
        }
    }
}
