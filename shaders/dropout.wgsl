// Dropout; one invocation per element. Which are dropped is decided in integers.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.elements) {
        return;
    }
    let position = i % p.elements % p.positions;
    let counter = vec4<u32>(position / 4u, in1[i / p.elements], p.step, p.tensor);
    let words = philox(counter, vec2<u32>(p.seed_low, p.seed_high));
    out[i] = select(in0[i] * p.scale, 0.0, words[position % 4u] < p.threshold);
}
