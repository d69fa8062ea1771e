//! What becomes of a removal where the engine refuses it, fails at it, lies
//! about it, or goes away in the middle.

use serde_json::{Value, json};

use super::{Host, KIND, KINDS};
use crate::fake::fault::Fault;
use crate::lab::wait_until;
use crate::support::{ids, unpinned};

/// The lines that the journal has of outcomes, as `id result`.
fn results(host: &Host, litter: &[String]) -> Vec<Vec<String>> {
    litter.iter().map(|id| host.secateur.results(id)).collect()
}

#[test]
fn a_refused_removal_is_skipped_and_never_forced() {
    for why in [
        "conflict: unable to remove repository reference \"x\" (must force) - container 0123456789ab is using its referenced image",
        "conflict: unable to delete 0123456789ab (must be forced) - image is being used by stopped container 0123456789ab",
        "conflict: unable to delete 0123456789ab (cannot be forced) - image is being used by running container 0123456789ab",
        "conflict: unable to delete 0123456789ab (cannot be forced) - image has dependent child images",
        "conflict: unable to delete 0123456789ab (must be forced) - image is referenced in multiple repositories",
        "image is being mounted",
        "",
    ] {
        for kind in KINDS {
            let host = Host::of(kind);
            let litter = host.litter();
            host.fake.world(|world| world.refuse = vec![(409, why)]);
            let outcome = host.secateur.prune(0);
            assert_eq!(
                ids(&outcome, "skipped"),
                litter[..1],
                "{kind} {why}: {outcome:#}"
            );
            assert_eq!(ids(&outcome, "removed"), litter[1..], "{kind} {why}");
            host.is_whole_but_for(&litter[1..]);
            for change in host.fake.changes() {
                assert!(
                    !change.contains("force=1") && !change.contains("force=true"),
                    "{change}"
                );
                // By a name of ours, never by id.
                assert!(
                    !change.starts_with("DELETE ") || change.contains("secateur.invalid"),
                    "{change}"
                );
            }
        }
    }
}

#[test]
fn a_removal_that_fails_is_a_failure_and_the_next_is_tried() {
    for (status, why) in [
        (
            500,
            "write /var/lib/docker/image/overlay2/.tmp-repositories.json123: no space left on device",
        ),
        (
            500,
            "driver \"overlay2\" failed to remove root filesystem: device or resource busy",
        ),
        (503, "shutting down"),
        (507, ""),
        (400, "bad"),
    ] {
        let host = Host::of(KIND);
        let litter = host.litter();
        host.fake.world(|world| world.refuse = vec![(status, why)]);
        let outcome = host.secateur.prune(1);
        assert_eq!(
            outcome["failed"][0]["id"],
            litter[0].as_str(),
            "{outcome:#}"
        );
        let error = outcome["failed"][0]["error"].as_str().expect("an error");
        assert!(
            error.contains(why) && error.contains(&status.to_string()),
            "{error}"
        );
        assert_eq!(ids(&outcome, "removed"), litter[1..]);
        assert_eq!(results(&host, &litter), [["failed"], ["removed"]]);
        // When there is room again, the next run takes it.
        assert_eq!(ids(&host.secateur.prune(0), "removed"), litter[..1]);
        host.is_whole_but_for(&litter);
    }
}

#[test]
fn a_name_of_somebody_that_went_along_stops_the_run_and_is_reported() {
    let host = Host::of(KIND);
    let litter = host.litter();
    host.fake
        .world(|world| world.also = vec![json!({"Untagged": "somebody/app:1"})]);
    let outcome = host.secateur.prune(70);
    assert_eq!(outcome["result"], "stopped");
    let collateral = outcome["collateral"].as_array().expect("collateral");
    assert_eq!(collateral.len(), 1, "{outcome:#}");
    assert_eq!(collateral[0]["what"], "docker.io/somebody/app:1");
    // Built here: a pull of that name would bring somebody else's image.
    assert_eq!(collateral[0]["way_back"], json!(null));
    host.is_whole_but_for(&litter[..1]);
    assert_eq!(
        host.secateur.results(&litter[0]).last().map(String::as_str),
        Some("collateral")
    );
    let drops = host.fake.changes();
    assert_eq!(
        drops
            .iter()
            .filter(|line| line.starts_with("DELETE "))
            .count(),
        1,
        "{drops:?}"
    );
}

#[test]
fn the_longest_name_that_went_along_is_told_whole_with_the_command_that_brings_it_back() {
    let name = format!("r.example/{}:{}", "a".repeat(245), "t".repeat(128));
    let digest = format!("r.example/app@sha256:{}", "7".repeat(64));
    let command = format!("docker pull {digest} && docker tag {digest} {name}");
    for format in ["json", "text"] {
        let host = Host::of(KIND);
        let first = host.litter().remove(0);
        host.secateur.policy(&unpinned());
        host.fake.world(|world| {
            world.image(&first)["RepoDigests"] = json!([digest]);
            world.also = vec![json!({"Untagged": name})];
        });
        host.secateur.until_removable(&first);
        let ran = host.run(&["prune", "--format", format]);
        assert_eq!(ran.code, 70, "{ran:?}");
        if format == "json" {
            let outcome: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            let lost = &outcome["collateral"][0];
            assert_eq!(lost["what"], name.as_str(), "{outcome:#}");
            assert_eq!(lost["way_back"], command.as_str(), "{outcome:#}");
        } else {
            // Wide as it is, it is broken between words alone.
            let joined = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(joined.contains(&command), "{}", ran.stdout);
        }
    }
}

#[test]
fn an_answer_that_names_another_image_as_deleted_stops_the_run() {
    let host = Host::of(KIND);
    let litter = host.litter();
    let kept = host
        .fake
        .world(|world| world.ids())
        .into_iter()
        .find(|id| !litter.contains(id))
        .expect("one");
    for other in [&kept, &litter[1]] {
        let host = Host::of(KIND);
        let also = vec![json!({"Deleted": other})];
        host.fake.world(|world| world.also = also);
        let outcome = host.secateur.prune(70);
        assert!(
            outcome["collateral"].to_string().contains(other),
            "{outcome:#}"
        );
        host.is_whole_but_for(&litter[..1]);
    }
    // A layer of the image itself is none.
    let layers = vec![json!({"Deleted": format!("sha256:{:064x}", 7)})];
    host.fake.world(|world| world.also = layers);
    assert_eq!(ids(&host.secateur.prune(0), "removed"), litter);
}

#[test]
fn an_image_that_is_still_there_after_a_200_stops_the_run() {
    for kind in KINDS {
        let host = Host::of(kind);
        let litter = host.litter();
        host.fake.world(|world| world.lies = true);
        let outcome = host.secateur.prune(70);
        assert_eq!(outcome["result"], "stopped", "{kind}: {outcome:#}");
        assert_eq!(ids(&outcome, "removed"), [""; 0]);
        assert_eq!(host.secateur.results(&litter[0]), ["unknown"]);
        let changes = host.fake.changes();
        assert_eq!(
            changes
                .iter()
                .filter(|line| line.starts_with("DELETE "))
                .count(),
            1,
            "{changes:?}"
        );
        host.is_whole_but_for(&[]);
        // Should the engine come to itself, the next run finds out.
        host.fake.world(|world| world.lies = false);
        assert_eq!(ids(&host.secateur.prune(0), "removed"), litter, "{kind}");
        assert!(host.fake.names_of_ours().is_empty(), "{kind}");
    }
}

#[test]
fn an_answer_that_says_nothing_is_held_against_what_is_there() {
    // It did it and does not say so.
    let host = Host::of(KIND);
    let litter = host.litter();
    host.fake.fault("DELETE", "", Fault::Body(b"[]".to_vec()));
    assert_eq!(ids(&host.secateur.prune(0), "removed"), litter);
    host.is_whole_but_for(&litter);
    // It did nothing and does not say so either.
    let host = Host::of(KIND);
    host.fake.world(|world| world.lies = true);
    host.fake.fault("DELETE", "", Fault::Body(b"[]".to_vec()));
    let outcome = host.secateur.prune(70);
    assert_eq!(ids(&outcome, "removed"), [""; 0]);
    host.is_whole_but_for(&[]);
}

/// The engine is gone from this request on, for the rest of the run.
fn restarts(host: &Host, before_it_is_done: bool) {
    let fault = if before_it_is_done {
        Fault::ResetBefore
    } else {
        Fault::ResetAfter
    };
    host.fake.fault_at("DELETE", "", 1, fault);
    // The look that would tell what came of it: the planning looks once, the
    // removal once before.
    let id = &host.litter()[0];
    host.fake
        .fault_at("GET", &format!("/images/{id}/json"), 3, Fault::ResetBefore);
}

#[test]
fn an_engine_that_restarts_in_a_removal_ends_the_run_and_the_next_finds_out() {
    for before_it_is_done in [true, false] {
        let host = Host::of(KIND);
        let litter = host.litter();
        restarts(&host, before_it_is_done);
        let outcome = host.secateur.prune(69);
        assert_eq!(outcome["result"], "stopped", "{outcome:#}");
        assert_eq!(host.fake.faults_met(), 2);
        assert_eq!(ids(&outcome, "removed"), [""; 0], "nobody knows");
        assert_eq!(host.secateur.open_intents(), litter[..1]);
        let gone: &[String] = if before_it_is_done { &[] } else { &litter[..1] };
        host.is_whole_but_for(gone);

        assert_eq!(host.secateur.prune(0)["result"], "pruned");
        host.is_whole_but_for(&litter);
        assert_eq!(host.secateur.open_intents(), [""; 0]);
        assert!(host.fake.names_of_ours().is_empty());
        let results = host.secateur.results(&litter[0]);
        let last = results.last().map(String::as_str);
        assert_eq!(last, Some("removed"), "{results:?}");
    }
}

/// A run removed all litter, and the engine acknowledged a tag for the first of it
/// just when it had ended.
fn with_a_late_tag() -> (Host, String) {
    let host = Host::of(KIND);
    let first = host.litter().remove(0);
    host.secateur.prune(0);
    let journal = host.secateur.journal();
    let ended = journal.last().expect("an outcome")["at"].as_str();
    let ended: chrono::DateTime<chrono::Utc> = ended.expect("a date").parse().expect("a date");
    let late = (first.clone(), "shop:late".to_owned(), ended.timestamp());
    host.fake.world(|world| world.tagged = vec![late]);
    (host, first)
}

/// The next run tells that the tag is lost, and the one after it does not.
fn is_told_once((host, first): &(Host, String)) {
    let outcome = host.secateur.prune(70);
    assert_eq!(
        outcome["collateral"][0]["what"],
        "docker.io/library/shop:late"
    );
    assert_eq!(outcome["collateral"][0]["with"], first.as_str());
    assert_eq!(host.secateur.prune(0)["collateral"], json!([]));
}

#[test]
fn a_tag_that_was_acknowledged_after_the_runs_end_is_told_by_the_next_run_once() {
    is_told_once(&with_a_late_tag());
}

#[test]
fn a_late_tag_of_a_run_that_was_cut_off_is_told() {
    let late = with_a_late_tag();
    let journal = late.0.secateur.state().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("the journal");
    let lines = text.split_inclusive('\n');
    let intents: String = lines.filter(|line| line.contains("\"intent\"")).collect();
    std::fs::write(&journal, intents).expect("a journal");
    is_told_once(&late);
}

/// The next run asks for no events of before the tag.
fn is_past((host, _): &(Host, String)) {
    // An engine tells its events by the second, and from one second before.
    let given = host.fake.world(|world| world.tagged[0].2);
    wait_until("the second after the next", || {
        (chrono::Utc::now().timestamp() > given + 2).then_some(())
    });
}

#[test]
fn a_late_tag_is_told_by_the_first_run_that_makes_a_report() {
    let late = with_a_late_tag();
    is_past(&late);
    let plan = late.0.secateur.dir().join("plan.json");
    std::fs::write(&plan, "{}").expect("a plan");
    let by_others = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&plan, by_others).expect("its mode");
    let ran = late
        .0
        .run(&["prune", "--plan", plan.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 77, "{ran:?}");
    is_told_once(&late);
}

#[test]
fn a_late_tag_that_could_not_be_asked_for_is_told_when_it_can_be() {
    let late = with_a_late_tag();
    is_past(&late);
    let broken = Fault::Status(500, r#"{"message":"busy"}"#);
    late.0.fake.fault_at("GET", "shop:late", 1, broken);
    let ran = late.0.run(&["prune"]);
    assert_eq!(ran.code, 69, "{ran:?}");
    is_told_once(&late);
}

#[test]
fn a_run_that_is_asked_to_end_does_not_wait_for_what_earlier_runs_lost() {
    let late = with_a_late_tag();
    late.0.fake.fault_at("GET", "shop:late", 1, Fault::Hang);
    let mut run = late.0.secateur.start_prune();
    wait_until("the question", || {
        let asked = late.0.fake.seen();
        asked
            .iter()
            .any(|line| line.contains("shop:late"))
            .then_some(())
    });
    run.signal("TERM");
    assert_eq!(run.ended(75).json()["result"], "stopped");
    is_told_once(&late);
}

#[test]
fn a_removal_without_an_answer_is_not_confirmed_and_no_failure() {
    // The image is still there when it is looked for: the engine may be at it.
    let host = Host::of(KIND);
    let litter = host.litter();
    host.fake.fault_at("DELETE", "", 1, Fault::ResetBefore);
    let outcome = host.secateur.prune(69);
    assert_eq!(ids(&outcome, "failed"), litter[..1], "{outcome:#}");
    assert_eq!(outcome["failed"][0]["unconfirmed"], true);
    assert_eq!(host.secateur.results(&litter[0]), ["unknown"]);
    assert_eq!(ids(&host.secateur.prune(0), "removed"), litter);
}

#[test]
fn an_engine_that_restarts_while_it_lists_ends_the_run() {
    for path in [
        "/images/json",
        "/containers/json",
        "/services",
        "/tasks",
        "/events",
    ] {
        for fault in [Fault::ResetBefore, Fault::CutChunk] {
            let host = Host::of(KIND);
            host.fake.fault("GET", path, fault);
            for args in [&["plan"][..], &["prune"]] {
                let ran = host.run(args);
                assert_eq!((ran.code, &*ran.stdout), (69, ""), "{path}: {ran:?}");
            }
            assert_eq!(host.fake.changes(), [""; 0]);
        }
    }
}

#[test]
fn a_name_that_comes_while_we_name_the_image_keeps_it() {
    for kind in KINDS {
        let host = Host::of(kind);
        let litter = host.litter();
        let id = litter[0].clone();
        host.fake
            .world(|world| world.rival = Some((id, "somebody/has:it".into())));
        let outcome = host.secateur.prune(0);
        assert_eq!(ids(&outcome, "skipped"), litter[..1], "{kind}: {outcome:#}");
        assert_eq!(ids(&outcome, "removed"), litter[1..], "{kind}");
        assert!(host.fake.names_of_ours().is_empty(), "{kind}");
        let names = host.fake.world(|world| world.names());
        assert!(names.contains(&"somebody/has:it".to_owned()), "{names:?}");
    }
}
