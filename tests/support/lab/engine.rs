//! A private engine: dockerd with its own containerd, files and processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::http::{self, Request, Response};
use super::kind::Kind;
use super::room::{Inside, Room};
use super::wait_until;

#[derive(Debug, Clone)]
pub struct Builder {
    kind: Kind,
    disk: Option<String>,
    config: Value,
    host: Option<String>,
}

impl Builder {
    /// Puts the data root on a file system of that size ("64m") that a test can fill.
    pub fn disk(mut self, size: &str) -> Builder {
        self.disk = Some(size.to_owned());
        self
    }

    /// A setting of daemon.json.
    pub fn config(mut self, key: &str, value: Value) -> Builder {
        self.config[key] = value;
        self
    }

    /// Has the engine see a host of that name, where everything has its usual place: its files are
    /// at /var/lib/docker, its socket is /run/docker.sock, and /var/lib/prometheus/node-exporter
    /// is the room's `metrics`.
    pub fn host(mut self, name: &str) -> Builder {
        self.host = Some(name.to_owned());
        self
    }

    pub fn start(self) -> Engine {
        let Builder {
            kind,
            disk,
            mut config,
            host,
        } = self;
        let room = Room::new(disk.as_deref());
        let data_root = room
            .dir()
            .join(if disk.is_some() { "disk" } else { "data" });
        set_store(&mut config, kind);
        if kind == Kind::Overlay20 {
            // Its id is made from this key, which would be in the tree's own /etc, and go with
            // each process. Later engines keep their id in the data root.
            config["deprecated-key-path"] = json!(room.dir().join("key.json"));
        }
        fs::write(room.dir().join("daemon.json"), config.to_string()).expect("daemon.json");
        let mut engine = Engine {
            kind,
            process: None,
            data_root,
            host,
            room,
        };
        engine.launch();
        engine
    }
}

fn set_store(config: &mut Value, kind: Kind) {
    // Said in both cases: from 29 on the containerd store is the default.
    config["features"]["containerd-snapshotter"] = json!(kind.containerd());
    if kind.containerd() {
        config
            .as_object_mut()
            .expect("settings")
            .remove("storage-driver");
    } else {
        config["storage-driver"] = json!("overlay2");
    }
}

/// Fields are dropped in order: the process first, then its files.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    process: Option<Inside>,
    data_root: PathBuf,
    host: Option<String>,
    room: Room,
}

/// Makes the places of a host in a tree, and becomes a command: FILES METRICS NAME COMMAND...
const ON_A_HOST: &str = r#"
    mkdir -p "$1" "$2" /var/lib/docker /var/lib/prometheus/node-exporter
    mount --bind "$1" /var/lib/docker
    mount --bind "$2" /var/lib/prometheus/node-exporter
    echo "$3" >/proc/sys/kernel/hostname
    shift 3
    exec "$@""#;

impl Engine {
    pub fn start(kind: Kind) -> Engine {
        Engine::builder(kind).start()
    }

    pub fn builder(kind: Kind) -> Builder {
        Builder {
            kind,
            disk: None,
            config: json!({}),
            host: None,
        }
    }

    /// Starts dockerd and waits until it answers.
    ///
    /// Its exec root, pid file and containerd's socket stay in the tree's own /run, which goes with
    /// the process: what is left after a kill is what a power cut leaves.
    fn launch(&mut self) {
        assert!(self.process.is_none(), "the engine runs already");
        let dir = self.room.dir().display();
        let parent = self
            .room
            .dir()
            .file_name()
            .expect("a room has a name")
            .to_string_lossy();
        let data_root = self.data_root.display().to_string();
        let metrics = self.metrics().display().to_string();
        let before: &[&str] = match &self.host {
            Some(name) => &[
                "unshare", "--uts", "sh", "-ec", ON_A_HOST, "host", &data_root, &metrics, name,
            ],
            None => &[],
        };
        let seen = self
            .host
            .as_ref()
            .map_or(&*data_root, |_| "/var/lib/docker");
        let mut arguments = vec![
            self.kind.program().to_owned(),
            format!("--config-file={dir}/daemon.json"),
            format!("--data-root={seen}"),
            format!("--host=unix://{dir}/docker.sock"),
            format!("--cgroup-parent=/secateur-lab/{parent}"),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            // Nothing of the host's network is touched.
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--ip-forward=false".to_owned(),
            "--insecure-registry=127.0.0.0/8".to_owned(),
        ];
        if self.host.is_some() {
            arguments.push("--host=unix:///run/docker.sock".to_owned());
        }
        let arguments = arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = before.iter().copied().chain(arguments).collect();
        let process =
            self.process
                .insert(self.room.start(self.kind.suite(), &arguments, "engine.log"));
        let socket = self.room.dir().join("docker.sock");
        wait_until("the engine answers", || {
            if let Some(status) = process.ended() {
                panic!("{}: {status}\n{}", self.kind.name(), process.log_tail());
            }
            let ping = Request {
                method: "GET",
                path: "/_ping",
                headers: &[],
                body: &[],
            };
            let answer = http::unix(&socket)
                .and_then(|mut s| http::exchange(&mut s, &ping))
                .ok()?;
            (answer.status == 200).then_some(())
        });
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the engine has all its files; removed with it. A test may put its own there.
    pub fn dir(&self) -> &Path {
        self.room.dir()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir().join("docker.sock")
    }

    /// For DOCKER_HOST and --host.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// Of an engine on a host: the folder that its node_exporter reads.
    pub fn metrics(&self) -> PathBuf {
        self.dir().join("metrics")
    }

    pub fn version(&self) -> String {
        text(&self.get("/version"), "Version")
    }

    /// What the engine says, for a test that fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("engine.log")).unwrap_or_default()
    }

    /// dockerd's process id on the host.
    pub fn pid(&self) -> u32 {
        let process = self.process.as_ref().expect("the engine runs");
        process.pid_of("dockerd").expect("dockerd is there")
    }

    /// The process id of the containerd that it started for itself.
    pub fn containerd_pid(&self) -> u32 {
        let process = self.process.as_ref().expect("the engine runs");
        process.pid_of("containerd").expect("containerd is there")
    }

    /// SIGKILL for dockerd, containerd and all containers at once: a power cut.
    pub fn kill(&mut self) {
        self.process.take().expect("the engine runs").kill();
    }

    /// SIGTERM for dockerd, and waits until it is gone.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the engine runs");
        let status = process.stop();
        assert!(
            status.success(),
            "{}: {status}\n{}",
            self.kind.name(),
            process.log_tail()
        );
    }

    /// Starts again, with the same files, after kill or stop; stops before that if it runs.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// Starts again with the other store: the same version and files, another setting.
    pub fn switch_to(&mut self, kind: Kind) {
        assert_eq!(kind.suite(), self.kind.suite(), "another version");
        self.kind = kind;
        self.reconfigure(|config| set_store(config, kind));
    }

    /// Starts again with another graph driver.
    pub fn use_driver(&mut self, driver: &str) {
        self.reconfigure(|config| config["storage-driver"] = json!(driver));
    }

    fn reconfigure(&mut self, change: impl FnOnce(&mut Value)) {
        self.stop();
        let file = self.dir().join("daemon.json");
        let config = fs::read(&file).expect("daemon.json");
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        change(&mut config);
        fs::write(file, config.to_string()).expect("daemon.json");
        self.launch();
    }

    /// The docker client of the engine's own version.
    pub fn docker(&self, arguments: &[&str]) -> std::process::Output {
        let host = self.host();
        self.room.run(
            self.kind.suite(),
            &[&["docker", "--host", &host], arguments].concat(),
        )
    }

    /// Runs a command of a tree, which sees the engine's folder, to its end.
    pub fn inside(&self, suite: &str, command: &[&str]) -> std::process::Output {
        self.room.run(suite, command)
    }

    /// Starts a command in the engine's tree; what it says is appended to `log` beside its files.
    pub(super) fn start_beside(&self, command: &[&str], log: &str) -> Inside {
        self.room.start(self.kind.suite(), command, log)
    }

    /// A process of that name that the engine started.
    pub(super) fn child_named(&self, name: &str) -> Option<u32> {
        self.process.as_ref()?.pid_of(name)
    }

    /// A script that is the docker client of the engine's own version, for use outside of the
    /// tree.
    pub fn client(&self) -> String {
        self.program("usr/bin/docker")
    }

    /// The same of any program of the engine's tree.
    pub fn program(&self, path: &str) -> String {
        super::program(self.kind.suite(), path)
    }

    pub fn try_api(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        http::exchange(
            &mut http::unix(&self.socket())?,
            &Request {
                method,
                path,
                headers,
                body,
            },
        )
    }

    /// One call with a JSON body, whatever its status. Without a version in the path the engine
    /// uses its newest.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.api_with(method, path, &[], body)
    }

    #[track_caller]
    pub fn api_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        let body = body.map(|body| body.to_string().into_bytes());
        let json = [headers, &[("Content-Type", "application/json")]].concat();
        let headers = if body.is_some() { &json } else { headers };
        self.try_api(method, path, headers, &body.unwrap_or_default())
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// A GET that must succeed.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.api("GET", path, None).ok(path).json()
    }

    /// The engine's newest API version: the number after `1.`.
    pub fn api_version(&self) -> u32 {
        let version = text(&self.get("/version"), "ApiVersion");
        let minor = version.strip_prefix("1.").and_then(|n| n.parse().ok());
        minor.unwrap_or_else(|| panic!("an API version {version}"))
    }

    pub fn info(&self) -> Value {
        self.get("/info")
    }
}

#[track_caller]
pub(super) fn text(value: &Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
        .to_owned()
}
