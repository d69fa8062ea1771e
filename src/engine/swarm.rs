//! The images of Swarm's services and its deploys to this node. bollard's services lack the
//! previous spec, so the lists are read into types of our own.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::deploys::{Stage, Update, deploy};
use crate::engine::error::EngineError;
use crate::engine::info::{Info, SwarmRole};
use crate::engine::items::Form;
use crate::engine::reader::Reader;
use crate::engine::tasks::{Kept, OfTask, Task, TaskSpec, Tasks};
use crate::model::text::{Untrusted, json_error};
use crate::model::{ServiceImage, Spec, Swarm};

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
struct UpdateStatus {
    state: Option<String>,
}

impl Reader {
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
}

/// The part of a service that is kept.
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
        // The plan also has both names once for each image.
        let images = self.images.iter();
        let images: usize = images
            .map(|(_, image)| 192 + self.name.len() + 2 * image.len())
            .sum();
        size_of::<Self>() + self.id.len() + self.name.len() + images
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
    let mut stages: BTreeMap<String, (Option<&Update>, Vec<Stage>)> = BTreeMap::new();
    for service in services {
        for (spec, image) in &service.images {
            add(&service.name, *spec, image.clone());
        }
        stages.entry(service.name.clone()).or_default().0 = Some(&service.update);
    }
    let names = services
        .iter()
        .map(|service| (&*service.id, &*service.name));
    let names: BTreeMap<&str, &str> = names.collect();
    for task in tasks {
        let service = names.get(&*task.service).copied().unwrap_or(&task.service);
        match task.what {
            OfTask::Image(image) => add(service, Spec::Task, image),
            OfTask::Stage(one) => stages.entry(service.to_owned()).or_default().1.push(one),
        }
    }
    let under_way = stages
        .into_iter()
        .filter_map(|(service, (update, stages))| deploy(service, update, &stages))
        .collect();
    Swarm::Manager { images, under_way }
}

/// Reads the two lists of a manager, for models of an engine. Those of a live one are read as
/// they arrive.
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
mod tests;
