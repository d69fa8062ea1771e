//! The beginning of a run that changes something: its name, and the state folder under the run
//! lock.

use chrono::{DateTime, Utc};

use crate::cli::Global;
use crate::commands::start::state_dir;
use crate::exit::Fault;
use crate::guard::{Cause, Refusal};
use crate::host::clock;
use crate::host::run_lock::HeldBy;
use crate::memory::state::State;
use crate::policy::Policy;

/// Opens the state folder. The inner error tells who else holds the run lock.
pub(crate) fn open_state(global: &Global) -> Result<Result<State, HeldBy>, Fault> {
    State::open(&state_dir(global)?)
}

pub(crate) fn other_run(policy: &Policy, held: &HeldBy) -> Refusal {
    let other = Cause::OtherRun(held.to_string());
    let after = policy.guard.alert_after;
    Refusal::lasting(other, held.since, clock::now(), after)
}

/// Unique: the time when the run began, and its pid.
pub(crate) fn name_of_run(began: DateTime<Utc>) -> String {
    let began = began.format("%Y%m%dT%H%M%S%3fZ");
    format!("{began}-{}", std::process::id())
}
