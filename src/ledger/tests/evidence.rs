//! Tables of evidence: each run is counted once or lost once, in whatever order it is shown.

use serde_json::json;

use super::support::{TestHost, inspect, listed, web_event};
use crate::ledger::{EventFeed, InspectFailure};

/// A piece of evidence of the container `web`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Evidence {
    /// An event made at this second. `die` has this exit code, `kill` this signal.
    Event(&'static str, i64, i64),
    /// A listing with this state and status.
    Listed(&'static str, &'static str),
    /// A listing without the container.
    Missing,
    /// An inspect with this state and code, of a run between these seconds.
    Inspect(&'static str, i64, i64, i64),
    /// The same with an error, of a failed start.
    FailedStart(&'static str, i64, i64, i64),
    /// An inspect that fails.
    NoInspect(InspectFailure),
}

/// The code of a `die` event that a Docker label hides.
pub(super) const NO_CODE: i64 = -1;

impl TestHost {
    pub(super) fn apply(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Event(action, second, code) => {
                let more = match action {
                    "die" if code == NO_CODE => json!({"exitCode": "a label's"}),
                    "die" => json!({"exitCode": code.to_string()}),
                    "kill" => json!({"signal": code.to_string()}),
                    _ => json!({}),
                };
                let now = self.time();
                self.ledger
                    .apply_event(&web_event(action, second, &more), now);
            }
            Evidence::Listed(state, status) => {
                self.list(&[listed(state, status)]);
            }
            Evidence::Missing => {
                self.list(&[]);
            }
            Evidence::Inspect(state, code, started, finished) => {
                self.inspect("c1", &inspect(state, code, started, finished));
            }
            Evidence::FailedStart(state, code, started, finished) => {
                let mut inspect = inspect(state, code, started, finished);
                inspect["State"]["Error"] = "not a directory".into();
                self.inspect("c1", &inspect);
            }
            Evidence::NoInspect(why) => {
                self.inspect_fails("c1", why);
            }
        }
    }
}

/// What it is; the evidence, each with the second at which it comes; what is reported in the end;
/// how many runs are lost; what is shown.
pub(super) type Case = (
    &'static str,
    &'static [(i64, Evidence)],
    &'static [&'static str],
    u64,
    &'static str,
);

pub(super) fn each_run_counts_once(cases: &[Case]) {
    for (what, evidence, reported, lost, shown) in cases {
        let mut host = TestHost::new();
        host.now = 0;
        host.list(&[]);
        for (now, evidence) in *evidence {
            host.now = *now;
            host.apply(*evidence);
        }
        host.now += 150;
        let reports = host.reports(EventFeed::Live);
        assert_eq!(reports, *reported, "{what}: reported");
        assert_eq!(host.ledger.lost(), *lost, "{what}: lost");
        assert!(host.ledger.report_at().is_none(), "{what}: waits");
        let all = [host.exits(), host.last_exits()].concat();
        assert_eq!(all.join(" "), *shown, "{what}: shown");
    }
}
