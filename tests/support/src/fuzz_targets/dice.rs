//! Choices that hang on a case's bytes.

/// Numbers from the bytes of a case, so that whoever changes the bytes changes the choices; past
/// their end they go on by themselves.
#[derive(Debug, Clone)]
pub struct Dice<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Dice<'a> {
    /// Dice that show what these bytes say.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            state: bytes.len() as u64,
        }
    }

    /// Any number: the next eight bytes, then those of a generator (splitmix64).
    pub fn number(&mut self) -> u64 {
        if let Some((bytes, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            let number = u64::from_le_bytes(*bytes);
            self.state ^= number;
            return number;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any number, with a sign.
    pub fn signed(&mut self) -> i64 {
        i64::from_le_bytes(self.number().to_le_bytes())
    }

    /// A number less than `end`, which is more than 0: the next byte, then as [`Dice::number`].
    pub fn below(&mut self, end: usize) -> usize {
        if let [byte, rest @ ..] = self.bytes {
            self.bytes = rest;
            self.state = self.state.rotate_left(8) ^ u64::from(*byte);
            return usize::from(*byte) % end;
        }
        usize::try_from(self.number() % end as u64).unwrap_or_default()
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
