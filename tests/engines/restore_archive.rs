//! What is promised comes back out of an archive, without a registry or before it is asked.

mod crash;

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::lab::image::Archive;
use crate::lab::index::ELSEWHERE;
use crate::lab::layout::{self, Layout};
use crate::lab::{Engine, Kind, Registry, wait_until};
use crate::support::proxy::Proxy;
use crate::support::{CALM, EAGER, Ran, Secateur};
use crate::verify_cache::Damage;

/// Where no registry answers.
const NOWHERE: &str = "127.0.0.1:1/shop";

fn secateur(engine: &Engine) -> Secateur {
    Secateur::at(&engine.host(), &format!("{EAGER}{CALM}"))
}

/// Runs `verify-cache --restore` for these names.
fn restore(secateur: &Secateur, layout: &Layout, names: &[&str]) -> Ran {
    let base = ["verify-cache", "--restore", "--format", "json", "--archive"];
    secateur.run(&[&base[..], &[layout.dir()], names].concat())
}

/// What the report says of an image.
#[track_caller]
fn said<'a>(report: &'a Value, name: &str) -> &'a Value {
    let images = report["images"].as_array().expect("images");
    let image = images.iter().find(|image| image["image"] == name);
    image.unwrap_or_else(|| panic!("{name} is not in {report:#}"))
}

/// A layer that is below many images.
fn base() -> Archive {
    Archive::default().busybox()
}

fn noise(base: &Archive, length: usize) -> Archive {
    base.clone().noise(length)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn without_a_network_all_that_is_promised_comes_out_of_the_archive() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let base = base();
        let images: Vec<(String, Archive)> = (0..4)
            .map(|n| (format!("{NOWHERE}/app{n}:1"), noise(&base, 300_000)))
            .collect();
        for (name, archive) in &images {
            layout.put(name, archive);
        }
        let names: Vec<&str> = images.iter().map(|(name, _)| name.as_str()).collect();
        let report = restore(&secateur, &layout, &names).ended(0).json();
        let mut bytes = Vec::new();
        for (name, archive) in &images {
            assert_eq!(
                engine.id(name),
                layout::id(kind, archive),
                "{}",
                kind.name()
            );
            let restored = &said(&report, name)["restored"];
            assert_eq!(restored["from"], "archive", "{}: {report:#}", kind.name());
            bytes.push(restored["bytes"].as_u64().expect("bytes"));
        }
        // The layer that all share is sent once.
        assert!(bytes[0] > 1_000_000, "{}: {bytes:?}", kind.name());
        assert!(bytes[1..].iter().all(|it| *it < 400_000), "{bytes:?}");
        assert_eq!(engine.images().len(), 4, "{}", kind.name());
        let again = restore(&secateur, &layout, &names).ended(0).json();
        assert!(said(&again, names[0])["restored"].is_null(), "{again:#}");

        let docker = |arguments: &[&str]| {
            let ran = Ran::of(engine.docker(arguments));
            assert_eq!(ran.code, 0, "{} {arguments:?}: {ran:?}", kind.name());
        };
        let never = ["run", "--rm", "--network=none", "--pull=never"];
        docker(&[&never[..], &[names[0], "/bin/busybox", "true"]].concat());
        if kind.containerd() {
            // By digest, too, though nobody named it so.
            let repository = names[1].trim_end_matches(":1");
            let pinned = format!("{repository}@{}", layout::digest(&images[1].1));
            docker(&[&never[..], &[&pinned, "/bin/busybox", "true"]].concat());
            engine.swarm_init();
            let both = format!("{}@{}", names[2], layout::digest(&images[2].1));
            engine.service_create("web", &both, 1, None);
            engine.wait_tasks("web", &both, "running", 1);
            engine.service_remove("web");
        }
        if kind.suite() == "sid" {
            let project = format!(
                "services:\n  app:\n    image: {}\n    network_mode: none\n    command: [/bin/busybox, 'true']\n",
                names[3]
            );
            let file = engine.dir().join("compose.yml");
            fs::write(&file, project).expect("the project");
            let file = file.display().to_string();
            docker(&["compose", "--file", &file, "up", "--pull=never"]);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_for_another_platform_is_brought_only_where_exactly_it_was_promised() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let name = format!("{NOWHERE}/app:1");
        let digest = layout.put_for(ELSEWHERE, &name, &noise(&base(), 1000));
        let report = restore(&secateur, &layout, &[&name]).ended(1).json();
        let why = format!("archive: {name}: the archive has it for linux/{ELSEWHERE}, and this");
        assert!(report["notes"].to_string().contains(&why), "{report:#}");
        assert!(engine.images().is_empty(), "{}", kind.name());
        if kind.containerd() {
            let pinned = format!("{NOWHERE}/app@{digest}");
            let report = restore(&secateur, &layout, &[&pinned]).json();
            assert_eq!(said(&report, &pinned)["restored"]["from"], "archive");
            assert_eq!(engine.id(&pinned), digest);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_the_engine_cannot_describe_stops_no_restore() {
    let engine = Engine::start(Kind::Overlay28);
    let secateur = secateur(&engine);
    let mut layout = Layout::at(&secateur.dir().join("archive"));
    let other = noise(&base(), 1000);
    engine.load(&other.clone().tag("other:1"));
    let names = ["app", "other"].map(|it| format!("{NOWHERE}/{it}:1"));
    layout.put(&names[0], &noise(&base(), 1000));
    layout.put(&names[1], &other);
    Damage::WholeFolder.inflict(&engine, "other:1");
    let report = restore(&secateur, &layout, &[&names[0], &names[1]])
        .ended(1)
        .json();
    assert_eq!(said(&report, &names[0])["restored"]["from"], "archive");
    // A load repairs no layer.
    assert_eq!(said(&report, &names[1])["not_restored"]["kind"], "failed");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_promise_by_digest_comes_out_of_an_archive_on_the_containerd_store_alone() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let archive = Archive::new().noise(1000);
        layout.put(&format!("{NOWHERE}/app:1"), &archive);
        let pinned = format!("{NOWHERE}/app@{}", layout::digest(&archive));
        let ran = restore(&secateur, &layout, &[&pinned]);
        if kind.containerd() {
            assert_eq!(
                said(&ran.ended(0).json(), &pinned)["restored"]["from"],
                "archive"
            );
            assert_eq!(engine.id(&pinned), layout::digest(&archive));
            let names = engine.inspect(&pinned)["RepoTags"].clone();
            assert_eq!(names, json!([pinned]), "no other name");
        } else {
            let report = ran.ended(1).json();
            let notes = report["notes"].to_string();
            assert!(notes.contains("from a registry alone"), "{report:#}");
            assert_eq!(engine.images().len(), 0, "{}", kind.name());
        }
    }
}

/// What is said of a blob, and what was done to it.
type Spoilt = (&'static str, fn(&Path));

/// Ways in which a blob of an archive is not what it was.
fn spoilt() -> Vec<Spoilt> {
    fn open(path: &Path) -> fs::File {
        let mut options = OpenOptions::new();
        options.write(true).open(path).expect("the blob")
    }
    vec![
        ("is damaged", |path| {
            let mut file = open(path);
            file.seek(SeekFrom::Start(40)).expect("a place in it");
            file.write_all(b"!").expect("a byte");
        }),
        ("bytes, wanted", |path| {
            let file = open(path);
            let length = file.metadata().expect("its length").len();
            file.set_len(length - 1).expect("one byte less");
        }),
        ("bytes, wanted", |path| {
            let file = open(path);
            let length = file.metadata().expect("its length").len();
            file.set_len(length + 1).expect("one byte more");
        }),
        ("is missing", |path| fs::remove_file(path).expect("it goes")),
        ("no plain file", |path| {
            let real = path.with_extension("real");
            fs::rename(path, &real).expect("it moves");
            std::os::unix::fs::symlink(&real, path).expect("a link");
        }),
        ("no plain file", |path| {
            fs::remove_file(path).expect("it goes");
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(path, mode).expect("a FIFO");
        }),
    ]
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_is_damaged_in_an_archive_is_named_and_never_loaded_and_the_registry_is_asked() {
    let registry = Registry::start();
    let login = format!("auths.json-{}", crate::lab::image::unique());
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let docker = secateur.dir().join(&login);
        fs::create_dir_all(&docker).expect("a folder");
        let auths = json!({"auths": {registry.address(): {"auth": registry.basic_auth()}}});
        fs::write(docker.join("config.json"), auths.to_string()).expect("a login");
        let docker = docker.display().to_string();
        for (number, (wanted, spoil)) in spoilt().into_iter().enumerate() {
            // Manifest, configuration and layer in turn.
            for part in 0..3 {
                let mut layout = Layout::at(&secateur.dir().join(format!("{number}-{part}")));
                let archive = Archive::new().noise(600_000);
                let short = format!("app{number}{part}:1");
                let name = registry.name(&short);
                layout.put(&name, &archive);
                let blobs = layout::blobs(&archive).1;
                let bytes = &blobs[if part == 2 { blobs.len() - 1 } else { part }];
                spoil(&layout.path(bytes));
                let ran = restore(&secateur, &layout, &[&name, "--user-config", &docker]);
                let report = ran.ended(1).json();
                let notes = report["notes"].to_string();
                let what = format!("{} {wanted} {part}: {report:#}", kind.name());
                assert!(notes.contains(wanted), "{what}");
                let digest = crate::lab::image::sha256(bytes);
                assert!(notes.contains(&digest), "{what}");
                assert_eq!(engine.images().len(), 0, "{what}");
            }
        }
        // The registry has it.
        let archive = Archive::new().noise(1000);
        let name = registry.name("there:1");
        registry.put("there:1", &archive);
        let mut layout = Layout::at(&secateur.dir().join("there"));
        layout.put(&name, &archive);
        let (_, blobs) = layout::blobs(&archive);
        fs::remove_file(layout.path(&blobs[2])).expect("it goes");
        let ran = restore(&secateur, &layout, &[&name, "--user-config", &docker]);
        let report = ran.ended(0).json();
        assert_eq!(
            said(&report, &name)["restored"]["from"],
            "registry",
            "{report:#}"
        );
        assert!(
            report["notes"].to_string().contains("is missing"),
            "{report:#}"
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_restore_that_is_killed_while_it_loads_leaves_no_name_and_the_next_ends_it() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let archive = Archive::new().noise(96 << 20);
        let name = format!("{NOWHERE}/app:1");
        layout.put(&name, &archive);
        let started = |marker: &str| {
            let found = walk(engine.data_root(), marker);
            found.then_some(())
        };
        let arguments = [
            "verify-cache",
            "--restore",
            "--archive",
            layout.dir(),
            &name,
        ];
        let mut child = secateur.command(&arguments).spawn().expect("the program");
        let marker = if kind.containerd() {
            "io.containerd.content.v1.content/ingest/"
        } else {
            "/docker-import-"
        };
        wait_until("the load has begun", || {
            let ended = child.try_wait().expect("its state");
            assert!(
                ended.is_none(),
                "{}: it ended before it was killed",
                kind.name()
            );
            started(marker)
        });
        child.kill().expect("it is killed");
        child.wait().expect("it is gone");
        assert_eq!(engine.images().len(), 0, "{}", kind.name());
        // What the load left on the containerd store looks like a pull for a minute.
        wait_until("the engine let go of it", || {
            let ran = restore(&secateur, &layout, &[&name]);
            (ran.code != 75).then(|| ran.ended(0))
        });
        assert_eq!(
            engine.id(&name),
            layout::id(kind, &archive),
            "{}",
            kind.name()
        );
    }
}

/// Whether a path below this folder has the marker and goes on behind it.
fn walk(folder: &Path, marker: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut paths = paths.filter(|path| !path.ends_with("overlay2"));
    paths.any(|path| {
        let text = path.display().to_string();
        let is_it = text
            .split_once(marker)
            .is_some_and(|(_, rest)| !rest.is_empty());
        is_it || path.is_dir() && !path.is_symlink() && walk(&path, marker)
    })
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_engine_that_never_answers_a_load_is_waited_for_no_longer_than_max_run() {
    for kind in Kind::NEWEST {
        let engine = Engine::start(kind);
        let mut secateur = secateur(&engine);
        secateur.policy(&format!("{EAGER}{CALM}max_run = \"60s\"\n"));
        let proxy = Proxy::before(&engine);
        secateur.turn_to(&proxy.host());
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let name = format!("{NOWHERE}/app:1");
        layout.put(&name, &Archive::new().noise(1000));
        let gate = proxy.stop("POST", "/images/load", 1);
        let report = restore(&secateur, &layout, &[&name]).ended(1).json();
        gate.reached();
        let why = &said(&report, &name)["not_restored"];
        assert_eq!(why["kind"], "max-run", "{}: {report:#}", kind.name());
        assert_eq!(engine.images().len(), 0, "{}", kind.name());
    }
}
