//! verify-cache on live engines: promised images that are here, gone, damaged,
//! moved upstream, deployed again.

mod at_once;
mod docker_config;
mod empty;
mod names;
mod repair;
mod restore;

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::image::{Archive, sha256};
use crate::lab::index::{ELSEWHERE, HERE, Index};
use crate::lab::{Engine, Kind, Registry, USER, base64url, wait_until};
use crate::support::{EAGER, Ran, Secateur, page, refusals, with_lock};
use serde_json::{Value, json};

/// One host with a registry and a user who is logged in.
struct Host {
    engine: Engine,
    registry: Registry,
    secateur: Secateur,
}

impl Host {
    fn new(kind: Kind) -> Host {
        let engine = Engine::start(kind);
        let registry = Registry::start();
        let secateur = Secateur::on(&engine);
        let host = Host {
            engine,
            registry,
            secateur,
        };
        host.log_in(host.registry.password());
        host
    }

    /// The docker folder of the user who deploys.
    fn user(&self) -> PathBuf {
        self.secateur.dir().join("docker")
    }

    fn config(&self, config: &Value) {
        fs::create_dir_all(self.user()).unwrap();
        fs::write(self.user().join("config.json"), config.to_string()).unwrap();
    }

    fn log_in(&self, password: &str) {
        let auth = base64url(format!("{USER}:{password}").as_bytes());
        assert!(!auth.contains(['-', '_']), "plain base64");
        self.config(&json!({"auths": {self.registry.address(): {"auth": auth}}}));
    }

    fn run(&self, args: &[&str]) -> Ran {
        let user = self.user();
        let common = ["verify-cache", "--user-config", user.to_str().unwrap()];
        self.secateur.run(&[&common, args].concat())
    }

    /// The report as JSON; the run must end with this code.
    #[track_caller]
    fn verify(&self, code: i32, args: &[&str]) -> Value {
        self.run(&[&["--format", "json"], args].concat())
            .ended(code)
            .json()
    }

    fn pull(&self, name: &str) {
        self.engine.pull(name, Some(&self.registry.auth_header()));
    }

    fn blob_requests(&self) -> usize {
        let requests = self.registry.requests();
        requests
            .iter()
            .filter(|access| access.path.contains("/blobs/sha256:"))
            .count()
    }

    fn path(&self, name: &str) -> String {
        self.secateur.dir().join(name).display().to_string()
    }
}

/// What a report says of one image, which it names in full.
#[track_caller]
fn line<'a>(report: &'a Value, image: &str) -> &'a Value {
    let full = match image.split_once('/') {
        None if image.starts_with("sha256:") => image.to_owned(),
        None => format!("docker.io/library/{image}"),
        Some((first, _)) if first.contains(['.', ':']) => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
    };
    let images = report["images"].as_array().expect("images");
    let found = images.iter().find(|line| line["image"] == full);
    found.unwrap_or_else(|| panic!("{full} in {report:#}"))
}

/// One answer of a report.
#[track_caller]
fn check<'a>(report: &'a Value, image: &str, kind: &str) -> &'a Value {
    let image = line(report, image);
    let checks = image["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["kind"] == kind)
        .unwrap_or_else(|| panic!("{kind} in {report:#}"))
}

/// Holds one answer against what it should be; the words are parts of its message.
#[track_caller]
fn says(kind: Kind, report: &Value, image: &str, what: &str, status: &str, words: &[&str]) {
    let check = check(report, image, what);
    assert_eq!(check["status"], status, "{}: {report:#}", kind.name());
    let message = check["message"].as_str().expect("a message");
    for word in words {
        assert!(
            message.contains(word),
            "{}: {word:?} in {message:?}",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_after_the_prune_of_a_torn_down_one_fetches_no_layer() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put(
            "app:v1",
            &Archive::new().busybox().noise(3_000_000).tag("x:1"),
        );
        let app = host.registry.name("app:v1");
        host.secateur
            .policy(&format!("{EAGER}[cache]\nimages = [\"{app}\"]\n"));
        let baseline = host.path("baseline.json");

        let first = host.verify(1, &["--redeploy", "--record", &baseline]);
        says(
            kind,
            &first,
            &app,
            "reused",
            "broken",
            &["a deploy fetched 3 layers"],
        );
        let fetched = host.blob_requests();
        assert!(
            fetched > 0,
            "{}: the first deploy came over the line",
            kind.name()
        );

        let container = host
            .engine
            .create_container(&app, &["/bin/busybox", "true"], &json!({}));
        host.engine.remove_container(&container);
        host.secateur.remember_all();
        host.secateur.prune(0);

        let again = host.verify(0, &["--redeploy", "--against", &baseline]);
        assert_eq!(again["result"], "held", "{again:#}");
        says(
            kind,
            &again,
            &app,
            "reused",
            "ok",
            &["fetched no layer", "when recorded"],
        );
        says(kind, &again, &app, "present", "ok", &["as recorded"]);
        says(kind, &again, &app, "current", "ok", &[]);
        says(kind, &again, &app, "authenticated", "ok", &[]);
        // The log of what was asked last shows that the log is complete up to there.
        let last = format!("/v2/last/manifests/{}", kind.major());
        host.registry.request("HEAD", &last);
        wait_until("the log is written", || {
            host.registry
                .requests()
                .iter()
                .any(|a| a.path == last)
                .then_some(())
        });
        assert_eq!(
            host.blob_requests(),
            fetched,
            "{}: no blob was asked for",
            kind.name()
        );
        println!(
            "{}: {}",
            kind.name(),
            check(&again, &app, "reused")["message"]
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_service_that_is_deployed_again_fetches_no_layer() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.engine.swarm_init();
        host.registry
            .put("web:v1", &Archive::new().busybox().tag("x:1"));
        // As docker's client pins it, and on overlay2 nothing but the digest is left of it.
        let web = host.registry.pinned("web:v1");
        let auth = host.registry.auth_header();
        let deploy = || {
            host.engine.service_create("web", &web, 1, Some(&auth));
            host.engine.wait_tasks("web", &web, "running", 1);
            host.engine.service_remove("web");
        };
        deploy();
        let fetched = host.blob_requests();
        host.secateur
            .policy(&format!("{EAGER}[cache]\nimages = [\"{web}\"]\n"));
        host.secateur.remember_all();
        host.secateur.prune(0);
        let report = host.verify(0, &["--redeploy"]);
        says(kind, &report, &web, "present", "ok", &[]);
        says(kind, &report, &web, "reused", "ok", &["fetched no layer"]);
        deploy();
        assert_eq!(
            host.blob_requests(),
            fetched,
            "{}: no blob was asked for",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_somebody_pruned_is_gone_since_when_it_was_last_seen() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let app = host.registry.name("app:v1");
        host.pull(&app);
        host.secateur.prune(0);
        host.verify(0, &[&app]);
        let output = host.engine.docker(&["image", "prune", "-af"]);
        assert!(output.status.success(), "{output:?}");
        let report = host.verify(1, &[&app]);
        says(
            kind,
            &report,
            &app,
            "present",
            "broken",
            &["gone", "last seen at 2", "secateur did not remove it"],
        );
        // A prune in between forgets the image, and not when it was last here.
        host.secateur.prune(0);
        let later = host.verify(1, &[&app]);
        let message = |report| check(report, &app, "present")["message"].clone();
        assert_eq!(message(&later), message(&report), "{}", kind.name());
        let text = host.run(&[&app]).ended(1).stdout;
        assert!(text.ends_with("broken: 1 of 1 image\n"), "{text}");
        let (_, table) = text.split_once("\n\n").expect("a head and a table");
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_we_removed_is_said_to_be_removed_by_us() {
    let kind = Kind::Overlay28;
    let host = Host::new(kind);
    host.registry.put("app:v1", &Archive::new().tag("x:1"));
    let pin = format!(
        "{}@{}",
        host.registry.name("app"),
        host.registry.digest("app:v1")
    );
    host.pull(&pin);
    host.secateur
        .policy(&EAGER.replace("[disk]", "digest_pinned = \"1s\"\n[disk]"));
    let baseline = host.path("baseline.json");
    host.verify(0, &["--record", &baseline]);
    host.secateur.remember();
    host.secateur.prune(0);
    let report = host.verify(1, &["--against", &baseline]);
    says(
        kind,
        &report,
        &pin,
        "present",
        "broken",
        &["removed by secateur at 2", "run 2"],
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_baseline_holds_across_a_restart_and_names_what_went() {
    for kind in Kind::MAIN {
        let mut host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let app = host.registry.name("app:v1");
        host.pull(&app);
        host.engine.small("local:1");
        let baseline = host.path("baseline.json");
        host.verify(0, &["--record", &baseline]);
        let recorded: Value = serde_json::from_slice(&fs::read(&baseline).unwrap()).unwrap();
        assert_eq!(recorded["schema"], "secateur/baseline/1");
        assert_eq!(
            recorded["images"].as_array().unwrap().len(),
            2,
            "{recorded:#}"
        );

        host.engine.restart();
        let held = host.verify(0, &["--against", &baseline]);
        assert_eq!(held["result"], "held", "{}: {held:#}", kind.name());
        says(kind, &held, "local:1", "present", "ok", &["as recorded"]);

        host.engine.remove("local:1").ok("remove");
        let report = host.verify(1, &["--against", &baseline]);
        says(
            kind,
            &report,
            "local:1",
            "present",
            "broken",
            &["gone", "recorded at 2"],
        );
        says(kind, &report, &app, "present", "ok", &[]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rebuilt_name_is_moved_while_the_recorded_image_is_here() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let old = host.engine.small("local:1");
        host.engine.tag(&old, "local:kept");
        let baseline = host.path("baseline.json");
        host.verify(0, &["--record", &baseline, "local:1"]);
        host.engine.small("local:1");
        let report = host.verify(0, &["--against", &baseline]);
        says(
            kind,
            &report,
            "local:1",
            "present",
            "moved",
            &["is still here"],
        );
    }
}

/// A credential helper of that name in a folder of its own.
fn helper(dir: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(dir).unwrap();
    let file = dir.join(format!("docker-credential-{name}"));
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn each_fault_of_credentials_has_its_own_words_and_none_shows_a_secret() {
    let kind = Kind::Overlay28;
    let host = Host::new(kind);
    let password = host.registry.password().to_owned();
    host.registry.put("app:v1", &Archive::new().tag("x:1"));
    let app = host.registry.name("app:v1");
    host.pull(&app);
    let bin = host.secateur.dir().join("bin");
    let answer = |user: &str| {
        format!("cat >/dev/null; echo '{{\"Username\":\"{user}\",\"Secret\":\"{password}\"}}'")
    };
    helper(&bin, "good", &answer(USER));
    helper(&bin, "token", &answer("<token>"));
    helper(
        &bin,
        "bad",
        &format!("echo 'cannot unlock {password}'; echo {password} >&2; exit 1"),
    );
    helper(
        &bin,
        "none",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    let address = host.registry.address().to_owned();
    let by = |name: &str| json!({"credHelpers": {address.as_str(): name}});
    let wrong = base64url(format!("{USER}:not-{password}").as_bytes());
    let right = base64url(format!("{USER}:{password}").as_bytes());
    let cases: Vec<(&str, Value, i32, &str, &str)> = vec![
        (
            "right",
            json!({"auths": {address.as_str(): {"auth": right}}}),
            0,
            "ok",
            "takes the credentials of",
        ),
        (
            "helper",
            by("good"),
            0,
            "ok",
            "takes the credentials of docker-credential-good",
        ),
        (
            "store",
            json!({"credsStore": "good"}),
            0,
            "ok",
            "docker-credential-good",
        ),
        (
            "wrong",
            json!({"auths": {address.as_str(): {"auth": wrong}}}),
            1,
            "broken",
            "refuses the credentials",
        ),
        ("none", json!({}), 1, "broken", "no credentials found"),
        (
            "empty helper",
            by("none"),
            1,
            "broken",
            "no credentials found",
        ),
        (
            "failing helper",
            by("bad"),
            1,
            "broken",
            "the credential helper failed",
        ),
        (
            "missing helper",
            by("absent"),
            1,
            "broken",
            "docker-credential-absent is missing",
        ),
        (
            "broken file",
            json!({"auths": password}),
            1,
            "broken",
            "cannot be used",
        ),
    ];
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for (name, config, code, status, words) in cases {
        host.config(&config);
        for format in ["json", "text"] {
            let user = host.user();
            let args = [
                "verify-cache",
                "-v",
                "--format",
                format,
                "--registry",
                "--user-config",
                user.to_str().unwrap(),
                &app,
            ];
            let output = host
                .secateur
                .command(&args)
                .env("PATH", &path)
                .output()
                .unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(code), "{name}: {said}");
            assert!(
                !said.contains(&password) && !said.contains(&right) && !said.contains(&wrong),
                "{name}: {said}"
            );
            if format == "json" {
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                says(kind, &report, &app, "authenticated", status, &[words]);
            }
        }
    }
    // What the environment says goes before the file, but not for another user.
    host.config(&json!({}));
    let own = json!({"auths": {address.as_str(): {"auth": right}}}).to_string();
    for (args, code) in [
        (vec!["verify-cache", &app], 0),
        (
            vec![
                "verify-cache",
                "--user-config",
                host.user().to_str().unwrap(),
                &app,
            ],
            1,
        ),
    ] {
        let mut command = host.secateur.command(&args);
        let output = command
            .env("DOCKER_AUTH_CONFIG", &own)
            .env("DOCKER_CONFIG", host.user())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_registry_that_is_down_is_unknown_and_no_fault_of_the_cache() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let app = host.registry.name("app:v1");
        host.pull(&app);
        let Host {
            engine,
            registry,
            secateur,
        } = host;
        drop(registry);
        let run = |args: &[&str], code| {
            secateur
                .run(&[&["verify-cache", "--format", "json"], args].concat())
                .ended(code)
        };
        let report = run(&["--registry", &app], 0);
        assert!(report.stderr.contains("unknown"), "{}", report.stderr);
        let report = report.json();
        assert_eq!(report["result"], "held");
        says(
            kind,
            &report,
            &app,
            "authenticated",
            "unknown",
            &["cannot be reached"],
        );
        says(kind, &report, &app, "current", "unknown", &[]);
        run(&["--registry", "--strict", &app], 1);
        drop(engine);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_tag_that_went_on_is_moved_and_is_pulled_only_where_follow_says_so() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry
            .put("app:v1", &Archive::new().noise(20_000).tag("x:1"));
        let app = host.registry.name("app:v1");
        host.pull(&app);
        let old = host.engine.id(&app);
        host.verify(0, &["--registry", &app]);
        host.registry
            .put("app:v2", &Archive::new().noise(20_000).tag("x:2"));
        host.registry.retag("app:v2", "app:v1");

        let moved = host.verify(0, &["--registry", &app]);
        says(kind, &moved, &app, "current", "moved", &["the tag went on"]);
        assert_eq!(moved["result"], "held");
        let asked = &moved["registries"][0];
        assert_eq!(
            (&asked["head_requests"], &asked["get_requests"]),
            (&json!(1), &json!(0)),
            "{moved:#}"
        );

        let kept = host.verify(0, &["--redeploy", &app]);
        says(kind, &kept, &app, "reused", "moved", &["not pulled"]);
        assert_eq!(
            host.engine.id(&app),
            old,
            "{}: it was not moved here",
            kind.name()
        );

        let followed = host.verify(0, &["--redeploy", "--follow", &app]);
        says(
            kind,
            &followed,
            &app,
            "reused",
            "moved",
            &["followed: 2 layers fetched"],
        );
        assert_ne!(
            host.engine.id(&app),
            old,
            "{}: the cache hides nothing",
            kind.name()
        );
        let then = host.verify(0, &["--redeploy", &app]);
        says(kind, &then, &app, "reused", "ok", &["fetched no layer"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_pin_that_the_registry_lost_is_broken_though_it_is_here() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let digest = host.registry.digest("app:v1");
        let pin = format!("{}@{digest}", host.registry.name("app"));
        host.pull(&pin);
        let fine = host.verify(0, &["--registry", &pin]);
        says(kind, &fine, &pin, "current", "ok", &[]);
        host.registry
            .request("DELETE", &format!("/v2/app/manifests/{digest}"))
            .ok("delete");
        let report = host.verify(1, &["--registry", &pin]);
        says(kind, &report, &pin, "present", "ok", &[]);
        says(kind, &report, &pin, "current", "broken", &["no more"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_layer_that_is_gone_or_damaged_is_found_and_named_by_deep_alone() {
    for kind in Kind::MAIN {
        for damage in Damage::of(kind) {
            let host = Host::new(kind);
            host.registry
                .put("app:v1", &Archive::new().noise(3_000_000).tag("x:1"));
            host.registry
                .put("fine:v1", &Archive::new().noise(1000).tag("x:2"));
            let (app, fine) = (host.registry.name("app:v1"), host.registry.name("fine:v1"));
            host.pull(&app);
            host.pull(&fine);
            let before = host.verify(0, &["--deep", &app, &fine]);
            says(
                kind,
                &before,
                &app,
                "whole",
                "ok",
                &["2 layers read and hashed"],
            );
            let layer = damage.inflict(&host.engine, &app);
            let shallow = host.verify(0, &[&app]);
            assert!(
                shallow["not_checked"]
                    .as_array()
                    .unwrap()
                    .contains(&json!("whole")),
                "{shallow:#}"
            );
            let text = host.run(&[&app]).ended(0).stdout;
            assert!(text.contains("not checked: whole (--deep)"), "{text}");
            let report = host.verify(1, &["--deep", &app, &fine]);
            println!(
                "{} {damage:?}: {}",
                kind.name(),
                check(&report, &app, "whole")["message"]
            );
            says(
                kind,
                &report,
                &app,
                "whole",
                "broken",
                &["layer 2 of 2", &layer],
            );
            says(kind, &report, &fine, "whole", "ok", &[]);
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Removed,
    /// With its link and its list of lower layers: the engine cannot even
    /// describe the image then.
    WholeFolder,
    Flipped,
}

impl Damage {
    /// A blob of the containerd store is one file and has no folder.
    pub fn of(kind: Kind) -> &'static [Damage] {
        if kind.containerd() {
            &[Damage::Removed, Damage::Flipped]
        } else {
            &[Damage::Removed, Damage::WholeFolder, Damage::Flipped]
        }
    }

    /// Behind the engine's back; returns the digest that names the layer.
    pub fn inflict(self, engine: &Engine, image: &str) -> String {
        let inspect = engine.inspect(image);
        let diffs = inspect["RootFS"]["Layers"].as_array().unwrap();
        if engine.kind().containerd() {
            let blobs = engine
                .data_root()
                .join("containerd/daemon/io.containerd.content.v1.content/blobs/sha256");
            let files = fs::read_dir(blobs).unwrap().map(Result::unwrap);
            let blob = files
                .max_by_key(|file| file.metadata().unwrap().len())
                .unwrap()
                .path();
            self.file(&blob);
            return format!("sha256:{}", blob.file_name().unwrap().to_str().unwrap());
        }
        let upper = PathBuf::from(inspect["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap());
        match self {
            Damage::Removed => fs::remove_dir_all(&upper).unwrap(),
            Damage::WholeFolder => fs::remove_dir_all(upper.parent().unwrap()).unwrap(),
            Damage::Flipped => {
                let file = fs::read_dir(&upper)
                    .unwrap()
                    .next()
                    .unwrap()
                    .unwrap()
                    .path();
                self.file(&file);
            }
        }
        diffs[1].as_str().unwrap().to_owned()
    }

    fn file(self, path: &Path) {
        match self {
            Damage::Removed | Damage::WholeFolder => fs::remove_file(path).unwrap(),
            Damage::Flipped => {
                use std::os::unix::fs::FileExt;
                let file = fs::File::options()
                    .read(true)
                    .write(true)
                    .open(path)
                    .unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, 1_000_000).unwrap();
                file.write_all_at(&[!byte[0]], 1_000_000).unwrap();
            }
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_was_pulled_for_another_platform_is_not_what_a_deploy_fetches() {
    for kind in Kind::ALL {
        let host = Host::new(kind);
        let (app, odd) = (host.registry.name("app:v1"), host.registry.name("odd:v1"));
        let other = || Index::default().linux(ELSEWHERE, &Archive::new().noise(1000));
        let both = other().linux(HERE, &Archive::new().noise(1000)).attested();
        host.registry.put_index("app:v1", both);
        host.registry.put_index("odd:v1", other());
        let auth = host.registry.auth_header();
        host.engine.pull_for(ELSEWHERE, &app, &auth);
        host.engine.pull_for(ELSEWHERE, &odd, &auth);
        let report = host.verify(0, &["--deep", &app, &odd]);
        let here = format!("only linux/{ELSEWHERE} is here");
        let fetched = format!("fetches linux/{HERE}");
        says(kind, &report, &app, "whole", "unknown", &[&here, &fetched]);
        // From API 1.47 on the containerd store tells it without an export.
        if kind.containerd() && host.engine.api_version() >= 47 {
            let report = host.verify(0, &[&app, &odd]);
            says(
                kind,
                &report,
                &app,
                "present",
                "unknown",
                &[&here, &fetched],
            );
            says(kind, &report, &odd, "present", "ok", &[]);
        } else {
            says(kind, &report, &app, "present", "ok", &[]);
        }
        // There is no other, which only the containerd store can tell.
        let (status, words) = if kind.containerd() {
            ("ok", "2 layers read")
        } else {
            ("unknown", "where the registry has it")
        };
        says(kind, &report, &odd, "whole", status, &[words]);
        host.verify(1, &["--deep", "--strict", &app]);

        host.pull(&app);
        let report = host.verify(0, &["--deep", "--strict", &app]);
        says(kind, &report, &app, "whole", "ok", &["2 layers read"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn attestations_and_other_platforms_make_no_image_whole() {
    for kind in Kind::CONTAINERD {
        let host = Host::new(kind);
        let index = |archive: &Archive| Index::default().linux(HERE, archive).attested();
        let fine = index(&Archive::new().noise(1000));
        host.engine.load_index("fine:1", fine);
        let lost = Archive::new().noise(1000);
        let top = &lost.layers()[1];
        host.engine.load_index("lost:1", index(&lost).without(top));
        let both = index(&lost).linux(ELSEWHERE, &Archive::new());
        host.engine.load_index("both:1", both.without(top));
        let none = Archive::new().noise(1000);
        let manifest = Index::default().linux(HERE, &none).manifests().remove(0);
        host.engine
            .load_index("none:1", index(&none).without(&manifest));
        let all = ["--deep", "fine:1", "lost:1", "both:1", "none:1"];
        let report = host.verify(1, &all);
        if kind == Kind::Containerd26 {
            // 26 does not even list them.
            says(kind, &report, "lost:1", "present", "broken", &[]);
            says(kind, &report, "none:1", "present", "broken", &[]);
        } else {
            let layer = format!("layer 2 of 2, sha256:{}, is missing", sha256(top));
            says(kind, &report, "lost:1", "whole", "broken", &[&layer]);
            says(kind, &report, "both:1", "whole", "broken", &[&layer]);
            let manifest = sha256(&manifest);
            says(kind, &report, "none:1", "whole", "broken", &[&manifest]);
        }
        says(kind, &report, "fine:1", "whole", "ok", &["2 layers read"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_redeploy_gives_way_to_a_deploy_lock_and_to_a_pull() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let app = host.registry.name("app:v1");
        host.pull(&app);
        let lock = host.secateur.dir().join("deploy.lock");
        fs::write(&lock, "").unwrap();
        host.secateur.policy(&with_lock(&lock, "exists"));
        let asked = host.registry.requests().len();
        let report = host.verify(75, &["--redeploy", &app]);
        assert_eq!(refusals(&report), ["deploy-lock"], "{report:#}");
        assert_eq!(
            host.registry.requests().len(),
            asked,
            "{}: nothing was asked",
            kind.name()
        );
        host.verify(0, &[&app]);
        fs::remove_file(&lock).unwrap();
        host.verify(0, &["--redeploy", &app]);

        let line = host.registry.slow_line(20_000);
        host.registry
            .put("slow:v1", &Archive::new().noise(4_000_000).tag("x:2"));
        let slow = format!("{}/slow:v1", line.address());
        let auth = host.registry.auth_header_for(line.address());
        let pull = host.engine.pull_in_background(&slow, Some(&auth));
        wait_until("the pull shows", || {
            let report = host.run(&["--format", "json", "--redeploy", &app]);
            (report.code == 75).then(|| {
                assert!(refusals(&report.json()).iter().all(|kind| kind == "pull"));
            })
        });
        pull.cancel();
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_store_in_memory_does_not_last() {
    for kind in Kind::MAIN {
        let engine = Engine::builder(kind).disk("64m").start();
        let secateur = Secateur::on(&engine);
        let report = secateur
            .run(&["verify-cache", "--format", "json"])
            .ended(1)
            .json();
        assert_eq!(report["store"]["status"], "broken", "{report:#}");
        assert!(
            report["store"]["message"]
                .as_str()
                .unwrap()
                .contains("tmpfs"),
            "{report:#}"
        );
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let report = secateur
            .run(&["verify-cache", "--format", "json"])
            .ended(0)
            .json();
        assert_eq!(report["store"]["kind"], "lasting", "{report:#}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_command_of_the_page_runs() {
    let host = Host::new(Kind::Overlay28);
    let app = host.registry.name("app:1");
    host.registry.put("app:1", &Archive::new().noise(64));
    host.pull(&app);
    host.engine.small("postgres:16");
    let promise = format!("{EAGER}[cache]\nimages = [\"{app}\"]\n");
    host.secateur.policy(&promise);
    let run = |lines: &str| {
        let mut command = host.secateur.typed(lines);
        let command = command
            .env("DOCKER_CONFIG", host.user())
            .env("RUNNER_TEMP", host.secateur.dir());
        let said = Ran::of(command.output().expect("bash")).ended(0);
        assert!(said.stdout.contains("held: "), "{lines}: {said:?}");
    };
    // Words about a command stand two spaces after it.
    let block = &page::of("verify-cache.md", "", "")[0].text;
    for line in block.lines() {
        run(line.split("  ").next().expect("a command"));
    }
    for block in page::of("verify-cache.md", "A CI job", "sh") {
        for line in block.text.lines().filter(|line| !line.starts_with('#')) {
            run(line);
        }
    }
    // Across a reboot: the words between have their commands in order.
    let section = page::section("verify-cache.md", "A CI job");
    let spans = page::spans(&section);
    let reboot = spans.iter().filter(|span| span.contains("/root/last.json"));
    for command in reboot.clone() {
        run(&command.replace("/root/", &host.path("")));
    }
    assert_eq!(reboot.count(), 2);
}
