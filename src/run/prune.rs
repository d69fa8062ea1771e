//! `secateur prune`: takes the run lock, looks, remembers, clears the plan,
//! has it carried out, reports. The order is the point: what was seen is on
//! disk before anything goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{connect, log, policy, say, state_dir, trust, warnings};
use crate::cli::{Format, Global, PruneArgs};
use crate::decide::Trust;
use crate::engine::{Reader, Remover};
use crate::exit::{Exit, Fault};
use crate::guards::{Refusal, clear};
use crate::host;
use crate::model::{Container, ImageId, Observed, Swarm};
use crate::outcome::{Ending, Outcome};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::progress::Progress;
use crate::report::{Context, json, text};
use crate::state::{Memory, State};
use crate::survey::{self, NoSurvey, Survey};
use crate::watch::Armed;

pub(super) async fn prune(global: &Global, args: &PruneArgs) -> Result<Exit, Fault> {
    let (policy, source) = policy(global)?;
    let mut context = Context {
        policy: source,
        refusals: Vec::new(),
        notes: warnings(&policy),
    };
    let started =
        host::clock::read().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let run = format!(
        "{}-{}",
        started.wall.format("%Y%m%dT%H%M%S%3fZ"),
        std::process::id()
    );
    let state = State::open(&state_dir(global))?;
    let ended = |ending, refusals| Outcome {
        ending,
        refusals,
        ..Outcome::new(
            run.clone(),
            started.wall,
            Observed::Unknown("not measured".into()),
        )
    };
    let mut state = match state {
        Ok(state) => state,
        Err(held) => {
            let refused = ended(Ending::Refused, vec![Refusal::OtherRun(held.to_string())]);
            return finish(global, &refused, None, &context);
        }
    };
    let interrupted = on_signals()?;
    let trust = trust(args.trust_engine_dates);
    let seen = look_around(global, &policy, &state, trust, &interrupted).await?;
    let Some((reader, memory, survey)) = seen else {
        let interrupted = ended(Ending::Interrupted, Vec::new());
        return finish(global, &interrupted, None, &context);
    };
    let survey = match survey {
        Ok(survey) => survey,
        Err(NoSurvey::Contradiction(why)) => {
            let refused = ended(Ending::Refused, vec![Refusal::EngineInconsistent(why)]);
            return finish(global, &refused, None, &context);
        }
        Err(NoSurvey::Fault(fault)) => return Err(fault),
    };
    context.notes.extend(survey::notes(&memory, &survey.looks));
    // What was seen is remembered whatever comes of the rest.
    state.save(&memory, &survey.ledger)?;
    state.record(&survey::resolved(&memory.pending, &survey.inventory), true)?;
    let Survey {
        mut plan,
        looks,
        watch,
        info,
        inventory,
        ledger,
    } = survey;
    if let Some(path) = &args.plan {
        let reviewed = crate::reviewed::read(
            path,
            &info.facts,
            &context.policy,
            inventory.taken_at,
            args.max_plan_age,
        )?;
        plan = plan.restricted_to(&reviewed.images);
    }
    let shown = plan.clone();
    let outcome = match clear(&policy, &looks, plan) {
        Err(refusals) => ended(Ending::Refused, refusals),
        Ok(cleared) => {
            let (remover, cleared) = reader.into_remover(cleared);
            let engine = Live {
                remover: &remover,
                info: &info,
            };
            let mut progress = Progress::new(global);
            let mut on_progress =
                |done, of| progress.show(|| format!("removing: {done} of {of} images"));
            let mut host = Armed {
                watch,
                state,
                ledger: &ledger,
                on_progress: &mut on_progress,
            };
            let run = run.clone();
            let work = crate::prune::prune(cleared, &policy, run, &engine, &mut host);
            let outcome = Box::pin(work).await;
            progress.clear();
            outcome
        }
    };
    finish(global, &outcome, Some(&shown), &context)
}

/// Reads the engine and all around it; `None` where the run is asked to end
/// before. Nothing is changed by it, so it can be given up at any moment.
async fn look_around<'a>(
    global: &Global,
    policy: &'a Policy,
    state: &State,
    trust: Trust,
    interrupted: &Arc<AtomicBool>,
) -> Result<Option<(Reader, Memory, Result<Survey<'a>, NoSurvey>)>, Fault> {
    let read = Box::pin(async {
        let reader = connect(global).await?;
        let info = survey::engine(&reader, policy).await?;
        let memory = state.memory(&info.facts.key())?;
        let asked = Arc::clone(interrupted);
        let survey = survey::survey(&reader, info, policy, &memory, trust, asked).await;
        Ok((reader, memory, survey))
    });
    let limit = policy.limits.max_run;
    match tokio::time::timeout(limit, unless(interrupted, read)).await {
        Ok(read) => read.transpose(),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let why = format!("the engine could not be read within {limit} (limits.max_run)");
            Err(Fault::new(Exit::Engine, why))
        }
    }
}

fn finish(
    global: &Global,
    outcome: &Outcome,
    plan: Option<&Plan>,
    context: &Context,
) -> Result<Exit, Fault> {
    let report = match global.format {
        Format::Text => text::outcome(outcome, plan, context, global.verbose),
        Format::Json => json::outcome(outcome, plan.map(Plan::engine), context),
    };
    // What happened to the images counts for more than what to the report.
    match (say(&report, global.format), outcome.exit()) {
        (Err(fault), Exit::Done) => Err(fault),
        (Err(fault), exit) => {
            log(&format!("error: {}", fault.message));
            Ok(exit)
        }
        (Ok(()), exit) => Ok(exit),
    }
}

/// A live engine, as `prune` wants one.
struct Live<'a> {
    remover: &'a Remover,
    info: &'a crate::engine::Info,
}

impl crate::prune::Engine for Live<'_> {
    async fn look(
        &self,
        id: &ImageId,
    ) -> Result<Option<crate::engine::Seen>, crate::engine::EngineError> {
        self.remover.reader().look(id).await
    }
    async fn name_ours(
        &self,
        id: &ImageId,
    ) -> Result<crate::reference::Reference, crate::engine::EngineError> {
        self.remover.name_ours(id).await
    }
    async fn drop_name(
        &self,
        name: &crate::reference::Reference,
    ) -> Result<crate::engine::Dropped, crate::engine::EngineError> {
        self.remover.drop_name(name).await
    }
    async fn builds(&self) -> Result<Observed<Vec<String>>, crate::engine::EngineError> {
        self.remover.reader().builds().await
    }
    async fn swarm(&self) -> Result<Swarm, crate::engine::EngineError> {
        self.remover.reader().swarm(self.info).await
    }
    async fn containers(&self) -> Result<Vec<Container>, crate::engine::EngineError> {
        self.remover.reader().containers(self.info).await
    }
}

/// Set on SIGTERM and SIGINT: the run ends after the call that it is in.
fn on_signals() -> Result<Arc<AtomicBool>, Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let asked = Arc::new(AtomicBool::new(false));
    let fault = |error: std::io::Error| {
        Fault::new(Exit::State, format!("cannot watch for signals: {error}"))
    };
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, asked) = (signal(kind).map_err(fault)?, Arc::clone(&asked));
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                asked.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok(asked)
}

/// What this gives, unless the run is asked to end before: then `None`.
async fn unless<T>(asked: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    const TICK: std::time::Duration = std::time::Duration::from_millis(100);
    let ends = async {
        while !asked.load(Ordering::Relaxed) {
            tokio::time::sleep(TICK).await;
        }
    };
    match futures_util::future::select(std::pin::pin!(work), std::pin::pin!(ends)).await {
        futures_util::future::Either::Left((done, _)) => Some(done),
        futures_util::future::Either::Right(_) => None,
    }
}
