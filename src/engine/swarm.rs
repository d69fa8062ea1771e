//! What Swarm wants on this node, and which builds and deploys are under way.
//! bollard has no previous spec in its services and reads only the newest form
//! of the build cache, so these answers are read into small types of our own.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{LocalNodeState, SwarmInfo};
use serde::{Deserialize, Deserializer};

use crate::engine::deploys::{Place, Seen, Update, Way, deploy};
use crate::engine::list::{Allowance, Form, LONGEST_WHOLE, Weighed, object};
use crate::engine::sparing::some_of;
use crate::engine::{EngineError, Info, Reader};
use crate::model::text::{Untrusted, escape, json_error};
use crate::model::{Observed, ServiceImage, Spec, Swarm};

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
    update: Update,
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
            update: Update::of(state.unwrap_or_default()),
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
/// tasks, and how far it is. The tasks of a cluster are many, and those of other
/// nodes are not in proportion to what is here.
struct Kept {
    service: String,
    what: OfTask,
}

enum OfTask {
    Image(String),
    Way(Way),
}

impl Weighed for Kept {
    fn weight(&self) -> usize {
        let text = match &self.what {
            OfTask::Image(image) => image.len(),
            OfTask::Way(way) => way.weight(),
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
    /// What was kept of how far tasks are.
    ways: BTreeSet<(String, Way)>,
}

impl<'a> Tasks<'a> {
    fn on(here: Option<&'a str>) -> Self {
        Self {
            here,
            known: BTreeSet::new(),
            ways: BTreeSet::new(),
        }
    }

    fn take(&mut self, task: Task) -> Vec<Kept> {
        let service = task.service_id.unwrap_or_else(|| "none".to_owned());
        let status = task.status;
        let (state, error) = status.map_or((None, None), |status| (status.state, status.err));
        let node = task.node_id.filter(|node| !node.is_empty());
        let place = match (node.as_deref(), self.here) {
            (None, _) => Place::Nowhere,
            (Some(node), Some(here)) if node != here => Place::Elsewhere,
            (Some(_), _) => Place::Here,
        };
        let force_update = task.spec.as_ref().and_then(|spec| spec.force_update);
        let images: Vec<String> = task.spec.into_iter().flat_map(TaskSpec::images).collect();
        let way = Way::of(&Seen {
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
        let new = |way: &Way| self.ways.insert((service.clone(), way.clone()));
        kept.extend(way.filter(new).map(OfTask::Way));
        let kept = kept.into_iter().map(|what| Kept {
            service: service.clone(),
            what,
        });
        kept.collect()
    }
}

fn wants(services: &[Wants], tasks: Vec<Kept>) -> Swarm {
    let mut images = Vec::new();
    let mut add = |service: &str, spec, image: String| {
        images.push(ServiceImage {
            service: Untrusted::new(service),
            spec,
            image: Untrusted::new(image),
        });
    };
    let mut ways: BTreeMap<String, (Option<&Update>, Vec<Way>)> = BTreeMap::new();
    for service in services {
        for (spec, image) in &service.images {
            add(&service.name, *spec, image.clone());
        }
        ways.entry(service.name.clone()).or_default().0 = Some(&service.update);
    }
    let names = services
        .iter()
        .map(|service| (&*service.id, &*service.name));
    let names: BTreeMap<&str, &str> = names.collect();
    for task in tasks {
        let service = names.get(&*task.service).copied().unwrap_or(&task.service);
        match task.what {
            OfTask::Image(image) => add(service, Spec::Task, image),
            OfTask::Way(way) => ways.entry(service.to_owned()).or_default().1.push(way),
        }
    }
    let under_way = ways
        .into_iter()
        .filter_map(|(service, (update, ways))| deploy(service, update, &ways))
        .collect();
    Swarm::Manager { images, under_way }
}

/// What the two lists of a manager mean on this node. For models of an engine: a
/// live one is read as its answers come.
pub fn wanted_by_swarm(here: &str, services: &str, tasks: &str) -> Result<Swarm, String> {
    let of = |error: serde_json::Error| json_error(&error);
    let services: Vec<Service> = serde_json::from_str(services).map_err(of)?;
    let tasks: Vec<Task> = serde_json::from_str(tasks).map_err(of)?;
    let mut seen = Tasks::on(Some(here));
    let tasks = tasks.into_iter().flat_map(|task| seen.take(task)).collect();
    let services: Vec<Wants> = services.into_iter().map(Wants::from).collect();
    Ok(wants(&services, tasks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Deploy;

    fn swarm(services: &str, tasks: &str) -> (Vec<ServiceImage>, Vec<Deploy>) {
        match wanted_by_swarm("n", services, tasks).unwrap() {
            Swarm::Manager { images, under_way } => (images, under_way),
            other => panic!("{other:?}"),
        }
    }

    const SERVICE: &str = r#"[{"ID":"s1","Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:2"}}},
        "PreviousSpec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:1"}}},
        "UpdateStatus":{"State":"UPDATE"}}]"#;

    /// An image by its digest, which no engine that has it asks a registry for.
    const PINNED: &str = "app:3@sha256:1";

    /// A task of the service, in a state, wanted in another, on a node.
    fn task(state: &str, desired: &str, node: &str, error: &str) -> String {
        format!(
            r#"{{"ID":"t-{state}-{desired}","ServiceID":"s1","Slot":1,"NodeID":"{node}","DesiredState":"{desired}",
            "Spec":{{"ContainerSpec":{{"Image":"{PINNED}"}}}},"Status":{{"State":"{state}","Err":"{error}"}}}}"#
        )
    }

    /// What is under way of a service with this update and these tasks; `stuck`: by
    /// Swarm's words alone.
    fn under_way(update: &str, tasks: &[String]) -> Option<(String, &'static str)> {
        let services = SERVICE.replace("UPDATE", update);
        let (images, mut deploys) = swarm(&services, &format!("[{}]", tasks.join(",")));
        let specs = [Spec::Current, Spec::Previous].iter();
        assert!(
            specs.zip(&images).all(|(spec, image)| image.spec == *spec),
            "the images of both specs are wanted in every state"
        );
        let kept = images.iter().any(|image| image.image.raw() == PINNED);
        assert_eq!(kept, !tasks.is_empty(), "and those of its tasks");
        let deploy = deploys.pop()?;
        assert_eq!((deploys.len(), deploy.service.raw()), (0, "web"));
        Some((deploy.what, if deploy.stuck { "stuck" } else { "moves" }))
    }

    fn is(found: Option<(String, &'static str)>) -> &'static str {
        found.map_or("over", |(_, how)| how)
    }

    const STATES: [&str; 16] = [
        "new",
        "allocated",
        "pending",
        "assigned",
        "accepted",
        "preparing",
        "hatching",
        "ready",
        "starting",
        "running",
        "complete",
        "shutdown",
        "failed",
        "rejected",
        "remove",
        "orphaned",
    ];

    #[test]
    fn the_current_and_the_previous_spec_are_wanted() {
        let (images, deploys) = swarm(SERVICE, "[]");
        let seen: Vec<_> = images.iter().map(|i| (i.spec, i.image.raw())).collect();
        assert_eq!(seen, [(Spec::Current, "app:2"), (Spec::Previous, "app:1")]);
        assert_eq!(deploys[0].what, "update is UPDATE", "one that is not known");
        assert!(!deploys[0].stuck);
    }

    #[test]
    fn a_task_of_this_node_is_a_deploy_until_its_container_is_here() {
        for desired in ["ready", "running", "complete", ""] {
            for (n, state) in STATES.iter().enumerate() {
                let found = is(under_way("completed", &[task(state, desired, "n", "")]));
                let wanted = if n < 7 { "moves" } else { "over" };
                assert_eq!(found, wanted, "{state}, wanted {desired}");
            }
        }
    }

    #[test]
    fn a_task_that_is_to_end_or_is_elsewhere_or_has_no_node_is_no_deploy() {
        for state in STATES {
            for desired in ["shutdown", "failed", "rejected", "remove", "orphaned"] {
                let found = under_way("", &[task(state, desired, "n", "")]);
                assert_eq!(is(found), "over", "{state}, wanted {desired}");
            }
            for node in ["", "other"] {
                let found = under_way("", &[task(state, "running", node, "")]);
                assert_eq!(is(found), "over", "{state} on {node:?}");
            }
        }
    }

    #[test]
    fn an_update_that_swarm_has_stopped_goes_on_by_no_task_that_pulls_nothing() {
        for update in ["paused", "rollback_paused"] {
            assert_eq!(is(under_way(update, &[])), "stuck", "{update}");
            for (n, state) in STATES.iter().enumerate() {
                let found = is(under_way(update, &[task(state, "running", "n", "")]));
                let wanted = if n < 7 { "moves" } else { "stuck" };
                assert_eq!(found, wanted, "{update}, {state}");
            }
        }
    }

    #[test]
    fn an_update_goes_on_unless_all_that_is_left_of_it_is_given_up() {
        let error = "no suitable node (scheduling constraints not satisfied on 1 node)";
        let given_up = task("pending", "running", "", error);
        for update in ["updating", "rollback_started", "in a way that is new"] {
            assert_eq!(is(under_way(update, &[])), "moves", "between two steps");
            let waits = task("pending", "running", "", "");
            assert_eq!(
                is(under_way(update, &[waits])),
                "moves",
                "not looked at yet"
            );
            let found = under_way(update, std::slice::from_ref(&given_up)).unwrap();
            assert_eq!(found.1, "stuck", "{update}");
            assert!(found.0.contains("no node"), "{}", found.0);
            // It was given a node, and the node is not fit any more.
            let here = task("pending", "running", "n", error);
            assert_eq!(is(under_way(update, &[here])), "stuck", "{update}");
            for (n, state) in STATES.iter().enumerate() {
                for node in ["n", "other"] {
                    let other = task(state, "running", node, "");
                    let found = is(under_way(update, &[given_up.clone(), other]));
                    let wanted = if n < 9 { "moves" } else { "stuck" };
                    assert_eq!(found, wanted, "{update}, {state} on {node}");
                }
            }
        }
    }

    #[test]
    fn a_task_that_follows_one_of_the_same_images_has_nothing_to_pull() {
        let next = |image: &str| task("preparing", "ready", "n", "").replace(PINNED, image);
        let with = |earlier: &str, node: &str| {
            let earlier = task(earlier, "shutdown", node, "x");
            is(under_way("completed", &[next(PINNED), earlier]))
        };
        for earlier in ["running", "complete", "failed"] {
            assert_eq!(with(earlier, "n"), "over", "{earlier}");
            assert_eq!(with(earlier, "other"), "moves", "{earlier} elsewhere");
        }
        // Rejected, or told to end while it pulled: its image may never have been here.
        for earlier in ["shutdown", "rejected", "remove", "orphaned"] {
            assert_eq!(with(earlier, "n"), "moves", "{earlier}");
        }
        let failed = task("failed", "shutdown", "n", "x");
        let other = |change: &dyn Fn(String) -> String| {
            let next = change(next(PINNED));
            is(under_way("completed", &[next, failed.clone()]))
        };
        assert_eq!(
            other(&|task| task.replace("\"Slot\":1", "\"Slot\":2")),
            "moves"
        );
        let forced = |task: String| task.replace("{\"Container", "{\"ForceUpdate\":1,\"Container");
        assert_eq!(other(&forced), "moves");
        // By a tag an engine asks a registry each time, and may pull.
        let tags = [next("app:3"), failed.replace(PINNED, "app:3")];
        assert_eq!(is(under_way_of(&tags)), "moves");
    }

    /// As [`under_way`], whatever the images.
    fn under_way_of(tasks: &[String]) -> Option<(String, &'static str)> {
        let (_, deploys) = swarm("[]", &format!("[{}]", tasks.join(",")));
        let deploy = deploys.into_iter().next()?;
        Some((deploy.what, if deploy.stuck { "stuck" } else { "moves" }))
    }

    #[test]
    fn many_tasks_of_a_service_are_one_deploy_that_names_a_few() {
        let task = |n: usize| task("preparing", "running", "n", "").replace("t-", &format!("{n}-"));
        let tasks: Vec<String> = (0..50).map(task).collect();
        let (what, _) = under_way("updating", &tasks).unwrap();
        assert!(what.starts_with("update is updating, task "), "{what}");
        assert!(what.ends_with("47 tasks more are on their way"), "{what}");
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
                    OfTask::Way(way) => {
                        assert_eq!(way, Way::Moves);
                        continue;
                    }
                });
            }
        }
        assert_eq!(images, ["app:2", "data:1", "app:1"]);
        assert!(weight < 2000, "{weight}");
    }
}
