//! The target of a request, a realm or a `Location`.

use std::cell::Cell;

use url::{Position, SyntaxViolation, Url};

use crate::engine::host_and_port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Tls,
    /// Without TLS.
    Plain,
    /// As the engine does: with TLS, or without it for an insecure registry that has none.
    AsTheEngine,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With its port, if it has one. Kept as written, because docker names a registry's
    /// certificate folder so.
    pub host: String,
    pub scheme: Scheme,
    /// Includes the query.
    pub path: String,
}

impl Endpoint {
    /// Parses an absolute URL, or a path on the host of `base`. `None` for anything else, or a
    /// URL with a login.
    pub fn parse(text: &str, base: &Self) -> Option<Self> {
        if text.starts_with('/') && !text.starts_with("//") {
            return Some(Self {
                path: text.to_owned(),
                ..base.clone()
            });
        }
        // Browsers also accept `https:///host` and `https:\\host`; engines do not.
        let strict = Cell::new(true);
        let violation = |violation| {
            use SyntaxViolation::{NonUrlCodePoint, PercentDecode};
            if !matches!(violation, NonUrlCodePoint | PercentDecode) {
                strict.set(false);
            }
        };
        let options = Url::options().syntax_violation_callback(Some(&violation));
        let url = options.parse(text).ok().filter(|_| strict.get())?;
        let scheme = match url.scheme() {
            "https" => Scheme::Tls,
            "http" => Scheme::Plain,
            _ => return None,
        };
        let (_, rest) = text.split_once("://")?;
        Some(Self {
            host: rest.split(['/', '?', '#']).next()?.to_owned(),
            scheme,
            path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        })
    }

    pub fn same_host(&self, other: &Self) -> bool {
        let place = |endpoint: &Self| {
            let port = match endpoint.scheme {
                Scheme::Plain => 80,
                Scheme::Tls | Scheme::AsTheEngine => 443,
            };
            let (name, port) = host_and_port(&endpoint.host, port);
            (name.to_ascii_lowercase(), port)
        };
        self.host == other.host || place(self) == place(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        let base = Endpoint {
            host: "a.example".into(),
            scheme: Scheme::Tls,
            path: "/v2/".into(),
        };
        let found = Endpoint::parse(text, &base)?;
        Some(format!("{}{} {:?}", found.host, found.path, found.scheme))
    }

    #[test]
    fn a_location_is_absolute_or_a_path_here() {
        for (text, wanted) in [
            ("https://b.example/x?y", "b.example/x?y Tls"),
            ("http://b.example", "b.example/ Plain"),
            ("/z", "a.example/z Tls"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(wanted), "{text}");
        }
        for bad in [
            "//b.example/x",
            "ftp://b",
            "https:///x",
            "https://me@b.example/",
            "x",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_that_does_not_read_is_no_host() {
        for bad in [
            "https://b.example:99999/x",
            "https://b.example:x/y",
            "https://[::1/x",
            "https://[::1]:x/y",
            "https://::1/x",
            "https://b.example[0]/x",
            "https://me:secret@b.example/",
            "https://@b.example/",
            "https://b.example\\@c.example/",
            "https:\\\\b.example/",
            "https:/b.example/",
            "https:b.example",
            "https://b.ex\tample/",
            " https://b.example/",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_asked_of_a_host_is_what_was_written() {
        for (text, wanted) in [
            // certs.d has folders with such names.
            ("https://B.example:443/x", "B.example:443/x Tls"),
            ("http://b.example:80/x", "b.example:80/x Plain"),
            (
                "https://[2001:DB8:0::1]:5000/x",
                "[2001:DB8:0::1]:5000/x Tls",
            ),
            // A name for docker, 127.0.0.1 for a browser.
            ("https://0x7f000001:5000/x", "0x7f000001:5000/x Tls"),
            ("https://my_registry:5000/x", "my_registry:5000/x Tls"),
            // As a signed URL of a blob store.
            (
                "https://s.example/b%2Fc/%7E?X-Sig=a%2Bb%3D&d=e+f&g=h/i:j@k",
                "s.example/b%2Fc/%7E?X-Sig=a%2Bb%3D&d=e+f&g=h/i:j@k Tls",
            ),
            ("https://b.example/x#y", "b.example/x Tls"),
            ("HTTPS://b.example?y", "b.example/?y Tls"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_host_is_the_same_with_its_usual_port_and_in_capitals() {
        let of = |text: &str, scheme| Endpoint {
            host: text.to_owned(),
            scheme,
            path: "/".into(),
        };
        let own = of("r.example", Scheme::AsTheEngine);
        assert!(own.same_host(&of("R.example:443", Scheme::Tls)));
        assert!(!own.same_host(&of("r.example:80", Scheme::Tls)));
        assert!(!own.same_host(&of("r.example.evil", Scheme::Tls)));
    }
}
