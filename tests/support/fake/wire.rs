//! HTTP/1.1 as an engine speaks it: short answers with their length, long ones
//! in chunks, and the connection stays open for the next request unless the
//! client says otherwise.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Shared;
use super::fault::Fault;

/// What an engine would answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// `application/json`, or something else.
    pub kind: &'static str,
    /// Lines of the head that tell of the engine, each with its end.
    pub told: String,
}

/// From here on Go's server sends chunks.
const CHUNKED_FROM: usize = 2048;

const CHUNK: usize = 4096;

/// One connection, to its end.
pub(super) fn serve(shared: &Shared, mut client: &UnixStream) {
    let Ok(mut reader) = client.try_clone().map(BufReader::new) else {
        return;
    };
    while let Ok(Some(request)) = Request::read(&mut reader) {
        let line = format!("{} {}", request.method, request.path);
        shared.seen.lock().expect("seen").push(line);
        let fault = shared.fault_for(&request.method, &request.path);
        let does_it = fault.as_ref().is_none_or(Fault::does_it);
        let answer = does_it.then(|| {
            let mut world = shared.world.lock().expect("the world");
            Answer {
                told: world.told(),
                ..world.answer(&request.method, &request.path)
            }
        });
        let sent = match fault {
            None => plain(&mut client, &answer.expect("it was done")),
            Some(fault) => faulty(client, answer, &fault),
        };
        if !matches!(sent, Ok(Next::MayAsk)) || request.close {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

enum Next {
    /// The connection is good for another request.
    MayAsk,
    HangUp,
}

struct Request {
    method: String,
    /// Without the API version.
    path: String,
    close: bool,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let (mut length, mut close) = (0, false);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 {
                return Ok(None);
            }
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            close |= header == "connection: close";
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let version = path
            .strip_prefix("/v1.")
            .and_then(|rest| rest.find('/').map(|at| &rest[at..]));
        Ok(Some(Request {
            method: method.to_owned(),
            path: version.unwrap_or(path).to_owned(),
            close,
        }))
    }
}

fn head(answer: &Answer, body: &str) -> Vec<u8> {
    let Answer { status, kind, .. } = answer;
    let told = &answer.told;
    let location = if (300..400).contains(status) {
        "Location: /v1.99/elsewhere\r\n"
    } else {
        ""
    };
    format!("HTTP/1.1 {status} As Told\r\n{told}Content-Type: {kind}\r\n{location}{body}\r\n\r\n")
        .into_bytes()
}

fn with_length(answer: &Answer, length: impl std::fmt::Display) -> Vec<u8> {
    head(answer, &format!("Content-Length: {length}"))
}

fn chunked(answer: &Answer) -> Vec<u8> {
    head(answer, "Transfer-Encoding: chunked")
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(CHUNK) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn bytes_of(answer: &Answer) -> Vec<u8> {
    if answer.status == 204 || answer.status == 304 {
        return head(answer, "X-Body: none");
    }
    if answer.body.len() < CHUNKED_FROM {
        return [&with_length(answer, answer.body.len()), &*answer.body].concat();
    }
    [&chunked(answer), &*chunks(&answer.body), LAST_CHUNK].concat()
}

fn plain(client: &mut impl Write, answer: &Answer) -> io::Result<Next> {
    client.write_all(&bytes_of(answer))?;
    Ok(Next::MayAsk)
}

/// The client hangs up in the end: that is what is waited for.
fn silence(mut client: &UnixStream) -> io::Result<Next> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest)?;
    Ok(Next::HangUp)
}

fn faulty(mut client: &UnixStream, answer: Option<Answer>, fault: &Fault) -> io::Result<Next> {
    let answer = answer.unwrap_or(Answer {
        status: 200,
        body: Vec::new(),
        kind: "application/json",
        told: String::new(),
    });
    let half = answer.body.len() / 2;
    match fault {
        Fault::ResetBefore | Fault::ResetAfter => {}
        Fault::Hang | Fault::HangAfter => return silence(client),
        Fault::HangAfterHead => {
            client.write_all(&chunked(&answer))?;
            return silence(client);
        }
        Fault::HangInBody => {
            client.write_all(&with_length(&answer, answer.body.len().max(1)))?;
            client.write_all(&answer.body[..half])?;
            return silence(client);
        }
        Fault::HangAfterBytes(bytes) => {
            client.write_all(&[chunked(&answer), chunks(bytes)].concat())?;
            return silence(client);
        }
        Fault::Late(time) => {
            // A slow engine, not a wait for anything.
            std::thread::sleep(*time);
            return plain(&mut client, &answer);
        }
        Fault::Drip => {
            // A slow engine, not a wait for anything.
            for byte in bytes_of(&answer) {
                client.write_all(&[byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Fault::CutChunk
        | Fault::NoLastChunk
        | Fault::BadChunkSize
        | Fault::LengthShort
        | Fault::LengthLong
        | Fault::LengthOdd => badly_framed(&mut client, &answer, fault)?,
        Fault::Half => {
            let body = answer.body[..half].to_vec();
            return plain(&mut client, &Answer { body, ..answer });
        }
        Fault::Status(status, text) => {
            let html = text.starts_with('<');
            let answer = Answer {
                status: *status,
                body: if html || text.is_empty() {
                    text.as_bytes().to_vec()
                } else {
                    serde_json::json!({"message": text})
                        .to_string()
                        .into_bytes()
                },
                kind: if html {
                    "text/html"
                } else {
                    "application/json"
                },
                told: answer.told,
            };
            return plain(&mut client, &answer);
        }
        Fault::Body(body) => {
            let body = body.clone();
            return plain(&mut client, &Answer { body, ..answer });
        }
        Fault::Json(change) => {
            let mut value = serde_json::from_slice(&answer.body).expect("JSON");
            change(&mut value);
            let body = value.to_string().into_bytes();
            return plain(&mut client, &Answer { body, ..answer });
        }
        Fault::Raw(bytes) => client.write_all(bytes)?,
        Fault::Endless(bytes) => {
            client.write_all(&chunked(&answer))?;
            let many = chunks(&bytes.repeat(CHUNK / bytes.len() + 1)).repeat(16);
            loop {
                client.write_all(&many)?;
            }
        }
        Fault::Gibibyte(start, again, end) => gibibyte(client, &answer, start, again, end)?,
        Fault::EndlessHead => {
            client.write_all(b"HTTP/1.1 200 OK\r\n")?;
            let line = format!("X-More: {}\r\n", "x".repeat(1000));
            loop {
                client.write_all(line.as_bytes())?;
            }
        }
        Fault::Unasked(bytes) => {
            client.write_all(&[&bytes_of(&answer), *bytes].concat())?;
            return Ok(Next::MayAsk);
        }
        Fault::ThenClose => {
            client.write_all(&bytes_of(&answer))?;
        }
    }
    Ok(Next::HangUp)
}

/// The right body, and the wrong word on where it ends.
fn badly_framed(client: &mut impl Write, answer: &Answer, fault: &Fault) -> io::Result<()> {
    let half = answer.body.len() / 2;
    match fault {
        Fault::CutChunk => {
            client.write_all(&chunked(answer))?;
            let size = answer.body.len().max(2);
            client.write_all(format!("{size:x}\r\n").as_bytes())?;
            client.write_all(&answer.body[..half])?;
        }
        Fault::NoLastChunk => {
            client.write_all(&chunked(answer))?;
            client.write_all(&chunks(&answer.body))?;
        }
        Fault::BadChunkSize => {
            client.write_all(&chunked(answer))?;
            client.write_all(b"zz\r\n")?;
            client.write_all(&answer.body)?;
        }
        Fault::LengthShort => {
            client.write_all(&with_length(answer, answer.body.len().saturating_sub(2)))?;
            client.write_all(&answer.body)?;
        }
        Fault::LengthLong => {
            client.write_all(&with_length(answer, answer.body.len() + 1))?;
            client.write_all(&answer.body)?;
        }
        Fault::LengthOdd => {
            client.write_all(&with_length(answer, "-1"))?;
            client.write_all(&answer.body)?;
        }
        other => panic!("{other:?} is about something else"),
    }
    Ok(())
}

/// A `%` in what is repeated is another number each time.
fn gibibyte(
    mut client: &UnixStream,
    answer: &Answer,
    start: &[u8],
    again: &[u8],
    end: &[u8],
) -> io::Result<()> {
    client.write_all(&chunked(answer))?;
    client.write_all(&chunks(start))?;
    let again = String::from_utf8_lossy(again);
    let mut many = again.repeat(CHUNK.div_ceil(again.len()));
    let (mut number, mut sent) = (0_u64, 0);
    while sent < 1 << 30 {
        if again.contains('%') {
            many.clear();
            while many.len() < CHUNK {
                number += 1;
                many += &again.replace('%', &format!("{number:012x}"));
            }
        }
        sent += many.len();
        client.write_all(&chunks(many.as_bytes()))?;
    }
    client.write_all(&chunks(end))?;
    client.write_all(LAST_CHUNK)
}
