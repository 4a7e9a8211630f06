// Softmax cross-entropy and hit; one invocation per image.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let image = flat_index(id, groups);
    if (image >= p.batch) {
        return;
    }
    let label = in1[image];
    var loss = 0.0;
    var hit = 0.0;
    if (label < p.classes) {
        let base = image * p.classes;
        var best = 0u;
        for (var c = 1u; c < p.classes; c++) {
            best = select(best, c, in0[base + c] > in0[base + best]);
        }
        let largest = in0[base + best];
        var sum = 0.0;
        var total = 0.0;
        for (var c = 0u; c < p.classes; c++) {
            let x = in0[base + c] - largest;
            sum += exp(x);
            total += x;
        }
        let own = in0[base + label] - largest;
        loss = log(sum) - (1.0 - p.smoothing) * own - p.smoothing * (total / f32(p.classes));
        hit = select(0.0, 1.0, best == label);
    }
    out[2u * image] = loss;
    out[2u * image + 1u] = hit;
}
