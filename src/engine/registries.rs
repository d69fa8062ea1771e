//! Registries that the engine speaks to without TLS (GET /info).

use std::collections::BTreeSet;
use std::net::IpAddr;

use bollard::models::SystemInfo;

use crate::engine::connection::LONGEST_ANSWER;
use crate::engine::error::EngineError;
use crate::engine::list::object;
use crate::engine::reader::Reader;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Networks, `127.0.0.0/8`.
    pub cidrs: Vec<String>,
    /// Names, `registry.lan:5000`.
    pub hosts: BTreeSet<String>,
}

impl Insecure {
    /// Whether the engine treats this host as insecure by its text alone; see
    /// [`Self::covers_address`] for the addresses of a name.
    pub fn covers(&self, host: &str) -> bool {
        if self.hosts.contains(host) {
            return true;
        }
        let (name, _) = host_and_port(host, 0);
        if name == "localhost" {
            return true;
        }
        let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() else {
            return false;
        };
        address.is_loopback() || self.covers_address(address)
    }

    /// Whether an address is in one of the networks. One such address of a name is enough for
    /// the engine.
    pub fn covers_address(&self, address: IpAddr) -> bool {
        self.cidrs.iter().any(|cidr| within(address, cidr))
    }
}

fn within(address: IpAddr, cidr: &str) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let top = |value: u128, width: u32| value.checked_shr(width.saturating_sub(bits)).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            top(a.to_bits().into(), 32) == top(n.to_bits().into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => top(a.to_bits(), 128) == top(n.to_bits(), 128),
        _ => false,
    }
}

/// Splits `host:port`; `port` is for a host without one.
pub fn host_and_port(host: &str, port: u16) -> (&str, u16) {
    match host.rsplit_once(':') {
        Some((name, text)) if !text.contains(']') => (name, text.parse().unwrap_or(port)),
        _ => (host, port),
    }
}

impl Reader {
    pub async fn insecure_registries(&self) -> Result<Insecure, EngineError> {
        let doing = "read the engine's registries (GET /info)";
        // bollard's own call would also take a 206, a list, or text that is no UTF-8.
        let body = self.whole(doing, "/info", LONGEST_ANSWER).await?;
        let info = object(&body).map_err(|why| EngineError::nonsense(doing, why))?;
        Ok(insecure(info))
    }
}

fn insecure(info: SystemInfo) -> Insecure {
    let config = info.registry_config.unwrap_or_default();
    let named = config.index_configs.unwrap_or_default().into_iter();
    let insecure = named.filter(|(_, index)| index.secure == Some(false));
    Insecure {
        cidrs: config.insecure_registry_cidrs.unwrap_or_default(),
        hosts: insecure.map(|(name, _)| name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_answer_and_an_empty_one_read() {
        // Recorded from 28.5.2.
        let read = |info: &str| insecure(serde_json::from_str(info).unwrap());
        let info = r#"{"RegistryConfig":{"IndexConfigs":{"docker.io":{"Mirrors":[],"Name":"docker.io","Official":true,"Secure":true},"r.lan:5000":{"Secure":false}},"InsecureRegistryCIDRs":["127.0.0.0/8","::1/128"],"Mirrors":null}}"#;
        let seen = read(info);
        assert_eq!(seen.cidrs.len(), 2);
        assert_eq!(seen.hosts.into_iter().collect::<Vec<_>>(), ["r.lan:5000"]);
        assert_eq!(read("{}"), Insecure::default());
        // As Podman and engines without a daemon.json may write it.
        let nulls = r#"{"RegistryConfig":{"IndexConfigs":null,"InsecureRegistryCIDRs":null}}"#;
        assert_eq!(read(nulls), Insecure::default());
        assert_eq!(read(r#"{"RegistryConfig":null}"#), Insecure::default());
    }

    #[test]
    fn the_registries_that_live_engines_list_are_read() {
        // Recorded from 20.10.24 and 28.5.2.
        let recorded = [
            (
                include_str!("../../tests/support/fake/recorded/20.10-overlay2.json"),
                vec!["127.0.0.0/8"],
            ),
            (
                include_str!("../../tests/support/fake/recorded/28.5-containerd.json"),
                vec!["127.0.0.0/8", "::1/128"],
            ),
        ];
        for (answers, cidrs) in recorded {
            let mut answers: serde_json::Value = serde_json::from_str(answers).unwrap();
            let seen = insecure(serde_json::from_value(answers["info"].take()).unwrap());
            assert_eq!(seen.cidrs, cidrs);
            assert!(seen.hosts.is_empty(), "docker.io is secure");
        }
    }

    #[test]
    fn only_what_the_engine_lists_and_this_host_itself_is_plain() {
        let insecure = Insecure {
            cidrs: vec!["10.1.0.0/16".into(), "fd00::/8".into(), "nonsense".into()],
            hosts: ["registry.lan:5000".to_owned()].into(),
        };
        for plain in [
            "127.1.2.3:5000",
            "127.0.0.1",
            "localhost:5000",
            "[::1]:5000",
            "10.1.2.3:80",
            "registry.lan:5000",
            "[fd12::1]:5000",
        ] {
            assert!(insecure.covers(plain), "{plain}");
        }
        for tls in [
            "10.2.0.1:5000",
            "registry.lan",
            "docker.io",
            "127.example:1",
            "[2001::1]",
        ] {
            assert!(!insecure.covers(tls), "{tls}");
        }
    }

    #[test]
    fn a_port_is_what_follows_the_last_colon_outside_brackets() {
        assert_eq!(host_and_port("a:5", 1), ("a", 5));
        assert_eq!(host_and_port("a", 1), ("a", 1));
        assert_eq!(host_and_port("[::1]", 1), ("[::1]", 1));
        assert_eq!(host_and_port("[::1]:5", 1), ("[::1]", 5));
    }
}
