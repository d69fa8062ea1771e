//! Writes to systemd's journal by its own protocol, so that entries have fields: one line each,
//! of bounded length, with nothing raw in them. A journal that does not read is not waited for.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;
use nix::sys::stat::fstat;

use crate::model::text::escape_up_to;

const SOCKET: &str = "/run/systemd/journal/socket";

/// How long one entry may wait for a journal that lags.
const PATIENCE: Duration = Duration::from_secs(1);

/// Characters of one value. Our entries have some 15 values, two or three of them long,
/// and fit into a datagram.
const LONGEST: usize = 4000;

/// A comment of this many bytes takes at least a quarter of the smallest buffer.
const COMMENT: usize = 1024;

/// The numbers of syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Priority {
    /// Something was lost, or may have been.
    Critical = 2,
    /// A person must look.
    Error = 3,
    /// Not all is well.
    Warning = 4,
    Notice = 5,
    Info = 6,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The kind of the entry: 128 bits in hex, never given to another kind.
    pub id: &'static str,
    pub priority: Priority,
    pub message: String,
    /// Names without `SECATEUR_`.
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, if it reads our stderr and can be reached.
    pub fn of_stderr() -> Option<Self> {
        is_read_by_journal(io::stderr())
            .then(|| Self::at(Path::new(SOCKET)).ok())
            .flatten()
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(path)?;
        Ok(Self { socket })
    }

    /// Returns when the journal has processed the entries. It asks the kernel for the sender's
    /// unit, so the sender must still live (systemd#2913): else the entry has no unit, and
    /// `journalctl -u` does not show it.
    ///
    /// An error means that not all were sent. The caller then reports everything again by other
    /// means: twice is better than never.
    pub fn write(self, entries: &[JournalEntry]) -> io::Result<()> {
        for entry in entries {
            self.socket.send(datagram(entry).as_bytes())?;
        }
        // The journal takes one datagram after the other: when it has taken this comment, which
        // makes no entry, it has processed those before. If the wait fails, the journal has all
        // entries all the same.
        let comment = format!("#{}\n", ".".repeat(COMMENT));
        let sent = self.socket.send(comment.as_bytes());
        let _ = sent.and_then(|_| self.wait_until_taken());
        Ok(())
    }

    /// A datagram counts against its sender's buffer until it is taken, and a socket is
    /// writable while less than a quarter of the buffer is in use. A quarter of the smallest
    /// buffer (4608 bytes) is less than the comment. If that ever changes, the wait ends at
    /// once.
    fn wait_until_taken(&self) -> io::Result<bool> {
        setsockopt(&self.socket, SndBuf, &1)?;
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
        Ok(poll(&mut polled, patience)? > 0)
    }
}

/// Whether systemd's journal is at the other end of this stream. JOURNAL_STREAM has the
/// stream's device and inode, because children inherit the variable and may have other streams.
pub fn is_read_by_journal(stream: impl AsFd) -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some_and(|named| is_named(&named, stream))
}

fn is_named(named: &OsStr, stream: impl AsFd) -> bool {
    let numbers = named.to_str().and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let Ok(seen) = fstat(stream) else {
        return false;
    };
    numbers == Some((seen.st_dev, seen.st_ino))
}

/// `NAME=value` lines. Ends of lines in values are escaped.
fn datagram(entry: &JournalEntry) -> String {
    let priority = entry.priority as u8;
    let mut out = format!(
        "MESSAGE={}\nPRIORITY={priority}\nMESSAGE_ID={}\nSYSLOG_IDENTIFIER=secateur\n",
        escape_up_to(&entry.message, LONGEST),
        entry.id
    );
    for (name, value) in &entry.fields {
        let value = escape_up_to(value, LONGEST);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "SECATEUR_{name}={value}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn entry(message: &str) -> JournalEntry {
        JournalEntry {
            id: "0123456789abcdef0123456789abcdef",
            priority: Priority::Notice,
            message: message.into(),
            fields: vec![("IMAGE", "sha256:1".into()), ("REASON", message.into())],
        }
    }

    #[test]
    fn an_entry_is_one_datagram_of_the_journals_protocol() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        Journal::at(&path).unwrap().write(&[entry("gone")]).unwrap();
        let mut buffer = [0; 2000];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(
            std::str::from_utf8(&buffer[..length]).unwrap(),
            "MESSAGE=gone\nPRIORITY=5\nMESSAGE_ID=0123456789abcdef0123456789abcdef\n\
             SYSLOG_IDENTIFIER=secateur\nSECATEUR_IMAGE=sha256:1\nSECATEUR_REASON=gone\n"
        );
        let length = listener.recv(&mut buffer).unwrap();
        let comment = std::str::from_utf8(&buffer[..length]).unwrap();
        assert_eq!((comment.find('#'), comment.lines().count()), (Some(0), 1));
    }

    #[test]
    fn no_text_can_begin_a_field_of_its_own_or_move_a_cursor() {
        let nasty = "a\nMESSAGE=b\r\u{1b}[2J\u{202e}\0";
        let lines = datagram(&entry(nasty));
        assert_eq!(lines.lines().count(), 6, "{lines}");
        assert!(
            !lines.contains(['\u{1b}', '\u{202e}', '\0', '\r']),
            "{lines:?}"
        );
    }

    #[test]
    fn an_entry_is_bounded_however_long_its_texts_are() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        // The longest escape of a single character is nine of them.
        let long = "\u{e0001}".repeat(1_000_000);
        Journal::at(&path).unwrap().write(&[entry(&long)]).unwrap();
        let mut buffer = vec![0; 1 << 20];
        assert!(listener.recv(&mut buffer).unwrap() < 100_000);
    }

    #[test]
    fn a_journal_that_does_not_read_is_not_waited_for() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("socket");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let many = vec![entry("x"); 10_000];
        let error = Journal::at(&path).unwrap().write(&many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn entries_that_were_all_sent_are_told_however_slowly_they_are_read() {
        let folder = crate::testing::folder_of_ours();
        // As many as a journal that reads none of them has room for.
        let full = folder.path().join("full");
        let _deaf = UnixDatagram::bind(&full).unwrap();
        let journal = Journal::at(&full).unwrap();
        journal.socket.set_nonblocking(true).unwrap();
        let text = datagram(&entry("x"));
        let room = std::iter::repeat_with(|| journal.socket.send(text.as_bytes()))
            .take_while(Result::is_ok)
            .count();
        let path = folder.path().join("socket");
        let _slow = UnixDatagram::bind(&path).unwrap();
        let all = vec![entry("x"); room];
        Journal::at(&path).unwrap().write(&all).unwrap();
    }

    #[test]
    fn what_was_not_taken_yet_is_waited_for() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let comment = [b'.'; COMMENT];
        journal.socket.send(&comment).unwrap();
        assert!(!journal.wait_until_taken().unwrap(), "nobody has taken it");
        listener.recv(&mut [0; 2000]).unwrap();
        assert!(journal.wait_until_taken().unwrap());
    }

    #[test]
    fn only_the_stream_that_systemd_named_is_the_journals() {
        let file = tempfile::tempfile().unwrap();
        let meta = file.metadata().unwrap();
        let named = |device, inode| is_named(format!("{device}:{inode}").as_ref(), &file);
        assert!(named(meta.dev(), meta.ino()));
        assert!(!named(meta.dev() + 1, meta.ino()));
        assert!(!named(meta.dev(), meta.ino() + 1));
        assert!(!is_named("".as_ref(), &file));
        assert!(!is_named("8".as_ref(), &file));
    }
}
