// Copies one part into its channel range of the output; the other channels keep what they hold.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < p.batch * p.pixels * p.in_c) {
        out[i / p.in_c * p.out_c + p.first + i % p.in_c] = in0[i];
    }
}
