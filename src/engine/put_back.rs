//! Gives an image back a name that it lost, without its registry.

use crate::engine::descriptor::Descriptor;
use crate::engine::error::EngineError;
use crate::engine::remove::Remover;
use crate::model::ImageId;
use crate::model::reference::Reference;

impl Remover {
    /// Gives the image this tag, wherever that led before.
    pub async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError> {
        let doing = format!("put the tag {tag} back");
        self.reader().tag(&doing, id, tag).await
    }

    /// Gives an image of the containerd store these digest references, which it must not have.
    /// The engine checks nothing: for an image that is not here it makes names that lead to
    /// nothing.
    pub async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let doing = format!("put the digest references of {} back", descriptor.digest);
        self.reader().set_digests(&doing, names, descriptor).await
    }
}
