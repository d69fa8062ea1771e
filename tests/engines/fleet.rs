//! docs/fleet.md on a Swarm of three hosts: secateur as a global job, its policy and its list of
//! images as Swarm configs. Then one host is drained, one is down, and the disk of one is full.

mod monitoring;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, wait_until};
use crate::support::scene::untagged;
use crate::support::{CALM, PROGRAM, Ran, Secateur, page, unpinned};
use monitoring::Monitoring;
use serde_json::{Value, json};

/// secateur and what it is linked with, as an image.
fn packed() -> Archive {
    let dir = tempfile::tempdir().expect("a folder");
    let small = dir.path().join("secateur");
    let strip = Command::new("strip")
        .arg("-o")
        .args([&small, Path::new(&*PROGRAM)])
        .status();
    assert!(strip.expect("strip").success());
    let linked = Command::new("ldd").arg(&*PROGRAM).output().expect("ldd");
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let mut archive = Archive::new().layer(&[("bin/secateur", &fs::read(small).expect("it"))]);
    for path in libraries {
        let bytes = fs::read(path).expect("a library");
        archive = archive.layer(&[(path.trim_start_matches('/'), &bytes)]);
    }
    archive
}

/// A manager and two workers, who have their images from one registry.
struct Fleet {
    m1: Engine,
    w1: Engine,
    w2: Engine,
    registry: Registry,
    /// Somebody at the manager's shell.
    shell: Secateur,
}

impl Fleet {
    fn start() -> Fleet {
        let host = |name: &str, kind| Engine::builder(kind).host(name);
        let (m1, w1, w2, registry) = thread::scope(|scope| {
            let m1 = scope.spawn(|| host("m1", Kind::Overlay28).start());
            let w1 = scope.spawn(|| host("w1", Kind::Overlay28).disk("128m").start());
            let w2 = scope.spawn(|| host("w2", Kind::Containerd28).start());
            let registry = Registry::start();
            registry.put("secateur:1", &packed());
            for image in ["web:1", "web:2", "gone:1", "base:1"] {
                registry.put(image, &Archive::new().busybox());
            }
            let started = |host: ScopedJoinHandle<Engine>| host.join().expect("an engine");
            (started(m1), started(w1), started(w2), registry)
        });
        m1.swarm_init();
        w1.swarm_join(&m1);
        w2.swarm_join(&m1);
        let shell = Secateur::on(&m1);
        let docker = shell.dir().join("docker");
        fs::write(&docker, m1.client()).expect("the client");
        fs::set_permissions(&docker, PermissionsExt::from_mode(0o755)).expect("its mode");
        fs::create_dir(shell.dir().join(".docker")).expect("a folder");
        let login = json!({"auths": {registry.address(): {"auth": registry.basic_auth()}}});
        fs::write(shell.dir().join(".docker/config.json"), login.to_string()).expect("the login");
        Fleet {
            m1,
            w1,
            w2,
            registry,
            shell,
        }
    }

    fn all(&self) -> [&Engine; 3] {
        [&self.m1, &self.w1, &self.w2]
    }

    /// Runs lines of the page in the manager's shell.
    #[track_caller]
    fn types(&self, lines: &str) -> String {
        let lines = lines.replace("registry.example", self.registry.address());
        let lines = format!("export PATH=$PWD:$PATH HOME=$PWD\n{lines}");
        let mut command = self.shell.typed(&lines);
        Ran::of(command.output().expect("bash")).ended(0).stdout
    }

    /// How the tasks of a job's last run have ended, by host.
    fn ends(&self, job: &str) -> BTreeMap<String, String> {
        let run = &self.m1.service(job)["JobStatus"]["JobIteration"];
        let nodes = self.m1.get("/nodes");
        let nodes = nodes.as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let ended = |task: Value| {
            let state = text(&task["Status"]["State"]);
            let over = ["complete", "failed", "rejected"].contains(&&*state);
            let node = nodes.iter().find(|node| node["ID"] == task["NodeID"])?;
            let here = task["JobIteration"] == *run && over;
            here.then(|| (text(&node["Description"]["Hostname"]), state))
        };
        self.m1.tasks(job).into_iter().filter_map(ended).collect()
    }

    /// Waits until a job has ended well on these hosts, and has not on others.
    #[track_caller]
    fn completes(&self, job: &str, hosts: &[&str]) {
        wait_until(&format!("{job} is complete on {hosts:?}"), || {
            let ends = self.ends(job);
            let well = ends.values().all(|state| state == "complete");
            (well && ends.keys().eq(hosts)).then_some(())
        });
    }

    /// What only the images of services can show: one that is updated, and one that is gone, with
    /// a task on each host.
    fn services(&self) -> Services {
        let auth = self.registry.auth_header();
        let auth = Some(&*auth);
        let pinned = ["web:1", "web:2", "gone:1"].map(|image| self.registry.pinned(image));
        let [web, next, gone] = pinned;
        for (name, image) in [("web", &web), ("gone", &gone)] {
            self.m1.service_create_as(name, image, auth, |spec| {
                spec["Mode"] = json!({"Global": {}});
            });
        }
        self.m1.wait_tasks("web", &web, "running", HOSTS.len());
        self.m1.wait_tasks("gone", &gone, "running", HOSTS.len());
        self.m1.service_remove("gone");
        self.m1.service_update_image("web", &next, auth);
        self.m1.wait_tasks("web", &next, "running", HOSTS.len());
        wait_until("the update ends", || {
            let state = &self.m1.service("web")["UpdateStatus"]["State"];
            (state == "completed").then_some(())
        });
        Services { web, next, gone }
    }

    /// What becomes of a host that is drained, of one that loses its power, and of a full disk.
    fn misfortunes(&mut self) {
        self.types("docker node update --availability drain m1");
        self.w2.kill();
        let all_but_5 = "$(($(df --output=avail --block-size=1M . | tail -n 1) - 5))M";
        let fill = Command::new("sh")
            .args([
                "-c",
                &format!("fallocate --length {all_but_5} {}", BALLAST[0]),
            ])
            .current_dir(self.w1.data_root())
            .status();
        assert!(fill.expect("sh").success());
        self.until("w2", "down");
    }

    /// Waits until the manager knows that a host is in this state.
    fn until(&self, host: &str, state: &str) {
        wait_until(&format!("{host} is {state}"), || {
            let nodes = self.m1.get("/nodes");
            let so = |node: &Value| {
                node["Description"]["Hostname"] == host && node["Status"]["State"] == state
            };
            nodes.as_array()?.iter().any(so).then_some(())
        });
    }
}

const HOSTS: [&str; 3] = ["m1", "w1", "w2"];
const BALLAST: [&str; 2] = ["ballast", "rest"];

/// Images by digest.
struct Services {
    web: String,
    next: String,
    gone: String,
}

/// A policy under which an image goes after a second, with what the page has of one.
fn policy() -> String {
    let lists = &page::of("fleet.md", JOB, "toml")[0].text;
    let limits = format!("{CALM}max_share = \"50%\"\n");
    format!("{}{lists}{limits}", unpinned())
}

const JOB: &str = "Where nothing may be installed";

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_job_of_the_whole_swarm_runs_on_each_host_and_each_tells_of_itself() {
    let mut fleet = Fleet::start();
    let services = fleet.services();
    let blocks = page::of("fleet.md", JOB, "sh");
    let [configs, prune, verify, again, renew] = &blocks[..] else {
        panic!("{blocks:#?}");
    };
    let (again, again_verify) = again.text.split_once('\n').expect("two lines");

    fleet.shell.policy(&policy());
    let base = fleet.registry.name("base:1");
    fs::write(fleet.shell.dir().join("base.list"), format!("{base}\n")).expect("the list");
    let old = fleet.all().map(|engine| untagged(engine, 1).0.remove(0));
    fleet.types(&configs.text);
    fleet.types(&prune.text);
    wait_until("the job removes what nobody wants", || {
        let here = fleet.all().into_iter().zip(&old);
        let left = here.filter(|(engine, old)| engine.has(old)).count();
        if left == 0 && !fleet.m1.has(&services.gone) {
            return Some(());
        }
        // Its first run begins to remember.
        if fleet.ends("secateur").len() == HOSTS.len() {
            fleet.types(again);
        }
        None
    });
    // Only a manager knows that nobody wants it any more.
    assert!(fleet.w1.has(&services.gone) && fleet.w2.has(&services.gone));
    let wanted = [&services.web, &services.next];
    let kept = |engine: &Engine| wanted.iter().all(|image| engine.has(image));
    assert!(fleet.all().into_iter().all(kept));

    fleet.completes("secateur", &HOSTS);
    fleet.types(&verify.text);
    wait_until("what the list promises is on each host", || {
        fleet.all().iter().all(|host| host.has(&base)).then_some(())
    });
    let [m1, w1, w2] = fleet.all();
    let monitoring = Monitoring::of([("m1", m1), ("w1", w1), ("w2", w2)]);
    monitoring.tells("secateur_prune_last_run_exit_code == 0", &HOSTS);
    monitoring.tells("secateur_cache_image_states{state=\"ready\"} == 1", &HOSTS);
    let when = "secateur_prune_last_run_timestamp_seconds";
    let before = monitoring.numbers(when);
    let last = before.values().copied().fold(0.0, f64::max);

    fleet.misfortunes();
    fleet.shell.policy(
        &policy()
            .replace("start_above_percent = 0", "start_above_percent = 85")
            .replace("stop_below_percent = 0", "stop_below_percent = 75"),
    );
    fleet.types(&renew.text);
    fleet.completes("secateur", &["w1"]);
    fleet.types(again_verify);
    wait_until("verify-cache finds no room", || {
        (fleet.ends("secateur-verify").get("w1")? == "failed").then_some(())
    });
    let alert = |name: &str| format!("ALERTS{{alertname=\"{name}\"}}");
    monitoring.tells(&alert("SecateurDiskFullNothingToRemove"), &["w1"]);
    monitoring.tells(&alert("SecateurNoRoom"), &["w1"]);
    // Those on which no job ran say what they said before.
    monitoring.tells(&format!("{when} > {last}"), &["w1"]);
    monitoring.tells(&format!("{when} <= {last}"), &["m1", "w2"]);
    let since = monitoring.numbers(when)["w1"];
    let pins = "secateur_prune_kept_images{reason=\"digest-pinned\"}";
    assert!(monitoring.numbers(pins)["w1"] >= 1.0);

    // No container starts on a disk that is full to the last byte.
    let rest = File::create(fleet.w1.data_root().join(BALLAST[1]));
    let error = io::copy(&mut io::repeat(0), &mut rest.expect("a file"));
    assert_eq!(
        error.expect_err("it is full").kind(),
        io::ErrorKind::StorageFull
    );
    fleet.types(again);
    wait_until("the job says why it cannot start", || {
        let said = fleet.types("docker service ps --no-trunc secateur");
        said.contains("no space left on device").then_some(())
    });

    // Who is back takes part in the next run.
    for name in BALLAST {
        fs::remove_file(fleet.w1.data_root().join(name)).expect("the ballast");
    }
    fleet.w2.restart();
    fleet.types("docker node update --availability active m1");
    fleet.until("w2", "ready");
    fleet.types(again);
    fleet.completes("secateur", &HOSTS);
    monitoring.tells(&format!("{when} > {since}"), &HOSTS);
}
