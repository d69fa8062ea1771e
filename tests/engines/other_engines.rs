//! Engines that are not root's Docker on the same file systems: Podman, a
//! user's own Docker, an engine seen from inside a container.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lab::image::{Archive, noise, tar};
use crate::lab::other::{Other, USER_ID};
use crate::lab::{Engine, Kind, wait_until};
use crate::support::scene::{due, untagged};
use crate::support::{EAGER, PROGRAM, Ran, Secateur, ids, image, reasons, refusals};
use crate::support::{NOTHING, page};
use secateur::policy::Policy;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// secateur as the engine's own user starts it: that user's home, no option but
/// those of the test.
struct User<'a> {
    engine: &'a Other,
    docker_host: bool,
}

impl User<'_> {
    fn of(engine: &Other) -> User<'_> {
        let user = User {
            engine,
            docker_host: true,
        };
        // A copy that the user can start, wherever it was built.
        fs::copy(&*PROGRAM, user.program()).expect("the program");
        user.policy(EAGER);
        user
    }

    fn program(&self) -> PathBuf {
        self.engine.home().join("secateur")
    }

    fn policy(&self, text: &str) {
        let policy = self.engine.home().join("policy.toml");
        fs::write(&policy, text).expect("the policy");
        let id = Some(self.engine.user());
        chown(policy, id, id).expect("its owner");
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.runs(self.program().to_str().expect("UTF-8"), args)
    }

    /// A line of a page, with its program at hand.
    fn types(&self, line: &str) -> Ran {
        let home = self.engine.home().display().to_string();
        self.runs("sh", &["-c", &format!("PATH={home}:$PATH; {line}")])
    }

    fn runs(&self, program: &str, args: &[&str]) -> Ran {
        let id = self.engine.user();
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={id}"), format!("--regid={id}")])
            .arg("--clear-groups")
            .arg(program)
            .args(args)
            .current_dir("/")
            .env_clear()
            .env("HOME", self.engine.home())
            .env("XDG_RUNTIME_DIR", self.engine.runtime_dir())
            .env("XDG_STATE_HOME", self.engine.home().join("state"))
            .env("SECATEUR_POLICY", self.engine.home().join("policy.toml"))
            .stdin(Stdio::null());
        if id == 0 {
            command.env("STATE_DIRECTORY", self.engine.home().join("state/secateur"));
        }
        if self.docker_host {
            command.env("DOCKER_HOST", self.engine.host());
        }
        Ran::of(command.output().expect("the program runs"))
    }

    #[track_caller]
    fn json(&self, command: &str, code: i32) -> Value {
        let args = [command, "--format", "json"];
        self.run(&args).ended(code).json()
    }

    /// An image that lost its name to another.
    fn untagged(&self) -> (String, String) {
        let file = |bytes: &[u8]| tar(&[("file", bytes)]);
        let old = self.engine.import("app", &file(&noise(1000)));
        let new = self.engine.import("app", &file(&noise(1000)));
        assert_ne!(old, new);
        (with_prefix(&old), with_prefix(&new))
    }

    fn until_removable(&self, id: &str) {
        wait_until("the image is old enough", || {
            (image(&self.json("plan", 0), id)["verdict"] == "remove").then_some(())
        });
    }
}

/// Podman leaves it out.
fn with_prefix(id: &str) -> String {
    format!("sha256:{}", id.trim_start_matches("sha256:"))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn podman_is_planned_for_and_never_pruned() {
    for suite in ["bookworm", "sid"] {
        for rootless in [false, true] {
            let name = format!("{suite}, rootless: {rootless}");
            let engine = Other::podman(suite, rootless);
            let user = User::of(&engine);
            let (old, new) = user.untagged();

            let first = user.json("prune", 75);
            assert_eq!(refusals(&first), ["signs-unreadable"], "{name}: {first:#}");
            let plan = user.json("plan", 0);
            assert_eq!(plan["engine"]["store"], "podman", "{name}: {plan:#}");
            let root = engine.get("/info")["DockerRootDir"].clone();
            assert_eq!(plan["engine"]["root_dir"], root, "{name}");
            // Podman gives another id with each answer; the memory lasts all the same.
            assert_eq!(plan["engine"]["id"], first["engine"]["id"], "{name}");
            assert_ne!(engine.get("/info")["ID"], engine.get("/info")["ID"]);
            assert!(
                !reasons(&plan, &old).contains(&"first-seen".to_owned()),
                "{name}: {plan:#}"
            );
            assert_eq!(image(&plan, &old)["class"], "untagged", "{name}");
            assert!(
                reasons(&plan, &old).contains(&"incomplete".to_owned()),
                "{name}"
            );
            assert_eq!(reasons(&plan, &new)[0], "tagged", "{name}");
            assert_eq!(plan["summary"]["remove"], 0, "{name}");

            let text = user.run(&["prune"]).ended(75).stdout;
            for words in [
                "any podman process may be pulling",
                "this does not mend itself: secateur only plans for Podman",
            ] {
                let said: Vec<&str> = text.split_whitespace().collect();
                assert!(said.join(" ").contains(words), "{name}: {text}");
            }
            assert!(!text.contains("ages start anew"), "{name}: {text}");
            let all = user.run(&["plan", "--verbose"]).ended(0).stdout;
            assert!(all.contains("only looked at"), "{name}: {all}");

            let args = ["verify-cache", "app", "--format", "json"];
            let report = user.run(&args).json();
            let checks = report["images"][0]["checks"].as_array().expect("checks");
            let present = checks.iter().find(|check| check["kind"] == "present");
            assert_eq!(present.expect("present")["status"], "ok", "{name}");

            // By the address that the page gives for root's.
            let line = &page::of("other-engines.md", "Podman", page::INDENTED)[0].text;
            let line = line.replace("unix:///run/podman/podman.sock", &engine.host());
            let said = user.types(&line).ended(0).stdout;
            assert!(said.contains("podman"), "{said}");

            // Not even where nobody minds the pulls.
            user.policy(&format!("{EAGER}[guard]\npulls = \"best-effort\"\n"));
            let outcome = user.json("prune", 0);
            assert_eq!(outcome["result"], "nothing", "{name}: {outcome:#}");
            assert!(engine.has(&old) && engine.has(&new), "{name}");
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_users_own_docker_is_pruned_by_that_user() {
    for containerd in [false, true] {
        let engine = Other::rootless_docker(containerd);
        let security = engine.get("/info")["SecurityOptions"].to_string();
        assert!(security.contains("rootless"), "{security}");
        let user = User::of(&engine);
        let (old, new) = user.untagged();
        assert_eq!(user.json("prune", 0)["result"], "nothing");
        user.until_removable(&old);
        let plan = user.json("plan", 0);
        let home = engine.home().join(".local/share/docker");
        assert_eq!(plan["engine"]["root_dir"], home.display().to_string());
        assert!(engine.home().join("state/secateur/ledger.json").exists());
        // Root sees it, too, and remembers for itself.
        let roots = Secateur::at(&engine.host(), EAGER).plan();
        assert_eq!(roots["engine"], plan["engine"]);
        assert_eq!(refusals(&roots), NOTHING, "{roots:#}");
        assert_eq!(reasons(&roots, &old), ["first-seen"]);
        // As the page has it: that user's own policy, at that user's own place.
        let config = engine.home().join(".config/secateur");
        fs::create_dir_all(&config).expect("a folder");
        fs::copy(
            engine.home().join("policy.toml"),
            config.join("policy.toml"),
        )
        .expect("a policy");
        let said = user.types(&page::of("other-engines.md", "Rootless", page::INDENTED)[0].text);
        let said = said.ended(0).stdout;
        // A long path goes on in the next line.
        let joined: String = said.split_whitespace().collect();
        assert!(joined.contains(".config/secateur/policy.toml"), "{said}");
        assert!(!engine.has(&old) && engine.has(&new), "{said}");
        // Two more between two looks: the first of them is the rollback now.
        let (rollback, newest) = user.untagged();
        assert_eq!(user.json("prune", 0)["result"], "nothing");
        user.until_removable(&new);
        let outcome = user.json("prune", 0);
        assert_eq!(ids(&outcome, "removed"), [new.as_str()], "{outcome:#}");
        assert!(engine.has(&rollback) && engine.has(&newest));
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_units_of_a_users_own_timer_are_sound() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["--user", "verify"]);
    for block in page::of("other-engines.md", "Rootless", "") {
        let place = block.text.lines().next().expect("where it is");
        let name = place.rsplit('/').next().expect("its name");
        let unit = dir.path().join(name);
        let text = block.text.replace("/usr/bin/secateur", &PROGRAM);
        fs::write(&unit, text).expect("the unit");
        verify.arg(unit);
    }
    verify.env("XDG_RUNTIME_DIR", dir.path());
    let said = Ran::of(verify.output().expect("systemd-analyze")).ended(0);
    // What it does not know, it says, and ends well.
    assert_eq!((&*said.stdout, &*said.stderr), ("", ""));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_users_own_docker_is_found_by_its_context() {
    let engine = Other::rootless_docker(false);
    let mut user = User::of(&engine);
    user.docker_host = false;
    // As dockerd-rootless-setuptool.sh leaves it.
    let config = engine.home().join(".docker");
    let folder = format!("contexts/meta/{:x}", Sha256::digest("rootless"));
    let context = config.join(folder);
    fs::create_dir_all(&context).expect("a folder");
    let meta = json!({
        "Name": "rootless",
        "Metadata": {"Description": "Rootless mode"},
        "Endpoints": {"docker": {"Host": engine.host(), "SkipTLSVerify": false}},
    });
    fs::write(context.join("meta.json"), meta.to_string()).expect("the context");
    let current = json!({"currentContext": "rootless"}).to_string();
    fs::write(config.join("config.json"), current).expect("the context");
    let id = engine.get("/info")["ID"].clone();
    assert_eq!(user.json("plan", 0)["engine"]["id"], id);
    // Without it, root's usual socket is meant, which is not this engine's.
    fs::write(config.join("config.json"), "{}").expect("the context");
    let ran = user.run(&["plan", "--format", "json"]);
    assert!(ran.code != 0 || ran.json()["engine"]["id"] != id);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_load_into_a_users_own_docker_is_seen_by_that_user() {
    let engine = Other::rootless_docker(false);
    let user = User::of(&engine);
    let (old, new) = user.untagged();
    user.json("prune", 0);
    user.until_removable(&old);

    // A load whose second half is still to come.
    let archive = Archive::new().noise(1 << 20).tag("big:1").build();
    let mut load = UnixStream::connect(engine.socket()).expect("the socket");
    write!(
        load,
        "POST /images/load?quiet=1 HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\
         Content-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    )
    .expect("the request");
    let (first, second) = archive.split_at(archive.len() / 2);
    load.write_all(first).expect("half of it");
    let signs = engine.home().join(".local/share/docker/tmp");
    wait_until("the load has begun", || {
        let mut files = fs::read_dir(&signs).expect("the folder").flatten();
        files
            .any(|file| {
                file.file_name()
                    .to_string_lossy()
                    .starts_with("docker-import-")
            })
            .then_some(())
    });
    let outcome = user.json("prune", 75);
    assert_eq!(refusals(&outcome), ["pull"], "{outcome:#}");
    assert!(engine.has(&old));
    load.write_all(second).expect("the rest");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut load, &mut answer).expect("its end");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(engine.has("big:1"));
    let outcome = user.json("prune", 0);
    assert_eq!(ids(&outcome, "removed"), [old.as_str()], "{outcome:#}");
    assert!(engine.has(&new));
}

/// The program in mount and process namespaces of its own, where the engine's
/// data root is an empty folder, as in a container that was given the socket
/// alone; `more` runs before it.
fn contained(engine: &Engine, secateur: &Secateur, more: &str, args: &[&str]) -> Ran {
    let inside = format!("{more}\nmount -t tmpfs nothing \"$DATA_ROOT\"\nexec \"$@\"");
    let usual = secateur.command(args);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-euc"])
        .args([&inside, "container"])
        .arg(usual.get_program())
        .args(usual.get_args())
        .env("DATA_ROOT", engine.data_root())
        .env("ELSEWHERE", secateur.dir().join("seen"));
    Ran::of(command.output().expect("unshare"))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_engine_whose_data_root_is_not_seen_is_refused_until_it_is_given() {
    for kind in Kind::MAIN {
        let (engine, other) = (Engine::start(kind), Engine::start(kind));
        let secateur = Secateur::on(&engine);
        let (olds, new) = untagged(&engine, 1);
        secateur.remember();
        let seen = secateur.dir().join("seen");
        fs::create_dir(&seen).expect("a folder");

        let json = ["prune", "--format", "json"];
        let outcome = contained(&engine, &secateur, "", &json).ended(75).json();
        let kinds = refusals(&outcome);
        assert!(!kinds.is_empty(), "{}", kind.name());
        assert!(
            kinds.iter().all(|kind| kind == "signs-unreadable"),
            "{outcome:#}"
        );
        let refusal = &outcome["refusals"][0];
        assert!(
            refusal["message"]
                .as_str()
                .expect("a message")
                .contains("not look like")
        );
        let way_out = refusal["way_out"].as_str().expect("a way out");
        for words in [
            "does not mend itself",
            "read-only is enough",
            "engine.data_root",
        ] {
            assert!(way_out.contains(words), "{}: {way_out}", kind.name());
        }
        let plan = contained(&engine, &secateur, "", &["plan", "--format", "json"]);
        let plan = plan.ended(0).json();
        assert_eq!(refusals(&plan), kinds, "{}", kind.name());
        assert!(engine.has(&olds[0]), "{}", kind.name());

        // Some folder will not do, nor will another engine's; 20.10 leaves no id in its own.
        let policy = format!(
            "{EAGER}[engine]\ndata_root = {:?}\n",
            seen.display().to_string()
        );
        secateur.policy(&policy);
        let id = other.data_root().join("engine-id");
        assert_eq!(id.exists(), kind != Kind::Overlay20, "{}", kind.name());
        let mut wrong = vec!["true".to_owned()];
        if kind != Kind::Overlay20 {
            wrong.push(format!(
                "mount --bind {:?} \"$ELSEWHERE\"",
                other.data_root()
            ));
        }
        for wrong in wrong {
            let outcome = contained(&engine, &secateur, &wrong, &json)
                .ended(75)
                .json();
            assert_eq!(refusals(&outcome)[0], "signs-unreadable", "{}", kind.name());
        }

        let mount = "mount --bind -o ro \"$DATA_ROOT\" \"$ELSEWHERE\"";
        let outcome = contained(&engine, &secateur, mount, &json).ended(0).json();
        assert_eq!(
            ids(&outcome, "removed"),
            olds,
            "{}: {outcome:#}",
            kind.name()
        );
        assert!(engine.has(&new), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_capability_that_a_refusal_names_is_enough() {
    for kind in Kind::MAIN {
        let (engine, secateur, (olds, new)) = due(kind, 1);
        let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        open(engine.socket(), 0o666).expect("the socket's mode");
        open(secateur.dir().into(), 0o755).expect("the folder's mode");
        let program = secateur.dir().join("secateur");
        fs::copy(&*PROGRAM, &program).expect("the program");
        let mine = |path: PathBuf| chown(path, Some(USER_ID), Some(USER_ID));
        for file in fs::read_dir(secateur.state()).expect("the state").flatten() {
            mine(file.path()).expect("its owner");
        }
        mine(secateur.state()).expect("its owner");
        let run = |capability: &[&str]| {
            let usual = secateur.command(&["prune", "--format", "json"]);
            let user = [format!("--reuid={USER_ID}"), format!("--regid={USER_ID}")];
            let mut command = Command::new("setpriv");
            command.args(user).arg("--clear-groups").args(capability);
            command.arg(&program).args(usual.get_args());
            Ran::of(command.output().expect("setpriv"))
        };
        let outcome = run(&[]).ended(75).json();
        let way_out = outcome["refusals"][0]["way_out"]
            .as_str()
            .expect("a way out");
        assert!(way_out.contains("does not mend itself"), "{way_out}");
        assert!(way_out.contains("CAP_DAC_READ_SEARCH"), "{way_out}");
        assert!(engine.has(&olds[0]), "{}", kind.name());
        let capability = [
            "--inh-caps=+dac_read_search",
            "--ambient-caps=+dac_read_search",
        ];
        let outcome = run(&capability).ended(0).json();
        assert_eq!(
            ids(&outcome, "removed"),
            olds,
            "{}: {outcome:#}",
            kind.name()
        );
        assert!(engine.has(&new), "{}", kind.name());
    }
}

#[test]
fn the_pages_setting_is_one() {
    let block = &page::of("other-engines.md", "In a container", "toml")[0];
    let policy = Policy::parse(&format!("{EAGER}{}", block.text), "the page").expect("a policy");
    assert_eq!(policy.data_root, Some("/host/var/lib/docker".into()));
}
