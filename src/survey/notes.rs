//! What a report says beside the plan: stale signs, services that are stuck.

use chrono::TimeDelta;

use crate::guard::Activity;
use crate::memory::state::Memory;
use crate::model::conditions::SignState;
use crate::model::text::escape;
use crate::model::time::span;
use crate::model::{AtWork, Deploy, Swarm};

/// What goes with the report, in words fit to print: stale signs, and why ages
/// start anew.
pub fn notes(memory: &Memory, activities: &[Activity]) -> Vec<String> {
    let stale = activities.last().into_iter().flat_map(|activity| &activity.pulls.signs).filter_map(|sign| match &sign.state {
        SignState::Stale { quiet } => {
            let quiet = span(TimeDelta::from_std(*quiet).unwrap_or(TimeDelta::MAX));
            let path = escape(&sign.path.to_string_lossy());
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

/// Services that would hold up every run for ever, if Swarm's words were all.
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
