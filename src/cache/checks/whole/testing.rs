//! Exports for the tests of both stores.

use sha2::{Digest, Sha256};

use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::tar::Reader;
use crate::cache::checks::whole::tar::tests::entry;

pub fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub fn export(entries: &[(String, Vec<u8>)]) -> Export {
    let mut reader = Reader::new(Export::default());
    for (name, bytes) in entries {
        reader.feed(&entry(name, b'0', "", bytes)).unwrap();
    }
    reader.feed(&[0; 1024]).unwrap();
    reader.finish().0
}

pub fn diff(bytes: &[u8]) -> String {
    format!("sha256:{}", hash(bytes))
}
