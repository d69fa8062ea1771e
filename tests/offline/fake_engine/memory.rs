//! What is remembered between runs: of each engine its own, no more than is read
//! again, and which policy there was.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use super::{KIND, MOST_KIB};
use crate::fake::Fake;
use crate::fake::fault::Fault;
use crate::fake::recorded::Recorded;
use crate::fake::weighed;
use crate::fake::world::World;
use crate::support::{CALM, EAGER, Ran, Secateur, ids, patient};

/// An engine with so many images without any name, and nothing else.
fn nameless(count: usize) -> Fake {
    Fake::with(|root| {
        let mut world = World::crowd(&Recorded::read(KIND), root, 0);
        let image = |number| {
            json!({"Id": format!("sha256:{number:064x}"), "Containers": 0, "Created": 1,
                "Labels": null, "ParentId": "", "RepoDigests": [], "RepoTags": [], "SharedSize": 0, "Size": 1})
        };
        world.images = (0..count).map(image).collect();
        world
    })
}

/// An engine of which the first nameless image is the rollback of `app:rolled`,
/// and another that has the same images; both are remembered in one folder.
struct Two {
    engines: [Fake; 2],
    secateur: Secateur,
    rollback: String,
}

impl Two {
    fn new() -> Two {
        let engines = [nameless(4), nameless(4)];
        engines[1].world(|world| world.info["ID"] = json!("ANOTHER"));
        let secateur = Secateur::at(&engines[0].host(), &patient());
        let nameless = engines[0].world(|world| world.ids());
        let give = |id: &str, tags: Value| {
            engines[0].world(|world| world.image(id)["RepoTags"] = tags);
        };
        give(&nameless[0], json!(["app:rolled"]));
        assert_eq!(secateur.prune(0)["result"], "nothing");
        give(&nameless[0], json!([]));
        give(&nameless[1], json!(["app:rolled"]));
        assert_eq!(secateur.prune(0)["result"], "nothing");
        Two {
            engines,
            secateur,
            rollback: nameless[0].clone(),
        }
    }

    fn turn_to(&mut self, engine: usize) {
        self.secateur.turn_to(&self.engines[engine].host());
    }

    /// Back at the first engine: what nobody needs goes, and the rollback stays.
    #[track_caller]
    fn rollback_survives(&mut self) {
        self.turn_to(0);
        self.secateur.policy(EAGER);
        let mut gone = ids(&self.secateur.prune(0), "removed");
        self.secateur.until_old();
        gone.extend(ids(&self.secateur.prune(0), "removed"));
        assert!(!gone.is_empty(), "something goes");
        assert!(!gone.contains(&self.rollback), "the rollback went");
        let plan = self.secateur.plan();
        let why = crate::support::reasons(&plan, &self.rollback);
        assert!(why.contains(&"previous".to_owned()), "{why:?}");
        let names = fs::read_dir(self.secateur.state()).expect("the state folder");
        let aside = |name: &String| name.contains("corrupt");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        assert_eq!(names.filter(aside).collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn a_rollback_survives_a_prune_of_another_engine_in_between() {
    let mut two = Two::new();
    two.turn_to(1);
    assert_eq!(two.secateur.prune(0)["result"], "nothing");
    two.rollback_survives();
}

#[test]
fn a_rollback_survives_a_refused_run_a_plan_and_a_check_of_another_engine() {
    let mut two = Two::new();
    two.turn_to(1);
    let lock = two.secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("a lock");
    let shown = lock.display();
    let locked = format!("[[guard.lock]]\npath = \"{shown}\"\nkind = \"exists\"\n");
    two.secateur.policy(&(patient() + &locked));
    two.secateur.prune(75);
    two.secateur.plan();
    two.secateur.run(&["verify-cache"]);
    two.rollback_survives();
}

#[test]
fn a_ledger_of_an_older_secateur_is_taken_over_by_its_engine_alone() {
    let mut two = Two::new();
    // As it lay there before each engine had a file of its own.
    let own = two.secateur.ledger();
    let text = fs::read_to_string(&own).expect("the ledger");
    let mut ledger: Value = serde_json::from_str(&text).expect("JSON");
    ledger.as_object_mut().expect("an object").remove("sum");
    ledger["format"] = json!(1);
    fs::remove_file(own).expect("the ledger");
    let old = two.secateur.state().join("ledger.json");
    fs::write(old, ledger.to_string()).expect("the old ledger");
    two.turn_to(1);
    assert_eq!(two.secateur.prune(0)["result"], "nothing");
    two.rollback_survives();
}

#[test]
fn what_a_deploy_makes_a_rollback_while_its_lock_is_waited_for_stays() {
    let fake = nameless(3);
    let secateur = Secateur::at(&fake.host(), &patient());
    let images = fake.world(|world| world.ids());
    let give = |image: &str, tags: Value| {
        fake.world(|world| world.image(image)["RepoTags"] = tags);
    };
    give(&images[0], json!(["app:1"]));
    assert_eq!(secateur.prune(0)["result"], "nothing");
    // The deploy takes the name away, and gives it to another image later.
    give(&images[0], json!([]));
    assert_eq!(secateur.prune(0)["result"], "nothing");
    let lock = secateur.dir().join("deploy.lock");
    let shown = lock.display();
    secateur.policy(&format!(
        "{EAGER}[[guard.lock]]\npath = \"{shown}\"\nkind = \"exists\"\n"
    ));
    secateur.until_old();
    fs::write(&lock, "").expect("a lock");
    let lists = || {
        let seen = fake.seen();
        let lists = seen.iter().filter(|line| line.contains("/images/json"));
        lists.count()
    };
    let before = lists();
    let outcome = std::thread::scope(|threads| {
        let run = threads.spawn(|| secateur.prune(0));
        crate::lab::wait_until("the images to be listed", || {
            (lists() > before).then_some(())
        });
        give(&images[1], json!(["app:1"]));
        fs::remove_file(&lock).expect("the lock");
        run.join().expect("a run")
    });
    assert_eq!(
        ids(&outcome, "removed"),
        [images[2].as_str()],
        "{outcome:#}"
    );
}

#[test]
fn what_a_deploy_makes_a_rollback_while_its_lock_is_waited_for_in_mid_run_stays() {
    let fake = nameless(4);
    let secateur = Secateur::at(&fake.host(), &patient());
    let images = fake.world(|world| world.ids());
    let give = |image: &str, tags: Value| {
        fake.world(|world| world.image(image)["RepoTags"] = tags);
    };
    give(&images[2], json!(["app:1"]));
    assert_eq!(secateur.prune(0)["result"], "nothing");
    give(&images[2], json!([]));
    assert_eq!(secateur.prune(0)["result"], "nothing");
    let path = secateur.dir().join("deploy.lock");
    let lock = fs::File::create(&path).expect("a lock");
    let shown = path.display();
    secateur.policy(&format!(
        "{EAGER}[[guard.lock]]\npath = \"{shown}\"\nkind = \"flock\"\n"
    ));
    secateur.until_old();
    // So slow that the run lets go of its lock after this one.
    let slow = Fault::Late(Duration::from_millis(1100));
    fake.fault_at("DELETE", "/images/", 1, slow);
    let outcome = std::thread::scope(|threads| {
        let run = threads.spawn(|| secateur.prune(0));
        crate::lab::wait_until("the first removal", || {
            (!fake.changes().is_empty()).then_some(())
        });
        let lock = Flock::lock(lock, FlockArg::LockExclusive).expect("the lock");
        give(&images[3], json!(["app:1"]));
        // A deploy that lasts: nothing shows from here that the run waits for it.
        std::thread::sleep(Duration::from_millis(1500));
        lock.unlock().expect("unlocked");
        run.join().expect("a run")
    });
    assert_eq!(ids(&outcome, "removed"), images[..2], "{outcome:#}");
    assert!(fake.world(|world| world.has(&images[2])), "the rollback");
}

/// How long the longest file of its state folder is: the ledger.
fn longest_file(secateur: &Secateur) -> u64 {
    let files = fs::read_dir(secateur.state()).expect("the state folder");
    let length = |file: fs::DirEntry| file.metadata().expect("a file").len();
    let lengths = files.map(|file| length(file.expect("an entry")));
    lengths.max().expect("a file")
}

/// Images of which each has 40 long tags, other ones at each look.
fn changes_its_tags(world: &mut World, look: usize) {
    let path = "/a-rather-long-part-of-a-name".repeat(6);
    for (number, image) in world.images.iter_mut().enumerate() {
        let tag = |n| format!("registry.example{path}/{number}:build-{look}-{n}");
        image["RepoTags"] = json!((0..40).map(tag).collect::<Vec<_>>());
    }
}

#[test]
fn a_ledger_of_names_that_change_is_read_again_after_any_number_of_runs() {
    let fake = nameless(700);
    let secateur = Secateur::at(&fake.host(), EAGER);
    let (mut most, mut longest) = (0, 0);
    // All names of six looks in full are some 36 MB, and grow with each.
    for look in 0..6 {
        fake.world(|world| changes_its_tags(world, look));
        let ran = weighed::run(&secateur.command(&["prune"]));
        assert_eq!(ran.code, 0, "run {look}: {:.2000}", ran.stderr);
        let length = longest_file(&secateur);
        println!(
            "run {look}: {} KiB, a ledger of {} KiB",
            ran.peak,
            length >> 10
        );
        (most, longest) = (most.max(ran.peak), longest.max(length));
    }
    assert!(longest < 16 << 20, "{longest} bytes");
    assert!(most < MOST_KIB, "{most} KiB");
}

const USUAL: &str = "/etc/secateur/policy.toml";

/// As somebody types it who names no policy.
fn unnamed(secateur: &Secateur, args: &[&str]) -> Ran {
    assert!(
        !std::path::Path::new(USUAL).exists(),
        "{USUAL} is for others"
    );
    let usual = secateur.command(args);
    let mut command = Command::new(usual.get_program());
    let mut rest = usual.get_args();
    while let Some(argument) = rest.next() {
        if argument == "--policy" {
            rest.next();
        } else {
            command.arg(argument);
        }
    }
    for name in ["SECATEUR_POLICY", "STATE_DIRECTORY", "DOCKER_HOST"] {
        command.env_remove(name);
    }
    Ran::of(command.output().expect("the program runs"))
}

#[test]
fn a_run_without_the_policy_file_of_the_last_run_refuses_until_that_is_meant() {
    let fake = Fake::new(KIND);
    let secateur = Secateur::at(&fake.host(), &format!("{EAGER}{CALM}"));
    // The first run ever may have none.
    unnamed(&secateur, &["plan"]).ended(0);
    unnamed(&secateur, &["prune"]).ended(0);
    // Neither a restore nor a run that reaches no engine is a prune.
    let restored = secateur.run(&["verify-cache", "--restore"]);
    assert!(
        restored.stdout.contains("nothing is promised"),
        "{restored:?}"
    );
    let nowhere = ["prune", "--host", "unix:///nonexistent.sock"];
    secateur.run(&nowhere).ended(69);
    unnamed(&secateur, &["prune"]).ended(0);
    secateur.run(&["prune"]).ended(0);
    let before = fake.changes();
    let file = secateur.policy_path();
    for gone in [false, true] {
        if gone {
            fs::remove_file(&file).expect("the policy");
        }
        for command in ["plan", "prune", "verify-cache"] {
            let ran = unnamed(&secateur, &[command]).ended(78);
            let shown = file.display().to_string();
            assert!(ran.stderr.contains(&shown), "{ran:?}");
            assert!(ran.stderr.contains("--policy FILE"), "{ran:?}");
            assert_eq!(ran.stderr.contains("is not there, and"), gone, "{ran:?}");
        }
    }
    assert_eq!(fake.changes(), before);
    // Put back: it counts again. Named by the environment: the same.
    secateur.policy(EAGER);
    secateur.run(&["prune"]).ended(0);
    // Said to be meant.
    fs::remove_file(secateur.state().join("policy")).expect("what is remembered");
    unnamed(&secateur, &["prune"]).ended(0);
}
