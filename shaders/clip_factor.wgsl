// Factor and norm of a clipping; one workgroup.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var chain = 0.0;
    for (var i = local; i < p.parts; i += 64u) {
        chain += in0[i];
    }
    let norm = sqrt(workgroup_sum(local, chain));
    if (workgroup.x == 0u && local == 0u) {
        out[0] = min(p.max_norm / (norm + 1e-6), 1.0);
        out[1] = norm;
    }
}
