//! Asking the engine to pull, as a deploy does: the one request of verify-cache
//! that changes something. [`Puller`] can do that and nothing more, and only
//! what `guards` found undisturbed leads to one.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Bytes;

use crate::engine::stream::{Lines, Pulled};
use crate::engine::{EngineError, Reader, call};
use crate::guard::Undisturbed;
use crate::model::reference::Reference;
use crate::model::secret::Secret;
use crate::model::text::encode;

/// An engine tries a registry that does not answer for long before it says so.
const FIRST: Duration = Duration::from_secs(3 * 60);

/// Extracting a large layer is told of all the while.
const NEXT: Duration = Duration::from_secs(5 * 60);

/// Read access, and the one request that pulls.
#[derive(Debug)]
pub struct Puller<'a> {
    reader: &'a Reader,
}

impl Reader {
    /// The same engine, with the means to pull: for as long as nothing else is
    /// going on.
    pub fn puller(&self, _: &Undisturbed) -> Puller<'_> {
        Puller { reader: self }
    }
}

impl Puller<'_> {
    /// Pulls one name to the end. `auth` is the value of X-Registry-Auth.
    pub async fn pull(
        &self,
        name: &Reference,
        auth: Option<&Secret>,
    ) -> Result<Pulled, EngineError> {
        let doing = format!("pull {name}");
        let nonsense = |why: &str| EngineError::nonsense(doing.clone(), why);
        let which = name.digest().or(name.tag()).unwrap_or("latest");
        let path = format!(
            "/images/create?fromImage={}&tag={}",
            encode(&name.repository()),
            encode(which)
        );
        let mut request = Request::post(path);
        if let Some(secret) = auth {
            let mut value = hyper::header::HeaderValue::from_str(secret.expose())
                .map_err(|_| nonsense("the credentials fit no header"))?;
            value.set_sensitive(true);
            request = request.header("X-Registry-Auth", value);
        }
        let request = request
            .body(bollard::body_full(Bytes::new()))
            .map_err(|_| nonsense("the name fits no request"))?;
        let mut body = call(&doing, FIRST, self.reader.socket.open(request)).await?;
        let mut pulled = Pulled::default();
        let mut lines = Lines::default();
        loop {
            let frame = async {
                match body.frame().await {
                    None => Ok(None),
                    Some(frame) => Ok(Some(frame?)),
                }
            };
            let Some(frame) = call(&doing, NEXT, frame).await? else {
                break;
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            lines
                .feed(&data, |message| pulled.take(&message))
                .map_err(|why| nonsense(&why))?;
        }
        lines
            .finish(|message| pulled.take(&message))
            .map_err(|why| nonsense(&why))?;
        Ok(pulled)
    }
}
