//! One HTTP request to a registry or its token server: over TLS, or in the
//! clear where the engine itself would. Decides deadlines, limits and where a
//! redirect may lead; it knows nothing of manifests or tokens. Proxies of the
//! environment are not looked at.

mod tls;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::engine::{Insecure, host_and_port as split};
use crate::model::secret::Secret;
use tls::Certificates;

/// How long one request may take, from the name's look-up to the last byte.
const DEADLINE: Duration = Duration::from_secs(20);

/// The most that one of a host's addresses is waited for, where there are others.
const ONE_ADDRESS: Duration = Duration::from_secs(3);

/// The most that an insecure registry is waited for with TLS, before it is asked in the clear.
const TLS_FIRST: Duration = Duration::from_secs(5);

/// The longest answer that is read: a manifest is a few KB, 4 MiB the limit
/// that registries themselves keep.
const LONGEST: usize = 4 << 20;

/// Redirects that are followed; registry.k8s.io needs one.
const REDIRECTS: usize = 3;

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS.
    Tls,
    /// In the clear.
    Plain,
    /// Over TLS; an insecure registry in the clear where it speaks no TLS.
    AsTheEngine,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// With its port, where it has one.
    pub host: String,
    /// How.
    pub scheme: Scheme,
    /// With its query.
    pub path: String,
}

impl Url {
    /// Reads an absolute URL, or a path on the same host.
    pub fn parse(text: &str, base: &Url) -> Option<Url> {
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Tls, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Plain, rest)
        } else if text.starts_with('/') && !text.starts_with("//") {
            return Some(Url {
                path: text.to_owned(),
                ..base.clone()
            });
        } else {
            return None;
        };
        let (host, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(h, p)| (h, p.to_owned()));
        let fine = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        (!host.is_empty() && host.bytes().all(fine)).then(|| Url {
            host: host.to_owned(),
            scheme,
            path: format!("/{path}"),
        })
    }

    /// Whether both are of one host.
    pub fn same_host(&self, other: &Url) -> bool {
        let place = |url: &Url| {
            let port = if url.scheme == Scheme::Plain { 80 } else { 443 };
            let (name, port) = split(&url.host, port);
            (name.to_ascii_lowercase(), port)
        };
        self.host == other.host || place(self) == place(other)
    }
}

/// One answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whose it is: after a redirect not that of who was asked.
    pub url: Url,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    /// Foreign text may be in it: it is not fit to print.
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

impl Answer {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// One request.
pub struct Ask<'a> {
    /// HEAD, GET or POST.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// The whole value of `Authorization`.
    pub authorization: Option<&'a Secret>,
    /// More headers.
    pub headers: &'a [(&'static str, &'static str)],
    /// Sent as a form, where it is not empty.
    pub form: Option<Secret>,
}

/// Sends requests; one connection for each.
pub struct Wire {
    insecure: Insecure,
    certificates: Certificates,
    deadline: Duration,
    /// Insecure hosts that speak no TLS.
    plain: Mutex<BTreeSet<String>>,
}

impl Wire {
    /// For the registries of an engine.
    pub fn new(insecure: Insecure) -> Self {
        Self {
            insecure,
            certificates: Certificates::new("/etc/docker/certs.d".into()),
            deadline: DEADLINE,
            plain: Mutex::default(),
        }
    }

    /// The same, for tests that wait for the deadline.
    #[cfg(test)]
    pub fn impatient(insecure: Insecure) -> Self {
        Self {
            deadline: Duration::from_secs(2),
            ..Self::new(insecure)
        }
    }

    /// Whether the engine lists this host as insecure, by its name or by one of its addresses.
    async fn is_insecure(&self, host: &str) -> bool {
        if self.insecure.covers(host) {
            return true;
        }
        let (name, port) = split(host, 443);
        let found = lookup_host((name.trim_matches(['[', ']']), port)).await;
        found.is_ok_and(|found| self.covers(found.map(|address| address.ip())))
    }

    fn covers(&self, mut addresses: impl Iterator<Item = IpAddr>) -> bool {
        addresses.any(|address| self.insecure.covers_address(address))
    }

    /// Whether what one host says may lead there: never away from TLS, but between registries
    /// that are both listed as insecure.
    pub async fn may_lead(&self, from: &Url, to: &Url) -> bool {
        to.scheme != Scheme::Plain
            || (self.is_insecure(&from.host).await && self.is_insecure(&to.host).await)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Answer, Failed> {
        let whole = tokio::time::timeout(self.deadline, self.follow(ask));
        whole.await.unwrap_or_else(|_| {
            Err(Failed {
                why: format!("no answer within {} s", self.deadline.as_secs()),
                silent: true,
            })
        })
    }

    async fn follow(&self, mut ask: Ask<'_>) -> Result<Answer, Failed> {
        let first = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.once(&ask).await?;
            let redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !redirect || ask.method == Method::POST {
                return Ok(answer);
            }
            let next = answer
                .header(LOCATION.as_str())
                .and_then(|text| Url::parse(text, &ask.url));
            let next =
                next.ok_or_else(|| format!("a redirect ({}) that leads nowhere", answer.status))?;
            if !self.may_lead(&ask.url, &next).await {
                return Err(format!("a redirect away from TLS, to {}", next.host).into());
            }
            ask.url = next;
            if !ask.url.same_host(&first) {
                // Credentials are for whom they were given.
                ask.authorization = None;
            }
        }
        Err(format!("more than {REDIRECTS} redirects").into())
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, Failed> {
        let host = &ask.url.host;
        let known = || self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let as_the_engine = ask.url.scheme == Scheme::AsTheEngine;
        let plain = ask.url.scheme == Scheme::Plain || as_the_engine && known().contains(host);
        let (name, port) = split(host, if plain { 80 } else { 443 });
        let bare = name.trim_matches(['[', ']']);
        let words = |error: std::io::Error| error.to_string();
        let addresses = lookup_host((bare, port)).await.map_err(words)?;
        let mut addresses: Vec<_> = addresses.collect();
        if plain {
            return talk(connect(&addresses).await.map_err(words)?, ask).await;
        }
        let insecure = self.insecure.covers(host)
            || self.covers(addresses.iter().map(std::net::SocketAddr::ip));
        let server = ServerName::try_from(bare.to_owned())
            .map_err(|_| "its name fits no certificate".to_owned())?;
        let connector = TlsConnector::from(self.certificates.config(host, insecure)?);
        let handshake = async { connector.connect(server, connect(&addresses).await?).await };
        if !(insecure && as_the_engine) {
            return talk(handshake.await.map_err(words)?, ask).await;
        }
        let over_tls = match tokio::time::timeout(TLS_FIRST, handshake).await {
            Ok(Ok(stream)) => return talk(stream, ask).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", TLS_FIRST.as_secs()),
        };
        let (_, port) = split(host, 80);
        for address in &mut addresses {
            address.set_port(port);
        }
        let in_the_clear = async {
            let stream = connect(&addresses).await.map_err(words)?;
            talk(stream, ask).await
        };
        let answer = in_the_clear.await.map_err(|failed| Failed {
            why: format!("over TLS: {over_tls}; in the clear: {}", failed.why),
            ..failed
        })?;
        known().insert(host.clone());
        Ok(answer)
    }
}

/// To the first of a host's addresses that answers: one that leads nowhere, such as
/// an IPv6 address on a host without a way out, must leave time for the rest.
async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let Some((last, others)) = addresses.split_last() else {
        return Err(std::io::Error::other("its name has no address"));
    };
    let share = DEADLINE / 2 / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in others {
        let attempt = TcpStream::connect(address);
        if let Ok(Ok(stream)) = tokio::time::timeout(share.min(ONE_ADDRESS), attempt).await {
            return Ok(stream);
        }
    }
    TcpStream::connect(last).await
}

async fn talk<S>(stream: S, ask: &Ask<'_>) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let words = |error: hyper::Error| {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        text
    };
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&ask.url.path)
        .header(HOST, &ask.url.host)
        .header(USER_AGENT, concat!("secateur/", env!("CARGO_PKG_VERSION")));
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    if let Some(secret) = ask.authorization {
        let mut value =
            HeaderValue::from_str(secret.expose()).map_err(|_| "the credentials fit no header")?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let mut body = Bytes::new();
    if let Some(form) = &ask.form {
        request = request.header("content-type", "application/x-www-form-urlencoded");
        body = Bytes::copy_from_slice(form.expose().as_bytes());
    }
    let request = request
        .body(Full::new(body))
        .map_err(|_| "its path fits no request".to_owned())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    // Ends by itself when the answer has been read or given up.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(words)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes(),
        url: ask.url.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::sync::Arc;

    #[test]
    fn a_location_is_absolute_or_a_path_here() {
        let base = Url {
            host: "a.example".into(),
            scheme: Scheme::Tls,
            path: "/v2/".into(),
        };
        let parsed = |text| {
            Url::parse(text, &base).map(|url| format!("{}{} {:?}", url.host, url.path, url.scheme))
        };
        assert_eq!(
            parsed("https://b.example/x?y").unwrap(),
            "b.example/x?y Tls"
        );
        assert_eq!(parsed("http://b.example").unwrap(), "b.example/ Plain");
        assert_eq!(parsed("/z").unwrap(), "a.example/z Tls");
        for bad in [
            "//b.example/x",
            "ftp://b",
            "https:///x",
            "https://me@b.example/",
            "x",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    /// A server that answers each connection once, with its head as the body.
    async fn serve(answer: &'static str) -> (String, tokio::task::JoinHandle<()>) {
        use rustls::pki_types::PrivateKeyDer;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let chain = CertificateDer::pem_slice_iter(include_bytes!("server.crt"));
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A name, to us: an address of this host would not be checked.
        let port = listener.local_addr().unwrap().port();
        let address = format!("0x7f000001:{port}");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let length = head.len();
                let text = format!(
                    "HTTP/1.1 {answer}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}"
                );
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (address, task)
    }

    fn wire_with(certificates: &std::path::Path) -> Wire {
        Wire {
            certificates: Certificates::new(certificates.to_owned()),
            ..Wire::new(Insecure::default())
        }
    }

    async fn asked(wire: &Wire, host: &str) -> Result<Answer, String> {
        let url = Url {
            host: host.to_owned(),
            scheme: Scheme::Tls,
            path: "/v2/".into(),
        };
        let secret = Secret::new("Bearer TOKEN");
        let ask = Ask {
            method: Method::GET,
            url,
            authorization: Some(&secret),
            headers: &[],
            form: None,
        };
        wire.send(ask).await.map_err(|failed| failed.why)
    }

    #[test]
    fn a_server_is_believed_by_dockers_certificate_for_it_and_by_no_other() {
        block_on(async {
            let (address, _server) = serve("200 OK").await;
            let folder = tempfile::tempdir().unwrap();
            let refused = asked(&wire_with(folder.path()), &address)
                .await
                .unwrap_err();
            assert!(
                refused.contains("certificate") || refused.contains("UnknownIssuer"),
                "{refused}"
            );
            let own = folder.path().join(&address);
            std::fs::create_dir_all(&own).unwrap();
            std::fs::write(own.join("ca.crt"), include_bytes!("ca.crt")).unwrap();
            let answer = asked(&wire_with(folder.path()), &address).await.unwrap();
            let head = String::from_utf8_lossy(&answer.body).to_lowercase();
            assert!(head.starts_with("get /v2/ http/1.1\r\n"), "{head}");
            assert!(
                head.contains("authorization: bearer token")
                    && head.contains(&format!("host: {address}")),
                "{head}"
            );
        });
    }

    #[test]
    fn no_redirect_leads_away_from_tls() {
        block_on(async {
            let (address, _server) = serve("307 there\r\nLocation: http://127.0.0.1:9/x").await;
            let folder = tempfile::tempdir().unwrap();
            let own = folder.path().join(&address);
            std::fs::create_dir_all(&own).unwrap();
            std::fs::write(own.join("ca.crt"), include_bytes!("ca.crt")).unwrap();
            let refused = asked(&wire_with(folder.path()), &address)
                .await
                .unwrap_err();
            assert!(refused.contains("away from TLS"), "{refused}");
        });
    }

    #[test]
    fn an_address_that_leads_nowhere_does_not_use_up_the_time_of_the_next() {
        block_on(async {
            let any = "127.0.0.1:0".parse().unwrap();
            let nowhere = tokio::net::TcpSocket::new_v4().unwrap();
            nowhere.bind(any).unwrap();
            let nowhere = nowhere.listen(1).unwrap();
            let full = nowhere.local_addr().unwrap();
            let mut waiting = Vec::new();
            // Nobody takes them, and for one more there is no room.
            let soon = Duration::from_millis(300);
            while let Ok(Ok(stream)) = tokio::time::timeout(soon, TcpStream::connect(full)).await {
                waiting.push(stream);
                assert!(waiting.len() < 100, "it is never full");
            }
            let live = tokio::net::TcpListener::bind(any).await.unwrap();
            let address = live.local_addr().unwrap();
            tokio::time::pause();
            let found = tokio::time::timeout(DEADLINE, connect(&[full, address])).await;
            assert_eq!(found.unwrap().unwrap().peer_addr().unwrap(), address);
        });
    }

    #[test]
    fn an_insecure_network_holds_for_a_name_that_leads_into_it_and_for_any_certificate() {
        block_on(async {
            let (address, _server) = serve("200 OK").await;
            let folder = tempfile::tempdir().unwrap();
            let insecure = |cidr: &str| Wire {
                insecure: Insecure {
                    cidrs: vec![cidr.to_owned()],
                    ..Insecure::default()
                },
                ..wire_with(folder.path())
            };
            let listed = asked(&insecure("127.0.0.0/8"), &address).await;
            assert_eq!(listed.unwrap().status, 200);
            asked(&insecure("10.0.0.0/8"), &address).await.unwrap_err();
        });
    }
}
