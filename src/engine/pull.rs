//! Lets the engine pull, as a deploy does. Only an [`Undisturbed`] of the guards leads to a
//! [`Puller`], which can do nothing but pull.

use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;

use crate::engine::error::EngineError;
use crate::engine::reader::{Reader, piece, within};
use crate::engine::stream::{Amount, End, Lines, Pulled};
use crate::guard::Undisturbed;
use crate::model::reference::Reference;
use crate::model::secret::Secret;
use crate::model::text::encode;

/// An engine tries a silent registry for long before it gives up.
const FIRST: Duration = Duration::from_secs(3 * 60);

/// An engine reports progress also while it extracts a large layer.
const NEXT: Duration = Duration::from_secs(5 * 60);

/// Read access, and the one request that pulls.
#[derive(Debug)]
pub struct Puller<'a> {
    reader: &'a Reader,
}

impl Reader {
    /// Access that can also pull, while nothing else is at work.
    pub fn puller(&self, _: &Undisturbed) -> Puller<'_> {
        Puller { reader: self }
    }
}

impl Puller<'_> {
    /// Pulls one name to the end of its stream. `auth` is the value of X-Registry-Auth; `clear`
    /// removes it from the engine's texts, which may quote the registry; `on_amount` gets the
    /// amount so far. Dropping the future closes the connection, and the engine gives up the
    /// pull.
    pub async fn pull(
        &self,
        name: &Reference,
        auth: Option<&Secret>,
        clear: impl Fn(&str) -> String,
        mut on_amount: impl FnMut(Amount),
    ) -> Result<Pulled, EngineError> {
        let doing = format!("pull {name}");
        let nonsense = |why: &str| EngineError::nonsense(doing.clone(), clear(why));
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
        let mut body = within(&doing, FIRST, "", self.reader.socket.open(request), &clear).await?;
        let mut pulled = Pulled::default();
        let mut lines = Lines::default();
        while let Some(piece) = within(&doing, NEXT, "", piece(&mut body), &clear).await? {
            lines
                .feed(&piece, |message| pulled.take(&message))
                .map_err(|why| nonsense(&why))?;
            on_amount(pulled.amount());
        }
        lines
            .finish(|message| pulled.take(&message))
            .map_err(|why| nonsense(&why))?;
        if let End::Error(why) = &mut pulled.end {
            *why = clear(why);
        }
        Ok(pulled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::engine::address::Address;
    use crate::engine::environment::Environment;
    use crate::model::secret::Credentials;

    /// Answers one request for each connection: GET with what an engine is, any other with
    /// this text.
    async fn serve(listener: UnixListener, answer: String) {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                client.read_buf(&mut asked).await.unwrap();
            }
            let version = r#"{"Version":"28.5.2","ApiVersion":"1.51","MinAPIVersion":"1.24"}"#;
            let (status, body) = if asked.starts_with(b"GET /version") {
                ("200 OK", version)
            } else if asked.starts_with(b"GET") {
                ("200 OK", crate::testing::INFO)
            } else {
                ("500 No", answer.as_str())
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
            let length = body.len();
            let all = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            client.write_all(all.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_password_that_an_engine_says_again_is_gone_before_the_text_is_cut() {
        let login = Credentials::Login {
            user: "me".into(),
            password: Secret::new("hunter\"2"),
        };
        let clear = |text: &str| login.redact(text);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let host = format!("unix://{}", path.display());
        let address = Address::resolve(Some(&host), &Environment::default(), |_| ()).unwrap();
        // The text is cut at each place of the password.
        for before in 150..190 {
            let message = format!("{}hunter%222 {}", "x".repeat(before), "y".repeat(90));
            let answer = serde_json::json!({ "message": message }).to_string();
            let listener = UnixListener::bind(&path).unwrap();
            let server = tokio::spawn(serve(listener, answer));
            let (reader, _) = Reader::connect(&address, Duration::from_secs(30))
                .await
                .unwrap();
            let puller = Puller { reader: &reader };
            let name = "r.example/app:1".parse().unwrap();
            let error = puller.pull(&name, None, clear, |_| ()).await.unwrap_err();
            let shown = error.to_string();
            assert!(!shown.contains("xh"), "{shown}");
            assert!(shown.contains("the engine answered 500: xxx"), "{shown}");
            server.abort();
            std::fs::rename(&path, folder.path().join("old")).unwrap();
        }
    }
}
