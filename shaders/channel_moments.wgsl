// Mean and variance by channel; a workgroup takes 8 channels of an image in 8 chains each.

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
    let base = block.image * p.pixels * p.channels + min(c, p.channels - 1u);
    var chain = 0.0;
    for (var q = local / 8u; q < p.pixels; q += 8u) {
        chain += in0[base + q * p.channels];
    }
    let mean = sum_lanes(local, chain) / f32(p.pixels);
    chain = 0.0;
    for (var q = local / 8u; q < p.pixels; q += 8u) {
        let distance = in0[base + q * p.channels] - mean;
        chain += distance * distance;
    }
    let variance = sum_lanes(local, chain) / f32(p.pixels);
    if (local < 8u && c < p.channels) {
        out[block.image * 2u * p.channels + c] = mean;
        out[(block.image * 2u + 1u) * p.channels + c] = variance;
    }
}
