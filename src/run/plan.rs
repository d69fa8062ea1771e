//! `secateur plan`: looks, decides, reports. It writes nothing but the files
//! that the command line names.

use std::path::Path;
use std::sync::Arc;

use super::tell::say;
use super::{connect, own_record, policy, removal_warnings, state_dir, trust};
use crate::cli::{Format, Global, PlanArgs};
use crate::decide::decide;
use crate::exit::{Exit, Fault};
use crate::guards::against;
use crate::host::files::{StateDir, write_atomic};
use crate::model::ImageId;
use crate::plan::{Entry, Plan};
use crate::report::{Context, explain, json, text};
use crate::state::{self, state_fault};
use crate::survey::{self, SavedHost};
use crate::users::Names;

pub(super) async fn plan(global: &Global, args: &PlanArgs) -> Result<Exit, Fault> {
    let (policy, source) = policy(global)?;
    let mut context = Context::new(source, removal_warnings(&policy));
    let (plan, ledger) = if let Some(path) = &args.inventory {
        let (inventory, ledger) = SavedHost::read(path)?;
        let plan = decide(&policy, &inventory, &ledger, trust(args.trust_engine_dates));
        context.refusals = against(&policy, &[], &plan);
        (plan, ledger)
    } else {
        let reader = connect(global).await?;
        let info = survey::engine(&reader, &policy).await?;
        let dir = StateDir::find(&state_dir(global)).map_err(|error| state_fault(&error))?;
        let memory = state::read(dir.as_ref(), &info.facts.key())?;
        let survey = survey::survey(
            &reader,
            info,
            &policy,
            &memory,
            trust(args.trust_engine_dates),
            Arc::default(),
        )
        .await?;
        context.notes.extend(own_record(global));
        context.notes.extend(survey::notes(&memory, &survey.looks));
        context.refusals = against(&policy, &survey.looks, &survey.plan);
        if let Some(path) = &args.save_inventory {
            write_out(path, &SavedHost::of(&survey).to_json())?;
        }
        (survey.plan, survey.ledger)
    };
    if let Some(path) = &args.out {
        write_out(path, json::plan(&plan, &context).as_bytes())?;
    }
    let explained = args.explain.as_ref();
    let explained = explained.map(|image| meant(&plan, image)).transpose()?;
    let report = match (explained, global.format) {
        // Every image of the host is in a document, whatever is explained.
        (_, Format::Json) => json::plan(&plan, &context),
        (Some(entries), Format::Text) => explain::explain(&plan, &ledger, &entries),
        (None, Format::Text) => text::plan(&plan, &context, global.verbose),
    };
    say(&report, global.format)?;
    Ok(Exit::Done)
}

/// The images that a text means: any name or id, as for a container.
fn meant<'a>(plan: &'a Plan, text: &str) -> Result<Vec<&'a Entry>, Fault> {
    let images = plan
        .entries()
        .iter()
        .map(|entry| (entry.image().id.clone(), entry.image().clone()))
        .collect();
    let ids: Vec<ImageId> = Names::of(&images)
        .resolve(text)
        .into_iter()
        .cloned()
        .collect();
    if ids.is_empty() {
        let text = crate::text::escape(text);
        return Err(Fault::new(
            Exit::Usage,
            format!("--explain {text}: no image here has that name or id"),
        ));
    }
    Ok(ids.iter().filter_map(|id| plan.entry(id)).collect())
}

fn write_out(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_atomic(path, bytes).map_err(|error| state_fault(&error))
}
