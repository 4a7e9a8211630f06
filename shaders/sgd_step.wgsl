// A step of stochastic gradient descent; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < p.elements) {
        let decayed = in0[i] + p.decay * out[i];
        out[i] -= p.rate * (p.gradient_share * decayed + p.velocity_share * in1[i]);
    }
}
