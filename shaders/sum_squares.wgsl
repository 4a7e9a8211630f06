// Sums of squares; a workgroup sums 4096 elements in 64 chains.

const BLOCK: u32 = 4096u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = workgroup.y * groups.x + workgroup.x;
    if (block * BLOCK >= p.elements) {
        return;
    }
    var chain = 0.0;
    for (var i = block * BLOCK + local; i < min((block + 1u) * BLOCK, p.elements); i += 64u) {
        chain += in0[i] * in0[i];
    }
    let sum = workgroup_sum(local, chain);
    if (local == 0u) {
        out[p.first + block] = sum;
    }
}
