//! Signals and their names.

/// The names of the signals from 1 on; Linux on x86 and ARM.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The valid signal numbers.
const RANGE: std::ops::RangeInclusive<u8> = 1..=64;
const KILL: u8 = 9;
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// Parses `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3` or `SIGRTMAX-2` (moby `pkg/signal`).
#[must_use]
pub(super) fn parse_signal(text: &str) -> Option<u8> {
    let text = text.trim().to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let number = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        name.parse().ok()
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').and_then(|offset| RTMIN.checked_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').and_then(|offset| RTMAX.checked_sub(offset))
    } else {
        (1..)
            .zip(NAMES)
            .find(|(_, known)| *known == name)
            .map(|it| it.0)
    };
    number.filter(|number| RANGE.contains(number))
}

fn offset(text: &str, sign: char) -> Option<u8> {
    match text.strip_prefix(sign) {
        Some(digits) => digits.parse().ok(),
        None => text.is_empty().then_some(0),
    }
}

/// The name of a signal, such as `SIGKILL` or `SIGRTMIN+3`, if it has one.
#[must_use]
pub fn signal_name(number: u8) -> Option<String> {
    if (RTMIN..=RTMAX).contains(&number) {
        return Some(format!("SIGRTMIN+{}", number - RTMIN));
    }
    let name = NAMES.get(usize::from(number.checked_sub(1)?))?;
    Some(format!("SIG{name}"))
}

/// A set of signals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Signals(u64);

impl Signals {
    /// Adds a signal. An invalid number is ignored.
    pub fn add(&mut self, signal: u8) {
        if RANGE.contains(&signal) {
            self.0 |= 1 << (signal - 1);
        }
    }

    /// Adds all signals of another set.
    pub fn add_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether one of them asks a container with this stop signal to stop: the stop signal itself, or
    /// SIGKILL.
    #[must_use]
    pub fn ask_to_stop(self, stop_signal: u8) -> bool {
        let mut stops = Self::default();
        stops.add(KILL);
        stops.add(stop_signal);
        self.0 & stops.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_parsed() {
        for (text, want) in [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("TERM", Some(15)),
            ("sigquit", Some(3)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-2", Some(62)),
            ("SIGRTMAX-64", None),
            ("SIGRTMIN-1", None),
            ("0", None),
            ("65", None),
            ("256", None),
            ("SIGNOSUCH", None),
            ("", None),
        ] {
            assert_eq!(parse_signal(text), want, "{text}");
        }
    }

    #[test]
    fn which_signals_ask_a_container_to_stop() {
        for (sent, stop_signal, want) in [
            (&[][..], 15, false),
            (&[15], 15, true),
            (&[9], 15, true),
            (&[1], 15, false),
            (&[15], 3, false),
            (&[1, 3], 3, true),
            (&[64], 64, true),
            (&[0, 200], 15, false),
        ] {
            let mut signals = Signals::default();
            for signal in sent {
                signals.add(*signal);
            }
            assert_eq!(signals.ask_to_stop(stop_signal), want, "{sent:?}");
        }
    }
}
