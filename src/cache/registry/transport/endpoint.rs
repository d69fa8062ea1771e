//! Where a request goes, and what a realm or a `Location` names.

use crate::engine::host_and_port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS.
    Tls,
    /// In the clear.
    Plain,
    /// Over TLS; an insecure registry that speaks no TLS in the clear.
    AsTheEngine,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With its port, where it has one. It is kept as it was written, because
    /// docker names the folder of a registry's certificates so.
    pub host: String,
    pub scheme: Scheme,
    /// With its query.
    pub path: String,
}

impl Endpoint {
    /// Reads an absolute URL, or a path on the host of `base`. `None`: it is
    /// neither, or a URL with a login in it.
    pub fn parse(text: &str, base: &Self) -> Option<Self> {
        if text.starts_with('/') && !text.starts_with("//") {
            return Some(Self {
                path: text.to_owned(),
                ..base.clone()
            });
        }
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Tls, rest)
        } else {
            (Scheme::Plain, text.strip_prefix("http://")?)
        };
        let (host, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(h, p)| (h, p.to_owned()));
        let fine = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        (!host.is_empty() && host.bytes().all(fine)).then(|| Self {
            host: host.to_owned(),
            scheme,
            path: format!("/{path}"),
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
