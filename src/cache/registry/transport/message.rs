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
    /// The whole value of `Authorization`.
    pub authorization: Option<&'a Secret>,
    pub accept: Option<&'static str>,
    /// The body, an urlencoded form.
    pub form: Option<Secret>,
}

/// The longest answer that is read whole: a manifest is a few KB, 4 MiB the limit that
/// registries themselves keep.
const LONGEST: usize = 4 << 20;

/// One answer, whose body has not been read.
#[derive(Debug)]
pub struct Opened {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Incoming,
    /// Who answered: after a redirect not the one who was asked.
    pub endpoint: Endpoint,
    /// When it was asked for, and how long all of it may take.
    pub(super) asked: (Instant, Duration),
}

impl Opened {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    pub async fn whole(self) -> Result<Answer, Failed> {
        let (asked, deadline) = self.asked;
        let body = Limited::new(self.body, LONGEST).collect();
        let body = timeout_at(asked + deadline, body).await;
        let body = body.map_err(|_| Failed::silent(deadline))?;
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: body.map_err(|error| error.to_string())?.to_bytes(),
            endpoint: self.endpoint,
        })
    }
}

/// One answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who answered: after a redirect not the one who was asked.
    pub endpoint: Endpoint,
}

impl Answer {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    /// Not fit to print: it may quote foreign text.
    pub why: String,
    /// Nothing came within the deadline.
    pub silent: bool,
}

impl Failed {
    /// Nothing, or not all, came within this time.
    pub fn silent(deadline: Duration) -> Self {
        Self {
            why: format!("no answer within {} s", deadline.as_secs()),
            silent: true,
        }
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, silent: false }
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        error.to_string().into()
    }
}

impl From<hyper::Error> for Failed {
    /// hyper leaves the cause out of its own words.
    fn from(error: hyper::Error) -> Self {
        match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}").into(),
            None => error.to_string().into(),
        }
    }
}
