//! What a run does where its memory, its clock, its disk or its locks are not
//! as they should be: nothing is removed, and it says why. On a live engine.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Room, wait_until};
use crate::support::proxy::Proxy;
use crate::support::scene::{Running, due, left_names, untagged};
use crate::support::strace::{traced, traced_prune};
use crate::support::{EAGER, NOTHING, PROGRAM, Secateur, ids, patient, refusals, with_lock};
use serde_json::{Value, json};

const OTHER_BOOT: Option<&str> = Some("0f2e7d3c-93a6-4f0e-9f0b-1d2c3b4a5968");

/// A host where two images are to go, and its memory of them.
struct Old {
    engine: Engine,
    secateur: Secateur,
    olds: Vec<String>,
    ledger: Vec<u8>,
}

impl Old {
    fn new() -> Old {
        let (engine, secateur, (olds, _)) = due(Kind::Overlay28, 2);
        let ledger = fs::read(secateur.ledger()).expect("the ledger");
        Old {
            engine,
            secateur,
            olds,
            ledger,
        }
    }

    fn ledger_path(&self) -> PathBuf {
        self.secateur.ledger()
    }

    /// Puts these bytes in the ledger's place.
    fn put(&self, bytes: &[u8]) {
        fs::write(self.ledger_path(), bytes).expect("the ledger");
    }

    /// The ledger as it was, but for this, and without its checksum, as
    /// somebody may write one by hand.
    fn edited(&self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut ledger: Value = serde_json::from_slice(&self.ledger).expect("JSON");
        let fields = ledger.as_object_mut().expect("an object");
        fields.remove("sum").expect("its checksum");
        change(&mut ledger);
        ledger.to_string().into_bytes()
    }

    /// Leaves the ledger as all that tells an age: the engine forgets its
    /// events, and its files are old.
    fn engine_knows_no_dates(&mut self) {
        self.engine.restart();
        let folder = "image/overlay2/imagedb/content/sha256";
        for id in &self.olds {
            let hex = id.trim_start_matches("sha256:");
            let path = self.engine.data_root().join(folder).join(hex);
            let file = File::open(path).expect("the engine's own file");
            file.set_modified(SystemTime::UNIX_EPOCH).expect("its date");
        }
    }

    /// Fails unless both images would go with the ledger as it was, and are here.
    #[track_caller]
    fn would_go(&self) {
        self.put(&self.ledger);
        assert_eq!(self.secateur.plan()["summary"]["remove"], 2);
    }

    #[track_caller]
    fn all_are_here(&self) {
        for id in &self.olds {
            assert!(self.engine.has(id));
        }
        assert_eq!(left_names(&self.engine), NOTHING);
    }

    /// A prune that must be refused for this alone.
    #[track_caller]
    fn refused(&self, code: i32, kind: &str) -> String {
        let outcome = self.secateur.prune(code);
        assert_eq!(outcome["result"], "refused", "{outcome:#}");
        assert_eq!(refusals(&outcome), [kind], "{outcome:#}");
        self.all_are_here();
        outcome["refusals"][0]["message"].to_string()
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_ledger_that_cannot_be_used_is_set_aside_and_nothing_goes_until_ages_have_grown_anew() {
    let host = Old::new();
    host.secateur.policy(&patient());
    let text = String::from_utf8(host.ledger.clone()).expect("UTF-8");
    let other_engine = host.edited(|ledger| ledger["engine"] = json!("another/graphdriver"));
    let damaged = text.replacen("\"first_seen\":\"2", "\"first_seen\":\"1", 1);
    assert_ne!(damaged, text);
    let cases = [
        b"".to_vec(),
        text.as_bytes()[..text.len() / 2].to_vec(),
        b"\xff\x00nonsense".to_vec(),
        b"{\"format\":1}".to_vec(),
        damaged.into_bytes(),
        other_engine,
    ];
    for (number, bytes) in cases.iter().enumerate() {
        host.secateur.policy(EAGER);
        host.would_go();
        host.put(bytes);
        // An age that no test lasts: whatever goes, goes for the old ledger.
        host.secateur.policy(&patient());
        let plan = host.secateur.plan();
        assert_eq!(plan["summary"]["remove"], 0, "{number}: {plan:#}");
        assert_eq!(fs::read(host.ledger_path()).expect("it"), *bytes);
        let outcome = host.secateur.prune(0);
        assert_eq!(outcome["result"], "nothing", "{number}: {outcome:#}");
        let notes = outcome["notes"].to_string();
        assert!(notes.contains("ages start anew"), "{number}: {notes}");
        host.all_are_here();
        let aside = format!("{}.corrupt-{}", host.ledger_path().display(), number + 1);
        let aside = fs::read(aside).expect("set aside");
        assert_eq!(aside, *bytes);
        assert!(host.secateur.remembers(&host.olds[0]), "{number}");
    }
    // Gone altogether: as on the first day.
    fs::remove_file(host.ledger_path()).expect("the ledger");
    assert_eq!(host.secateur.prune(0)["result"], "nothing");
    host.all_are_here();

    // A newer secateur's is not ours to set aside.
    host.secateur.policy(EAGER);
    let newer = b"{\"format\":3,\"images\":[]}";
    host.put(newer);
    for command in ["plan", "prune"] {
        let ran = host.secateur.run(&[command]).ended(74);
        assert!(ran.stderr.contains("newer secateur"), "{ran:?}");
        assert_eq!(fs::read(host.ledger_path()).expect("it"), newer);
    }
    host.all_are_here();
    host.would_go();
    assert_eq!(ids(&host.secateur.prune(0), "removed"), host.olds);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_ledger_that_others_could_have_written_is_not_read_and_nothing_goes() {
    let host = Old::new();
    let ledger = host.ledger_path();
    let mode = |mode| fs::set_permissions(&ledger, PermissionsExt::from_mode(mode));
    for command in ["plan", "prune"] {
        mode(0o666).expect("its mode");
        let ran = host.secateur.run(&[command]).ended(77);
        assert!(ran.stderr.contains("/state/ledger-"), "{ran:?}");
        assert!(ran.stderr.contains("chmod go-w"), "{ran:?}");
        mode(0o600).expect("its mode");
    }
    let elsewhere = host.secateur.dir().join("elsewhere.json");
    fs::rename(&ledger, &elsewhere).expect("the ledger");
    symlink(&elsewhere, &ledger).expect("a link");
    for command in ["plan", "prune"] {
        let ran = host.secateur.run(&[command]).ended(77);
        assert!(ran.stderr.contains("symbolic link"), "{ran:?}");
    }
    host.all_are_here();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn on_a_doubtful_clock_nothing_goes_and_the_doubtful_time_adds_no_age() {
    let mut host = Old::new();
    host.engine_knows_no_dates();
    let before = |ledger: &Value, days: i64| -> String {
        let wall = ledger["clock"]["wall"].as_str().expect("the last look");
        let wall: chrono::DateTime<chrono::Utc> = wall.parse().expect("a date");
        (wall - chrono::TimeDelta::days(days)).to_rfc3339()
    };
    // The last look, and with it all that it saw, so many days earlier by the
    // wall clock alone.
    let moved = |days: i64, boot: Option<&str>| {
        host.edited(|ledger| {
            let then = before(ledger, days);
            ledger["clock"]["wall"] = json!(then);
            if let Some(boot) = boot {
                ledger["clock"]["boot_id"] = json!(boot);
            }
            for sighting in ledger["images"]
                .as_object_mut()
                .expect("images")
                .values_mut()
            {
                sighting["first_seen"] = json!(then);
                for key in ["last_named", "last_used"] {
                    sighting[key] = Value::Null;
                }
                sighting["tags"] = json!({});
            }
        })
    };
    for (what, ledger) in [
        ("was set back from", moved(-2, None)),
        ("time since boot", moved(3650, None)),
        ("restarted", moved(3650, OTHER_BOOT)),
    ] {
        host.secateur.policy(EAGER);
        host.would_go();
        host.put(&ledger);
        let message = host.refused(75, "clock");
        assert!(message.contains(what), "{message}");
        // The next look is believed again, and what it knows is that the images
        // were here at the doubtful one.
        host.secateur.policy(&patient());
        let outcome = host.secateur.prune(0);
        assert_eq!(outcome["result"], "nothing", "{what}: {outcome:#}");
        host.all_are_here();
    }
    // A host that was off for a month is believed.
    host.secateur.policy(&patient());
    host.put(&moved(29, OTHER_BOOT));
    assert_eq!(ids(&host.secateur.prune(0), "removed"), host.olds);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_lock_that_cannot_be_tried_is_not_free() {
    let host = Old::new();
    let lock = host.secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    let only = |path: &Path, call: &str, error: &str| {
        let inject = format!("inject={call}:error={error}");
        let path = path.to_str().expect("UTF-8");
        let (ran, log) = traced_prune(&host.secateur, &["-P", path, "-e", &inject]);
        assert!(log.contains("(INJECTED)"), "{call} {error}: {log}");
        ran
    };
    for (call, error) in [
        ("flock", "ENOLCK"),
        ("flock", "EIO"),
        ("flock", "EINTR"),
        ("fcntl", "ENOLCK"),
        ("fcntl", "EIO"),
        ("openat", "EACCES"),
        ("openat", "EIO"),
        ("statx", "EIO"),
    ] {
        host.secateur.policy(&with_lock(&lock, "flock"));
        let outcome = only(&lock, call, error).ended(75).json();
        assert_eq!(refusals(&outcome), ["deploy-lock"], "{outcome:#}");
        let message = outcome["refusals"][0]["message"].to_string();
        assert!(message.contains(error), "{call}: {message}");
        // Our own lock: then nobody says that no other run is under way.
        host.secateur.policy(EAGER);
        if call != "fcntl" {
            let ran = only(&host.secateur.state().join("run.lock"), call, error);
            assert!([74, 77].contains(&ran.code), "{call} {error}: {ran:?}");
            assert!(ran.stderr.contains("run.lock"), "{ran:?}");
            assert_eq!(ran.stdout, "");
        }
        host.all_are_here();
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_long_journal_is_set_aside_where_files_can_have_one_name_only() {
    let host = Old::new();
    host.secateur.policy(EAGER);
    let journal = host.secateur.state().join("journal.jsonl");
    let lines = "an old line\n".repeat(400_000);
    fs::write(&journal, &lines).expect("the journal");
    let inject = "inject=linkat:error=EPERM";
    let (ran, log) = traced_prune(&host.secateur, &["-e", inject]);
    assert!(log.contains("(INJECTED)"), "{log}");
    assert_eq!(ids(&ran.ended(0).json(), "removed"), host.olds);
    let aside = fs::read_to_string(host.secateur.state().join("journal.jsonl.1"));
    assert!(aside.expect("the old one") == lines, "it is kept whole");
    let left = fs::read_dir(host.secateur.state()).expect("the folder");
    let also = "with the ledger, what an older secateur finds, the policy's name and our lock";
    assert_eq!(left.count(), 6, "{also}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_is_no_lock_file_is_neither_followed_nor_waited_for() {
    let host = Old::new();
    let at = |name: &str| host.secateur.dir().join(name);
    fs::write(at("file"), "").expect("a file");
    symlink(at("file"), at("link")).expect("a link");
    fs::create_dir(at("folder")).expect("a folder");
    // Nobody writes into it: to open it would wait for ever.
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.expect("mkfifo").success());
    for (path, is) in [
        (at("link"), "a symbolic link"),
        (at("folder"), "a folder"),
        (at("fifo"), "a FIFO"),
        ("/dev/null".into(), "a device"),
        (at("file").join("below"), "ENOTDIR"),
    ] {
        host.secateur.policy(&with_lock(&path, "flock"));
        let message = host.refused(75, "deploy-lock");
        assert!(message.contains(is), "{message}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_state_folder_without_room_or_open_to_reading_alone_removes_nothing() {
    let host = Old::new();
    let room = Room::new(Some("1m"));
    let disk = room.dir().join("disk");
    let there = disk.join("state");
    let state = host.secateur.state();
    let copied = Command::new("cp").arg("-a").args([&state, &there]).status();
    assert!(copied.expect("cp").success());
    fs::remove_dir_all(&state).expect("the folder");
    symlink(&there, &state).expect("a link, as DynamicUser makes one");
    assert_eq!(host.secateur.plan()["summary"]["remove"], 2);

    let filler = disk.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
    let ran = host.secateur.run(&["prune"]).ended(74);
    assert!(ran.stderr.contains("No space left"), "{ran:?}");
    host.all_are_here();
    assert_eq!(
        fs::read(there.join(host.ledger_path().file_name().expect("a name"))).expect("it"),
        host.ledger
    );

    let remount = |how: &str| {
        let options = format!("remount,{how}");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(&disk)
            .status();
        assert!(done.expect("mount").success(), "{how}");
    };
    drop(file);
    fs::remove_file(&filler).expect("room again");
    remount("ro");
    let ran = host.secateur.run(&["prune"]).ended(74);
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    host.all_are_here();
    // To look, nothing need be written.
    assert_eq!(host.secateur.plan()["summary"]["remove"], 2);
    remount("rw");
    assert_eq!(ids(&host.secateur.prune(0), "removed"), host.olds);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_proxy_of_the_environment_is_not_asked() {
    let host = Old::new();
    // Where nobody listens: whoever asks there fails.
    let nobody = "http://127.0.0.1:9";
    let mut command = host.secateur.command(&["prune", "--format", "json"]);
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env(name, nobody);
    }
    let outcome = Running::of(&mut command).ended(0).json();
    assert_eq!(ids(&outcome, "removed"), host.olds);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn plan_and_prune_open_no_connection_but_to_the_engine() {
    let host = Old::new();
    for command in ["plan", "prune"] {
        let (ran, log) = traced(&host.secateur, &[command], &["-e", "trace=connect"]);
        ran.ended(0);
        let engine = host.engine.socket().display().to_string();
        let (to_it, others): (Vec<&str>, Vec<&str>) = log
            .lines()
            .filter(|line| line.contains("connect("))
            .partition(|line| line.contains(&engine));
        assert!(!to_it.is_empty() && others.is_empty(), "{log}");
    }
    assert!(host.olds.iter().all(|id| !host.engine.has(id)));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_teardown_hook_that_is_killed_leaves_no_lock() {
    let host = Old::new();
    let proxy = Proxy::before(&host.engine);
    let lock = host.secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    host.secateur.policy(&with_lock(&lock, "flock"));
    let run_lock = host.secateur.state().join("run.lock");
    let is_free = |path: &Path| {
        let file = File::open(path).expect("a lock file");
        file.try_lock().is_ok()
    };
    // As a runner cancels a job: the hook and all that it started, at once.
    let usual = host.secateur.command(&["prune"]);
    let arguments: Vec<_> = usual.get_args().skip(2).collect();
    let gate = proxy.stop("DELETE", "/images/", 1);
    let mut hook = Running::of(
        Command::new("setsid")
            .args(["sh", "-c", "\"$@\"; exit 0", "hook", &PROGRAM, "--host"])
            .arg(proxy.host())
            .args(arguments),
    );
    gate.reached();
    assert!(
        !is_free(&lock) && !is_free(&run_lock),
        "held while an image goes"
    );
    hook.signal_group("KILL");
    assert_eq!(hook.done().code, -1);
    wait_until("both locks are free", || {
        (is_free(&lock) && is_free(&run_lock)).then_some(())
    });
    drop(gate);
    wait_until("the rest is removed", || {
        host.secateur.prune(0);
        host.olds
            .iter()
            .all(|id| !host.engine.has(id))
            .then_some(())
    });
    assert_eq!(host.secateur.open_intents(), NOTHING);
    host.secateur.left_nothing_over();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_of_two_engines_in_turn_keeps_its_rollback_and_its_ages() {
    let engines = [Kind::Overlay28, Kind::Containerd28].map(Engine::start);
    let mut secateur = Secateur::on(&engines[0]);
    secateur.policy(&patient());
    let litter = engines.each_ref().map(|engine| untagged(engine, 1).0);
    let load = |engine: &Engine| engine.load(&Archive::new().noise(1000).tag("roll:1"));
    let rolled = engines.each_ref().map(load);
    let look_at_each = |secateur: &mut Secateur| {
        for engine in &engines {
            secateur.turn_to(&engine.host());
            assert_eq!(secateur.prune(0)["result"], "nothing");
        }
    };
    let first_seen = |secateur: &Secateur| -> Vec<Value> {
        let read = |path: PathBuf| fs::read(path).expect("a ledger");
        let ledgers = secateur.ledgers().into_iter().map(read);
        let ledgers: Vec<Value> = ledgers
            .map(|bytes| serde_json::from_slice(&bytes).expect("JSON"))
            .collect();
        let mut seen = Vec::new();
        for id in litter.iter().flatten() {
            seen.extend(
                ledgers
                    .iter()
                    .map(|it| it["images"][id]["first_seen"].clone()),
            );
        }
        seen
    };
    look_at_each(&mut secateur);
    let began = first_seen(&secateur);
    assert_eq!(
        began.iter().filter(|at| at.is_string()).count(),
        2,
        "{began:?}"
    );
    for engine in &engines {
        load(engine);
    }
    look_at_each(&mut secateur);
    look_at_each(&mut secateur);
    assert_eq!(first_seen(&secateur), began);
    secateur.policy(EAGER);
    for ((engine, litter), rolled) in engines.iter().zip(&litter).zip(&rolled) {
        secateur.turn_to(&engine.host());
        secateur.until_old();
        let goes: Vec<&str> = litter.iter().map(String::as_str).collect();
        secateur.prune_takes(engine, &goes, &[rolled]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rollback_survives_another_graph_driver_in_between() {
    let mut engine = Engine::start(Kind::Overlay28);
    let secateur = Secateur::on(&engine);
    let load = |engine: &Engine| engine.load(&Archive::new().noise(1000).tag("roll:1"));
    // An image has one id under every driver.
    let common = Archive::new().tag("base:1");
    let id = engine.load(&common);
    let rolled = load(&engine);
    secateur.look();
    load(&engine);
    secateur.look();
    engine.use_driver("vfs");
    assert_eq!(engine.load(&common), id);
    load(&engine);
    secateur.look();
    assert!(!engine.has(&rolled));
    engine.use_driver("overlay2");
    secateur.remember_all();
    secateur.until_kept_by(&rolled, &["previous"]);
    secateur.prune_takes(&engine, &[], &[&rolled]);
}
