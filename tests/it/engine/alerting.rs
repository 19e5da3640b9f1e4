//! What the stories of the alerts share: the rules in a hurry, what fires, and the commands that the alerts name.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::dockerd::both;
use crate::support::prometheus::Prometheus;
use crate::support::waiting::{PATIENCE, eventually};

const RULES: &str = include_str!("../../../deploy/alerts.yml");

/// So many times faster than in production everything happens in [`hasty_rules`]. Not more: Docker waits for up to 10 s
/// before a restart is no longer a quick one, and what is five minutes there must be longer than that.
const HASTE: f64 = 20.0;

/// Of each alert that fires, by its name and by what it is about, since when.
pub(crate) type Firing = BTreeMap<(String, String), String>;

/// The alerts that are asked for: their names, and what they are about.
pub(crate) type Wanted<'a> = &'a [(&'a str, &'a str)];

/// The rules of `deploy/alerts.yml`, with every duration a twentieth: the ranges, the `for`, and the ages that a
/// timestamp is compared with.
pub(crate) fn hasty_rules() -> String {
    let mut changed = [0; 3];
    let lines = RULES.lines().map(|line| {
        let line = hasten_key(line, &mut changed[0]);
        let line = hasten_ranges(&line, &mut changed[1]);
        hasten_ages(&line, &mut changed[2]) + "\n"
    });
    let hasty = lines.collect();
    assert!(
        changed.iter().all(|count| *count >= 3),
        "{changed:?} in {hasty}"
    );
    hasty
}

/// As in `for: 5m`.
fn hasten_key(line: &str, changed: &mut usize) -> String {
    for key in ["for: ", "interval: "] {
        if let Some((before, duration)) = line.split_once(key) {
            if let Some(duration) = shorter(duration) {
                *changed += 1;
                return format!("{before}{key}{duration}");
            }
        }
    }
    line.to_owned()
}

/// As in `[15m]`.
fn hasten_ranges(line: &str, changed: &mut usize) -> String {
    let mut pieces = line.split('[');
    let mut hasty = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let range = piece.split_once(']');
        let range = range.and_then(|(range, rest)| Some((shorter(range)?, rest)));
        hasty += "[";
        match range {
            Some((range, rest)) => {
                *changed += 1;
                hasty += &format!("{range}]{rest}");
            }
            None => hasty += piece,
        }
    }
    hasty
}

/// As in `time() - 120`. Less than a minute is no age, but what is tolerated.
fn hasten_ages(line: &str, changed: &mut usize) -> String {
    const MINUS: &str = " - ";
    let mut pieces = line.split(MINUS);
    let mut hasty = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit());
        let (age, rest) = piece.split_at(end.unwrap_or(piece.len()));
        hasty += MINUS;
        match age.parse::<f64>() {
            Ok(age) if age >= 60.0 => {
                *changed += 1;
                hasty += &format!("{}{rest}", age / HASTE);
            }
            _ => hasty += piece,
        }
    }
    hasty
}

/// The duration as it is in the hasty rules, if it is one.
fn shorter(duration: &str) -> Option<String> {
    const UNITS: [(&str, f64); 5] = [
        ("ms", 1.0),
        ("s", 1e3),
        ("m", 6e4),
        ("h", 3.6e6),
        ("d", 8.64e7),
    ];
    let digits = duration.find(|c: char| !c.is_ascii_digit())?;
    let count: f64 = duration[..digits].parse().ok()?;
    let (_, unit) = UNITS
        .iter()
        .find(|(unit, _)| *unit == &duration[digits..])?;
    Some(format!("{:.0}ms", count * unit / HASTE))
}

/// What fires now. Each of them must say what it has to say.
pub(crate) fn firing(prometheus: &Prometheus) -> Result<Firing, String> {
    let alerts = prometheus.alerts()?;
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    Ok(firing
        .map(|alert| {
            for text in ["summary", "description", "runbook"] {
                let text = alert["annotations"][text].as_str().unwrap_or("");
                assert!(
                    !text.is_empty()
                        && !text.contains("error expanding")
                        && !text.contains("<no value>"),
                    "{alert}"
                );
            }
            let since = alert["activeAt"].as_str().unwrap().to_owned();
            (about(&alert["labels"]), since)
        })
        .collect())
}

/// The alert's name, and what it is about: a service, a container, an image or a host.
fn about(labels: &Value) -> (String, String) {
    const ABOUT: [&str; 5] = [
        "container_label_com_docker_swarm_service_name",
        "name",
        "container_label_com_docker_compose_service",
        "image",
        "instance",
    ];
    let label = |name: &&str| labels[*name].as_str();
    let about = ABOUT.iter().find_map(label).unwrap_or_default();
    (label(&"alertname").unwrap().to_owned(), about.to_owned())
}

/// Waits until just these fire; since when each of them does.
pub(crate) fn until_firing(prometheus: &Prometheus, what: &str, wanted: Wanted) -> Firing {
    prometheus.until(what, |prometheus| {
        let now = firing(prometheus)?;
        if are(&now, wanted) {
            println!("{what}: {now:#?}");
            Ok(now)
        } else {
            Err(format!("there should fire {wanted:?}, there fire {now:?}"))
        }
    })
}

/// Whether just these fired at any time since the start of Prometheus.
pub(crate) fn have_fired(prometheus: &Prometheus, wanted: Wanted) {
    let query = "max_over_time(ALERTS{alertstate=\"firing\"}[1h])";
    let ever = prometheus.query(query).unwrap();
    let ever: Firing = ever
        .iter()
        .map(|series| (about(&series["metric"]), series["metric"].to_string()))
        .collect();
    assert!(
        are(&ever, wanted),
        "wanted {wanted:?}, there fired {ever:#?}"
    );
}

fn are(firing: &Firing, wanted: Wanted) -> bool {
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|(alert, about)| ((*alert).to_owned(), (*about).to_owned()))
        .collect();
    wanted.sort();
    firing.keys().eq(&wanted)
}

/// What time it is for Prometheus, in seconds.
pub(crate) fn now(prometheus: &Prometheus) -> f64 {
    let now = prometheus.query("vector(time())").unwrap();
    crate::support::prometheus::value(&now[0])
}

/// Waits for so long, in seconds of production, that whatever is wrong had its time to fire.
pub(crate) fn let_pass(prometheus: &Prometheus, seconds: f64) {
    let end = now(prometheus) + seconds / HASTE;
    prometheus.until("time goes by", |prometheus| match now(prometheus) {
        now if now > end => Ok(()),
        now => Err(format!("{now}")),
    });
}

/// The commands of Docker's client that the runbook of each alert which fires has between back quotes, with the labels
/// of that alert.
pub(crate) fn commands(prometheus: &Prometheus) -> Vec<(Value, String)> {
    let mut commands = Vec::new();
    for alert in prometheus.alerts().unwrap() {
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        for command in docker_commands(runbook) {
            commands.push((alert["labels"].clone(), command.to_owned()));
        }
    }
    commands
}

/// The commands of all runbooks that are complete without an alert's labels.
pub(crate) fn common_commands() -> Vec<String> {
    let lines = RULES
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let text: String = lines.collect();
    let complete = docker_commands(&text).filter(|command| !command.contains("{{"));
    complete.map(str::to_owned).collect()
}

/// What a text has between back quotes that is a command of Docker's client.
pub(crate) fn docker_commands(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|it| it.starts_with("docker "))
}

/// Runs a command as an operator does, by a shell, on the host whose Docker has this URL; it must succeed and print
/// something besides a table's head. Not at once: `docker service logs` fails when a task is removed meanwhile.
pub(crate) fn must_work(docker_host: &str, command: &str) {
    let works = eventually(PATIENCE, || {
        let output = Command::new("sh")
            .args(["-c", command])
            .env("DOCKER_HOST", docker_host)
            .stdin(Stdio::null())
            .output()
            .expect("there should be a shell");
        let said = both(&output);
        let mut lines = said.lines().filter(|line| !line.trim().is_empty());
        let is_head = |line: &str| line.starts_with("CONTAINER ID ") || line.starts_with("ID ");
        if output.status.success() && lines.any(|line| !is_head(line)) {
            println!("{command}: {} lines", said.lines().count());
            Ok(())
        } else {
            Err(format!("{}\n{said}", output.status))
        }
    });
    works.unwrap_or_else(|why| panic!("{command}: {why}"));
}
