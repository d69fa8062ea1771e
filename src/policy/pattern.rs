//! A name of `keep.images`, with or without `*`. Decides which names it covers, and refuses one
//! that no image can have.

use wildmatch::WildMatch;

use crate::model::reference::{Reference, looks_like_host, meant, read_as_id};
use crate::model::text::escape;
use crate::policy::shape::impossible_at;

/// An exact name, or one with `*`. It is compared with the normalised form of every name
/// of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct NamePattern {
    /// As it was typed.
    pub text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq)]
enum Matcher {
    Exact(Reference),
    /// All ways to read the pattern, for names such as `docker.io/library/postgres:16`.
    Pattern(Vec<WildMatch>),
}

impl NamePattern {
    /// The error is fit to print, and ends with what was probably meant.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let matcher = matcher(text).map_err(|why| {
            let meant = meant(text, |it| matcher(it).is_ok());
            let meant = meant.map(|it| format!("; did you mean {:?}?", escape(&it)));
            let meant = meant.unwrap_or_default();
            format!("`{}` is no image name: {why}{meant}", escape(text))
        })?;
        Ok(Self {
            text: text.to_owned(),
            matcher,
        })
    }

    /// The name, where there is no `*`.
    pub fn exact(&self) -> Option<&Reference> {
        match &self.matcher {
            Matcher::Exact(name) => Some(name),
            Matcher::Pattern(_) => None,
        }
    }

    /// A pattern of a repository also covers its digest references: `ghcr.io/acme/*`
    /// covers `ghcr.io/acme/app@sha256:…`.
    pub fn covers(&self, name: &Reference) -> bool {
        match &self.matcher {
            Matcher::Exact(exact) => {
                let bare = exact.without_tag();
                exact == name || bare.is_some() && bare == name.without_tag()
            }
            Matcher::Pattern(readings) => {
                let texts = [name.to_string(), name.repository()];
                let any = |reading: &WildMatch| texts.iter().any(|text| reading.matches(text));
                readings.iter().any(any)
            }
        }
    }
}

fn matcher(text: &str) -> Result<Matcher, String> {
    if let Some(why) = read_as_id(text) {
        let labels = "an image without a name is kept by a label (keep.labels)";
        return Err(format!("{why}; {labels}"));
    }
    if !text.contains('*') {
        let name = text.parse::<Reference>();
        let name = name.map_err(|error| error.wanted().to_owned());
        return name.map(Matcher::Exact);
    }
    let readings = readings(text);
    some_name_can_match(text, &readings)?;
    let matchers = readings.iter().map(|it| WildMatch::new(it));
    Ok(Matcher::Pattern(matchers.collect()))
}

/// All readings of a pattern: as it was typed, and as docker would complete the name. Where `*`
/// leaves open which one is meant (is `acme*/app` on Docker Hub, or on a registry?), all count,
/// because a rule can only keep more. `app:*` stands for every tag, so it also means
/// `app@sha256:…`.
fn readings(text: &str) -> Vec<String> {
    let hub = ["docker.io/", "index.docker.io/"];
    let on_hub = hub.into_iter().find_map(|host| text.strip_prefix(host));
    let elsewhere = text.split_once('/').is_some_and(|(first, _)| {
        on_hub.is_none() && !first.contains('*') && looks_like_host(first)
    });
    let mut all = vec![text.to_owned()];
    if !elsewhere {
        let name = on_hub.unwrap_or(text);
        all.extend(["docker.io/", "docker.io/library/"].map(|start| format!("{start}{name}")));
    }
    let any_tag: Vec<_> = all.iter().filter_map(|it| it.strip_suffix(":*")).collect();
    let any_tag: Vec<_> = any_tag.into_iter().map(str::to_owned).collect();
    all.extend(any_tag);
    all
}

/// The error tells where the pattern stops matching any name.
fn some_name_can_match(text: &str, readings: &[String]) -> Result<(), String> {
    // `Redis:*` is no registry with a port.
    let capital = |it: &str| it.contains(|c: char| c.is_ascii_uppercase());
    let no_registry = !text.contains('/') && text.split_once(':').is_some_and(|it| capital(it.0));
    let tried = readings.iter().skip(usize::from(no_registry));
    let failed: Option<Vec<usize>> = tried.map(|it| impossible_at(it)).collect();
    let Some(failed) = failed else {
        return Ok(());
    };
    // Counted from the end: a reading may begin with more than was typed.
    let lengths = readings
        .iter()
        .skip(usize::from(no_registry))
        .map(String::len);
    let left = failed
        .iter()
        .zip(lengths)
        .map(|(at, length)| length - at)
        .min();
    let at = text.len().saturating_sub(left.unwrap_or_default());
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    Err(match after.chars().next() {
        Some(_) if before.is_empty() => format!("no name begins with `{}`", escape(after)),
        Some(_) => format!(
            "no name goes on with `{}` after `{}`",
            escape(after),
            escape(before)
        ),
        None => "it ends in the middle of a name".to_owned(),
    } + "; `*` stands for any text, and all else for itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, name: &str) -> bool {
        NamePattern::parse(pattern)
            .unwrap()
            .covers(&name.parse().unwrap())
    }

    #[test]
    fn a_pattern_is_read_as_docker_reads_a_name() {
        assert!(covers("postgres:16", "docker.io/library/postgres:16"));
        assert!(covers("docker.io/library/postgres:16", "postgres:16"));
        assert!(!covers("postgres:16", "postgres:17"));
        assert!(covers("postgres:*", "docker.io/library/postgres:17"));
        assert!(!covers("postgres:*", "ghcr.io/x/postgres:17"));
        assert!(covers("acme/*", "docker.io/acme/app:1"));
        assert!(covers("ghcr.io/acme/*", "ghcr.io/acme/app:1"));
        assert!(!covers("ghcr.io/acme/*", "ghcr.io/acmeville/app:1"));
        assert!(covers("*", "anything.example/at/all:1"));
        assert!(covers("localhost:5000/*", "localhost:5000/app:1"));
        assert!(!covers("localhost/*", "docker.io/localhost/app:1"));
    }

    #[test]
    fn a_pattern_that_can_be_read_in_two_ways_covers_both() {
        for (pattern, name) in [
            ("acme*/*", "acme-corp/app:1"),
            ("acme*/app", "acme-corp/app:1"),
            ("acme*/app", "acme.example/app:1"),
            ("*/app", "acme/app:1"),
            ("*.example/app", "acme.example/app:1"),
            ("acme*", "acme/app:1"),
            ("ghcr*", "ghcr.io/acme/app:1"),
            ("docker.io/postgres*", "postgres:16"),
            ("docker.io/postgres*", "postgresml/app:1"),
            ("docker.io/library/postgres*", "postgres:16"),
            ("index.docker.io/acme/*", "acme/app:1"),
            ("index.docker.io/postgres:*", "postgres:16"),
        ] {
            assert!(covers(pattern, name), "{pattern} covers {name}");
        }
        for (pattern, name) in [
            ("acme*/*", "ghcr.io/acme/app:1"),
            ("acme*/app", "acme-corp/application:1"),
            ("docker.io/postgres*", "ghcr.io/library/postgres:16"),
            ("index.docker.io/acme/*", "ghcr.io/acme/app:1"),
            ("ghcr.io/acme*", "acme/app:1"),
        ] {
            assert!(!covers(pattern, name), "{pattern} covers no {name}");
        }
    }

    #[test]
    fn a_pattern_of_every_tag_covers_digest_references_and_no_other_repository() {
        let digest = |name: &str| format!("{name}@sha256:{}", "a".repeat(64));
        assert!(covers("ghcr.io/acme/app:*", &digest("ghcr.io/acme/app")));
        assert!(covers("postgres:*", &digest("postgres")));
        assert!(covers("acme*/app:*", &digest("acme-corp/app")));
        assert!(!covers("postgres:*", &digest("postgres-exporter")));
        assert!(!covers("ghcr.io/acme/app:1*", &digest("ghcr.io/acme/app")));
    }

    #[test]
    fn a_repository_pattern_covers_its_digest_references() {
        let digest = format!("ghcr.io/acme/app@sha256:{}", "a".repeat(64));
        assert!(covers("ghcr.io/acme/*", &digest));
        assert!(covers("ghcr.io/*/app", &digest));
    }
}
