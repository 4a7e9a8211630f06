// The chosen position of each window; one invocation per packed word.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let bits = index_bits(p.kernel_h * p.kernel_w);
    let per_word = 32u / bits;
    let total = p.batch * p.out_h * p.out_w * p.channels;
    if (i >= (total + per_word - 1u) / per_word) {
        return;
    }
    var word = 0u;
    for (var k = 0u; k < min(per_word, total - i * per_word); k++) {
        let element = i * per_word + k;
        let channel = element % p.channels;
        let x = element / p.channels % p.out_w;
        let y = element / p.channels / p.out_w % p.out_h;
        let image = element / p.channels / p.out_w / p.out_h;
        var largest = 0.0;
        var index = 0u;
        var first = true;
        for (var tap = 0u; tap < p.kernel_h * p.kernel_w; tap++) {
            // In the padding before the map the difference wraps to a number beyond it.
            let iy = y * p.stride_h + tap / p.kernel_w - p.pad_top;
            let ix = x * p.stride_w + tap % p.kernel_w - p.pad_left;
            if (iy < p.in_h && ix < p.in_w) {
                let value = in0[((image * p.in_h + iy) * p.in_w + ix) * p.channels + channel];
                if (first || value > largest) {
                    largest = value;
                    index = tap;
                }
                first = false;
            }
        }
        word |= index << (k * bits);
    }
    out[i] = word;
}
