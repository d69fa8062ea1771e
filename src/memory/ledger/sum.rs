//! The checksum in a ledger's last field. Decides whether bytes are what was written:
//! one damaged digit of a date would make an image older. It is no protection against
//! people: whoever may write the ledger may write the checksum.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Between the JSON and its checksum.
const FIELD: &str = ",\"sum\":\"sha256:";

/// Length of the field, with its 64 digits and the brace behind them.
pub(super) const LENGTH: usize = FIELD.len() + 64 + 2;

/// Adds to a JSON object the checksum of all before it as its last field.
pub(super) fn added(mut object: Vec<u8>) -> Vec<u8> {
    object.pop(); // the brace that ends it
    let field = field(&object);
    object.extend(field.bytes());
    object
}

/// Whether these bytes end in their own checksum. A ledger without one, written by
/// hand, is believed.
pub(super) fn holds(bytes: &[u8]) -> bool {
    let place = bytes
        .windows(FIELD.len())
        .rposition(|window| window == FIELD.as_bytes());
    place.is_none_or(|place| {
        let (before, rest) = bytes.split_at(place);
        rest.trim_ascii_end() == field(before).as_bytes()
    })
}

/// The field and the brace behind it.
fn field(before: &[u8]) -> String {
    let mut text = FIELD.to_owned();
    for byte in Sha256::digest(before) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("\"}");
    text
}
