//! Exit codes and reasons in words.

use std::borrow::Cow;

use crate::engine::signal_name;
use crate::reason::Reason;

/// The meaning of an exit code by the conventions of Docker and of shells: 137 is "SIGKILL".
#[must_use]
pub fn meaning(code: i64) -> Cow<'static, str> {
    Cow::Borrowed(match code {
        0 => "success",
        125 => "Docker could not run it",
        126 => "command cannot be executed",
        127 => "command not found",
        129..=192 => {
            let number = u8::try_from(code - 128).unwrap_or_default();
            let name = signal_name(number);
            return Cow::Owned(name.unwrap_or_else(|| format!("signal {number}")));
        }
        255 => "error, or not known",
        _ => "error",
    })
}

/// A reason in words: `oom killed`.
pub(super) fn words(reason: Reason) -> String {
    reason.name().replace('_', " ")
}

/// The reason in words, with the meaning of the code if that adds something: `oom killed, SIGKILL`.
pub(super) fn explain(code: Option<i64>, reason: Reason) -> String {
    let meaning = code.map_or("".into(), meaning);
    match (reason, code) {
        (Reason::Error, Some(_)) => meaning.into_owned(),
        (_, Some(125..=127 | 129..=192)) => format!("{}, {meaning}", words(reason)),
        _ => words(reason),
    }
}

/// The code and its explanation as HTML: `<b>137</b> oom killed, SIGKILL`.
pub(super) fn code_and_reason(code: Option<i64>, reason: Reason) -> String {
    let number = code.map(|code| code.to_string()).unwrap_or_default();
    format!("<b>{number}</b> {}", explain(code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        use Reason::{Completed, Error, OomKilled, Signaled, StartFailed, Stopped, Unhealthy};
        for (code, reason, want) in [
            (Some(0), Completed, "completed"),
            (Some(3), Completed, "completed"),
            (Some(143), Completed, "completed, SIGTERM"),
            (Some(1), Error, "error"),
            (Some(127), Error, "command not found"),
            (Some(137), Signaled, "signaled, SIGKILL"),
            (Some(137), OomKilled, "oom killed, SIGKILL"),
            (Some(1), OomKilled, "oom killed"),
            (Some(0), Stopped, "stopped"),
            (Some(137), Unhealthy, "unhealthy, SIGKILL"),
            (Some(128), StartFailed, "start failed"),
            (Some(127), StartFailed, "start failed, command not found"),
            (None, StartFailed, "start failed"),
        ] {
            assert_eq!(explain(code, reason), want, "{code:?} {reason:?}");
        }
    }

    #[test]
    fn meanings() {
        for (code, want) in [
            (0, "success"),
            (1, "error"),
            (2, "error"),
            (124, "error"),
            (125, "Docker could not run it"),
            (126, "command cannot be executed"),
            (127, "command not found"),
            (128, "error"),
            (129, "SIGHUP"),
            (130, "SIGINT"),
            (131, "SIGQUIT"),
            (132, "SIGILL"),
            (133, "SIGTRAP"),
            (134, "SIGABRT"),
            (135, "SIGBUS"),
            (136, "SIGFPE"),
            (137, "SIGKILL"),
            (138, "SIGUSR1"),
            (139, "SIGSEGV"),
            (140, "SIGUSR2"),
            (141, "SIGPIPE"),
            (142, "SIGALRM"),
            (143, "SIGTERM"),
            (159, "SIGSYS"),
            (160, "signal 32"),
            (161, "signal 33"),
            (162, "SIGRTMIN+0"),
            (165, "SIGRTMIN+3"),
            (192, "SIGRTMIN+30"),
            (193, "error"),
            (255, "error, or not known"),
            (256, "error"),
            (-1, "error"),
            (3_221_225_786, "error"),
            (i64::MAX, "error"),
            (i64::MIN, "error"),
        ] {
            assert_eq!(meaning(code), want, "{code}");
        }
    }
}
