//! --restore: what is promised and not here comes back from its registry, within what the
//! policy lets it cost, and nothing else changes.

use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::lab::slow_line::SlowLine;
use crate::support::CALM;
use crate::support::proxy::Proxy;
use crate::support::scene::Running;

/// [`EAGER`] with these promises; whether the machine is busy plays no part.
pub(super) fn promising(names: &[String]) -> String {
    format!("{EAGER}[cache]\nimages = {names:?}\n{CALM}")
}

impl Host {
    /// The registry over a slow line, and a user who is logged in there.
    pub(super) fn slow(&self, bytes_per_second: usize) -> SlowLine {
        let line = self.registry.slow_line(bytes_per_second);
        let auth = self.registry.basic_auth();
        self.config(&json!({"auths": {line.address(): {"auth": auth}}}));
        line
    }

    pub(super) fn restore(&self, code: i32, more: &[&str]) -> Value {
        self.verify(code, &[&["--restore"], more].concat())
    }

    pub(super) fn start(&self) -> Running {
        let user = self.user();
        let config = user.to_str().unwrap();
        let args = ["verify-cache", "--restore", "--user-config", config];
        let args = [&args[..], &["--format", "json"]].concat();
        Running::of(&mut self.secateur.command(&args))
    }

    /// The repositories whose manifests engines fetched, each where it first stands.
    fn fetched(&self) -> Vec<String> {
        let mut found = Vec::new();
        for access in self.registry.requests() {
            let path = access.path.strip_prefix("/v2/").unwrap_or_default();
            if let Some((repository, _)) = path.split_once("/blobs/sha256:")
                && access.method == "GET"
                && found.last().map(String::as_str) != Some(repository)
            {
                found.push(repository.to_owned());
            }
        }
        found
    }

    /// Waits until the registry's log has all that was asked so far.
    fn settle(&self, mark: &str) {
        let last = format!("/v2/last/manifests/{mark}");
        self.registry.request("HEAD", &last);
        wait_until("the log is written", || {
            let all = self.registry.requests();
            all.iter().any(|it| it.path == last).then_some(())
        });
    }

    fn restored_in_journal(&self) -> Vec<Value> {
        let journal = self.secateur.journal().into_iter();
        journal.filter(|it| it["event"] == "restored").collect()
    }
}

/// Names and digests that the engine lists, sorted.
pub(super) fn names(engine: &Engine) -> Vec<String> {
    let images = engine.images();
    let lists = images
        .iter()
        .flat_map(|image| [&image["RepoTags"], &image["RepoDigests"]]);
    let mut names: Vec<String> = lists
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn twelve_promised_images_come_back_in_their_order_and_the_next_run_fetches_no_blob() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let line = host.slow(400_000);
        let order = [7, 3, 11, 1, 9, 5, 12, 2, 8, 4, 10, 6];
        let images: Vec<String> = order.iter().map(|n| format!("app{n}:v1")).collect();
        for image in &images {
            host.registry
                .put(image, &Archive::new().noise(40_000).tag("x:1"));
        }
        let promised: Vec<String> = images.iter().map(|image| line.name(image)).collect();
        host.secateur.policy(&promising(&promised));
        host.settle("before");
        let report = host.restore(0, &[]);
        assert_eq!(report["result"], "held", "{report:#}");
        for name in &promised {
            let it = super::line(&report, name);
            assert_eq!(it["restored"]["from"], "registry", "{it:#}");
            let bytes = it["restored"]["bytes"].as_u64().expect("bytes");
            println!("{}: {name}: {bytes} of some 40,000", kind.name());
            assert!(bytes < 100_000, "{it:#}");
        }
        host.settle("after");
        let repositories: Vec<&str> = images.iter().map(|it| it.trim_end_matches(":v1")).collect();
        assert_eq!(host.fetched(), repositories, "{}", kind.name());
        let journal = host.restored_in_journal();
        let told: Vec<&str> = journal
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        assert_eq!(told, promised, "{}", kind.name());

        let (before, blobs) = (names(&host.engine), host.blob_requests());
        let again = host.restore(0, &[]);
        assert!(super::line(&again, &promised[0])["restored"].is_null());
        host.settle("again");
        assert_eq!(host.blob_requests(), blobs, "{}", kind.name());
        assert_eq!(names(&host.engine), before, "{}", kind.name());
        assert_eq!(host.restored_in_journal().len(), 12);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_refuses_a_restore_is_named_and_nothing_was_changed() {
    for kind in Kind::MAIN {
        let mut host = Host::new(kind);
        let app = host.registry.name("app:v1");
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let job = Archive::new().busybox().label("ci.run", "from-its-image");
        host.engine.load(&job.tag("job:1"));
        let proxy = Proxy::before(&host.engine);
        host.secateur.turn_to(&proxy.host());
        let policy = promising(&[app]);
        let lock = host.secateur.dir().join("deploy.lock");
        let locks = format!("[[guard.lock]]\npath = {lock:?}\nkind = \"exists\"\n");
        let plain = format!("{policy}{locks}");
        let refused = |policy: &str, wanted: &str| {
            host.secateur.policy(policy);
            let before = (names(&host.engine), host.blob_requests());
            let report = host.restore(75, &[]);
            let mut kinds = refusals(&report);
            kinds.dedup();
            assert_eq!(kinds, [wanted], "{}: {report:#}", kind.name());
            assert_eq!(report["result"], "refused");
            assert_eq!((names(&host.engine), host.blob_requests()), before);
        };
        fs::write(&lock, "").unwrap();
        refused(&plain, "deploy-lock");
        fs::remove_file(&lock).unwrap();

        let run = fs::File::create(host.secateur.state().join("run.lock")).unwrap();
        run.lock().unwrap();
        refused(&plain, "other-run");
        drop(run);

        let full = plain.replace("start_above_percent = 0", "start_above_percent = 0.2");
        refused(
            &full.replace("stop_below_percent = 0", "stop_below_percent = 0.1"),
            "disk",
        );
        let most = plain.replace("[limits]", "min_free = \"1EiB\"\n[limits]");
        refused(&most, "disk");

        // Some task waits for a processor within the last minute.
        let busy = spinning(|| {
            let text = fs::read_to_string("/proc/pressure/cpu").unwrap();
            let some = text.split("avg60=").nth(1).unwrap();
            !some.starts_with("0.00")
        });
        refused(&plain.replace("= 100\n", "= 0\n"), "cpu-pressure");
        drop(busy);

        let sleep = ["/bin/busybox", "sleep", "600"];
        let own = json!({"Labels": {"ci.run": "run-1"}});
        let job = host.engine.create_container("job:1", &sleep, &own);
        host.engine.container(&job, "start");
        refused(&plain, "busy");
        host.engine.remove_container(&job);

        let line = host.registry.slow_line(1000);
        host.registry
            .put("big:v1", &Archive::new().noise(200_000).tag("x:1"));
        let auth = host.registry.auth_header_for(line.address());
        let pull = host
            .engine
            .pull_in_background(&line.name("big:v1"), Some(&auth));
        wait_until("the pull is under way", || {
            (line.passed() > 3000).then_some(())
        });
        refused(&plain, "pull");
        pull.cancel();
        drop(line);

        let posted = proxy
            .seen()
            .into_iter()
            .filter(|it| !it.starts_with("GET ") && !it.starts_with("HEAD "));
        assert_eq!(posted.collect::<Vec<_>>(), [""; 0], "{}", kind.name());
        // A label that a container has from its image is not its own.
        let other = host.engine.create_container("job:1", &sleep, &json!({}));
        host.engine.container(&other, "start");
        host.secateur.policy(&plain);
        wait_until("the pull that was given up to leave no sign", || {
            host.run(&["--restore"]).code.eq(&0).then_some(())
        });
        host.engine.remove_container(&other);
    }
}

/// Keeps all processors busy until it is dropped; returns once `seen` is true.
fn spinning(seen: impl Fn() -> bool) -> impl Drop {
    struct Spin(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Spin {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let spin = Spin(std::sync::Arc::default());
    let threads = thread::available_parallelism().map_or(2, usize::from) + 1;
    for _ in 0..threads {
        let stop = std::sync::Arc::clone(&spin.0);
        thread::spawn(move || while !stop.load(std::sync::atomic::Ordering::Relaxed) {});
    }
    wait_until("tasks wait for a processor", || seen().then_some(()));
    spin
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_recorded_image_comes_back_and_the_new_one_only_with_follow() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let app = host.registry.name("app:v1");
        let old = host.registry.put("app:v1", &Archive::new().tag("x:1"));
        host.pull(&app);
        let id = host.engine.id(&app);
        host.secateur.policy(&promising(std::slice::from_ref(&app)));
        host.secateur.look();
        let baseline = host.path("baseline.json");
        host.verify(0, &["--record", &baseline]);
        let new = host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let repository = host.registry.name("app");
        let comes_back = |args: &[&str], digest: &str| {
            host.engine.remove(&app);
            let pinned = format!("{repository}@{digest}");
            if host.engine.has(&pinned) {
                host.engine.remove(&pinned);
            }
            let report = host.restore(0, args);
            let it = super::line(&report, &app);
            assert_eq!(
                it["restored"]["from"],
                "registry",
                "{}: {it:#}",
                kind.name()
            );
            assert!(host.engine.has(&pinned), "{}: no {pinned}", kind.name());
            assert_eq!(host.engine.id(&app), host.engine.id(&pinned));
        };
        // By the ledger, and by the baseline.
        comes_back(&[], &old);
        assert_eq!(host.engine.id(&app), id, "{}", kind.name());
        comes_back(&["--against", &baseline], &old);
        comes_back(&["--follow"], &new);

        // The tag leads to the new image now: it is not moved, with or without --follow.
        for args in [
            &["--against", &baseline][..],
            &["--against", &baseline, "--follow"],
        ] {
            let before = names(&host.engine);
            let report = host.restore(1, args);
            let it = super::line(&report, &app);
            assert_eq!(it["not_restored"]["kind"], "elsewhere", "{it:#}");
            assert_eq!(it["state"], "stale", "{it:#}");
            assert_eq!(names(&host.engine), before, "{}", kind.name());
        }

        // The image is here, and only its tag is not: no registry is asked for a manifest.
        host.secateur.look();
        host.engine.tag(&app, "other:1");
        host.engine.remove(&app);
        let report = host.restore(0, &[]);
        let it = super::line(&report, &app);
        assert_eq!(it["restored"]["from"], "here", "{}: {it:#}", kind.name());
        assert_eq!(host.engine.id(&app), host.engine.id("other:1"));

        // The registry no longer has the digest that is remembered.
        host.engine.remove("other:1");
        host.engine.remove(&app);
        let digest = format!("{repository}@{new}");
        if host.engine.has(&digest) {
            host.engine.remove(&digest);
        }
        host.registry
            .request("DELETE", &format!("/v2/app/manifests/{new}"));
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let report = host.restore(1, &[]);
        let why = &super::line(&report, &app)["not_restored"];
        assert_eq!(why["kind"], "gone", "{}: {why:#}", kind.name());
        assert!(
            why["message"].as_str().unwrap().contains("--follow"),
            "{why}"
        );
        assert!(!host.engine.has(&app), "{}", kind.name());
        host.restore(0, &["--follow"]);
    }
}

const MIB: usize = 1 << 20;

/// Bytes that are free where the engine keeps its images.
fn free(engine: &Engine) -> u64 {
    let stat = nix::sys::statvfs::statvfs(engine.data_root()).expect("figures");
    stat.blocks_available() * stat.fragment_size()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_pull_that_would_fill_the_disk_is_given_up_before_and_what_was_complete_stays() {
    for kind in Kind::MAIN {
        let engine = Engine::builder(kind).disk("200m").start();
        let registry = Registry::start();
        let secateur = Secateur::on(&engine);
        let host = Host {
            engine,
            registry,
            secateur,
        };
        let line = host.slow(20 * MIB);
        host.registry
            .put("small:v1", &Archive::new().noise(2 * MIB).tag("x:1"));
        // Many layers, of which the engine tells the size only as it comes to them.
        let big = (0..12).fold(Archive::new(), |image, _| image.noise(10 * MIB));
        host.registry.put("big:v1", &big.tag("x:1"));
        host.registry.put("last:v1", &Archive::new().tag("x:1"));
        let promised = ["small:v1", "big:v1", "last:v1"].map(|it| line.name(it));
        let least = 120 * MIB as u64;
        let policy = promising(&promised).replace("[limits]", "min_free = \"120MiB\"\n[limits]");
        host.secateur
            .policy(&policy.replace("= 100\n", "= 100\nmax_share = \"1GiB\"\n"));
        let mut run = host.start();
        let mut lowest = u64::MAX;
        while !run.is_done() {
            lowest = lowest.min(free(&host.engine));
            thread::sleep(Duration::from_millis(5));
        }
        let report = run.ended(1).json();
        let kind_of = |name: &String| super::line(&report, name)["not_restored"]["kind"].clone();
        assert_eq!(
            super::line(&report, &promised[0])["state"],
            "ready",
            "{report:#}"
        );
        assert_eq!(kind_of(&promised[1]), "disk", "{}: {report:#}", kind.name());
        assert_eq!(kind_of(&promised[2]), "disk", "{}: {report:#}", kind.name());
        println!(
            "{}: {lowest} bytes were free at the lowest, wanted {least}",
            kind.name()
        );
        assert!(lowest >= least, "{}: {lowest}", kind.name());
        assert!(!host.engine.has(&promised[1]) && host.engine.has(&promised[0]));
        // The engine fetches no more.
        let mut passed = line.passed();
        wait_until("the engine to stop fetching", || {
            thread::sleep(Duration::from_millis(500));
            let before = std::mem::replace(&mut passed, line.passed());
            (before == passed).then_some(())
        });
        assert!(passed < 100 * MIB as u64, "{}: {passed}", kind.name());
        println!(
            "{}: {passed} bytes passed, {} free afterwards",
            kind.name(),
            free(&host.engine)
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_run_that_is_asked_to_end_or_killed_in_mid_pull_leaves_what_was_complete_and_the_next_ends_it()
{
    for kind in Kind::MAIN {
        for signal in ["TERM", "INT", "KILL"] {
            let host = Host::new(kind);
            let line = host.slow(100_000);
            host.registry.put("small:v1", &Archive::new().tag("x:1"));
            host.registry
                .put("big:v1", &Archive::new().noise(3_000_000).tag("x:1"));
            let promised = ["small:v1", "big:v1"].map(|it| line.name(it));
            host.secateur.policy(&promising(&promised));
            let mut run = host.start();
            wait_until("the second image is under way", || {
                (line.passed() > 200_000).then_some(())
            });
            run.signal(signal);
            let ended = run.done();
            if signal != "KILL" {
                let report = ended.ended(1).json();
                let [first, second] = [0, 1].map(|n| super::line(&report, &promised[n]));
                assert_eq!(first["restored"]["from"], "registry", "{first:#}");
                assert_eq!(second["not_restored"]["kind"], "interrupted", "{second:#}");
            }
            assert!(host.engine.has(&promised[0]) && !host.engine.has(&promised[1]));
            let mut passed = line.passed();
            wait_until("the engine to stop fetching", || {
                thread::sleep(Duration::from_millis(500));
                let before = std::mem::replace(&mut passed, line.passed());
                (before == passed).then_some(())
            });
            assert!(passed < 2_000_000, "{}: {passed}", kind.name());
            line.open();
            // A pull that was given up may look for a while as if it were under way.
            let took = Instant::now();
            let report = wait_until("the next run", || {
                let ran = host.run(&["--restore", "--format", "json"]);
                (ran.code != 75).then(|| ran.ended(0).json())
            });
            println!(
                "{} {signal}: {:?} until the next run",
                kind.name(),
                took.elapsed()
            );
            assert_eq!(
                super::line(&report, &promised[1])["restored"]["from"],
                "registry"
            );
            let tags = names(&host.engine);
            let tags: Vec<&String> = tags.iter().filter(|it| !it.contains('@')).collect();
            assert_eq!(tags.len(), 2, "{}: {tags:?}", kind.name());
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_that_sets_the_tag_while_its_image_is_pulled_keeps_it() {
    for kind in Kind::MAIN {
        let mut host = Host::new(kind);
        let app = host.registry.name("app:v1");
        host.registry
            .put("app:v1", &Archive::new().noise(1000).tag("x:1"));
        host.engine
            .load(&Archive::new().noise(1000).tag("deployed:1"));
        let proxy = Proxy::before(&host.engine);
        host.secateur.turn_to(&proxy.host());
        host.secateur.policy(&promising(std::slice::from_ref(&app)));
        let gate = proxy.stop("POST", "/images/create", 1);
        let run = host.start();
        let asked = gate.reached();
        assert!(asked.contains("sha256"), "{asked}");
        host.engine.tag("deployed:1", &app);
        gate.let_through();
        // Something is here by that name, and that is what was promised.
        let report = run.ended(0).json();
        let line = super::line(&report, &app);
        assert_eq!(line["not_restored"]["kind"], "failed", "{report:#}");
        let deployed = host.engine.id("deployed:1");
        assert_eq!(host.engine.id(&app), deployed, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn deploys_that_hold_their_lock_for_moments_end_no_restore() {
    let host = Host::new(Kind::Overlay28);
    let lock = host.secateur.dir().join("deploy.lock");
    let images: Vec<String> = (0..8).map(|n| format!("app{n}:v1")).collect();
    for image in &images {
        host.registry
            .put(image, &Archive::new().noise(1000).tag("x:1"));
    }
    let promised: Vec<String> = images.iter().map(|it| host.registry.name(it)).collect();
    let guard = format!("[[guard.lock]]\npath = {lock:?}\nkind = \"flock\"\n");
    host.secateur
        .policy(&format!("{}{guard}", promising(&promised)));
    let file = fs::File::create(&lock).unwrap();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let deploys = thread::spawn(move || {
        let mut count = 0;
        // Held for a third of the time, by deploys that ask for nothing else.
        while ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            file.lock().unwrap();
            thread::sleep(Duration::from_millis(20));
            file.unlock().unwrap();
            thread::sleep(Duration::from_millis(40));
            count += 1;
        }
        count
    });
    let ran = host.run(&["--restore", "--format", "json"]);
    drop(done);
    let count = deploys.join().unwrap();
    println!("{count} deploys");
    assert!(count > 4, "{count}");
    ran.ended(0);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_is_listed_and_not_all_here_is_fetched_again() {
    // 26 lists no such image.
    for kind in Kind::CONTAINERD
        .into_iter()
        .filter(|it| *it != Kind::Containerd26)
    {
        let host = Host::new(kind);
        let app = host.registry.name("app:v1");
        let archive = Archive::new().noise(50_000);
        let index = || Index::default().linux(HERE, &archive).attested();
        let digest = host.registry.put_index_exactly("app:v1", index());
        let top = archive.layers().last().expect("a layer");
        host.engine.load_index("app:1", index().without(top));
        host.engine.tag("app:1", &app);
        assert_eq!(host.engine.id(&app), digest, "{}", kind.name());
        host.secateur.policy(&promising(std::slice::from_ref(&app)));
        host.verify(1, &["--deep"]);
        // What was to be completed, and was not, is not held.
        let nowhere = "127.0.0.1:1/shop/app:1".to_owned();
        host.engine.tag(&app, &nowhere);
        host.secateur
            .policy(&promising(std::slice::from_ref(&nowhere)));
        let report = host.restore(1, &[]);
        let it = super::line(&report, &nowhere);
        assert_eq!(it["not_restored"]["kind"], "failed", "{it:#}");
        host.engine.remove(&nowhere);
        host.secateur.policy(&promising(std::slice::from_ref(&app)));
        let report = host.restore(0, &["--deep"]);
        let it = super::line(&report, &app);
        assert_eq!(
            it["restored"]["from"],
            "registry",
            "{}: {it:#}",
            kind.name()
        );
        assert_eq!(host.engine.id(&app), digest, "{}", kind.name());
        assert_eq!(host.engine.id("app:1"), digest, "{}", kind.name());
        let again = host.restore(0, &["--deep"]);
        assert!(super::line(&again, &app)["restored"].is_null());
    }
}
