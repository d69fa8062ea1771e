//! Digests of blobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::ImageId;
use crate::model::text::escape;

/// `sha256:` and 64 hex digits; no other algorithm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(ImageId);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDigest(String);

impl fmt::Display for BadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no digest, which is sha256: and 64 hex digits",
            escape(&self.0)
        )
    }
}

impl std::error::Error for BadDigest {}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        // An id is also valid without the algorithm.
        let id = text.starts_with("sha256:").then(|| text.parse().ok());
        let id = id.flatten().ok_or_else(|| BadDigest(text.to_owned()))?;
        Ok(Self(id))
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finished(Sha256::new_with_prefix(bytes))
    }

    /// The digest of all bytes so far.
    pub fn finished(hash: Sha256) -> Self {
        let text = format!("sha256:{:x}", hash.finalize());
        Self(text.parse().expect("a sha256 has 64 hex digits"))
    }

    /// With `sha256:`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Only the 64 digits.
    pub fn hex(&self) -> &str {
        self.0.hex()
    }

    /// The id of the image with this digest.
    pub fn as_id(&self) -> &ImageId {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sha256_is_a_digest() {
        let hex = "a".repeat(64);
        assert_eq!(
            format!("sha256:{hex}").parse::<Digest>().unwrap().hex(),
            hex
        );
        for bad in [
            hex.clone(),
            format!("sha512:{hex}{hex}"),
            format!("sha256:../{}", &hex[3..]),
            format!("sha256:{}", hex.to_uppercase()),
            String::new(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
