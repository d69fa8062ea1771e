//! One HTTP request to a registry or its token server: over TLS, or in the
//! clear where the engine itself would. Decides deadlines, limits and where a
//! redirect may lead; it knows nothing of manifests or tokens. Proxies of the
//! environment are not looked at.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::engine::{Insecure, host_and_port as split};
use crate::secret::Secret;
use crate::text::escape;

/// How long one request may take, from the name's look-up to the last byte.
const DEADLINE: Duration = Duration::from_secs(20);

/// The most that one of a host's addresses is waited for, where there are others.
const ONE_ADDRESS: Duration = Duration::from_secs(3);

/// The longest answer that is read: a manifest is a few KB, 4 MiB the limit
/// that registries themselves keep.
const LONGEST: usize = 4 << 20;

/// Redirects that are followed; registry.k8s.io needs one.
const REDIRECTS: usize = 3;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// With its port, where it has one.
    pub host: String,
    /// In the clear.
    pub plain: bool,
    /// With its query.
    pub path: String,
}

impl Url {
    /// Reads an absolute URL, or a path on the same host.
    pub fn parse(text: &str, base: &Url) -> Option<Url> {
        let (plain, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (true, rest)
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
            plain,
            path: format!("/{path}"),
        })
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
    certificates: PathBuf,
    roots: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Wire {
    /// For the registries of an engine.
    pub fn new(insecure: Insecure) -> Self {
        Self {
            insecure,
            certificates: "/etc/docker/certs.d".into(),
            roots: OnceLock::new(),
        }
    }

    /// Whether this host may be spoken to in the clear.
    pub fn may_be_plain(&self, host: &str) -> bool {
        self.insecure.covers(host)
    }

    /// Sends a request and reads the whole answer. The error is fit to print
    /// and says nothing of what was sent.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Answer, String> {
        let whole = tokio::time::timeout(DEADLINE, self.follow(ask));
        match whole.await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }

    async fn follow(&self, mut ask: Ask<'_>) -> Result<Answer, String> {
        let first = ask.url.host.clone();
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
            if next.plain && !(ask.url.plain && self.may_be_plain(&next.host)) {
                return Err(format!(
                    "a redirect away from TLS, to {}",
                    escape(&next.host)
                ));
            }
            ask.url = next;
            if ask.url.host != first {
                // Credentials are for whom they were given.
                ask.authorization = None;
            }
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, String> {
        let (name, port) = split(&ask.url.host, if ask.url.plain { 80 } else { 443 });
        let bare = name.trim_matches(['[', ']']);
        let words = |error: std::io::Error| escape(&error.to_string());
        let addresses = lookup_host((bare, port)).await.map_err(words)?;
        let addresses: Vec<_> = addresses.collect();
        let stream = connect(&addresses).await.map_err(words)?;
        if ask.url.plain {
            return talk(stream, ask).await;
        }
        let server = ServerName::try_from(bare.to_owned())
            .map_err(|_| "its name fits no certificate".to_owned())?;
        let connector = TlsConnector::from(self.tls(&ask.url.host)?);
        let stream = connector
            .connect(server, stream)
            .await
            .map_err(|error| escape(&error.to_string()))?;
        talk(stream, ask).await
    }

    /// The system's certificates, and those that docker is told for this host.
    fn tls(&self, host: &str) -> Result<Arc<ClientConfig>, String> {
        let system = self
            .roots
            .get_or_init(|| rustls_native_certs::load_native_certs().certs);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.iter().cloned());
        let files = std::fs::read_dir(self.certificates.join(host))
            .into_iter()
            .flatten()
            .flatten();
        let own = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|e| e == "crt"));
        for path in own {
            let found = CertificateDer::pem_file_iter(&path)
                .into_iter()
                .flatten()
                .flatten();
            roots.add_parsable_certificates(found);
        }
        if roots.is_empty() {
            return Err(
                "this host has no certificates to check it with (install ca-certificates)".into(),
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
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

async fn talk<S>(stream: S, ask: &Ask<'_>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let words = |error: hyper::Error| {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        escape(&text)
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
        .map_err(|error| escape(&error.to_string()))?;
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn a_location_is_absolute_or_a_path_here() {
        let base = Url {
            host: "a.example".into(),
            plain: false,
            path: "/v2/".into(),
        };
        let parsed = |text| {
            Url::parse(text, &base).map(|url| format!("{}{} {}", url.host, url.path, url.plain))
        };
        assert_eq!(
            parsed("https://b.example/x?y").unwrap(),
            "b.example/x?y false"
        );
        assert_eq!(parsed("http://b.example").unwrap(), "b.example/ true");
        assert_eq!(parsed("/z").unwrap(), "a.example/z false");
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
        let chain = CertificateDer::pem_slice_iter(include_bytes!("wire/server.crt"));
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("wire/server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
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
            certificates: certificates.to_owned(),
            ..Wire::new(Insecure::default())
        }
    }

    async fn asked(wire: &Wire, host: &str) -> Result<Answer, String> {
        let url = Url {
            host: host.to_owned(),
            plain: false,
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
        wire.send(ask).await
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
            std::fs::write(own.join("ca.crt"), include_bytes!("wire/ca.crt")).unwrap();
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
            std::fs::write(own.join("ca.crt"), include_bytes!("wire/ca.crt")).unwrap();
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
}
