// A window of a map; one invocation per output element. Moves bits unread.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.out_h * p.out_w * p.out_c) {
        return;
    }
    let c = i % p.out_c + p.first;
    let x = i / p.out_c % p.out_w + p.left;
    let y = i / p.out_c / p.out_w % p.out_h + p.top;
    let image = i / p.out_c / p.out_w / p.out_h;
    out[i] = in0[((image * p.in_h + y) * p.in_w + x) * p.in_c + c];
}
