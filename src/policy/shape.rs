//! Which texts can be image names, as a state machine over characters, so that a pattern can be
//! tested for whether any name matches it.

use std::collections::BTreeSet;

/// The state after reading a part of a name such as `host:1/path:tag@sha256:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Start,
    /// At the beginning of a label of the host.
    Label,
    Host,
    HostDash,
    Ipv6,
    Ipv6End,
    PortStart,
    Port,
    /// At the beginning of a component of the path.
    Component,
    Path,
    Dot,
    Underscore,
    Underscores,
    Dash,
    TagStart,
    Tag,
    /// After so many characters of `sha256:…`.
    Sha256(usize),
    /// After so many characters of `sha512:…`.
    Sha512(usize),
}

const HEAD: usize = "sha256:".len();

impl At {
    /// The next states; none where no name has this character.
    fn step(self, ch: char) -> [Option<Self>; 2] {
        let hex = matches!(ch, '0'..='9' | 'a'..='f');
        let digest = |head: &str, digits: usize, n: usize| match head.as_bytes().get(n) {
            Some(wanted) => char::from(*wanted) == ch,
            None => hex && n < head.len() + digits,
        };
        let one = match (self, ch) {
            (Self::Start, '[') => Self::Ipv6,
            (Self::Start | Self::Label, c) if c.is_ascii_alphanumeric() => Self::Host,
            (Self::Host | Self::HostDash, c) if c.is_ascii_alphanumeric() => Self::Host,
            (Self::Host | Self::HostDash, '-') => Self::HostDash,
            (Self::Host, '.') => Self::Label,
            (Self::Ipv6, ']') => Self::Ipv6End,
            (Self::Ipv6, c) if c.is_ascii_hexdigit() || c == ':' => Self::Ipv6,
            (Self::Host | Self::Ipv6End, ':') => Self::PortStart,
            (Self::PortStart | Self::Port, '0'..='9') => Self::Port,
            (Self::Host | Self::Ipv6End | Self::Port, '/') => Self::Component,
            (
                Self::Component
                | Self::Path
                | Self::Dot
                | Self::Underscore
                | Self::Underscores
                | Self::Dash,
                'a'..='z' | '0'..='9',
            ) => Self::Path,
            (Self::Path, '.') => Self::Dot,
            (Self::Path, '_') => Self::Underscore,
            (Self::Underscore, '_') => Self::Underscores,
            (Self::Path | Self::Dash, '-') => Self::Dash,
            (Self::Path, '/') => Self::Component,
            (Self::Path, ':') => Self::TagStart,
            (Self::TagStart | Self::Tag, c) if c.is_ascii_alphanumeric() || c == '_' => Self::Tag,
            (Self::Tag, '.' | '-') => Self::Tag,
            (Self::Path | Self::Tag, '@') => {
                return [Some(Self::Sha256(0)), Some(Self::Sha512(0))];
            }
            (Self::Sha256(n), _) if digest("sha256:", 64, n) => Self::Sha256(n + 1),
            (Self::Sha512(n), _) if digest("sha512:", 128, n) => Self::Sha512(n + 1),
            _ => return [None, None],
        };
        [Some(one), None]
    }

    /// Whether a name may end here. A repository counts, because a pattern may be one.
    fn is_end(self) -> bool {
        match self {
            Self::Path | Self::Tag => true,
            Self::Sha256(n) => n == HEAD + 64,
            Self::Sha512(n) => n == HEAD + 128,
            Self::Start
            | Self::Label
            | Self::Host
            | Self::HostDash
            | Self::Ipv6
            | Self::Ipv6End
            | Self::PortStart
            | Self::Port
            | Self::Component
            | Self::Dot
            | Self::Underscore
            | Self::Underscores
            | Self::Dash
            | Self::TagStart => false,
        }
    }
}

/// One character of each kind that a name has.
const KINDS: &str = "agAZ01256sh._-/:@[]";

/// The byte at which a pattern (`*` stands for any text) stops matching any name; its length
/// where it ends too early. `None`: some name matches.
pub(super) fn impossible_at(pattern: &str) -> Option<usize> {
    let mut here = BTreeSet::from([At::Start]);
    for (place, ch) in pattern.char_indices() {
        let next = if ch == '*' {
            after_any_text(here)
        } else {
            here.iter().flat_map(|at| at.step(ch)).flatten().collect()
        };
        if next.is_empty() {
            return Some(place);
        }
        here = next;
    }
    let ends = here.iter().any(|at| at.is_end());
    (!ends).then_some(pattern.len())
}

fn after_any_text(from: BTreeSet<At>) -> BTreeSet<At> {
    let mut all = from.clone();
    let mut newest: Vec<At> = from.into_iter().collect();
    while let Some(at) = newest.pop() {
        let next = KINDS.chars().flat_map(|ch| at.step(ch)).flatten();
        newest.extend(next.filter(|at| all.insert(*at)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reference::Reference;

    #[test]
    fn a_pattern_without_a_name_is_known_by_where_it_stops_to_be_one() {
        for (pattern, at) in [
            ("docker.io/library/redis:*", None),
            ("*", None),
            ("[::1]:5000/a_b__c-d.e/*", None),
            ("r.example/app@sha256:*", None),
            ("r.example/app@sha512:ab*", None),
            ("r.example/app:.*", Some(14)),
            ("r.example/App*", Some(10)),
            ("https://*", Some(6)),
            ("r.example/a___b*", Some(13)),
            ("r.example/a*@sha256:ab", Some(22)),
            ("r.example/a-", Some(12)),
        ] {
            assert_eq!(impossible_at(pattern), at, "{pattern}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn every_name_is_one_and_so_is_it_with_any_part_of_it_as_a_star(
            text in "(r\\.example(:[0-9]{1,3})?/)?[a-z0-9]{1,2}([._/-]|__){0,2}[a-z0-9]{1,3}(:[A-Za-z0-9_.-]{1,4})?(@sha256:[0-9a-f]{64})?",
            from in 0_usize..40,
            to in 0_usize..40,
        ) {
            if let Ok(name) = text.parse::<Reference>() {
                let name = name.to_string();
                proptest::prop_assert_eq!(impossible_at(&name), None);
                let (from, to) = (from.min(to).min(name.len()), from.max(to).min(name.len()));
                let pattern = format!("{}*{}", &name[..from], &name[to..]);
                proptest::prop_assert_eq!(impossible_at(&pattern), None, "{}", pattern);
            }
        }
    }
}
