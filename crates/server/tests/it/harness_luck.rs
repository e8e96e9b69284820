//! Numbers that are random enough, and the same in every run.

/// How much more is tried with `COLLOQUY_LONG=1`.
const LONG: usize = 20;

/// How often to try: so often, or many times more if there is time for it.
pub fn rounds(usually: usize) -> usize {
    if std::env::var_os("COLLOQUY_LONG").is_some() { usually * LONG } else { usually }
}

#[derive(Debug, Clone)]
pub struct Luck(u64);

impl Luck {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 11).expect("53 bits fit") % limit.max(1)
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    pub fn of<'a, T: ?Sized>(&mut self, choice: &[&'a T]) -> &'a T {
        choice[self.below(choice.len())]
    }
}
