// Fully connected layer; one invocation computes one output of four images, so that a weight is
// read once for the four, and neighbours read neighbouring weights.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= (p.batch + 3u) / 4u * p.outputs) {
        return;
    }
    let o = i % p.outputs;
    let image = i / p.outputs * 4u;
    // Beyond the last image: read it again, write nothing.
    let base = min(vec4<u32>(image) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.batch - 1u)) * p.inputs;
    var sum = vec4<f32>(0.0);
    if (p.has_bias == 1u) {
        sum = vec4<f32>(in2[o]);
    }
    for (var k = 0u; k < p.inputs; k++) {
        let x = vec4<f32>(in0[base.x + k], in0[base.y + k], in0[base.z + k], in0[base.w + k]);
        sum += x * in1[k * p.outputs + o];
    }
    for (var j = 0u; j < 4u; j++) {
        if (image + j < p.batch) {
            out[(image + j) * p.outputs + o] = sum[j];
        }
    }
}
