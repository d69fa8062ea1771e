//! The engine's Unix socket: reused connections, the agreed API version in each path (bollard
//! leaves it out, bollard#736), and a limit on the length of an answer. It knows nothing of the
//! questions, and never sends a request twice that changes anything.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bollard::errors::Error as Bollard;
use bollard::{BollardRequest, Docker};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// In bytes: the longest answer about the engine itself or about what it did. Lists are read
/// item by item (`list`).
pub(super) const LONGEST_ANSWER: usize = 1 << 20;

/// Idle connections that are kept: more requests are never sent at the same time.
const IDLE: usize = 20;

/// The body type of bollard, whose own name for it is private.
type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Clone)]
pub(super) struct Socket {
    path: PathBuf,
    api: Arc<OnceLock<(u32, u32)>>,
    told: Arc<OnceLock<Told>>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// What the head of an engine's first answer tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The newest API version that it speaks; `None` where that is not said.
    pub(super) api: Option<String>,
    /// Whether it says that it is Docker's. Podman's says `Libpod/4.3.1 (linux)`.
    pub(super) is_docker: bool,
}

impl Socket {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            api: Arc::default(),
            told: Arc::default(),
            idle: Arc::default(),
        }
    }

    /// From now on each request names this API version, unless its path names another.
    pub(super) fn speak(&self, api: (u32, u32)) {
        // Set once, at the end of connecting.
        let _ = self.api.set(api);
    }

    /// `None` before the first answer.
    pub(super) fn told(&self) -> Option<&Told> {
        self.told.get()
    }

    /// bollard over this socket. Its own deadline is an hour, far beyond ours.
    pub(super) fn docker(&self) -> Docker {
        let socket = self.clone();
        let transport = move |request: BollardRequest| {
            let socket = socket.clone();
            async move { socket.send(request).await }
        };
        Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            3600,
            bollard::API_DEFAULT_VERSION,
        )
        .expect("connecting with a custom transport only stores it")
    }

    /// GETs an answer of any length, to be read as it arrives; the caller counts the bytes.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, Bollard> {
        let request = Request::get(path).body(bollard::body_full(Bytes::new()))?;
        self.open(request).await
    }

    /// Sends a request whose answer is read as it arrives. Any status but 200 is an error.
    pub(super) async fn open(&self, request: BollardRequest) -> Result<Incoming, Bollard> {
        let response = self.send_limited(request, usize::MAX).await?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response.into_body());
        }
        let body = http_body_util::Limited::new(response.into_body(), 1 << 20);
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let message = body.map_or_else(
            |error| error.to_string(),
            |body| message(&String::from_utf8_lossy(&body)),
        );
        Err(Bollard::DockerResponseServerError {
            status_code: status,
            message,
        })
    }

    fn send(
        &self,
        request: BollardRequest,
    ) -> impl Future<Output = Result<Response<Incoming>, Bollard>> + use<'_> {
        self.send_limited(request, LONGEST_ANSWER)
    }

    async fn send_limited(
        &self,
        request: BollardRequest,
        longest: usize,
    ) -> Result<Response<Incoming>, Bollard> {
        let response = self.send_once(request, longest).await?;
        self.told.get_or_init(|| {
            let said = |name: &str| response.headers().get(name)?.to_str().ok();
            Told {
                api: said("api-version").map(str::to_owned),
                is_docker: said("server").is_some_and(|server| server.starts_with("Docker/")),
            }
        });
        Ok(response)
    }

    async fn send_once(
        &self,
        mut request: BollardRequest,
        longest: usize,
    ) -> Result<Response<Incoming>, Bollard> {
        let asked = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let path = match self.api.get().filter(|_| !asked.starts_with("/v1.")) {
            Some((major, minor)) => format!("/v{major}.{minor}{asked}"),
            None => asked.to_owned(),
        };
        *request.uri_mut() = path.parse::<Uri>().map_err(hyper::http::Error::from)?;
        request
            .headers_mut()
            .insert(HOST, hyper::header::HeaderValue::from_static("docker"));
        let get = (request.method() == Method::GET)
            .then(|| (request.uri().clone(), request.headers().clone()));
        let mut request = request.map(BodyExt::boxed_unsync);
        while let Some(mut connection) = self.idle() {
            connection.left.store(longest, Ordering::Relaxed);
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(connection);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // The engine closed an idle connection before a byte of the request was
                    // written, so nothing is sent twice.
                    Some(unsent) => request = unsent,
                    None => {
                        let error = error.into_error();
                        // It closed the connection while the request was written.
                        match get.clone().filter(|_| is_broken_pipe(&error)) {
                            Some((uri, headers)) => request = same(uri, headers)?,
                            None => return Err(error.into()),
                        }
                    }
                },
            }
        }
        let mut connection = Connection::open(&self.path, longest).await?;
        let response = connection.sender.send_request(request).await?;
        self.keep(connection);
        Ok(response)
    }

    /// A connection on which no answer is under way.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.sender.is_closed());
        let ready = idle
            .iter()
            .position(|connection| connection.sender.is_ready())?;
        Some(idle.swap_remove(ready))
    }

    /// Keeps a connection for later. It is not ready before its answer has been read.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

fn is_broken_pipe(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|why| why.downcast_ref());
    io.is_some_and(|io: &io::Error| io.kind() == io::ErrorKind::BrokenPipe)
}

/// The same GET again.
fn same(uri: Uri, headers: HeaderMap) -> Result<Request<Body>, Bollard> {
    let mut request = Request::get(uri).body(bollard::body_full(Bytes::new()))?;
    *request.headers_mut() = headers;
    Ok(request.map(BodyExt::boxed_unsync))
}

/// One connection, and how many bytes its answer may still have.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    left: Arc<AtomicUsize>,
}

impl Connection {
    async fn open(path: &Path, longest: usize) -> Result<Self, Bollard> {
        let stream = UnixStream::connect(path).await?;
        let left = Arc::new(AtomicUsize::new(longest));
        let limited = Limited {
            stream,
            left: Arc::clone(&left),
        };
        let (sender, connection) = handshake(TokioIo::new(limited)).await?;
        // Ends by itself when both sides are done.
        tokio::spawn(connection);
        Ok(Self { sender, left })
    }
}

/// The engine's message from its JSON.
fn message(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = json.as_ref().and_then(|json| json["message"].as_str());
    said.unwrap_or(body).to_owned()
}

/// A stream that gives at most `left` bytes.
struct Limited {
    stream: UnixStream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let got = buf.filled().len() - before;
        match self.left.load(Ordering::Relaxed).checked_sub(got) {
            Some(left) => self.left.store(left, Ordering::Relaxed),
            None => {
                let why = format!("the answer is longer than {} MiB", LONGEST_ANSWER >> 20);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
