//! Gives an image of the containerd store a digest reference without its registry: loads an
//! index that names existing content.

use hyper::body::Bytes;
use serde_json::json;

use crate::engine::descriptor::Descriptor;
use crate::engine::error::EngineError;
use crate::engine::load::{answered, post, request};
use crate::engine::reader::{Reader, within};
use crate::engine::remove::REMOVE;
use crate::engine::tar::{END, add};
use crate::model::reference::Reference;

impl Reader {
    /// Gives an image of the containerd store these digest references, which it must not have.
    /// The engine checks nothing: for an image that is not here it makes names that lead to
    /// nothing.
    pub(super) async fn set_digests(
        &self,
        doing: &str,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let nonsense = |why: &str| EngineError::nonsense(doing, why);
        let request = request()
            .body(bollard::body_full(Bytes::from(archive(names, descriptor))))
            .map_err(|_| nonsense("the names fit no request"))?;
        let longest = REMOVE.max(self.patience);
        let answer = within(doing, longest, "", post(self, request), str::to_owned).await?;
        let failed = answer.map_err(|why| nonsense(&why))?.failed;
        failed.map_or(Ok(()), |why| Err(answered(doing, &why)))
    }
}

/// An OCI layout without a blob: the content is in the store.
fn archive(names: &[Reference], descriptor: &Descriptor) -> Vec<u8> {
    let entry = |name: &Reference| {
        json!({
            "mediaType": descriptor.media_type.raw(),
            "digest": descriptor.digest.as_str(),
            "size": descriptor.size,
            "annotations": {"io.containerd.image.name": name.to_string()},
        })
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": names.iter().map(entry).collect::<Vec<_>>(),
    });
    let mut tar = Vec::new();
    add(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    add(&mut tar, "index.json", index.to_string().as_bytes());
    tar.extend_from_slice(&END);
    tar
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::engine::reader::Reader;
    use crate::engine::socket::Socket;
    use crate::model::text::Untrusted;
    use crate::testing::{digest, id};

    fn descriptor() -> Descriptor {
        Descriptor {
            media_type: Untrusted::new("m\"edia"),
            digest: id(1),
            size: 7,
        }
    }

    /// The result of a load with this answer.
    async fn loads(answer: &'static str) -> Result<(), EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = Socket::new(path);
        let reader = Reader::of(socket);
        let names = [digest("app", 1)];
        let all = archive(&names, &descriptor()).len();
        let server = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while asked.len() < all {
                client.read_buf(&mut asked).await.unwrap();
            }
            client.write_all(answer.as_bytes()).await.unwrap();
        });
        let came = reader.set_digests("set names", &names, &descriptor()).await;
        server.abort();
        came
    }

    #[tokio::test]
    async fn an_error_inside_the_answer_to_a_load_is_one() {
        const DONE: &str =
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"stream\":\"Loaded image\"}\n";
        const FAILED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n";
        assert_eq!(loads(DONE).await, Ok(()));
        let error = loads(FAILED).await.unwrap_err();
        assert!(error.why.ends_with("no space"), "{error}");
        let half = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"stream\":";
        assert!(loads(half).await.is_err());
    }

    #[test]
    fn the_archive_is_a_layout_of_two_files_with_an_entry_for_each_name() {
        let names = [digest("app", 1), digest("db", 1)];
        let tar = archive(&names, &descriptor());
        assert_eq!(tar.len() % 512, 0);
        let size = usize::from_str_radix(std::str::from_utf8(&tar[124..135]).unwrap(), 8).unwrap();
        assert_eq!((&tar[..10], size), (&b"oci-layout"[..], 30));
        let second = &tar[1024..];
        assert_eq!(&second[..10], b"index.json");
        let size =
            usize::from_str_radix(std::str::from_utf8(&second[124..135]).unwrap(), 8).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&second[512..512 + size]).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        for (entry, name) in entries.iter().zip(&names) {
            assert_eq!(
                entry["annotations"]["io.containerd.image.name"],
                name.to_string()
            );
            assert_eq!(entry["mediaType"], "m\"edia");
            assert_eq!(entry["digest"], id(1).as_str());
            assert_eq!(entry["size"], 7);
        }
        assert_eq!(entries.len(), names.len());
    }
}
