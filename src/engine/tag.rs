//! Gives an image that is here a promised tag. Only an [`Undisturbed`] of the guards leads to a
//! [`Tagger`], which can do nothing but tag.

use bollard::query_parameters::TagImageOptions;

use crate::engine::error::EngineError;
use crate::engine::inspect::Leads;
use crate::engine::reader::Reader;
use crate::guard::Undisturbed;
use crate::model::ImageId;
use crate::model::reference::Reference;

/// Read access, and the one request that tags.
#[derive(Debug)]
pub struct Tagger<'a> {
    reader: &'a Reader,
}

impl Reader {
    /// Access that can also tag, while nothing else is at work.
    pub fn tagger(&self, _: &Undisturbed) -> Tagger<'_> {
        Tagger { reader: self }
    }

    /// Gives an image a tag, wherever that led before.
    pub(super) async fn tag(
        &self,
        doing: &str,
        id: &ImageId,
        tag: &Reference,
    ) -> Result<(), EngineError> {
        let options = TagImageOptions {
            repo: Some(tag.repository()),
            tag: tag.tag().map(str::to_owned),
        };
        let request = self.docker.tag_image(id.as_str(), Some(options));
        self.ask(doing, request).await
    }
}

impl Tagger<'_> {
    /// Gives the image this tag; `false` if the tag leads somewhere already and stays. An
    /// engine tags without checking, so a tag that somebody sets between the two requests is
    /// moved.
    pub async fn tag(&self, id: &ImageId, tag: &Reference) -> Result<bool, EngineError> {
        match self.reader.leads(tag).await? {
            Leads::Nowhere => {}
            Leads::ToNothing | Leads::ToAnImage => return Ok(false),
        }
        let doing = format!("tag {id} as {tag}");
        self.reader.tag(&doing, id, tag).await?;
        Ok(true)
    }
}
