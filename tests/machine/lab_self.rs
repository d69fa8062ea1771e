//! The lab itself: what tests on engines rely on.

use crate::support::NOTHING;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::lab::image::{Archive, tar};
use crate::lab::{Engine, Kind, Registry, base64url, version_of, wait_until};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

/// Files below `dir` whose name starts so.
fn files(dir: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    named.map(|entry| entry.path()).collect()
}

/// Processes and mounts that have to do with this directory.
fn traces(dir: &Path) -> Vec<String> {
    let name = dir
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("/proc").flatten() {
        for file in ["cmdline", "mountinfo"] {
            let text = fs::read(process.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(&name) {
                found.push(process.path().join(file).display().to_string());
            }
        }
    }
    for root in ["/sys/fs/cgroup".into()]
        .into_iter()
        .chain(files(Path::new("/sys/fs/cgroup"), ""))
    {
        found.extend(
            files(&root.join("secateur-lab"), &name)
                .iter()
                .map(|p| p.display().to_string()),
        );
    }
    found.extend(
        files(dir.parent().expect("a parent"), &name)
            .iter()
            .map(|p| p.display().to_string()),
    );
    found
}

/// The signs of a layer being downloaded: on the host's own view of the engine's files.
fn downloads(engine: &Engine) -> Vec<PathBuf> {
    if engine.kind().containerd() {
        let content = "containerd/daemon/io.containerd.content.v1.content/ingest";
        files(&engine.data_root().join(content), "")
            .iter()
            .map(|dir| dir.join("data"))
            .collect()
    } else {
        files(&engine.data_root().join("tmp"), "GetImageBlob")
    }
}

fn kind_works(kind: Kind) {
    let before = SystemTime::now();
    let mut engine = Engine::start(kind);
    let info = engine.info();
    assert!(
        engine.version().starts_with(kind.major()),
        "{}: {}",
        kind.name(),
        engine.version()
    );
    let store = json!(["driver-type", "io.containerd.snapshotter.v1"]);
    let status = info["DriverStatus"].as_array().expect("DriverStatus");
    assert_eq!(status.contains(&store), kind.containerd(), "{status:?}");
    assert_eq!(info["DockerRootDir"], json!(engine.data_root()));
    assert!(engine.data_root().join("engine-id").exists() || kind == Kind::Overlay20);

    // Images of all sorts.
    let tar = tar(&[("file", b"bytes")]);
    let imported = engine.import("imported:v1", &tar);
    engine.tag(&imported, "imported:also");
    assert_eq!(engine.id("imported:also"), imported);
    let old = engine.load(
        &Archive::new()
            .created("1970-01-01T00:00:00Z")
            .label("tier", "base"),
    );
    assert!(engine.has(&old));
    let undated = engine.load(&Archive::new().tag("undated:v1"));
    assert_ne!(old, undated);
    let base = engine.runnable("base:v1");
    assert!(engine.images().len() >= 3);
    let child = engine.build("child:v1", "FROM base:v1\nLABEL a=1\nLABEL b=2\n");
    let parent = engine
        .images()
        .into_iter()
        .find(|image| image["Id"] == json!(child));
    let parent = parent.expect("the child")["ParentId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(engine.inspect(&parent)["Parent"], json!(base));

    // Containers really run.
    let container =
        engine.create_container("base:v1", &["/bin/busybox", "sleep", "1000"], &json!({}));
    engine.wait_container(&container, "created");
    engine.container(&container, "start");
    engine.wait_container(&container, "running");
    engine.container(&container, "pause");
    engine.wait_container(&container, "paused");
    engine.container(&container, "unpause");
    engine.commit(&container, Some("committed:v1"));
    engine.container(&container, "kill");
    engine.wait_container(&container, "exited");
    engine.remove_container(&container);
    assert_eq!(engine.remove("imported:also").status, 200);
    let events = engine.events(before);
    assert!(
        events.iter().any(|event| event["Action"] == "untag"),
        "{events:?}"
    );
    let version = engine.docker(&["version", "--format", "{{.Server.Version}}"]);
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        engine.version()
    );

    // The same files after a kill and after an orderly end.
    engine.kill();
    engine.restart();
    assert!(engine.has("imported:v1"));
    engine.restart();
    assert!(engine.has("imported:v1"));

    let (dir, pid) = (engine.dir().to_owned(), engine.pid());
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    drop(engine);
    assert_eq!(traces(&dir), NOTHING);
}

fn pulls_work(kind: Kind) {
    let registry = Registry::start();
    let engine = Engine::start(kind);
    let (name, auth) = (registry.name("app:v1"), registry.auth_header());
    let first = registry.put("app:v1", &Archive::new().busybox());
    let second = registry.put("app:v2", &Archive::new().busybox());
    assert_ne!(first, second);

    let refused = engine.pull_in_background(&name, None).done();
    assert!(refused.is_err(), "{refused:?}");
    let lines = engine.pull(&name, Some(&auth));
    let end = lines.last().expect("a last line").to_string();
    assert!(end.contains("Downloaded newer image"), "{end}");
    wait_until("the access log has the blob", || {
        registry
            .requests()
            .into_iter()
            .find(|r| r.method == "GET" && r.path.contains("/blobs/"))
    });
    let old = engine.id(&name);
    registry.retag("app:v2", "app:v1");
    assert_eq!(registry.digest("app:v1"), second);
    engine.pull(&name, Some(&auth));
    assert_ne!(engine.id(&name), old);

    // In flight for as long as the test wants, and then done.
    registry.put("big:v1", &Archive::new().noise(8 * MIB));
    let line = registry.slow_line(500_000);
    let auth = registry.auth_header_for(line.address());
    let pull = engine.pull_in_background(&line.name("big:v1"), Some(&auth));
    let data = wait_until("a file of the download", || {
        let mut found = downloads(&engine).into_iter();
        found.find(|file| fs::metadata(file).is_ok_and(|meta| meta.len() >= MIB as u64))
    });
    assert!(!pull.is_done());
    let path = if kind.containerd() {
        data.parent().expect("ingest").join("ref")
    } else {
        data.clone()
    };
    assert!(path.exists());
    let open = fs::read_dir(format!("/proc/{}/fd", holder(&engine))).expect("fd");
    let open: Vec<PathBuf> = open
        .flatten()
        .flat_map(|fd| fs::read_link(fd.path()))
        .collect();
    assert!(
        open.contains(&data),
        "{} is not open as such on the host: {open:?}",
        data.display()
    );
    line.open();
    pull.done().expect("the pull ends well");
    assert!(engine.has(&line.name("big:v1")));

    // A pull that is cut off.
    registry.put("cut:v1", &Archive::new().noise(8 * MIB));
    let line = registry.slow_line(500_000);
    let auth = registry.auth_header_for(line.address());
    let pull = engine.pull_in_background(&line.name("cut:v1"), Some(&auth));
    wait_until("a file of the download", || downloads(&engine).pop());
    pull.cancel();
    assert!(!engine.has(&line.name("cut:v1")));

    let dirs = [engine.dir().to_owned()];
    drop((engine, registry));
    assert_eq!(traces(&dirs[0]), NOTHING);
}

/// The process that writes downloads.
fn holder(engine: &Engine) -> u32 {
    if engine.kind().containerd() {
        engine.containerd_pid()
    } else {
        engine.pid()
    }
}

fn swarm_works(kind: Kind) {
    let registry = Registry::start();
    let engine = Engine::start(kind);
    registry.put("web:v1", &Archive::new().busybox());
    registry.put("web:v2", &Archive::new().busybox());
    let (one, two) = (registry.pinned("web:v1"), registry.pinned("web:v2"));
    let auth = registry.auth_header();
    engine.swarm_init();
    engine.service_create("web", &one, 2, Some(&auth));
    engine.wait_tasks("web", &one, "running", 2);
    engine.service_update_image("web", &two, Some(&auth));
    engine.wait_tasks("web", &two, "running", 2);
    let service = engine.service("web");
    assert_eq!(
        service["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"],
        json!(one)
    );
    engine.service_remove("web");
    if kind == Kind::Overlay28 {
        let dangling = engine.get("/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D");
        assert_eq!(dangling.as_array().map(Vec::len), Some(2), "{dangling}");
    }
    let dir = engine.dir().to_owned();
    drop(engine);
    assert_eq!(traces(&dir), NOTHING);
}

macro_rules! on {
    ($($name:ident: $check:ident($kinds:expr);)*) => {$(
        #[test]
        #[ignore = "needs the lab: run tests/run"]
        fn $name() {
            for kind in $kinds {
                $check(kind);
            }
        }
    )*};
}

on! {
    overlay20: kind_works([Kind::Overlay20]);
    overlay26: kind_works([Kind::Overlay26]);
    containerd26: kind_works([Kind::Containerd26]);
    overlay28: kind_works(Kind::NEWEST_OVERLAY);
    containerd28: kind_works(Kind::NEWEST_CONTAINERD);
    pulls_on_overlay20: pulls_work([Kind::Overlay20]);
    pulls_on_overlay28: pulls_work(Kind::NEWEST_OVERLAY);
    pulls_on_containerd28: pulls_work(Kind::NEWEST_CONTAINERD);
    swarm_on_overlay20: swarm_works([Kind::Overlay20]);
    swarm_on_overlay28: swarm_works(Kind::NEWEST_OVERLAY);
    swarm_on_containerd28: swarm_works(Kind::NEWEST_CONTAINERD);
}

/// Else an engine that nobody tried would count as tried.
#[test]
fn what_is_no_dockerd_is_not_taken_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let said_by = |script: &str| {
        let path = folder.path().join("dockerd");
        std::fs::write(&path, script).expect("a script");
        let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, runs).expect("its mode");
        version_of(&path)
    };
    let version = said_by("#!/bin/sh\necho Docker version 29.7.2-dev, build b985e23\n");
    assert_eq!(version.as_deref(), Ok("29.7"));
    for script in [
        "#!/bin/sh\necho hello\n",
        "#!/bin/sh\necho Docker version dev, build x\n",
        "#!/bin/sh\n",
    ] {
        assert!(said_by(script).is_err(), "{script}");
    }
    let error = version_of(&folder.path().join("none")).expect_err("no file");
    assert!(error.contains("No such file"), "{error}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_disk_can_be_filled() {
    for kind in Kind::MAIN {
        let engine = Engine::builder(kind).disk("48m").start();
        let before = free_kib(engine.data_root());
        engine.load(&Archive::new().noise(8 * MIB).tag("big:v1"));
        let after = free_kib(engine.data_root());
        assert!(
            after + 8 * 1024 <= before,
            "{}: {before} KiB, then {after}",
            kind.name()
        );
        let archive = Archive::new().noise(64 * MIB).build();
        let answer = engine
            .try_api("POST", "/images/load", &[], &archive)
            .map(|a| a.text());
        let full = answer
            .as_ref()
            .is_ok_and(|text| text.contains("no space left"));
        assert!(full, "{}: {answer:?}", kind.name());
        let dir = engine.dir().to_owned();
        drop(engine);
        assert_eq!(traces(&dir), NOTHING);
    }
}

fn free_kib(path: &Path) -> usize {
    let output = Command::new("df")
        .arg("--output=avail")
        .arg(path)
        .output()
        .expect("df");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok())
        .expect("a number")
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn nothing_outlives_a_killed_test() {
    // The test starts itself once more, as a process that is then killed.
    const CHILD: &str = "SECATEUR_LAB_VICTIM";
    if std::env::var_os(CHILD).is_some() {
        let engine = Engine::builder(Kind::Overlay28).disk("64m").start();
        engine.runnable("base:v1");
        let id = engine.create_container("base:v1", &["/bin/busybox", "sleep", "1000"], &json!({}));
        engine.container(&id, "start");
        println!("room={}", engine.dir().display());
        loop {
            std::thread::park();
        }
    }
    let mut victim = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "lab_self::nothing_outlives_a_killed_test",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test");
    let said = std::io::BufReader::new(victim.stdout.take().expect("piped"));
    let dir = std::io::BufRead::lines(said)
        .map(|line| line.expect("text"))
        .find_map(|line| line.split_once("room=").map(|(_, dir)| PathBuf::from(dir)))
        .expect("the victim says where its engine is");
    assert!(!traces(&dir).is_empty());
    victim.kill().expect("SIGKILL");
    victim.wait().expect("its end");
    wait_until("all traces are gone", || {
        traces(&dir).is_empty().then_some(())
    });
}

#[test]
fn base64_is_padded() {
    let header = |value: &Value| base64url(value.to_string().as_bytes());
    assert_eq!(header(&json!(1)), "MQ==");
    assert_eq!(header(&json!(12)), "MTI=");
    assert_eq!(header(&json!("\u{3ff}~")), "Is-_fiI=");
}
