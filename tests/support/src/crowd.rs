//! Very many stopped containers, as on a host where nobody ever removes one: for the benchmarks and
//! the load example.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use crate::container::Container;

/// The exit codes that there are, most of them good.
const CODES: [i64; 8] = [0, 1, 0, 137, 0, 2, 143, 0];

const SERVICES: [&str; 5] = ["web", "worker", "migrate", "report", "importer"];

/// So many projects of [`SERVICES`] there are: more containers are more of the same services.
const PROJECTS: u64 = 20;

/// So many stopped containers, the newest first, as Docker lists them.
pub fn stopped(count: u64) -> impl Iterator<Item = Container> {
    let now = Timestamp::now();
    (0..count).map(move |number| {
        let mut container = container(number);
        // From "3 days ago" to "10 days ago": an age that says nothing new for hours.
        let ago = SignedDuration::from_hours(84);
        let spread = 7 * 24 * 3600 * number / count;
        let ago = ago + SignedDuration::from_secs(i64::try_from(spread).expect("a week"));
        let finished = now - ago;
        let ran = i64::try_from(number % 5000).expect("seconds");
        let started = finished - SignedDuration::from_millis(1000 * ran + 317);
        container.state = "exited";
        container.code = CODES[place(number, CODES.len())];
        container.finished_at = Some(finished);
        container.started_at = Some(started);
        container.made_at = started.as_second();
        container
    })
}

/// One of them, before it was started. Its id is no neighbour of the one with the next number, and
/// its labels are those that Compose gives, and two of one's own.
pub fn container(number: u64) -> Container {
    let service = SERVICES[place(number, SERVICES.len())];
    let services = SERVICES.len() as u64;
    let project = format!("shop-{:02}", number / services % PROJECTS);
    let instance = number / (services * PROJECTS) + 1;
    let mut container = Container::created(number, &format!("{project}-{service}-{instance}"));
    container.id = digits(number);
    container.image = format!("ghcr.io/example/{service}:2.4.{}", number % 10);
    container
        .label("com.docker.compose.config-hash", &digits(instance))
        .label("com.docker.compose.container-number", &instance.to_string())
        .label("com.docker.compose.oneoff", "False")
        .label("com.docker.compose.project", &project)
        .label("com.docker.compose.service", service)
        .label("com.docker.compose.version", "2.40.3")
        .label("com.example.team", "warehouse")
        .label("org.opencontainers.image.version", "2.4.1")
}

/// 64 hexadecimal digits that look like any other 64.
fn digits(number: u64) -> String {
    let part = |part: u64| {
        let mut hasher = DefaultHasher::new();
        (number, part).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    (0..4).map(part).collect()
}

fn place(number: u64, places: usize) -> usize {
    usize::try_from(number).expect("a small number") % places
}
