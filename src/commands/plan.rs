//! `secateur plan`: surveys, decides, reports. It writes only the files that the
//! command line names.

use crate::cli::{Format, Global, PlanArgs};
use crate::commands::explained::meant;
use crate::commands::output::{columns, with_progress, write_readable, write_report};
use crate::commands::reviewed::LONGEST_PLAN;
use crate::commands::start::{
    described, own_record, policy, policy_of_any_host, reach, removal_warnings, state_dir, trust,
};
use crate::commands::unmatched::unmatched;
use crate::decide::{alternatives, decide};
use crate::exit::{Exit, Fault};
use crate::guard::all_refusals;
use crate::host::files::StateDir;
use crate::host::signals::EndRequest;
use crate::memory::state;
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
    let trust = trust(args.trust_engine_dates);
    let (inventory, ledger, plan, activities) = if let Some(path) = &args.inventory {
        let (inventory, ledger) = SavedHost::read(path)?;
        let plan = decide(&policy, &inventory, &ledger, trust);
        (inventory, ledger, plan, Vec::new())
    } else {
        let connecting = Box::pin(async {
            let reader = reach(global, &policy).await?;
            // Made while the engine describes itself and the ledger is read: the list is older
            // than the first look for signs of pulls, which only a removal could not do with.
            reader.begin_images();
            let info = described(&reader, &policy).await?;
            Ok::<_, Fault>((reader, info))
        });
        let (reader, info) = with_progress(global, &policy, connecting).await?;
        let folder = state_dir(global)?;
        let dir = StateDir::find(&folder)?;
        let memory = state::read(dir.as_ref(), &info.facts.key())?;
        let asked = EndRequest::default();
        let survey = survey::survey(&reader, info, &policy, &memory, trust, asked);
        let survey = with_progress(global, &policy, survey).await?;
        context.notes.extend(own_record(&folder));
        let notes = survey::notes(&memory, &survey.activities);
        context.notes.extend(notes);
        context.left_behind = survey.watch.left_behind();
        if let Some(path) = &args.save_inventory {
            write_readable(path, &SavedHost::of(&survey).to_json(), LONGEST_SAVED)?;
        }
        (
            survey.inventory,
            survey.ledger,
            survey.plan,
            survey.activities,
        )
    };
    let no_rollbacks = survey::no_rollbacks(&policy, &inventory);
    context.notes.extend(no_rollbacks);
    context.notes.extend(survey::untied_names(&inventory));
    context.refusals = all_refusals(&policy, &activities, &plan);
    context.unmatched = unmatched(&policy, &plan, &activities);
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
        // A document has every image of the host, whatever is explained.
        (_, Format::Json) => json::prune::plan(&plan, &context),
        (Some(entries), Format::Text) => {
            text::prune::explain(&plan, &ledger, &entries, context.columns)
        }
        (None, Format::Text) if global.quiet => text::prune::plan_in_brief(&plan, &context),
        (None, Format::Text) => {
            // All images are looked at twice more: only if the report shows it.
            let short = plan.wants_more_than(plan.frees()).is_some();
            let others = || alternatives(&policy, &inventory, &ledger, &plan);
            let shown = Shown {
                verbose: global.verbose,
                top: args.top,
                alternatives: if short { others() } else { Vec::new() },
                promised: policy.promised.clone(),
            };
            text::prune::plan(&plan, &context, &shown)
        }
    };
    write_report(&report, format)?;
    Ok(Exit::Done)
}
