// Gradient of the softmax cross-entropy; one invocation per image.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let image = flat_index(id, groups);
    if (image >= p.batch) {
        return;
    }
    let base = image * p.classes;
    let label = in1[image];
    var largest = in0[base];
    for (var c = 1u; c < p.classes; c++) {
        largest = max(largest, in0[base + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < p.classes; c++) {
        let y = exp(in0[base + c] - largest);
        out[base + c] = y;
        sum += y;
    }
    for (var c = 0u; c < p.classes; c++) {
        let own = select(0.0, 1.0 - p.smoothing, c == label);
        let y = p.scale * (out[base + c] / sum - own - p.smoothing / f32(p.classes));
        out[base + c] = select(0.0, y, label < p.classes);
    }
}
