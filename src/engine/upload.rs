//! The body of a load: a tar archive that is made while it is sent, so that no image must fit
//! into memory. Any fault in a file ends it early, and an engine that sees an early end loads
//! nothing.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;

use crate::engine::tar::{END, header, padding};

/// Bytes that are sent at once.
const PIECE: u64 = 256 << 10;

/// One file of the archive.
pub struct Part {
    /// At most 100 bytes.
    pub path: String,
    /// In bytes.
    pub size: u64,
    pub open: Open,
}

/// Opens a file when its turn comes. If its content is wrong, it must return an error instead
/// of the last bytes.
pub type Open = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

impl Part {
    /// A file that is in memory.
    pub fn whole(path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            path: path.into(),
            size: bytes.len() as u64,
            open: Box::new(move || Ok(Box::new(io::Cursor::new(bytes)))),
        }
    }
}

/// The progress of an upload. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    failed: Mutex<Option<io::Error>>,
}

impl Sent {
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The error of a file that ended it early.
    pub(super) fn failed(&self) -> Option<io::Error> {
        let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take()
    }
}

pub(super) struct Pieces {
    parts: std::vec::IntoIter<Part>,
    /// The file that is being read.
    file: Option<File>,
    ended: bool,
    sent: Sent,
}

struct File {
    from: Box<dyn Read + Send>,
    size: u64,
    left: u64,
}

impl Pieces {
    pub(super) fn of(parts: Vec<Part>, sent: &Sent) -> Self {
        Self {
            parts: parts.into_iter(),
            file: None,
            ended: false,
            sent: sent.clone(),
        }
    }

    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(file) = &mut self.file {
            if file.left > 0 {
                return file.read().map(Some);
            }
            file.must_end()?;
            self.file = None;
        }
        if let Some(part) = self.parts.next() {
            self.file = Some(File {
                from: (part.open)()?,
                size: part.size,
                left: part.size,
            });
            return Ok(Some(header(&part.path, part.size).to_vec()));
        }
        let last = !std::mem::replace(&mut self.ended, true);
        Ok(last.then(|| END.to_vec()))
    }
}

impl File {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let wanted = self.left.min(PIECE);
        let mut read = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0) + 512);
        let got = self.from.by_ref().take(wanted).read_to_end(&mut read)?;
        if got as u64 != wanted {
            let missing = self.left - got as u64;
            let why = format!("it ends {missing} bytes early");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.left -= wanted;
        if self.left == 0 {
            read.extend_from_slice(padding(self.size));
        }
        Ok(read)
    }

    fn must_end(&mut self) -> io::Result<()> {
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other(format!(
                "it has more than {} bytes",
                self.size
            ))),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.piece() {
            Ok(piece) => {
                let piece = Bytes::from(piece?);
                let bytes = piece.len() as u64;
                self.sent.0.bytes.fetch_add(bytes, Ordering::Relaxed);
                Some(Ok(piece))
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                let state = &self.sent.0;
                let mut failed = state.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                Some(Err(told))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these bytes, and then an end or an error.
    struct Source(io::Cursor<Vec<u8>>, Option<&'static str>);

    impl Read for Source {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match (self.0.read(to)?, self.1) {
                (0, Some(why)) => Err(io::Error::other(why)),
                (read, _) => Ok(read),
            }
        }
    }

    fn part(size: u64, bytes: Vec<u8>, end: Option<&'static str>) -> Part {
        Part {
            path: "x".into(),
            size,
            open: Box::new(move || Ok(Box::new(Source(io::Cursor::new(bytes), end)))),
        }
    }

    fn sent(parts: Vec<Part>) -> (Vec<u8>, Option<String>) {
        let sent = Sent::default();
        let mut all = Vec::new();
        let pieces = Pieces::of(parts, &sent).take_while(Result::is_ok);
        pieces.flatten().for_each(|piece| all.extend(piece));
        assert_eq!(sent.bytes(), all.len() as u64);
        (all, sent.failed().map(|error| error.to_string()))
    }

    #[test]
    fn the_archive_has_each_file_whole_in_blocks_and_then_its_end() {
        let long = vec![7; 2 * 256 * 1024 + 3];
        let files = vec![
            Part::whole("a", &b"xyz"[..]),
            Part::whole("b", &b""[..]),
            part(long.len() as u64, long.clone(), None),
        ];
        let (tar, failed) = sent(files);
        assert_eq!(failed, None);
        let mut wanted = Vec::new();
        for (path, bytes) in [("a", &b"xyz"[..]), ("b", b""), ("x", &long)] {
            crate::engine::tar::add(&mut wanted, path, bytes);
        }
        wanted.extend_from_slice(&END);
        assert!(tar == wanted);
    }

    #[test]
    fn a_file_that_is_wrong_ends_the_archive_there() {
        let bytes = vec![7; 2 * 256 * 1024];
        let size = bytes.len() as u64;
        for (part, length, why) in [
            (
                part(size + 5, bytes.clone(), Some("damaged")),
                size,
                "damaged",
            ),
            (
                part(size + 5, bytes.clone(), None),
                size,
                "ends 5 bytes early",
            ),
            (part(size, bytes.clone(), Some("damaged")), size, "damaged"),
            (
                part(size - 512, bytes.clone(), None),
                size - 512,
                "more than 523776",
            ),
        ] {
            let (tar, failed) = sent(vec![part, Part::whole("y", &b"y"[..])]);
            assert_eq!(tar.len() as u64, 512 + length, "{why}");
            assert!(failed.as_ref().unwrap().contains(why), "{failed:?}");
        }
    }
}
