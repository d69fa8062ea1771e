//! The beginning of a prune: the survey and the reviewed plan.

use chrono::{DateTime, Utc};

use crate::cli::{Global, PruneArgs};
use crate::commands::in_time::in_time;
use crate::commands::output::with_kept_progress;
use crate::commands::progress::Progress;
use crate::commands::reviewed;
use crate::commands::reviewed::{NoReview, Reviewed};
use crate::commands::start::{described, reach};
use crate::decide::Trust;
use crate::engine::{Info, Reader};
use crate::exit::Fault;
use crate::host::signals::EndRequest;
use crate::memory::state::{Memory, State};
use crate::policy::Policy;
use crate::report::Context;
use crate::survey;
use crate::survey::{Survey, SurveyError, after_brief_locks};

/// Connects and surveys; `None` if the run is asked to end before. It changes nothing, so it
/// can be given up at any moment.
pub(super) async fn read_host<'a>(
    global: &Global,
    policy: &'a Policy,
    state: &State,
    trust: Trust,
    asked: &EndRequest,
    progress: &mut Progress,
) -> Result<Option<(Reader, Memory, Result<Survey<'a>, SurveyError>)>, Fault> {
    let read = Box::pin(async {
        let reader = reach(global, policy).await?;
        let info = described(&reader, policy).await?;
        let memory = state.memory(&info.facts.key())?;
        let first = survey::survey(&reader, info, policy, &memory, trust, asked.clone()).await;
        let survey = match first {
            Ok(first) => after_brief_locks(&reader, policy, &memory, trust, first).await,
            Err(why) => Err(why),
        };
        Ok((reader, memory, survey))
    });
    let limit = policy.limits.max_run;
    let read = with_kept_progress(progress, policy, read);
    let read = in_time(limit, asked, read, || {
        let limit = humantime::format_duration(limit);
        format!("the engine could not be read within {limit} (limits.max_run)")
    });
    read.await
}

/// The reviewed plan, if the run is bound to one.
pub(super) fn reviewed(
    args: &PruneArgs,
    info: &Info,
    context: &Context,
    now: DateTime<Utc>,
) -> Result<Option<Reviewed>, NoReview> {
    let (facts, policy) = (&info.facts, &context.policy);
    let read = |path| reviewed::read(path, facts, policy, now, args.max_plan_age);
    args.plan.as_deref().map(read).transpose()
}
