//! A made-up container, and what an Engine says of it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// A container of the [fake Engine](crate::fake_engine::FakeEngine).
#[derive(Debug, Clone)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading `/`.
    pub name: String,
    /// As it was named when the container was created.
    pub image: String,
    /// Keys and values.
    pub labels: Vec<(String, String)>,
    /// As in `/containers/json`, such as `exited`.
    pub state: &'static str,
    /// The exit code of the last run.
    pub code: i64,
    /// Why a start failed.
    pub error: String,
    /// Whether the kernel killed it for its memory.
    pub oom_killed: bool,
    /// When the last run started.
    pub started_at: Option<Timestamp>,
    /// When the last run that is over ended.
    pub finished_at: Option<Timestamp>,
    /// Restarts by the Engine's restart policy.
    pub restart_count: u64,
    /// `--cgroup-parent`, or empty.
    pub cgroup_parent: String,
    /// As in `--restart`, such as `no`.
    pub restart_policy: &'static str,
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
}

impl Container {
    /// One that was never started; `number` makes its id.
    pub fn created(number: u64, name: &str) -> Self {
        Self {
            id: format!("{number:064x}"),
            name: name.to_owned(),
            image: "busybox".to_owned(),
            labels: Vec::new(),
            state: "created",
            code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: None,
            finished_at: None,
            restart_count: 0,
            cgroup_parent: String::new(),
            restart_policy: "no",
            made_at: 1_795_336_857,
        }
    }

    /// One that runs since now.
    pub fn running(number: u64, name: &str) -> Self {
        Self::created(number, name).start()
    }

    /// One that ended just now, after two seconds.
    pub fn exited(number: u64, name: &str, code: i64) -> Self {
        let mut container = Self::running(number, name);
        let two_seconds_ago = Timestamp::now() - SignedDuration::from_secs(2);
        container.started_at = Some(two_seconds_ago);
        container.exit(code)
    }

    /// The same container with this label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Its start, which forgets how the run before ended, but not when.
    pub fn start(mut self) -> Self {
        self.state = "running";
        self.code = 0;
        self.error = String::new();
        self.oom_killed = false;
        self.started_at = Some(Timestamp::now());
        self
    }

    /// Its end, now.
    pub fn exit(mut self, code: i64) -> Self {
        self.state = "exited";
        self.code = code;
        self.finished_at = Some(Timestamp::now());
        self
    }

    /// Its element of `/containers/json`, as long as Docker 28.5 makes it.
    pub fn listed(&self) -> Value {
        json!({
            "Id": self.id,
            "Names": [format!("/{}", self.name)],
            "Image": self.image,
            "ImageID": "sha256:315aa9d82e2161f42a1c5548e91da4017fd4e5665d83bf15aa01f040f4d17054",
            "Command": "/bin/sh -c 'exit 2'",
            "Created": self.made_at,
            "Ports": [],
            "Labels": self.label_map(),
            "State": self.state,
            "Status": self.status(),
            "HostConfig": {"NetworkMode": "none"},
            "NetworkSettings": {"Networks": {"none": {
                "IPAMConfig": null,
                "Links": null,
                "Aliases": null,
                "MacAddress": "",
                "DriverOpts": null,
                "GwPriority": 0,
                "NetworkID": "79a915f011bc65aac906ad21a85d26bcfaf3f8c1459edf255f76042f29c90d50",
                "EndpointID": "",
                "Gateway": "",
                "IPAddress": "",
                "IPPrefixLen": 0,
                "IPv6Gateway": "",
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "DNSNames": null,
            }}},
            "Mounts": [],
        })
    }

    /// The answer to `/containers/{id}/json`.
    pub fn inspect(&self) -> Value {
        let time = |time: Option<Timestamp>| match time {
            Some(time) => time.to_string(),
            None => "0001-01-01T00:00:00Z".to_owned(),
        };
        json!({
            "Id": self.id,
            "Name": format!("/{}", self.name),
            "RestartCount": self.restart_count,
            "State": {
                "Status": self.state,
                "ExitCode": self.code,
                "Error": self.error,
                "OOMKilled": self.oom_killed,
                "StartedAt": time(self.started_at),
                "FinishedAt": time(self.finished_at),
            },
            "Config": {"Image": self.image, "Labels": self.label_map()},
            "HostConfig": {
                "CgroupParent": self.cgroup_parent,
                "RestartPolicy": {"Name": self.restart_policy},
            },
        })
    }

    /// An event of it, as a line of `/events`.
    pub fn event(&self, action: &str, nanos: i128, more: &[(&str, &str)]) -> Value {
        let mut attributes = Map::new();
        for (key, value) in more {
            attributes.insert((*key).to_owned(), Value::String((*value).to_owned()));
        }
        // Labels hide what belongs to the action, but neither image nor name (moby
        // daemon/events.go, LogContainerEventWithAttributes).
        attributes.extend(self.label_map());
        attributes.insert("image".to_owned(), self.image.clone().into());
        attributes.insert("name".to_owned(), self.name.clone().into());
        json!({
            "Type": "container",
            "Action": action,
            "Actor": {"ID": self.id, "Attributes": attributes},
            "scope": "local",
            "time": i64::try_from(nanos / 1_000_000_000).unwrap(),
            "timeNano": i64::try_from(nanos).unwrap(),
        })
    }

    fn label_map(&self) -> Map<String, Value> {
        let pairs = self.labels.iter().cloned();
        pairs
            .map(|(key, value)| (key, Value::String(value)))
            .collect()
    }

    fn status(&self) -> String {
        let ago = |time: Option<Timestamp>| {
            let age = time.map(|time| Timestamp::now().duration_since(time));
            human(age.unwrap_or_default().as_secs())
        };
        match self.state {
            "created" => "Created".to_owned(),
            "running" => format!("Up {}", ago(self.started_at)),
            "paused" => format!("Up {} (Paused)", ago(self.started_at)),
            "restarting" => format!("Restarting ({}) {} ago", self.code, ago(self.finished_at)),
            "dead" => "Dead".to_owned(),
            "removing" => "Removal In Progress".to_owned(),
            _ => format!("Exited ({}) {} ago", self.code, ago(self.finished_at)),
        }
    }
}

/// As docker/go-units writes durations of less than two weeks.
fn human(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{} minutes", seconds / 60),
        3600..5400 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}
