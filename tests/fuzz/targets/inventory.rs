//! A saved host of any bytes is decided under the greediest policy there is:
//! nothing with a tag goes, each image has a verdict, and no report holds a
//! byte that a terminal obeys.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secateur::decide::plan::Verdict;
use secateur::decide::{Trust, decide};
use secateur::policy::Policy;
use secateur::report::{COLUMNS, Context, PolicySource, json, text};
use secateur::survey::SavedHost;

static GREEDY: LazyLock<Policy> = LazyLock::new(|| {
    let text = "[age]\nmin_age = \"1s\"\ndigest_pinned = \"1s\"\n[keep]\nprevious = 0\n\
                [disk]\nstart_above_percent = 0\nstop_below_percent = 0\n\
                [limits]\nmax_images = 100000\nmax_fraction = 1.0\n";
    Policy::parse(text, "greedy").expect("a policy")
});

fuzz_target!(|bytes: &[u8]| {
    let (inventory, ledger) = match SavedHost::from_json(bytes) {
        Ok(saved) => saved,
        Err(why) => {
            assert!(!why.contains(char::is_control), "{why:?}");
            return;
        }
    };
    for trust in [Trust::OwnMemory, Trust::EngineDates] {
        let plan = decide(&GREEDY, &inventory, &ledger, trust);
        assert_eq!(plan.entries().len(), inventory.images.len());
        for entry in plan.entries() {
            let goes = matches!(entry.verdict, Verdict::Remove | Verdict::Candidate(_));
            assert_eq!(goes, entry.reasons.is_empty());
            assert!(!goes || entry.image.tags.is_empty());
        }
        let context = Context {
            policy: PolicySource {
                file: None,
                fingerprint: String::new(),
            },
            refusals: Vec::new(),
            notes: Vec::new(),
            unmatched: Vec::new(),
            left_behind: Vec::new(),
            columns: COLUMNS,
        };
        let shown = text::prune::Shown {
            verbose: true,
            ..Default::default()
        };
        let report = text::prune::plan(&plan, &context, &shown);
        // Styles are our own; anstream takes them away where nobody wants them.
        let odd = report.replace("\u{1b}[", "");
        let odd = odd.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{report:?}");
        let document = json::prune::plan(&plan, &context);
        let _: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    }
});
