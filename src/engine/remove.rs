//! Gives an image a name of ours, and drops one name: all that a removal needs. Lost names come
//! back by `put_back`.
//!
//! Never by id, because DELETE by id also takes a tag that was set a moment ago; never forced;
//! always `noprune`, or an unplanned parent goes, too. It does not decide which name is dropped
//! when.

use std::time::Duration;

use bollard::query_parameters::RemoveImageOptions;

use crate::engine::error::EngineError;
use crate::engine::reader::{Reader, call};
use crate::guard::Cleared;
use crate::model::ImageId;
use crate::model::reference::Reference;

/// Dropping a name may take at least this long: it deletes the layers' files.
pub(super) const REMOVE: Duration = Duration::from_mins(2);

/// The engine's answer to dropping a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// As the engine writes them.
    pub untagged: Vec<String>,
    /// Ids of images and layers.
    pub deleted: Vec<String>,
}

impl Reader {
    /// Access that can also remove what was cleared.
    pub fn into_remover(self, cleared: Cleared) -> (Remover, Cleared) {
        (Remover { reader: self }, cleared)
    }
}

/// Read access, these two requests, and those that put a name back.
#[derive(Debug)]
pub struct Remover {
    reader: Reader,
}

impl Remover {
    #[cfg(test)]
    pub(super) fn of(reader: Reader) -> Self {
        Self { reader }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Gives the image our name for it.
    pub async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        let ours = Reference::ours(id);
        let doing = format!("name image {id} as {ours}");
        self.reader.tag(&doing, id, &ours).await?;
        Ok(ours)
    }

    /// Drops one name. The image goes only if that was its last name and nothing uses it. The
    /// engine checks this itself, atomically.
    pub async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError> {
        let name = name.to_string();
        let options = RemoveImageOptions {
            force: false,
            noprune: true,
            ..RemoveImageOptions::default()
        };
        let doing = format!("drop the name {name}");
        let items = call(
            &doing,
            REMOVE.max(self.reader.patience),
            self.reader.docker.remove_image(&name, Some(options), None),
        )
        .await?;
        let mut dropped = Dropped::default();
        for item in items {
            dropped.untagged.extend(item.untagged);
            dropped.deleted.extend(item.deleted);
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::error::Failure;
    use crate::engine::socket::Socket;

    /// A remover of an engine that takes each connection and never answers.
    fn silent() -> (tempfile::TempDir, std::os::unix::net::UnixListener, Remover) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let socket = Socket::new(path);
        let reader = Reader::of(socket);
        (dir, listener, Remover::of(reader))
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_without_an_answer_ends_in_two_minutes_and_all_else_in_half_a_one() {
        let (_dir, _listener, remover) = silent();
        let id: ImageId = "a".repeat(64).parse().unwrap();
        let start = tokio::time::Instant::now();
        let dropped = remover.drop_name(&"app:1".parse().unwrap()).await;
        assert_eq!(dropped.unwrap_err().kind, Failure::Lost);
        assert_eq!(start.elapsed().as_secs(), 120);
        let start = tokio::time::Instant::now();
        assert_eq!(
            remover.name_ours(&id).await.unwrap_err().kind,
            Failure::Lost
        );
        assert_eq!(
            remover.reader.inspect(&id).await.unwrap_err().kind,
            Failure::Lost
        );
        assert_eq!(start.elapsed().as_secs(), 2 * 30);
    }
}
