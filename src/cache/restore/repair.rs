//! How to repair a promised image that is here and damaged. An engine does not load or pull a
//! layer again that it already lists, so all names of the image must be removed first. secateur
//! removes no name for that: if a source has the exact image, it prints the commands.

use crate::model::kinds::kinds;
use crate::model::reference::Reference;
use crate::model::text::for_shell;

use crate::cache::restore::restored::Origin;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    Commands(Commands),
    /// What uses the image, fit to print.
    InUse(String),
    /// It shares layers with another damaged image that cannot be repaired: which and why, fit to
    /// print.
    Shared(String),
    /// No source is known to have it: why, fit to print.
    Nowhere(String),
}

kinds! {
    pub enum RepairKind of Repair {
        Commands = "commands",
        InUse = "in-use",
        Shared = "shared",
        Nowhere = "nowhere",
    }
}

/// How many unread images the message names.
const NAMED: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// The source that has the exact image.
    pub from: Origin,
    /// Shell commands, in this order.
    pub lines: Vec<String>,
    /// Names that cannot be restored.
    pub lost: Vec<Reference>,
    /// Names of images that share layers with it and were not read.
    pub not_read: Vec<String>,
}

/// How this run was called: the commands start in the same way.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// `docker`, with the options that select the engine.
    pub docker: Vec<String>,
    /// `secateur verify-cache`, with the options about the host.
    pub secateur: Vec<String>,
    /// The options of `--restore` about its archive.
    pub restore: Vec<String>,
    /// The folder for the baseline from before the repair.
    pub state_dir: String,
}

/// Images that share damaged layers, and are repaired together.
#[derive(Debug, Default)]
pub struct Group {
    /// The short id of one of them: another group's commands may be run in between.
    pub id: String,
    /// The names by which they are promised.
    pub promised: Vec<String>,
    /// All names, in an order in which each can be removed; ids of images without a name.
    pub names: Vec<String>,
    /// The names to restore them by. Their other tags are in the baseline.
    pub restore: Vec<String>,
}

impl Call {
    /// In the order in which to run them.
    pub fn lines(&self, group: &Group) -> Vec<String> {
        let (folder, id) = (&self.state_dir, &group.id);
        let baseline = &[format!("{folder}/before-repair-{id}.json")];
        let record = ["--record".to_owned()];
        let restore = ["--deep", "--restore", "--against"].map(str::to_owned);
        let remove = ["rmi".to_owned()];
        [
            line(&[&self.secateur, &record, baseline, &group.promised]),
            line(&[&self.docker, &remove, &group.names]),
            line(&[
                &self.secateur,
                &restore,
                baseline,
                &self.restore,
                &group.restore,
            ]),
        ]
        .into()
    }
}

fn line(words: &[&[String]]) -> String {
    let words = words.iter().copied().flatten();
    let words: Vec<String> = words.map(for_shell).collect();
    words.join(" ")
}

impl Repair {
    /// Empty if nothing can be done now.
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Commands(commands) => &commands.lines,
            Self::InUse(_) | Self::Shared(_) | Self::Nowhere(_) => &[],
        }
    }

    /// Fit to print.
    pub fn message(&self) -> String {
        match self {
            Self::Commands(commands) => commands.message(),
            Self::InUse(why) => {
                format!("left as it is: {why}; once nothing uses it, run this again")
            }
            Self::Shared(why) => format!("left as it is: {why}"),
            Self::Nowhere(why) => {
                format!("do not remove it: nobody is known to have it ({why})")
            }
        }
    }
}

impl Commands {
    fn message(&self) -> String {
        let mut text = match self.from {
            Origin::Registry => {
                "its registry has this very digest (its layers were not asked for)".to_owned()
            }
            Origin::Archive | Origin::Here => {
                "the archive has this very image, and every blob of it was read".to_owned()
            }
        };
        text += "; these commands bring it back whole, one after the other";
        if !self.lost.is_empty() {
            let names: Vec<String> = self.lost.iter().map(Reference::familiar).collect();
            text += "; but for ";
            text += &names.join(", ");
            text += ", which only a registry could give again";
        }
        if !self.not_read.is_empty() {
            let mut names: Vec<String> = self.not_read.iter().take(NAMED).cloned().collect();
            if let Some(more @ 1..) = self.not_read.len().checked_sub(NAMED) {
                names.push(format!("{more} more"));
            }
            text += "; it stays damaged if the damaged layer is one that it shares with ";
            text += &names.join(", ");
            text += ": name that as an argument, too, to have it read";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_shell_reads_back_each_word_of_the_commands() {
        let call = Call {
            docker: words(&["docker", "--host", "unix:///run/x y.sock"]),
            secateur: words(&["secateur", "--policy", "/it's/$HOME", "verify-cache"]),
            restore: words(&["--archive", ""]),
            state_dir: "/s".to_owned(),
        };
        let group = Group {
            id: "aa".to_owned(),
            promised: words(&["app:1"]),
            names: words(&["app:1", "r.example:5000/app@sha256:aa"]),
            restore: words(&["app:1"]),
        };
        let lines = call.lines(&group);
        assert_eq!(
            lines[0],
            r"secateur --policy '/it'\''s/$HOME' verify-cache --record /s/before-repair-aa.json app:1"
        );
        assert_eq!(
            lines[1],
            "docker --host 'unix:///run/x y.sock' rmi app:1 r.example:5000/app@sha256:aa"
        );
        let wanted = [
            &call.secateur[..],
            &words(&["--deep", "--restore", "--against"]),
            &words(&["/s/before-repair-aa.json"]),
            &words(&["--archive", "", "app:1"]),
        ];
        let script = format!("for word in {}; do echo \"<$word>\"; done", lines[2]);
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        let seen = String::from_utf8(shell.unwrap().stdout).unwrap();
        let wanted: Vec<String> = wanted.concat().iter().map(|it| format!("<{it}>")).collect();
        assert_eq!(seen.lines().collect::<Vec<_>>(), wanted);
    }
}
