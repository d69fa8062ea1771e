//! --restore beside a registry that allows no more, and an engine whose pulls fail, lie or
//! never end.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Host, KIND};
use crate::fake::fault::Fault;
use crate::lab::wait_until;
use crate::support::scene::Running;
use crate::support::{CALM, EAGER, refusals};

/// A registry without a password that has everything, allows so many more pulls, and
/// answers HEADs of manifests with this status.
pub(super) fn registry(status: u16, left: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = answer(stream, status, left);
        }
    });
    address
}

fn answer(mut stream: TcpStream, status: u16, left: u32) -> std::io::Result<()> {
    let mut hello = [0];
    if stream.peek(&mut hello)? == 0 || hello[0] == 0x16 {
        return Ok(()); // it speaks no TLS
    }
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let (status, length) = if first.starts_with("HEAD") {
        (status, 400)
    } else {
        (200, 0)
    };
    let digest = "a".repeat(64);
    let head = format!(
        "HTTP/1.1 {status} so\r\nContent-Length: {length}\r\nRateLimit-Remaining: {left};w=21600\r\n\
         Docker-Content-Digest: sha256:{digest}\r\nConnection: close\r\n\
         Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n"
    );
    stream.write_all(head.as_bytes())
}

pub(super) fn promising(host: &Host, registry: &str, more: &str) {
    let images = ["a:1", "b:1"].map(|name| format!("{registry}/{name}"));
    let policy = format!("{EAGER}[cache]\nimages = {images:?}\n{CALM}{more}\n");
    host.secateur.policy(&policy);
}

const RESTORE: [&str; 4] = ["verify-cache", "--restore", "--format", "json"];

fn restore(host: &Host, code: i32) -> Value {
    host.secateur.run(&RESTORE).ended(code).json()
}

/// Of both promised images, by name.
fn left_out(report: &Value) -> [(String, String); 2] {
    let mut images: Vec<&Value> = report["images"]
        .as_array()
        .expect("images")
        .iter()
        .collect();
    images.sort_by_key(|image| image["image"].as_str());
    let text = |it: &Value, key: &str| it["not_restored"][key].as_str().unwrap_or("").to_owned();
    [0, 1].map(|n| (text(images[n], "kind"), text(images[n], "message")))
}

#[test]
fn a_registry_near_its_limit_is_asked_for_no_pull_and_that_is_75() {
    for (status, left) in [(200, 19), (429, 0)] {
        let host = Host::of(KIND);
        promising(&host, &registry(status, left), "");
        let report = restore(&host, 75);
        assert_eq!(refusals(&report), ["pulls-left"], "{report:#}");
        let words = report["refusals"][0]["message"].as_str().expect("words");
        assert!(
            words.contains(&format!("allows {left} more pulls")),
            "{words}"
        );
        assert_eq!(left_out(&report).map(|it| it.0), ["refused", "refused"]);
        assert_eq!(host.fake.changes(), [""; 0]);
    }
    let host = Host::of(KIND);
    promising(&host, &registry(200, 19), "min_pulls_left = 19");
    restore(&host, 1);
    assert_eq!(host.fake.changes().len(), 2, "both are pulled");
}

#[test]
fn a_pull_that_fails_or_brings_nothing_is_no_success_and_the_next_image_is_tried() {
    let refused = b"{\"errorDetail\":{\"message\":\"no \\u001b[2Jspace\"}}\n".to_vec();
    for (fault, words) in [
        // The fake engine says that it pulled, and has nothing.
        (None, "leads to no image after its pull"),
        (
            Some(Fault::Body(refused)),
            "the pull failed: no \\u{1b}[2Jspace",
        ),
        (Some(Fault::Status(500, "no")), "500"),
        (Some(Fault::Half), "inside a message"),
    ] {
        let host = Host::of(KIND);
        promising(&host, &registry(200, 100), "");
        if let Some(fault) = fault {
            host.fake.fault("POST", "/images/create", fault);
        }
        let report = restore(&host, 1);
        let [first, second] = left_out(&report);
        assert_eq!(first.0, "failed", "{report:#}");
        assert!(first.1.contains(words), "{words}: {}", first.1);
        assert_eq!(second.0, "failed", "{report:#}");
        let pulls = host.fake.changes();
        assert!(pulls.len() == 2 && pulls.iter().all(|it| it.contains("/images/create")));
    }
}

#[test]
fn a_pull_that_never_ends_is_given_up_when_the_runs_time_is_over_or_a_signal_comes() {
    let host = Host::of(KIND);
    host.fake.fault("POST", "/images/create", Fault::HangInBody);
    let address = registry(200, 100);
    promising(&host, &address, "max_run = \"1s\"");
    let report = restore(&host, 1);
    assert_eq!(left_out(&report).map(|it| it.0), ["max-run", "max-run"]);
    promising(&host, &address, "");
    let before = host.fake.changes().len();
    let mut run = Running::of(&mut host.secateur.command(&RESTORE));
    wait_until("the pull is under way", || {
        (host.fake.changes().len() > before).then_some(())
    });
    run.signal("TERM");
    let asked = Instant::now();
    let report = run.ended(1).json();
    assert!(asked.elapsed().as_secs() < 10);
    assert_eq!(
        left_out(&report).map(|it| it.0),
        ["interrupted", "interrupted"]
    );
}

#[test]
fn what_a_pull_that_fails_has_transferred_counts_for_the_limit_of_the_run() {
    let lines =
        br#"{"id":"a","status":"Downloading","progressDetail":{"current":2000,"total":2000}}
{"errorDetail":{"message":"no"}}
"#;
    for (most, second) in [("1KiB", "max-share"), ("5KiB", "failed")] {
        let host = Host::of(KIND);
        let more = format!("max_share = \"{most}\"");
        promising(&host, &registry(200, 100), &more);
        let fault = Fault::Body(lines.to_vec());
        host.fake.fault("POST", "/images/create", fault);
        let report = restore(&host, 1);
        let seen = left_out(&report).map(|it| it.0);
        assert_eq!(seen, ["failed", second], "{report:#}");
    }
}

#[test]
fn a_tag_that_cannot_be_set_leaves_out_its_image_alone() {
    let host = Host::of(KIND);
    let names = ["app:latest", "zzz.example/b:1"];
    host.secateur
        .policy(&format!("{EAGER}[cache]\nimages = {names:?}\n{CALM}"));
    let baseline = host.secateur.dir().join("baseline.json");
    let baseline = baseline.to_string_lossy();
    let record = ["verify-cache", "--record", &baseline, "app:latest"];
    assert!([0, 1].contains(&host.secateur.run(&record).code));
    host.fake.world(|world| {
        let tagged = |image: &Value| image["RepoTags"] == json!(["app:latest"]);
        let id = world.ids().into_iter().find(|id| tagged(world.image(id)));
        world.image(&id.expect("the image"))["RepoTags"] = json!([]);
    });
    host.fake
        .fault("POST", "/tag", Fault::Status(500, "disk full"));
    let against = [&RESTORE[..], &["--against", &baseline]].concat();
    let report = host.secateur.run(&against).ended(1).json();
    let [first, second] = left_out(&report);
    assert_eq!(first.0, "failed", "{report:#}");
    assert!(first.1.contains("disk full"), "{first:?}");
    assert!(second.1.contains("leads to no image"), "{second:?}");
}

#[test]
fn a_run_that_is_asked_to_end_while_it_asks_is_no_proof() {
    let host = Host::of(KIND);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let name = format!("{address}/a");
    let digest = format!("{name}@sha256:{}", "a".repeat(64));
    host.fake.world(|world| {
        let id = world.ids().pop().expect("an image");
        world.image(&id)["RepoTags"] = json!([format!("{name}:1")]);
        world.image(&id)["RepoDigests"] = json!([digest]);
    });
    host.secateur
        .policy(&format!("{EAGER}[cache]\nimages = [\"{name}:1\"]\n{CALM}"));
    // The registry takes a connection, and says nothing.
    let mut run = Running::of(&mut host.secateur.command(&RESTORE));
    let asked = listener.accept().expect("a request");
    run.signal("TERM");
    let report = run.ended(1).json();
    assert_eq!(report["result"], "broken", "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("asked to end"), "{notes}");
    drop(asked);
}
