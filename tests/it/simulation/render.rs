//! What an Engine writes: JSON as in the recordings, with the fields that matter.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::dice::{Nanos, SECOND};
use super::history::{Flavour, History, Policy, Spec};
use super::world::{Event, Kind, State, View, World};

/// The Engine's time of day at the exporter's start.
const START: i64 = 1_795_336_800;
const NEVER: &str = "0001-01-01T00:00:00Z";
const IMAGE_ID: &str = "sha256:315aa9d82e2161f42a1c5548e91da4017fd4e5665d83bf15aa01f040f4d17054";

/// The time of day by the Engine's clock.
pub(crate) fn timestamp(at: Nanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(START) * 1_000_000_000 + i128::from(at))
        .expect("a time of this century")
}

/// The opposite of [`timestamp`].
pub(crate) fn nanos(time: Timestamp) -> Nanos {
    let nanos = time.as_nanosecond() - i128::from(START) * 1_000_000_000;
    let bound = i128::from(Nanos::MAX / 4);
    i64::try_from(nanos.clamp(-bound, bound)).unwrap_or_default()
}

/// The Engine's time of day in whole seconds, as in the header `Date`.
pub(crate) fn date(at: Nanos) -> Timestamp {
    let second = START + at.div_euclid(SECOND);
    Timestamp::from_second(second).expect("a time of this century")
}

pub(crate) fn name(container: usize, renamed: u32) -> String {
    match renamed {
        0 => format!("c{container}"),
        times => format!("c{container}-{times}"),
    }
}

/// As docker/go-units writes it.
pub(crate) fn human(nanos: Nanos) -> String {
    let seconds = nanos.max(0) / SECOND;
    let minutes = seconds / 60;
    // Hours are rounded.
    let hours = (seconds + 1800) / 3600;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

/// The text `Status` of a listing.
pub(crate) fn status(view: &View, spec: &Spec, now: Nanos) -> String {
    let ago = |time: Option<Nanos>| human(now - time.unwrap_or(now));
    match view.state {
        State::Absent => String::new(),
        State::Created => "Created".to_owned(),
        State::Paused => format!("Up {} (Paused)", ago(view.started)),
        State::Running => {
            let up = ago(view.started);
            match (spec.health, view.unhealthy) {
                (false, _) => format!("Up {up}"),
                (true, true) => format!("Up {up} (unhealthy)"),
                (true, false) => format!("Up {up} (healthy)"),
            }
        }
        State::Restarting => format!("Restarting ({}) {} ago", view.code, ago(view.finished)),
        State::Exited => format!("Exited ({}) {} ago", view.code, ago(view.finished)),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Absent => "",
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Restarting => "restarting",
        State::Exited => "exited",
    }
}

fn push_labels(text: &mut String, spec: &Spec) {
    text.push('{');
    for (number, (key, value)) in spec.labels.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(text, r#"{comma}"{key}":"{value}""#);
    }
    text.push('}');
}

/// `/containers/json?all=1`: the state of things at `shown`, as it is told at `now`, without some
/// containers.
pub(crate) fn listing(
    world: &World,
    history: &History,
    unlisted: &[usize],
    shown: Nanos,
    now: Nanos,
) -> String {
    let mut text = String::with_capacity(400 * world.containers.len() + 2);
    let mut all: Vec<_> = world.containers.iter().enumerate().collect();
    // Docker has the newest first, Podman last.
    all.sort_by_key(|(_, seen)| seen.created);
    if history.setting.flavour != Flavour::Podman {
        all.reverse();
    }
    text.push('[');
    for (number, seen) in all {
        let view = seen.listed(shown);
        if view.state == State::Absent || unlisted.contains(&number) {
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        let spec = &history.specs[number];
        let image = if spec.tag_moved { IMAGE_ID } else { spec.image };
        let _ = write!(
            text,
            r#"{{"Id":"{}","Names":["/{}"],"Image":"{image}","ImageID":"{IMAGE_ID}","Command":"/bin/sh","Created":{},"Ports":[],"Labels":"#,
            seen.id,
            name(number, view.renamed),
            START + seen.created.div_euclid(SECOND),
        );
        push_labels(&mut text, spec);
        let _ = write!(
            text,
            r#","State":"{}","Status":"{}","HostConfig":{{"NetworkMode":"none"}},"Mounts":[]}}"#,
            word(view.state),
            status(&view, spec, now),
        );
    }
    text.push(']');
    text
}

/// `/containers/{id}/json`
pub(crate) fn inspect(world: &World, history: &History, number: usize, view: &View) -> String {
    let spec = &history.specs[number];
    let seen = &world.containers[number];
    let time =
        |at: Option<Nanos>| at.map_or_else(|| NEVER.to_owned(), |at| timestamp(at).to_string());
    let is = |state| view.state == state;
    let mut text = String::with_capacity(1024);
    let _ = write!(
        text,
        r#"{{"Id":"{}","Created":"{}","Path":"/bin/sh","State":{{"Status":"{}","Running":{},"Paused":{},"Restarting":{},"OOMKilled":{},"Dead":false,"Pid":0,"ExitCode":{},"Error":"{}","StartedAt":"{}","FinishedAt":"{}""#,
        seen.id,
        time(Some(seen.created)),
        word(view.state),
        view.runs() || is(State::Restarting),
        is(State::Paused),
        is(State::Restarting),
        view.oom,
        view.code,
        view.error,
        time(view.started),
        time(view.finished),
    );
    if spec.health {
        // Docker calls every container unhealthy whose health checks it has ended.
        let health = if view.unhealthy || !view.runs() {
            "unhealthy"
        } else {
            "healthy"
        };
        let failed_checks = if view.unhealthy { 3 } else { 0 };
        let _ = write!(
            text,
            r#","Health":{{"Status":"{health}","FailingStreak":{failed_checks},"Log":[]}}"#
        );
    }
    let (policy, most) = match spec.policy {
        Policy::No => ("no", 0),
        Policy::Always => ("always", 0),
        Policy::UnlessStopped => ("unless-stopped", 0),
        Policy::OnFailure(most) => ("on-failure", most),
    };
    let _ = write!(
        text,
        r#"}},"Image":"{IMAGE_ID}","Name":"/{}","RestartCount":{},"HostConfig":{{"RestartPolicy":{{"Name":"{policy}","MaximumRetryCount":{most}}},"AutoRemove":{},"CgroupParent":""}},"Config":{{"Image":"{}""#,
        name(number, view.renamed),
        view.restarts,
        spec.rm,
        spec.image,
    );
    if let Some((signal, _)) = spec.stop_signal {
        let _ = write!(text, r#","StopSignal":"{signal}""#);
    }
    text.push_str(r#","Labels":"#);
    push_labels(&mut text, spec);
    text.push_str("}}");
    text
}

/// One line of `/events`.
pub(crate) fn line(world: &World, history: &History, event: &Event, text: &mut String) {
    let flavour = history.setting.flavour;
    let podman = flavour == Flavour::Podman;
    let Some((kind, action)) = event.kind.words(flavour) else {
        return;
    };
    let id = &world.containers[event.container].id;
    let (seconds, nanos) = {
        let second = START + event.at.div_euclid(SECOND);
        (second, second * SECOND + event.at.rem_euclid(SECOND))
    };
    if kind == "network" {
        let _ = writeln!(
            text,
            r#"{{"Type":"network","Action":"{action}","Actor":{{"ID":"e8f7e5e9f62b24ae8396eedb244cc83021ec5012b327bd42742e6f04dc84c7ca","Attributes":{{"container":"{id}","name":"bridge","type":"bridge"}}}},"scope":"local","time":{seconds},"timeNano":{nanos}}}"#
        );
        return;
    }
    let spec = &history.specs[event.container];
    let _ = write!(
        text,
        r#"{{"status":"{action}","id":"{id}","from":"{}","Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":"#,
        spec.image
    );
    // What comes later replaces what came before: with Docker the labels hide what belongs to the
    // action, but not name and image (moby daemon/events.go).
    let mut attributes: Vec<(&str, String)> = Vec::with_capacity(8);
    let mut put = |key, value: String| {
        attributes.retain(|(it, _)| *it != key);
        attributes.push((key, value));
    };
    if podman {
        spec.labels
            .iter()
            .for_each(|(key, value)| put(key, value.clone()));
    }
    match event.kind {
        Kind::Die(code, ran) => {
            put("exitCode", code.to_string());
            match flavour {
                Flavour::Podman => put("containerExitCode", code.to_string()),
                Flavour::Docker => put("execDuration", ran.to_string()),
                Flavour::Docker20 => {}
            }
        }
        Kind::Destroy(code) if podman => put("containerExitCode", code.to_string()),
        Kind::Kill(signal) if !podman => put("signal", signal.to_string()),
        Kind::Rename => {
            let before = name(event.container, event.renamed.saturating_sub(1));
            put("oldName", before);
        }
        Kind::Exec => put("execID", "a35d9e01".to_owned()),
        _ => {}
    }
    if podman {
        put("podId", String::new());
    } else {
        spec.labels
            .iter()
            .for_each(|(key, value)| put(key, value.clone()));
    }
    put("image", spec.image.to_owned());
    put("name", name(event.container, event.renamed));
    attributes.sort_unstable();
    for (number, (key, value)) in attributes.iter().enumerate() {
        let start = if number == 0 { '{' } else { ',' };
        let _ = write!(text, r#"{start}"{key}":"{value}""#);
    }
    let _ = writeln!(
        text,
        r#"}}}},"scope":"local","time":{seconds},"timeNano":{nanos}}}"#
    );
}
