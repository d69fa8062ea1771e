//! A tar reader that accepts pieces of any length.

use crate::cache::checks::whole::tar::entry::{BLOCK, Header, Sink};
use crate::cache::checks::whole::tar::extensions::Overrides;

/// Bytes that are kept of an engine's error.
const LONGEST_TAIL: usize = 4096;

/// Bytes. Names and PAX records of images are shorter.
const LONGEST_EXTENSION: u64 = 64 << 10;

enum State {
    Header(Vec<u8>),
    /// Inside an entry, or an extension of this kind: how many bytes and how much padding are
    /// left.
    Content {
        extension: Option<(u8, Vec<u8>)>,
        left: u64,
        padding: u64,
    },
    /// After the end mark, or after a block that is no header: padding, or an engine's error.
    Ended(Vec<u8>),
}

impl State {
    fn header() -> Self {
        Self::Header(Vec::with_capacity(BLOCK))
    }

    /// Content fills whole blocks.
    fn content(extension: Option<(u8, Vec<u8>)>, size: u64) -> Self {
        Self::Content {
            extension,
            left: size,
            padding: (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64,
        }
    }
}

pub struct Reader<S> {
    sink: S,
    state: State,
    overrides: Overrides,
}

impl<S: Sink> Reader<S> {
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            state: State::header(),
            overrides: Overrides::default(),
        }
    }

    pub fn sink(&self) -> &S {
        &self.sink
    }

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
                State::Content {
                    extension,
                    left,
                    padding,
                } => {
                    let (taken, rest) = split(bytes, *left);
                    *left -= taken.len() as u64;
                    match extension {
                        Some((_, text)) => text.extend_from_slice(taken),
                        None if taken.is_empty() => {}
                        None => self.sink.data(taken),
                    }
                    let (skipped, rest) = split(rest, if *left == 0 { *padding } else { 0 });
                    *padding -= skipped.len() as u64;
                    bytes = rest;
                    if *left == 0 && *padding == 0 {
                        match extension.take() {
                            Some((kind, text)) => self.overrides.take(kind, &text)?,
                            None => self.sink.end(),
                        }
                        self.state = State::header();
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the stream. If the file is cut short, also returns the bytes after the last entry: an
    /// engine that fails writes its error there, and containerd writes it after a valid end mark.
    pub fn finish(self) -> (S, Option<Vec<u8>>) {
        let cut = match self.state {
            State::Ended(tail) if tail.is_empty() => None,
            State::Ended(tail) | State::Header(tail) => Some(tail),
            State::Content { .. } => Some(Vec::new()),
        };
        (self.sink, cut)
    }

    fn header(&mut self, block: &[u8]) -> Result<State, String> {
        Ok(match Header::of(block, &mut self.overrides)? {
            Header::End => State::Ended(Vec::new()),
            Header::Json => State::Ended(block.to_vec()),
            Header::Extension { size, .. } if size > LONGEST_EXTENSION => {
                return Err(format!(
                    "the export is no image: an extension of {size} bytes"
                ));
            }
            // An empty extension has a header and no content.
            Header::Extension { size: 0, .. } => State::header(),
            Header::Extension { kind, size } => State::content(Some((kind, Vec::new())), size),
            Header::Entry(entry) => {
                self.sink.begin(&entry);
                if entry.size == 0 {
                    self.sink.end();
                    State::header()
                } else {
                    State::content(None, entry.size)
                }
            }
        })
    }
}

fn split(bytes: &[u8], at_most: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    bytes.split_at(at)
}
