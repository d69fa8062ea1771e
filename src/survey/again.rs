//! A second survey where a deploy held a lock during the first one.

use crate::decide::Trust;
use crate::decide::plan::HeldBack;
use crate::engine::Reader;
use crate::guard::causes_since;
use crate::memory::state::Memory;
use crate::policy::Policy;
use crate::survey::error::SurveyError;
use crate::survey::live::{Survey, survey};

/// Waits a moment for deploy locks that were held during the survey, and surveys again: an
/// image that a deploy was replacing may be a rollback by now, and no event tells of that. Only
/// images that both surveys would remove are removed, because the second may have met a deploy
/// as well.
pub async fn after_brief_locks<'a>(
    reader: &Reader,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    mut first: Survey<'a>,
) -> Result<Survey<'a>, SurveyError> {
    if !first.watch.wait_for_locks(&mut first.activities).await {
        return Ok(first);
    }
    let (info, asked) = (first.info, first.watch.asked_to_end());
    let mut again = survey(reader, info, policy, memory, trust, asked).await?;
    again.watch = again.watch.begun_with(&first.watch);
    let going = first.plan.removals().map(|entry| entry.image.id.clone());
    let going = going.collect();
    again.plan = again.plan.restricted_to(&going, HeldBack::BesideADeploy);
    if again.watch.wait_for_locks(&mut again.activities).await
        && let Some(activity) = again.activities.last()
    {
        again.ledger = again
            .ledger
            .with_causes_since(causes_since(policy, activity));
    }
    Ok(again)
}
