//! The cost of asking a registry.

use hyper::Method;

/// The requests that were sent, and how many more pulls the registry allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// HEADs of manifests.
    pub heads: u32,
    /// GETs of manifests: Docker Hub counts only these as pulls.
    pub gets: u32,
    /// All others: /v2/ and token requests.
    pub others: u32,
    /// The lowest `RateLimit-Remaining` header, fit to print.
    pub left: Option<String>,
}

impl Cost {
    pub fn count(&mut self, method: &Method, path: &str) {
        match (path.contains("/manifests/"), method) {
            (false, _) => self.others += 1,
            (true, &Method::HEAD) => self.heads += 1,
            (true, _) => self.gets += 1,
        }
    }

    /// The pulls that the registry still allows, if it says so.
    pub fn pulls_left(&self) -> Option<u64> {
        self.left.as_deref().and_then(number)
    }

    /// Keeps the lowest limit. `shown`: `left`, fit to print.
    pub fn limited(&mut self, left: &str, shown: String) {
        let lowest = match self.left.as_deref().and_then(number) {
            None => true,
            Some(known) => number(left).is_some_and(|left| left < known),
        };
        if lowest {
            self.left = Some(shown);
        }
    }
}

/// The number in `76;w=21600`.
fn number(limit: &str) -> Option<u64> {
    let number = limit.split(';').next()?;
    number.trim().parse().ok()
}
