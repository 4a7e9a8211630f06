// Input gradient of a convolution of any kernel; one invocation per input element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.in_h * p.in_w * p.in_c) {
        return;
    }
    let group_in = p.in_c / p.groups;
    let group_out = p.out_c / p.groups;
    let c = i % p.in_c;
    let first_out = c / group_in * group_out;
    let x = i / p.in_c % p.in_w + p.pad_left;
    let y = i / p.in_c / p.in_w % p.in_h + p.pad_top;
    let image = i / p.in_c / p.in_w / p.in_h;
    var sum = 0.0;
    for (var ky = 0u; ky < p.kernel_h; ky++) {
        // Above the first window the difference wraps to a number beyond the last.
        let from_y = y - ky * p.dilation_h;
        let oy = from_y / p.stride_h;
        for (var kx = 0u; kx < p.kernel_w; kx++) {
            let from_x = x - kx * p.dilation_w;
            let ox = from_x / p.stride_w;
            let meets = from_y % p.stride_h == 0u && from_x % p.stride_w == 0u;
            if (meets && oy < p.out_h && ox < p.out_w) {
                let at = ((image * p.out_h + oy) * p.out_w + ox) * p.out_c + first_out;
                let weight = ((ky * p.kernel_w + kx) * group_in + c % group_in) * p.out_c + first_out;
                for (var o = 0u; o < group_out; o++) {
                    sum += in0[at + o] * in1[weight + o];
                }
            }
        }
    }
    out[i] = sum;
}
