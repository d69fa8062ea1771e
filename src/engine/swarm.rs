//! What Swarm wants on this node, and which builds and deploys are under way.
//! bollard has no previous spec in its services and reads only the newest form
//! of the build cache, so these answers are read into small types of our own.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{LocalNodeState, SwarmInfo};
use serde::{Deserialize, Deserializer};

use super::list::{Allowance, Form, LONGEST_WHOLE, Weighed, object};
use super::sparing::some_of;
use super::{EngineError, Info, Reader};
use crate::model::{Observed, ServiceImage, Spec, Swarm};
use crate::text::{Untrusted, escape};

/// What this node is to Swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SwarmRole {
    None,
    Worker,
    Manager,
    Unclear(LocalNodeState),
}

impl SwarmRole {
    pub(super) fn of(swarm: Option<&SwarmInfo>) -> Self {
        let Some(swarm) = swarm else {
            return Self::None;
        };
        match swarm.local_node_state {
            None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE) => Self::None,
            Some(LocalNodeState::ACTIVE) if swarm.control_available == Some(true) => Self::Manager,
            Some(LocalNodeState::ACTIVE) => Self::Worker,
            Some(
                state @ (LocalNodeState::PENDING | LocalNodeState::ERROR | LocalNodeState::LOCKED),
            ) => Self::Unclear(state),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    spec: ServiceSpec,
    previous_spec: Option<ServiceSpec>,
    update_status: Option<UpdateStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceSpec {
    name: Option<String>,
    task_template: Option<TaskSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskSpec {
    container_spec: Option<ContainerSpec>,
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
struct UpdateStatus {
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: Option<String>,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    spec: Option<TaskSpec>,
    status: Option<TaskStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskStatus {
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    /// Up to API 1.51.
    #[serde(default, deserialize_with = "in_use")]
    build_cache: Vec<BuildRecord>,
    /// From API 1.52 on.
    build_cache_usage: Option<BuildUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildUsage {
    #[serde(default, deserialize_with = "in_use")]
    items: Vec<BuildRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildRecord {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(default)]
    in_use: bool,
}

/// So many builds are named.
const NAMED: usize = 20;

/// The records in use of a list of build records, and of these the first few:
/// the list itself is long, and one of them is enough to refuse.
fn in_use<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BuildRecord>, D::Error> {
    let mut left = NAMED;
    some_of(from, |record: BuildRecord| {
        let named = record.in_use && left > 0;
        left -= usize::from(named);
        Some(record).filter(|_| named)
    })
}

/// The images that a container has mounted.
fn image_mounts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    some_of(from, |mount: Mount| {
        let image = mount.kind.as_deref() == Some("image");
        mount.source.filter(|_| image)
    })
}

/// States of a task that no longer fetches its image. In any other, also one
/// that is not known here, it does so or is about to.
const FETCHED: [&str; 7] = [
    "running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
];

/// States of an update that is over. In any other it is not: a paused one
/// waits for a person, who will go on or roll back.
const UPDATED: [&str; 3] = ["", "completed", "rollback_completed"];

impl Reader {
    /// What Swarm wants, and what it deploys to this node.
    pub async fn swarm(&self, info: &Info) -> Result<Swarm, EngineError> {
        self.all_of_swarm(info, &Allowance::of(info)).await
    }

    pub(super) async fn all_of_swarm(
        &self,
        info: &Info,
        allowance: &Allowance,
    ) -> Result<Swarm, EngineError> {
        match info.role {
            SwarmRole::None => return Ok(Swarm::Inactive),
            SwarmRole::Worker => return Ok(Swarm::Worker),
            SwarmRole::Unclear(state) => {
                return Ok(Swarm::Unreadable(format!("this node is {state}")));
            }
            SwarmRole::Manager => {}
        }
        let mut seen = Tasks::on(info.node.as_deref());
        let (services, tasks) = futures_util::future::join(
            self.list(
                "list services (GET /services)",
                "/services",
                Form::Array,
                allowance,
                |service: Service| Ok(vec![service.into()]),
            ),
            self.list(
                "list tasks (GET /tasks)",
                "/tasks",
                Form::Array,
                allowance,
                |task: Task| Ok(seen.take(task)),
            ),
        )
        .await;
        Ok(wants(&services?, tasks?))
    }

    /// Build records in use. An engine before API 1.42 can only be asked for
    /// all of /system/df, which hangs on large hosts: there, the files of a
    /// pull for a build are the sign.
    pub async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        if self.api < (1, 42) || self.podman {
            return Ok(Observed::Known(Vec::new()));
        }
        let doing = "read the build cache (GET /system/df?type=build-cache)";
        let path = "/system/df?type=build-cache";
        let body = self.whole(doing, path, LONGEST_WHOLE).await?;
        let usage: Usage = object(&body).map_err(|why| EngineError::nonsense(doing, why))?;
        let items = usage.build_cache_usage.map(|usage| usage.items);
        let in_use = usage
            .build_cache
            .into_iter()
            .chain(items.into_iter().flatten());
        Ok(Observed::Known(
            in_use
                .map(|r| {
                    format!(
                        "build record {} is in use",
                        escape(r.id.as_deref().unwrap_or("?"))
                    )
                })
                .collect(),
        ))
    }
}

impl TaskSpec {
    fn images(self) -> impl Iterator<Item = String> {
        let container = self.container_spec.into_iter();
        container.flat_map(|spec| spec.image.into_iter().chain(spec.image_mounts))
    }
}

/// What is kept of a service.
struct Wants {
    id: String,
    name: String,
    images: Vec<(Spec, String)>,
    /// The state of an update that is not over.
    updating: Option<String>,
}

impl From<Service> for Wants {
    fn from(service: Service) -> Self {
        let name = service.spec.name.unwrap_or_else(|| service.id.clone());
        let previous = service.previous_spec.and_then(|spec| spec.task_template);
        let specs = [
            (Spec::Current, service.spec.task_template),
            (Spec::Previous, previous),
        ];
        let images = specs.into_iter().flat_map(|(spec, template)| {
            let images = template.into_iter().flat_map(TaskSpec::images);
            images.map(move |image| (spec, image))
        });
        let state = service.update_status.and_then(|status| status.state);
        Self {
            images: images.collect(),
            updating: state.filter(|state| !UPDATED.contains(&state.as_str())),
            id: service.id,
            name,
        }
    }
}

impl Weighed for Wants {
    fn weight(&self) -> usize {
        // Beside this, the plan has both names once for each image.
        let images = self.images.iter();
        let images: usize = images
            .map(|(_, image)| 192 + self.name.len() + 2 * image.len())
            .sum();
        size_of::<Self>() + self.id.len() + self.name.len() + images
    }
}

/// What is kept of a task: an image that its service wants, once for all its
/// tasks, and that it is on its way on this node. The tasks of a cluster are
/// many, and those of other nodes are not in proportion to what is here.
struct Kept {
    service: String,
    what: OfTask,
}

enum OfTask {
    Image(String),
    UnderWay { id: String, state: String },
}

impl Weighed for Kept {
    fn weight(&self) -> usize {
        let text = match &self.what {
            OfTask::Image(image) => image.len(),
            OfTask::UnderWay { id, state } => id.len() + state.len(),
        };
        // The text, what it is known again by, and what the plan has of it.
        size_of::<Self>() + 192 + 3 * (self.service.len() + text)
    }
}

/// Reads tasks.
struct Tasks<'a> {
    /// This node's id.
    here: Option<&'a str>,
    /// Services and their images.
    known: BTreeSet<(String, String)>,
}

impl<'a> Tasks<'a> {
    fn on(here: Option<&'a str>) -> Self {
        Self {
            here,
            known: BTreeSet::new(),
        }
    }

    /// What another node fetches holds nothing up, nor what has no node: it may
    /// never get one. Once it is given to this node it is on its way here, and
    /// that is asked before each removal; until then its image is wanted.
    fn take(&mut self, task: Task) -> Vec<Kept> {
        let service = task.service_id.unwrap_or_else(|| "none".to_owned());
        let state = task.status.and_then(|status| status.state);
        let state = state.unwrap_or_default();
        let node = task.node_id.filter(|node| !node.is_empty());
        let concerns_us = match (node.as_deref(), self.here) {
            (Some(node), Some(here)) => node == here,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut kept = Vec::new();
        for image in task.spec.into_iter().flat_map(TaskSpec::images) {
            if self.known.insert((service.clone(), image.clone())) {
                kept.push(OfTask::Image(image));
            }
        }
        if concerns_us && !FETCHED.contains(&state.as_str()) {
            kept.push(OfTask::UnderWay { id: task.id, state });
        }
        let kept = kept.into_iter().map(|what| Kept {
            service: service.clone(),
            what,
        });
        kept.collect()
    }
}

fn wants(services: &[Wants], tasks: Vec<Kept>) -> Swarm {
    let mut images = Vec::new();
    let mut under_way = Vec::new();
    let mut add = |service: &str, spec, image: String| {
        images.push(ServiceImage {
            service: Untrusted::new(service),
            spec,
            image: Untrusted::new(image),
        });
    };
    for service in services {
        for (spec, image) in &service.images {
            add(&service.name, *spec, image.clone());
        }
        if let Some(state) = &service.updating {
            let (name, state) = (escape(&service.name), escape(state));
            under_way.push(format!("service {name}: update is {state}"));
        }
    }
    let names = services
        .iter()
        .map(|service| (&*service.id, &*service.name));
    let names: BTreeMap<&str, &str> = names.collect();
    for task in tasks {
        let service = names.get(&*task.service).copied().unwrap_or(&task.service);
        match task.what {
            OfTask::Image(image) => add(service, Spec::Task, image),
            OfTask::UnderWay { id, state } => {
                let id: String = id.chars().take(12).collect();
                let (id, state) = (escape(&id), escape(&state));
                under_way.push(format!("service {}: task {id} is {state}", escape(service)));
            }
        }
    }
    Swarm::Manager { images, under_way }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(services: &str, tasks: &str) -> (Vec<ServiceImage>, Vec<String>) {
        let services: Vec<Service> = serde_json::from_str(services).unwrap();
        let tasks: Vec<Task> = serde_json::from_str(tasks).unwrap();
        let mut seen = Tasks::on(Some("n"));
        let tasks = tasks.into_iter().flat_map(|task| seen.take(task)).collect();
        let services: Vec<_> = services.into_iter().map(Wants::from).collect();
        match wants(&services, tasks) {
            Swarm::Manager { images, under_way } => (images, under_way),
            other => panic!("{other:?}"),
        }
    }

    const SERVICE: &str = r#"[{"ID":"s1","Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:2"}}},
        "PreviousSpec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:1"}}},
        "UpdateStatus":{"State":"paused"}}]"#;

    #[test]
    fn the_current_and_the_previous_spec_are_wanted() {
        let (images, under_way) = swarm(SERVICE, "[]");
        let seen: Vec<_> = images.iter().map(|i| (i.spec, i.image.raw())).collect();
        assert_eq!(seen, [(Spec::Current, "app:2"), (Spec::Previous, "app:1")]);
        assert_eq!(under_way, ["service web: update is paused"]);
    }

    #[test]
    fn a_task_that_prepares_is_a_deploy_and_one_that_runs_is_not() {
        let task = |state: &str| {
            format!(
                r#"[{{"ID":"t1","ServiceID":"s1","NodeID":"n","Spec":{{"ContainerSpec":{{"Image":"app:3"}}}},"Status":{{"State":"{state}"}}}}]"#
            )
        };
        let (images, under_way) = swarm("[]", &task("preparing"));
        assert_eq!(images[0].image.raw(), "app:3");
        assert_eq!(under_way, ["service s1: task t1 is preparing"]);
        for state in [
            "running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
        ] {
            assert!(swarm("[]", &task(state)).1.is_empty(), "{state}");
        }
        assert_eq!(swarm("[]", &task("hatching")).1.len(), 1, "not known");
    }

    #[test]
    fn what_another_node_fetches_and_what_has_no_node_is_no_deploy_here() {
        let task = |node: &str| {
            let text = format!(
                r#"[{{"ID":"t1","ServiceID":"s1",{node}"Spec":{{"ContainerSpec":{{"Image":"app:3"}}}},"Status":{{"State":"pending"}}}}]"#
            );
            let (images, under_way) = swarm("[]", &text);
            assert_eq!(images.len(), 1, "its image is wanted all the same");
            under_way.len()
        };
        assert_eq!(task(r#""NodeID":"n","#), 1);
        assert_eq!(task(r#""NodeID":"other","#), 0);
        assert_eq!(task(r#""NodeID":"","#), 0, "no node may ever be fit for it");
        assert_eq!(task(""), 0);
    }

    #[test]
    fn what_is_kept_of_the_tasks_of_a_service_does_not_grow_with_their_number() {
        let task = |n: usize, image: &str| {
            format!(
                r#"{{"ID":"t{n}","ServiceID":"s1","NodeID":"other{n}","Spec":{{"ContainerSpec":{{"Image":"{image}","Mounts":[{{"Type":"bind","Source":"/etc"}},{{"Type":"image","Source":"data:1"}}]}}}},"Status":{{"State":"preparing"}}}}"#
            )
        };
        let mut seen = Tasks::on(Some("n"));
        let mut weight = 0;
        let mut images = Vec::new();
        for n in 0..10_000 {
            let image = if n % 2 == 0 { "app:2" } else { "app:1" };
            for kept in seen.take(serde_json::from_str(&task(n, image)).unwrap()) {
                weight += kept.weight();
                images.push(match kept.what {
                    OfTask::Image(image) => image,
                    OfTask::UnderWay { .. } => panic!("not here"),
                });
            }
        }
        assert_eq!(images, ["app:2", "data:1", "app:1"]);
        assert!(weight < 2000, "{weight}");
    }
}
