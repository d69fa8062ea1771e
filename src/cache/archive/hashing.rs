//! Hashes what is read: a long blob on a thread of its own, while its bytes are on their way to
//! the engine.

use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use sha2::{Digest as _, Sha256};

use crate::cache::archive::digest::Digest;

/// In bytes: below this a thread costs more than it saves.
const SHORT: u64 = 1 << 20;

/// Pieces that wait to be hashed. With more, memory grows with the speed of a disk.
const WAITING: usize = 4;

#[derive(Debug)]
pub enum Hashing {
    /// Before the first byte; how many will come.
    New(u64),
    Here(Sha256),
    Beside(SyncSender<Vec<u8>>, JoinHandle<Sha256>),
}

impl Hashing {
    fn begun(size: u64) -> Self {
        if size < SHORT {
            return Self::Here(Sha256::new());
        }
        let (to, from) = sync_channel::<Vec<u8>>(WAITING);
        let thread = Builder::new().spawn(move || {
            let mut hash = Sha256::new();
            for piece in from {
                hash.update(piece);
            }
            hash
        });
        // Where no thread can be started, it only takes longer.
        thread.map_or_else(|_| Self::Here(Sha256::new()), |it| Self::Beside(to, it))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        if let Self::New(size) = self {
            *self = Self::begun(*size);
        }
        match self {
            Self::New(_) => {}
            Self::Here(hash) => hash.update(bytes),
            // It fails only where the thread has panicked, which `finish` tells.
            Self::Beside(to, _) => drop(to.send(bytes.to_vec())),
        }
    }

    pub fn finish(self) -> Digest {
        Digest::finished(match self {
            Self::New(_) => Sha256::new(),
            Self::Here(hash) => hash,
            Self::Beside(to, thread) => {
                drop(to);
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_here_and_beside() {
        let bytes: Vec<u8> = (0..=250).cycle().take(700_003).collect();
        let hashed = |mut hashing: Hashing| {
            for piece in bytes.chunks(1000) {
                hashing.update(piece);
            }
            hashing.finish()
        };
        let beside = Hashing::begun(SHORT);
        assert!(matches!(beside, Hashing::Beside(..)));
        for hashing in [Hashing::New(SHORT - 1), Hashing::New(SHORT), beside] {
            assert_eq!(hashed(hashing), Digest::of(&bytes));
        }
        assert_eq!(Hashing::New(0).finish(), Digest::of(b""));
    }
}
