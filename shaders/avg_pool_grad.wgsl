// Gradient of average pooling; one invocation per input element.

/// Valid positions of a window along one axis.
fn valid(at: u32, size: u32, stride: u32, pad: u32, length: u32) -> u32 {
    let end = min(at * stride + size, length + pad);
    return end - max(at * stride, pad);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.in_h * p.in_w * p.channels) {
        return;
    }
    let channel = i % p.channels;
    let x = i / p.channels % p.in_w + p.pad_left;
    let y = i / p.channels / p.in_w % p.in_h + p.pad_top;
    let image = i / p.channels / p.in_w / p.in_h;
    var sum = 0.0;
    for (var ky = 0u; ky < p.kernel_h; ky++) {
        // Above the first window the difference wraps to a number beyond the last.
        let oy = (y - ky) / p.stride_h;
        for (var kx = 0u; kx < p.kernel_w; kx++) {
            let ox = (x - kx) / p.stride_w;
            let meets = (y - ky) % p.stride_h == 0u && (x - kx) % p.stride_w == 0u;
            if (meets && oy < p.out_h && ox < p.out_w) {
                let high = valid(oy, p.kernel_h, p.stride_h, p.pad_top, p.in_h);
                let wide = valid(ox, p.kernel_w, p.stride_w, p.pad_left, p.in_w);
                let at = ((image * p.out_h + oy) * p.out_w + ox) * p.channels + channel;
                sum += in0[at] / f32(high * wide);
            }
        }
    }
    out[i] = sum;
}
