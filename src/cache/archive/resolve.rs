//! Finds the manifest of an entry for one platform, and its blobs.

use std::collections::BTreeSet;

use crate::cache::archive::descriptor::{Descriptor, those_for};
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::{Config, Document};
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::{ArchiveError, Damage};
use crate::cache::archive::open::Archive;
use crate::engine::Platform;

/// Nested indexes. An image has one, a list of lists two.
pub const DEEPEST: usize = 4;

/// Manifests and indexes that are read for one entry.
pub const MOST_DOCUMENTS: usize = 256;

/// One image by its documents. Its layers may be missing or damaged.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The indexes from the entry to the manifest, outermost first.
    pub indexes: Vec<Descriptor>,
    pub manifest: Descriptor,
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
    /// The digest of each uncompressed layer.
    pub diff_ids: Vec<Digest>,
    /// Of its configuration, if that says so.
    pub platform: Option<Platform>,
}

impl Archive {
    /// The manifest that an engine of this platform uses: the first one here that is for it, or
    /// names no platform. If an entry is no index, its manifest, whatever its platform.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Damaged`], with the path of the blob; also if there are manifests for
    /// several variants of the platform.
    pub fn resolve(&self, entry: &Entry, platform: &Platform) -> Result<Resolved, ArchiveError> {
        self.resolve_from(&entry.descriptor, platform)
    }

    /// As [`Archive::resolve`], from the manifest or index of an entry.
    pub(super) fn resolve_from(
        &self,
        root: &Descriptor,
        platform: &Platform,
    ) -> Result<Resolved, ArchiveError> {
        let mut budget = MOST_DOCUMENTS;
        let found = self.find(root, platform, &mut Vec::new(), &mut budget)?;
        found.ok_or_else(|| self.damaged(root, Damage::NotFor(platform.to_string())))
    }

    fn damaged(&self, blob: &Descriptor, how: Damage) -> ArchiveError {
        ArchiveError::damaged(&self.path(&blob.digest), how)
    }

    pub(super) fn read(
        &self,
        blob: &Descriptor,
        budget: &mut usize,
    ) -> Result<Document, ArchiveError> {
        *budget = budget
            .checked_sub(1)
            .ok_or_else(|| self.damaged(blob, Damage::TooDeep))?;
        let bytes = self.document(blob)?;
        Document::read(&bytes, blob).map_err(|how| self.damaged(blob, how))
    }

    fn find(
        &self,
        from: &Descriptor,
        platform: &Platform,
        indexes: &mut Vec<Descriptor>,
        budget: &mut usize,
    ) -> Result<Option<Resolved>, ArchiveError> {
        let manifests = match self.read(from, budget)? {
            Document::Manifest { config, layers } => {
                let bytes = self.document(&config)?;
                let told = Config::read(&bytes).map_err(|how| self.damaged(&config, how))?;
                if told.diff_ids.len() != layers.len() {
                    let (manifest, config) = (layers.len(), told.diff_ids.len());
                    return Err(self.damaged(from, Damage::Layers { manifest, config }));
                }
                return Ok(Some(Resolved {
                    indexes: indexes.clone(),
                    manifest: from.clone(),
                    config,
                    layers,
                    diff_ids: told.diff_ids,
                    platform: told.platform,
                }));
            }
            Document::Index(manifests) => manifests,
        };
        if indexes.len() == DEEPEST {
            return Err(self.damaged(from, Damage::TooDeep));
        }
        indexes.push(from.clone());
        // Manifests of other platforms and variants may be missing.
        let here = manifests.iter().filter(|child| self.has(child));
        let fitting = those_for(here, platform).map_err(|how| self.damaged(from, how))?;
        for child in fitting {
            if let Some(found) = self.find(child, platform, indexes, budget)? {
                return Ok(Some(found));
            }
        }
        indexes.pop();
        Ok(None)
    }

    /// Every blob here that an entry leads to, as an engine with a containerd store takes it:
    /// each once, in a stable order, those that others list first.
    ///
    /// # Errors
    ///
    /// As [`Archive::resolve`], if a document here is invalid.
    pub fn blobs_of(&self, entry: &Entry) -> Result<Vec<Descriptor>, ArchiveError> {
        let mut budget = MOST_DOCUMENTS;
        let (mut known, mut found) = (BTreeSet::new(), Vec::new());
        self.gather(&entry.descriptor, 0, &mut budget, &mut known, &mut found)?;
        Ok(found)
    }

    fn gather(
        &self,
        from: &Descriptor,
        depth: usize,
        budget: &mut usize,
        known: &mut BTreeSet<Digest>,
        found: &mut Vec<Descriptor>,
    ) -> Result<(), ArchiveError> {
        if !known.insert(from.digest.clone()) {
            return Ok(());
        }
        let document = self.read(from, budget)?;
        let is_index = matches!(document, Document::Index(_));
        if is_index && depth == DEEPEST {
            return Err(self.damaged(from, Damage::TooDeep));
        }
        for blob in document.blobs().filter(|blob| self.has(blob)) {
            if is_index {
                self.gather(blob, depth + 1, budget, known, found)?;
            } else if known.insert(blob.digest.clone()) {
                found.push(blob.clone());
            }
        }
        found.push(from.clone());
        Ok(())
    }
}
