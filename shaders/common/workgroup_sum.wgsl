
var<workgroup> workgroup_chains: array<f32, 64>;

/// The sum of one chain of each invocation, in the tree of the twins. All invocations of the workgroup
/// must call it.
fn workgroup_sum(local: u32, chain: f32) -> f32 {
    workgroupBarrier();
    workgroup_chains[local] = chain;
    for (var step = 32u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) {
            workgroup_chains[local] += workgroup_chains[local + step];
        }
    }
    workgroupBarrier();
    return workgroup_chains[0];
}
