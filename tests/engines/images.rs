//! Which images go and which stay, on live engines of every store.

mod wanted;

use std::fs;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry};
use crate::support::{
    EAGER, Ran, Secateur, changes, dangling, ids, image, keeping, page, patient, reasons, verdicts,
};
use serde_json::{Value, json};

/// A local rebuild: `name` moves to a new image, the old one is left untagged.
fn rebuild(engine: &Engine, name: &str) -> (String, String) {
    let old = engine.load(&Archive::new().noise(1000).tag(name));
    let new = engine.load(&Archive::new().noise(1000).tag(name));
    assert_ne!(old, new);
    (old, new)
}

/// A tag that moves by a pull.
struct Moving<'a> {
    registry: &'a Registry,
    engine: &'a Engine,
    name: String,
    old: String,
}

impl Moving<'_> {
    /// Pulls `app:latest`.
    fn pulled<'a>(registry: &'a Registry, engine: &'a Engine) -> Moving<'a> {
        registry.put("app:latest", &Archive::new().noise(1000));
        let name = registry.name("app:latest");
        engine.pull(&name, Some(&registry.auth_header()));
        let old = engine.id(&name);
        Moving {
            registry,
            engine,
            name,
            old,
        }
    }

    /// Another image is `app:latest` upstream, and it is pulled. Returns its id.
    fn moved(&self) -> String {
        self.registry.put("app:latest", &Archive::new().noise(1000));
        self.engine
            .pull(&self.name, Some(&self.registry.auth_header()));
        let new = self.engine.id(&self.name);
        assert_ne!(self.old, new);
        let left = self.engine.inspect(&self.old);
        assert_eq!(
            left["RepoTags"],
            json!([]),
            "the old image has no tag: {left}"
        );
        new
    }
}

/// `old`, remembered with a tag that another image has now, stays for as long as the policy wants
/// rollbacks, however old it is.
fn is_a_rollback(engine: &Engine, secateur: &Secateur, old: &str) {
    let kind = engine.kind().name();
    secateur.policy(&keeping("previous = 0"));
    secateur.until_removable(old);
    secateur.policy(&keeping("previous = 1"));
    assert_eq!(reasons(&secateur.plan(), old), ["previous"], "{kind}");
    secateur.prune_takes(engine, &[], &[old]);
    secateur.policy(&keeping("previous = 0"));
    assert_eq!(ids(&secateur.prune(0), "removed"), [old], "{kind}");
    assert!(!engine.has(old), "{kind}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rebuild_leaves_an_image_that_goes_once_it_is_old() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &patient());
        let (old, new) = rebuild(&engine, "app:latest");
        assert_eq!(dangling(&engine), [old.as_str()], "{}", kind.name());
        assert_eq!(
            reasons(&secateur.plan(), &old),
            ["first-seen"],
            "{}",
            kind.name()
        );
        for _ in 0..2 {
            assert_eq!(secateur.prune(0)["result"], "nothing", "{}", kind.name());
            assert_eq!(
                reasons(&secateur.plan(), &old),
                ["too-young"],
                "{}",
                kind.name()
            );
        }
        assert_eq!(image(&secateur.plan(), &old)["class"], "untagged");
        secateur.policy(EAGER);
        secateur.until_removable(&old);
        secateur.prune_takes(&engine, &[&old], &[]);
        assert_eq!(engine.id("app:latest"), new, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rebuilt_image_is_a_rollback_for_as_long_as_previous_says() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let old = engine.load(&Archive::new().tag("app:latest"));
        secateur.prune(0);
        let new = engine.load(&Archive::new().tag("app:latest"));
        is_a_rollback(&engine, &secateur, &old);
        assert_eq!(engine.id("app:latest"), new, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_whose_tag_a_pull_moved_goes_once_it_is_old() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let moving = Moving::pulled(&registry, &engine);
        let old = &moving.old;
        let secateur = Secateur::at(
            &engine.host(),
            &format!("{}[keep]\nprevious = 0", patient()),
        );
        secateur.prune(0);
        let new = moving.moved();
        assert_eq!(dangling(&engine), [old.as_str()], "{}", kind.name());
        // A graphdriver store keeps the digest as a name. The containerd store makes its digest
        // references up from tags: nothing is left but its own record of a dangling image.
        let left = &engine.inspect(old)["RepoDigests"];
        let (digests, class) = if kind.containerd() {
            (0, "untagged")
        } else {
            (1, "superseded")
        };
        assert_eq!(
            left.as_array().map(Vec::len),
            Some(digests),
            "{}: {left}",
            kind.name()
        );

        assert_eq!(secateur.prune(0)["result"], "nothing", "{}", kind.name());
        let plan = secateur.plan();
        assert_eq!(image(&plan, old)["class"], class, "{}", kind.name());
        assert_eq!(reasons(&plan, old), ["too-young"], "{}", kind.name());
        secateur.policy(&keeping("previous = 0"));
        secateur.until_removable(old);
        secateur.prune_takes(&engine, &[old], &[]);
        assert!(!engine.has(old), "{}", kind.name());
        assert_eq!(engine.id(&moving.name), new, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_whose_tag_a_pull_moved_is_a_rollback_for_as_long_as_previous_says() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let moving = Moving::pulled(&registry, &engine);
        let secateur = Secateur::on(&engine);
        secateur.prune(0);
        let new = moving.moved();
        is_a_rollback(&engine, &secateur, &moving.old);
        assert_eq!(engine.id(&moving.name), new, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_was_never_seen_with_its_tag_counts_as_pulled_by_digest() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let moving = Moving::pulled(&registry, &engine);
        moving.moved();
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        if kind.containerd() {
            // No digest is left there to have been pulled by: it goes as any untagged image.
            secateur.remember();
            secateur.prune_takes(&engine, &[&moving.old], &[]);
            continue;
        }
        secateur.prune(0);
        secateur.until_kept_by(&moving.old, &["digest-pinned"]);
        secateur.prune_takes(&engine, &[], &[&moving.old]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_pulled_by_digest_is_cache_and_stays() {
    let registry = Registry::start();
    registry.put("pinned:v1", &Archive::new().noise(1000));
    let name = format!(
        "{}@{}",
        registry.name("pinned"),
        registry.digest("pinned:v1")
    );
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        engine.pull(&name, Some(&registry.auth_header()));
        let pinned = engine.id(&name);
        // The engine would take it on a graphdriver store, and would not on the other.
        assert_eq!(
            dangling(&engine).contains(&pinned),
            !kind.containerd(),
            "{}",
            kind.name()
        );
        let litter = engine.load(&Archive::new());
        let secateur = Secateur::on(&engine);
        secateur.remember_all();
        let plan = secateur.plan();
        assert_eq!(
            reasons(&plan, &pinned),
            ["digest-pinned"],
            "{}",
            kind.name()
        );
        assert_eq!(
            image(&plan, &pinned)["class"],
            "digest-pinned",
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[&litter], &[&name]);
    }
}

/// Build dates that say nothing of when this host stopped wanting an image.
const DATES: [Option<&str>; 4] = [
    Some("1970-01-01T00:00:00Z"),
    Some("0001-01-01T00:00:00Z"),
    Some("2001-02-03T04:05:06Z"),
    None,
];

const FUTURE: &str = "2999-01-01T00:00:00Z";

fn dated(engine: &Engine, date: Option<&str>) -> String {
    let archive = Archive::new();
    engine.load(&date.map_or(archive.clone(), |date| archive.created(date)))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_image_goes_for_its_build_date() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let images = DATES.map(|date| dated(&engine, date));
        let future = dated(&engine, Some(FUTURE));
        let secateur = Secateur::at(&engine.host(), &patient());
        let all = || images.iter().chain([&future]);
        for id in all() {
            assert_eq!(
                reasons(&secateur.plan(), id),
                ["first-seen"],
                "{}",
                kind.name()
            );
        }
        // Not even where the engine's dates are asked for: the build date is not the only one.
        let trusting = secateur
            .run(&["plan", "--trust-engine-dates", "--format", "json"])
            .ended(0);
        assert_eq!(
            trusting.json()["summary"]["remove"],
            0,
            "{}: {}",
            kind.name(),
            trusting.stdout
        );
        for _ in 0..2 {
            assert_eq!(secateur.prune(0)["result"], "nothing", "{}", kind.name());
            for id in all() {
                assert_eq!(
                    reasons(&secateur.plan(), id),
                    ["too-young"],
                    "{}",
                    kind.name()
                );
            }
        }
        assert!(all().all(|id| engine.has(id)), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_old_or_missing_build_date_holds_nothing_up_and_one_in_the_future_does() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let mut images = DATES.map(|date| dated(&engine, date));
        let future = dated(&engine, Some(FUTURE));
        let secateur = Secateur::on(&engine);
        secateur.prune(0);
        for id in &images {
            secateur.until_removable(id);
        }
        let mut removed = ids(&secateur.prune(0), "removed");
        images.sort();
        removed.sort();
        assert_eq!(removed, images, "{}", kind.name());
        assert_eq!(
            reasons(&secateur.plan(), &future),
            ["too-young"],
            "{}",
            kind.name()
        );
        assert!(engine.has(&future), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_whose_build_date_is_no_date_stays_for_not_enough_is_known_of_it() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let archive = Archive::new().created("not-a-date").build();
        let answer = engine
            .try_api("POST", "/images/load?quiet=1", &[], &archive)
            .expect("an answer");
        if !kind.containerd() {
            // A graphdriver store does not take such an image in.
            assert!(
                answer.text().contains("parsing time"),
                "{}: {}",
                kind.name(),
                answer.text()
            );
            assert_eq!(engine.images(), Vec::<Value>::new(), "{}", kind.name());
            continue;
        }
        // The containerd store takes it, and then cannot read it.
        let odd = dangling(&engine);
        assert_eq!(odd.len(), 1, "{}", answer.text());
        let litter = engine.load(&Archive::new());
        let secateur = Secateur::on(&engine);
        secateur.remember_all();
        // 28.5 lists it by a bare digest. 29.7 lists it as any other, and cannot inspect it.
        let why = reasons(&secateur.plan(), &odd[0]).join(" ");
        let kept = ["incomplete", "age-unknown"].contains(&why.as_str());
        assert!(kept, "{}: {why}", kind.name());
        secateur.prune_takes(&engine, &[&litter], &[]);
        assert_eq!(dangling(&engine), odd);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_lost_one_of_two_tags_keeps_the_other() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let moving = Moving::pulled(&registry, &engine);
        let (old, other) = (&moving.old, registry.name("app:stable"));
        engine.tag(&moving.name, &other);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        secateur.prune(0);
        registry.put("app:latest", &Archive::new());
        engine.pull(&moving.name, Some(&registry.auth_header()));
        // The trap: the containerd store lists it as dangling, and without its tag. Not so the
        // other store, nor the list without the filter.
        assert_eq!(
            dangling(&engine).contains(old),
            kind.containerd(),
            "{}",
            kind.name()
        );
        assert_eq!(engine.id(&other), *old, "{}", kind.name());
        let litter = engine.load(&Archive::new());
        secateur.prune(0);
        secateur.until_removable(&litter);
        assert_eq!(
            image(&secateur.plan(), old)["class"],
            "tagged",
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[&litter], &[]);
        assert_eq!(engine.id(&other), *old, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_a_parent_chain_only_the_child_that_was_planned_goes() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let base = engine.runnable("base:v1");
        let child = engine.build("child:v1", "FROM base:v1\nLABEL a=1\nLABEL b=2\n");
        let parent = engine.inspect(&child)["Parent"]
            .as_str()
            .expect("a parent")
            .to_owned();
        assert_eq!(
            engine.inspect(&parent)["Parent"],
            json!(base),
            "{}",
            kind.name()
        );
        engine.build("child:v1", "FROM base:v1\nLABEL c=3\nLABEL d=4\n");
        assert_eq!(dangling(&engine), [child.as_str()], "{}", kind.name());
        let secateur = Secateur::on(&engine);
        secateur.remember();
        let plan = secateur.plan();
        assert_eq!(reasons(&plan, &parent), ["parent"], "{}", kind.name());
        secateur.prune_takes(&engine, &[&child], &[&parent]);
        assert_eq!(engine.id("base:v1"), base, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn keep_images_covers_an_image_that_has_only_a_digest_left() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let moving = Moving::pulled(&registry, &engine);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        secateur.prune(0);
        moving.moved();
        secateur.until_removable(&moving.old);
        let images = format!("images = [{:?}]", registry.name("*"));
        secateur.policy(&keeping(&format!("previous = 0\n{images}")));
        if kind.containerd() {
            // No name is left there that anything could cover.
            secateur.prune_takes(&engine, &[&moving.old], &[]);
            continue;
        }
        assert_eq!(
            reasons(&secateur.plan(), &moving.old),
            ["keep-image"],
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[], &[&moving.old]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn keep_labels_covers_the_images_that_carry_one_and_no_others() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let base = engine.load(&Archive::new().label("tier", "base"));
        let kept = engine.load(&Archive::new().label("com.example.keep", ""));
        let other = engine.load(&Archive::new().label("tier", "basement"));
        let labels = r#"labels = ["tier=base", "com.example.keep", "tire=base"]"#;
        let secateur = Secateur::at(&engine.host(), &keeping(labels));
        secateur.remember_all();
        let plan = secateur.plan();
        assert_eq!(reasons(&plan, &base), ["keep-label"], "{}", kind.name());
        assert_eq!(reasons(&plan, &kept), ["keep-label"], "{}", kind.name());
        let misspelt = serde_json::json!([{"key": "keep.labels", "rule": "tire=base"}]);
        assert_eq!(plan["unmatched_rules"], misspelt, "{}", kind.name());
        secateur.prune_takes(&engine, &[&other], &[&base, &kept]);
    }
}

/// Nothing that moves a cursor, reorders text or begins a line of its own.
#[track_caller]
fn is_plain(what: &str, ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let bad = text.chars().find(|c| {
            (c.is_control() && *c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
        assert_eq!(bad, None, "{what}: {text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("FORGED")),
            "{what}: {text}"
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_label_reaches_no_terminal_raw() {
    // Title and clipboard sequences, C1 controls, bidi overrides, and a line of its own.
    let key = "k\u{1b}]0;owned\u{7}\u{9b}31m";
    let value = "v\r\nFORGED removed everything\u{1b}[2J\u{202e}txt\u{2066}\u{200b}\u{7f}\u{2028}";
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let evil = engine.load(&Archive::new().label(key, value));
        let carried = &engine.inspect(&evil)["Config"]["Labels"];
        assert_eq!(
            carried[key],
            json!(value),
            "the engine has it raw: {}",
            kind.name()
        );
        // Named by the policy, the label is in the reason.
        let rule = json!(format!("{key}={value}")).to_string();
        // JSON leaves some raw that TOML does not take so.
        let rule = rule.replace('\u{7f}', "\\u007f");
        let secateur = Secateur::at(&engine.host(), &keeping(&format!("labels = [{rule}]")));
        assert!(
            reasons(&secateur.plan(), &evil).contains(&"keep-label".to_owned()),
            "{}",
            kind.name()
        );
        for command in [
            &["plan", "--verbose"][..],
            &["plan", "--explain", &evil],
            &["plan", "--format", "json"],
            &["prune", "--verbose"],
            &["prune", "--format", "json"],
            &["plan", "--explain", key],
        ] {
            let ran = secateur.run(command);
            is_plain(&format!("{}: {command:?}", kind.name()), &ran);
        }
        let shown = secateur.run(&["plan", "--explain", &evil]).ended(0).stdout;
        assert!(
            shown.contains("\\u{1b}]0;owned"),
            "{}: {shown}",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn plan_explains_one_image_by_name_by_id_and_by_the_beginning_of_its_id() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let old = engine.load(&Archive::new().tag("app:latest"));
        secateur.prune(0);
        let new = engine.load(&Archive::new().tag("app:latest"));
        let story = secateur.run(&["plan", "--explain", &old]).ended(0).stdout;
        for part in [
            &*old,
            "class   untagged",
            "had tag app:latest",
            "because previous: rollback 1 of app:latest",
        ] {
            assert!(
                story.contains(part),
                "{}: no {part:?} in {story}",
                kind.name()
            );
        }
        assert!(!story.contains(&new), "{}: {story}", kind.name());
        let short = secateur
            .run(&["plan", "--explain", &old["sha256:".len()..][..12]])
            .ended(0);
        assert!(
            short.stdout.contains(&old),
            "{}: {}",
            kind.name(),
            short.stdout
        );
        let named = secateur.run(&["plan", "--explain", "app"]).ended(0).stdout;
        assert!(
            named.contains(&new) && named.contains("because tagged"),
            "{}: {named}",
            kind.name()
        );
        let none = secateur
            .run(&["plan", "--explain", "nobody:knows"])
            .ended(2);
        assert!(
            none.stderr.contains("nobody:knows"),
            "{}: {}",
            kind.name(),
            none.stderr
        );
    }
}

#[test]
fn every_image_of_the_host_is_in_a_document_whatever_is_explained() {
    let secateur = Secateur::at("unix:///nowhere/docker.sock", EAGER);
    let host = page::file("tests/fuzz/seeds/inventory/small.json");
    let host = host.to_str().expect("UTF-8");
    let args = ["plan", "--inventory", host, "--format", "json"];
    let whole = secateur.run(&args).ended(0).json();
    assert_eq!(whole["images"].as_array().map(Vec::len), Some(4));
    let explained = |image| secateur.run(&[&args[..], &["--explain", image]].concat());
    assert_eq!(explained("a:1").ended(0).json(), whole);
    explained("b:1").ended(2);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_saved_host_gives_the_same_verdicts_as_the_host_itself() {
    for kind in Kind::MAIN {
        let mut engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping(r#"labels = ["keep"]"#));
        let rollback = engine.load(&Archive::new().tag("app:latest"));
        // Before the first look: between two, it might have been `app:latest`.
        let litter = engine.load(&Archive::new());
        secateur.prune(0);
        engine.load(&Archive::new().tag("app:latest"));
        engine.load(&Archive::new().label("keep", "me"));
        secateur.look();
        secateur.until_removable(&litter);
        let file = secateur.dir().join("host.json");
        let file = file.to_str().expect("UTF-8");
        let live = secateur
            .run(&["plan", "--save-inventory", file, "--format", "json"])
            .ended(0)
            .json();
        engine.stop();
        let saved = || {
            secateur
                .run(&["plan", "--inventory", file, "--format", "json"])
                .ended(0)
                .json()
        };
        assert_eq!(verdicts(&saved()), verdicts(&live), "{}", kind.name());
        for part in ["images", "summary", "disk", "engine", "generated_at"] {
            assert_eq!(saved()[part], live[part], "{}: {part}", kind.name());
        }
        // And another policy can be tried out on it.
        assert!(
            reasons(&live, &rollback).contains(&"previous".to_owned()),
            "{}",
            kind.name()
        );
        secateur.policy(&keeping("previous = 0"));
        assert!(
            !reasons(&saved(), &rollback).contains(&"previous".to_owned()),
            "{}",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_prune_by_a_reviewed_plan_removes_no_more_than_was_reviewed() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        let (reviewed, _) = rebuild(&engine, "one:latest");
        let later = engine.load(&Archive::new().tag("two:latest"));
        secateur.remember();
        let file = secateur.dir().join("reviewed.json");
        let file = file.to_str().expect("UTF-8");
        let plan = secateur
            .run(&["plan", "--out", file, "--format", "json"])
            .ended(0);
        assert_eq!(
            fs::read_to_string(file).expect("the plan"),
            plan.stdout,
            "{}",
            kind.name()
        );
        assert_eq!(
            image(&plan.json(), &reviewed)["verdict"],
            "remove",
            "{}",
            kind.name()
        );
        // After the review a second image loses its tag, and grows old.
        engine.load(&Archive::new().tag("two:latest"));
        secateur.until_removable(&later);
        let outcome = secateur
            .run(&["prune", "--plan", file, "--format", "json"])
            .ended(0)
            .json();
        assert_eq!(
            ids(&outcome, "removed"),
            [reviewed.as_str()],
            "{}: {outcome:#}",
            kind.name()
        );
        assert!(engine.has(&later), "{}", kind.name());
        secateur.prune_takes(&engine, &[&later], &[]);
    }
}

/// Every image; the containerd store lists them in any order.
fn sorted(engine: &Engine) -> Vec<Value> {
    let mut images = engine.images();
    images.sort_by_key(|image| image["Id"].to_string());
    images
}

/// Every file below, with what is in it.
fn contents(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.push((path.clone(), fs::read(&path).expect("a file")));
        }
    }
    files.sort();
    files
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn plan_writes_nothing() {
    for kind in Kind::MAIN {
        let engine = Engine::builder(kind).config("debug", json!(true)).start();
        let secateur = Secateur::on(&engine);
        rebuild(&engine, "app:latest");
        let (images, fresh) = (sorted(&engine), contents(secateur.dir()));
        let requests = changes(&engine);
        secateur.plan();
        secateur
            .run(&["plan", "--trust-engine-dates", "--verbose"])
            .ended(0);
        assert!(!secateur.state().exists(), "{}", kind.name());
        assert_eq!(contents(secateur.dir()), fresh, "{}", kind.name());
        secateur.remember();
        let remembered = contents(secateur.dir());
        assert_ne!(remembered, fresh, "{}", kind.name());
        assert_eq!(secateur.plan()["summary"]["remove"], 1, "{}", kind.name());
        assert_eq!(contents(secateur.dir()), remembered, "{}", kind.name());
        assert_eq!(sorted(&engine), images, "{}", kind.name());
        assert_eq!(changes(&engine), requests, "{}", kind.name());
    }
}
