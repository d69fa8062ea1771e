//! The folders that hold an engine's images.

use crate::engine::Info;
use crate::host::storage;
use crate::model::Store;

/// The folders that images of this store need after a restart.
pub fn store_folders(info: &Info) -> Vec<storage::Storage> {
    let facts = &info.facts;
    let layers = match facts.store {
        Store::Graphdriver => {
            Some(facts.data_root.join(facts.driver.raw())).filter(|folder| folder.is_dir())
        }
        Store::Containerd | Store::Podman => facts.containerd_root.clone(),
    };
    std::iter::once(facts.data_root.clone())
        .chain(layers)
        .map(|path| storage::read(&path))
        .collect()
}
