//! Whose an object is. An image hands its labels down to every container of it, and builds of a
//! job's are deployed by others.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{APP, Machine, NUMBER, Ran, executable, hooks};
use crate::lab::image::Archive;
use crate::lab::{Kind, wait_until};

const CI: &str = "--label=ci.run=job-1";
const PROJECT: &str = "--label=com.docker.compose.project=job-1";
const STACK: &str = "--label=com.docker.stack.namespace=job-1";
const SHOPS: &str = "--label=com.docker.compose.project=shop";
const SHOPS_STACK: &str = "--label=com.docker.stack.namespace=shop";

/// A name that an engine takes for a network and that writes on a terminal.
const LOUD: &str = "loud\u{1b}]0;title\u{7}\u{202e}";

/// All there is but images, as kind and name.
#[track_caller]
pub fn all(machine: &Machine) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (kind, path, name) in [
        ("service", "/services", "/Spec/Name"),
        ("container", "/containers/json?all=1", "/Names/0"),
        ("secret", "/secrets", "/Spec/Name"),
        ("config", "/configs", "/Spec/Name"),
        ("volume", "/volumes", "/Name"),
        ("network", "/networks", "/Name"),
    ] {
        let answer = machine.engine.get(path);
        let list = if kind == "volume" {
            &answer["Volumes"]
        } else {
            &answer
        };
        for each in list.as_array().into_iter().flatten() {
            // One without a name is just being removed.
            if let Some(name) = each.pointer(name).and_then(Value::as_str) {
                found.insert(format!("{kind} {}", name.trim_start_matches('/')));
            }
        }
    }
    found.remove("network docker_gwbridge"); // Swarm makes it in its own time
    found
}

/// What the teardown said in its own lines of that beginning, as kind and name.
pub fn said(text: &str, beginning: &str) -> BTreeSet<String> {
    let beginning = format!("secateur-teardown: {beginning} ");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(&beginning));
    let named = lines.map(|line| {
        let mut parts = line.split('"');
        let kind = parts.next().expect("a kind").trim_end();
        format!("{kind} {}", parts.next().expect("a quoted name"))
    });
    named.collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Images: a job's build as compose stamps it, one of a compose container, one of another run.
#[track_caller]
fn images(machine: &Machine) -> [String; 3] {
    let app = || {
        Archive::new()
            .busybox()
            .cmd(&["/bin/busybox", "sleep", "100000"])
    };
    let built = app()
        .label("ci.run", "job-1")
        .label("com.docker.compose.project", "job-1")
        .label("com.docker.compose.service", "web")
        .label("com.docker.compose.version", "2.40.3")
        .tag("registry.example/built:1");
    machine.engine.load(&built);
    let others = app().label("ci.run", "job-22");
    machine
        .engine
        .load(&others.tag("registry.example/others:1"));
    let made = "--label=com.docker.compose.oneoff=False";
    let of_compose = machine.docker(&["create", PROJECT, NUMBER, made, STACK, APP]);
    machine.docker(&["commit", &of_compose, "registry.example/committed:1"]);
    machine.docker(&["rm", &of_compose]);
    ["built", "committed", "others"].map(|name| format!("registry.example/{name}:1"))
}

/// Makes the containers, and says which are to go.
#[track_caller]
fn containers(machine: &Machine) -> Vec<&'static str> {
    let [built, committed, others] = images(machine);
    let create = |name: &str, image: &str, labels: &[&str]| {
        let named = ["create", "--network=none", "--name", name];
        machine.docker(&[&named[..], labels, &[image]].concat());
    };
    let data = "--volume=deployed-data:/data";
    let deployed = ["run", "--detach", "--network=none", "--name=deployed", data];
    machine.docker(&[&deployed[..], &["--volume=/anonymous", &built]].concat());
    create("shop-web-1", &built, &[SHOPS, NUMBER]);
    create("of-job-22", &built, &["--label=ci.run=job-22"]);
    create("by-hand", APP, &[PROJECT]);
    create("hand-made-stack", APP, &[STACK]);
    create("cannot-be-told", &built, &[CI]);
    create("both", APP, &[CI, SHOPS, NUMBER]);
    create("inherits-all", &committed, &[]);
    create("job-11-app", &built, &[]);
    create("own", APP, &[CI]);
    create("job-1-app", &built, &[CI]);
    create("job-1-web-1", &built, &[PROJECT, NUMBER]);
    create("custom-name", APP, &[PROJECT, NUMBER]);
    create("not-as-its-image", &others, &[CI]);
    create("built-in-shop", &committed, &[CI]);
    // Containers whose image has gone: a rebuild takes it on the containerd store.
    for (n, (name, labels)) in [("imageless", [CI, CI]), ("job-1-old-1", [PROJECT, NUMBER])]
        .into_iter()
        .enumerate()
    {
        let image = format!("registry.example/gone:{n}");
        let archive = Archive::new().busybox().noise(100 + n).cmd(&["/bin/true"]);
        let id = machine.engine.load(&archive.tag(&image));
        create(name, &image, &labels);
        // The containerd store keeps it without a name at first.
        for name in [&image, &id] {
            machine.run("docker", &["image", "rm", "--force", name]);
        }
        assert!(!machine.engine.has(&id), "{image}");
    }
    vec![
        "container own",
        "container job-1-app",
        "container job-1-web-1",
        "container custom-name",
        "container not-as-its-image",
        "container built-in-shop",
        "container job-1-old-1",
    ]
}

/// Makes the services, and says which are to go.
#[track_caller]
fn services(machine: &Machine) -> [&'static str; 2] {
    let built = "registry.example/built:1";
    let task = "--container-label=ci.run=job-1";
    for (name, image, labels) in [
        ("shop_web", built, &[SHOPS_STACK][..]),
        ("api", built, &[]),
        ("of-the-task", APP, &[task]),
        ("of-both", APP, &[CI, SHOPS_STACK]),
        ("of-a-project", APP, &[PROJECT]),
        ("job-1_web", built, &[STACK]),
        ("by-label", built, &[CI, task]),
    ] {
        let create = ["service", "create", "--detach", "--no-resolve-image"];
        machine.docker(&[&create[..], &["--quiet", "--name", name], labels, &[image]].concat());
    }
    wait_until("all services run", || {
        let tasks = machine.engine.get("/tasks");
        let running = |task: &&serde_json::Value| task["Status"]["State"] == "running";
        (tasks.as_array()?.iter().filter(running).count() == 7).then_some(())
    });
    ["service job-1_web", "service by-label"]
}

/// Makes what inherits nothing, and says what is to go.
#[track_caller]
fn others(machine: &Machine) -> Vec<&'static str> {
    let docker = |args: &[&str]| machine.docker(args);
    let volume = "--label=com.docker.compose.volume=db";
    let network = "--label=com.docker.compose.network=default";
    for (name, labels) in [
        ("v-both", &[CI, SHOPS][..]),
        ("v-of-two-runs", &["--label=ci.run=job-22", PROJECT, volume]),
        ("v-hand", &[PROJECT]),
        ("v-ci", &[CI]),
        ("v-compose", &[PROJECT, volume]),
        ("v-stack", &[STACK]),
    ] {
        docker(&[&["volume", "create"], labels, &[name]].concat());
    }
    let both = format!("{LOUD}both");
    for (name, labels) in [
        (both.as_str(), &[CI, SHOPS_STACK][..]),
        ("n-hand", &[PROJECT, volume]),
        (LOUD, &[CI]),
        ("n-compose", &[PROJECT, network]),
    ] {
        docker(&[&["network", "create"], labels, &[name]].concat());
    }
    fs::write(machine.secateur.dir().join("text"), "x").expect("a file");
    for kind in ["secret", "config"] {
        for (name, labels) in [("both", &[CI, SHOPS_STACK][..]), ("mine", &[CI])] {
            docker(&[&[kind, "create"], labels, &[name, "text"]].concat());
        }
    }
    vec![
        "volume v-ci",
        "volume v-compose",
        "volume v-stack",
        "network n-compose",
        "secret mine",
        "config mine",
    ]
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn only_labels_of_its_own_make_an_object_the_runs() {
    for kind in Kind::MAIN {
        let machine = Machine::of(kind);
        let mut goes = containers(&machine);
        let mut tasks = vec![];
        goes.extend(others(&machine));
        let before_services = all(&machine);
        let gone_services = services(&machine);
        let before = all(&machine);
        for task in before.difference(&before_services) {
            let of = |service: &str| {
                let beginning = service.replacen("service ", "container ", 1);
                task.starts_with(&format!("{beginning}."))
            };
            if gone_services.iter().any(|service| of(service)) {
                tasks.push(task.clone());
            }
        }
        assert_eq!(tasks.len(), 2, "{before:?}");
        let ran = machine.teardown("job-1").ended(0);

        let mut gone = set(&goes);
        gone.extend(set(&gone_services));
        let as_task = |task: &String| task.replacen("container ", "task ", 1);
        let mut removed = gone.clone();
        removed.extend(tasks.iter().map(as_task));
        gone.extend(tasks);
        gone.insert(format!("network {LOUD}"));
        let after = all(&machine);
        let really: BTreeSet<String> = before.difference(&after).cloned().collect();
        assert_eq!(really, gone, "{}: {ran:#?}", kind.name());
        assert!(after.is_subset(&before), "{}", kind.name());

        // Each in one line; Swarm may have been faster with a task.
        let loud = r"network loud\x1b]0;title\a\u202e";
        removed.insert(loud.to_owned());
        let told = said(&ran.stdout, "removed");
        let quiet: Vec<_> = removed.difference(&told).collect();
        assert!(
            quiet.iter().all(|name| name.starts_with("task ")),
            "{quiet:?}"
        );
        assert!(told.is_subset(&removed), "{told:?}");
        let left = said(&ran.stderr, "left alone:");
        let named = |name: &str| left.iter().any(|left| left.starts_with(name));
        for name in [
            "container deployed",
            "container cannot-be-told",
            "container shop-web-1",
            "container both",
            "container by-hand",
            "container hand-made-stack",
            "container inherits-all",
            "container imageless",
            "container shop_web.1.",
            "container api.1.",
            "container of-the-task.1.",
            "service of-both",
            "service of-a-project",
            "volume v-both",
            "volume v-of-two-runs",
            "volume v-hand",
            "secret both",
            "config both",
        ] {
            assert!(named(name), "{name}: {}", ran.stderr);
        }
        assert!(named(&format!("{loud}both")), "{}", ran.stderr);
        assert!(left.is_disjoint(&removed), "{left:?}");
        let way_out = r#"a name that begins with "job-1-""#;
        assert!(ran.stderr.contains(way_out), "{}", ran.stderr);
        let raw = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{202e}']);
        assert!(!raw(&ran.stderr) && !raw(&ran.stdout), "{ran:?}");

        // Again: nothing more goes, the same is named.
        let again = machine.teardown("job-1").ended(0);
        assert_eq!(all(&machine), after, "{}", kind.name());
        assert_eq!(said(&again.stdout, "removed"), set(&[]));
        assert_eq!(said(&again.stderr, "left alone:"), left);
    }
}

/// Without docker: a call of it would fail, and be said.
fn alone(args: &[&str], seconds: Option<&str>) -> Ran {
    let mut command = Command::new("sh");
    command.arg(hooks().join("secateur-teardown")).args(args);
    command
        .env("DOCKER_HOST", "unix:///nowhere")
        .env("SECATEUR", "true")
        .stdin(Stdio::null());
    if let Some(seconds) = seconds {
        command.env("TEARDOWN_SECONDS", seconds);
    }
    Ran::of(command.output().expect("it starts"))
}

#[test]
fn a_name_that_could_be_production_is_refused_unless_it_is_given_twice() {
    for name in ["shop", "gitlab-runner", "ci-", "job1", "xgitlab-1", "run-7"] {
        let ran = alone(&[name], None).ended(2);
        let wanted = format!("RUN is \"{name}\", which could be production");
        assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
        let ran = alone(&[name, "other"], None).ended(2);
        assert!(ran.stderr.contains("more follows RUN"), "{}", ran.stderr);
    }
    alone(&["gitlab-1", "gitlab-1", "gitlab-1"], None).ended(2);
    let folder = tempfile::tempdir().expect("a folder");
    let calls = folder.path().join("calls");
    executable(
        &folder.path().join("docker"),
        &format!("#!/bin/sh\necho \"$*\" >>{calls:?}\n"),
    );
    for args in [
        &["shop", "shop"][..],
        &["gitlab-4711"],
        &["drone-acme/Shop-34-1"],
    ] {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").expect("PATH");
        command
            .arg(hooks().join("secateur-teardown"))
            .args(args)
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .env("SECATEUR", "true");
        Ran::of(command.output().expect("it starts")).ended(0);
        let asked = fs::read_to_string(&calls).expect("docker was called");
        let label = format!("(eq (.Label \"com.docker.compose.project\") {:?})", args[0]);
        assert!(asked.contains(&label), "{asked}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_only_compose_or_a_stack_knows_is_refused_by_hand_unless_it_is_given_twice() {
    let machine = Machine::of(Kind::Overlay28);
    let before = all(&machine);
    let volume = |labels: &[&str]| {
        machine.docker(&[&["volume", "create"], labels, &["db"]].concat());
    };
    for labels in [
        &[PROJECT, "--label=com.docker.compose.volume=db"][..],
        &[STACK],
    ] {
        let told = ["job-1", "job-1"];
        for mut wanted in [
            machine.end("job-1"),
            machine.command("secateur-teardown", &told),
        ] {
            volume(labels);
            for other in [None, Some(("CI_RUN", "job-2"))] {
                let mut by_hand = machine.command("secateur-teardown", &["job-1"]);
                let ran = by_hand.envs(other).output().expect("it starts");
                let ran = Ran::of(ran).ended(2);
                let why = "nothing has the label ci.run=job-1, so it could be production";
                assert!(ran.stderr.contains(why), "{}", ran.stderr);
                assert!(all(&machine).contains("volume db"));
            }
            Ran::of(wanted.output().expect("it starts")).ended(0);
            assert_eq!(all(&machine), before);
        }
        volume(labels);
        machine.docker(&["network", "create", CI, "net"]);
        machine.run("secateur-teardown", &["job-1"]).ended(0);
        assert_eq!(all(&machine), before);
    }
}

#[test]
fn an_image_that_cannot_be_inspected_for_now_does_not_leave_the_runs_container() {
    // The image of a run's container is asked for, and the engine has a hiccup: once,
    // and then at every time.
    for (hiccups, code) in [(1, 0), (2, 0), (99, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let docker = r#"#!/bin/sh
case "$1 $2" in
'info --format') echo false ;;
'container ls') [ -e "$0.gone" ] || echo abc ;;
'container inspect') printf '%s\n' abc '"/app"' sha256:1 '""""""' '"job-1"' '""' '""' '""' '""' ;;
'image inspect')
    echo x >>"$0.asked"
    [ "$(wc -l <"$0.asked")" -gt HICCUPS ] || { echo 'Error response from daemon: EOF' >&2; exit 1; }
    printf '%s\n' '""""""' '""' '""' '""' '""' '""'
    ;;
'container rm') : >"$0.gone" ;;
esac
"#;
        let docker = docker.replace("HICCUPS", &hiccups.to_string());
        executable(&folder.path().join("docker"), &docker);
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new("sh");
        command
            .arg(hooks().join("secateur-teardown"))
            .arg("job-1")
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .env("TEARDOWN_SECONDS", if code == 0 { "30" } else { "0" })
            .env("SECATEUR", "true");
        let ran = Ran::of(command.output().expect("it starts")).ended(code);
        let gone = ran.stdout.contains("removed container \"app\"");
        assert_eq!(gone, code == 0, "{}", ran.stderr);
        let why = "not removed: container \"app\": its image cannot be inspected: Error response from daemon: EOF";
        assert_eq!(ran.stderr.contains(why), code == 1, "{}", ran.stderr);
    }
}

#[test]
fn what_is_wrong_with_an_argument_is_said_in_one_escaped_line_that_names_it() {
    for seconds in ["x", "1 2", "-1", "1\u{1b}[31m\n", "999999"] {
        let ran = alone(&["job-1"], Some(seconds)).ended(2);
        let first = ran.stderr.lines().next().expect("a line");
        let named = "secateur-teardown: TEARDOWN_SECONDS is \"";
        assert!(first.starts_with(named), "{}", ran.stderr);
        assert!(
            first.ends_with("wanted whole seconds, 0 to 99999"),
            "{first}"
        );
        assert!(!first.contains('\u{1b}'), "{first}");
    }
    let ran = alone(&["a\u{1b}]0;x\u{7}\nb\\ä"], None).ended(2);
    let name = r#"RUN is "a\x1b]0;x\x07\nb\\\xc3\xa4": wanted letters"#;
    assert!(ran.stderr.contains(name), "{}", ran.stderr);
    // 08 is no octal number; docker is not there, and that is what is said.
    let ran = alone(&["job-1"], Some("08")).ended(1);
    assert!(
        ran.stderr.contains("Could not be asked for"),
        "{}",
        ran.stderr
    );
}
