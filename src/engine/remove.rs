//! Looking again at one image, giving it a name of ours, dropping one name:
//! all that removing takes. Never by id, for DELETE by id also takes a tag that
//! came a moment ago; never forced; always `noprune`, or an unplanned parent
//! goes, too. It does not decide which name is dropped when.

use std::collections::BTreeSet;

use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::engine::list::{LONGEST_ITEM, LONGEST_WHOLE, object};
use crate::engine::read::sort_names;
use crate::engine::sparing::Texts;
use crate::engine::{EngineError, Failure, REMOVE, Reader, call};
use crate::guard::Cleared;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::{ImageId, Observed};

/// One image, looked at by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
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

/// What is read of an image, and no more: its labels stand there, too, and may
/// be many.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: Option<String>,
    repo_tags: Option<Texts>,
    repo_digests: Option<Texts>,
    metadata: Option<Metadata>,
    #[serde(rename = "RootFS")]
    root_fs: Option<RootFs>,
}

/// What an image is made of, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: Option<String>,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// There is no such name.
    Nowhere,
    /// The name is listed, and what it names is gone. So it is on the containerd
    /// store (28.5.2) after a tag that was set in the moment of a removal: the
    /// answer has an id, the tag, and an empty `RootFS`.
    ToNothing,
    /// To an image that can be used.
    ToAnImage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: Option<String>,
}

impl Reader {
    /// Looks at one image; `None` where it is gone. As long as an item of a
    /// list, for several are looked at at once.
    pub async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        let doing = format!("look at image {id}");
        let path = format!("/images/{id}/json");
        match self.whole(&doing, &path, LONGEST_ITEM).await {
            Ok(body) => object(&body)
                .and_then(|image| seen(id, image))
                .map(Some)
                .map_err(|why| EngineError::nonsense(doing, why)),
            Err(error) if error.kind == Failure::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a name leads now.
    pub async fn leads(&self, name: &Reference) -> Result<Leads, EngineError> {
        let doing = format!("look at image {name}");
        let path = format!("/images/{name}/json");
        match self.whole(&doing, &path, LONGEST_WHOLE).await {
            Ok(body) if object::<Answer>(&body).is_ok_and(is_whole) => Ok(Leads::ToAnImage),
            Ok(_) => Ok(Leads::ToNothing),
            Err(error) => match error.kind {
                Failure::NotFound => Ok(Leads::Nowhere),
                Failure::Nonsense => Ok(Leads::ToNothing),
                Failure::Lost
                | Failure::Permission
                | Failure::Conflict
                | Failure::Status(_)
                | Failure::Contradiction => Err(error),
            },
        }
    }

    /// The image that a name leads to, be it there or gone.
    pub async fn named(&self, name: &Reference) -> Option<ImageId> {
        let doing = format!("look at image {name}");
        let path = format!("/images/{name}/json");
        let body = self.whole(&doing, &path, LONGEST_WHOLE).await.ok()?;
        object::<Answer>(&body).ok()?.id?.parse().ok()
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
        let request = self.reader.docker.tag_image(id.as_str(), Some(options));
        self.reader.ask(&doing, request).await?;
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

/// Whether an answer about a name tells of an image, and what it is made of.
fn is_whole(image: Answer) -> bool {
    let made_of = image.root_fs.as_ref().and_then(|root| root.kind.as_deref());
    let made = made_of.is_some_and(|kind| !kind.is_empty());
    let id = image.id.as_deref().and_then(|id| id.parse().ok());
    made && id.is_some_and(|id| seen(&id, image).is_ok())
}

/// An answer about another image, or about none, is no answer: what is removed
/// rests on it.
fn seen(asked: &ImageId, image: Answer) -> Result<Inspected, String> {
    let about = image.id.unwrap_or_default();
    if about.parse().ok().as_ref() != Some(asked) {
        return Err(format!("the answer is about {:?}", escape(&about)));
    }
    if image.repo_tags.is_none() && image.repo_digests.is_none() {
        return Err("the answer tells of no names, not even that there are none".to_owned());
    }
    let names = sort_names(
        &image.repo_tags.unwrap_or_default().0,
        &image.repo_digests.unwrap_or_default().0,
    );
    if let Some(odd) = names.odd.first() {
        return Err(format!("the engine lists it as {odd}"));
    }
    let time = image.metadata.and_then(|metadata| metadata.last_tag_time);
    Ok(Inspected {
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
    use crate::engine::socket::Socket;

    /// A remover of an engine that takes each connection and never answers.
    fn silent() -> (tempfile::TempDir, std::os::unix::net::UnixListener, Remover) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let socket = Socket::new(path);
        let reader = Reader {
            patience: std::time::Duration::from_secs(30),
            docker: socket.docker(),
            socket,
            api: (1, 51),
            podman: false,
            platform: None,
            version: String::new(),
        };
        (dir, listener, Remover { reader })
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

    #[test]
    fn a_name_whose_image_is_made_of_nothing_leads_to_none() {
        let id = crate::testing::id(1);
        let whole = |root_fs: &str| {
            let text = format!(
                r#"{{"Id":"{id}","RepoTags":["app:1"],"RepoDigests":[],"RootFS":{root_fs}}}"#
            );
            is_whole(serde_json::from_str(&text).unwrap())
        };
        assert!(whole(r#"{"Type":"layers"}"#));
        assert!(!whole("{}") && !whole("null"));
    }

    #[test]
    fn a_look_that_is_about_nothing_or_another_image_is_none() {
        let id: ImageId = "a".repeat(64).parse().unwrap();
        let image = |id: Option<&str>, tags: Option<Vec<String>>| Answer {
            id: id.map(str::to_owned),
            repo_tags: tags.map(Texts),
            ..Answer::default()
        };
        assert!(seen(&id, image(Some(id.as_str()), Some(vec![]))).is_ok());
        assert!(
            seen(&id, image(Some(id.hex()), Some(vec![]))).is_ok(),
            "Podman"
        );
        assert!(seen(&id, image(Some(id.as_str()), None)).is_err());
        assert!(seen(&id, image(Some(&"b".repeat(64)), Some(vec![]))).is_err());
        assert!(seen(&id, image(None, Some(vec![]))).is_err());
    }

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
