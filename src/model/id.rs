use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::reference::is_hex;
use crate::model::text::escape;

/// `sha256:` and 64 hex digits. On a graphdriver store the digest of the
/// image's configuration, on the containerd store that of its index or
/// manifest; so the same image has another id after a change of store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(
    /// Shared: a survey of thousands of images clones each id several times.
    Arc<str>,
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadImageId(String);

impl fmt::Display for BadImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no image id, which is sha256: and 64 hex digits",
            escape(&self.0)
        )
    }
}

impl std::error::Error for BadImageId {}

impl FromStr for ImageId {
    type Err = BadImageId;

    /// Podman leaves out `sha256:`.
    fn from_str(text: &str) -> Result<Self, BadImageId> {
        let whole = text.strip_prefix("sha256:");
        let hex = whole.unwrap_or(text);
        if hex.len() != 64 || !is_hex(hex) {
            return Err(BadImageId(text.to_owned()));
        }
        Ok(Self(match whole {
            Some(_) => text.into(),
            None => format!("sha256:{hex}").into(),
        }))
    }
}

impl TryFrom<String> for ImageId {
    type Error = BadImageId;
    fn try_from(text: String) -> Result<Self, BadImageId> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ImageId {
    /// With `sha256:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first 12 digits, as docker shows them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_digest_is_an_image_id() {
        let hex = "a".repeat(64);
        assert_eq!(
            hex.parse::<ImageId>().unwrap().as_str(),
            format!("sha256:{hex}")
        );
        assert!(format!("sha256:{hex}").parse::<ImageId>().is_ok());
        for bad in [
            "",
            "sha256:",
            "../containers/x",
            &hex[1..],
            &format!("{hex}a"),
            &hex.to_uppercase(),
        ] {
            assert!(
                bad.parse::<ImageId>().is_err(),
                "{bad:?} was taken for an id"
            );
        }
    }
}
