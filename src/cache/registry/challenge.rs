//! The challenge of a 401 answer, parsed from its WWW-Authenticate headers: whether to send the
//! password, or a token from a server that the header names.

use hyper::HeaderMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The service that the token is for, as the registry names it.
        service: Option<String>,
    },
}

impl Challenge {
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let headers = headers.get_all("www-authenticate");
        parse(headers.iter().filter_map(|value| value.to_str().ok()))
    }
}

/// Parses all headers of one answer. Prefers Bearer to Basic, as docker does. `None`: nothing
/// that secateur can answer.
fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = parameters(rest);
            let value = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone())
            };
            if let Some(realm) = value("realm") {
                return Some(Challenge::Bearer {
                    realm,
                    service: value("service"),
                });
            }
        }
    }
    basic
}

/// `key="value",key=value`; a quoted value may contain commas and `\"`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| *c == ',' || c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && *c != ',') {
            key.push(c);
        }
        if chars.next_if_eq(&'=').is_none() {
            if chars.peek().is_none() {
                return found;
            }
            continue;
        }
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        found.push((key.trim().to_ascii_lowercase(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_names_its_server() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse([header]),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into())
            })
        );
    }

    #[test]
    fn bearer_goes_before_basic_and_the_rest_is_nothing() {
        assert_eq!(parse([r#"Basic realm="lab""#]), Some(Challenge::Basic));
        let both = [r#"Basic realm="x""#, "bearer realm=https://t.example"];
        assert!(matches!(parse(both), Some(Challenge::Bearer { .. })));
        assert_eq!(parse(["Negotiate", "Bearer service=\"x\"", ""]), None);
        assert_eq!(parse([]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_hangs_or_panics(text in "(Bearer )?[ -~]{0,60}") {
            let _ = parse([text.as_str()]);
        }
    }
}
