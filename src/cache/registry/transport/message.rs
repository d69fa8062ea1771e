//! A request to a registry, and its answer.

use hyper::body::Bytes;
use hyper::{HeaderMap, Method};

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
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    /// Not fit to print: it may quote foreign text.
    pub why: String,
    /// Nothing came within the deadline.
    pub silent: bool,
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
