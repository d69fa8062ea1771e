//! A tar file read as it comes: header by header, with nothing kept but the
//! entry in hand. Decides where an entry begins and ends and what it is
//! called, in ustar, GNU and PAX form; the bytes go to a [`Sink`].
//!
//! The `tar` crate was weighed: it reads from a blocking source, so that a
//! thread and a channel would stand between it and the engine's stream, and it
//! reads an extension header of any length into memory. An engine's stream is
//! not to be trusted with our memory.

/// Takes what a tar file holds.
pub trait Sink {
    /// An entry begins.
    fn begin(&mut self, entry: &Entry);
    /// More of its bytes.
    fn data(&mut self, bytes: &[u8]);
    /// It ends.
    fn end(&mut self);
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as it stands there.
    pub name: String,
    /// How many bytes follow.
    pub size: u64,
    /// Where it leads, for a hard or symbolic link.
    pub link: Option<String>,
    /// A plain file.
    pub is_file: bool,
}

const BLOCK: usize = 512;

/// What is kept of an engine's words.
const LONGEST_TAIL: usize = 4096;

/// Names and PAX records are short; more than this is no image.
const LONGEST_EXTENSION: u64 = 64 << 10;

enum State {
    /// Gathering a header.
    Header(Vec<u8>),
    /// Inside an entry: its bytes left, then its padding.
    Body { left: u64, padding: u64 },
    /// Inside an extension: its kind, what came, what is left, its padding.
    Extension {
        kind: u8,
        text: Vec<u8>,
        left: u64,
        padding: u64,
    },
    /// The end mark came, or what is no header. What follows is padding, or an
    /// engine's words about what went wrong.
    Ended(Vec<u8>),
}

/// What extensions say of the next entry.
#[derive(Default)]
struct Overrides {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

/// Reads a tar file from pieces of any length.
pub struct Reader<S> {
    sink: S,
    state: State,
    overrides: Overrides,
}

impl<S: Sink> Reader<S> {
    /// At the beginning of a file.
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            state: State::Header(Vec::with_capacity(BLOCK)),
            overrides: Overrides::default(),
        }
    }

    /// Takes in the next piece.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Ended(tail) => {
                    let text = bytes.iter().copied().filter(|byte| *byte != 0);
                    tail.extend(text.take(LONGEST_TAIL - tail.len()));
                    return Ok(());
                }
                State::Header(header) => {
                    let (taken, rest) = bytes.split_at((BLOCK - header.len()).min(bytes.len()));
                    header.extend_from_slice(taken);
                    bytes = rest;
                    if header.len() == BLOCK {
                        let header = std::mem::take(header);
                        self.state = self.header(&header)?;
                    }
                }
                State::Body { left, padding } => {
                    let (taken, rest) = split(bytes, *left);
                    *left -= taken.len() as u64;
                    if !taken.is_empty() {
                        self.sink.data(taken);
                    }
                    let (skipped, rest) = split(rest, if *left == 0 { *padding } else { 0 });
                    *padding -= skipped.len() as u64;
                    bytes = rest;
                    if *left == 0 && *padding == 0 {
                        self.sink.end();
                        self.state = State::Header(Vec::with_capacity(BLOCK));
                    }
                }
                State::Extension {
                    kind,
                    text,
                    left,
                    padding,
                } => {
                    let (taken, rest) = split(bytes, *left);
                    *left -= taken.len() as u64;
                    text.extend_from_slice(taken);
                    let (skipped, rest) = split(rest, if *left == 0 { *padding } else { 0 });
                    *padding -= skipped.len() as u64;
                    bytes = rest;
                    if *left == 0 && *padding == 0 {
                        let (kind, text) = (*kind, std::mem::take(text));
                        self.overrides.take(kind, &text)?;
                        self.state = State::Header(Vec::with_capacity(BLOCK));
                    }
                }
            }
        }
        Ok(())
    }

    /// At the end of the stream. Where the file is cut short, also what stands
    /// in the place of the rest: an engine that fails in the middle writes its
    /// error there, some even behind a sound end mark.
    pub fn finish(self) -> (S, Option<Vec<u8>>) {
        let cut = match self.state {
            State::Ended(tail) if tail.is_empty() => None,
            State::Ended(tail) | State::Header(tail) => Some(tail),
            State::Body { .. } | State::Extension { .. } => Some(Vec::new()),
        };
        (self.sink, cut)
    }

    fn header(&mut self, header: &[u8]) -> Result<State, String> {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(State::Ended(Vec::new()));
        }
        if header[0] == b'{' {
            return Ok(State::Ended(header.to_vec()));
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(n, b)| u64::from(if (148..156).contains(&n) { b' ' } else { *b }))
            .sum();
        if number(&header[148..156]) != Some(sum) {
            return Err("the export is no tar file: a header's checksum is wrong".into());
        }
        let size =
            number(&header[124..136]).ok_or("the export is no tar file: a size is no number")?;
        let kind = header[156];
        let padding = |size: u64| (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            if size > LONGEST_EXTENSION {
                return Err(format!(
                    "the export is no image: an extension of {size} bytes"
                ));
            }
            // The header of an empty one is all there is of it.
            return Ok(if size == 0 {
                State::Header(Vec::with_capacity(BLOCK))
            } else {
                State::Extension {
                    kind,
                    text: Vec::new(),
                    left: size,
                    padding: padding(size),
                }
            });
        }
        let overrides = std::mem::take(&mut self.overrides);
        let mut name = text(&header[..100]);
        let prefix = text(&header[345..500]);
        if header[257..263] == *b"ustar\0" && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let link = matches!(kind, b'1' | b'2')
            .then(|| overrides.link.unwrap_or_else(|| text(&header[157..257])));
        let is_file = matches!(kind, 0 | b'0' | b'7');
        // Links and folders have no bytes, whatever their size says.
        let size = if is_file {
            overrides.size.unwrap_or(size)
        } else if matches!(kind, b'1'..=b'6') {
            0
        } else {
            size
        };
        let entry = Entry {
            name: overrides.name.unwrap_or(name),
            size,
            link,
            is_file,
        };
        self.sink.begin(&entry);
        if size == 0 {
            self.sink.end();
            return Ok(State::Header(Vec::with_capacity(BLOCK)));
        }
        Ok(State::Body {
            left: size,
            padding: padding(size),
        })
    }
}

impl Overrides {
    fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), String> {
        match kind {
            b'L' => self.name = Some(text(bytes)),
            b'K' => self.link = Some(text(bytes)),
            b'x' => self
                .pax(bytes)
                .ok_or("the export is no tar file: a PAX record does not read")?,
            // Global records: nothing that matters here.
            _ => {}
        }
        Ok(())
    }

    /// `<length> <key>=<value>\n`, the length counting all of it.
    fn pax(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let space = bytes.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?;
            let record = std::str::from_utf8(record).ok()?.strip_suffix('\n')?;
            let (key, value) = record.split_once('=')?;
            match key {
                "path" => self.name = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => self.size = Some(value.parse().ok()?),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Some(())
    }
}

fn split(bytes: &[u8], at_most: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    bytes.split_at(at)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Octal, or big-endian with the first bit set, for what is too large.
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

#[cfg(test)]
pub mod tests {
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
        // containerd ends the file soundly and says behind it that it failed.
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
}
