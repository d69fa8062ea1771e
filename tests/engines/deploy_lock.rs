//! docs/deploy-lock.md, as it stands: each policy is read, each tool's lock is
//! left the way the tool leaves it, each command is run by docker's own client, compose and
//! Ansible.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, wait_until};
use crate::support::page::{self, Block};
use crate::support::scene::{Deploy, due};
use crate::support::{EAGER, NOTHING, Ran, Secateur, ids, refusals};
use secateur::model::conditions::LockKind;

const SHARED: &str = "/run/secateur/deploy.lock";

/// The page's blocks of one section and language.
#[track_caller]
fn of(section: &str, language: &str) -> Vec<Block> {
    page::of("deploy-lock.md", section, language)
}

/// The image that is deployed.
const APP: &str = "127.0.0.1:1/shop:1";
const COMPOSE: &str = "services: {web: {image: '127.0.0.1:1/shop:1', network_mode: none}}\n";
const STACK: &str = "\
version: '3.8'
services: {web: {image: '127.0.0.1:1/shop:1', networks: [out]}}
networks: {out: {external: true, name: host}}
";

/// A host with something to remove, and a root folder that stands for /, which Ansible's tree
/// sees, too.
struct Host {
    engine: Engine,
    secateur: Secateur,
    olds: Vec<String>,
}

impl Host {
    fn new() -> Host {
        let (engine, secateur, (olds, _)) = due(Kind::Overlay28, 1);
        let host = Host {
            engine,
            secateur,
            olds,
        };
        fs::create_dir_all(host.bin()).expect("a folder");
        host
    }

    fn root(&self) -> PathBuf {
        self.engine.dir().join("root")
    }

    /// A path of the page, in this test's own folder.
    fn at(&self, path: &str) -> PathBuf {
        let at = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        at
    }

    /// A text of the page with its paths in this test's own folder.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Marked first: the root's own path begins in such a way, too.
        for folder in ["/run/", "/home/", "/srv/", "/var/"] {
            for before in [' ', '"', '\''] {
                text = text.replace(&format!("{before}{folder}"), &format!("{before}\0{folder}"));
            }
        }
        text.replace('\0', &self.root().display().to_string())
    }

    /// The policy under which everything goes, with the locks of a section.
    fn policy_of(&self, section: &str) {
        let locks: String = of(section, "toml").into_iter().map(|b| b.text).collect();
        self.secateur
            .policy(&format!("{EAGER}{}", self.here(&locks)));
    }

    #[track_caller]
    fn refused(&self, tool: &str) {
        let outcome = self.secateur.prune(75);
        assert_eq!(refusals(&outcome), ["deploy-lock"], "{tool}: {outcome:#}");
        assert!(self.engine.has(&self.olds[0]), "{tool}");
    }

    /// Nothing is in the way: as a plan, so that the next tool finds the image.
    #[track_caller]
    fn free(&self, tool: &str) {
        let plan = self.secateur.plan();
        assert_eq!(refusals(&plan), NOTHING, "{tool}: {plan:#}");
        assert_eq!(plan["summary"]["remove"], 1, "{tool}: {plan:#}");
    }

    fn bin(&self) -> PathBuf {
        self.root().join("bin")
    }

    fn program(&self, path: &str, script: &str) {
        let path = self.at(path);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// Has this client of docker, before it does anything, tell the test that it was called, and
    /// wait until that has tried to prune.
    fn client(&self, path: &str, client: &str) {
        let [calls, goes] = ["calls", "goes"].map(|name| self.root().join(name));
        let script = format!(
            "#!/bin/sh\necho \"$0 $*\" >{}\nread -r _ <{}\nexec {client} \"$@\"\n",
            calls.display(),
            goes.display(),
        );
        self.program(path, &script);
    }

    /// A shop, the tools that deploy it, and the lock of the page.
    fn with_tools(&self) {
        self.engine.swarm_init();
        let app = Archive::new()
            .busybox()
            .cmd(&["/bin/busybox", "sleep", "100000"]);
        self.engine.load(&app.tag(APP));
        for (path, text) in [
            ("/srv/shop/compose.yml", COMPOSE),
            ("/srv/shop/shop.yml", STACK),
        ] {
            fs::write(self.at(path), text).expect("the shop");
        }
        for pipe in ["calls", "goes"] {
            let made = Command::new("mkfifo").arg(self.root().join(pipe)).status();
            assert!(made.expect("mkfifo").success());
        }
        self.program("/bin/real", &self.engine.client());
        self.client(
            "/bin/docker",
            &self.bin().join("real").display().to_string(),
        );
        self.client("/ansible/docker", "/usr/bin/docker");
        let compose = self
            .engine
            .program("usr/libexec/docker/cli-plugins/docker-compose");
        self.program("/config/cli-plugins/docker-compose", &compose);
        File::create(self.at(SHARED)).expect("the lock");
    }

    /// Runs a deploy: beside each call of docker that it makes a prune is refused for the lock.
    /// Returns the calls.
    #[track_caller]
    fn deploys(&self, what: &str, deploy: impl FnOnce() -> Output + Send) -> (Ran, Vec<String>) {
        // Open on both ends, it neither waits for others nor ends with them.
        let pipe = |name: &str| {
            let mut ends = OpenOptions::new();
            let both = ends.read(true).write(true);
            both.open(self.root().join(name)).expect("a pipe")
        };
        let (calls, mut goes) = (pipe("calls"), pipe("goes"));
        let mut last = pipe("calls");
        let mut beside = Vec::new();
        let output = thread::scope(|scope| {
            let deploy = scope.spawn(move || {
                let output = deploy();
                writeln!(last, "end").expect("the pipe");
                output
            });
            for call in BufReader::new(calls).lines() {
                let call = call.expect("a line");
                if call == "end" {
                    break;
                }
                beside.push((call, self.secateur.run(&["prune", "--format", "json"])));
                writeln!(goes).expect("the pipe");
            }
            deploy.join().expect("its output")
        });
        let ran = Ran::of(output);
        assert!(!beside.is_empty(), "{what}: docker was not called: {ran:?}");
        let refused = |(call, prune): (String, Ran)| {
            let kinds = refusals(&prune.ended(75).json());
            assert_eq!(kinds, ["deploy-lock"], "{what}: {call}");
            call
        };
        (ran, beside.into_iter().map(refused).collect())
    }

    /// The same of lines of the page. Returns what docker was called with, once.
    #[track_caller]
    fn types(&self, script: &str, arguments: &[&str]) -> String {
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new("sh");
        command
            .args(["-ec", script, "deploy"])
            .args(arguments)
            .current_dir(self.at("/srv/shop/."))
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_CONFIG", self.root().join("config"))
            .stdin(Stdio::null());
        let (ran, calls) = self.deploys(script, || command.output().expect("sh"));
        ran.ended(0);
        let [call] = &calls[..] else {
            panic!("{script}: {calls:?}");
        };
        call.clone()
    }

    /// The same of a play of the page, by Ansible.
    #[track_caller]
    fn plays(&self, play: &str) -> (Ran, Vec<String>) {
        let [file, inventory] = ["/play.yml", "/inventory"].map(|path| self.at(path));
        fs::write(&file, self.here(play)).expect("the play");
        fs::write(&inventory, "[docker]\nhere ansible_connection=local\n").expect("the inventory");
        let words = [
            "env".to_owned(),
            format!("DOCKER_HOST={}", self.engine.host()),
            "ANSIBLE_GATHERING=explicit".to_owned(), // no task needs facts of the host
            format!(
                "PATH={}:/usr/bin:/bin",
                self.root().join("ansible").display()
            ),
            "ansible-playbook".to_owned(),
            format!("--inventory={}", inventory.display()),
            file.display().to_string(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.deploys(play, || self.engine.inside("trixie", &words))
    }

    /// Waits until the stack runs. Nothing is in the way of a prune then.
    #[track_caller]
    fn stack_runs(&self) {
        wait_until("the stack runs", || {
            let tasks = self.engine.tasks("shop_web");
            let runs = tasks
                .iter()
                .any(|task| task["Status"]["State"] == "running");
            runs.then_some(())
        });
        self.free("docker stack deploy");
    }

    /// Fails unless compose has the shop running; ends it. Nothing is in the way of a prune.
    #[track_caller]
    fn shop_was_up(&self) {
        let container = self.engine.get("/containers/shop-web-1/json");
        assert_eq!(container["State"]["Running"], true, "{container:#}");
        self.engine.remove_container("shop-web-1");
        self.free("docker compose up");
    }
}

#[test]
fn each_policy_of_the_page_is_a_policy() {
    let mut locks = 0;
    for block in page::blocks("deploy-lock.md") {
        if block.language == "toml" {
            let text = format!("{EAGER}{}", block.text);
            let policy = secateur::policy::Policy::parse(&text, &block.section);
            let policy = policy.unwrap_or_else(|error| panic!("{error}"));
            assert!(!policy.guard.locks.is_empty(), "{}", block.section);
            locks += policy.guard.locks.len();
        }
    }
    assert_eq!(locks, 9);
    // And the first of them is the default.
    let default = secateur::policy::Policy::parse(secateur::policy::DEFAULT, "default");
    let default = default.expect("the default").guard.locks;
    assert_eq!(default.len(), 1);
    assert_eq!(default[0].path, Path::new(SHARED));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_tools_lock_refuses_while_it_is_held_and_not_after() {
    let host = Host::new();
    // What the tool leaves while it deploys.
    for (tool, path, folder) in [
        ("Kamal", "/home/deploy/.kamal/lock-shop", true),
        ("Kamal", "/home/deploy/.kamal/lock-shop-staging", true),
        ("Kamal", "/home/deploy/.kamal/locks/shop", true),
        // `apps:lock` leaves the same file, and nobody holds it.
        ("Dokku", "/var/lib/dokku/data/apps/shop/.deploy.lock", false),
        ("Dokku", "/var/lib/dokku/data/apps/blog/.deploy.lock", false),
        ("Dokku", "/home/dokku/shop/.deploy.lock", false),
        ("Capistrano", "/srv/shop/shared/deploy-lock.yml", false),
        ("Ansible", "/run/secateur/ansible-shop", false),
    ] {
        host.policy_of(tool);
        host.free(tool);
        let path = host.at(path);
        if folder {
            fs::create_dir(&path).expect("the lock");
            fs::write(path.join("details"), "Locked by: gardener").expect("the lock");
        } else {
            fs::write(&path, "").expect("the lock");
        }
        host.refused(tool);
        if folder {
            fs::remove_dir_all(&path).expect("the lock");
        } else {
            fs::remove_file(&path).expect("the lock");
        }
        host.free(tool);
    }
    // What stays after the deploy, and is no lock then.
    for (tool, path) in [
        ("A script", "/var/lock/deploy-shop"),
        ("The shared lock", SHARED),
    ] {
        host.policy_of(tool);
        host.free(tool);
        let path = host.at(path);
        File::create(&path).expect("the lock");
        host.free(tool);
        let deploy = Deploy::start(&path, &["-x"]);
        deploy.gets_the_lock();
        host.refused(tool);
        deploy.end();
        host.free(tool);
    }
    let outcome = host.secateur.prune(0);
    assert_eq!(ids(&outcome, "removed"), host.olds);
}

/// `git push` asks for it with `flock -n`, and fails if anybody has it for a moment.
#[test]
fn a_lock_that_dokku_does_not_wait_for_is_never_taken() {
    let locks: String = of("Dokku", "toml").into_iter().map(|b| b.text).collect();
    let policy = secateur::policy::Policy::parse(&format!("{EAGER}{locks}"), "the page");
    for lock in policy.expect("a policy").guard.locks {
        assert_eq!(lock.kind, LockKind::Exists, "{}", lock.path.display());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_command_of_the_page_holds_the_lock_for_as_long_as_it_deploys() {
    let host = Host::new();
    host.policy_of("The shared lock");
    host.with_tools();
    // The other end of the line: it runs what it is told to.
    host.program("/bin/ssh", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");

    let commands = of("The shared lock", "sh");
    let [stack, compose] = &commands[..] else {
        panic!("{commands:?}");
    };
    let (stack, compose) = (host.here(&stack.text), host.here(&compose.text));
    let call = host.types(&stack, &[]);
    assert!(
        call.ends_with("/docker stack deploy --compose-file shop.yml shop"),
        "{call}"
    );
    host.stack_runs();
    let up = "/docker compose up --detach --wait";
    assert!(host.types(&compose, &[]).ends_with(up));
    host.shop_was_up();
    // Two at once, which is what -s is for.
    let other = Deploy::start(&host.at(SHARED), &["-s"]);
    other.gets_the_lock();
    host.types(&compose, &[]);
    other.end();
    host.shop_was_up();

    let ssh = of("Over ssh", "sh");
    let [wrapper, line] = &ssh[..] else {
        panic!("{ssh:?}");
    };
    let client = host.bin().join("docker").display().to_string();
    let wrapper = host.here(&wrapper.text).replace("/usr/bin/docker", &client);
    // The second is how the client calls it for ssh://host/path/docker.sock.
    let socket = format!("--host={}", host.engine.host());
    for dial in [
        &["system", "dial-stdio"][..],
        &[&socket, "system", "dial-stdio"],
    ] {
        let call = host.types(&wrapper, dial);
        let called = format!("/docker {}", dial.join(" "));
        assert!(call.ends_with(&called), "{call}");
        host.free("docker system dial-stdio");
    }
    assert!(host.types(&host.here(&line.text), &[]).ends_with(up));
    host.shop_was_up();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_play_of_the_page_keeps_prunes_out_for_as_long_as_it_deploys() {
    let host = Host::new();
    host.with_tools();
    let plays = of("Ansible", "yaml");
    let [command, modules] = &plays[..] else {
        panic!("{plays:?}");
    };
    host.policy_of("The shared lock");
    let (ran, calls) = host.plays(&command.text);
    ran.ended(0);
    assert!(
        calls[0].ends_with("/docker compose up --detach --wait"),
        "{calls:?}"
    );
    host.shop_was_up();

    host.policy_of("Ansible");
    let (ran, calls) = host.plays(&modules.text);
    ran.ended(0);
    assert!(calls.iter().any(|call| call.contains(" up ")), "{calls:?}");
    host.shop_was_up();
    // A play that fails leaves no lock either.
    fs::write(
        host.at("/srv/shop/compose.yml"),
        COMPOSE.replace("none", "container:no-such"),
    )
    .expect("a file that cannot be deployed");
    let (ran, _) = host.plays(&modules.text);
    assert!(ran.ended(2).stdout.contains("no-such"));
    host.free("Ansible");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_other_command_passes_the_wrapper_without_the_lock() {
    let host = Host::new();
    host.policy_of("The shared lock");
    File::create(host.at(SHARED)).expect("the lock");
    host.program("/bin/docker", "#!/bin/sh\nread -r _\n");
    let real = host.bin().join("docker").display().to_string();
    let wrapper = host
        .here(&of("Over ssh", "sh")[0].text)
        .replace("/usr/bin/docker", &real);
    let start = |arguments: &[&str]| {
        Command::new("sh")
            .args(["-ec", &wrapper, "docker"])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh")
    };
    let mut logs = start(&["logs", "--follow", "shop"]);
    let mut dial = start(&["system", "dial-stdio"]);
    wait_until("the lock is held", || {
        (refusals(&host.secateur.plan()) == ["deploy-lock"]).then_some(())
    });
    drop(dial.stdin.take());
    dial.wait().expect("its end");
    assert!(logs.try_wait().expect("its state").is_none());
    host.free("docker logs");
    drop(logs.stdin.take());
    logs.wait().expect("its end");
}
