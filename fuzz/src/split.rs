//! Cutting an input into pieces, as the network does.

/// The cuts that the first two bytes of an input choose for the rest of it.
pub struct Split<'d> {
    rest: &'d [u8],
    state: u32,
    piece_bytes_max: usize,
}

impl<'d> Split<'d> {
    /// Takes the choice of the cuts off `data`: the input proper, and its pieces. `None` if there is nothing left.
    pub fn new(data: &'d [u8]) -> Option<(&'d [u8], Self)> {
        let (&[seed, size], rest) = data.split_first_chunk::<2>()?;
        // From byte by byte up to one read of everything.
        let piece_bytes_max = match size {
            0..32 => 1,
            32..128 => usize::from(size) - 30,
            _ => 1 << (size % 16),
        };
        Some((rest, Self { rest, state: u32::from(seed) + 1, piece_bytes_max }))
    }
}

impl<'d> Iterator for Split<'d> {
    type Item = &'d [u8];

    fn next(&mut self) -> Option<&'d [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let take = 1 + (self.state >> 8) as usize % self.piece_bytes_max;
        let (piece, rest) = self.rest.split_at(take.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}
