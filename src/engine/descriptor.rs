//! The descriptor of an image's index or manifest: enough to give it a name again.

use serde::Deserialize;

use crate::model::text::Untrusted;
use crate::model::{ImageId, Observed};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: Untrusted,
    pub digest: ImageId,
    pub size: u64,
}

/// Engines write it from 28.0 on, and only on the containerd store.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawDescriptor {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<u64>,
}

impl Descriptor {
    /// On the containerd store the image's id is its digest.
    pub(super) fn of(id: &ImageId, written: Option<RawDescriptor>) -> Observed<Self> {
        let Some(written) = written else {
            return Observed::Unknown("the engine gives no descriptor of it".into());
        };
        let digest = written.digest.and_then(|text| text.parse().ok());
        let media_type = written.media_type.filter(|text| !text.is_empty());
        match (media_type, digest, written.size) {
            (Some(media_type), Some(digest), Some(size)) if digest == *id && size > 0 => {
                Observed::Known(Self {
                    media_type: Untrusted::new(media_type),
                    digest,
                    size,
                })
            }
            _ => Observed::Unknown("the engine's descriptor of it makes no sense".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    #[test]
    fn a_descriptor_is_whole_and_of_the_image_or_unknown() {
        let of = |text: String| {
            let written = serde_json::from_str(&text).unwrap();
            Descriptor::of(&id(1), written)
        };
        let one = id(1);
        let whole = of(format!(
            r#"{{"mediaType":"m","digest":"{one}","size":7,"x":1}}"#
        ));
        let descriptor = whole.known().unwrap();
        assert_eq!((descriptor.media_type.raw(), descriptor.size), ("m", 7));
        assert_eq!(descriptor.digest, one);
        let two = id(2);
        for odd in [
            "null".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"mediaType":"m","digest":"{two}","size":7}}"#),
            format!(r#"{{"mediaType":"m","digest":"{one}","size":0}}"#),
            format!(r#"{{"mediaType":"","digest":"{one}","size":7}}"#),
        ] {
            assert!(matches!(of(odd.clone()), Observed::Unknown(_)), "{odd}");
        }
    }
}
