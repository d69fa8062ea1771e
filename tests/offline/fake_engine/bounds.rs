//! Memory, whatever an engine sends, and hosts of very many images.

use std::time::Instant;

use super::{Host, KIND, MOST_KIB};
use crate::fake::Fake;
use crate::fake::fault::Fault;
use crate::fake::recorded::Recorded;
use crate::fake::weighed::{self, Weighed};
use crate::fake::world::World;
use crate::support::{EAGER, Secateur};

const LISTS: [&str; 4] = ["/images/json", "/containers/json", "/services", "/tasks"];

/// Gibibytes: each as one item, as one value, and as items that could be real.
fn gibibytes() -> Vec<(&'static str, Fault)> {
    let image = br#"{"Id":"sha256:0000000000000000000000000000000000000000000000000000%","ParentId":"","RepoTags":["app:%"],"RepoDigests":[],"Created":0,"Size":0,"SharedSize":0,"Labels":{"a":"%"},"Containers":0},"#;
    let container = br#"{"Id":"%","Names":["/%"],"Image":"app:%","ImageID":"","State":"running","Mounts":[{"Type":"image","Source":"a:%"}]},"#;
    let service =
        br#"{"ID":"%","Spec":{"Name":"%","TaskTemplate":{"ContainerSpec":{"Image":"app:%"}}}},"#;
    let task = br#"{"ID":"%","ServiceID":"%","Spec":{"ContainerSpec":{"Image":"app:%"}},"Status":{"State":"running"}},"#;
    let gibibyte = |start: &'static [u8], again: &'static [u8]| Fault::Gibibyte(start, again, b"]");
    vec![
        ("images", gibibyte(b"[", image)),
        ("containers", gibibyte(b"[", container)),
        ("services", gibibyte(b"[", service)),
        ("tasks", gibibyte(b"[", task)),
        ("one text", gibibyte(b"[{\"Id\":\"", b"x")),
        (
            "one text that nobody asked for",
            gibibyte(b"[{\"New\":\"", b"x"),
        ),
        ("very many tags", gibibyte(b"[{\"RepoTags\":[", b"\"%\",")),
        (
            "very many labels",
            gibibyte(b"[{\"Labels\":{", b"\"%\":\"\","),
        ),
        ("lists in lists", gibibyte(b"[{\"Id\":", b"[")),
        ("objects in objects", gibibyte(b"[{\"Id\":", b"{\"a\":")),
        ("numbers", gibibyte(b"[{\"Id\":", b"1")),
        ("white space", gibibyte(b"[", b" ")),
    ]
}

#[track_caller]
fn ended_small(ran: &Weighed, what: &str) {
    assert_eq!(ran.code, 69, "{what}: {ran:?}");
    assert_eq!(ran.stdout, "", "{what}");
    assert!(ran.peak < MOST_KIB, "{what}: {} KiB", ran.peak);
}

#[test]
fn a_gibibyte_in_every_list_at_once_takes_less_than_64_mib() {
    for (what, fault) in gibibytes() {
        let host = Host::of(KIND);
        for list in LISTS {
            host.fake.fault("GET", list, fault.clone());
        }
        let ran = host.run(&["prune"]);
        println!("{what}: {} KiB", ran.peak);
        ended_small(&ran, what);
        assert_eq!(host.fake.changes(), [""; 0]);
    }
}

/// An item as long as is read, which holds this again and again.
fn long(start: &str, again: &str, end: &str) -> Fault {
    const LONGEST: usize = (4 << 20) - 100;
    let mut item = start.to_owned();
    for number in 0_usize.. {
        if item.len() + again.len() + end.len() > LONGEST {
            break;
        }
        item += &again.replace('%', &number.to_string());
    }
    // After the last comma.
    let item = format!("{}{end},", item.trim_end_matches(','));
    Fault::Gibibyte(b"[", item.leak().as_bytes(), b"]")
}

#[test]
fn a_gibibyte_of_long_items_in_every_list_takes_less_than_64_mib() {
    const ID: &str =
        "\"Id\":\"sha256:0000000000000000000000000000000000000000000000000000%\",\"ParentId\":\"\"";
    const REST: &str = "\"Created\":0,\"Size\":0,\"SharedSize\":0,\"Containers\":0";
    let image = |labels: &str, again: &str, end: &str| {
        let start =
            format!("{{{ID},{REST},\"RepoTags\":null,\"RepoDigests\":null,\"Labels\":{{{labels}");
        long(&start, again, &format!("{end}}}}}"))
    };
    let tags = format!("{{{ID},{REST},\"RepoDigests\":null,\"Labels\":null,\"RepoTags\":[");
    let mounts = r#"{"Type":"image","Name":"","Source":"a"},"#;
    for (what, images) in [
        ("labels", image("", r#""%":"","#, "")),
        ("one label", image(r#""a":""#, "x", "\"")),
        ("one escaped label", image(r#""a":""#, r"\u20ac", "\"")),
        ("tags", long(&tags, r#""%","#, "]}")),
    ] {
        let host = Host::of(KIND);
        let container = r#"{"Id":"c","Image":"a","Mounts":["#;
        let spec = r#""Spec":{"TaskTemplate":{"ContainerSpec":{"Mounts":["#;
        let service = format!(r#"{{"ID":"s",{spec}"#);
        let task = r#"{"ID":"t","Spec":{"ContainerSpec":{"Mounts":["#;
        for (list, fault) in [
            ("/images/json", images),
            ("/containers/json", long(container, mounts, "]}")),
            ("/services", long(&service, mounts, "]}}}}")),
            (
                "/tasks",
                long(task, r#"{"Type":"image","Source":"%"},"#, "]}}}"),
            ),
        ] {
            host.fake.fault("GET", list, fault);
        }
        let ran = host.run(&["prune"]);
        println!("{what}: {} KiB, {}", ran.peak, ran.stderr);
        ended_small(&ran, what);
    }
}

#[test]
fn a_gibibyte_in_any_other_answer_takes_less_than_64_mib() {
    for (path, start, again) in [
        ("/version", &b"{\"Components\":["[..], &b"{\"Name\":\"%\",\"Version\":\"\"},"[..]),
        ("/version", b"{\"Version\":\"", b"x"),
        ("/info", b"{\"ID\":\"", b"x"),
        ("/info", b"{\"Plugins\":{\"Volume\":[", b"\"%\","),
        ("/system/df", b"{\"BuildCache\":[", b"{},"),
        ("/system/df", b"{\"BuildCache\":[", b"{\"ID\":\"%\",\"InUse\":true},"),
        ("/events", b"", b"{\"Type\":\"container\",\"Action\":\"die\",\"time\":1800000000,\"Actor\":{\"ID\":\"c\",\"Attributes\":{\"image\":\"a:%\"}}}\n"),
        ("/events", b"{\"Type\":\"", b"x"),
    ] {
        let host = Host::of(KIND);
        host.asks_for(path);
        host.fake.fault("GET", path, Fault::Gibibyte(start, again, b"]"));
        let ran = host.run(&["plan"]);
        println!("{path} {}: {} KiB", String::from_utf8_lossy(again), ran.peak);
        ended_small(&ran, path);
    }
}

#[test]
fn a_gibibyte_of_images_is_no_more_to_verify_cache() {
    for (what, fault) in gibibytes() {
        if !["images", "one text", "very many tags"].contains(&what) {
            continue; // the same code reads it
        }
        let host = Host::of(KIND);
        host.fake.fault("GET", "/images/json", fault);
        ended_small(&host.run(&["verify-cache", "app:latest"]), what);
    }
}

#[test]
fn an_engine_that_counts_billions_gets_no_more_than_a_fixed_share() {
    let host = Host::of(KIND);
    host.fake
        .world(|world| world.counts = Some((1 << 40, 1 << 40)));
    // Names take more room than they have letters.
    let image = br#"{"Id":"sha256:0000000000000000000000000000000000000000000000000000%","ParentId":"","RepoTags":["a:%"],"RepoDigests":["a@sha256:0000000000000000000000000000000000000000000000000000%"],"Created":0,"Size":0,"SharedSize":0,"Labels":null,"Containers":0},"#;
    host.fake
        .fault("GET", "/images/json", Fault::Gibibyte(b"[", image, b"]"));
    let ran = host.run(&["plan"]);
    println!("{} KiB", ran.peak);
    assert_eq!(ran.code, 69, "{ran:?}");
    assert!(ran.peak < 512 << 10, "{} KiB", ran.peak);
}

/// The most memory of a plan and of two prunes on a host of so many images,
/// nine in ten of them without any name.
fn crowd(count: usize) -> u64 {
    let fake = Fake::with(|root| World::crowd(&Recorded::read(KIND), root, count));
    // No limit of time is met, however slow the machine.
    let patient = "max_fraction = 1.0\nmax_run = \"1h\"\nmax_answer = \"1h\"";
    let policy = EAGER.replace("max_fraction = 1.0", patient);
    let secateur = Secateur::at(&fake.host(), &policy);
    let mut most = 0;
    let mut run = |args: &[&str]| {
        let start = Instant::now();
        let ran = weighed::run(&secateur.command(args));
        let took = start.elapsed();
        println!("{count} images, {args:?}: {} KiB, {took:.1?}", ran.peak);
        assert_eq!(ran.code, 0, "{:.2000}", ran.stderr);
        most = most.max(ran.peak);
        ran
    };
    run(&["prune"]);
    let plan = run(&["plan", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("a plan");
    assert_eq!(plan["images"].as_array().map(Vec::len), Some(count));
    let left = || fake.world(|world| world.images.len());
    // The minimum age is a second, which a fast run does not take.
    for _ in 0..20 {
        run(&["prune"]);
        if left() < count {
            break;
        }
    }
    assert_eq!(count - left(), 50, "limits.max_images");
    most
}

#[test]
fn ten_thousand_images_are_planned_and_pruned_in_less_than_64_mib() {
    assert!(crowd(10_000) < MOST_KIB);
}

#[test]
fn a_hundred_thousand_images_are_planned_and_pruned_in_bounded_memory() {
    assert!(crowd(100_000) < 10 * MOST_KIB);
}
