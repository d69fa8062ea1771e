//! An image as its registry offers it: what an engine of one platform would pull. Documents that
//! the archive has are not fetched, and all bytes are hashed.

use std::collections::BTreeSet;
use std::io;

use sha2::{Digest as _, Sha256};

use crate::cache::archive::descriptor::{Descriptor, those_for};
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::{Config, Document};
use crate::cache::archive::open::Archive;
use crate::cache::archive::resolve::DEEPEST;
use crate::cache::checks::whole::store::LONGEST_DOCUMENT;
use crate::cache::registry::{Registry, Upstream};
use crate::engine::Platform;
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, escape};

/// One image, without attestations and other platforms, which no engine needs to run it.
#[derive(Debug)]
pub struct Offered {
    /// Its index or manifest in the registry.
    pub root: Descriptor,
    /// Configuration, manifest and indexes; a document comes before those that list it.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Lowest first, without duplicates.
    pub layers: Vec<Descriptor>,
}

/// Why the image could not be fetched. Texts are fit to print.
#[derive(Debug)]
pub enum NotOffered {
    Answer(Upstream),
    /// The registry sent no valid image, or a wrong one.
    Invalid(String),
    /// The bytes could not be written.
    Write(io::Error),
}

#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    pub registry: &'a Registry,
    pub archive: &'a Archive,
    pub platform: &'a Platform,
}

impl Fetcher<'_> {
    /// The image of the first of these names, all of one repository, that the registry has.
    pub async fn image(&self, names: &[Reference]) -> Result<Offered, NotOffered> {
        let mut gone = NotOffered::Answer(Upstream::Gone);
        for name in names {
            match self.registry.manifest(name).await {
                Ok(manifest) => {
                    let root = Descriptor::bare(
                        Untrusted::new(manifest.media_type),
                        Digest::of(&manifest.bytes),
                        manifest.bytes.len() as u64,
                    );
                    return self.follow(name, root, manifest.bytes.to_vec()).await;
                }
                Err(Upstream::Gone) => gone = NotOffered::Answer(Upstream::Gone),
                Err(why) => return Err(NotOffered::Answer(why)),
            }
        }
        Err(gone)
    }

    /// Follows indexes to the platform's manifest.
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
            let document = document.map_err(|how| invalid(&at.digest, &how.to_string()))?;
            documents.push((at.clone(), bytes));
            match document {
                Document::Manifest { config, layers } => {
                    let text = self.document(name, &config).await?;
                    let told = Config::read(&text);
                    let told = told.map_err(|how| invalid(&config.digest, &how.to_string()))?;
                    if told.diff_ids.len() != layers.len() {
                        return Err(invalid(
                            &config.digest,
                            "does not fit its manifest's layers",
                        ));
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
                    let fitting = those_for(children.iter(), self.platform);
                    let fitting = fitting.map_err(|how| invalid(&at.digest, &how.to_string()))?;
                    let child = fitting.first().ok_or_else(|| {
                        invalid(&at.digest, &format!("has no image for {}", self.platform))
                    })?;
                    bytes = self.document(name, child).await?;
                    at = (*child).clone();
                }
            }
        }
        Err(invalid(
            &at.digest,
            "is below more indexes than any image has",
        ))
    }

    /// A document by its digest, from the archive if it has it undamaged.
    async fn document(&self, name: &Reference, of: &Descriptor) -> Result<Vec<u8>, NotOffered> {
        if of.size > LONGEST_DOCUMENT {
            return Err(invalid(
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
        let pinned = pinned.ok_or_else(|| invalid(&of.digest, "fits no name"))?;
        let manifest = self.registry.manifest(&pinned).await;
        let bytes = manifest.map_err(NotOffered::Answer)?.bytes;
        if bytes.len() as u64 == of.size {
            Ok(bytes.to_vec())
        } else {
            Err(invalid(&of.digest, "has another size than its index says"))
        }
    }

    /// Fetches a whole blob. After an error, the bytes written to `to` must not be used.
    /// `on_bytes` is called with the bytes so far.
    pub async fn blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        to: &mut dyn io::Write,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), NotOffered> {
        let (mut hash, mut came) = (Sha256::new(), 0);
        let body = self.registry.blob(name, blob.digest.as_str(), blob.size);
        let mut body = body.await.map_err(NotOffered::Answer)?;
        while let Some(piece) = body.next().await.map_err(NotOffered::Answer)? {
            hash.update(&piece);
            to.write_all(&piece).map_err(NotOffered::Write)?;
            came += piece.len() as u64;
            on_bytes(came);
        }
        let seen = Digest::finished(hash);
        if seen == blob.digest {
            Ok(())
        } else {
            Err(invalid(
                &blob.digest,
                &format!("is damaged: its bytes hash to {seen}"),
            ))
        }
    }
}

fn invalid(digest: &Digest, why: &str) -> NotOffered {
    NotOffered::Invalid(format!("{digest} {}", escape(why)))
}

#[cfg(test)]
mod tests;
