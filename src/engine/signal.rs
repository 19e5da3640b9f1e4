//! Signals, as the Engine names them.

/// Names of the signals that have one, by number; Linux on x86 and ARM.
const NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The numbers that a signal can have.
const RANGE: std::ops::RangeInclusive<u8> = 1..=64;
const KILL: u8 = 9;
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// The number of a signal given as `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3` or `SIGRTMAX-2` (moby
/// `pkg/signal`).
#[must_use]
pub(super) fn number(text: &str) -> Option<u8> {
    let text = text.trim().to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let number = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        name.parse().ok()
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').and_then(|offset| RTMIN.checked_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').and_then(|offset| RTMAX.checked_sub(offset))
    } else {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| *number)
    };
    number.filter(|number| RANGE.contains(number))
}

fn offset(text: &str, sign: char) -> Option<u8> {
    match text.strip_prefix(sign) {
        Some(digits) => digits.parse().ok(),
        None => text.is_empty().then_some(0),
    }
}

/// The name of a signal, as in `SIGKILL` and `SIGRTMIN+3`; `None` of a number that has none.
#[must_use]
pub fn signal_name(number: u8) -> Option<String> {
    if (RTMIN..=RTMAX).contains(&number) {
        return Some(format!("SIGRTMIN+{}", number - RTMIN));
    }
    let found = NAMES.iter().find(|(_, known)| *known == number);
    found.map(|(name, _)| format!("SIG{name}"))
}

/// A set of signals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Signals(u64);

impl Signals {
    /// Adds one, if it is the number of a signal.
    pub fn add(&mut self, signal: u8) {
        if RANGE.contains(&signal) {
            self.0 |= 1 << (signal - 1);
        }
    }

    /// Adds those of another set.
    pub fn add_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether one of them asks a container to end that is stopped by `stop_signal`. A SIGHUP, say,
    /// asks it to read its settings again.
    #[must_use]
    pub fn ask_for_the_end(self, stop_signal: u8) -> bool {
        let mut ends = Self::default();
        ends.add(KILL);
        ends.add(stop_signal);
        self.0 & ends.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
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
            assert_eq!(number(text), want, "{text}");
        }
    }

    #[test]
    fn what_asks_for_the_end() {
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
            assert_eq!(signals.ask_for_the_end(stop_signal), want, "{sent:?}");
        }
    }
}
