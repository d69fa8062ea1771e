//! An engine's description of itself (GET /info).

use std::future::Future;
use std::path::PathBuf;

use bollard::models::{LocalNodeState, SwarmInfo, SystemInfo};

use crate::engine::error::{EngineError, Failure};
use crate::engine::reader::Reader;
use crate::model::text::Untrusted;
use crate::model::{EngineFacts, Store};

pub(super) const DESCRIBE: &str = "read the engine's description (GET /info)";

#[derive(Debug)]
pub struct Info {
    /// Without `containerd_root`, which only the host can tell.
    pub facts: EngineFacts,
    /// The socket of the containerd that the engine uses, from API 1.46 on.
    pub containerd_address: Option<String>,
    pub(super) role: SwarmRole,
    /// This node's id in the Swarm.
    pub(super) node: Option<String>,
    pub(super) containers: i64,
    pub(super) images: i64,
}

/// This node's part in a Swarm.
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

impl Reader {
    pub async fn info(&self) -> Result<Info, EngineError> {
        self.info_of(self.ask(DESCRIBE, self.docker.info()).await?)
    }

    /// Returns the error if the engine is still there: an answer is also cut short where only its
    /// request failed.
    pub async fn still_there(&self, error: EngineError) -> Result<EngineError, EngineError> {
        if error.kind == Failure::Lost {
            self.info().await?;
        }
        Ok(error)
    }

    pub(super) fn info_of(&self, info: SystemInfo) -> Result<Info, EngineError> {
        let missing = |what: &str| EngineError::nonsense(DESCRIBE, format!("it has no {what}"));
        // An empty list is checked against these.
        let count = |what: &str, count: Option<i64>| {
            let count = count.filter(|count| *count >= 0);
            count.ok_or_else(|| missing(&format!("count of {what}")))
        };
        let containers = count("containers", info.containers)?;
        let images = count("images", info.images)?;
        let store = self.store(&info);
        let root_dir = info.docker_root_dir.map(PathBuf::from);
        let root_dir = root_dir.ok_or_else(|| missing("DockerRootDir"))?;
        // Podman generates a new id for each answer.
        let id = match store {
            Store::Podman => Some(format!("podman:{}", root_dir.display())),
            Store::Graphdriver | Store::Containerd => info.id,
        };
        let id = id.filter(|id| !id.is_empty());
        let facts = EngineFacts {
            id: Untrusted::new(id.ok_or_else(|| missing("ID"))?),
            version: Untrusted::new(info.server_version.unwrap_or_default()),
            api: format!("{}.{}", self.api.0, self.api.1),
            store,
            driver: Untrusted::new(info.driver.unwrap_or_default()),
            data_root: root_dir.clone(),
            root_dir,
            containerd_root: None,
        };
        Ok(Info {
            facts,
            role: SwarmRole::of(info.swarm.as_ref()),
            node: info.swarm.and_then(|swarm| swarm.node_id),
            containers,
            images,
            containerd_address: info.containerd.and_then(|containerd| containerd.address),
        })
    }

    fn store(&self, info: &SystemInfo) -> Store {
        let containerd = |pair: &Vec<String>| matches!(pair.as_slice(), [key, value] if key == "driver-type" && value.starts_with("io.containerd.snapshotter"));
        if self.podman {
            Store::Podman
        } else if info.driver_status.iter().flatten().any(containerd) {
            Store::Containerd
        } else {
            Store::Graphdriver
        }
    }

    /// Asks for a list, and again if it is empty while GET /info counts some.
    pub(super) async fn counted_list<T, F: Future<Output = Result<Vec<T>, EngineError>>>(
        &self,
        doing: &str,
        counted: i64,
        figure: fn(SystemInfo) -> Option<i64>,
        ask: impl Fn() -> F,
    ) -> Result<Vec<T>, EngineError> {
        let list = ask().await?;
        if !list.is_empty() || counted == 0 {
            return Ok(list);
        }
        let counted = self.counted(figure).await?;
        let list = ask().await?;
        still_contradicts(doing, list.len(), counted)?;
        Ok(list)
    }

    /// A figure of GET /info as it is now: the last container or image may have gone since the
    /// first time.
    async fn counted(&self, figure: fn(SystemInfo) -> Option<i64>) -> Result<i64, EngineError> {
        let doing = "count again (GET /info)";
        let info = self.ask(doing, self.docker.info()).await?;
        figure(info)
            .filter(|figure| *figure >= 0)
            .ok_or_else(|| EngineError::nonsense(doing, "a figure is missing"))
    }
}

/// An engine that counts some and lists none must not be read as one that has none.
fn still_contradicts(doing: &str, listed: usize, counted: i64) -> Result<(), EngineError> {
    if listed > 0 || counted == 0 {
        return Ok(());
    }
    let why = format!("asked twice, the list is empty, while GET /info counts {counted}");
    Err(EngineError::new(doing, Failure::Contradiction, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_contradicts_a_count_only_while_the_count_stands() {
        assert!(still_contradicts("list", 0, 1).is_err());
        assert!(still_contradicts("list", 1, 2).is_ok());
        assert!(still_contradicts("list", 0, 0).is_ok(), "the last one went");
    }
}
