// Gradient of maximum pooling; one invocation per input element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.in_h * p.in_w * p.channels) {
        return;
    }
    let bits = index_bits(p.kernel_h * p.kernel_w);
    let per_word = 32u / bits;
    let channel = i % p.channels;
    let x = i / p.channels % p.in_w + p.pad_left;
    let y = i / p.channels / p.in_w % p.in_h + p.pad_top;
    let image = i / p.channels / p.in_w / p.in_h;
    var sum = 0.0;
    for (var tap = 0u; tap < p.kernel_h * p.kernel_w; tap++) {
        // Above the first window the difference wraps to a number beyond the last.
        let from_y = y - tap / p.kernel_w;
        let from_x = x - tap % p.kernel_w;
        let oy = from_y / p.stride_h;
        let ox = from_x / p.stride_w;
        let meets = from_y % p.stride_h == 0u && from_x % p.stride_w == 0u;
        if (meets && oy < p.out_h && ox < p.out_w) {
            let at = ((image * p.out_h + oy) * p.out_w + ox) * p.channels + channel;
            if (extractBits(in1[at / per_word], at % per_word * bits, bits) == tap) {
                sum += in0[at];
            }
        }
    }
    out[i] = sum;
}
