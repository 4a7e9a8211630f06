
/// Of a workgroup that sums 8 channels in 8 chains each: invocation = chain * 8 + channel.
var<workgroup> lane_chains: array<f32, 64>;

/// The sum of the chains of this invocation's channel, in the tree of the twins. All invocations of
/// the workgroup must call it.
fn sum_lanes(local: u32, chain: f32) -> f32 {
    workgroupBarrier();
    lane_chains[local] = chain;
    for (var step = 4u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step * 8u) {
            lane_chains[local] += lane_chains[local + step * 8u];
        }
    }
    workgroupBarrier();
    return lane_chains[local % 8u];
}

/// What a workgroup of `sum_lanes` sums: 8 channels from `channel` on of one image.
struct LaneBlock {
    image: u32,
    channel: u32,
}

fn lane_block(workgroup: vec3<u32>, groups: vec3<u32>, channels: u32) -> LaneBlock {
    let blocks = (channels + 7u) / 8u;
    let index = workgroup.y * groups.x + workgroup.x;
    return LaneBlock(index / blocks, index % blocks * 8u);
}
