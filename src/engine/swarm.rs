//! What Swarm wants on this node, and which builds and deploys are under way.
//! bollard has no previous spec in its services and reads only the newest form
//! of the build cache, so these answers are read into small types of our own.

use bollard::models::{LocalNodeState, SwarmInfo};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::list::{Allowance, Form, LONGEST_WHOLE, Weighed, object};
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
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
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
    desired_state: Option<String>,
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
    #[serde(default)]
    build_cache: InUse,
    /// From API 1.52 on.
    build_cache_usage: Option<BuildUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildUsage {
    #[serde(default)]
    items: InUse,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildRecord {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(default)]
    in_use: bool,
}

/// The records in use of a list of build records, and of these the first few:
/// the list itself is long, and one of them is enough to refuse.
#[derive(Default)]
struct InUse(Vec<BuildRecord>);

/// So many builds are named.
const NAMED: usize = 20;

impl<'de> Deserialize<'de> for InUse {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Records;
        impl<'de> Visitor<'de> for Records {
            type Value = InUse;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of build records")
            }
            fn visit_none<E>(self) -> Result<InUse, E> {
                Ok(InUse::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<InUse, D::Error> {
                from.deserialize_seq(self)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<InUse, A::Error> {
                let mut found = Vec::new();
                while let Some(record) = list.next_element::<BuildRecord>()? {
                    if record.in_use && found.len() < NAMED {
                        found.push(record);
                    }
                }
                Ok(InUse(found))
            }
        }
        from.deserialize_option(Records)
    }
}

/// States of a task that no longer fetches its image. In any other, also one
/// that is not known here, it does so or is about to.
const FETCHED: [&str; 7] = [
    "running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
];

/// What a task is meant to come to that will never start.
const ENDING: [&str; 3] = ["shutdown", "remove", "orphaned"];

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
        let (services, tasks) = futures_util::future::join(
            self.list(
                "list services (GET /services)",
                "/services",
                Form::Array,
                allowance,
                |service: Service| Ok(vec![service]),
            ),
            self.list(
                "list tasks (GET /tasks)",
                "/tasks",
                Form::Array,
                allowance,
                |task: Task| Ok(vec![task]),
            ),
        )
        .await;
        Ok(wants(&services?, &tasks?, info.node.as_deref()))
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
        let records = usage.build_cache.0.into_iter();
        let in_use = records.chain(items.into_iter().flat_map(|items| items.0));
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

impl Weighed for Service {
    fn weight(&self) -> usize {
        let specs = self.previous_spec.iter().chain([&self.spec]);
        let specs: usize = specs
            .map(|spec| {
                let name = spec.name.as_ref().map_or(0, String::len);
                name + spec.task_template.as_ref().map_or(0, Weighed::weight)
            })
            .sum();
        size_of::<Self>() + self.id.len() + specs
    }
}

impl Weighed for Task {
    fn weight(&self) -> usize {
        let texts = [&self.service_id, &self.node_id, &self.desired_state];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + self.id.len() + texts + self.spec.as_ref().map_or(0, Weighed::weight)
    }
}

impl Weighed for TaskSpec {
    fn weight(&self) -> usize {
        let container = self.container_spec.iter();
        let image = container.clone().filter_map(|spec| spec.image.as_ref());
        let mounts = container.flat_map(|spec| spec.mounts.iter().flatten());
        let source = |mount: &Mount| mount.source.as_ref().map_or(0, String::len);
        // What the plan keeps of it beside this: the service's name, and the
        // image's.
        let mounts: usize = mounts.map(|mount| size_of::<Mount>() + source(mount)).sum();
        192 + image.map(String::len).sum::<usize>() + mounts
    }
}

/// `here` is this node's id: what another node fetches holds nothing up, but
/// what has no node yet may come here.
fn wants(services: &[Service], tasks: &[Task], here: Option<&str>) -> Swarm {
    let mut images = Vec::new();
    let mut under_way = Vec::new();
    let mut add = |service: &str, spec, template: Option<&TaskSpec>| {
        let Some(container) = template.and_then(|template| template.container_spec.as_ref()) else {
            return;
        };
        let mounts = container
            .mounts
            .iter()
            .flatten()
            .filter(|mount| mount.kind.as_deref() == Some("image"));
        let named = container
            .image
            .iter()
            .chain(mounts.filter_map(|mount| mount.source.as_ref()));
        images.extend(named.map(|image| ServiceImage {
            service: Untrusted::new(service),
            spec,
            image: Untrusted::new(image.clone()),
        }));
    };
    let name = |service: &Service| {
        service
            .spec
            .name
            .clone()
            .unwrap_or_else(|| service.id.clone())
    };
    for service in services {
        add(
            &name(service),
            Spec::Current,
            service.spec.task_template.as_ref(),
        );
        let previous = service
            .previous_spec
            .as_ref()
            .and_then(|spec| spec.task_template.as_ref());
        add(&name(service), Spec::Previous, previous);
        let state = service
            .update_status
            .as_ref()
            .and_then(|status| status.state.as_deref())
            .unwrap_or_default();
        if !UPDATED.contains(&state) {
            under_way.push(format!(
                "service {}: update is {}",
                escape(&name(service)),
                escape(state)
            ));
        }
    }
    for task in tasks {
        let service = task.service_id.as_deref().unwrap_or("none");
        let shown = services
            .iter()
            .find(|s| s.id == service)
            .map_or_else(|| service.to_owned(), &name);
        add(&shown, Spec::Task, task.spec.as_ref());
        let state = task
            .status
            .as_ref()
            .and_then(|status| status.state.as_deref())
            .unwrap_or_default();
        let node = task.node_id.as_deref().filter(|node| !node.is_empty());
        let concerns_us = match (node, here) {
            (Some(node), Some(here)) => node == here,
            (Some(_), None) => true,
            (None, _) => !task
                .desired_state
                .as_deref()
                .is_some_and(|desired| ENDING.contains(&desired)),
        };
        if concerns_us && !FETCHED.contains(&state) {
            let place = if node.is_some() {
                ""
            } else {
                ", without a node yet"
            };
            let id: String = task.id.chars().take(12).collect();
            let (id, state) = (escape(&id), escape(state));
            under_way.push(format!(
                "service {}: task {id} is {state}{place}",
                escape(&shown)
            ));
        }
    }
    Swarm::Manager { images, under_way }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(services: &str, tasks: &str) -> (Vec<ServiceImage>, Vec<String>) {
        match wants(
            &serde_json::from_str::<Vec<_>>(services).unwrap(),
            &serde_json::from_str::<Vec<_>>(tasks).unwrap(),
            Some("n"),
        ) {
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
    fn what_another_node_fetches_and_what_will_never_start_is_no_deploy_here() {
        let task = |node: &str, desired: &str| {
            let text = format!(
                r#"[{{"ID":"t1","ServiceID":"s1","NodeID":"{node}","DesiredState":"{desired}","Spec":{{"ContainerSpec":{{"Image":"app:3"}}}},"Status":{{"State":"pending"}}}}]"#
            );
            let (images, under_way) = swarm("[]", &text);
            assert_eq!(images.len(), 1, "its image is wanted all the same");
            under_way.len()
        };
        assert_eq!(task("n", "running"), 1);
        assert_eq!(task("other", "running"), 0);
        assert_eq!(task("", "running"), 1, "it may come here");
        assert_eq!(task("", "shutdown"), 0, "it never got a node");
        assert_eq!(task("n", "shutdown"), 1, "its pull may still run");
    }
}
