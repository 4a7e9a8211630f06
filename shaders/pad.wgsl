// Zero padding in space and channels; one invocation per output element. Moves bits unread.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.out_h * p.out_w * p.out_c) {
        return;
    }
    // In the padding before the map each difference wraps to a number beyond it.
    let c = i % p.out_c - p.pad_channels;
    let x = i / p.out_c % p.out_w - p.pad_left;
    let y = i / p.out_c / p.out_w % p.out_h - p.pad_top;
    let image = i / p.out_c / p.out_w / p.out_h;
    var bits = 0u;
    if (c < p.in_c && x < p.in_w && y < p.in_h) {
        bits = in0[((image * p.in_h + y) * p.in_w + x) * p.in_c + c];
    }
    out[i] = bits;
}
