// Average pooling without the padding; one invocation per output element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.out_h * p.out_w * p.channels) {
        return;
    }
    let channel = i % p.channels;
    let x = i / p.channels % p.out_w;
    let y = i / p.channels / p.out_w % p.out_h;
    let image = i / p.channels / p.out_w / p.out_h;
    var sum = 0.0;
    var valid = 0u;
    for (var ky = 0u; ky < p.kernel_h; ky++) {
        // In the padding before the map the difference wraps to a number beyond it.
        let iy = y * p.stride_h + ky - p.pad_top;
        for (var kx = 0u; kx < p.kernel_w; kx++) {
            let ix = x * p.stride_w + kx - p.pad_left;
            if (iy < p.in_h && ix < p.in_w) {
                sum += in0[((image * p.in_h + iy) * p.in_w + ix) * p.channels + channel];
                valid++;
            }
        }
    }
    out[i] = sum / f32(valid);
}
