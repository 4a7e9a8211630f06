// Weight gradient of a convolution of any kernel, one part for every 256 output pixels of an image; one
// invocation per weight of a part.

const PART: u32 = 256u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let group_in = p.in_c / p.groups;
    let pixels = p.out_h * p.out_w;
    let parts = (pixels + PART - 1u) / PART;
    let o = i % p.out_c;
    let c = o / (p.out_c / p.groups) * group_in + i / p.out_c % group_in;
    let kx = i / p.out_c / group_in % p.kernel_w;
    let ky = i / p.out_c / group_in / p.kernel_w % p.kernel_h;
    let part = i / p.out_c / group_in / p.kernel_w / p.kernel_h;
    let image = part / parts;
    if (image >= p.batch) {
        return;
    }
    let first = part % parts * PART;
    var sum = 0.0;
    for (var q = first; q < min(first + PART, pixels); q++) {
        // In the padding before the map a coordinate wraps to a number beyond it.
        let y = q / p.out_w * p.stride_h + ky * p.dilation_h - p.pad_top;
        let x = q % p.out_w * p.stride_w + kx * p.dilation_w - p.pad_left;
        if (y < p.in_h && x < p.in_w) {
            let map = in0[((image * p.in_h + y) * p.in_w + x) * p.in_c + c];
            sum += map * in1[(image * pixels + q) * p.out_c + o];
        }
    }
    out[i] = sum;
}
