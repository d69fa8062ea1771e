//! A registry with a password.

use std::fs;
use std::io;

use serde_json::json;

use super::front::Behind;
use super::http::{self, Request, Response};
use super::image::{Archive, unique};
use super::index::Index;
use super::room::{Inside, Room};
use super::slow_line::SlowLine;
use super::{loopback, wait_until};

const SUITE: &str = "bookworm";
pub const USER: &str = "gardener";
pub(super) const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json";

/// Debian's docker-registry on an address of its own. Fields are dropped in order.
#[derive(Debug)]
pub struct Registry {
    process: Inside,
    address: String,
    password: String,
    room: Room,
}

/// A line of the registry's access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub method: String,
    pub path: String,
    pub status: u16,
}

impl Registry {
    pub fn start() -> Registry {
        let room = Room::new(None);
        let password = unique();
        let htpasswd = room.run(SUITE, &["htpasswd", "-nbBC", "4", USER, &password]);
        assert!(htpasswd.status.success(), "{htpasswd:?}");
        fs::write(room.dir().join("htpasswd"), htpasswd.stdout).expect("htpasswd");
        let dir = room.dir().display();
        let address = format!("{}:5000", loopback());
        let config = json!({
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": format!("{dir}/storage")},
                "delete": {"enabled": true},
            },
            "http": {"addr": address, "secret": unique()},
            "auth": {"htpasswd": {"realm": "lab", "path": format!("{dir}/htpasswd")}},
        });
        let file = room.dir().join("registry.json"); // JSON is YAML, too
        fs::write(&file, config.to_string()).expect("registry.json");
        let command = ["docker-registry", "serve", &file.display().to_string()];
        let process = room.start(SUITE, &command, "registry.log");
        let mut registry = Registry {
            process,
            address,
            password,
            room,
        };
        wait_until("the registry answers", || {
            if let Some(status) = registry.process.ended() {
                panic!("registry: {status}\n{}", registry.process.log_tail());
            }
            registry.try_request("GET", "/v2/", &[]).ok()
        });
        registry
    }

    /// Host and port: the first part of its images' names.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name under which engines know `app:v1`.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// User and password, as config.json and HTTP have them.
    #[track_caller]
    pub fn basic_auth(&self) -> String {
        // The two base64 alphabets are one for what a user name and a hex password can hold.
        let token = http::base64url(format!("{USER}:{}", self.password).as_bytes());
        assert!(!token.contains(['-', '_']), "{token} is not plain base64");
        token
    }

    /// A value for X-Registry-Auth.
    pub fn auth_header(&self) -> String {
        self.auth_header_for(&self.address)
    }

    /// The same, for its images under another address: engines look at the server's name.
    pub fn auth_header_for(&self, address: &str) -> String {
        let auth = json!({"username": USER, "password": self.password, "serveraddress": address});
        http::base64url(auth.to_string().as_bytes())
    }

    fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        http::exchange(
            &mut http::tcp(&self.address)?,
            &Request {
                method,
                path,
                headers,
                body: &[],
            },
        )
    }

    /// A request of the test's own, with the password.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str) -> Response {
        let token = self.basic_auth();
        let headers = [
            ("Authorization", &*format!("Basic {token}")),
            ("Accept", MANIFESTS),
        ];
        self.try_request(method, path, &headers)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// Stores an image as `app:v1`. Returns the digest.
    #[track_caller]
    pub fn put(&self, image: &str, archive: &Archive) -> String {
        self.put_archive("docker-archive", &archive.build(), image, &[])
    }

    /// Stores an image for many platforms as `app:v1`. Returns the digest.
    #[track_caller]
    pub fn put_index(&self, image: &str, index: Index) -> String {
        self.put_archive("oci-archive", &index.build(image), image, &[])
    }

    /// The same, its layers not compressed: with the digest that a load of it has.
    #[track_caller]
    pub fn put_index_exactly(&self, image: &str, index: Index) -> String {
        let exactly = ["--preserve-digests"];
        self.put_archive("oci-archive", &index.build(image), image, &exactly)
    }

    #[track_caller]
    fn put_archive(&self, form: &str, archive: &[u8], image: &str, options: &[&str]) -> String {
        let file = self.room.dir().join(unique());
        fs::write(&file, archive).expect("archive");
        self.copy(&format!("{form}:{}", file.display()), image, options);
        fs::remove_file(&file).expect("archive");
        self.digest(image)
    }

    /// Moves a tag: `to` is `from` from now on.
    #[track_caller]
    pub fn retag(&self, from: &str, to: &str) {
        self.copy(&format!("docker://{}", self.name(from)), to, &[]);
    }

    #[track_caller]
    fn copy(&self, from: &str, to: &str, options: &[&str]) {
        let credentials = format!("{USER}:{}", self.password);
        let to = format!("docker://{}", self.name(to));
        let mut command = vec!["skopeo", "copy", "--all", "--quiet", "--insecure-policy"];
        command.extend(["--dest-tls-verify=false", "--dest-creds", &credentials]);
        command.extend(options);
        if from.starts_with("docker://") {
            command.extend(["--src-tls-verify=false", "--src-creds", &credentials]);
        }
        command.extend([from, &to]);
        let output = self.room.run(SUITE, &command);
        assert!(
            output.status.success(),
            "{from} to {to}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// `sha256:...` of `app:v1`.
    #[track_caller]
    pub fn digest(&self, image: &str) -> String {
        let (repository, tag) = image.split_once(':').expect("repository:tag");
        let answer = self
            .request("HEAD", &format!("/v2/{repository}/manifests/{tag}"))
            .ok(image);
        answer
            .header("docker-content-digest")
            .expect("a digest")
            .to_owned()
    }

    /// `app:v1` as Swarm's client pins it: name, tag and digest.
    #[track_caller]
    pub fn pinned(&self, image: &str) -> String {
        format!("{}@{}", self.name(image), self.digest(image))
    }

    /// All requests that it has answered, oldest first. A line may come a moment after its answer:
    /// wait for it.
    pub fn requests(&self) -> Vec<Access> {
        self.process.log().lines().filter_map(access).collect()
    }

    /// For a server in front of it.
    pub fn behind(&self) -> Behind {
        let token = http::base64url(format!("{USER}:{}", self.password).as_bytes());
        Behind {
            address: self.address.clone(),
            authorization: format!("Basic {token}"),
        }
    }

    /// The same registry at another address that lets through so many bytes a second, on each
    /// connection, until it is opened.
    pub fn slow_line(&self, bytes_per_second: usize) -> SlowLine {
        SlowLine::new(&self.address, bytes_per_second)
    }
}

/// Reads `... "GET /v2/ HTTP/1.1" 200 2 ...`; the log has other lines, too.
fn access(line: &str) -> Option<Access> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut words = request.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let status = rest.split(' ').next()?.parse().ok()?;
    Some(Access {
        method,
        path,
        status,
    })
}
