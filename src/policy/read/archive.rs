//! `[archive]` as it is typed: where images are saved, and how.

use toml::Spanned;

use crate::model::Bytes;
use crate::policy::file::ArchiveFile;
use crate::policy::valid::{Archive, ArchiveLimits, Compress};
use crate::policy::value::{absolute, size, word};
use crate::policy::wording::Unplaced;

const MAX_SIZE: Bytes = Bytes(20 << 30);

pub(super) fn read(file: &ArchiveFile) -> Result<Archive, Unplaced> {
    let dir = file.dir.as_ref();
    let dir = dir.map(|text| absolute("archive.dir", text)).transpose()?;
    let compress = word(
        "archive.compress",
        file.compress.as_ref(),
        [("none", Compress::None), ("gzip", Compress::Gzip)],
        Compress::None,
    )?;
    let limits = ArchiveLimits {
        max_size: max_size(file.max_size.as_ref())?,
        compress,
    };
    Ok(Archive { dir, limits })
}

fn max_size(given: Option<&Spanned<String>>) -> Result<Bytes, Unplaced> {
    let Some(text) = given else {
        return Ok(MAX_SIZE);
    };
    let most = size("archive.max_size", text)?;
    if most == Bytes(0) {
        let message = format!(
            "archive.max_size is {:?}; wanted more than that",
            text.get_ref()
        );
        return Err(Unplaced::at(text, message));
    }
    Ok(most)
}
