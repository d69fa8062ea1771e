//! One connection to an engine's socket, which gives no more of an answer than it may have.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bollard::errors::Error as Bollard;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// In bytes: the longest answer about the engine itself or about what it did. Lists are read
/// item by item (`list`).
pub(super) const LONGEST_ANSWER: usize = 1 << 20;

/// The body type of bollard, whose own name for it is private.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// One connection, and how many bytes its answer may still have.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    pub(super) left: Arc<AtomicUsize>,
}

impl Connection {
    pub(super) async fn open(path: &Path, longest: usize) -> Result<Self, Bollard> {
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
