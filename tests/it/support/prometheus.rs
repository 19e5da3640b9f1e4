//! A real Prometheus for tests, and its promtool.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::dockerd::both;
use super::exporter::free_port;
use super::machine::Switch;
use super::waiting::{PATIENCE, eventually};

/// A Prometheus that ends with the test.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    /// The network that it is in, if that is not this machine's.
    network: Option<Arc<Switch>>,
    agent: ureq::Agent,
}

impl Prometheus {
    /// Starts it on a free port of the loopback interface, with its data in that folder, and waits until it has scraped
    /// the exporter on this port. It scrapes each second, and evaluates its rules as often.
    pub(crate) fn start(folder: &Path, exporter: u16, rules: &str) -> Self {
        let prometheus = Self::start_with(
            folder,
            rules,
            &format!(
                "  - job_name: docker-exit-exporter\n    static_configs: [{{targets: [\"127.0.0.1:{exporter}\"]}}]\n"
            ),
        );
        prometheus.until("the first scrape", |prometheus| {
            match prometheus.query("docker_up == 1")?.len() {
                1 => Ok(()),
                hosts => Err(format!("{hosts} hosts are up")),
            }
        });
        prometheus
    }

    /// The same with these entries of `scrape_configs`.
    pub(crate) fn start_with(folder: &Path, rules: &str, jobs: &str) -> Self {
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [alerts.yml]\nscrape_configs:\n{jobs}"
        );
        Self::spawn(Command::new("prometheus"), None, folder, &config, rules)
    }

    /// Starts it in that network, with this configuration, whose rules are in `alerts.yml`.
    pub(crate) fn start_on(
        network: &Arc<Switch>,
        folder: &Path,
        config: &str,
        rules: &str,
    ) -> Self {
        let command = network.command("prometheus");
        Self::spawn(command, Some(network.clone()), folder, config, rules)
    }

    fn spawn(
        mut command: Command,
        network: Option<Arc<Switch>>,
        folder: &Path,
        config: &str,
        rules: &str,
    ) -> Self {
        let folder = folder.join("prometheus");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("alerts.yml"), rules).unwrap();
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let path = |name: &str| folder.join(name).display().to_string();
        let log = File::create(folder.join("log")).unwrap();
        let child = command
            .args(["--config.file", &path("prometheus.yml")])
            .args(["--storage.tsdb.path", &path("data")])
            .args(["--web.listen-address", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("prometheus did not start ({e}): is it installed (Debian: prometheus)?")
            });
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)));
        let prometheus = Self {
            child,
            port,
            network,
            agent: config.build().new_agent(),
        };
        prometheus.until("its start", |prometheus| prometheus.query("vector(1)"));
        prometheus
    }

    /// Asks until `check` is content, and returns what it returned.
    ///
    /// # Panics
    ///
    /// When it was not for a long time: with the last complaint.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut check: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        eventually(PATIENCE, || check(self)).unwrap_or_else(|why| panic!("{what}: {why}"))
    }

    /// The series that a query finds now.
    ///
    /// # Errors
    ///
    /// What Prometheus says of it, if it is wrong.
    pub(crate) fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let mut data = self.ask("query", &[("query", query)])?;
        Ok(list(&mut data, "result"))
    }

    /// The series that a query finds in the last two minutes.
    ///
    /// # Errors
    ///
    /// What Prometheus says of it, if it is wrong.
    pub(crate) fn query_range(&self, query: &str) -> Result<Vec<Value>, String> {
        self.query_steps(query, 1)
    }

    /// The values that a query finds in the last two minutes, at steps of so many seconds: as Grafana asks, at whole
    /// multiples of the step.
    pub(crate) fn bars(&self, query: &str, step: u32) -> Result<Vec<f64>, String> {
        let series = self.query_steps(query, step)?;
        let values = series
            .iter()
            .filter_map(|series| series["values"].as_array());
        let value = |value: &Value| value[1].as_str().unwrap().parse().unwrap();
        Ok(values.flatten().map(value).collect())
    }

    /// The series that a query finds in the last two minutes, at whole multiples of this step.
    fn query_steps(&self, query: &str, step: u32) -> Result<Vec<Value>, String> {
        let now = self.query("vector(time())")?;
        let length = f64::from(step);
        let aligned = |time: f64| ((time / length).floor() * length).to_string();
        let now = value(&now[0]);
        let (start, end) = (aligned(now - 120.0), aligned(now));
        let range = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", &step.to_string()),
        ];
        let mut data = self.ask("query_range", &range)?;
        Ok(list(&mut data, "result"))
    }

    /// The alerts that are pending or firing.
    pub(crate) fn alerts(&self) -> Result<Vec<Value>, String> {
        let mut data = self.ask("alerts", &[])?;
        Ok(list(&mut data, "alerts"))
    }

    /// What it scrapes, and what its relabelling leaves out.
    pub(crate) fn targets(&self) -> Result<(Vec<Value>, Vec<Value>), String> {
        let mut data = self.ask("targets", &[])?;
        Ok((
            list(&mut data, "activeTargets"),
            list(&mut data, "droppedTargets"),
        ))
    }

    /// Asks one of its API's paths; the answer's data.
    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let request = || {
            let request = self.agent.get(url).query_pairs(parameters.iter().copied());
            request
                .call()
                .and_then(|mut answer| answer.body_mut().read_to_string())
        };
        let answer = match &self.network {
            Some(network) => network.enter(request),
            None => request(),
        };
        let answer = answer.map_err(|e| format!("Prometheus does not answer: {e}"))?;
        let mut answer: Value =
            serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(format!("{parameters:?}: {answer}"))
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn list(data: &mut Value, name: &str) -> Vec<Value> {
    let list = data[name].as_array_mut();
    std::mem::take(list.unwrap_or_else(|| panic!("a list {name} is missing")))
}

/// The value of a series that an instant query found.
pub(crate) fn value(series: &Value) -> f64 {
    let text = series["value"][1].as_str();
    text.unwrap_or_else(|| panic!("no value: {series}"))
        .parse()
        .unwrap()
}

/// Runs promtool, which must be content.
pub(crate) fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| {
            panic!("promtool did not start ({e}): is it installed (Debian: prometheus)?")
        });
    let said = both(&output);
    assert!(
        output.status.success() && !said.contains("FAILED"),
        "promtool {arguments:?}: {said}"
    );
}
