//! Tar headers.

use crate::cache::checks::whole::tar::extensions::{Overrides, text};

pub const BLOCK: usize = 512;

/// Receives the entries of a tar file.
pub trait Sink {
    fn begin(&mut self, entry: &Entry);
    /// The next bytes of the current entry.
    fn data(&mut self, bytes: &[u8]);
    fn end(&mut self);
    /// Whether to stop reading.
    fn is_done(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written in the file.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// The target of a hard or symbolic link.
    pub link: Option<String>,
    pub is_file: bool,
}

pub enum Header {
    /// All zero: the end of the file.
    End,
    /// JSON: an engine writes its error in place of the next header.
    Json,
    /// It describes the next entry. `kind`: `L`, `K`, `x` or `g`.
    Extension {
        kind: u8,
        size: u64,
    },
    Entry(Entry),
}

impl Header {
    /// `overrides`: from the extensions before this header; an entry consumes them.
    pub fn of(block: &[u8], overrides: &mut Overrides) -> Result<Self, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Self::End);
        }
        if block[0] == b'{' {
            return Ok(Self::Json);
        }
        // The checksum is computed with its own field as spaces.
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(n, b)| u64::from(if (148..156).contains(&n) { b' ' } else { *b }))
            .sum();
        if number(&block[148..156]) != Some(sum) {
            return Err("the export is no tar file: a header's checksum is wrong".into());
        }
        let size =
            number(&block[124..136]).ok_or("the export is no tar file: a size is no number")?;
        let kind = block[156];
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            return Ok(Self::Extension { kind, size });
        }
        let overrides = std::mem::take(overrides);
        let mut name = text(&block[..100]);
        let prefix = text(&block[345..500]);
        if block[257..263] == *b"ustar\0" && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let link = matches!(kind, b'1' | b'2')
            .then(|| overrides.link.unwrap_or_else(|| text(&block[157..257])));
        let is_file = matches!(kind, 0 | b'0' | b'7');
        let size = match kind {
            _ if is_file => overrides.size.unwrap_or(size),
            // Links and folders have no content, whatever their size field says.
            b'1'..=b'6' => 0,
            _ => size,
        };
        Ok(Self::Entry(Entry {
            name: overrides.name.unwrap_or(name),
            size,
            link,
            is_file,
        }))
    }
}

/// Octal; a number that is too large is big-endian with the first bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = field.split_first()?;
        let bytes = std::iter::once(first & 0x7f).chain(rest.iter().copied());
        return bytes
            .into_iter()
            .try_fold(0_u64, |n, b| n.checked_mul(256)?.checked_add(u64::from(b)));
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() {
        Some(0)
    } else {
        u64::from_str_radix(digits, 8).ok()
    }
}
