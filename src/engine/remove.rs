//! Looking again at one image, giving it a name of ours, dropping one name:
//! all that removing takes. Never by id, for DELETE by id also takes a tag that
//! came a moment ago; never forced; always `noprune`, or an unplanned parent
//! goes, too. It does not decide which name is dropped when.

use std::collections::BTreeSet;

use bollard::models::ImageInspect;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use chrono::{DateTime, Utc};

use super::read::sort_names;
use super::{ASK, EngineError, Failure, REMOVE, Reader, call};
use crate::guards::Cleared;
use crate::model::{ImageId, Observed};
use crate::reference::Reference;
use crate::text::escape;

/// One image, looked at by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its tags: somebody's.
    pub tags: BTreeSet<Reference>,
    /// Its digest references.
    pub digests: BTreeSet<Reference>,
    /// Its names that are ours.
    pub ours: BTreeSet<Reference>,
    /// When a tag was last set here; known to be none, where the engine says so.
    pub last_tag_time: Observed<Option<DateTime<Utc>>>,
}

/// What the engine says that dropping a name did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Names that are gone, as the engine gave them.
    pub untagged: Vec<String>,
    /// Images and layers that are gone.
    pub deleted: Vec<String>,
}

impl Reader {
    /// Looks at one image; `None` where it is gone.
    pub async fn look(&self, id: &ImageId) -> Result<Option<Seen>, EngineError> {
        self.inspect(id.as_str()).await
    }

    async fn inspect(&self, name: &str) -> Result<Option<Seen>, EngineError> {
        let doing = format!("look at image {name}");
        match call(&doing, ASK, self.docker.inspect_image(name)).await {
            Ok(image) => seen(image)
                .map(Some)
                .map_err(|why| EngineError::nonsense(doing, why)),
            Err(error) if error.kind == Failure::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same engine, with the means to remove what was cleared.
    pub fn into_remover(self, cleared: Cleared) -> (Remover, Cleared) {
        (Remover { reader: self }, cleared)
    }
}

/// Read access, and the two requests that change something.
#[derive(Debug)]
pub struct Remover {
    reader: Reader,
}

impl Remover {
    /// Reading goes on.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Gives the image our name for it.
    pub async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        let ours = Reference::ours(id);
        let options = TagImageOptions {
            repo: Some(ours.repository()),
            tag: ours.tag().map(str::to_owned),
        };
        let doing = format!("name image {id} as {ours}");
        call(
            &doing,
            ASK,
            self.reader.docker.tag_image(id.as_str(), Some(options)),
        )
        .await?;
        Ok(ours)
    }

    /// Drops one name. The image goes only if that was its last one, and
    /// nothing uses it: that is the engine's own check, in one step.
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
            REMOVE,
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

fn seen(image: ImageInspect) -> Result<Seen, String> {
    let names = sort_names(
        &image.repo_tags.unwrap_or_default(),
        &image.repo_digests.unwrap_or_default(),
    );
    if let Some(odd) = names.odd.first() {
        return Err(format!("the engine lists it as {odd}"));
    }
    let time = image.metadata.and_then(|metadata| metadata.last_tag_time);
    Ok(Seen {
        tags: names.tags,
        digests: names.digests,
        ours: names.ours,
        last_tag_time: tag_time(time.as_deref()),
    })
}

/// Year 1 stands for "never here": after a pull or a load, nobody tagged it.
fn tag_time(text: Option<&str>) -> Observed<Option<DateTime<Utc>>> {
    let Some(text) = text.filter(|text| !text.is_empty() && !text.starts_with("0001-01-01T"))
    else {
        return Observed::Known(None);
    };
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Observed::Known(Some(at.with_timezone(&Utc))),
        Err(_) => Observed::Unknown(format!("its last tag time reads {}", escape(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_time_is_a_date_or_none_or_unknown() {
        assert_eq!(tag_time(None), Observed::Known(None));
        assert_eq!(
            tag_time(Some("0001-01-01T00:00:00Z")),
            Observed::Known(None)
        );
        assert!(matches!(
            tag_time(Some("2026-01-02T03:04:05.6Z")),
            Observed::Known(Some(_))
        ));
        assert!(matches!(tag_time(Some("yesterday")), Observed::Unknown(_)));
    }
}
