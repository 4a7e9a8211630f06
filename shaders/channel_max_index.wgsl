// The channel of each pixel's maximum; one invocation per packed word.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let bits = index_bits(p.channels);
    let per_word = 32u / bits;
    let total = p.batch * p.pixels;
    if (i >= (total + per_word - 1u) / per_word) {
        return;
    }
    var word = 0u;
    for (var k = 0u; k < min(per_word, total - i * per_word); k++) {
        let base = (i * per_word + k) * p.channels;
        var best = 0u;
        for (var c = 1u; c < p.channels; c++) {
            best = select(best, c, in0[base + c] > in0[base + best]);
        }
        word |= best << (k * bits);
    }
    out[i] = word;
}
