// Gradient of gamma by image; a workgroup sums 8 channels of an image in 8 chains each.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = lane_block(workgroup, groups, p.channels);
    if (block.image >= p.batch) {
        return;
    }
    let c = block.channel + local % 8u;
    let held = min(c, p.channels - 1u);
    let mean = in2[held];
    var chain = 0.0;
    for (var q = local / 8u; q < p.pixels; q += 8u) {
        let at = (block.image * p.pixels + q) * p.channels + held;
        chain += in0[at] * (in1[at] - mean);
    }
    let sum = sum_lanes(local, chain);
    if (local < 8u && c < p.channels) {
        out[block.image * p.channels + c] = sum * (1.0 / sqrt(in2[p.channels + c] + p.epsilon));
    }
}
