//! Fetches manifests and blobs as a pull does. The bytes are unchanged; the caller checks a
//! blob's digest.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::time::Instant;

use crate::cache::registry::client::Registry;
use crate::cache::registry::transport::RequestError;
use crate::cache::registry::upstream::{Upstream, media_type, of_get, refused};
use crate::model::Pace;
use crate::model::reference::Reference;

/// Allows a very slow line; at less than this, even a small image would take days.
const PACE: Pace = Pace {
    pause: Duration::from_secs(60),
    slowest: 1 << 10,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// As the registry sent it.
    pub media_type: String,
    pub bytes: Bytes,
    /// Computed from the bytes.
    pub digest: String,
}

/// A blob while it is fetched.
pub struct BlobBody<'a> {
    registry: &'a Registry,
    body: Incoming,
    began: Instant,
    size: u64,
    came: u64,
}

impl Registry {
    /// The manifest or index of a name. For a digest reference, any other digest is an error.
    pub async fn manifest(&self, name: &Reference) -> Result<Manifest, Upstream> {
        let pin = name.digest();
        let which = pin.or(name.tag()).unwrap_or("latest");
        let what = format!("/v2/{}/manifests/{which}", name.path());
        let asked = async {
            let answer = self.authorized(&Method::GET, &what, name.path()).await?;
            answer.whole().await
        };
        let answer = asked.await.map_err(|failed| self.failed(&failed))?;
        match of_get(&answer, pin, |text| self.shown(text)) {
            Upstream::Digest(digest) => Ok(Manifest {
                media_type: media_type(&answer).to_owned(),
                bytes: answer.body,
                digest,
            }),
            none => Err(none),
        }
    }

    /// A blob in the repository of `name`. Registries redirect to other hosts for blobs.
    pub async fn blob(
        &self,
        name: &Reference,
        digest: &str,
        size: u64,
    ) -> Result<BlobBody<'_>, Upstream> {
        let what = format!("/v2/{}/blobs/{digest}", name.path());
        let answer = self.authorized(&Method::GET, &what, name.path()).await;
        let answer = answer.map_err(|failed| self.failed(&failed))?;
        if answer.status != 200 {
            return Err(refused(answer.status));
        }
        let length = answer.header("content-length");
        let length = length.and_then(|text| text.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length != size) {
            let why = format!("it has {length} bytes of a blob of {size}");
            return Err(Upstream::Unknown(why));
        }
        Ok(BlobBody {
            registry: self,
            body: answer.body,
            began: Instant::now(),
            size,
            came: 0,
        })
    }

    pub(super) fn failed(&self, failed: &RequestError) -> Upstream {
        let why = self.shown(&failed.why);
        if failed.timed_out {
            Upstream::TimedOut(why)
        } else {
            Upstream::Unknown(why)
        }
    }
}

impl BlobBody<'_> {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Upstream> {
        let piece = self.piece().await;
        piece.map_err(|failed| self.registry.failed(&failed))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, RequestError> {
        loop {
            let left = PACE.left(self.came, self.began.elapsed());
            let frame = tokio::time::timeout(left, self.body.frame()).await;
            let frame = frame.map_err(|_| RequestError {
                why: format!("{} of {} bytes came, and then none", self.came, self.size),
                timed_out: true,
            })?;
            let Some(frame) = frame else {
                return if self.came == self.size {
                    Ok(None)
                } else {
                    let (came, size) = (self.came, self.size);
                    Err(format!("it ended after {came} of {size} bytes").into())
                };
            };
            let Ok(piece) = frame?.into_data() else {
                continue;
            };
            self.came += piece.len() as u64;
            if self.came > self.size {
                return Err(format!("it has more than {} bytes", self.size).into());
            }
            return Ok(Some(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::cache::registry::{Registry, Transport};
    use crate::model::Store;
    use crate::testing::block_on;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// Gives each connection the next of these answers. The receiver gets the requests.
    fn serve(answers: Vec<Vec<u8>>) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = [0; 2048];
                let length = stream.read(&mut head).unwrap_or(0);
                if head[0] == 0x16 {
                    continue;
                }
                let Some(answer) = answers.next() else { return };
                let _ = tell.send(String::from_utf8_lossy(&head[..length]).into_owned());
                let _ = stream.write_all(&answer);
            }
        });
        (address, told)
    }

    fn answer(head: &str, body: &[u8]) -> Vec<u8> {
        [
            format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(),
            body,
        ]
        .concat()
    }

    /// The result of fetching a blob of five bytes with this answer.
    fn fetched(answers: Vec<Vec<u8>>) -> Result<Vec<u8>, Upstream> {
        let (address, _told) = serve(answers);
        let transport = Transport::new(crate::engine::Insecure::default());
        let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
        let name: Reference = format!("{address}/a/app:1").parse().unwrap();
        block_on(async {
            let mut blob = registry.blob(&name, DIGEST, 5).await?;
            let mut all = Vec::new();
            while let Some(piece) = blob.next().await? {
                all.extend_from_slice(&piece);
            }
            Ok(all)
        })
    }

    #[test]
    fn a_blob_has_as_many_bytes_as_were_told_or_is_none() {
        let fine = fetched(vec![answer("200 OK\r\nContent-Length: 5", b"12345")]);
        assert_eq!(fine, Ok(b"12345".to_vec()));
        assert_eq!(
            fetched(vec![answer("200 OK", b"12345")]),
            Ok(b"12345".to_vec())
        );
        for (head, body, why) in [
            (
                "200 OK\r\nContent-Length: 6",
                &b"123456"[..],
                "6 bytes of a blob of 5",
            ),
            ("200 OK", b"1234", "ended after 4 of 5"),
            ("200 OK", b"123456", "more than 5 bytes"),
            ("200 OK\r\nContent-Length: 5", b"123", "end of file"),
        ] {
            let seen = fetched(vec![answer(head, body)]);
            let Err(Upstream::Unknown(seen)) = seen else {
                panic!("{head}: {seen:?}")
            };
            assert!(seen.contains(why), "{seen}");
        }
        let gone = fetched(vec![answer("404 no\r\nContent-Length: 0", b"")]);
        assert_eq!(gone, Err(Upstream::Gone));
        let many = fetched(vec![answer("429 no\r\nContent-Length: 0", b"")]);
        assert_eq!(many, Err(Upstream::Limited));
    }

    #[test]
    fn a_blob_is_read_from_the_host_that_it_is_led_to_which_gets_no_credentials() {
        use crate::model::secret::{Credentials, Secret};
        let (storage, at_storage) = serve(vec![answer("200 OK\r\nContent-Length: 5", b"12345")]);
        let challenge = answer(
            "401 no\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0",
            b"",
        );
        let lead = format!("307 there\r\nLocation: http://{storage}/x?sig=1\r\nContent-Length: 0");
        let (address, at_registry) = serve(vec![challenge, answer(&lead, b"")]);
        let login = Credentials::Login {
            user: "me".into(),
            password: Secret::new("hunter2"),
        };
        let transport = Transport::new(crate::engine::Insecure::default());
        let registry = Registry::new(transport.into(), &address, Some(login), Store::Containerd);
        let name: Reference = format!("{address}/a/app:1").parse().unwrap();
        let first = block_on(async {
            let mut blob = registry.blob(&name, DIGEST, 5).await?;
            blob.next().await
        });
        assert_eq!(first.unwrap().unwrap(), &b"12345"[..]);
        let asked: Vec<String> = at_registry.try_iter().collect();
        assert!(asked[1].contains("authorization: Basic"), "{asked:?}");
        let there = at_storage.try_iter().next().unwrap();
        assert!(there.starts_with("GET /x?sig=1 "), "{there}");
        assert!(!there.contains("authorization"), "{there}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_falls_silent_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 2048];
                let _ = stream.read(&mut head).await;
                if head[0] == 0x16 {
                    continue;
                }
                let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12";
                stream.write_all(text.as_bytes()).await.unwrap();
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                });
            }
        });
        let transport = Transport::new(crate::engine::Insecure::default());
        let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
        let name: Reference = format!("{address}/a/app:1").parse().unwrap();
        let mut blob = registry.blob(&name, DIGEST, 5).await.unwrap();
        let began = Instant::now();
        let end = loop {
            match blob.next().await {
                Ok(piece) => assert!(piece.is_some()),
                Err(end) => break end,
            }
        };
        assert_eq!(
            end,
            Upstream::TimedOut("2 of 5 bytes came, and then none".into())
        );
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
