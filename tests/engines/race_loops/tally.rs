//! The count of what came of everything that was tried.

use std::collections::BTreeMap;
use std::fmt;

/// What came of all tries.
#[derive(Debug, Default)]
pub struct Tally {
    pub runs: usize,
    pub removed: usize,
    /// Answered with 201, while the run lasted or just after.
    pub acknowledged: usize,
    /// Those of them that were kept, by what the run had come to.
    pub kept: BTreeMap<Moment, usize>,
    /// Tries that had to wait for the shared lock.
    pub waited: usize,
    /// 404: the image was gone before.
    pub late: usize,
    /// Any other answer: nothing was promised.
    pub refused: BTreeMap<u16, usize>,
    /// Runs by exit code.
    pub codes: BTreeMap<i32, usize>,
    /// Acknowledged, and gone: and the program said so.
    pub reported: Vec<String>,
    /// Acknowledged, and gone, and nobody said so.
    pub silent: Vec<String>,
}

/// What the run had done with the image when it met what somebody else did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It never came to that image.
    NotItsTurn,
    BeforeFirstLook,
    BeforeLastLook,
    /// Between the last look and the engine's own decision: the window.
    AfterLastLook,
}

impl Moment {
    /// By the reason that the run gives for leaving the image.
    pub fn of(reason: Option<&str>) -> Moment {
        match reason {
            Some(why) if why.starts_with("something keeps it since") => Moment::AfterLastLook,
            Some(why) if why.starts_with("the engine would not") => Moment::AfterLastLook,
            Some(why) if why.starts_with("it got a name since") => Moment::BeforeLastLook,
            Some(why) if why.contains("since the plan") => Moment::BeforeFirstLook,
            Some(_) | None => Moment::NotItsTurn,
        }
    }
}

impl Tally {
    /// Both.
    pub fn and(mut self, other: Tally) -> Tally {
        self.runs += other.runs;
        self.removed += other.removed;
        self.acknowledged += other.acknowledged;
        self.waited += other.waited;
        self.late += other.late;
        add(&mut self.kept, other.kept);
        add(&mut self.refused, other.refused);
        add(&mut self.codes, other.codes);
        self.reported.extend(other.reported);
        self.silent.extend(other.silent);
        self
    }

    pub fn lost(&self) -> usize {
        self.reported.len() + self.silent.len()
    }

    /// How many were acknowledged between the last look and the removal.
    pub fn within_the_window(&self) -> usize {
        let kept = self.kept.get(&Moment::AfterLastLook);
        kept.copied().unwrap_or_default() + self.lost()
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, usize>, more: BTreeMap<K, usize>) {
    for (key, count) in more {
        *to.entry(key).or_default() += count;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} of them after the last look, {} lost, {} of these reported \
             ({} runs {:?}, {} removed, kept {:?}, {} too late, {} waited for the lock, refused {:?})",
            self.acknowledged,
            self.within_the_window(),
            self.lost(),
            self.reported.len(),
            self.runs,
            self.codes,
            self.removed,
            self.kept,
            self.late,
            self.waited,
            self.refused
        )
    }
}
