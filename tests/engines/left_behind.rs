//! The images that an engine has no more after it was switched to the other store.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind};
use crate::support::{Secateur, page};

const MIB: usize = 1 << 20;

fn left_behind(secateur: &Secateur) -> Value {
    secateur.plan()["left_behind"].clone()
}

/// Runs lines of the page on this engine: what they say of systemd's unit is done to it.
fn follow(engine: &mut Engine, lines: &str) {
    let data_root = engine.data_root().display().to_string();
    let mut script = String::new();
    for line in lines.replace("/var/lib/docker", &data_root).lines() {
        if line.starts_with("systemctl stop docker.") {
            engine.stop();
        } else if line.starts_with("systemctl start docker.") {
            run(&std::mem::take(&mut script));
            engine.restart();
        } else {
            script.push_str(line);
            script.push('\n');
        }
    }
    run(&script);
}

#[track_caller]
fn run(script: &str) {
    let ran = Command::new("sh").args(["-euc", script]).output();
    let ran = ran.expect("sh");
    assert!(ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
}

/// All files below, with their dates of change: nothing there was touched.
fn listing(folder: &Path) -> String {
    let find = ["-printf", "%p %s %T@ %C@\n"];
    let ran = Command::new("find").arg(folder).args(find).output();
    let ran = ran.expect("find");
    assert!(ran.status.success(), "{ran:?}");
    let text = String::from_utf8_lossy(&ran.stdout);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_store_that_was_left_behind_is_named_untouched_and_removed_as_the_page_says() {
    let [aside, delete]: [String; 2] = page::of("operating.md", "An image store", "")
        .into_iter()
        .map(|block| block.text)
        .collect::<Vec<_>>()
        .try_into()
        .expect("two blocks");
    let mut engine = Engine::start(Kind::Overlay28);
    let secateur = Secateur::on(&engine);
    engine.runnable("base:v1");
    let shared = Archive::new().noise(MIB);
    engine.load(&shared.clone().tag("app:v1"));
    engine.load(&shared.noise(MIB).tag("app:v2"));
    engine.built(
        &["--tag=built:v1"],
        "FROM base:v1\nCOPY Dockerfile /built\n",
    );
    engine.create_container("base:v1", &["/bin/busybox", "true"], &json!({}));
    assert_eq!(left_behind(&secateur), json!([]));

    engine.switch_to(Kind::Containerd28);
    let records = engine.data_root().join("image/overlay2");
    let layers = engine.data_root().join("overlay2");
    assert_eq!(engine.images().len(), 0);
    engine.runnable("base:v2");
    let before = [listing(&records), listing(&layers)];
    let plan = secateur.plan();
    let left = &plan["left_behind"][0];
    assert_eq!(plan["left_behind"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["path"], layers.display().to_string());
    assert_eq!(left["records"], records.display().to_string());
    assert_eq!(left["images"], 4, "{left:#}");
    assert_eq!(left["complete"], true, "{left:#}");
    // busybox, two layers of noise of which one is in two images, and a few bytes.
    let busybox = crate::lab::busybox().len();
    let bytes = left["size_bytes_at_least"].as_u64().expect("bytes");
    let bytes = usize::try_from(bytes).expect("bytes");
    let wanted = busybox + 2 * MIB;
    assert!(
        (wanted..wanted + 100_000).contains(&bytes),
        "{bytes}, not {wanted}"
    );
    let text = secateur.run(&["plan"]).ended(0).stdout;
    assert!(
        text.replace("\n        ", " ")
            .contains("note    4 images, "),
        "{text}"
    );
    // Whether something went, or was touched.
    secateur.remember_all();
    secateur.prune(0);
    assert_eq!([listing(&records), listing(&layers)], before);

    follow(&mut engine, &aside);
    assert_eq!(left_behind(&secateur), json!([]));
    assert!(engine.has("base:v2"));
    follow(&mut engine, &delete);
    assert!(!engine.data_root().join("left-behind").exists());
    assert!(!layers.exists() && !records.exists());
    engine.built(
        &["--tag=built:v2"],
        "FROM base:v2\nCOPY Dockerfile /built\n",
    );
    assert_eq!(engine.damage("built:v2"), None);

    // Whoever goes back after all begins anew.
    engine.switch_to(Kind::Overlay28);
    engine.runnable("base:v1");
    engine.built(
        &["--tag=built:v1"],
        "FROM base:v1\nCOPY Dockerfile /built\n",
    );
    assert_eq!(engine.damage("built:v1"), None);
    assert!(records.exists());
}
