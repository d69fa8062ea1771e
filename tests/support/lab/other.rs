//! Engines that are not root's Docker: Podman, and whatever runs as another user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::http::{self, Request, Response};
use super::room::{Inside, Room};
use super::{encode, wait_until};

/// A user that this machine need not know.
pub const USER_ID: u32 = 4242;

/// Fields are dropped in order: the process first, then its files.
#[derive(Debug)]
pub struct Other {
    process: Inside,
    rootless: bool,
    room: Room,
}

/// What a user's engine needs before it starts: ranges of ids, and a device that on some
/// machines is root's alone.
const USER: &str = r#"
useradd --uid "$1" --home-dir "$2/home" --add-subids-for-system lab 2>/dev/null ||
    { useradd --uid "$1" --home-dir "$2/home" lab; echo lab:100000:65536 | tee /etc/subuid >/etc/subgid; }
mount -t tmpfs net /dev/net
mknod --mode=666 /dev/net/tun c 10 200
exec setpriv --reuid "$1" --regid "$1" --clear-groups \
    env HOME="$2/home" XDG_RUNTIME_DIR="$2/run" DBUS_SESSION_BUS_ADDRESS= "${@:3}"
"#;

impl Other {
    /// Podman's own service. `suite` is bookworm (4.3) or sid (5.8).
    pub fn podman(suite: &str, rootless: bool) -> Other {
        Other::start(suite, rootless, |room| {
            let storage = if rootless {
                vec![] // ~/.local/share/containers/storage
            } else {
                vec![
                    format!("--root={}/storage", room.display()),
                    "--runroot=/run/lab".into(),
                ]
            };
            let service = ["system", "service", "--time=0"].map(str::to_owned);
            let socket = format!("unix://{}/run/docker.sock", room.display());
            let podman = ["podman".to_owned(), "--cgroup-manager=cgroupfs".to_owned()];
            [&podman[..], &storage, &service, &[socket]].concat()
        })
    }

    /// Docker 28 as a user, by its own script: data in ~/.local/share/docker, the socket in
    /// `$XDG_RUNTIME_DIR`.
    pub fn rootless_docker(containerd: bool) -> Other {
        Other::start("sid", true, |_| {
            let arguments = [
                "/usr/share/docker.io/contrib/dockerd-rootless.sh",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ];
            let store = format!("--feature=containerd-snapshotter={containerd}");
            arguments
                .map(str::to_owned)
                .into_iter()
                .chain([store])
                .collect()
        })
    }

    fn start(suite: &str, rootless: bool, command: impl Fn(&Path) -> Vec<String>) -> Other {
        let room = Room::new(None);
        let dir = room.dir().display().to_string();
        for (folder, mode) in [("home", 0o755), ("run", 0o700)] {
            let folder = room.dir().join(folder);
            fs::create_dir(&folder).expect("a folder");
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("its mode");
            if rootless {
                chown(&folder, Some(USER_ID), Some(USER_ID)).expect("its owner");
            }
        }
        let command = command(room.dir());
        let user = USER_ID.to_string();
        let mut all = vec![];
        if rootless {
            all.extend(["bash", "-euc", USER, "user", &user, &dir]);
        }
        all.extend(command.iter().map(String::as_str));
        let process = room.start(&format!("{suite}-podman"), &all, "engine.log");
        let mut other = Other {
            process,
            rootless,
            room,
        };
        let name = format!("{}, rootless: {rootless}", command[0]);
        wait_until(&format!("{name} answers"), || {
            if let Some(status) = other.process.ended() {
                panic!("{name}: {status}\n{}", other.process.log_tail());
            }
            let answer = other.try_api("GET", "/_ping", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
        other
    }

    /// Whose engine it is.
    pub fn user(&self) -> u32 {
        if self.rootless { USER_ID } else { 0 }
    }

    pub fn home(&self) -> PathBuf {
        self.room.dir().join("home")
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.room.dir().join("run")
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime_dir().join("docker.sock")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn try_api(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Response> {
        let request = Request {
            method,
            path,
            headers: &[("Content-Type", "application/x-tar")],
            body,
        };
        http::exchange(&mut http::unix(&self.socket())?, &request)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.try_api("GET", path, &[]).expect(path);
        answer.ok(path).json()
    }

    /// An image of one layer, with this name, from a tar file of its root. Returns its id.
    #[track_caller]
    pub fn import(&self, name: &str, tar: &[u8]) -> String {
        let path = format!("/images/create?fromSrc=-&repo={}", encode(name));
        self.try_api("POST", &path, tar)
            .expect("import")
            .ok("import");
        let image = self.get(&format!("/images/{name}/json"));
        image["Id"].as_str().expect("an id").to_owned()
    }

    pub fn has(&self, image: &str) -> bool {
        let path = format!("/images/{image}/json");
        self.try_api("GET", &path, &[]).expect("inspect").status == 200
    }
}
