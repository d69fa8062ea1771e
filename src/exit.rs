//! Exit codes, from sysexits where one fits. Scripts, units and CI hooks rely on them:
//! a code never changes its meaning.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, also when there was nothing to do.
    Done = 0,
    /// Finished, but a removal failed or a promise is broken.
    NotAllWell = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Refused, and it will not mend itself.
    NeedsAPerson = 65,
    /// The engine cannot be reached, or contradicts itself.
    Engine = 69,
    /// Something went that was not planned, or a removal could not be confirmed.
    Collateral = 70,
    /// State or journal cannot be read or written.
    State = 74,
    /// Refused for now.
    RefusedForNow = 75,
    /// A file that commands trust is writable by others, or permission is
    /// missing.
    Permission = 77,
    /// The policy is wrong.
    Policy = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends before its report, in one line: what, where, seen and wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub exit: Exit,
    /// Fit to print.
    pub message: String,
}

impl Fault {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}
