//! Sizes.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(0, |sum, bytes| sum.saturating_add(bytes.0)))
    }
}

/// `1.2 GiB`: binary units, for people. Four digits have no fraction, so `1009 KiB` is no
/// longer than `999.0 KiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = bytesize::ByteSize(self.0).display().iec().to_string();
        let parts = shown.split_once('.').filter(|(whole, _)| whole.len() > 3);
        match parts.and_then(|(whole, rest)| Some((whole, rest.split_once(' ')?.1))) {
            Some((whole, unit)) => f.pad(&format!("{whole} {unit}")),
            None => f.pad(&shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_column() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1 << 10, "1.0 KiB"),
            (999 << 10, "999.0 KiB"),
            (1009 << 10, "1009 KiB"),
            ((1 << 20) - 1, "1024 KiB"),
            (1023 << 20, "1023 MiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
            assert!(shown.len() <= "999.0 KiB".len());
        }
    }
}
