//! What tests do with the images of an engine.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::engine::{Engine, text};
use super::http::{self, Request, Response, encode};
use super::image::{self, Archive};
use super::index::Index;

const TAR: &[(&str, &str)] = &[("Content-Type", "application/x-tar")];

impl Engine {
    #[track_caller]
    fn upload(&self, path: &str, tar: &[u8]) -> Vec<Value> {
        let answer = self
            .try_api("POST", path, TAR, tar)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        let lines = answer.ok(path).lines();
        assert!(
            !lines.iter().any(|line| line["error"].is_string()),
            "{path}: {lines:?}"
        );
        lines
    }

    /// An image of one layer, with this name, from a tar file of its root. Returns its id.
    #[track_caller]
    pub fn import(&self, name: &str, tar: &[u8]) -> String {
        self.upload(
            &format!("/images/create?fromSrc=-&repo={}", encode(name)),
            tar,
        );
        self.id(name)
    }

    /// As `docker load`. Returns the image's id.
    #[track_caller]
    pub fn load(&self, archive: &Archive) -> String {
        let lines = self.upload("/images/load?quiet=1", &archive.build());
        let said: String = lines
            .iter()
            .filter_map(|line| line["stream"].as_str())
            .collect();
        if let Some(name) = archive.tags().first() {
            return self.id(name);
        }
        let id = said
            .rsplit("Loaded image ID: ")
            .next()
            .expect("rsplit has one")
            .trim();
        assert!(id.starts_with("sha256:"), "loaded: {said}");
        id.to_owned()
    }

    /// As `docker load` of an index. Of one that lacks something, the engine may keep what there
    /// is and say that it cannot unpack it.
    #[track_caller]
    pub fn load_index(&self, name: &str, index: Index) {
        let archive = index.build(&format!("docker.io/library/{name}"));
        let answer = self.try_api("POST", "/images/load?quiet=1", TAR, &archive);
        answer.expect("load").ok("load");
    }

    /// As `docker load` of an archive without content, whose index leads to what this describes
    /// under a name: so a digest reference that was dropped comes back on the containerd store.
    #[track_caller]
    pub fn load_name(&self, name: &str, described: &Value) {
        let mut manifest = described.clone();
        manifest["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        let files = [
            ("oci-layout", layout.as_bytes()),
            ("index.json", index.as_bytes()),
        ];
        self.upload("/images/load?quiet=1", &image::tar(&files));
    }

    /// Many images without a tag at once. Returns their ids, sorted.
    #[track_caller]
    pub fn load_all(&self, archives: &[Archive]) -> Vec<String> {
        let lines = self.upload("/images/load?quiet=1", &Archive::together(archives));
        let mut ids: Vec<String> = lines
            .iter()
            .filter_map(|line| line["stream"].as_str())
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("Loaded image ID: "))
            .map(|id| id.trim().to_owned())
            .collect();
        assert_eq!(ids.len(), archives.len(), "{lines:?}");
        ids.sort();
        ids
    }

    /// A new image that can run busybox, e.g. `["sleep", "1000"]`.
    #[track_caller]
    pub fn runnable(&self, name: &str) -> String {
        self.load(&Archive::new().busybox().tag(name))
    }

    /// A new image of a few bytes.
    #[track_caller]
    pub fn small(&self, name: &str) -> String {
        self.load(&Archive::new().tag(name))
    }

    /// By the classic builder: each instruction is an image, the child of the one before.
    #[track_caller]
    pub fn build(&self, name: &str, dockerfile: &str) -> String {
        let context = image::tar(&[("Dockerfile", dockerfile.as_bytes())]);
        self.upload(
            &format!("/build?version=1&rm=1&forcerm=1&t={}", encode(name)),
            &context,
        );
        self.id(name)
    }

    /// Starts the same, which goes on until it is done or its engine ends.
    #[track_caller]
    pub fn build_in_background(&self, name: &str, dockerfile: &str) -> Pull {
        let context = image::tar(&[("Dockerfile", dockerfile.as_bytes())]);
        let name = encode(name);
        let path = format!("/build?version=1&rm=1&forcerm=1&networkmode=none&t={name}");
        let mut stream = http::unix(&self.socket()).expect("the engine's socket");
        let connection = stream.try_clone().expect("a second handle");
        let answer = std::thread::spawn(move || {
            http::exchange(
                &mut stream,
                &Request {
                    method: "POST",
                    path: &path,
                    headers: TAR,
                    body: &context,
                },
            )
        });
        Pull { connection, answer }
    }

    /// Changes of a container as an image; without a name it is untagged.
    #[track_caller]
    pub fn commit(&self, container: &str, name: Option<&str>) -> String {
        let name = name
            .map(|name| format!("&repo={}", encode(name)))
            .unwrap_or_default();
        let path = format!("/commit?container={container}{name}");
        text(&self.api("POST", &path, None).ok("commit").json(), "Id")
    }

    #[track_caller]
    pub fn tag(&self, image: &str, name: &str) {
        let path = format!("/images/{image}/tag?repo={}", encode(name));
        self.api("POST", &path, None).ok("tag");
    }

    /// Drops a name, or an image by its id: `DELETE /images/{name}`.
    #[track_caller]
    pub fn remove(&self, name: &str) -> Response {
        self.api("DELETE", &format!("/images/{name}?noprune=1"), None)
    }

    /// Every image, without any filter.
    #[track_caller]
    pub fn images(&self) -> Vec<Value> {
        self.get("/images/json?all=1")
            .as_array()
            .expect("a list")
            .clone()
    }

    #[track_caller]
    pub fn inspect(&self, image: &str) -> Value {
        self.get(&format!("/images/{image}/json"))
    }

    pub fn has(&self, image: &str) -> bool {
        self.api("GET", &format!("/images/{image}/json"), None)
            .status
            == 200
    }

    #[track_caller]
    pub fn id(&self, image: &str) -> String {
        text(&self.inspect(image), "Id")
    }

    /// Pulls to the end; `auth` is a `Registry::auth_header`. The lines are the engine's stream.
    #[track_caller]
    pub fn pull(&self, name: &str, auth: Option<&str>) -> Vec<Value> {
        self.pull_in_background(name, auth).done().expect("pull")
    }

    /// As `docker push`; `auth` is a `Registry::auth_header`.
    #[track_caller]
    pub fn push(&self, name: &str, auth: &str) {
        let (repository, tag) = name.rsplit_once(':').expect("a tag");
        let path = format!("/images/{repository}/push?tag={tag}");
        let answer = self.api_with("POST", &path, &[("X-Registry-Auth", auth)], None);
        let lines = answer.ok("push").lines();
        let failed = lines.iter().find(|line| line["error"].is_string());
        assert!(failed.is_none(), "push: {failed:?}");
    }

    /// As `docker pull --platform linux/ARCHITECTURE`.
    #[track_caller]
    pub fn pull_for(&self, architecture: &str, name: &str, auth: &str) {
        let name = format!("{}&platform=linux/{architecture}", encode(name));
        self.pull_by(&name, Some(auth)).done().expect("pull");
    }

    /// What is missing or damaged of an image, in the archive that `docker save` gives of it.
    /// For engines that save in the OCI form: 25 and later.
    #[track_caller]
    pub fn damage(&self, name: &str) -> Option<String> {
        let answer = self.api("GET", &format!("/images/{name}/get"), None);
        if answer.status != 200 {
            return Some(format!("{} {}", answer.status, answer.text()));
        }
        image::damage(&answer.body)
    }

    /// Starts a pull, which goes on until it is done, cancelled, or its engine ends.
    #[track_caller]
    pub fn pull_in_background(&self, name: &str, auth: Option<&str>) -> Pull {
        self.pull_by(&encode(name), auth)
    }

    fn pull_by(&self, query: &str, auth: Option<&str>) -> Pull {
        let mut stream = http::unix(&self.socket()).expect("the engine's socket");
        let path = format!("/images/create?fromImage={query}");
        let auth = auth.map(str::to_owned);
        let connection = stream.try_clone().expect("a second handle");
        let answer = std::thread::spawn(move || {
            let header = auth.as_deref().map(|auth| ("X-Registry-Auth", auth));
            let headers: Vec<_> = header.into_iter().collect();
            http::exchange(
                &mut stream,
                &Request {
                    method: "POST",
                    path: &path,
                    headers: &headers,
                    body: &[],
                },
            )
        });
        Pull { connection, answer }
    }
}

/// A pull or build under way.
#[derive(Debug)]
pub struct Pull {
    connection: UnixStream,
    answer: JoinHandle<io::Result<Response>>,
}

impl Pull {
    pub fn is_done(&self) -> bool {
        self.answer.is_finished()
    }

    /// Waits for the end. An error where the engine refused, or told of one in its stream.
    pub fn done(self) -> io::Result<Vec<Value>> {
        let response = self.answer.join().expect("the pull's thread")?;
        if response.status != 200 {
            return Err(io::Error::other(response.text()));
        }
        let lines = response.lines();
        match lines.iter().find(|line| line["error"].is_string()) {
            Some(line) => Err(io::Error::other(line.to_string())),
            None => Ok(lines),
        }
    }

    /// As Ctrl-C in `docker pull`.
    pub fn cancel(self) {
        // Fails where the pull is done already.
        let _ = self.connection.shutdown(Shutdown::Both);
        let _ = self.answer.join();
    }
}
