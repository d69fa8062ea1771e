use super::entry::BLOCK;
use super::*;

/// A header, and the entry's bytes with their padding.
pub fn entry(name: &str, kind: u8, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(bytes);
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    header
}

#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Sink for Seen {
    fn begin(&mut self, entry: &Entry) {
        let link = entry
            .link
            .clone()
            .map(|link| format!(" -> {link}"))
            .unwrap_or_default();
        self.0.push((format!("{}{link}", entry.name), Vec::new()));
    }
    fn data(&mut self, bytes: &[u8]) {
        self.0.last_mut().unwrap().1.extend_from_slice(bytes);
    }
    fn end(&mut self) {}
}

fn read(tar: &[u8], piece: usize) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut reader = Reader::new(Seen::default());
    for piece in tar.chunks(piece) {
        reader.feed(piece)?;
    }
    match reader.finish() {
        (seen, None) => Ok(seen.0),
        (_, Some(rest)) => Err(format!("cut short: {}", String::from_utf8_lossy(&rest))),
    }
}

#[test]
fn entries_of_every_form_are_read_in_pieces_of_every_length() {
    let mut tar = entry("a", b'0', "", b"bytes");
    tar.extend(entry("dir/", b'5', "", b""));
    tar.extend(entry("", b'L', "", "long".repeat(50).as_bytes()));
    tar.extend(entry("short", b'0', "", &[7; 600]));
    tar.extend(entry("", b'x', "", b"13 path=pax/\n"));
    tar.extend(entry("l", b'2', "../a", b""));
    tar.extend([0; 2 * BLOCK]);
    let wanted = vec![
        ("a".to_owned(), b"bytes".to_vec()),
        ("dir/".to_owned(), vec![]),
        ("long".repeat(50), vec![7; 600]),
        ("pax/ -> ../a".to_owned(), vec![]),
    ];
    for piece in [1, 3, 511, 512, 513, 100_000] {
        assert_eq!(read(&tar, piece).unwrap(), wanted, "pieces of {piece}");
    }
}

#[test]
fn a_pax_size_goes_before_the_headers() {
    let mut tar = entry("", b'x', "", b"10 size=5\n");
    let mut odd = entry("a", b'0', "", b"bytes");
    odd[124..135].copy_from_slice(b"00000000000");
    odd[148..156].fill(b' ');
    let sum: u32 = odd[..BLOCK].iter().map(|b| u32::from(*b)).sum();
    odd[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(odd);
    tar.extend([0; 2 * BLOCK]);
    assert_eq!(
        read(&tar, 100).unwrap(),
        [("a".to_owned(), b"bytes".to_vec())]
    );
}

#[test]
fn a_file_that_is_cut_short_or_no_tar_is_an_error() {
    let mut tar = entry("a", b'0', "", b"bytes");
    assert!(read(&tar, 100).unwrap_err().contains("cut short"));
    tar.extend(b"{error}");
    assert_eq!(read(&tar, 100).unwrap_err(), "cut short: {error}");
    // containerd writes a valid end mark, and its error after it.
    let mut behind = entry("a", b'0', "", b"bytes");
    behind.extend([0; 2 * BLOCK]);
    behind.extend(b"{error}");
    assert_eq!(read(&behind, 100).unwrap_err(), "cut short: {error}");
    let mut long = entry("a", b'0', "", b"bytes");
    long.extend("{error}".repeat(100).as_bytes());
    assert!(
        read(&long, 100)
            .unwrap_err()
            .starts_with("cut short: {error}")
    );
    tar[0] = b'b';
    assert!(read(&tar, 100).unwrap_err().contains("checksum"));
    assert!(read(b"", 1).unwrap_err().contains("cut short"));
}

#[test]
fn an_extension_cannot_fill_our_memory() {
    let mut huge = entry("", b'L', "", b"");
    huge[124..135].copy_from_slice(b"77777777777");
    huge[148..156].fill(b' ');
    let sum: u32 = huge.iter().map(|b| u32::from(*b)).sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(read(&huge, 512).unwrap_err().contains("extension"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
        let _ = read(&bytes, 700);
    }
}
