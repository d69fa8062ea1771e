//! docs/deploy-lock.md, as it stands: each policy is read, each tool's lock is
//! left the way the tool leaves it, each command is run.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::{Engine, Kind, wait_until};
use crate::support::page::{self, Block};
use crate::support::scene::{Deploy, due};
use crate::support::{EAGER, NOTHING, PROGRAM, Ran, Secateur, ids, refusals};
use secateur::model::conditions::LockKind;
use serde_json::Value;

const SHARED: &str = "/run/secateur/deploy.lock";

/// The page's blocks of one section and language.
#[track_caller]
fn of(section: &str, language: &str) -> Vec<Block> {
    page::of("deploy-lock.md", section, language)
}

/// A host with something to remove, and a root folder that stands for /.
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
        fs::create_dir(host.bin()).expect("a folder");
        host
    }

    /// A path of the page, in this test's own folder.
    fn at(&self, path: &str) -> PathBuf {
        let at = self.secateur.dir().join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        at
    }

    /// A text of the page with its paths in this test's own folder.
    fn here(&self, text: &str) -> String {
        let root = self.secateur.dir().display();
        ["/run/", "/home/", "/srv/", "/var/"]
            .iter()
            .fold(text.to_owned(), |text, folder| {
                let starts = [' ', '"', '\''];
                starts.iter().fold(text, |text, before| {
                    text.replace(
                        &format!("{before}{folder}"),
                        &format!("{before}{root}{folder}"),
                    )
                })
            })
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
        self.secateur.dir().join("bin")
    }

    /// A tool that, while it deploys, has secateur prune and notes how that ended.
    fn tool(&self, name: &str) {
        let script = format!(
            "#!/bin/sh\n{PROGRAM} --host {} --policy {:?} --state-dir {:?} prune --quiet >&2\n\
             echo \"$? $0 $*\" >>{:?}\n",
            self.engine.host(),
            self.secateur.policy_path().display().to_string(),
            self.secateur.state().display().to_string(),
            self.notes().display().to_string(),
        );
        self.program(name, &script);
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.bin().join(name);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    fn notes(&self) -> PathBuf {
        self.secateur.dir().join("notes")
    }

    /// Runs a deploy; prunes beside it must all have been refused. Returns what the tool was
    /// called with.
    #[track_caller]
    fn deploy(&self, script: &str, arguments: &[&str]) -> String {
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new("sh");
        command
            .args(["-ec", script, "deploy"])
            .args(arguments)
            .current_dir(self.secateur.dir())
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .stdin(Stdio::null());
        Ran::of(command.output().expect("sh")).ended(0);
        let notes = fs::read_to_string(self.notes()).expect("the tool was called");
        fs::remove_file(self.notes()).expect("the notes");
        let (code, call) = notes.trim().split_once(' ').expect("one call");
        assert_eq!(code, "75", "{script}: {call}");
        assert!(self.engine.has(&self.olds[0]), "{script}");
        call.to_owned()
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
    let lock = host.at(SHARED);
    File::create(&lock).expect("the lock");
    host.tool("docker");
    // The other end of the line: it runs what it is told to.
    host.program("ssh", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");

    let commands = of("The shared lock", "sh");
    assert_eq!(commands.len(), 2);
    let call = host.deploy(&host.here(&commands[0].text), &[]);
    assert!(
        call.ends_with("/docker stack deploy --compose-file shop.yml shop"),
        "{call}"
    );
    let call = host.deploy(&host.here(&commands[1].text), &[]);
    assert!(
        call.ends_with("/docker compose up --detach --wait"),
        "{call}"
    );
    // Two at once, which is what -s is for.
    let other = Deploy::start(&lock, &["-s"]);
    other.gets_the_lock();
    host.deploy(&host.here(&commands[0].text), &[]);
    other.end();

    let ssh = of("Over ssh", "sh");
    let real = host.bin().join("docker").display().to_string();
    let wrapper = host.here(&ssh[0].text).replace("/usr/bin/docker", &real);
    // The second is how the client calls it for ssh://host/path/docker.sock.
    let socket = "--host=unix:///path/docker.sock";
    for dial in [
        &["system", "dial-stdio"][..],
        &[socket, "system", "dial-stdio"],
    ] {
        let call = host.deploy(&wrapper, dial);
        let called = format!("/docker {}", dial.join(" "));
        assert!(call.ends_with(&called), "{call}");
    }
    let call = host.deploy(&host.here(&ssh[1].text), &[]);
    assert!(
        call.ends_with("/docker compose up --detach --wait"),
        "{call}"
    );

    let plays: Vec<Value> = of("Ansible", "yaml")
        .iter()
        .map(|block| page::yaml(&block.text))
        .collect();
    let command = &plays[0][0]["tasks"][0]["ansible.builtin.command"]["cmd"];
    let command = host.here(&format!(" {}", command.as_str().expect("a command")));
    host.deploy(&command, &[]);
    // Both write where only root may.
    assert!(plays.iter().all(|play| play[0]["become"] == true));
    // The file of the other play is one that the policy of that section names.
    let tasks = &plays[1][0]["tasks"][0];
    let touched = &tasks["block"][0]["ansible.builtin.file"];
    let removed = &tasks["always"][0]["ansible.builtin.file"];
    assert_eq!(touched["path"], removed["path"]);
    host.policy_of("Ansible");
    fs::write(host.at(touched["path"].as_str().expect("a path")), "").expect("the file");
    host.refused("Ansible");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_other_command_passes_the_wrapper_without_the_lock() {
    let host = Host::new();
    host.policy_of("The shared lock");
    File::create(host.at(SHARED)).expect("the lock");
    host.program("docker", "#!/bin/sh\nread -r _\n");
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
