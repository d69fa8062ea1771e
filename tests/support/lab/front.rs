//! A server in front of a registry, for what a real one will not do on demand: it sends on to
//! another host, does not answer HEAD, asks for a token, is no registry at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http::{self, Request, Response};
use super::loopback;

/// What somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
}

impl Asked {
    /// Does a password come with it?
    pub fn password(&self) -> bool {
        let sent = self.authorization.as_deref();
        sent.is_some_and(|value| value.starts_with("Basic "))
    }
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct Front {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: Arc<AtomicBool>,
}

/// A registry that a front may ask.
#[derive(Debug, Clone)]
pub struct Behind {
    pub address: String,
    pub authorization: String,
}

/// An answer of a front.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Response {
        status,
        headers: headers.iter().map(own).collect(),
        body: body.as_bytes().to_vec(),
    }
}

impl Front {
    pub fn start(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Front {
        Front::serve(None, answer)
    }

    /// The same over TLS, with a certificate that nobody vouches for.
    pub fn start_tls(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Front {
        let pem = include_bytes!("../../../src/cache/registry/transport/testdata/server.crt");
        let chain = CertificateDer::pem_slice_iter(pem).map(|found| found.expect("a certificate"));
        let pem = include_bytes!("../../../src/cache/registry/transport/testdata/server.key");
        let key = PrivateKeyDer::from_pem_slice(pem).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .expect("a certificate");
        Front::serve(Some(Arc::new(config)), answer)
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Asked) -> Response + Send + Sync + 'static,
    ) -> Front {
        let listener = TcpListener::bind(format!("{}:0", loopback())).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let front = Front {
            address,
            asked: Arc::default(),
            closed: Arc::default(),
        };
        let (asked, closed) = (Arc::clone(&front.asked), Arc::clone(&front.closed));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::Relaxed) {
                    break;
                }
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let tell = |what: &Asked| asked.lock().expect("a lock").push(what.clone());
                    match tls {
                        None if speaks_tls(&stream) => decline_tls(stream),
                        None => talk(stream, tell, &*answer),
                        Some(config) => {
                            let connection = ServerConnection::new(config).expect("TLS");
                            talk(StreamOwned::new(connection, stream), tell, &*answer);
                        }
                    }
                });
            }
        });
        front
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of `app:v1` there.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // One connection more, so that the listening thread wakes up and ends.
        let _ = TcpStream::connect(&self.address);
    }
}

/// A registry that is listed as insecure is tried with TLS first.
pub fn speaks_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    stream.peek(&mut first).is_ok_and(|n| n == 1) && first[0] == 0x16
}

/// As servers without TLS do; the containerd store tries without it after such an answer alone.
pub fn decline_tls(mut stream: TcpStream) {
    let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // Unread bytes would take the answer along with the connection.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn talk(stream: impl Read + Write, tell: impl FnOnce(&Asked), answer: &dyn Fn(&Asked) -> Response) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(length) if length > 0 && line.trim_end() != "" => head.push(line.trim().to_owned()),
            Ok(_) if !head.is_empty() => break,
            _ => return,
        }
    }
    let header = |wanted: &str| {
        let found = head.iter().filter_map(|line| line.split_once(": "));
        let mut found = found.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value.to_owned())
    };
    let length = header("content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let mut words = head[0].split(' ').map(str::to_owned);
    let asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        authorization: header("authorization"),
    };
    tell(&asked);
    let Response {
        status,
        headers,
        body,
    } = answer(&asked);
    let mut text = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n");
    let head_only = asked.method == "HEAD";
    let mut length = body.len().to_string();
    for (name, value) in &headers {
        match name.as_str() {
            "content-length" if head_only => length.clone_from(value),
            "content-length" | "transfer-encoding" | "connection" => {}
            _ => text += &format!("{name}: {value}\r\n"),
        }
    }
    text += &format!("Content-Length: {length}\r\n\r\n");
    let stream = stream.get_mut();
    let body = if head_only { &[] } else { body.as_slice() };
    // Who has seen enough hangs up.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(body))
        .and_then(|()| stream.flush());
}

impl Behind {
    /// What the registry says to the same, asked with the password.
    pub fn answer(&self, asked: &Asked) -> Response {
        let headers = [
            ("Authorization", self.authorization.as_str()),
            ("Accept", super::registry::MANIFESTS),
        ];
        let request = Request {
            method: &asked.method,
            path: &asked.path,
            headers: &headers,
            body: &[],
        };
        let answer =
            http::tcp(&self.address).and_then(|mut stream| http::exchange(&mut stream, &request));
        answer.unwrap_or_else(|error| reply(502, &[], &error.to_string()))
    }
}
