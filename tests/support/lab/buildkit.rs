//! Builds by BuildKit, through docker's buildx.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::engine::Engine;
use super::kind::Kind;
use super::registry::Registry;
use super::room::Inside;
use super::{image, wait_until};

/// A build under way.
#[derive(Debug)]
pub struct Build {
    process: Inside,
    context: PathBuf,
}

impl Engine {
    /// Starts a build by BuildKit with this Dockerfile. Its commands have no network.
    #[track_caller]
    pub fn buildx(&self, options: &[&str], dockerfile: &str) -> Build {
        // Docker 20.10 has a client of BuildKit's of its own.
        let old = ["env", "DOCKER_BUILDKIT=1", "docker", "build"];
        let new = ["docker", "buildx", "build"];
        let with: &[&str] = if self.kind() == Kind::Overlay20 {
            &old
        } else {
            &new
        };
        let fixed = ["--progress=plain", "--network=none", "."];
        self.typed(&[with, &fixed, options].concat(), dockerfile)
    }

    /// Runs lines of a page to their end, in a folder with this Dockerfile.
    #[track_caller]
    pub fn types(&self, lines: &str, dockerfile: &str) -> String {
        self.typed(&["sh", "-euc", lines], dockerfile).done()
    }

    fn typed(&self, command: &[&str], dockerfile: &str) -> Build {
        let name = format!("context-{}", image::unique());
        let context = self.dir().join(&name);
        fs::create_dir(&context).expect("a context");
        fs::write(context.join("Dockerfile"), dockerfile).expect("a Dockerfile");
        let process = self.beside(&context, command, &format!("{name}.log"));
        Build { process, context }
    }

    fn docker_config(&self) -> PathBuf {
        self.dir().join("docker-config")
    }

    fn beside(&self, folder: &Path, command: &[&str], log: &str) -> Inside {
        let folder = format!("--chdir={}", folder.display());
        let config = format!("DOCKER_CONFIG={}", self.docker_config().display());
        let host = format!("DOCKER_HOST={}", self.host());
        let with = ["env", &folder, &config, &host];
        self.start_beside(&[&with, command].concat(), log)
    }

    /// Builds know the password of the registry at this address from now on.
    pub fn log_in(&self, registry: &Registry, address: &str) {
        let folder = self.docker_config();
        fs::create_dir_all(&folder).expect("a folder");
        let auths = json!({"auths": {address: {"auth": registry.basic_auth()}}});
        fs::write(folder.join("config.json"), auths.to_string()).expect("config.json");
    }

    /// The same, to its end.
    #[track_caller]
    pub fn built(&self, options: &[&str], dockerfile: &str) -> String {
        self.buildx(options, dockerfile).done()
    }

    /// Gives this engine's client a builder of this name, as docker's own that runs in a
    /// container: it is not this engine, and what it builds has to be loaded. It is the BuildKit
    /// within another engine, for no image of BuildKit's own is to be had without a network.
    #[track_caller]
    pub fn add_builder(&self, name: &str, other: &Engine) {
        let socket = self.dir().join(format!("{name}.sock"));
        let listener = UnixListener::bind(&socket).expect("a socket");
        let target = other.socket();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = target.clone();
                std::thread::spawn(move || upgraded(&client, &target));
            }
        });
        let address = format!("unix://{}", socket.display());
        let create = ["docker", "buildx", "create", "--driver=remote", "--name"];
        let command = [&create[..], &[name, &address]].concat();
        let mut process = self.beside(self.dir(), &command, &format!("{name}.log"));
        let status = wait_until("the builder is there", || process.ended());
        assert!(status.success(), "{status}: {}", process.log());
    }

    /// Waits until a command of a build, run by busybox, waits for the file /go.
    #[track_caller]
    pub fn build_waits(&self) -> PathBuf {
        wait_until("the build runs its command", || {
            let pid = self.child_named("busybox")?;
            Some(PathBuf::from(format!("/proc/{pid}/root/go")))
        })
    }
}

impl Build {
    /// What it said; fails unless it ends well.
    #[track_caller]
    pub fn done(mut self) -> String {
        let status = wait_until("the build ends", || self.process.ended());
        let said = self.process.log();
        assert!(status.success(), "{status}: {said}");
        fs::remove_dir_all(&self.context).expect("its context");
        said
    }

    /// As Ctrl-C.
    pub fn cancel(mut self) {
        self.process.kill();
    }
}

/// An engine gives its BuildKit to whoever asks for a connection of another protocol.
fn upgraded(client: &UnixStream, engine: &Path) -> Option<()> {
    const ASK: &str =
        "POST /grpc HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let server = UnixStream::connect(engine).ok()?;
    (&server).write_all(ASK.as_bytes()).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (&server).read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &server, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Some(())
}
