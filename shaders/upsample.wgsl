// Enlargement by whole factors; one invocation per output element. Moves bits unread.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.out_h * p.out_w * p.channels) {
        return;
    }
    let c = i % p.channels;
    let x = i / p.channels % p.out_w;
    let y = i / p.channels / p.out_w % p.out_h;
    let image = i / p.channels / p.out_w / p.out_h;
    let between = p.zeros == 1u && (x % p.factor_w != 0u || y % p.factor_h != 0u);
    var bits = 0u;
    if (!between) {
        bits = in0[((image * p.in_h + y / p.factor_h) * p.in_w + x / p.factor_w) * p.channels + c];
    }
    out[i] = bits;
}
