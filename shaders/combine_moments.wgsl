// Moments of a batch from those of its images; one invocation per channel.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = flat_index(id, groups);
    if (c >= p.channels) {
        return;
    }
    var mean = out[c];
    var variance = out[p.channels + c];
    for (var image = 0u; image < p.batch; image++) {
        let m = in0[image * 2u * p.channels + c];
        let v = in0[(image * 2u + 1u) * p.channels + c];
        let before = p.seen + image;
        if (before == 0u) {
            mean = m;
            variance = v;
        } else {
            let step = (m - mean) / f32(before + 1u);
            mean += step;
            variance = variance + (v - variance) / f32(before + 1u) + step * step * f32(before);
        }
    }
    out[c] = mean;
    out[p.channels + c] = variance;
}
