//! The tasks of a Swarm: the images that each service wants for them, and how far they are.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use crate::engine::allowance::Weighed;
use crate::engine::deploys::{ListedTask, Placement, Stage};
use crate::engine::sparing::some_of;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskSpec {
    container_spec: Option<ContainerSpec>,
    force_update: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    image: Option<String>,
    #[serde(default, rename = "Mounts", deserialize_with = "image_mounts")]
    image_mounts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type")]
    kind: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: Option<String>,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    slot: Option<u64>,
    desired_state: Option<String>,
    spec: Option<TaskSpec>,
    status: Option<TaskStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskStatus {
    state: Option<String>,
    err: Option<String>,
}

fn image_mounts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    some_of(from, |mount: Mount| {
        let image = mount.kind.as_deref() == Some("image");
        mount.source.filter(|_| image)
    })
}

impl TaskSpec {
    pub(super) fn images(self) -> impl Iterator<Item = String> {
        let container = self.container_spec.into_iter();
        container.flat_map(|spec| spec.image.into_iter().chain(spec.image_mounts))
    }
}

/// The part of a task that is kept: each image that its service wants, once for all its tasks,
/// and how far the task is. A cluster may have far more tasks than there is content on this
/// node.
pub(super) struct Kept {
    pub(super) service: String,
    pub(super) what: OfTask,
}

pub(super) enum OfTask {
    Image(String),
    Stage(Stage),
}

impl Weighed for Kept {
    fn weight(&self) -> usize {
        let text = match &self.what {
            OfTask::Image(image) => image.len(),
            OfTask::Stage(stage) => stage.weight(),
        };
        // The text, its copy in `Tasks`, and its copy in the plan.
        size_of::<Self>() + 192 + 3 * (self.service.len() + text)
    }
}

/// Takes tasks one after the other.
pub(super) struct Tasks<'a> {
    /// This node's id.
    here: Option<&'a str>,
    /// Services and their images, as far as taken.
    known: BTreeSet<(String, String)>,
    /// Services and how far their tasks are, as far as taken.
    stages: BTreeSet<(String, Stage)>,
}

impl<'a> Tasks<'a> {
    pub(super) fn on(here: Option<&'a str>) -> Self {
        Self {
            here,
            known: BTreeSet::new(),
            stages: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, task: Task) -> Vec<Kept> {
        let service = task.service_id.unwrap_or_else(|| "none".to_owned());
        let status = task.status;
        let (state, error) = status.map_or((None, None), |status| (status.state, status.err));
        let node = task.node_id.filter(|node| !node.is_empty());
        let place = match (node.as_deref(), self.here) {
            (None, _) => Placement::Nowhere,
            (Some(node), Some(here)) if node != here => Placement::Elsewhere,
            (Some(_), _) => Placement::Here,
        };
        let force_update = task.spec.as_ref().and_then(|spec| spec.force_update);
        let images: Vec<String> = task.spec.into_iter().flat_map(TaskSpec::images).collect();
        let reached = Stage::of(&ListedTask {
            id: &task.id,
            state: state.as_deref().unwrap_or_default(),
            desired: task.desired_state.as_deref().unwrap_or_default(),
            given_up: error.is_some_and(|error| !error.is_empty()),
            place,
            slot: task.slot.unwrap_or(0),
            force_update: force_update.unwrap_or(0),
            images: &images,
        });
        let mut kept = Vec::new();
        for image in images {
            if self.known.insert((service.clone(), image.clone())) {
                kept.push(OfTask::Image(image));
            }
        }
        let new = |stage: &Stage| self.stages.insert((service.clone(), stage.clone()));
        kept.extend(reached.filter(new).map(OfTask::Stage));
        let kept = kept.into_iter().map(|what| Kept {
            service: service.clone(),
            what,
        });
        kept.collect()
    }
}
