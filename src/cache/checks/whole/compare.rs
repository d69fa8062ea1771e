//! Compares an export with the image's id.

use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::verdict::{StoreFacts, Verdict};
use crate::cache::checks::whole::{containerd, graphdriver};
use crate::model::{ImageId, Store};

/// `export`: must be complete.
pub fn compare(export: &Export, id: &ImageId, store: Store, beside: &StoreFacts) -> Verdict {
    if let Some(why) = export.left_out() {
        return Verdict::Unclear(why);
    }
    let compared = match store {
        Store::Containerd => containerd::compare(export, id, beside),
        Store::Graphdriver | Store::Podman => graphdriver::compare(export, id, beside),
    };
    match compared {
        Err(why) => Verdict::Unclear(why),
        Ok((layers, problems)) if problems.is_empty() => Verdict::Whole {
            layers,
            bytes: export.bytes(),
        },
        Ok((_, problems)) => Verdict::Broken(problems),
    }
}
