//! `secateur verify-cache`: reads policy and baseline, has the promises checked, and writes
//! report and baseline.

use crate::cache::Status;
use crate::cache::findings::Findings;
use crate::cache::promise::{Sources, promises};
use crate::cache::questions::Registries;
use crate::cache::redeploy::nothing_at_work;
use crate::cache::restore::Known;
use crate::cache::run::{Checks, Run};
use crate::cli::{Format, Global, VerifyCacheArgs};
use crate::commands::baseline;
use crate::commands::cache_known::{in_part, list, past, ran};
use crate::commands::output::{Began, columns, log, publish, with_progress, write_metrics};
use crate::commands::own_run::{open_state, other_run};
use crate::commands::progress::Progress;
use crate::commands::restore;
use crate::commands::save;
use crate::commands::start::{connect_for_platform, policy, warnings};
use crate::exit::{Exit, Fault};
use crate::host::clock;
use crate::host::journald::Priority;
use crate::host::signals::Signals;
use crate::memory::clock::Clock;
use crate::policy::Policy;
use crate::report::{Context, journald, json, metrics, text};

pub(crate) async fn verify_cache(global: &Global, args: &VerifyCacheArgs) -> Result<Exit, Fault> {
    let began = Began::now();
    let done = match policy(global) {
        Ok((policy, source)) => {
            let mut context = Context::new(source, warnings(&policy));
            context.columns = columns();
            let work = Box::pin(found(global, args, &policy, &mut context));
            work.await.map(|findings| (findings, context))
        }
        Err(fault) => Err(fault),
    };
    let exit = match &done {
        Ok((findings, context)) => report(global, findings, context),
        Err(fault) => Err(fault.clone()),
    };
    let findings = done.as_ref().ok().map(|(findings, _)| findings);
    let file = args.metrics.file.as_deref();
    write_metrics(global, file, metrics::cache::PREFIX, |previous| {
        let result = findings.map_or(metrics::ERROR, Findings::result);
        let refusals = findings.map_or(&[][..], |findings| &findings.refusals);
        let ran = began.ended(&exit, result, refusals);
        metrics::cache::text(&ran, findings, previous)
    });
    exit
}

async fn found(
    global: &Global,
    args: &VerifyCacheArgs,
    policy: &Policy,
    context: &mut Context,
) -> Result<Findings, Fault> {
    if args.from_registry {
        Box::pin(save::from_registry(global, args, policy, context)).await
    } else {
        Box::pin(check(global, args, policy, context)).await
    }
}

async fn check(
    global: &Global,
    args: &VerifyCacheArgs,
    policy: &Policy,
    context: &mut Context,
) -> Result<Findings, Fault> {
    // Only a run that changes something handles signals; any other simply ends.
    let signals = args.restore.then(Signals::new).transpose()?;
    let asked = signals.as_ref().map(Signals::asked_to_end);
    let asked = asked.unwrap_or_default();
    // Faults of files and folders are reported even without an engine.
    let archive = save::archive(args, policy);
    let save_to = args.save.then(|| save::folder(archive)).transpose()?;
    let lists = save::listed(policy, context)?;
    let connecting = Box::pin(connect_for_platform(global, policy));
    let (reader, info) = with_progress(global, policy, connecting).await?;
    let now = clock::read()?;
    let mut findings = Findings::new(now.wall, info.facts.clone(), args.strict);
    let opened = args.restore.then(|| open_state(global));
    let state = match opened.transpose()?.transpose() {
        Ok(state) => state,
        Err(held) => {
            findings.refusals = vec![other_run(policy, &held)];
            return Ok(findings);
        }
    };
    let listed = Box::pin(list(&reader, &info));
    let (mut here, mut held) = with_progress(global, policy, listed).await?;
    let past = past(global, state.as_ref(), &info, &mut context.notes)?;
    let against = |path| baseline::read(path, &info, &mut context.notes);
    let against = args.against.as_deref().map(against).transpose()?;
    let ran = ran(&reader, &info, &past.ledger, policy, (now.wall, &here));
    let ran = with_progress(global, policy, ran).await?;
    let sources = Sources {
        arguments: &args.images,
        policy,
        lists: &lists,
        ran: ran.as_ref().map(|uses| (uses, now.wall)),
        baseline: against.as_ref(),
    };
    let promises = promises(&sources, &here).map_err(|why| Fault::new(Exit::Usage, why))?;
    if args.redeploy
        && let Err(refusals) = nothing_at_work(&reader, &info, policy, &past.ledger).await?
    {
        findings.refusals = refusals;
        return Ok(findings);
    }
    let mut progress = Progress::new(global);
    let user_config = args.user_config.as_deref();
    let mut registries = Registries::new(&reader, info.facts.store, user_config).await?;
    let mut restored = Vec::new();
    if let Some(mut state) = state {
        let known = Known {
            here: &here,
            in_part: &in_part(&reader, &info, &here, &held),
            ledger: &past.ledger,
            store: info.facts.store,
            policy,
            follow: args.follow,
        };
        let (host, progress) = ((&reader, &info, &asked), &mut progress);
        let from = (archive, &mut registries, &mut context.notes);
        let work = restore::bring_back(host, from, known, &promises, &mut state, progress);
        let came = Box::pin(work).await?;
        findings.refusals = came.refusals;
        if came.each.is_empty() && !findings.refusals.is_empty() {
            return Ok(findings);
        }
        (restored, findings.fault) = (came.each, came.fault);
        (here, held) = list(&reader, &info).await?;
    }
    let run = Run {
        checks: checks(args),
        policy,
        reader: &reader,
        info: &info,
        past: &past,
        here,
        held,
        restored,
        asked: &asked,
        on_step: &mut |step| progress.step(step),
    };
    let ran = Box::pin(run.check(&promises, &mut registries, findings)).await?;
    let (mut findings, pulls) = (ran.findings, ran.pulls);
    let (host, from) = ((&reader, &info, policy), (archive, &mut registries));
    let repairs = restore::repairs(&asked, host, from, (global, args), &mut findings);
    Box::pin(repairs).await?;
    if let Some(folder) = save_to.filter(|_| !asked.is() && findings.fault.is_none()) {
        let clock_is_sound = Clock::between(past.ledger.clock(), &now) == Clock::Sound;
        let how = (args.deep, clock_is_sound);
        let told = (&mut progress, &mut context.notes);
        let save = save::promised(folder, host, &promises, how, told);
        let saved = Box::pin(save).await;
        findings.fault = saved.map(|saved| findings.saved(&saved)).err();
    }
    progress.clear();
    if asked.is() {
        context.notes.push(findings.interrupt());
    }
    if let Some(path) = &args.record {
        let only = (!args.images.is_empty()).then_some(promises.as_slice());
        let record = baseline::write(path, &reader, &info, findings.at, only, &pulls);
        context.notes.push(record.await?);
    }
    Ok(findings)
}

fn checks(args: &VerifyCacheArgs) -> Checks {
    Checks {
        registry: args.registry,
        redeploy: args.redeploy,
        follow: args.follow,
        deep: args.deep,
    }
}

fn report(global: &Global, findings: &Findings, context: &Context) -> Result<Exit, Fault> {
    let report = || match global.format {
        Format::Text if global.quiet => text::cache::brief(findings, context),
        Format::Text => text::cache::report(findings, context, global.verbose),
        Format::Json => json::cache::report(findings, context),
    };
    let in_journal = publish(global, report, || {
        journald::cache::findings(findings, context)
    })?;
    let unknown = findings.answers(Status::Unknown);
    let warned = in_journal || global.quiet || findings.strict;
    if unknown > 0 && !warned && findings.refusals.is_empty() {
        let are = if unknown == 1 {
            "answer is"
        } else {
            "answers are"
        };
        log(
            Priority::Warning,
            &format!(
                "warning: {unknown} {are} unknown, which is no pass (--strict makes it a fault)"
            ),
        );
    }
    if let Some(fault) = &findings.fault {
        log(Priority::Error, &format!("error: {}", fault.message));
    }
    Ok(findings.exit())
}
