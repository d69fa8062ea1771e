//! The example hooks of config/ci, as a CI system runs them: their lines are
//! taken from the files, docker is docker's own client, the engine a live Swarm
//! of one node.

mod compose;
mod random;
mod whose;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab;
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, lab_dir, wait_until};
use crate::support::proxy::Proxy;
use crate::support::scene::{Running, left_names, untagged};
use crate::support::{EAGER, PROGRAM, Ran, Secateur, patient, refusals};
use crate::support::{NOTHING, executable, page, with_lock};
use serde_json::Value;

const APP: &str = "registry.example/app:1";
/// Only compose numbers its containers.
const NUMBER: &str = "--label=com.docker.compose.container-number=1";

/// The client that a test itself uses: that of 26.1 starts in a quarter of the time of 28.5's.
const QUICK: &str = "docker-26";

/// A CI machine: a Swarm manager with docker's client, secateur and the hooks.
struct Machine {
    engine: Engine,
    secateur: Secateur,
    host: String,
}

/// Everything on an engine that a job can leave behind, but for images.
type Things = BTreeMap<&'static str, Vec<String>>;

const KINDS: [(&str, &[&str]); 6] = [
    ("services", &["service", "ls", "--quiet"]),
    ("containers", &["container", "ls", "--all", "--quiet"]),
    ("secrets", &["secret", "ls", "--quiet"]),
    ("configs", &["config", "ls", "--quiet"]),
    ("volumes", &["volume", "ls", "--quiet"]),
    ("networks", &["network", "ls", "--quiet"]),
];

fn hooks() -> PathBuf {
    page::file("config/ci")
}

impl Machine {
    fn of(kind: Kind) -> Machine {
        let engine = Engine::start(kind);
        engine.swarm_init();
        let app = Archive::new()
            .busybox()
            .cmd(&["/bin/busybox", "sleep", "100000"]);
        let test = app.layer(&[("app/test", b"#!/bin/busybox sh\nexit ${1:-0}\n")]);
        engine.load(&test.tag(APP));
        let secateur = Secateur::at(&engine.host(), &patient());
        let bin = secateur.dir().join("bin");
        fs::create_dir(&bin).expect("a folder");
        symlink(&*PROGRAM, bin.join("secateur")).expect("the program");
        symlink(
            hooks().join("secateur-teardown"),
            bin.join("secateur-teardown"),
        )
        .expect("the hook");
        executable(&bin.join("docker"), &engine.client());
        let quick = lab::program(Kind::Overlay26.suite(), "usr/bin/docker");
        executable(&bin.join(QUICK), &quick);
        let host = engine.host();
        Machine {
            engine,
            secateur,
            host,
        }
    }

    fn bin(&self) -> PathBuf {
        self.secateur.dir().join("bin")
    }

    /// A command as a job has it: these programs, this engine, this policy.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.secateur.dir())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .env("HOME", self.secateur.dir())
            .env("DOCKER_HOST", &self.host)
            .env("SECATEUR_POLICY", self.secateur.policy_path())
            .env("STATE_DIRECTORY", self.secateur.state())
            // Nothing is given up because this machine is slow.
            .env("TEARDOWN_SECONDS", "600")
            .stdin(Stdio::null())
            // A group of its own, which a CI system kills as one.
            .process_group(0);
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Ran {
        Ran::of(self.command(program, args).output().expect("it starts"))
    }

    /// The end of a job of that run.
    fn end(&self, run: &str) -> Command {
        let mut command = self.command("secateur-teardown", &[run]);
        command.env("CI_RUN", run);
        command
    }

    fn teardown(&self, run: &str) -> Ran {
        Ran::of(self.end(run).output().expect("it starts"))
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> String {
        self.run(QUICK, args).ended(0).stdout.trim().to_owned()
    }

    /// What is there, all of it or what one run labelled.
    #[track_caller]
    fn things(&self, run: Option<&str>) -> Things {
        let list = |(name, command): (&'static str, &[&str])| {
            let mut command = command.to_vec();
            let filter = format!("label=ci.run={}", run.unwrap_or_default());
            if run.is_some() {
                command.extend(["--filter", &filter]);
            }
            let ids = self.docker(&command);
            let mut ids: Vec<String> = ids.lines().map(str::to_owned).collect();
            ids.sort();
            (name, ids)
        };
        KINDS.map(list).into_iter().collect()
    }

    /// A job that leaves one of each behind, by hand, by stack and as compose
    /// labels it.
    #[track_caller]
    fn job(&self, run: &str) {
        let label = format!("ci.run={run}");
        let data = format!("{run}-data");
        let (work, secret) = (format!("{run}-work"), format!("{run}-password"));
        let docker = |args: &[&str]| self.docker(args);
        docker(&["volume", "create", "--label", &label, &data]);
        docker(&[
            "network",
            "create",
            "--label",
            &label,
            &format!("{run}-net"),
        ]);
        fs::write(self.secateur.dir().join("secret"), run).expect("a secret");
        docker(&["secret", "create", "--label", &label, &secret, "secret"]);
        docker(&[
            "config",
            "create",
            "--label",
            &label,
            &format!("{run}-config"),
            "secret",
        ]);
        let mount = format!("{data}:/data");
        let labelled = ["run", "--detach", "--network=none", "--label", &label];
        let sleep = ["/bin/busybox", "sleep", "100000"];
        let volumes = ["--volume", &mount, "--volume", "/anonymous", APP];
        docker(&[&labelled[..], &volumes, &sleep].concat());
        let compose = format!("--label=com.docker.compose.project={run}");
        let created = ["create", &compose, NUMBER, "--network=none"];
        docker(&[&created[..], &[APP, "/app/test"]].concat());
        let volume = "--label=com.docker.compose.volume=db";
        docker(&["volume", "create", &compose, volume, &format!("{run}_db")]);
        let mount = format!("type=volume,source={work},target=/work,volume-label={label}");
        let service = [
            "service",
            "create",
            "--detach",
            "--no-resolve-image",
            "--quiet",
        ];
        let named = ["--name", run, "--label", &label, "--secret", &secret];
        docker(&[&service[..], &named, &["--mount", &mount, APP], &sleep].concat());
        // A build of the job's own, which lost its name: litter, and yet an image.
        self.engine
            .load(&Archive::new().tag(&format!("{run}:built")));
        self.engine
            .load(&Archive::new().tag(&format!("{run}:built")));
        wait_until("the service runs", || {
            let tasks = self.engine.tasks(run);
            tasks
                .iter()
                .any(|task| task["Status"]["State"] == "running")
                .then_some(())
        });
        let things = self.things(Some(run));
        assert!(things.values().all(|ids| !ids.is_empty()), "{things:?}");
    }

    /// Nothing of the run is left, by whatever label or name.
    #[track_caller]
    fn is_gone(&self, run: &str) {
        let things = self.things(Some(run));
        assert!(things.values().all(Vec::is_empty), "{things:?}");
        for kind in [
            "container",
            "volume",
            "secret",
            "config",
            "network",
            "service",
        ] {
            let all: &[&str] = if kind == "container" { &["--all"] } else { &[] };
            let seen = self.docker(&[&[kind, "ls"], all].concat());
            assert!(!seen.contains(run), "{kind}: {seen}");
        }
        let compose = format!("label=com.docker.compose.project={run}");
        let seen = self.docker(&["container", "ls", "--all", "--quiet", "--filter", &compose]);
        assert_eq!(seen, "");
    }

    /// Images are written down, each by id and by name.
    #[track_caller]
    fn record(&self) -> (PathBuf, Vec<String>) {
        let file = self.secateur.dir().join("before.json");
        let path = file.display().to_string();
        self.secateur
            .run(&["verify-cache", "--record", &path])
            .ended(0);
        (file, self.images())
    }

    fn images(&self) -> Vec<String> {
        let images = self.engine.images();
        let mut ids: Vec<String> = images
            .iter()
            .map(|image| image["Id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// Every image is still there, and verify-cache says so.
    #[track_caller]
    fn images_held(&self, (file, images): &(PathBuf, Vec<String>)) {
        let path = file.display().to_string();
        let args = ["verify-cache", "--against", &path, "--format", "json"];
        let ran = self.secateur.run(&args);
        let report = ran.json();
        let entries = report["images"].as_array().expect("images");
        assert!(!entries.is_empty(), "{report:#}");
        let mut broken = Vec::new();
        for entry in entries {
            let checks = entry["checks"].as_array().expect("checks");
            let present = checks.iter().find(|check| check["kind"] == "present");
            assert_eq!(present.expect("present")["status"], "ok", "{entry:#}");
            let is_broken = |check: &&Value| check["status"] == "broken";
            broken.extend(checks.iter().filter(is_broken).map(|check| &check["kind"]));
        }
        // A lab in memory does not last, and that is all that may be broken.
        assert!(broken.iter().all(|kind| *kind == "lasting"), "{report:#}");
        assert_eq!(ran.code, i32::from(!broken.is_empty()), "{report:#}");
        assert_eq!(&self.images(), images);
    }

    /// Nobody holds secateur's own lock.
    #[track_caller]
    fn no_lock_is_left(&self) {
        if let Ok(lock) = File::open(self.secateur.state().join("run.lock")) {
            lock.try_lock().expect("nobody holds the run lock");
        }
    }
}

/// An example, as its CI system reads it.
#[track_caller]
fn example(name: &str) -> Value {
    page::yaml(&fs::read_to_string(hooks().join(name)).expect("the example"))
}

/// A list of commands as one script.
#[track_caller]
fn script(lines: &Value) -> String {
    let lines = lines.as_array().expect("a list of commands").iter();
    let lines: Vec<&str> = lines
        .map(|line| line.as_str().expect("a command"))
        .collect();
    lines.join("\n")
}

#[track_caller]
fn step<'a>(pipeline: &'a Value, name: &str) -> &'a Value {
    let steps = pipeline["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["name"] == name);
    step.unwrap_or_else(|| panic!("no step {name} in {pipeline:#}"))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn after_a_job_all_of_it_is_gone_and_every_image_and_every_other_run_is_there() {
    for kind in Kind::MAIN {
        let machine = Machine::of(kind);
        machine.job("job-22");
        let before = machine.things(None);
        machine.job("job-1");
        let images = machine.record();
        let ran = machine.teardown("job-1").ended(0);
        assert_eq!(ran.stderr, "", "{}", kind.name());
        machine.is_gone("job-1");
        // With it the anonymous volume, and nothing else.
        assert_eq!(machine.things(None), before, "{}", kind.name());
        machine.images_held(&images);
        machine.no_lock_is_left();
        // Again, with nothing to do.
        machine.teardown("job-1").ended(0);
        assert_eq!(machine.things(None), before, "{}", kind.name());
        // A name that begins like another's is not it.
        machine.teardown("job-2").ended(0);
        assert_eq!(machine.things(None), before, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn teardowns_at_once_do_not_disturb_each_other() {
    let machine = Machine::of(Kind::Overlay28);
    let before = machine.things(None);
    for run in ["job-1", "job-2"] {
        machine.job(run);
    }
    let images = machine.record();
    let start = |run: &str| Running::of(&mut machine.end(run));
    let runs = ["job-1", "job-2", "job-1"].map(start);
    for run in runs {
        run.ended(0);
    }
    for run in ["job-1", "job-2"] {
        machine.is_gone(run);
    }
    assert_eq!(machine.things(None), before);
    machine.images_held(&images);
    machine.no_lock_is_left();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_teardown_that_is_killed_anywhere_is_finished_by_the_next() {
    let machine = Machine::of(Kind::Overlay28);
    let before = machine.things(None);
    machine.job("job-1");
    let images = machine.record();
    // docker, which has its whole group killed after the call of that number.
    let docker = machine.bin().join("docker");
    fs::rename(&docker, machine.bin().join("docker.real")).expect("the client");
    executable(
        &docker,
        r#"#!/bin/sh
"${0}.real" "$@"
status=$?
if [ -n "${KILL_AT-}" ]; then
    echo call >>"$CALLS"
    [ "$(wc -l <"$CALLS")" -ne "$KILL_AT" ] || kill -KILL 0
fi
exit "$status"
"#,
    );
    let calls = machine.secateur.dir().join("calls");
    let mut killed = 0;
    loop {
        fs::write(&calls, "").expect("the calls");
        let mut command = machine.end("job-1");
        command
            .env("KILL_AT", (killed + 1).to_string())
            .env("CALLS", &calls);
        let status = command.output().expect("it starts").status;
        machine.no_lock_is_left();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9), "{status:?}");
        killed += 1;
    }
    // After each list of a whole teardown at least, and so from each state on the way.
    assert!(killed > 9, "killed {killed} times");
    machine.is_gone("job-1");
    assert_eq!(machine.things(None), before);
    machine.images_held(&images);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_job_that_is_cancelled_while_secateur_removes_leaves_no_lock() {
    let mut machine = Machine::of(Kind::Overlay28);
    let proxy = Proxy::before(&machine.engine);
    let lock = machine.secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    let (olds, _) = untagged(&machine.engine, 3);
    machine.secateur.policy(&with_lock(&lock, "flock"));
    machine.secateur.remember_all();
    machine.host = proxy.host();
    for request in ["DELETE", "POST"] {
        let gate = proxy.stop(request, "/images/", 1);
        let mut run = Running::of(&mut machine.command("secateur-teardown", &["job-1"]));
        gate.reached();
        let held = File::open(&lock).expect("the lock");
        held.try_lock().expect_err("the run holds it");
        run.signal_group("KILL");
        let ran = run.done();
        assert_eq!(ran.code, -1, "{ran:?}");
        wait_until("secateur is gone, too", || held.try_lock().ok());
        machine.no_lock_is_left();
        drop(gate);
    }
    machine.teardown("job-1").ended(0);
    for old in &olds {
        assert!(!machine.engine.has(old));
    }
    assert_eq!(machine.secateur.open_intents(), NOTHING);
    assert_eq!(left_names(&machine.engine), NOTHING);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_refused_prune_fails_no_job_and_what_is_wrong_does() {
    let mut machine = Machine::of(Kind::Overlay28);
    let lock = machine.secateur.dir().join("deploy.lock");
    let policy = patient() + &format!("[[guard.lock]]\npath = {lock:?}\nkind = \"exists\"\n");
    machine.secateur.policy(&policy);
    fs::write(&lock, "").expect("the lock");
    machine.job("job-1");
    let ran = machine.teardown("job-1").ended(0);
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    let said = words.join(" ");
    assert!(said.contains("deploy.lock is there"), "{said}");
    assert_eq!(refusals(&machine.secateur.prune(75)), ["deploy-lock"]);
    machine.is_gone("job-1");

    // Somebody else's container has the run's volume: it stays, and that shows.
    let volume = ["volume", "create", "--label", "ci.run=job-1", "shared"];
    machine.docker(&volume);
    let create = [
        "create",
        "--network=none",
        "-v",
        "shared:/x",
        APP,
        "/app/test",
    ];
    let user = machine.docker(&create);
    let mut impatient = machine.command("secateur-teardown", &["job-1"]);
    impatient.env("TEARDOWN_SECONDS", "2");
    let ran = Running::of(&mut impatient).ended(1);
    assert!(ran.stderr.contains("volume \"shared\""), "{}", ran.stderr);
    assert!(ran.stderr.contains("in use"), "{}", ran.stderr);
    machine.docker(&["rm", "-v", &user]);
    machine.teardown("job-1").ended(0);
    machine.is_gone("job-1");

    // Seconds are the clock's: on a machine where a round takes long, few are made.
    machine.docker(&volume);
    let user = machine.docker(&create);
    let clock = machine.secateur.dir().join("clock");
    let slow = format!(
        "#!/bin/sh\necho 20 >>{clock:?}\nawk '{{ now += $1 }} END {{ print now }}' {clock:?}\n"
    );
    executable(&machine.bin().join("date"), &slow);
    let mut slowly = machine.command("secateur-teardown", &["job-1"]);
    Running::of(slowly.env("TEARDOWN_SECONDS", "30")).ended(1);
    let asked = fs::read_to_string(&clock).expect("the clock was read");
    assert_eq!(asked.lines().count(), 3, "at 20, 40 and 60 seconds");
    fs::remove_file(machine.bin().join("date")).expect("the clock");
    machine.docker(&["rm", "-v", &user]);
    machine.teardown("job-1").ended(0);

    // secateur's own troubles are passed on.
    machine.secateur.policy("[age]\nmin_ago = \"1d\"\n");
    machine.teardown("job-1").ended(78);
    machine.secateur.policy(&patient());
    // An engine that does not answer has not said that nothing is left.
    machine.host = "unix:///nowhere/docker.sock".to_owned();
    let ran = machine.teardown("job-1").ended(69);
    assert!(ran.stderr.contains("not all gone"), "{}", ran.stderr);
    machine.host = machine.engine.host();
    // Nor has a list that fails.
    let docker = machine.bin().join("docker");
    fs::rename(&docker, machine.bin().join("docker.real")).expect("the client");
    let failing = r#"[ "$1 $2" != "volume ls" ] || exit 1"#;
    executable(
        &docker,
        &format!("#!/bin/sh\n{failing}\nexec \"$0.real\" \"$@\"\n"),
    );
    let ran = machine.teardown("job-1").ended(1);
    assert!(ran.stderr.contains("asked for: volume"), "{}", ran.stderr);
    // Names that would mean every run, or an option.
    for name in ["", "a b", "a,b", "a=b", "*", "$(id)"] {
        machine.teardown(name).ended(2);
    }
}

/// An example's job, as the machine's only one, and then its end.
#[track_caller]
fn runs_and_ends(machine: &Machine, when: &str, mut job: Command, mut end: Command) {
    let before = machine.things(None);
    Ran::of(job.output().expect("it starts")).ended(0);
    left_a_container(machine, when);
    Ran::of(end.output().expect("it starts")).ended(0);
    assert_eq!(machine.things(None), before, "{when}");
}

#[track_caller]
fn left_a_container(machine: &Machine, when: &str) {
    let all = machine.docker(&["container", "ls", "--all", "--quiet"]);
    assert_eq!(all.lines().count(), 1, "{when}: {all}");
}

const LINE: &str = r#"docker run --label "ci.run=$CI_RUN" registry.example/app:1 /app/test"#;

/// A job of a CI system, its end, and the run's name.
type Job = (Command, Command, String);

/// The settings of .env stand in the hook's own comment.
fn github(machine: &Machine) -> Job {
    let hook = hooks().join("github-job-completed.sh");
    let text = fs::read_to_string(&hook).expect("the hook");
    let settings: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   ")?.split_once('='))
        .collect();
    let [(name, path), (_, run), (_, project)] = settings[..] else {
        panic!("{settings:?}");
    };
    assert_eq!(name, "ACTIONS_RUNNER_HOOK_JOB_COMPLETED");
    assert_eq!(Path::new(path).file_name(), hook.file_name());
    assert_eq!(run, project);
    let hook = hook.display().to_string();
    let with = |args: &[&str]| {
        let mut command = machine.command("bash", args);
        command.envs(settings.iter().copied());
        command
    };
    let ran = machine.run("bash", &["-e", &hook]);
    assert!(ran.code != 0 && ran.stderr.contains("CI_RUN"), "{ran:?}");
    (with(&["-ec", LINE]), with(&["-e", &hook]), run.to_owned())
}

/// Variables may name others.
fn gitlab(machine: &Machine) -> Job {
    let pipeline = example("gitlab-ci.yml");
    let run = pipeline["variables"]["CI_RUN"].as_str().expect("CI_RUN");
    assert_eq!(pipeline["variables"]["COMPOSE_PROJECT_NAME"], run);
    let run = run.replace("$CI_JOB_ID", "4711");
    let with = |lines: &Value| {
        let mut command = machine.command("bash", &["-eo", "pipefail", "-c", &script(lines)]);
        command.env("CI_RUN", &run);
        command
    };
    let job = with(&pipeline["test"]["script"]);
    let end = with(&pipeline["default"]["after_script"]);
    (job, end, run)
}

/// Compose labels what it makes with the name of its project.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_a_job_deploys_as_the_page_says_is_there_after_its_end() {
    let machine = Machine::of(Kind::Overlay28);
    let blocks = page::of("ci-teardown.md", "What must stay", "yaml");
    let [of_gitlab, of_github] = [0, 1].map(|at| page::yaml(&blocks[at].text));
    let own = [
        &of_gitlab["deploy"]["variables"]["COMPOSE_PROJECT_NAME"],
        &of_github["jobs"]["deploy"]["env"]["COMPOSE_PROJECT_NAME"],
    ];
    for ((_, mut end, run), own) in [gitlab(&machine), github(&machine)].into_iter().zip(own) {
        let deployed = [own.as_str().expect("a name"), &run].map(|project| {
            let label = format!("--label=com.docker.compose.project={project}");
            machine.docker(&["create", "--network=none", &label, NUMBER, APP])
        });
        Ran::of(end.output().expect("it starts")).ended(0);
        let left = machine.docker(&["container", "ls", "--all", "--quiet", "--no-trunc"]);
        assert_eq!(left, deployed[0], "{run}");
        machine.docker(&["rm", &left]);
    }
}

const WOODPECKER: [(&str, &str); 3] = [
    ("CI_REPO_ID", "12"),
    ("CI_PIPELINE_NUMBER", "34"),
    ("CI_WORKFLOW_NUMBER", "1"),
];

/// Each step is a shell of its own.
fn steps(machine: &Machine, file: &str, variables: [(&str, &str); 3]) {
    let pipeline = example(file);
    let with = |name: &str| {
        let lines = script(&step(&pipeline, name)["commands"]);
        let mut command = machine.command("sh", &["-e", "-c", &lines]);
        command.envs(variables);
        command
    };
    runs_and_ends(machine, file, with("test"), with("teardown"));
    let when = &step(&pipeline, "teardown")["when"];
    let when = if when.is_array() { &when[0] } else { when };
    assert_eq!(when["status"], serde_json::json!(["success", "failure"]));
}

/// A step of the example in a root of its own: this system's programs, docker's client, secateur
/// and the hook, which are its image; and of the host what the step mounts, and nothing else.
fn contained(machine: &Machine, pipeline: &Value, name: &str) -> Ran {
    let dir = machine.secateur.dir();
    let step = step(pipeline, name);
    let data_root = machine.engine.data_root().display().to_string();
    let mut binds = String::new();
    for volume in step["volumes"].as_array().expect("volumes") {
        let parts: Vec<&str> = volume.as_str().expect("a mount").split(':').collect();
        let (source, target) = (parts[0], parts[1]);
        assert_eq!(source, target, "the engine says where its folders are");
        let source = match source {
            "/var/run/docker.sock" => machine.engine.socket(),
            "/var/lib/docker" => machine.engine.data_root().to_owned(),
            "/var/lib/secateur" => machine.secateur.state(),
            "/etc/secateur" | "/run/secateur" => dir.join(source.trim_start_matches('/')),
            other => panic!("what is {other} for?"),
        };
        let target = target.replace("/var/lib/docker", &data_root);
        let options = parts.get(2).copied().unwrap_or("rw");
        let source = source.display().to_string();
        binds.extend(["put ", &source, " ", &target, " ", options, "\n"]);
    }
    let script = format!(
        r#"
        root=$PWD/root
        mkdir -p "$root"
        mount -t tmpfs -o mode=755 step "$root"
        put() {{ # SOURCE TARGET OPTIONS
            if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${{2%/*}}"; : >"$root$2"; fi
            mount --bind "$1" "$root$2"
            mount -o "remount,bind,$3" "$root$2"
        }}
        for folder in /bin /lib /lib64 /usr {lab} /dev; do put "$folder" "$folder" rw; done
        mkdir "$root/proc" "$root/tmp" "$root/ci"
        mount -t proc proc "$root/proc"
        cp -L bin/docker bin/secateur bin/secateur-teardown "$root/ci"
        {binds}
        exec chroot "$root" /bin/sh -ec "$1"
        "#,
        lab = lab_dir().join("trees").display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "sh", "-euc", &script, "step"])
        .arg(self::script(&step["commands"]))
        .current_dir(dir)
        .env_clear()
        .envs(WOODPECKER)
        .envs([
            ("PATH", "/ci:/usr/sbin:/usr/bin:/bin"),
            ("HOME", "/"),
            ("TEARDOWN_SECONDS", "600"),
        ])
        .stdin(Stdio::null());
    Ran::of(command.output().expect("unshare"))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_step_of_the_example_mounts_is_all_that_secateur_needs() {
    for kind in Kind::MAIN {
        let machine = Machine::of(kind);
        let (olds, new) = untagged(&machine.engine, 1);
        machine.secateur.policy(EAGER);
        machine.secateur.remember_all();
        let [policy, lock] = ["etc/secateur/policy.toml", "run/secateur/deploy.lock"]
            .map(|path| machine.secateur.dir().join(path));
        for path in [&policy, &lock] {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        }
        let locked = "[[guard.lock]]\npath = \"/run/secateur/deploy.lock\"\nkind = \"flock\"\n";
        fs::write(&policy, format!("{EAGER}{locked}")).expect("the policy");
        let before = machine.things(None);
        let pipeline = example("woodpecker.yml");

        contained(&machine, &pipeline, "test").ended(0);
        left_a_container(&machine, kind.name());
        // The lock of the host is the step's.
        let held = File::create(&lock).expect("the lock");
        held.lock_shared().expect("nobody has it");
        let ran = contained(&machine, &pipeline, "teardown").ended(0);
        assert!(ran.stdout.contains("deploy.lock"), "{}", ran.stdout);
        assert!(machine.engine.has(&olds[0]), "{}", kind.name());
        assert_eq!(machine.things(None), before, "{}", kind.name());
        drop(held);
        let ran = contained(&machine, &pipeline, "teardown").ended(0);
        assert!(!machine.engine.has(&olds[0]), "{}", ran.stdout);
        assert!(machine.engine.has(&new), "{}", kind.name());
    }
}

/// The job's own code is kept, and what a killed one left goes first.
fn plain_shell(machine: &Machine) {
    let before = machine.things(None);
    let job = hooks().join("job.sh").display().to_string();
    let line = format!("{LINE} \"$0\"");
    for code in ["0", "3"] {
        let ran = machine.run(&job, &["nightly-1", "sh", "-ec", &line, code]);
        assert_eq!(ran.code.to_string(), code, "{ran:?}");
        assert_eq!(machine.things(None), before, "code {code}");
    }
    let waits = format!("{LINE}; touch started; exec sleep 100000");
    let started = machine.secateur.dir().join("started");
    for signal in ["TERM", "KILL"] {
        let mut run = Running::of(&mut machine.command(&job, &["nightly-1", "sh", "-ec", &waits]));
        wait_until("the job has begun", || started.exists().then_some(()));
        fs::remove_file(&started).expect("the mark");
        run.signal_group(signal);
        let ran = run.done();
        if signal == "TERM" {
            assert_eq!(ran.code, 143, "{ran:?}");
            assert_eq!(machine.things(None), before);
        } else {
            left_a_container(machine, "killed");
        }
    }
    // A first teardown that fails, by a deploy lock that hangs for one, is said, and the job runs.
    executable(&machine.bin().join("hung"), "#!/bin/sh\nexit 65\n");
    for (code, ends) in [("0", 1), ("3", 3)] {
        let mut command = machine.command(&job, &["nightly-1", "sh", "-ec", &line, code]);
        command.env("SECATEUR", "hung");
        let ran = Ran::of(command.output().expect("it starts")).ended(ends);
        assert!(ran.stderr.contains("ended with 65"), "{ran:?}");
        assert_eq!(machine.things(None), before, "code {code}");
    }
    let started = machine.secateur.dir().join("started");
    let job_of = |run: &str| machine.run(&job, &[run, "touch", "started"]);
    job_of("a b").ended(2);
    job_of("").ended(2);
    assert!(!started.exists(), "it could never be ended");
    // Production may have the name that somebody gives a job.
    let label = "--label=com.docker.compose.project=nightly-1";
    let production = machine.docker(&["create", "--network=none", label, NUMBER, APP]);
    machine.run(&job, &["nightly-1", "true"]).ended(0);
    machine.docker(&["rm", &production]);
    let nothing = r#"test -z "$(docker container ls --all --quiet)""#;
    machine
        .run(&job, &["nightly-1", "sh", "-ec", nothing])
        .ended(0);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_example_runs_its_job_and_ends_it() {
    let machine = Machine::of(Kind::Overlay28);
    let images = machine.record();
    for (job, end, run) in [github(&machine), gitlab(&machine)] {
        runs_and_ends(&machine, &run, job, end);
    }
    steps(&machine, "woodpecker.yml", WOODPECKER);
    let drone = [
        ("DRONE_REPO", "acme/Shop"),
        ("DRONE_BUILD_NUMBER", "34"),
        ("DRONE_STAGE_NUMBER", "1"),
    ];
    steps(&machine, "drone.yml", drone);
    plain_shell(&machine);
    machine.images_held(&images);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_page_tells_a_job_to_label_is_the_runs_own() {
    let machine = Machine::of(Kind::Overlay28);
    let before = machine.things(None);
    // Networks of an engine without bridges: the host's.
    let stack = format!(
        "services: {{app: {{image: {APP}, networks: [out], volumes: ['db:/db'], secrets: [key]}}}}\n\
         networks: {{out: {{external: true, name: host}}}}\n\
         volumes: {{db: {{}}}}\n\
         secrets: {{key: {{file: ./key}}}}\n"
    );
    // The client takes versions of its own for the newest.
    fs::write(
        machine.secateur.dir().join("stack.yml"),
        format!("version: '3.8'\n{stack}"),
    )
    .expect("the stack");
    fs::write(machine.secateur.dir().join("key"), "key").expect("a secret");
    let in_a_job = |line: &str| {
        let mut command = machine.command("bash", &["-eo", "pipefail", "-c", line]);
        command.env("CI_RUN", "ci-7").env("PASSWORD", "secret");
        Ran::of(command.output().expect("bash")).ended(0)
    };
    // The teardown, where the page has it put.
    let installs = &page::of("ci-teardown.md", "", page::INDENTED)[0].text;
    let bin = machine.bin().display().to_string();
    fs::remove_file(machine.bin().join("secateur-teardown")).expect("its link");
    in_a_job(
        &installs
            .replace("/usr/local/bin", &bin)
            .replace("config/ci", &hooks().display().to_string()),
    );
    let proof = &page::of("ci-teardown.md", "Checking it", page::INDENTED)[0].text;
    let proof: Vec<&str> = proof.lines().collect();
    assert_eq!(proof.len(), 2);
    in_a_job(proof[0]);
    let block = &page::of("ci-teardown.md", "What a job has to label", "sh")[0];
    let commands: Vec<&str> = block.text.lines().collect();
    assert_eq!(commands.len(), 6);
    for line in commands {
        let found = machine.things(None);
        in_a_job(line);
        assert_ne!(machine.things(None), found, "{line}");
    }
    wait_until("both services run", || {
        let all = machine.engine.get("/tasks");
        let running = |task: &&Value| task["Status"]["State"] == "running";
        (all.as_array()?.iter().filter(running).count() == 2).then_some(())
    });
    machine.teardown("ci-7").ended(0);
    assert_eq!(machine.things(None), before);
    in_a_job(proof[1]);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_commands_in_the_examples_are_sound_shell() {
    /// Lists of commands, by the names that these files have for them.
    fn commands(at: &Value, found: &mut Vec<String>) {
        if let Value::Object(fields) = at {
            for (name, value) in fields {
                if name.ends_with("script") || name == "commands" {
                    found.push(script(value));
                } else {
                    commands(value, found);
                }
            }
        }
        if let Value::Array(items) = at {
            for item in items {
                commands(item, found);
            }
        }
    }
    for name in ["drone.yml", "gitlab-ci.yml", "woodpecker.yml"] {
        let mut found = Vec::new();
        commands(&example(name), &mut found);
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for shell in found {
            page::shellchecked(name, &format!("{shell}\n"));
        }
    }
}

#[test]
fn the_page_names_each_example() {
    let page = fs::read_to_string(page::file("docs/ci-teardown.md")).expect("the page");
    for entry in fs::read_dir(hooks()).expect("config/ci").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        assert!(page.contains(&format!("config/ci/{name}")), "{name}");
    }
}
