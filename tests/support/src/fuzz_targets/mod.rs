//! What must hold of everything that reads what a peer sends, whatever the peer sends: one function
//! for each, which panics where it does not.
//!
//! `tests/it/fuzz.rs` tries them on recordings, on the cases in `fixtures/fuzz`, and on what becomes of
//! both by chance; `fuzz/` lets libFuzzer search.

mod body;
mod dice;
mod events;
mod head;
mod inspect;
mod json;
mod listing;
mod request;
mod status;
mod wire;

pub use body::body;
pub use dice::Dice;
pub use events::events;
pub use head::head;
pub use inspect::inspect;
pub use listing::listing;
pub use request::request;
pub use status::status;

/// A decimal number with a sign or without, read digit by digit.
fn integer<T: TryFrom<i128>>(text: &str) -> Option<T> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: i128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Far enough for every type that is asked for.
        number = (number * 10 + i128::from(digit - b'0')).min(1 << 100);
    }
    T::try_from(sign * number).ok()
}
