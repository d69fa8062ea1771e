//! Sends one request over an open connection.

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cache::registry::transport::message::{Request, RequestError};

pub async fn exchange<S>(
    stream: S,
    request: &Request<'_>,
) -> Result<Response<Incoming>, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends when the answer was read or dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(encoded(request)?).await?)
}

fn encoded(request: &Request<'_>) -> Result<hyper::Request<Full<Bytes>>, RequestError> {
    let mut http = hyper::Request::builder()
        .method(request.method.clone())
        .uri(&request.endpoint.path)
        .header(HOST, &request.endpoint.host)
        .header(USER_AGENT, concat!("secateur/", env!("CARGO_PKG_VERSION")));
    if let Some(types) = request.accept {
        http = http.header(ACCEPT, types);
    }
    if let Some(secret) = request.authorization {
        let mut value =
            HeaderValue::from_str(secret.expose()).map_err(|_| "the credentials fit no header")?;
        value.set_sensitive(true);
        http = http.header(AUTHORIZATION, value);
    }
    let mut body = Bytes::new();
    if let Some(form) = &request.form {
        http = http.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        body = Bytes::copy_from_slice(form.expose().as_bytes());
    }
    let http = http.body(Full::new(body));
    http.map_err(|_| "its path fits no request".into())
}
