//! node_exporter on each host, and one Prometheus for all, as docs/fleet.md sets it up.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::{Engine, lab_dir, loopback, wait_until};
use crate::support::page;
use crate::support::scene::Running;
use serde_json::Value;

/// Processes, and a folder, that end with the test.
pub struct Monitoring {
    /// The name of the host by the address of its node_exporter.
    hosts: BTreeMap<String, String>,
    address: String,
    _running: Vec<Running>,
    _dir: tempfile::TempDir,
}

/// A program that the lab has unpacked; it does not outlive the test.
fn start(name: &str, arguments: &[String]) -> Running {
    let program = lab_dir().join("debian/usr/bin").join(name);
    Running::of(
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments),
    )
}

fn exporter(engine: &Engine, address: &str) -> Running {
    let folder = engine.metrics();
    start(
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            format!("--collector.textfile.directory={}", folder.display()),
            format!("--web.listen-address={address}"),
            "--log.level=error".to_owned(),
        ],
    )
}

fn prometheus(dir: &Path, settings: &str, address: &str) -> Running {
    fs::write(dir.join("prometheus.yml"), settings).expect("its settings");
    let rules = "secateur.rules.yml";
    fs::copy(page::file("config/prometheus").join(rules), dir.join(rules)).expect("the alerts");
    start(
        "prometheus",
        &[
            format!("--config.file={}/prometheus.yml", dir.display()),
            format!("--storage.tsdb.path={}/data", dir.display()),
            format!("--web.listen-address={address}"),
            "--log.level=error".to_owned(),
        ],
    )
}

impl Monitoring {
    pub fn of(hosts: [(&str, &Engine); 3]) -> Monitoring {
        let dir = tempfile::tempdir().expect("a folder");
        let block = &page::of("fleet.md", "What the hosts say", "yaml")[0].text;
        let mut settings = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n{block}"
        );
        let mut named = BTreeMap::new();
        let mut running = Vec::new();
        for (name, engine) in hosts {
            let address = format!("{}:9100", loopback());
            running.push(exporter(engine, &address));
            let target = format!("{name}:9100");
            assert!(settings.contains(&target), "{settings}");
            settings = settings.replace(&target, &address);
            named.insert(address, name.to_owned());
        }
        let address = format!("{}:9090", loopback());
        running.push(prometheus(dir.path(), &settings, &address));
        Monitoring {
            hosts: named,
            address,
            _running: running,
            _dir: dir,
        }
    }

    /// What Prometheus answers now, for each host.
    fn answer(&self, query: &str) -> Option<BTreeMap<String, f64>> {
        let curl = Command::new("curl")
            .args(["--silent", "--fail", "--get", "--data-urlencode"])
            .arg(format!("query={query}"))
            .arg(format!("http://{}/api/v1/query", self.address))
            .output()
            .expect("curl");
        let answer: Value = serde_json::from_slice(&curl.stdout).ok()?;
        let number = |series: &Value| {
            let host = self.hosts[series["metric"]["instance"].as_str()?].clone();
            Some((host, series["value"][1].as_str()?.parse().ok()?))
        };
        let all = answer["data"]["result"].as_array()?.iter();
        all.map(number).collect()
    }

    /// Waits until the answer to the query names these hosts, and no others.
    #[track_caller]
    pub fn tells(&self, query: &str, hosts: &[&str]) {
        wait_until(&format!("{query} is so on {hosts:?}"), || {
            self.answer(query)?.keys().eq(hosts).then_some(())
        });
    }

    /// The answer to the query, for each host.
    pub fn numbers(&self, query: &str) -> BTreeMap<String, f64> {
        self.answer(query).expect("an answer")
    }
}
