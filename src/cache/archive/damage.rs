//! Reads every blob of an archive, whoever wrote it. A damaged blob counts as missing, so that a
//! save writes it again.

use std::fs;

use crate::cache::archive::blob::PIECE;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::ArchiveError;
use crate::cache::archive::open::{Archive, BLOBS};

impl Archive {
    /// `on_bytes` is called with the bytes read so far.
    pub(super) fn find_damage(&mut self, on_bytes: &mut dyn FnMut(u64)) {
        let files = fs::read_dir(self.dir.join(BLOBS)).into_iter().flatten();
        let mut done = 0;
        for file in files.flatten() {
            let name = file.file_name();
            let digest = name.to_str().map(|hex| format!("sha256:{hex}"));
            let (Some(Ok(digest)), Ok(meta)) = (digest.map(|it| it.parse()), file.metadata())
            else {
                continue;
            };
            let on_piece = &mut |bytes| on_bytes(done + bytes);
            if let Err(why) = self.read_blob(&digest, meta.len(), on_piece) {
                self.damaged.insert(digest, why.to_string());
            }
            done += meta.len();
        }
    }

    /// The remaining damage, fit to print.
    pub(super) fn damage(&self) -> Vec<String> {
        let all = self.damaged.values();
        all.map(|why| format!("archive: {why}")).collect()
    }

    fn read_blob(
        &self,
        digest: &Digest,
        size: u64,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let mut blob = self.blob(digest, size)?;
        let (mut piece, mut done) = (vec![0; PIECE], 0);
        loop {
            match blob.read_piece(&mut piece)? {
                0 => return Ok(()),
                count => done += count as u64,
            }
            on_bytes(done);
        }
    }
}
