// A moment of Adam; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < p.elements) {
        let g = in0[i] + p.decay * in1[i];
        out[i] = p.beta * out[i] + p.rest * select(g, g * g, p.power == 2u);
    }
}
