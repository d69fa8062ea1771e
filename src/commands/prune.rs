//! `secateur prune`: takes the run lock, looks, remembers, clears the plan,
//! has it carried out, reports. The order is the point: what was seen is on
//! disk before anything goes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cli::{Format, Global, PruneArgs};
use crate::commands::output::shown;
use crate::commands::progress::Progress;
use crate::commands::reviewed::{NoReview, Reviewed};
use crate::commands::unmatched::unmatched;
use crate::commands::{
    Began, connect, log, policy, removal_warnings, state_dir, tell, trust, write_metrics,
};
use crate::decide::Trust;
use crate::decide::plan::{HeldBack, Plan, Pressure, Verdict};
use crate::engine::{EngineError, Failure, Info, Reader, Remover};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Refusal, clear, standing};
use crate::host;
use crate::host::run_lock::HeldBy;
use crate::host::signals::{AskedToEnd, Signals};
use crate::host::systemd::Priority;
use crate::memory::ledger::Ledger;
use crate::memory::state::{Memory, State};
use crate::model::{Container, Event, ImageId, Inventory, Observed, Swarm};
use crate::policy::Policy;
use crate::prune::aftermath::Claims;
use crate::prune::late;
use crate::prune::live::Armed;
use crate::prune::outcome::{Collateral, Ending, Outcome, Stayed};
use crate::report::Context;
use crate::report::metrics::Before;
use crate::report::{journald, json, metrics, text};
use crate::survey;
use crate::survey::{NoSurvey, Survey};

/// How long it is asked what earlier runs lost, or for as long as one answer may take.
const LATE: Duration = Duration::from_secs(30);

pub(crate) async fn prune(global: &Global, args: &PruneArgs) -> Result<Exit, Fault> {
    let began = Began::now();
    let mut progress = Progress::new(global);
    let done = match policy(global) {
        Ok((policy, source)) => {
            let mut context = Context::new(source, removal_warnings(&policy));
            let work = unstopped(global, args, &policy, &mut context, &mut progress);
            work.await.map(|(outcome, plan)| Done {
                outcome,
                plan,
                policy,
                context,
            })
        }
        Err(fault) => Err(fault),
    };
    progress.clear();
    let exit = match &done {
        Ok(done) => report(global, done),
        Err(fault) => Err(fault.clone()),
    };
    let file = args.metrics.file.as_deref();
    write_metrics(global, file, metrics::prune::PREFIX, |before| {
        numbers(&done, &exit, began, before)
    });
    exit
}

/// A run that came to its end.
struct Done {
    outcome: Outcome,
    /// `None` where no look at the images was taken.
    plan: Option<Plan>,
    policy: Policy,
    context: Context,
}

/// The run. It has let go of all locks when it ends, and is not stopped before: a terminal's
/// Ctrl-Z ends it. Nothing is written to a terminal or pipe by it but through `progress`.
async fn unstopped(
    global: &Global,
    args: &PruneArgs,
    policy: &Policy,
    context: &mut Context,
    progress: &mut Progress,
) -> Result<(Outcome, Option<Plan>), Fault> {
    let signals = Signals::new()
        .map_err(|error| Fault::new(Exit::State, format!("cannot watch for signals: {error}")))?;
    let asked = signals.asked_to_end();
    Box::pin(look_and_prune(
        global,
        args,
        policy,
        context,
        (&asked, progress),
    ))
    .await
}

async fn look_and_prune(
    global: &Global,
    args: &PruneArgs,
    policy: &Policy,
    context: &mut Context,
    (asked, progress): (&AskedToEnd, &mut Progress),
) -> Result<(Outcome, Option<Plan>), Fault> {
    let started =
        host::clock::read().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
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
    let mut state = match open_state(global, context)? {
        Ok(state) => state,
        Err(held) => return refused(other_run(policy, &held)),
    };
    let trust = trust(args.trust_engine_dates);
    let seen = look_around(global, policy, &state, trust, asked, progress).await?;
    let Some((reader, memory, survey)) = seen else {
        return Ok((ended(Ending::Interrupted, Vec::new()), None));
    };
    let survey = match survey {
        Ok(survey) => survey,
        Err(NoSurvey::Contradiction(why)) => {
            return refused(Cause::EngineInconsistent(why).into());
        }
        Err(NoSurvey::Fault(fault)) => return Err(fault),
    };
    note(context, policy, &memory, &survey);
    let (seen, ledger) = (&survey.inventory, survey.ledger);
    let earlier = late::of_earlier_runs((seen, &survey.info), &reader, &mut state, &memory, &run);
    let earlier = in_time(longest_wait(policy), asked, earlier, || {
        told_nothing(policy)
    })
    .await;
    let ledger = remember(&mut state, &memory, seen, ledger, &earlier)?;
    let Some(earlier) = earlier? else {
        return Ok((ended(Ending::Interrupted, Vec::new()), Some(survey.plan)));
    };
    let Survey {
        plan,
        looks,
        watch,
        info,
        inventory,
        ..
    } = survey;
    let reviewed = match reviewed(args, &info, context, inventory.taken_at) {
        Ok(reviewed) => reviewed,
        Err(NoReview::Fault(fault)) => return Err(fault),
        Err(NoReview::Refused(why)) => {
            let mut refused = ended(Ending::PlanRefused(why), Vec::new());
            late::went_on(&reader, &mut state, &memory, &inventory, &mut refused).await;
            refused.collateral.extend(earlier);
            return Ok((refused, Some(plan)));
        }
    };
    let (plan, mut changed) = as_reviewed(plan, reviewed);
    let shown = plan.clone();
    let mut outcome = match clear(policy, &looks, plan) {
        Err(refusals) => {
            let mut refused = ended(Ending::Refused, refusals);
            late::went_on(&reader, &mut state, &memory, &inventory, &mut refused).await;
            refused
        }
        Ok(cleared) => {
            let (remover, cleared) = reader.into_remover(cleared);
            let engine = Live {
                remover: &remover,
                info: &info,
                claims: Claims::since(inventory.taken_at),
                again: Again(policy, &memory, trust, asked),
            };
            let mut on_progress =
                |done, of| progress.show(|| format!("removing: {done} of {of} images"));
            let mut host = Armed {
                watch,
                state,
                ledger: &ledger,
                on_progress: &mut on_progress,
            };
            let work = crate::prune::prune(cleared, policy, run, &engine, &mut host);
            let mut outcome = Box::pin(work).await;
            let reader = remover.reader();
            late::look_back(&engine.claims, reader, &info, &mut host, &mut outcome)
                .await
                .unwrap_or_else(|note| context.notes.push(note));
            late::went_on(reader, &mut host.state, &memory, &inventory, &mut outcome).await;
            outcome
        }
    };
    outcome.skipped.append(&mut changed);
    outcome.collateral.extend(earlier);
    Ok((outcome, Some(shown)))
}

/// The state folder, which remembers the policy file of this run from now on.
fn open_state(global: &Global, context: &Context) -> Result<Result<State, HeldBy>, Fault> {
    let state = State::open(&state_dir(global)?)?;
    if let (Ok(state), Some(file)) = (&state, &context.policy.file) {
        state.used_policy(file)?;
    }
    Ok(state)
}

/// The state folder is that run's, so its lock tells since when.
fn other_run(policy: &Policy, held: &HeldBy) -> Refusal {
    let other = Cause::OtherRun(held.to_string());
    let after = policy.guard.alert_after;
    Refusal::lasting(other, held.since, host::clock::now(), after)
}

/// Reads the engine and all around it; `None` where the run is asked to end
/// before. Nothing is changed by it, so it can be given up at any moment.
async fn look_around<'a>(
    global: &Global,
    policy: &'a Policy,
    state: &State,
    trust: Trust,
    asked: &AskedToEnd,
    progress: &mut Progress,
) -> Result<Option<(Reader, Memory, Result<Survey<'a>, NoSurvey>)>, Fault> {
    let read = Box::pin(async {
        let reader = connect(global, policy).await?;
        let info = survey::engine(&reader, policy).await?;
        let memory = state.memory(&info.facts.key())?;
        let first = survey::survey(&reader, info, policy, &memory, trust, asked.clone()).await;
        let survey = match first {
            Ok(first) => after_brief_locks(&reader, policy, &memory, trust, first).await,
            Err(why) => Err(why),
        };
        Ok((reader, memory, survey))
    });
    let limit = policy.limits.max_run;
    let read = shown(progress, policy, read);
    let read = in_time(limit, asked, read, || {
        let limit = humantime::format_duration(limit);
        format!("the engine could not be read within {limit} (limits.max_run)")
    });
    read.await
}

/// Waits a moment for deploy locks that were held while the host was looked at, and
/// looks at it again: what a deploy had half done may be a rollback by now, and no event
/// tells of that. Only what goes by both looks is removed, for the second may have met
/// a deploy as well.
async fn after_brief_locks<'a>(
    reader: &Reader,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    mut first: Survey<'a>,
) -> Result<Survey<'a>, NoSurvey> {
    if !first.watch.wait_for_locks(&mut first.looks).await {
        return Ok(first);
    }
    let (info, asked) = (first.info, first.watch.asked_to_end());
    let mut again = survey::survey(reader, info, policy, memory, trust, asked).await?;
    again.watch = again.watch.begun_with(&first.watch);
    let going = first.plan.removals().map(|entry| entry.image().id.clone());
    let going = going.collect();
    again.plan = again.plan.restricted_to(&going, HeldBack::BesideADeploy);
    if again.watch.wait_for_locks(&mut again.looks).await
        && let Some(look) = again.looks.last()
    {
        again.ledger = again.ledger.with_standing(standing(policy, look));
    }
    Ok(again)
}

/// Puts on disk what was seen, whatever comes of the rest of the run. Gives the
/// ledger that was written.
fn remember(
    state: &mut State,
    memory: &Memory,
    inventory: &Inventory,
    mut ledger: Ledger,
    earlier: &Result<Option<Vec<Collateral>>, Fault>,
) -> Result<Ledger, Fault> {
    if !matches!(earlier, Ok(Some(_))) {
        ledger = ledger.asks_again_since(memory.ledger.asks_since());
    }
    state.save(memory, &ledger)?;
    state.record(&late::resolved(&memory.pending, inventory), true)?;
    Ok(ledger)
}

/// What the engine is asked for; `None` where the run is asked to end before. Too
/// late is a fault, with these words.
async fn in_time<T>(
    limit: Duration,
    asked: &AskedToEnd,
    work: impl Future<Output = Result<T, Fault>>,
    late: impl FnOnce() -> String,
) -> Result<Option<T>, Fault> {
    match tokio::time::timeout(limit, unless(asked, work)).await {
        Ok(said) => said.transpose(),
        Err(_) => Err(Fault::new(Exit::Engine, late())),
    }
}

fn longest_wait(policy: &Policy) -> Duration {
    LATE.max(policy.limits.max_answer)
}

/// Where it does not say in time what earlier runs lost.
fn told_nothing(policy: &Policy) -> String {
    let late = humantime::format_duration(longest_wait(policy));
    format!(
        "the engine does not say within {late} what came of tags and containers \
         that were made while an earlier run removed images; limits.max_answer gives it longer"
    )
}

/// By when it began, and by its process: no two have the same.
fn name_of_run(began: DateTime<Utc>) -> String {
    let began = began.format("%Y%m%dT%H%M%S%3fZ");
    format!("{began}-{}", std::process::id())
}

fn note(context: &mut Context, policy: &Policy, memory: &Memory, survey: &Survey<'_>) {
    let Survey { plan, looks, .. } = survey;
    context.notes.extend(survey::notes(memory, looks));
    context.notes.extend(unmeasured(plan));
    context.unmatched = unmatched(policy, plan, looks);
}

/// Not a failure, but nobody should have to guess why nothing went.
fn unmeasured(plan: &Plan) -> Option<String> {
    match plan.pressure() {
        Pressure::Asked { .. } | Pressure::Room { .. } => None,
        Pressure::Unknown(why) => Some(format!(
            "the disk cannot be measured, so nothing goes: {why}"
        )),
    }
}

fn report(global: &Global, done: &Done) -> Result<Exit, Fault> {
    let (outcome, plan, context) = (&done.outcome, done.plan.as_ref(), &done.context);
    let text = || match global.format {
        Format::Text if global.quiet => text::brief::outcome(outcome, plan),
        Format::Text => text::prune::outcome(outcome, plan, context, global.verbose),
        Format::Json => json::prune::outcome(outcome, plan.map(Plan::engine), context),
    };
    let told = tell(global, text, || {
        journald::prune::outcome(outcome, plan, context)
    });
    // What happened to the images counts for more than what to the report.
    match (told, outcome.exit()) {
        (Err(fault), Exit::Done) => Err(fault),
        (Err(fault), exit) => {
            log(Priority::Error, &format!("error: {}", fault.message));
            Ok(exit)
        }
        (Ok(_), exit) => Ok(exit),
    }
}

fn numbers(
    done: &Result<Done, Fault>,
    exit: &Result<Exit, Fault>,
    ran: Began,
    before: &Before,
) -> String {
    let done = done.as_ref().ok();
    let ran = ran.ended(
        exit,
        done.map_or(metrics::ERROR, |done| done.outcome.result()),
        done.map_or(&[], |done| &done.outcome.refusals),
    );
    metrics::prune::text(
        &ran,
        done.map(|done| (&done.outcome, &done.policy)),
        done.and_then(|done| done.plan.as_ref()),
        before,
    )
}

/// What was reviewed, where the run is to be bound to that.
fn reviewed(
    args: &PruneArgs,
    info: &Info,
    context: &Context,
    now: DateTime<Utc>,
) -> Result<Option<Reviewed>, NoReview> {
    let (facts, policy) = (&info.facts, &context.policy);
    let read = |path| crate::commands::reviewed::read(path, facts, policy, now, args.max_plan_age);
    args.plan.as_deref().map(read).transpose()
}

/// The plan, or what of it was reviewed; and what was reviewed and is not in it
/// any more.
fn as_reviewed(plan: Plan, reviewed: Option<Reviewed>) -> (Plan, Vec<Stayed>) {
    match reviewed {
        None => (plan, Vec::new()),
        Some(reviewed) => {
            let changed = reviewed.changed(&plan);
            (
                plan.restricted_to(&reviewed.images, HeldBack::NotReviewed),
                changed,
            )
        }
    }
}

/// A live engine, as `prune` wants one.
struct Live<'a> {
    remover: &'a Remover,
    info: &'a Info,
    claims: Claims,
    again: Again<'a>,
}

/// What a survey in mid-run goes by, as the first one did.
struct Again<'a>(&'a Policy, &'a Memory, Trust, &'a AskedToEnd);

impl Again<'_> {
    async fn survey(&self, reader: &Reader) -> Result<Plan, NoSurvey> {
        let Self(policy, memory, trust, asked) = *self;
        // With what the engine counts now: images went since.
        let info = survey::engine(reader, policy).await;
        let info = info.map_err(NoSurvey::Fault)?;
        let again = survey::survey(reader, info, policy, memory, trust, asked.clone());
        Ok(Box::pin(again).await?.plan)
    }
}

impl crate::prune::Engine for Live<'_> {
    async fn look(&self, id: &ImageId) -> Result<Option<crate::engine::Inspected>, EngineError> {
        self.remover.reader().inspect(id).await
    }
    async fn name_ours(
        &self,
        id: &ImageId,
    ) -> Result<crate::model::reference::Reference, EngineError> {
        self.remover.name_ours(id).await
    }
    async fn drop_name(
        &self,
        name: &crate::model::reference::Reference,
    ) -> Result<crate::engine::Dropped, EngineError> {
        self.remover.drop_name(name).await
    }
    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        // Asked before each removal.
        self.claims
            .keep_up(self.remover.reader(), self.info, host::clock::now())
            .await;
        self.remover.reader().builds().await
    }
    async fn swarm(&self) -> Result<Swarm, EngineError> {
        self.remover.reader().swarm(self.info).await
    }
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.remover.reader().containers(self.info).await
    }
    async fn happened(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError> {
        let until = host::clock::now().max(since);
        let reader = self.remover.reader();
        reader.wanted(self.info, since, until).await
    }
    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        let failed = |kind, why| EngineError {
            doing: "survey the host again after a deploy".into(),
            kind,
            why,
        };
        let plan = match self.again.survey(self.remover.reader()).await {
            Ok(plan) => plan,
            Err(NoSurvey::Contradiction(why)) => return Err(failed(Failure::Contradiction, why)),
            Err(NoSurvey::Fault(fault)) => return Err(failed(Failure::Lost, fault.message)),
        };
        let free = plan.entries().iter();
        let free = free.filter(|entry| entry.verdict() != Verdict::Keep);
        Ok(free.map(|entry| entry.image().id.clone()).collect())
    }
}

/// What this gives, unless the run is asked to end before: then `None`.
async fn unless<T>(asked: &AskedToEnd, work: impl Future<Output = T>) -> Option<T> {
    const TICK: Duration = Duration::from_millis(100);
    let ends = async {
        while !asked.is() {
            tokio::time::sleep(TICK).await;
        }
    };
    match futures_util::future::select(std::pin::pin!(work), std::pin::pin!(ends)).await {
        futures_util::future::Either::Left((done, _)) => Some(done),
        futures_util::future::Either::Right(_) => None,
    }
}
