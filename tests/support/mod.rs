//! Runs the program against an engine, with a policy and a state folder of its own, and reads
//! its reports. Engines are those of the `lab` or a `fake` one.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub mod compiled;
pub mod fake;
pub mod lab;
pub mod page;
pub mod proxy;
pub mod scene;
pub mod schema;
pub mod strace;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;

use lab::{Engine, encode, wait_resting};

/// No ids.
pub const NOTHING: [String; 0] = [];

/// The program: the one that cargo made for the tests, or an optimised one that SECATEUR_PROGRAM
/// names.
pub static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let given = std::env::var("SECATEUR_PROGRAM").ok();
    given.unwrap_or_else(|| MADE_FOR_TESTS.to_owned())
});
const MADE_FOR_TESTS: &str = env!("CARGO_BIN_EXE_secateur");

/// A policy under which every candidate goes: ages of a second, no disk
/// threshold, no limit on the fraction. Tests add to it.
pub const EAGER: &str = r#"
[age]
min_age = "1s"
[disk]
start_above_percent = 0
stop_below_percent = 0
[limits]
max_fraction = 1.0
"#;

/// Whatever runs beside a restore, it is not refused for that. A section, to be added.
pub const CALM: &str = "[restore]\nmax_cpu_pressure = 100\n";

/// [`EAGER`] but for the minimum age: an hour, which no test lasts.
pub fn patient() -> String {
    EAGER.replace("\"1s\"", "\"1h\"")
}

/// [`EAGER`] with these lines of the section `[keep]`.
pub fn keeping(lines: &str) -> String {
    format!("{EAGER}[keep]\n{lines}\n")
}

/// [`EAGER`], with one deploy lock.
pub fn with_lock(path: &Path, kind: &str) -> String {
    format!(
        "{EAGER}[[guard.lock]]\npath = {:?}\nkind = \"{kind}\"\n",
        path.display().to_string()
    )
}

/// [`EAGER`] where images that were pulled by digest may go after a second, too.
pub fn unpinned() -> String {
    EAGER.replace("[disk]", "digest_pinned = \"1s\"\n[disk]")
}

/// Has cargo put what it makes where no test beside this one has the program that it runs: that
/// would be gone for a moment. What `tests/run` compiled it takes.
pub fn built_apart(command: &mut Command) -> PathBuf {
    let program = Path::new(MADE_FOR_TESTS);
    let folder = program.parent().and_then(Path::parent);
    let folder = folder.expect("target");
    let target = folder.join("made");
    // What cargo tells a test would have it build some crates anew, and again for the next test.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(&*name);
        }
    }
    command
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_BUILD_BUILD_DIR", folder)
        .env("CARGO_INCREMENTAL", "0");
    target
}

/// Writes a script that can be run.
pub fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("its mode");
}

/// secateur as somebody uses it on one host.
pub struct Secateur {
    host: String,
    dir: tempfile::TempDir,
}

/// What one run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }

    /// The report, of `--format json`. It is as its schema says.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout);
        let document = document.unwrap_or_else(|error| panic!("{error}: {self:?}"));
        schema::check(&document);
        document
    }

    /// Fails with the whole output unless the program ended so.
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }
}

impl Secateur {
    /// For this engine, with the policy [`EAGER`].
    pub fn on(engine: &Engine) -> Secateur {
        Secateur::at(&engine.host(), EAGER)
    }

    /// For whatever listens there.
    pub fn at(host: &str, policy: &str) -> Secateur {
        let dir = tempfile::tempdir().expect("a folder");
        let secateur = Secateur {
            host: host.to_owned(),
            dir,
        };
        secateur.policy(policy);
        secateur
    }

    /// From now on it is used with another engine, as by another DOCKER_HOST.
    pub fn turn_to(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    /// A folder of this test's own, removed at its end.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the policy.
    pub fn policy(&self, text: &str) {
        fs::write(self.policy_path(), text).expect("the policy");
    }

    pub fn policy_path(&self) -> PathBuf {
        self.dir().join("policy.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The program with these arguments, ready to run.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Command {
        // Else the test would fail where others run beside it, and only there.
        let policy = || fs::read_to_string(self.policy_path()).expect("the policy");
        assert!(
            !args.contains(&"--restore") || policy().contains("max_cpu_pressure"),
            "add CALM to the policy of a restore"
        );
        let mut command = Command::new(&*PROGRAM);
        command
            .arg("--host")
            .arg(&self.host)
            .arg("--policy")
            .arg(self.policy_path())
            .arg("--state-dir")
            .arg(self.state())
            .args(args)
            .env_remove("SECATEUR_POLICY")
            .env_remove("STATE_DIRECTORY")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the program runs"))
    }

    /// Lines of a page, as somebody types them who has this engine, this policy
    /// and this state folder; ready to run.
    pub fn typed(&self, lines: &str) -> Command {
        let bin = Path::new(&*PROGRAM).parent().expect("its folder").display();
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", lines])
            .current_dir(self.dir())
            .env("PATH", format!("{bin}:{path}"))
            .env("DOCKER_HOST", &self.host)
            .env("SECATEUR_POLICY", self.policy_path())
            .env("STATE_DIRECTORY", self.state())
            .stdin(Stdio::null());
        command
    }

    /// The plan as JSON.
    #[track_caller]
    pub fn plan(&self) -> Value {
        self.run(&["plan", "--format", "json"]).ended(0).json()
    }

    /// Prunes; the run must end with this code. Where much else runs, a run may let its locks go
    /// before an image's turn comes: then it is run again, and the report has all removals.
    #[track_caller]
    pub fn prune(&self, code: i32) -> Value {
        let run = || self.run(&["prune", "--format", "json"]).ended(code).json();
        let mut outcome = run();
        for _ in 0..20 {
            if !outcome["skipped"].to_string().contains("answers slowly") {
                break;
            }
            let before = std::mem::replace(&mut outcome, run());
            let Some(removed) = before["removed"].as_array().filter(|it| !it.is_empty()) else {
                continue;
            };
            outcome["result"] = before["result"].clone();
            let all = outcome["removed"].as_array_mut().expect("a list");
            all.splice(0..0, removed.iter().cloned());
        }
        outcome
    }

    /// Prunes: these images go, in any order, and no others; whatever is named
    /// in `stays` is still here.
    #[track_caller]
    pub fn prune_takes(&self, engine: &Engine, goes: &[&str], stays: &[&str]) {
        let kind = engine.kind().name();
        let outcome = self.prune(0);
        let (mut removed, mut goes) = (ids(&outcome, "removed"), goes.to_vec());
        removed.sort();
        goes.sort_unstable();
        assert_eq!(removed, goes, "{kind}: {outcome:#}");
        for image in goes {
            assert!(!engine.has(image), "{kind}: {image} is still here");
        }
        for image in stays {
            assert!(engine.has(image), "{kind}: {image} is gone");
        }
    }

    /// Begins to remember what is on the host, which removes nothing, and waits
    /// until the plan has a removal.
    #[track_caller]
    pub fn remember(&self) {
        let first = self.prune(0);
        assert_eq!(
            first["result"], "nothing",
            "nothing goes on the first look: {first:#}"
        );
        self.until_planned("something to be old enough", |plan| {
            plan["summary"]["remove"]
                .as_u64()
                .is_some_and(|many| many > 0)
        });
    }

    /// Remembers what is on the host now, and removes nothing.
    #[track_caller]
    pub fn look(&self) {
        let policy = std::fs::read_to_string(self.policy_path()).expect("the policy");
        self.policy(&patient());
        assert_eq!(self.prune(0)["result"], "nothing");
        self.policy(&policy);
    }

    /// Waits until the plan removes this image: what it lost since the last look
    /// is remembered first, for its age counts from there.
    #[track_caller]
    pub fn until_removable(&self, id: &str) {
        self.look();
        self.until_planned("the image to be old enough", |plan| {
            image(plan, id)["verdict"] == "remove"
        });
    }

    /// Waits until these reasons, and no others, keep this image: until it is old enough. It must
    /// be remembered already.
    #[track_caller]
    pub fn until_kept_by(&self, id: &str, why: &[&str]) {
        self.until_planned(&format!("only {why:?} to keep the image"), |plan| {
            reasons(plan, id) == why
        });
    }

    /// Begins to remember, and waits until no image is kept for its age alone.
    #[track_caller]
    pub fn remember_all(&self) {
        let first = self.prune(0);
        assert_eq!(
            first["result"], "nothing",
            "nothing goes on the first look: {first:#}"
        );
        self.until_old();
    }

    /// Waits until no image that is remembered is kept for its age alone.
    #[track_caller]
    pub fn until_old(&self) {
        self.until_planned("everything to be old enough", |plan| next(plan).is_none());
    }

    /// Plans until a plan is as wanted; rests until the next image is old enough.
    #[track_caller]
    fn until_planned(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        wait_resting(what, || {
            let plan = self.plan();
            let left = || next(&plan).map(|next| (next - Utc::now()).to_std().unwrap_or_default());
            let rest = || left().unwrap_or_default().min(Duration::from_secs(1));
            wanted(&plan).then_some(()).ok_or_else(rest)
        });
    }
}

/// When the next image is old enough, by this plan.
fn next(plan: &Value) -> Option<DateTime<Utc>> {
    let text = plan["summary"]["next_candidate_at"].as_str()?;
    Some(text.parse().expect("a time"))
}

/// The plan's word on one image.
#[track_caller]
pub fn image<'a>(plan: &'a Value, id: &str) -> &'a Value {
    let images = plan["images"].as_array().expect("images");
    images
        .iter()
        .find(|image| image["id"] == id)
        .unwrap_or_else(|| panic!("{id} is not in {plan:#}"))
}

/// The kinds of reasons that keep an image.
#[track_caller]
pub fn reasons(plan: &Value, id: &str) -> Vec<String> {
    let reasons = image(plan, id)["reasons"].as_array().expect("reasons");
    reasons
        .iter()
        .map(|reason| reason["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

/// The ids in a list of an outcome: `removed`, `skipped`, `failed`.
#[track_caller]
pub fn ids(outcome: &Value, list: &str) -> Vec<String> {
    let entries = outcome[list]
        .as_array()
        .unwrap_or_else(|| panic!("no {list} in {outcome:#}"));
    entries
        .iter()
        .map(|entry| entry["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The kinds of refusals of a plan or outcome.
#[track_caller]
pub fn refusals(document: &Value) -> Vec<String> {
    let refusals = document["refusals"].as_array().expect("refusals");
    refusals
        .iter()
        .map(|refusal| refusal["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

/// Id, verdict and reasons of every image.
#[track_caller]
pub fn verdicts(plan: &Value) -> Vec<(String, String, Vec<String>)> {
    let images = plan["images"].as_array().expect("images");
    let text = |image: &Value, key: &str| image[key].as_str().expect(key).to_owned();
    let verdict = |image: &Value| {
        let id = text(image, "id");
        let why = reasons(plan, &id);
        (id, text(image, "verdict"), why)
    };
    images.iter().map(verdict).collect()
}

/// What the engine itself calls dangling, and `docker image prune` takes: ids.
#[track_caller]
pub fn dangling(engine: &Engine) -> Vec<String> {
    let filter = encode(r#"{"dangling":["true"]}"#);
    let list = engine.get(&format!("/images/json?filters={filter}"));
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|image| image["Id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The requests that were to change something, as the engine's own log has them. For engines that
/// were started with `debug`.
#[track_caller]
pub fn changes(engine: &Engine) -> Vec<String> {
    let log = engine.log();
    // "Calling DELETE /v1.41/images/..", and from 28 on "handling DELETE request" with the path.
    let sent = |line: &&str, method: &str| {
        line.contains(&format!("\"Calling {method} "))
            || line.contains(&format!("\"handling {method} request\""))
    };
    assert!(
        log.lines().any(|line| sent(&line, "GET")),
        "no request in the log: {log}"
    );
    log.lines()
        .filter(|line| {
            ["POST", "PUT", "DELETE"]
                .iter()
                .any(|method| sent(line, method))
        })
        .map(str::to_owned)
        .collect()
}

/// Runs a command to its end: its time, its largest resident size in MiB, and how it ended.
pub fn measured(mut command: Command) -> (Duration, f64, ExitStatus) {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    loop {
        if let Some(ended) = child.try_wait().expect("a child") {
            return (start.elapsed(), peak, ended);
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(10));
    }
}
