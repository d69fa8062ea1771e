//! Names and images that went without being planned. A name stays a name until a report words
//! it.

use serde::{Deserialize, Serialize};

use crate::model::id::ImageId;
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, escape_up_to};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// A tag or digest reference.
    Name(Reference),
    Image(ImageId),
    /// The image that this container was made of.
    MadeOf(ContainerName),
    /// An image that is mounted into this container.
    MountedBy(ContainerName),
    /// The engine's text, where it is neither a name nor an id.
    Other(Untrusted),
}

/// The id is kept, too: another container may get the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContainerName {
    /// In full; 12 digits are shown.
    pub id: Untrusted,
    /// Without the slash.
    pub name: Untrusted,
}

/// Characters that are kept of a text that is no name.
const MOST: usize = 200;

impl Lost {
    /// From the text of an engine's event.
    pub fn of(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Image(id);
        }
        // No registry can ever have these names.
        let somebodys = |name: &Reference| !name.is_ours() && !name.is_dangling_record();
        match text.parse::<Reference>().ok().filter(somebodys) {
            Some(name) => Self::Name(name),
            None => Self::Other(Untrusted::new(text.chars().take(MOST).collect::<String>())),
        }
    }

    /// The name to pull it by, if it has one.
    pub fn name(&self) -> Option<&Reference> {
        match self {
            Self::Name(name) => Some(name),
            Self::Image(_) | Self::MadeOf(_) | Self::MountedBy(_) | Self::Other(_) => None,
        }
    }

    /// Fit to print. A name is whole, in docker's short form.
    pub fn words(&self) -> String {
        match self {
            Self::Name(name) => name.familiar(),
            Self::Image(id) => id.to_string(),
            Self::MadeOf(container) => format!("the image of container {}", container.words()),
            Self::MountedBy(container) => {
                format!("an image mounted by container {}", container.words())
            }
            Self::Other(text) => text.escaped(),
        }
    }

    /// As [`Self::words`], but a name is in its full form, for programs.
    pub fn full(&self) -> String {
        self.name()
            .map_or_else(|| self.words(), Reference::to_string)
    }
}

impl ContainerName {
    fn words(&self) -> String {
        let id = escape_up_to(self.id.raw(), 12);
        let id = id.trim_end_matches('…');
        format!("{} ({id})", self.name.escaped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    #[test]
    fn an_engines_text_is_a_name_or_an_id_or_shown_escaped() {
        for (text, words, full) in [
            ("app:1", "app:1", "docker.io/library/app:1"),
            ("\u{1b}[2J", "\\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            let lost = Lost::of(text);
            assert_eq!((&*lost.words(), &*lost.full()), (words, full));
        }
        assert_eq!(Lost::of(id(1).as_str()), Lost::Image(id(1)));
        for nobodys in [
            Reference::dangling_record(&id(1)),
            Reference::ours(&id(1)).to_string(),
        ] {
            assert_eq!(Lost::of(&nobodys).name(), None);
        }
        let huge = Lost::of(&"X".repeat(1 << 20));
        assert!(serde_json::to_string(&huge).unwrap().len() < 300);
    }
}
