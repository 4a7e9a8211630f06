// Gradient of an elementwise function; the modes are those of `activation`.

fn hard_swish(x: f32) -> f32 {
    let inside = (2.0 * x + 3.0) / 6.0;
    return select(select(0.0, 1.0, x >= 3.0), inside, x > -3.0 && x < 3.0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.elements) {
        return;
    }
    let x = in0[i];
    let g = in1[i];
    var y: f32;
    switch (p.mode) {
        case 0u: {
            y = select(0.0, g, x > p.a && x < p.b);
        }
        case 1u: {
            y = select(p.a * g, g, x > 0.0);
        }
        case 2u: {
            y = g * (x * (p.a - x) / p.a);
        }
        case 3u: {
            y = g * ((1.0 - x) * (1.0 + x));
        }
        case 4u: {
            y = g * hard_swish(x);
        }
        default: {
            let gate = p.a * x + p.b;
            y = select(0.0, p.a * g, gate > 0.0 && gate < 1.0);
        }
    }
    out[i] = y;
}
