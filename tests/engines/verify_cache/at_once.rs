//! A prune, a restore and the timer's prune, begun at the same moment.

use super::restore::{names, promising};
use super::*;
use crate::support::scene::Running;

const ROUNDS: usize = 8;

/// Whether a run was refused because this one was at work.
fn gave_way(report: &Value, others: &[u32]) -> bool {
    let refusals = report["refusals"].as_array().expect("refusals");
    let [refusal] = &refusals[..] else {
        return false;
    };
    let message = refusal["message"].as_str().expect("a message");
    let named = |pid: &u32| message.contains(&format!("pid {pid} ("));
    refusal["kind"] == "other-run" && others.iter().any(named)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_runs_that_begin_at_once_one_works_and_the_others_name_it() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        // A restore takes some time.
        let line = host.slow(200_000);
        let wanted = line.name("wanted:v1");
        host.registry
            .put("wanted:v1", &Archive::new().noise(100_000).tag("x:1"));
        host.secateur
            .policy(&promising(std::slice::from_ref(&wanted)));
        host.engine.small("stays:1");
        let (mut refused, mut worked) = (0, 0);
        for _ in 0..ROUNDS {
            host.engine.remove(&wanted);
            for name in names(&host.engine) {
                // By digest it came, too.
                if name.contains("wanted") {
                    host.engine.remove(&name);
                }
            }
            let old = host.engine.load(&Archive::new().noise(1000));
            host.secateur.remember();
            let prune = || {
                let mut prune = host.secateur.command(&["prune", "--format", "json"]);
                Running::of(&mut prune)
            };
            let mut runs = [prune(), host.start(), prune()];
            let pids = [0, 1, 2].map(|n| runs[n].id());
            let ran = runs.map(Running::done);
            for (n, ran) in ran.iter().enumerate() {
                let report = ran.json();
                if ran.code == 75 {
                    assert!(gave_way(&report, &pids), "{}: {report:#}", kind.name());
                    refused += 1;
                } else {
                    assert_eq!(ran.code, 0, "{} {n}: {ran:?}", kind.name());
                    worked += 1;
                }
            }
            // Whoever gave way comes again, as a timer does.
            host.secateur.prune(0);
            host.restore(0, &[]);
            assert!(!host.engine.has(&old), "{}", kind.name());
            for name in [wanted.as_str(), "stays:1"] {
                assert!(host.engine.has(name), "{}: {name}", kind.name());
            }
        }
        println!("{}: {worked} worked, {refused} gave way", kind.name());
        assert_eq!(worked + refused, 3 * ROUNDS);
        assert!(worked >= ROUNDS && refused >= ROUNDS, "{worked} {refused}");
    }
}
