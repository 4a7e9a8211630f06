// Weight gradient of a fully connected layer, added up over the images; one invocation per weight.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.inputs * p.outputs) {
        return;
    }
    var sum = 0.0;
    if (p.accumulate == 1u) {
        sum = out[i];
    }
    for (var image = 0u; image < p.batch; image++) {
        sum += in0[image * p.inputs + i / p.outputs] * in1[image * p.outputs + i % p.outputs];
    }
    out[i] = sum;
}
