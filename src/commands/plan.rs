//! `secateur plan`: surveys, decides, reports. It writes only the files that the
//! command line names.

use crate::cli::{Format, Global, PlanArgs};
use crate::commands::output::{patient, say, write_readable};
use crate::commands::reviewed::LONGEST_PLAN;
use crate::commands::start::{
    connect, own_record, policy, policy_of_any_host, removal_warnings, state_dir, trust,
};
use crate::commands::unmatched::unmatched;
use crate::decide::decide;
use crate::decide::plan::{Entry, Plan};
use crate::exit::{Exit, Fault};
use crate::guard::against;
use crate::host::files::StateDir;
use crate::host::signals::AskedToEnd;
use crate::memory::state;
use crate::memory::state::state_fault;
use crate::model::names::Names;
use crate::model::reference::{Reference, read_as_id};
use crate::model::text::escape;
use crate::report::Context;
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
    let (plan, ledger) = if let Some(path) = &args.inventory {
        let (inventory, ledger) = SavedHost::read(path)?;
        let plan = decide(&policy, &inventory, &ledger, trust(args.trust_engine_dates));
        context.refusals = against(&policy, &[], &plan);
        context.unmatched = unmatched(&policy, &plan, &[]);
        (plan, ledger)
    } else {
        let reader = connect(global, &policy).await?;
        let info = survey::engine(&reader, &policy).await?;
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
        context.refusals = against(&policy, &survey.activities, &survey.plan);
        context.unmatched = unmatched(&policy, &survey.plan, &survey.activities);
        if let Some(path) = &args.save_inventory {
            write_readable(path, &SavedHost::of(&survey).to_json(), LONGEST_SAVED)?;
        }
        (survey.plan, survey.ledger)
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
    let explained = explained.map(|image| meant(&plan, image)).transpose()?;
    let format = if on_stdout {
        Format::Json
    } else {
        global.format
    };
    let report = match (explained, format) {
        // Every image of the host is in a document, whatever is explained.
        (_, Format::Json) => json::prune::plan(&plan, &context),
        (Some(entries), Format::Text) => text::prune::explain(&plan, &ledger, &entries),
        (None, Format::Text) if global.quiet => text::prune::plan_in_brief(&plan, &context),
        (None, Format::Text) => text::prune::plan(&plan, &context, global.verbose),
    };
    say(&report, format)?;
    Ok(Exit::Done)
}

/// The images that a text means: any name or id, as docker takes them.
fn meant<'a>(plan: &'a Plan, text: &str) -> Result<Vec<&'a Entry>, Fault> {
    let ids = Names::of(plan.entries().iter().map(Entry::image)).resolve(text);
    if ids.is_empty() {
        let why = match Reference::typed(text) {
            Err(error) if read_as_id(text).is_none() => error.to_string(),
            _ => "no image here has that name or id".to_owned(),
        };
        let text = escape(text);
        return Err(Fault::new(Exit::Usage, format!("--explain {text}: {why}")));
    }
    Ok(ids.into_iter().filter_map(|id| plan.entry(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Trust;
    use crate::memory::ledger::Ledger;
    use crate::policy::Policy;
    use crate::testing::{inventory, tagged};

    #[test]
    fn what_can_be_no_name_is_explained_by_what_was_probably_meant() {
        let policy = Policy::parse(crate::policy::DEFAULT, "test").unwrap();
        let host = inventory([tagged(1, "app:1")]);
        let plan = decide(&policy, &host, &Ledger::empty("e"), Trust::OwnMemory);
        let said = |text: &str| meant(&plan, text).map_or_else(|f| f.message, |_| "found".into());
        assert_eq!(said("app:1"), "found");
        assert_eq!(said("00000001"), "found");
        let slip = said("https://ghcr.io/acme/app:1");
        assert!(
            slip.contains("did you mean \"ghcr.io/acme/app:1\"?"),
            "{slip}"
        );
        for unknown in ["app:2", "0123456789ab", "sha256:0123"] {
            assert!(said(unknown).ends_with("no image here has that name or id"));
        }
    }
}
