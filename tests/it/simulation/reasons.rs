//! Which reasons are right for a run, by the evidence that came.

use super::history::{Flavour, History, Policy};
use super::truth::Run;

const SIGTERM: u8 = 15;

fn of_code(code: i64, oom: bool) -> &'static str {
    match code {
        0 => "completed",
        _ if oom => "oom_killed",
        129..=192 => "signaled",
        _ => "error",
    }
}

/// The reasons that are right. `came` tells whether an event with this number came.
pub(crate) fn allowed(
    run: &Run,
    history: &History,
    came: &dyn Fn(usize) -> bool,
) -> Vec<&'static str> {
    let Some(end) = run.end else {
        return Vec::new();
    };
    if run.failed.is_some() {
        // A listing has the code alone, and no word of whose it is.
        return if history.setting.refuses_inspects {
            vec!["start_failed", "stopped", of_code(end.code, false)]
        } else {
            vec!["start_failed"]
        };
    }
    let podman = history.setting.flavour == Flavour::Podman;
    let spec = &history.specs[run.container];
    let refused = history.setting.refuses_inspects;
    let plain = |reasons: &mut Vec<_>| {
        // The flag may have been seen or not; the event was.
        let told = run.ooms.iter().any(|event| came(*event));
        let must = told || (run.oom && end.hidden.is_none() && !refused);
        if run.oom || told {
            reasons.push(of_code(end.code, true));
        }
        if !must {
            reasons.push(of_code(end.code, false));
        }
    };
    let mut reasons = Vec::new();
    if run.kills.is_empty() {
        plain(&mut reasons);
        if run.other_signals && spec.label("signal").is_some() {
            // The event may have lied of another signal that would explain this code.
            let signal = i64::from(spec.stop_signal.map_or(SIGTERM, |(_, number)| number));
            // And so may the `stop` event of a restart that was called off before the start.
            let called_off = end.shown < 0 && spec.policy != Policy::No;
            if end.code == 128 + signal || end.code == 137 || called_off {
                reasons.push(match run.unhealthy {
                    Some(_) => "unhealthy",
                    None => "stopped",
                });
            }
        }
        return reasons;
    }
    let stop = i64::from(spec.stop_signal.map_or(SIGTERM, |(_, number)| number));
    let fits = end.code == 128 + stop || end.code == 137;
    let hidden = spec.label("signal").is_some() && !podman;
    let unknown_signal = spec.stop_signal.is_some() && (refused || end.hidden.is_some());
    let known = run.kills.iter().any(|event| came(*event));
    // Podman does not say which signal it was. A label may hide it, and so may a stop signal that no
    // inspect has told.
    let is_sure = known && !podman && (!hidden || fits) && !unknown_signal;
    reasons.push("stopped");
    if !is_sure {
        plain(&mut reasons);
    }
    if let Some(event) = run.unhealthy {
        let told = came(event) || (end.hidden.is_none() && !refused);
        reasons.push("unhealthy");
        if told && is_sure && !podman {
            return vec!["unhealthy"];
        }
    }
    reasons
}
