//! Whether Swarm deploys to this node. Decides by the states of a service's update and tasks
//! what is under way, and what Swarm will report as under way for ever though nothing of it can
//! move. docs/refusals.md has the table.
//!
//! A removal threatens a deploy while it pulls. A task pulls before it is `ready`: after that
//! its container is here and keeps its image. Whatever the states, the images of every spec and
//! task are kept.

use std::collections::BTreeSet;

use crate::model::Deploy;
use crate::model::text::{Untrusted, escape};

/// The state of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Update {
    /// There was none, or it has ended.
    Over,
    /// Swarm stopped it after a failure and does not continue it.
    Paused(String),
    /// Swarm continues it; also any unknown state.
    Going(String),
}

impl Update {
    pub(super) fn of(state: String) -> Self {
        match state.as_str() {
            "" | "completed" | "rollback_completed" => Self::Over,
            "paused" | "rollback_paused" => Self::Paused(state),
            _ => Self::Going(state),
        }
    }
}

/// Where a task is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Placement {
    Here,
    Elsewhere,
    Nowhere,
}

/// A task, as Swarm lists it.
pub(super) struct ListedTask<'a> {
    pub(super) id: &'a str,
    pub(super) state: &'a str,
    pub(super) desired: &'a str,
    /// Swarm reports an error; for a waiting task, why no node is fit for it.
    pub(super) given_up: bool,
    pub(super) place: Placement,
    /// 0 for a service with a task on each node.
    pub(super) slot: u64,
    pub(super) force_update: u64,
    pub(super) images: &'a [String],
}

/// How far a task is, as far as it matters for pulls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Its container was here. The next task in its place with the same images, all by digest,
    /// has nothing to pull.
    WasHere { place: String },
    /// Under way on this node, before its container exists. `again`: its place, where an
    /// earlier task may have pulled all its images.
    Comes {
        id: String,
        state: String,
        again: Option<String>,
    },
    /// Under way, but pulls nothing here: it is on another node, on none yet, or its container
    /// exists.
    Moves,
    /// It waits, because Swarm finds no fit node.
    GivenUp,
}

impl Stage {
    /// `None` for a task that has ended or has its desired state.
    pub(super) fn of(task: &ListedTask<'_>) -> Option<Self> {
        // It runs, has run, or must end: nothing more is pulled for it. A task that was told to
        // end while it pulled is `shutdown`, too, and never had a container.
        let container = match task.state {
            "running" | "complete" | "failed" => Some(true),
            "shutdown" | "rejected" | "remove" | "orphaned" => Some(false),
            _ => None,
        };
        let place = || {
            format!(
                "{} {} {}",
                task.slot,
                task.force_update,
                task.images.join(" ")
            )
        };
        if let Some(container) = container {
            let was_here = container && task.place == Placement::Here;
            return was_here.then(|| Self::WasHere { place: place() });
        }
        let ends = ["shutdown", "failed", "rejected", "remove", "orphaned"];
        if ends.contains(&task.desired) {
            return None;
        }
        if matches!(task.state, "new" | "allocated" | "pending") && task.given_up {
            return Some(Self::GivenUp);
        }
        Some(match (task.place, task.state) {
            (Placement::Elsewhere | Placement::Nowhere, _)
            | (Placement::Here, "ready" | "starting") => Self::Moves,
            (Placement::Here, state) => Self::Comes {
                id: task.id.chars().take(12).collect(),
                state: state.to_owned(),
                again: task.images.iter().all(|image| is_pinned(image)).then(place),
            },
        })
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::WasHere { place } => place.len(),
            Self::Comes { id, state, again } => {
                id.len() + state.len() + again.as_ref().map_or(0, String::len)
            }
            Self::Moves | Self::GivenUp => 0,
        }
    }
}

/// An engine does not ask a registry for an image that it has under such a name.
fn is_pinned(image: &str) -> bool {
    image.contains("@sha256:")
}

/// Tasks of a service that are named, at most.
const NAMED: usize = 3;

/// The deploy that consists of a service's update and tasks; `None` if they have all ended.
pub(super) fn deploy(service: String, update: Option<&Update>, stages: &[Stage]) -> Option<Deploy> {
    let earlier = stages.iter().filter_map(|one| match one {
        Stage::WasHere { place } => Some(place.as_str()),
        Stage::Comes { .. } | Stage::Moves | Stage::GivenUp => None,
    });
    let earlier: BTreeSet<&str> = earlier.collect();
    let was_here = |again: &Option<String>| {
        let place = again.as_deref();
        place.is_some_and(|place| earlier.contains(place))
    };
    let comes = stages.iter().filter_map(|one| match one {
        Stage::Comes { id, state, again } if !was_here(again) => {
            Some((id.as_str(), state.as_str()))
        }
        Stage::Comes { .. } | Stage::WasHere { .. } | Stage::Moves | Stage::GivenUp => None,
    });
    let comes: Vec<(&str, &str)> = comes.collect();
    let given_up = stages.contains(&Stage::GivenUp);
    // Also a task that needs no waiting here.
    let moves = |one: &Stage| matches!(one, Stage::Moves | Stage::Comes { .. });
    let (state, goes_on) = match update.unwrap_or(&Update::Over) {
        Update::Over => (None, false),
        Update::Paused(state) => (Some(state), false),
        // Between two steps of an update no task moves.
        Update::Going(state) => (Some(state), !given_up || stages.iter().any(moves)),
    };
    let mut what: Vec<String> = Vec::new();
    what.extend(state.map(|state| format!("update is {}", escape(state))));
    let named = comes.iter().take(NAMED);
    what.extend(named.map(|(id, state)| format!("task {} is {}", escape(id), escape(state))));
    if comes.len() > NAMED {
        what.push(format!(
            "{} tasks more are on their way",
            comes.len() - NAMED
        ));
    }
    if given_up {
        what.push("Swarm finds no node for a task of it".to_owned());
    }
    (!what.is_empty()).then(|| Deploy {
        service: Untrusted::new(service),
        what: what.join(", "),
        stuck: comes.is_empty() && !goes_on,
    })
}
