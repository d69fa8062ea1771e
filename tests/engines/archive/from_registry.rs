//! `--save --from-registry`: images get into an archive without an engine, and without root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::layout::Layout;
use crate::lab::image::Archive;
use crate::lab::index::{ELSEWHERE, HERE, Index};
use crate::lab::{Engine, Kind, Registry, USER, base64url};
use crate::support::{CALM, PROGRAM, Ran, Secateur, patient};

/// Anybody but root.
const NOBODY: u32 = 65_534;

/// A machine without an engine, and whoever logged in there.
struct Machine {
    secateur: Secateur,
    registry: Registry,
    program: PathBuf,
}

impl Machine {
    fn new() -> Machine {
        let registry = Registry::start();
        let secateur = Secateur::at("unix:///nonexistent/docker.sock", &patient());
        // Where anybody may run it.
        let program = secateur.dir().join("secateur");
        fs::copy(&*PROGRAM, &program).expect("the program");
        fs::create_dir(secateur.dir().join("docker")).expect("a folder");
        fs::set_permissions(secateur.dir(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let machine = Machine {
            secateur,
            registry,
            program,
        };
        machine.log_in(machine.registry.password());
        for part in ["docker", ""] {
            let path = machine.secateur.dir().join(part);
            chown(path, Some(NOBODY), Some(NOBODY)).expect("the owner");
        }
        machine
    }

    fn log_in(&self, password: &str) {
        let auth = base64url(format!("{USER}:{password}").as_bytes());
        assert!(!auth.contains(['-', '_']), "plain base64");
        let auths = json!({"auths": {self.registry.address(): {"auth": auth}}});
        let path = self.secateur.dir().join("docker/config.json");
        fs::write(&path, auths.to_string()).expect("a login");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("the owner");
    }

    fn folder(&self) -> PathBuf {
        self.secateur.dir().join("archive")
    }

    fn save(&self, args: &[&str]) -> Ran {
        let base = ["verify-cache", "--save", "--from-registry", "--archive"];
        let (folder, docker) = (self.folder(), self.secateur.dir().join("docker"));
        let command = self.secateur.command(&base);
        let mut as_nobody = Command::new(&self.program);
        as_nobody
            .args(command.get_args())
            .arg(folder)
            .arg("--user-config")
            .arg(docker)
            .args(args)
            .env_clear()
            .env("HOME", self.secateur.dir())
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY);
        Ran::of(as_nobody.output().expect("the program runs"))
    }

    #[track_caller]
    fn saved(&self, code: i32, args: &[&str]) -> Value {
        let args = [&["--format", "json"], args].concat();
        self.save(&args).ended(code).json()
    }

    fn blob_requests(&self) -> usize {
        let requests = self.registry.requests();
        let blobs = requests.iter().filter(|it| it.path.contains("/blobs/"));
        blobs.filter(|it| it.method == "GET").count()
    }
}

/// How many blobs each image added.
fn blobs(report: &Value) -> Vec<u64> {
    let images = report["images"].as_array().expect("images").iter();
    let each = images.map(|image| image["saved"]["blobs_written"].as_u64());
    each.map(|count| count.unwrap_or_else(|| panic!("{report:#}")))
        .collect()
}

fn restored(engine: &Engine, machine: &Machine, names: &[&str]) {
    let calm = format!("{}{CALM}", patient());
    let secateur = Secateur::at(&engine.host(), &calm);
    let docker = machine.secateur.dir().join("docker");
    let args = ["--format", "json", "verify-cache", "--restore", "--archive"];
    let mut command = secateur.command(&args);
    command
        .arg(machine.folder())
        .arg("--user-config")
        .arg(docker);
    let report = Ran::of(command.args(names).output().expect("it runs"));
    let report = report.ended(0).json();
    for image in report["images"].as_array().expect("images") {
        assert_eq!(image["restored"]["from"], "archive", "{report:#}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_a_registry_has_gets_into_an_archive_without_engine_or_root_and_an_engine_takes_it() {
    let machine = Machine::new();
    let registry = &machine.registry;
    let base = Archive::default().noise(300_000);
    let app = base.clone().noise(1000);
    let digest = registry.put("app:1", &app);
    registry.put("web:1", &base.clone().noise(2000));
    let index = Index::default()
        .linux(ELSEWHERE, &Archive::new())
        .linux(HERE, &base.clone().noise(3000));
    registry.put_index("many:1", index);
    let names = ["app:1", "web:1", "many:1"].map(|name| registry.name(name));
    let names = names.each_ref().map(String::as_str);
    let report = machine.saved(0, &names);
    assert_eq!(report["engine"], Value::Null);
    assert_eq!(report["result"], "held");
    // Manifest, configuration, its own layer; the first the one of all, too, the last its index.
    let mut counts = blobs(&report);
    counts.sort_unstable();
    assert_eq!(counts, [3, 4, 4], "{report:#}");
    let layout = Layout::read(&machine.folder());
    assert_eq!(layout.names(), names);
    let asked = machine.blob_requests();
    assert_eq!(blobs(&machine.saved(0, &names)), [0; 3]);
    assert_eq!(machine.blob_requests(), asked, "nothing is fetched again");

    // The tag moves on. What is recorded is known by its digest.
    registry.put("app:1", &base.clone().noise(4000));
    assert_eq!(blobs(&machine.saved(0, &names[..1])), [0]);
    let pinned = format!("{}@{digest}", registry.name("app"));
    assert_eq!(blobs(&machine.saved(0, &[&pinned])), [0]);
    let followed = machine.saved(0, &["--follow", names[0]]);
    assert_eq!(blobs(&followed), [3], "{followed:#}");

    // Root trusts a folder of its own alone.
    let mut chown = Command::new("chown");
    chown.args(["-R", "root:root"]).arg(machine.secateur.dir());
    assert!(chown.status().expect("chown runs").success());
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        restored(&engine, &machine, &names);
        assert_eq!(engine.images().len(), 3, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_its_registry_does_not_give_is_named_and_the_next_is_tried() {
    let machine = Machine::new();
    let registry = &machine.registry;
    registry.put("app:1", &Archive::new());
    let (gone, app) = (registry.name("gone:1"), registry.name("app:1"));
    let report = machine.saved(1, &[&gone, "127.0.0.1:1/shut:1", &app]);
    let said = |name: &str| {
        let images = report["images"].as_array().expect("images");
        let image = images.iter().find(|image| image["image"] == name);
        image.unwrap_or_else(|| panic!("no {name}: {report:#}"))["saved"].clone()
    };
    assert_eq!(said(&gone)["not_saved"], "registry");
    assert!(
        said(&gone)["message"].to_string().contains("404"),
        "{report:#}"
    );
    assert_eq!(said("127.0.0.1:1/shut:1")["not_saved"], "registry");
    assert_eq!(said(&app)["blobs_written"], 3, "{report:#}");

    registry.put("new:1", &Archive::new());
    machine.log_in("wrong");
    let before = registry.requests().len();
    let ran = machine.save(&[&registry.name("new:1"), &gone]).ended(1);
    assert!(ran.stdout.contains("refuses"), "{ran:?}");
    assert!(ran.stdout.contains("broken: 2 of 2 images"), "{ran:?}");
    assert!(!ran.stdout.contains("wrong"), "{ran:?}");
    let sent = registry.requests().len() - before;
    assert_eq!(sent, 2, "asked once, with the password once");
}
