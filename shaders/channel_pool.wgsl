// Mean and maximum over channels; one invocation per pixel, in channel order.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    var sum = 0.0;
    var largest = in0[base];
    for (var c = 0u; c < p.channels; c++) {
        let x = in0[base + c];
        sum += x;
        largest = select(largest, x, x > largest);
    }
    out[2u * pixel] = sum / f32(p.channels);
    out[2u * pixel + 1u] = largest;
}
