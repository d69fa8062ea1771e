//! `secateur plan`: surveys, decides, reports. It writes only the files that the
//! command line names.

use crate::cli::{Format, Global, PlanArgs};
use crate::commands::explained::meant;
use crate::commands::output::{columns, patient, say, write_readable};
use crate::commands::reviewed::LONGEST_PLAN;
use crate::commands::start::{
    connect, own_record, policy, policy_of_any_host, removal_warnings, state_dir, trust,
};
use crate::commands::unmatched::unmatched;
use crate::decide::{alternatives, decide};
use crate::exit::{Exit, Fault};
use crate::guard::against;
use crate::host::files::StateDir;
use crate::host::signals::AskedToEnd;
use crate::memory::state;
use crate::memory::state::state_fault;
use crate::report::Context;
use crate::report::text::prune::Shown;
use crate::report::{json, text};
use crate::survey;
use crate::survey::{LONGEST_SAVED, SavedHost};

pub(crate) async fn plan(global: &Global, args: &PlanArgs) -> Result<Exit, Fault> {
    let (policy, source) = if args.inventory.is_some() {
        policy_of_any_host(global)?
    } else {
        policy(global)?
    };
    let mut context = Context::new(source, removal_warnings(&policy));
    context.columns = columns();
    let (plan, ledger, inventory) = if let Some(path) = &args.inventory {
        let (inventory, ledger) = SavedHost::read(path)?;
        let plan = decide(&policy, &inventory, &ledger, trust(args.trust_engine_dates));
        context.refusals = against(&policy, &[], &plan);
        context.unmatched = unmatched(&policy, &plan, &[]);
        context
            .notes
            .extend(survey::no_rollbacks(&policy, &inventory));
        context.notes.extend(survey::names_away(&inventory));
        (plan, ledger, inventory)
    } else {
        let reached = async {
            let reader = connect(global, &policy).await?;
            let info = survey::engine(&reader, &policy).await?;
            Ok::<_, Fault>((reader, info))
        };
        let (reader, info) = patient(global, &policy, Box::pin(reached)).await?;
        let folder = state_dir(global)?;
        let dir = StateDir::find(&folder).map_err(|error| state_fault(&error))?;
        let memory = state::read(dir.as_ref(), &info.facts.key())?;
        let survey = survey::survey(
            &reader,
            info,
            &policy,
            &memory,
            trust(args.trust_engine_dates),
            AskedToEnd::default(),
        );
        let survey = patient(global, &policy, survey).await?;
        context.notes.extend(own_record(&folder));
        context
            .notes
            .extend(survey::notes(&memory, &survey.activities));
        let lost = survey::no_rollbacks(&policy, &survey.inventory);
        context.notes.extend(lost);
        context.notes.extend(survey::names_away(&survey.inventory));
        context.left_behind = survey.watch.left_behind();
        context.refusals = against(&policy, &survey.activities, &survey.plan);
        context.unmatched = unmatched(&policy, &survey.plan, &survey.activities);
        if let Some(path) = &args.save_inventory {
            write_readable(path, &SavedHost::of(&survey).to_json(), LONGEST_SAVED)?;
        }
        (survey.plan, survey.ledger, survey.inventory)
    };
    let on_stdout = args
        .out
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = args.out.as_ref().filter(|_| !on_stdout) {
        let document = json::prune::plan(&plan, &context);
        write_readable(path, document.as_bytes(), LONGEST_PLAN)?;
    }
    let explained = args.explain.as_ref();
    let explained = explained.map(|image| meant(&plan, &inventory.containers, image));
    let explained = explained.transpose()?;
    let format = if on_stdout {
        Format::Json
    } else {
        global.format
    };
    let report = match (explained, format) {
        // Every image of the host is in a document, whatever is explained.
        (_, Format::Json) => json::prune::plan(&plan, &context),
        (Some(entries), Format::Text) => {
            text::prune::explain(&plan, &ledger, &entries, context.columns)
        }
        (None, Format::Text) if global.quiet => text::prune::plan_in_brief(&plan, &context),
        (None, Format::Text) => {
            // To decide twice more is worth it only where it is told.
            let short = plan.wants_more_than(plan.frees()).is_some();
            let others = || alternatives(&policy, &inventory, &ledger, &plan);
            let shown = Shown {
                verbose: global.verbose,
                top: args.top,
                alternatives: if short { others() } else { Vec::new() },
            };
            text::prune::plan(&plan, &context, &shown)
        }
    };
    say(&report, format)?;
    Ok(Exit::Done)
}
