//! The checksum in a ledger's last field. It finds damage: one damaged digit of a date would
//! make an image older. It does not protect against people: whoever can write the ledger can
//! write the checksum.

use std::fmt::Write as _;
use std::io;

use sha2::{Digest, Sha256};

const FIELD: &str = ",\"sum\":\"sha256:";

/// How many bytes longer an object is with the field.
pub(super) const LENGTH: usize = FIELD.len() + 64 + 1;

/// Passes a JSON object on, and puts the checksum of all before it in as its last field.
pub(super) struct Summed<W> {
    to: W,
    sum: Sha256,
    /// The last byte: it may be the brace that ends the object.
    held: Option<u8>,
}

impl<W: io::Write> Summed<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            sum: Sha256::new(),
            held: None,
        }
    }

    /// Puts the field in place of the brace that ends the object.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.to.write_all(field(self.sum).as_bytes())?;
        self.to.flush()
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.to.write_all(bytes)
    }
}

impl<W: io::Write> io::Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((last, before)) = bytes.split_last() {
            if let Some(held) = self.held.replace(*last) {
                self.pass(&[held])?;
            }
            self.pass(before)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether these bytes end in their own checksum. A ledger without one, written by
/// hand, is believed.
pub(super) fn holds(bytes: &[u8]) -> bool {
    let place = bytes
        .windows(FIELD.len())
        .rposition(|window| window == FIELD.as_bytes());
    place.is_none_or(|place| {
        let (before, rest) = bytes.split_at(place);
        rest.trim_ascii_end() == field(Sha256::new_with_prefix(before)).as_bytes()
    })
}

/// The field and the brace behind it.
fn field(before: Sha256) -> String {
    let mut text = FIELD.to_owned();
    for byte in before.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("\"}");
    text
}
