//! The engine's Unix socket: reused connections, the agreed API version in each path (bollard
//! leaves it out, bollard#736), and answers that are asked for in advance. It knows nothing of the
//! questions, and never sends a request twice that changes anything.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bollard::errors::Error as Bollard;
use bollard::{BollardRequest, Docker};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use tokio::task::JoinHandle;

use crate::engine::connection::{Body, Connection, LONGEST_ANSWER};

/// Idle connections that are kept: more requests are never sent at the same time.
const IDLE: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct Socket {
    path: PathBuf,
    api: Arc<OnceLock<(u32, u32)>>,
    /// What the head of the first answer tells.
    docker_api: Arc<OnceLock<Option<String>>>,
    begun: Arc<Mutex<Option<Begun>>>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A GET that was sent before its answer is asked for.
#[derive(Debug)]
struct Begun {
    path: String,
    answer: JoinHandle<Result<Incoming, Bollard>>,
}

impl Socket {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            api: Arc::default(),
            docker_api: Arc::default(),
            begun: Arc::default(),
            idle: Arc::default(),
        }
    }

    /// From now on each request names this API version, unless its path names another.
    pub(super) fn speak(&self, api: (u32, u32)) {
        // Set once, at the end of connecting.
        let _ = self.api.set(api);
    }

    /// The newest API version that the engine speaks; `None` before the first answer, where its
    /// head does not say, and of another engine than Docker's: Podman's says `Libpod/4.3.1
    /// (linux)`.
    pub(super) fn docker_api(&self) -> Option<&str> {
        self.docker_api.get()?.as_deref()
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
        let begun = self.begun().take_if(|begun| begun.path == path);
        if let Some(Begun { answer, .. }) = begun {
            return answer.await.map_err(io::Error::other)?;
        }
        self.get(path).await
    }

    /// Sends a GET whose answer is the next one that [`Self::stream`] returns for this path.
    pub(super) fn begin(&self, path: &str) {
        let (socket, asked) = (self.clone(), path.to_owned());
        let answer = tokio::spawn(async move { socket.get(&asked).await });
        *self.begun() = Some(Begun {
            path: path.to_owned(),
            answer,
        });
    }

    async fn get(&self, path: &str) -> Result<Incoming, Bollard> {
        let request = Request::get(path).body(bollard::body_full(Bytes::new()))?;
        self.open(request).await
    }

    fn begun(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.docker_api.get_or_init(|| {
            let said = |name: &str| response.headers().get(name)?.to_str().ok();
            said("server").filter(|server| server.starts_with("Docker/"))?;
            said("api-version").map(str::to_owned)
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

/// The engine's message from its JSON.
fn message(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = json.as_ref().and_then(|json| json["message"].as_str());
    said.unwrap_or(body).to_owned()
}
