//! Giving an image back a name that it lost, without its registry: a tag by tagging, a
//! digest reference by loading an index that names what is here.

use hyper::Request;
use hyper::body::Bytes;
use serde_json::json;

use crate::engine::descriptor::Descriptor;
use crate::engine::error::{EngineError, Failure};
use crate::engine::reader::{piece, within};
use crate::engine::remove::{REMOVE, Remover};
use crate::engine::stream::{Lines, Message};
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::model::text::escape;

impl Remover {
    /// Gives the image this tag, wherever that led before.
    pub async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError> {
        let doing = format!("put the tag {tag} back");
        self.reader().tag(&doing, id, tag).await
    }

    /// Gives an image of the containerd store these digest references, which it must not
    /// have. The engine checks nothing: of an image that is not here it makes names that
    /// lead to nothing.
    pub async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let doing = format!("put the digest references of {} back", descriptor.digest);
        let nonsense = |why: &str| EngineError::nonsense(doing.clone(), why);
        let request = Request::post("/images/load?quiet=1")
            .header("Content-Type", "application/x-tar")
            .body(bollard::body_full(Bytes::from(archive(names, descriptor))))
            .map_err(|_| nonsense("the names fit no request"))?;
        // An error comes inside an answer that began with 200.
        let mut failed = None;
        let mut take = |message: Message| {
            let detail = message.error_detail.and_then(|detail| detail.message);
            failed = failed.take().or(detail).or(message.error);
        };
        let read = async {
            let mut body = self.reader().socket.open(request).await?;
            let mut lines = Lines::default();
            while let Some(piece) = piece(&mut body).await? {
                if let Err(why) = lines.feed(&piece, &mut take) {
                    return Ok(Err(why));
                }
            }
            Ok(lines.finish(&mut take))
        };
        let longest = REMOVE.max(self.reader().patience);
        let read = within(&doing, longest, "", read, str::to_owned).await?;
        read.map_err(|why| nonsense(&why))?;
        match failed {
            None => Ok(()),
            Some(why) => Err(EngineError::new(
                doing,
                Failure::Status(200),
                format!("the engine answered: {}", escape(&why)),
            )),
        }
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
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A regular file: a header of 512 bytes, and the bytes filled up to as many more.
fn add(tar: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, path);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", bytes.len()));
    field(136, "00000000000\0");
    // The sum counts itself as blanks.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
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

    /// What comes of a load that the engine answers so.
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
        let remover = Remover::of(reader);
        let came = remover.put_back_digests(&names, &descriptor()).await;
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
        // Each header's sum counts itself as blanks.
        for header in [&tar[..512], &second[..512]] {
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            let own: u32 = header[148..156].iter().map(|byte| u32::from(*byte)).sum();
            let told = std::str::from_utf8(&header[148..154]).unwrap();
            assert_eq!(u32::from_str_radix(told, 8).unwrap(), sum - own + 8 * 32);
        }
    }
}
