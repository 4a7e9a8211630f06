
/// The fewest bits of 1, 2, 4, 8 and 16 that hold an index into `positions` positions.
fn index_bits(positions: u32) -> u32 {
    var bits = 1u;
    while ((1u << bits) < positions) {
        bits *= 2u;
    }
    return bits;
}
