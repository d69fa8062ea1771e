//! The beginning of every report: refusals, the engine, the policy, notes.

use crate::guard::Refusal;
use crate::model::EngineFacts;
use crate::model::text::escape_path;
use crate::report::context::Context;
use crate::report::text::layout::{LOUD, headed, wrapped};
use crate::report::text::screen::Screen;
use crate::report::wording::left_behind;

/// Adjacent refusals with the same way out share one line for it.
pub(crate) fn refusals(out: &mut Screen, word: &str, refusals: &[Refusal]) {
    for same in refusals.chunk_by(|one, next| one.way_out() == next.way_out()) {
        for refusal in same {
            headed(out, LOUD, word, &refusal.message());
        }
        wrapped(out, "  -> ", same[0].way_out());
    }
}

pub(crate) fn engine_and_policy(out: &mut Screen, engine: &EngineFacts, context: &Context) {
    let text = format!(
        "{}, {} ({} store), {}",
        engine.version.escaped(),
        engine.driver.escaped(),
        engine.store,
        escape_path(&engine.root_dir)
    );
    wrapped(out, "engine  ", &text);
    of_policy(out, context);
}

pub(crate) fn of_policy(out: &mut Screen, context: &Context) {
    wrapped(out, "policy  ", &context.policy.shown());
    notes(out, context);
}

pub(crate) fn notes(out: &mut Screen, context: &Context) {
    for note in context.notes.iter().chain(&context.unmatched_note()) {
        wrapped(out, "note    ", note);
    }
    for store in &context.left_behind {
        let (fact, way_out) = left_behind(store);
        wrapped(out, "note    ", &format!("{fact}; {way_out}"));
    }
}
