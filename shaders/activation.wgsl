// Elementwise functions; the modes are those of the twin.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.elements) {
        return;
    }
    let x = in0[i];
    var y: f32;
    switch (p.mode) {
        case 0u: {
            y = min(max(x, p.a), p.b);
        }
        case 1u: {
            y = select(p.a * x, x, x > 0.0);
        }
        case 2u: {
            // Bounded, because a shader may be compiled as if infinities did not exist.
            y = p.a / (1.0 + exp(min(-x, 80.0)));
        }
        case 3u: {
            y = tanh(clamp(x, -15.0, 15.0));
        }
        case 4u: {
            y = x * clamp(x + 3.0, 0.0, 6.0) / 6.0;
        }
        default: {
            y = clamp(p.a * x + p.b, 0.0, 1.0);
        }
    }
    out[i] = y;
}
