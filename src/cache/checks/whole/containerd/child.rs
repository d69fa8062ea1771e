//! One manifest of an image: which of its parts the export has.

use std::collections::BTreeSet;

use crate::cache::checks::whole::containerd::blobs::{blob, read};
use crate::cache::checks::whole::containerd::manifest::Manifest;
use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::verdict::differs;
use crate::engine::Platform;

pub struct Child<'a> {
    pub digest: &'a str,
    platform: Option<Platform>,
    /// Whether it is for the engine's platform.
    pub ours: bool,
    pub here: bool,
    pub layers: usize,
    parts: usize,
    /// Digest and place of the parts that the export lacks.
    absent: Vec<(String, String)>,
    /// Digest of each part with a wrong hash, and what is wrong.
    pub differing: Vec<(String, String)>,
}

impl<'a> Child<'a> {
    pub fn of(
        export: &Export,
        digest: &'a str,
        platform: Option<Platform>,
        ours: bool,
    ) -> Result<Self, String> {
        let manifest = read(export, digest)?;
        let here = manifest.is_some();
        let all = manifest.as_ref().map(Manifest::parts).unwrap_or_default();
        let mut child = Self {
            digest,
            platform,
            ours,
            here,
            layers: manifest.map_or(0, |manifest| manifest.layers.len()),
            parts: all.len(),
            absent: Vec::new(),
            differing: Vec::new(),
        };
        for (digest, place) in all {
            match blob(export, &digest) {
                None => child.absent.push((digest, place)),
                Some(hash) if digest.strip_prefix("sha256:") == Some(hash) => {}
                Some(hash) => {
                    let what = differs(&place, hash);
                    child.differing.push((digest, what));
                }
            }
        }
        Ok(child)
    }

    pub fn is_whole(&self) -> bool {
        self.parts > 0 && self.absent.is_empty()
    }

    pub fn name(&self) -> String {
        let platform = self.platform.as_ref();
        platform.map_or_else(|| "it".to_owned(), Platform::to_string)
    }

    /// What is missing. The store may still have a part that the export lacks.
    pub fn lacks(&self, lost: &BTreeSet<String>) -> Vec<String> {
        let missing = |(_, place): &(String, String)| match &self.platform {
            None => format!("{place} is missing"),
            Some(platform) => format!("{platform}: {place} is missing"),
        };
        let gone = |(digest, _): &&(String, String)| lost.contains(digest);
        let named: Vec<String> = self.absent.iter().filter(gone).map(missing).collect();
        if !named.is_empty() {
            named
        } else if self.parts == 0 {
            vec!["none of its layers is here".to_owned()]
        } else if self.absent.len() == self.parts {
            let (name, of) = (self.name(), self.layers);
            vec![format!(
                "not all of {name} is here: the engine gives out none of its layers, of which there are {of}"
            )]
        } else {
            self.absent.iter().map(missing).collect()
        }
    }
}
