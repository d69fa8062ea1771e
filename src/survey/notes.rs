//! Notes of a report: stale signs, stuck services, what `keep.previous` cannot keep.

use chrono::TimeDelta;

use crate::guard::Activity;
use crate::memory::state::Memory;
use crate::model::conditions::SignState;
use crate::model::reference::Reference;
use crate::model::text::escape_path;
use crate::model::time::span;
use crate::model::{AtWork, Deploy, Inventory, Store, Swarm};
use crate::policy::Policy;

/// Fit to print: stale signs, stuck services, and why ages start anew.
pub fn notes(memory: &Memory, activities: &[Activity]) -> Vec<String> {
    let stale = activities.last().into_iter().flat_map(|activity| &activity.pulls.signs).filter_map(|sign| match &sign.state {
        SignState::Stale { quiet } => {
            let quiet = span(TimeDelta::from_std(*quiet).unwrap_or(TimeDelta::MAX));
            let path = escape_path(&sign.path);
            Some(format!("{path} is left from a pull that is over (untouched for {quiet}); it holds nothing up"))
        }
        SignState::Live(_) | SignState::BuildKit(_) | SignState::Build => None,
    });
    let stuck = activities
        .last()
        .into_iter()
        .flat_map(|activity| stuck(&activity.at_work));
    memory
        .notes
        .iter()
        .cloned()
        .chain(stale)
        .chain(stuck)
        .collect()
}

/// What `keep.previous` cannot keep here, and what does instead. Before 29 no engine tells
/// which images were built here; its build cache tells only that some were.
pub fn no_rollbacks(policy: &Policy, host: &Inventory) -> Option<String> {
    let lost = host.engine.store == Store::Containerd && host.at_work.built_here;
    let note = "on the containerd store a BuildKit build under a name that is here leaves nothing \
                of the image before it, so keep.previous has no rollback of what is built here. \
                Before a build give that image a second tag, or push builds and deploy by digest";
    (lost && policy.previous > 0).then(|| note.to_owned())
}

/// Names that a cut-off run dropped and no run has put back: a deploy by one of them would ask
/// the registry.
pub fn untied_names(host: &Inventory) -> Option<String> {
    const SHOWN: usize = 3;
    let away: Vec<String> = host
        .images
        .values()
        .flat_map(|image| &image.untied)
        .map(Reference::familiar)
        .collect();
    let more = match away.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = away.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    (!away.is_empty()).then(|| {
        format!(
            "a prune was cut off after it had dropped {}{more}; the next one that is not refused \
             puts back what is still wanted",
            names.join(", ")
        )
    })
}

/// Deploys that never end and that Swarm still reports as under way.
fn stuck(at_work: &AtWork) -> Vec<String> {
    let Swarm::Manager { under_way, .. } = &at_work.swarm else {
        return Vec::new();
    };
    let stuck = under_way.iter().filter(|deploy| deploy.stuck);
    let note = |deploy: &Deploy| {
        let (service, what) = (deploy.service.escaped(), &deploy.what);
        format!(
            "service {service}: {what}; nothing of it moves, so it holds nothing up, and its images are kept"
        )
    };
    stuck.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, image, inventory};

    #[test]
    fn names_that_are_away_are_told_three_of_them_by_name() {
        assert_eq!(untied_names(&inventory([image(1)])), None);
        let mut one = image(1);
        one.untied = [1, 2, 3, 4].map(|n| digest("app", n)).into();
        let note = untied_names(&inventory([one])).unwrap();
        assert_eq!(note.matches("app@").count(), 3, "{note}");
        assert!(note.contains("and 1 more"), "{note}");
    }

    #[test]
    fn where_builds_leave_no_rollback_and_the_policy_wants_some_the_plan_says_so() {
        let policy = |previous: u32| {
            let text = format!("[age]\nmin_age = \"14d\"\n[keep]\nprevious = {previous}\n");
            Policy::parse(&text, "test").unwrap()
        };
        let said = |store, built_here, previous| {
            let mut host = inventory([]);
            host.engine.store = store;
            host.at_work.built_here = built_here;
            no_rollbacks(&policy(previous), &host).is_some()
        };
        assert!(said(Store::Containerd, true, 1));
        assert!(!said(Store::Containerd, true, 0));
        assert!(!said(Store::Containerd, false, 1));
        assert!(!said(Store::Graphdriver, true, 1));
        assert!(!said(Store::Podman, true, 1));
    }
}
