//! The Engine's events as a client of their own sees them, without a line of the exporter's code: what it counts is
//! compared with this.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::dockerd::Engine;
use crate::support::waiting::{PATIENCE, eventually};

/// An event of a container.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) action: String,
    pub(crate) id: String,
    /// When, in nanoseconds since 1970.
    pub(crate) nanos: u64,
    attributes: Value,
}

impl Event {
    /// What the Engine says of the container: its labels, name and image too.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes[name].as_str().unwrap_or_default()
    }
}

/// Follows the events of one daemon, until it ends.
pub(crate) struct EventLog {
    events: Arc<Mutex<Vec<Event>>>,
    follower: thread::JoinHandle<()>,
}

impl EventLog {
    /// From what the daemon remembers on.
    pub(crate) fn follow(engine: &Engine) -> Self {
        let mut stream = UnixStream::connect(engine.socket()).unwrap();
        // Of 1.0, so that the answer has no chunks; a time, so that nothing falls between the answer's head and the
        // subscription.
        stream
            .write_all(b"GET /events?since=1 HTTP/1.0\r\nHost: docker\r\n\r\n")
            .unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let follower = thread::spawn(move || {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            let events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
            for event in events.filter(|event| event["Type"] == "container") {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                log.lock().unwrap().push(Event {
                    action: text(&event["Action"]),
                    id: text(&event["Actor"]["ID"]),
                    nanos: event["timeNano"].as_u64().unwrap(),
                    attributes: event["Actor"]["Attributes"].clone(),
                });
            }
        });
        Self { events, follower }
    }

    /// All `die` events so far whose attributes have this value.
    pub(crate) fn deaths(&self, attribute: &str, value: &str) -> Vec<Event> {
        let events = self.events.lock().unwrap();
        let deaths = events.iter().filter(|event| event.action == "die");
        deaths
            .filter(|event| event.attribute(attribute) == value)
            .cloned()
            .collect()
    }

    /// Waits for that many of them.
    pub(crate) fn until_deaths(&self, attribute: &str, value: &str, wanted: usize) -> Vec<Event> {
        let seen = eventually(PATIENCE, || {
            let deaths = self.deaths(attribute, value);
            if deaths.len() >= wanted {
                Ok(deaths)
            } else {
                Err(format!("{} of {wanted}: {deaths:?}", deaths.len()))
            }
        });
        seen.unwrap_or_else(|why| panic!("deaths of {attribute} {value}: {why}"))
    }

    /// Waits until the container of this name is removed.
    pub(crate) fn until_removed(&self, name: &str) {
        let removed = eventually(PATIENCE, || {
            let events = self.events.lock().unwrap();
            let mut removals = events.iter().filter(|event| event.action == "destroy");
            if removals.any(|event| event.attribute("name") == name) {
                return Ok(());
            }
            Err(format!("{name} is not removed"))
        });
        removed.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Waits for the end of the daemon.
    pub(crate) fn until_end(&self) {
        let ended = eventually(PATIENCE, || {
            if self.follower.is_finished() {
                return Ok(());
            }
            Err("the Engine's events go on".to_owned())
        });
        ended.unwrap_or_else(|why| panic!("{why}"));
    }
}
