//! An image as its registry has it: what an engine of one platform would pull. Documents
//! that are in the archive are not fetched, and every byte that comes is hashed.

use std::collections::BTreeSet;
use std::io;

use sha2::{Digest as _, Sha256};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::{Document, LONGEST_DOCUMENT, diff_ids};
use crate::cache::archive::open::Archive;
use crate::cache::registry::{Registry, Upstream};
use crate::engine::Platform;
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, escape};

/// Indexes in indexes.
const DEEPEST: usize = 4;

/// One image, without attestations and other platforms: no engine needs them to run it.
#[derive(Debug)]
pub struct Offered {
    /// Its index or manifest, as the registry names it.
    pub root: Descriptor,
    /// Configuration, manifest and indexes: whatever names another comes after it.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Lowest first, each once.
    pub layers: Vec<Descriptor>,
}

/// Why there is no image, or not all of it. Texts in it are fit to print.
#[derive(Debug)]
pub enum NotOffered {
    /// The registry's own answer.
    Said(Upstream),
    /// What it gave is no image, or not the one that it named.
    Odd(String),
    /// What came could not be kept.
    Unkept(io::Error),
}

/// Where images come from, and what is there already.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    pub registry: &'a Registry<'a>,
    pub archive: &'a Archive,
    pub platform: &'a Platform,
}

impl Offer<'_> {
    /// The first of these names of one repository that the registry has.
    pub async fn image(&self, names: &[Reference]) -> Result<Offered, NotOffered> {
        let mut gone = NotOffered::Said(Upstream::Gone);
        for name in names {
            match self.registry.manifest(name).await {
                Ok(manifest) => {
                    let root = Descriptor {
                        media_type: Untrusted::new(manifest.media_type),
                        digest: Digest::of(&manifest.bytes),
                        size: manifest.bytes.len() as u64,
                        platform: None,
                        is_attestation: false,
                    };
                    return self.follow(name, root, manifest.bytes.to_vec()).await;
                }
                Err(Upstream::Gone) => gone = NotOffered::Said(Upstream::Gone),
                Err(why) => return Err(NotOffered::Said(why)),
            }
        }
        Err(gone)
    }

    /// Follows indexes to the manifest of the platform.
    async fn follow(
        &self,
        name: &Reference,
        root: Descriptor,
        bytes: Vec<u8>,
    ) -> Result<Offered, NotOffered> {
        let mut documents = Vec::new();
        let (mut at, mut bytes) = (root.clone(), bytes);
        for _ in 0..DEEPEST {
            let document = Document::read(&bytes, &at);
            let document = document.map_err(|how| odd(&at.digest, &how.to_string()))?;
            documents.push((at.clone(), bytes));
            match document {
                Document::Manifest { config, layers } => {
                    let text = self.document(name, &config).await?;
                    let ids = diff_ids(&text);
                    let ids = ids.map_err(|how| odd(&config.digest, &how.to_string()))?;
                    if ids.len() != layers.len() {
                        return Err(odd(&config.digest, "does not fit its manifest's layers"));
                    }
                    documents.push((config, text));
                    documents.reverse();
                    let mut known = BTreeSet::new();
                    let layers = layers.into_iter();
                    let layers = layers.filter(|layer| known.insert(layer.digest.clone()));
                    return Ok(Offered {
                        root,
                        documents,
                        layers: layers.collect(),
                    });
                }
                Document::Index(children) => {
                    let fits = |child: &&Descriptor| child.may_be_for(self.platform);
                    let child = children.iter().find(fits).ok_or_else(|| {
                        odd(&at.digest, &format!("has no image for {}", self.platform))
                    })?;
                    bytes = self.document(name, child).await?;
                    at = child.clone();
                }
            }
        }
        Err(odd(&at.digest, "is below more indexes than any image has"))
    }

    /// A document by its digest: out of the archive where it is there whole.
    async fn document(&self, name: &Reference, of: &Descriptor) -> Result<Vec<u8>, NotOffered> {
        if of.size > LONGEST_DOCUMENT {
            return Err(odd(
                &of.digest,
                "is said to be longer than any such document",
            ));
        }
        if let Ok(bytes) = self.archive.document(of) {
            return Ok(bytes);
        }
        if of.says_index().is_none() {
            let mut bytes = Vec::new();
            self.blob(name, of, &mut bytes, &mut |_| ()).await?;
            return Ok(bytes);
        }
        let pinned = name.pinned(of.digest.as_str());
        let pinned = pinned.ok_or_else(|| odd(&of.digest, "fits no name"))?;
        let manifest = self.registry.manifest(&pinned).await;
        let bytes = manifest.map_err(NotOffered::Said)?.bytes;
        if bytes.len() as u64 == of.size {
            Ok(bytes.to_vec())
        } else {
            Err(odd(&of.digest, "has another size than its index says"))
        }
    }

    /// Fetches a blob to its end. What was written before an error is not to be used.
    /// `on_bytes` is told how many bytes came.
    pub async fn blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        to: &mut dyn io::Write,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), NotOffered> {
        let (mut hash, mut came) = (Sha256::new(), 0);
        let body = self.registry.blob(name, blob.digest.as_str(), blob.size);
        let mut body = body.await.map_err(NotOffered::Said)?;
        while let Some(piece) = body.next().await.map_err(NotOffered::Said)? {
            hash.update(&piece);
            to.write_all(&piece).map_err(NotOffered::Unkept)?;
            came += piece.len() as u64;
            on_bytes(came);
        }
        let seen = Digest::finished(hash);
        if seen == blob.digest {
            Ok(())
        } else {
            Err(odd(
                &blob.digest,
                &format!("is damaged: its bytes hash to {seen}"),
            ))
        }
    }
}

fn odd(digest: &Digest, why: &str) -> NotOffered {
    NotOffered::Odd(format!("{digest} {}", escape(why)))
}

#[cfg(test)]
mod tests;
