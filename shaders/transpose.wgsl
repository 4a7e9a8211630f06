// The axes of a map in another order; one invocation per output element. Moves bits unread.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let image_elements = p.out_h * p.out_w * p.out_c;
    if (i >= p.batch * image_elements) {
        return;
    }
    let c = i % p.out_c;
    let x = i / p.out_c % p.out_w;
    let y = i / p.out_c / p.out_w % p.out_h;
    out[i] = in0[i / image_elements * image_elements + y * p.step_h + x * p.step_w + c * p.step_c];
}
