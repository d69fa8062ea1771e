//! Just enough HTTP/1.1: one request a connection, over a Unix socket (engine) or TCP (registry).
//! A client of our own, so that what the lab sees does not pass through the code under test.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// An engine that says nothing for this long has hung: the test fails instead of hanging with it.
const SILENCE: Duration = Duration::from_mins(10);

pub struct Request<'a> {
    pub method: &'a str,
    /// With its query string, already encoded.
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{} is no JSON ({e}): {}", self.status, self.text()))
    }

    /// A stream of JSON values, as pull, load, build and events send it.
    pub fn lines(&self) -> Vec<Value> {
        serde_json::Deserializer::from_slice(&self.body)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|e| panic!("no JSON stream ({e}): {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same, if the status is 2xx or 304 ("already so").
    #[track_caller]
    pub fn ok(self, what: &str) -> Response {
        let fine = (200..300).contains(&self.status) || self.status == 304;
        assert!(fine, "{what}: {} {}", self.status, self.text());
        self
    }
}

pub fn unix(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

pub fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Sends the request and reads the answer to its end.
pub fn exchange(stream: &mut (impl Read + Write), request: &Request) -> io::Result<Response> {
    let Request { method, path, .. } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n");
    for (name, value) in request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", request.body.len());
    // An engine that gives up (a full disk) answers and hangs up before it has read all.
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(request.body));

    let mut raw = Vec::new();
    let read = stream.read_to_end(&mut raw);
    if let Some(response) = parse(&raw, *method == "HEAD") {
        return Ok(response);
    }
    sent?;
    read?;
    let text = String::from_utf8_lossy(&raw);
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("cut short: {text:?}"),
    ))
}

fn parse(raw: &[u8], head_only: bool) -> Option<Response> {
    let end = find(raw, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    if !head_only {
        let rest = &raw[end + 4..];
        response.body = match (
            response.header("transfer-encoding"),
            response.header("content-length"),
        ) {
            (Some("chunked"), _) => unchunk(rest)?,
            (_, Some(length)) => rest.get(..length.parse().ok()?)?.to_vec(),
            (_, None) => rest.to_vec(),
        };
    }
    Some(response)
}

/// None where the last chunk is missing: the other side went away in mid-answer.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Percent-encodes a query value.
pub fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Padded base64url: what engines want in X-Registry-Auth.
pub fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0, |group, b| group << 8 | usize::from(*b))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = URL_SAFE[group >> (18 - 6 * place) & 63];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}
