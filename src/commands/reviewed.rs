//! A plan that somebody has reviewed (prune --plan). Decides whether it may still be
//! carried out: same engine and store, same policy, not too old. It can only make a
//! new plan smaller.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::decide::plan::{Entry, HeldBack, KeepReason, Plan, Verdict};
use crate::exit::{Exit, Fault};
use crate::host::files::read_trusted_through_links;
use crate::model::text::escape_path;
use crate::model::time::span;
use crate::model::{EngineFacts, ImageId};
use crate::prune::outcome::Stayed;
use crate::report::PolicySource;

/// A plan of 100,000 images has some 60 MB.
pub(crate) const LONGEST_PLAN: u64 = 96 << 20;

#[derive(Deserialize)]
struct Document {
    schema: String,
    generated_at: DateTime<Utc>,
    policy: PolicyPart,
    engine: EnginePart,
    images: Vec<ImagePart>,
}

#[derive(Deserialize)]
struct PolicyPart {
    fingerprint: String,
}

#[derive(Deserialize)]
struct EnginePart {
    id: String,
    store: String,
}

#[derive(Deserialize)]
struct ImagePart {
    id: ImageId,
    verdict: String,
}

/// The images that a reviewed plan removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reviewed {
    images: BTreeSet<ImageId>,
}

impl Reviewed {
    /// The reviewed part of a new plan, and the reviewed images that it does not remove.
    pub(crate) fn restrict(&self, plan: Plan) -> (Plan, Vec<Stayed>) {
        let changed = self.changed(&plan);
        (
            plan.restricted_to(&self.images, HeldBack::NotReviewed),
            changed,
        )
    }

    /// The reviewed images that the new plan does not remove, each with the reason.
    fn changed(&self, plan: &Plan) -> Vec<Stayed> {
        let why = |id: &ImageId| -> Option<String> {
            let now = match plan.entry(id) {
                None => "it is gone".to_owned(),
                Some(entry) => match entry.verdict {
                    Verdict::Remove => return None,
                    Verdict::Candidate(held_back) => held_back.message().to_owned(),
                    Verdict::Keep => first_reason(entry),
                },
            };
            Some(format!("since the review: {now}"))
        };
        let stayed = |id: &ImageId| {
            let why = why(id)?;
            Some(Stayed {
                id: id.clone(),
                why,
                because: None,
            })
        };
        self.images.iter().filter_map(stayed).collect()
    }
}

fn first_reason(entry: &Entry) -> String {
    let reason = entry.reasons.first().map(KeepReason::message);
    reason.unwrap_or_else(|| "it is kept".to_owned())
}

/// Why a reviewed plan removes nothing.
#[derive(Debug)]
pub(crate) enum NoReview {
    /// It may not be carried out. Fit to print.
    Refused(String),
    /// It cannot be read, or trusted.
    Fault(Fault),
}

/// Reads a reviewed plan and checks it. The file causes removals, so it is an error if anybody
/// else could have written it.
pub(crate) fn read(
    path: &Path,
    engine: &EngineFacts,
    policy: &PolicySource,
    now: DateTime<Utc>,
    max_age: Duration,
) -> Result<Reviewed, NoReview> {
    let shown = escape_path(path);
    let bytes = read_trusted_through_links(path, LONGEST_PLAN)
        .map_err(|error| NoReview::Fault(Fault::new(error.exit(Exit::State), error.to_string())))?;
    let refuse = |why: String| {
        NoReview::Refused(format!(
            "reviewed plan {shown}: {why}; make a new one with `secateur plan --out`"
        ))
    };
    let bytes = bytes.ok_or_else(|| refuse("it is not there".into()))?;
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(crate::model::text::json_error(&error)))?;
    check(&document, engine, policy, now, max_age).map_err(refuse)?;
    let removed = document
        .images
        .into_iter()
        .filter(|image| image.verdict == "remove");
    Ok(Reviewed {
        images: removed.map(|image| image.id).collect(),
    })
}

fn check(
    document: &Document,
    engine: &EngineFacts,
    policy: &PolicySource,
    now: DateTime<Utc>,
    max_age: Duration,
) -> Result<(), String> {
    if document.schema != "secateur/plan/1" {
        return Err(format!(
            "its schema is {:?}, wanted \"secateur/plan/1\"",
            document.schema
        ));
    }
    if document.engine.id != engine.id.raw() || document.engine.store != engine.store.to_string() {
        return Err("it is of another engine or store".into());
    }
    if document.policy.fingerprint != policy.fingerprint {
        return Err("it was made with another policy".into());
    }
    let age = now - document.generated_at;
    match age.to_std() {
        Err(_) => Err("it was made in the future".into()),
        Ok(seen) if seen > max_age => Err(format!(
            "it is {} old, more than {} (--max-plan-age)",
            span(age),
            humantime::format_duration(max_age)
        )),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Trust, decide};
    use crate::memory::ledger::Ledger;
    use crate::testing::{id, image, inventory, tagged};

    #[test]
    fn engines_whose_ids_differ_late_are_two_engines() {
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let mut host = inventory([image(1)]);
        let id = |end: &str| crate::model::text::Untrusted::new("x".repeat(300) + end);
        host.engine.id = id("1");
        let ledger = Ledger::empty(&host.engine.key());
        let plan = decide(&policy, &host, &ledger, Trust::OwnMemory);
        let source = PolicySource {
            file: None,
            fingerprint: "f".into(),
        };
        let context = crate::report::Context::new(source.clone(), Vec::new());
        let text = crate::report::json::prune::plan(&plan, &context);
        let document: Document = serde_json::from_str(&text).unwrap();
        let is_of = |engine: &EngineFacts| {
            check(
                &document,
                engine,
                &source,
                plan.now(),
                Duration::from_hours(1),
            )
        };
        assert_eq!(is_of(&host.engine), Ok(()));
        host.engine.id = id("2");
        is_of(&host.engine).unwrap_err();
    }

    #[test]
    fn each_reviewed_image_that_stays_is_named_with_its_reason() {
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let host = inventory([tagged(1, "app:1"), image(2)]);
        let plan = decide(
            &policy,
            &host,
            &Ledger::empty(&host.engine.key()),
            Trust::OwnMemory,
        );
        let reviewed = Reviewed {
            images: [id(1), id(2), id(3)].into(),
        };
        let told: Vec<String> = reviewed
            .changed(&plan)
            .into_iter()
            .map(|stayed| format!("{} {}", &stayed.id.hex()[..8], stayed.why))
            .collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "00000001 since the review: tagged app:1");
        assert!(
            told[1].starts_with("00000002 since the review: "),
            "{told:?}"
        );
        assert_eq!(told[2], "00000003 since the review: it is gone");
    }
}
