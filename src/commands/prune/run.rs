//! Takes the run lock, surveys, saves the ledger, clears the plan, carries it out, reports. The
//! order matters: the survey is on disk before anything is removed.

use std::time::Duration;

use crate::cli::{Global, PruneArgs};
use crate::commands::in_time::in_time;
use crate::commands::output::{Began, columns, write_metrics};
use crate::commands::own_run::{name_of_run, open_state, other_run};
use crate::commands::progress::Progress;
use crate::commands::prune::begin::{read_host, reviewed};
use crate::commands::prune::report::{Done, metrics_text, report};
use crate::commands::reviewed::NoReview;
use crate::commands::start::{policy, removal_warnings, trust};
use crate::commands::unmatched::unmatched;
use crate::decide::plan::{Plan, Pressure};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Cleared, Refusal, clear};
use crate::host;
use crate::host::signals::{EndRequest, Signals};
use crate::memory::journal::RecordKind;
use crate::memory::ledger::Ledger;
use crate::memory::state::{Memory, State};
use crate::model::{Inventory, Observed};
use crate::policy::Policy;
use crate::prune::aftermath::Claims;
use crate::prune::live::{Again, LiveEngine, LiveHost};
use crate::prune::outcome::{Ending, Loss, Outcome};
use crate::prune::{cut_off, lost};
use crate::report::{Context, metrics};
use crate::survey;
use crate::survey::{Survey, SurveyError};

/// How long the engine may take to report what earlier runs lost; `limits.max_answer`, if that
/// is longer.
const EARLIER_LOSSES: Duration = Duration::from_secs(30);

pub(crate) async fn prune(global: &Global, args: &PruneArgs) -> Result<Exit, Fault> {
    let began = Began::now();
    let mut progress = Progress::new(global);
    let policy = policy(global);
    let done = match &policy {
        Ok((policy, source)) => {
            let mut context = Context::new(source.clone(), removal_warnings(policy));
            context.columns = columns();
            let work = unstopped(global, args, policy, &mut context, &mut progress);
            work.await.map(|(outcome, plan)| Done {
                outcome,
                plan,
                policy,
                context,
            })
        }
        Err(fault) => Err(fault.clone()),
    };
    progress.clear();
    let exit = match &done {
        Ok(done) => report(global, done),
        Err(fault) => Err(fault.clone()),
    };
    let file = args.metrics.file.as_deref();
    write_metrics(global, file, metrics::prune::PREFIX, |previous| {
        metrics_text(&done, &exit, began, previous)
    });
    exit
}

/// The run. It is not stopped before its end, and has released all locks by then; Ctrl-Z at a
/// terminal ends it. It writes to a terminal or pipe only through `progress`.
async fn unstopped(
    global: &Global,
    args: &PruneArgs,
    policy: &Policy,
    context: &mut Context,
    progress: &mut Progress,
) -> Result<(Outcome, Option<Plan>), Fault> {
    let signals = Signals::new()?;
    let asked = signals.asked_to_end();
    let work = survey_and_prune(global, args, policy, context, (&asked, progress));
    Box::pin(work).await
}

async fn survey_and_prune(
    global: &Global,
    args: &PruneArgs,
    policy: &Policy,
    context: &mut Context,
    (asked, progress): (&EndRequest, &mut Progress),
) -> Result<(Outcome, Option<Plan>), Fault> {
    let started = host::clock::read()?;
    let run = name_of_run(started.wall);
    let ended = |ending, refusals| Outcome {
        ending,
        refusals,
        ..Outcome::new(
            run.clone(),
            started.wall,
            Observed::Unknown("not measured".into()),
        )
    };
    let refused = |refusal: Refusal| Ok((ended(Ending::Refused, vec![refusal]), None));
    let mut state = match open_state(global)? {
        Ok(state) => state,
        Err(held) => return refused(other_run(policy, &held)),
    };
    let trust = trust(args.trust_engine_dates);
    let read = read_host(global, policy, &state, trust, asked, progress).await?;
    let Some((reader, memory, survey)) = read else {
        return Ok((ended(Ending::Interrupted, Vec::new()), None));
    };
    // By now an engine has answered: a run with a misspelt option was no prune.
    if let Some(file) = &context.policy.file {
        state.used_policy(file)?;
    }
    let survey = match survey {
        Ok(survey) => survey,
        Err(SurveyError::Contradiction(why)) => {
            return refused(Cause::EngineInconsistent(why).into());
        }
        Err(SurveyError::Fault(fault)) => return Err(fault),
    };
    add_notes(context, policy, &memory, &survey);
    let (seen, ledger) = (&survey.inventory, survey.ledger);
    let earlier = lost::by_earlier_runs((seen, &survey.info), &reader, &state, &memory);
    let earlier = in_time(longest_wait(policy), asked, earlier, || {
        earlier_losses_unknown(policy)
    })
    .await;
    let ledger = remember(&mut state, &memory, seen, ledger, &earlier)?;
    let Some(earlier) = earlier? else {
        return Ok((ended(Ending::Interrupted, Vec::new()), Some(survey.plan)));
    };
    let (info, inventory) = (survey.info, survey.inventory);
    let (shown, mut changed, cleared) = match reviewed(args, &info, context, inventory.taken_at) {
        Err(NoReview::Fault(fault)) => return Err(fault),
        Err(NoReview::Refused(why)) => {
            let refused = ended(Ending::PlanRefused(why), Vec::new());
            (survey.plan, Vec::new(), Err(refused))
        }
        Ok(reviewed) => {
            let (plan, changed) = match reviewed {
                Some(reviewed) => reviewed.restrict(survey.plan),
                None => (survey.plan, Vec::new()),
            };
            let cleared = clear(policy, &survey.activities, plan.clone())
                .map_err(|refusals| ended(Ending::Refused, refusals));
            (plan, changed, cleared)
        }
    };
    let (mut outcome, mut state) = match cleared {
        Err(mut refused) => {
            context.notes.extend(survey::untied_names(&inventory));
            cut_off::recheck(&reader, &mut state, &memory, &inventory, &mut refused).await;
            (refused, state)
        }
        Ok(cleared) => {
            let (remover, cleared) = reader.into_remover(cleared);
            let engine = LiveEngine {
                remover: &remover,
                info: &info,
                claims: Claims::since(inventory.taken_at),
                again: Again {
                    policy,
                    memory: &memory,
                    trust,
                    asked,
                },
            };
            progress.show(|| "removing".to_owned());
            let mut on_progress =
                |done, of| progress.show(|| format!("removing: {done} of {of} images"));
            let mut host = LiveHost {
                watch: survey.watch,
                state,
                ledger: &ledger,
                on_progress: &mut on_progress,
            };
            let notes = &mut context.notes;
            let mut outcome = remove(cleared, policy, run, &engine, &mut host, notes).await;
            let reader = remover.reader();
            cut_off::recheck(reader, &mut host.state, &memory, &inventory, &mut outcome).await;
            (outcome, host.state)
        }
    };
    outcome.skipped.append(&mut changed);
    lost::tell(&mut state, &mut outcome, (inventory.taken_at, earlier));
    Ok((outcome, Some(shown)))
}

fn add_notes(context: &mut Context, policy: &Policy, memory: &Memory, survey: &Survey<'_>) {
    let Survey {
        plan, activities, ..
    } = survey;
    context.notes.extend(survey::notes(memory, activities));
    context.notes.extend(unmeasured(plan));
    context.unmatched = unmatched(policy, plan, activities);
}

/// Explains why nothing was removed.
fn unmeasured(plan: &Plan) -> Option<String> {
    match plan.pressure() {
        Pressure::Asked { .. } | Pressure::Room { .. } => None,
        Pressure::Unknown(why) => Some(format!(
            "the disk cannot be measured, so nothing goes: {why}"
        )),
    }
}

/// Carries out the plan, and asks what else went meanwhile. If that stays unknown, a note says
/// so.
async fn remove(
    cleared: Cleared,
    policy: &Policy,
    run: String,
    engine: &LiveEngine<'_>,
    host: &mut LiveHost<'_>,
    notes: &mut Vec<String>,
) -> Outcome {
    let work = crate::prune::prune(cleared, policy, run, engine, host);
    let mut outcome = Box::pin(work).await;
    if let Err(note) = lost::by_this_run(engine, host, &mut outcome).await {
        notes.push(note);
    }
    outcome
}

/// Saves the survey, however the rest of the run ends. Returns the saved ledger.
fn remember(
    state: &mut State,
    memory: &Memory,
    inventory: &Inventory,
    mut ledger: Ledger,
    earlier: &Result<Option<Vec<Loss>>, Fault>,
) -> Result<Ledger, Fault> {
    // Losses that are not told yet are to be found again if this run does not get that far.
    if !matches!(earlier, Ok(Some(lost)) if lost.is_empty()) {
        ledger = ledger.with_events_since(memory.ledger.events_since());
    }
    let outcomes = cut_off::outcomes(&memory.pending, inventory).into_iter();
    let (intents, outcomes): (Vec<_>, Vec<_>) =
        outcomes.partition(|record| matches!(record.what, RecordKind::Intent { .. }));
    // First what only this survey's events tell: once the ledger is saved, only later events
    // are asked for.
    state.record(&intents, true)?;
    state.save(memory, &ledger)?;
    state.record(&outcomes, true)?;
    Ok(ledger)
}

fn longest_wait(policy: &Policy) -> Duration {
    EARLIER_LOSSES.max(policy.limits.max_answer)
}

fn earlier_losses_unknown(policy: &Policy) -> String {
    let late = humantime::format_duration(longest_wait(policy));
    format!(
        "the engine does not say within {late} what came of tags and containers \
         that were made while an earlier run removed images; limits.max_answer gives it longer"
    )
}
