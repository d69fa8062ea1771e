//! Names of images, normalised as docker does it (`postgres` is
//! `docker.io/library/postgres:latest`). Nothing is guessed: only a name that parsed
//! can reach a URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::id::ImageId;
use crate::model::reference::syntax::{
    is_digest, is_domain, is_hex, is_path_component, is_tag, looks_like_host,
};
use crate::model::text::escape;

/// secateur gives an image without a name one in this repository, so that it can be
/// removed by name. `.invalid` is reserved (RFC 2606): no registry can ever be there,
/// and nobody else has a reason to use it. The slash keeps engines from reading the
/// name as an image id.
const OUR_DOMAIN: &str = "secateur.invalid";
const OUR_PATH: &str = "remove";

/// The containerd store's name for an image that lost its tag. It is never dropped:
/// the engine does not check image mounts then (28.5.2), as it does for a name of
/// ours.
const DANGLING: &str = "moby-dangling";

/// A tag, or a digest reference. Copies share their text, because inventory, ledger and plan
/// each hold every name of a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(Arc<Parts>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    domain: Box<str>,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Box<str>>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadReference {
    pub(super) seen: String,
    pub(super) wanted: &'static str,
    pub(super) meant: Option<String>,
}

impl BadReference {
    /// What is wrong, without the text itself.
    pub fn wanted(&self) -> &'static str {
        self.wanted
    }
}

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no image name: {}",
            escape(&self.seen),
            self.wanted
        )?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean {:?}?", escape(meant)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadReference {}

impl Reference {
    /// The name that secateur gives an image without one: the tag is the first 12
    /// digits of the id.
    pub fn ours(id: &ImageId) -> Self {
        Self(Arc::new(Parts {
            domain: OUR_DOMAIN.into(),
            path: OUR_PATH.into(),
            tag: Some(id.short().into()),
            digest: None,
        }))
    }

    /// Whether only secateur gives such a name, or the containerd store derived this digest
    /// reference from one.
    pub fn is_ours(&self) -> bool {
        let ours = |tag: &str| tag.len() == 12 && is_hex(tag);
        &*self.0.domain == OUR_DOMAIN
            && &*self.0.path == OUR_PATH
            && self.0.tag.as_deref().map_or(self.is_digest(), ours)
    }

    /// The containerd store's own record of an image that lost its tag.
    pub fn dangling_record(id: &ImageId) -> String {
        format!("{DANGLING}@{id}")
    }

    /// Whether it is the containerd store's record of any image.
    pub fn is_dangling_record(&self) -> bool {
        self.is_digest()
            && &*self.0.domain == "docker.io"
            && self.0.path.strip_prefix("library/") == Some(DANGLING)
    }

    /// `repo@sha256:…`, with or without a tag.
    pub fn is_digest(&self) -> bool {
        self.0.digest.is_some()
    }

    /// The digest, `sha256:<hex>`.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest.as_deref()
    }

    /// Without the colon.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag.as_deref()
    }

    /// The registry with its port, such as `docker.io`.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// The repository's name in its registry, such as `library/postgres`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Registry and path: `docker.io/library/postgres`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.0.domain, self.0.path)
    }

    /// The digest reference in the same repository; `None` if `digest` is not one.
    pub fn pinned(&self, digest: &str) -> Option<Self> {
        format!("{}@{digest}", self.repository()).parse().ok()
    }

    /// `None` where it has no tag.
    pub fn without_digest(&self) -> Option<Self> {
        self.0.tag.as_ref()?;
        Some(Self(Arc::new(Parts {
            digest: None,
            ..(*self.0).clone()
        })))
    }

    /// `None` where it has no digest.
    pub fn without_tag(&self) -> Option<Self> {
        self.0.digest.as_ref()?;
        Some(Self(Arc::new(Parts {
            tag: None,
            ..(*self.0).clone()
        })))
    }

    /// How an engine may write it: in full, or as docker shows it.
    pub fn spellings(&self) -> [String; 2] {
        [self.to_string(), self.familiar()]
    }

    /// The short form that docker shows: `postgres:16`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short
            .strip_prefix("library/")
            .filter(|_| &*self.0.domain == "docker.io")
            .unwrap_or(short)
            .to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.domain, self.0.path)?;
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = |wanted| BadReference {
            seen: text.to_owned(),
            wanted,
            meant: None,
        };
        // docker reads these as an image's id or digest, never as a name.
        if is_digest(text) || is_digest(&format!("sha256:{text}")) {
            return Err(bad("it is a digest or an id"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(Box::from(digest))),
            Some(_) => {
                return Err(bad(
                    "the digest must be sha256: and 64 hex digits, or sha512: and 128",
                ));
            }
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err(bad(
                "a tag is up to 128 of A-Z a-z 0-9 _ . - and begins with none of . -",
            ));
        }
        let (domain, path) = match name.split_once('/') {
            Some((first, path)) if looks_like_host(first) => (first, path.to_owned()),
            _ => ("docker.io", name.to_owned()),
        };
        let domain = if domain == "index.docker.io" {
            "docker.io"
        } else {
            domain
        };
        let path = if domain == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path
        };
        if !is_domain(domain) {
            return Err(bad(
                "the registry must be a host name or address, with an optional port",
            ));
        }
        if !path.split('/').all(is_path_component) {
            return Err(bad("a path component is a-z 0-9, joined by . _ __ or -"));
        }
        if domain.len() + 1 + path.len() > 255 {
            return Err(bad("at most 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".into()),
            (tag, _) => tag.map(Box::from),
        };
        Ok(Self(Arc::new(Parts {
            domain: domain.into(),
            path: path.into(),
            tag,
            digest,
        })))
    }
}

impl TryFrom<String> for Reference {
    type Error = BadReference;
    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(name: Reference) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Reference>()
            .map_or_else(|e| e.to_string(), |r| r.to_string())
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_as_docker_does() {
        assert_eq!(parsed("postgres"), "docker.io/library/postgres:latest");
        assert_eq!(parsed("postgres:16"), "docker.io/library/postgres:16");
        assert_eq!(parsed("acme/app"), "docker.io/acme/app:latest");
        assert_eq!(parsed("index.docker.io/acme/app:1"), "docker.io/acme/app:1");
        assert_eq!(parsed("localhost/app:1"), "localhost/app:1");
        assert_eq!(parsed("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(parsed("[::1]:5000/app:x"), "[::1]:5000/app:x");
        assert_eq!(
            parsed(&format!("a@{DIGEST}")),
            format!("docker.io/library/a@{DIGEST}")
        );
        assert_eq!(
            parsed(&format!("ghcr.io/a/b:1@{DIGEST}")),
            format!("ghcr.io/a/b:1@{DIGEST}")
        );
    }

    #[test]
    fn what_could_change_a_url_is_no_name() {
        for text in [
            "",
            "../containers/x",
            "a?force=true",
            "a#b",
            "a/../b",
            "a b",
            "a%2e",
            "A",
            "a:",
            "a:.x",
            "a@sha256:12",
            "<none>:<none>",
            "a//b",
            "/a",
            "a/",
            "x\n",
            "-a.b/c",
        ] {
            assert!(
                text.parse::<Reference>().is_err(),
                "{text:?} was taken for a name"
            );
        }
    }

    #[test]
    fn a_bare_digest_is_no_name() {
        assert!(DIGEST.parse::<Reference>().is_err());
        assert!(DIGEST["sha256:".len()..].parse::<Reference>().is_err());
    }

    #[test]
    fn the_familiar_form_is_what_docker_shows() {
        for (text, want) in [
            ("postgres:16", "postgres:16"),
            ("docker.io/acme/app:1", "acme/app:1"),
            ("ghcr.io/library/app:1", "ghcr.io/library/app:1"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), want);
        }
    }

    #[test]
    fn the_engines_record_of_a_dangling_image_is_known_by_its_digest() {
        let id: ImageId = DIGEST.parse().unwrap();
        let record: Reference = Reference::dangling_record(&id).parse().unwrap();
        assert!(record.is_dangling_record());
        for somebodys in [
            "moby-dangling:1",
            "ghcr.io/library/moby-dangling:1",
            "app:1",
        ] {
            assert!(!somebodys.parse::<Reference>().unwrap().is_dangling_record());
        }
    }

    #[test]
    fn our_own_name_parses_and_is_known_as_ours() {
        let id: ImageId = DIGEST.parse().unwrap();
        let ours = Reference::ours(&id);
        assert_eq!(ours.to_string(), "secateur.invalid/remove:e3b0c44298fc");
        assert!(ours.to_string().parse::<Reference>().unwrap().is_ours());
        for somebodys in [
            "secateur/remove:e3b0c44298fc",
            "secateur.invalid/keep:e3b0c44298fc",
            "secateur.invalid/remove:mine",
        ] {
            assert!(!somebodys.parse::<Reference>().unwrap().is_ours());
        }
    }
}
