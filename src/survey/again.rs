//! A second survey where a deploy held a lock during the first one.

use crate::decide::Trust;
use crate::decide::plan::HeldBack;
use crate::engine::Reader;
use crate::guard::standing;
use crate::memory::state::Memory;
use crate::policy::Policy;
use crate::survey::live::{Survey, survey};
use crate::survey::no_survey::NoSurvey;

/// Waits a moment for deploy locks that were held during the survey, and surveys again:
/// what a deploy had half done may be a rollback by now, and no event tells of that. Only
/// what goes by both surveys is removed, for the second may have met a deploy as well.
pub async fn after_brief_locks<'a>(
    reader: &Reader,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    mut first: Survey<'a>,
) -> Result<Survey<'a>, NoSurvey> {
    if !first.watch.wait_for_locks(&mut first.activities).await {
        return Ok(first);
    }
    let (info, asked) = (first.info, first.watch.asked_to_end());
    let mut again = survey(reader, info, policy, memory, trust, asked).await?;
    again.watch = again.watch.begun_with(&first.watch);
    let going = first.plan.removals().map(|entry| entry.image().id.clone());
    let going = going.collect();
    again.plan = again.plan.restricted_to(&going, HeldBack::BesideADeploy);
    if again.watch.wait_for_locks(&mut again.activities).await
        && let Some(activity) = again.activities.last()
    {
        again.ledger = again.ledger.with_standing(standing(policy, activity));
    }
    Ok(again)
}
