//! The parts of a tar archive, as POST /images/load reads it: regular files alone.

/// The end of an archive.
pub(super) const END: [u8; 1024] = [0; 1024];

const BLOCK: usize = 512;

/// The header of a file. `path`: at most 100 bytes; `size`: in bytes.
pub(super) fn header(path: &str, size: u64) -> [u8; BLOCK] {
    let mut header = [0_u8; BLOCK];
    let mut field = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, path);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    if size < 1 << 33 {
        field(124, &format!("{size:011o}\0"));
    }
    field(136, "00000000000\0");
    // The checksum counts its own field as blanks.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    if size >= 1 << 33 {
        // More than eleven octal digits: GNU tar's form, which Go reads.
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The padding after a file of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let over = size % BLOCK as u64;
    let missing = if over == 0 { 0 } else { BLOCK as u64 - over };
    &END[..usize::try_from(missing).unwrap_or(0)]
}

/// Adds a whole file.
pub(super) fn add(tar: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    let size = bytes.len() as u64;
    tar.extend_from_slice(&header(path, size));
    tar.extend_from_slice(bytes);
    tar.extend_from_slice(padding(size));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_octal_and_from_8_gib_on_binary_and_the_sum_is_right() {
        for (size, field) in [
            (7, *b"00000000007\0"),
            ((1 << 33) - 1, *b"77777777777\0"),
            (1 << 33, [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
        ] {
            let header = header("blobs/x", size);
            assert_eq!(header[124..136], field);
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            let own: u32 = header[148..156].iter().map(|byte| u32::from(*byte)).sum();
            let told = std::str::from_utf8(&header[148..154]).unwrap();
            assert_eq!(u32::from_str_radix(told, 8).unwrap(), sum - own + 8 * 32);
        }
    }

    #[test]
    fn each_file_is_filled_up_to_whole_blocks() {
        let lengths = |size| padding(size).len();
        assert_eq!([0, 1, 511, 512, 513].map(lengths), [0, 511, 1, 0, 511]);
        let mut tar = Vec::new();
        add(&mut tar, "a", b"xyz");
        assert_eq!((tar.len(), &tar[512..516]), (1024, &b"xyz\0"[..]));
    }
}
