// Softmax over channels; one invocation per pixel, sums in channel order.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    var largest = in0[base];
    for (var c = 1u; c < p.channels; c++) {
        let x = in0[base + c];
        largest = select(largest, x, x > largest);
    }
    var sum = 0.0;
    for (var c = 0u; c < p.channels; c++) {
        let y = exp(p.beta * (in0[base + c] - largest));
        out[base + c] = y;
        sum += y;
    }
    for (var c = 0u; c < p.channels; c++) {
        out[base + c] = out[base + c] / sum;
    }
}
