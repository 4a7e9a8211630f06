// Mean over all positions; one invocation per image and channel, in the twin's tree: rows, then rows of sums.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.channels) {
        return;
    }
    var at = i / p.channels * p.in_h * p.in_w * p.channels + i % p.channels;
    var total = 0.0;
    for (var y = 0u; y < p.in_h; y++) {
        var row_sum = 0.0;
        for (var x = 0u; x < p.in_w; x++) {
            row_sum += in0[at];
            at += p.channels;
        }
        total += row_sum;
    }
    out[i] = total / f32(p.in_h * p.in_w);
}
