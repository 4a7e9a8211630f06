// Convolution of any kernel, grouped or not. Groups of 8 output channels or more are computed in tiles
// like a 1x1 convolution per tap: a workgroup 256 pixels by 16 channels, an invocation 4 pixels by 16,
// weights staged in workgroup memory 16 inputs deep. Narrower groups, depthwise among them, are
// computed one output per invocation.

const TILED_FROM: u32 = 8u;
const PIXELS: u32 = 256u;
const CHANNELS: u32 = 16u;
const DEPTH: u32 = 16u;

/// [depth][channel / 4]
var<workgroup> staged: array<vec4<f32>, 64>;

/// Where the windows of 4 output pixels begin. In the padding before the map a coordinate wraps to a
/// number beyond the map, and comes back when the tap is added.
struct Windows {
    row: vec4<u32>,
    y: vec4<u32>,
    x: vec4<u32>,
}

fn windows(pixels: vec4<u32>) -> Windows {
    let rows = pixels / p.out_w;
    let x = pixels % p.out_w * p.stride_w - vec4<u32>(p.pad_left);
    let y = rows % p.out_h * p.stride_h - vec4<u32>(p.pad_top);
    return Windows(rows / p.out_h * p.in_h, y, x);
}

/// Indices of the first channels under a tap (0 in the padding), and whether they lie in the map.
struct Sources {
    at: vec4<u32>,
    valid: vec4<bool>,
}

fn sources(w: Windows, ky: u32, kx: u32) -> Sources {
    let y = w.y + vec4<u32>(ky * p.dilation_h);
    let x = w.x + vec4<u32>(kx * p.dilation_w);
    let valid = (y < vec4<u32>(p.in_h)) & (x < vec4<u32>(p.in_w));
    return Sources(select(vec4<u32>(0u), ((w.row + y) * p.in_w + x) * p.in_c, valid), valid);
}

fn bias(o: u32) -> f32 {
    var b = 0.0;
    if (p.has_bias == 1u) {
        b = in2[o];
    }
    return b;
}

fn one_output(i: u32) {
    let group_in = p.in_c / p.groups;
    let o = i % p.out_c;
    let first_in = o / (p.out_c / p.groups) * group_in;
    let row = i / p.out_c / p.out_w;
    let first_x = i / p.out_c % p.out_w * p.stride_w - p.pad_left;
    let first_y = row % p.out_h * p.stride_h - p.pad_top;
    let first_row = row / p.out_h * p.in_h;
    var sum = bias(o);
    for (var ky = 0u; ky < p.kernel_h; ky++) {
        let y = first_y + ky * p.dilation_h;
        for (var kx = 0u; kx < p.kernel_w; kx++) {
            let x = first_x + kx * p.dilation_w;
            if (y < p.in_h && x < p.in_w) {
                let at = ((first_row + y) * p.in_w + x) * p.in_c + first_in;
                let weight = (ky * p.kernel_w + kx) * group_in;
                for (var c = 0u; c < group_in; c++) {
                    sum += in0[at + c] * in1[(weight + c) * p.out_c + o];
                }
            }
        }
    }
    out[i] = sum;
}

/// Columns are output channels, rows the 4 pixels.
fn outer(x: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x * w.x, x * w.y, x * w.z, x * w.w);
}

fn bias4(o: u32, end: u32) -> mat4x4<f32> {
    var b = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if (o + j < end) {
            b[j] = bias(o + j);
        }
    }
    return outer(vec4<f32>(1.0), b);
}

/// The weights of 4 output channels in one row of the weight matrix, zeros from `end` on.
fn weights4(row: u32, o: u32, end: u32) -> vec4<f32> {
    var w = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if (o + j < end) {
            w[j] = in1[row * p.out_c + o + j];
        }
    }
    return w;
}

fn store_channel(pixels: vec4<u32>, o: u32, end: u32, sums: vec4<f32>) {
    if (o >= end) {
        return;
    }
    let total = p.batch * p.out_h * p.out_w;
    if (pixels.x < total) { out[pixels.x * p.out_c + o] = sums.x; }
    if (pixels.y < total) { out[pixels.y * p.out_c + o] = sums.y; }
    if (pixels.z < total) { out[pixels.z * p.out_c + o] = sums.z; }
    if (pixels.w < total) { out[pixels.w * p.out_c + o] = sums.w; }
}

fn store4(pixels: vec4<u32>, o: u32, end: u32, sums: mat4x4<f32>) {
    store_channel(pixels, o, end, sums[0]);
    store_channel(pixels, o + 1u, end, sums[1]);
    store_channel(pixels, o + 2u, end, sums[2]);
    store_channel(pixels, o + 3u, end, sums[3]);
}

fn one_tile(tile: u32, local: u32) {
    let group_in = p.in_c / p.groups;
    let group_out = p.out_c / p.groups;
    let blocks = (group_out + CHANNELS - 1u) / CHANNELS;
    let group = tile % (p.groups * blocks) / blocks;
    let o = group * group_out + tile % blocks * CHANNELS;
    let end = (group + 1u) * group_out;
    let first = tile / (p.groups * blocks) * PIXELS;
    let last = p.batch * p.out_h * p.out_w - 1u;
    let pixels = vec4<u32>(first + local) + vec4<u32>(0u, 64u, 128u, 192u);
    // The last pixel stands in for those beyond it.
    let window = windows(min(pixels, vec4<u32>(last)));
    var sums0 = bias4(o, end);
    var sums1 = bias4(o + 4u, end);
    var sums2 = bias4(o + 8u, end);
    var sums3 = bias4(o + 12u, end);
    for (var tap = 0u; tap < p.kernel_h * p.kernel_w; tap++) {
        let under = sources(window, tap / p.kernel_w, tap % p.kernel_w);
        let base = under.at + vec4<u32>(group * group_in);
        for (var k = 0u; k < group_in; k += DEPTH) {
            let deep = min(DEPTH, group_in - k);
            workgroupBarrier();
            if (local / 4u < deep) {
                staged[local] = weights4(tap * group_in + k + local / 4u, o + local % 4u * 4u, end);
            }
            workgroupBarrier();
            for (var d = 0u; d < deep; d++) {
                let at = base + vec4<u32>(k + d);
                let map = vec4<f32>(in0[at.x], in0[at.y], in0[at.z], in0[at.w]);
                let x = select(vec4<f32>(0.0), map, under.valid);
                sums0 += outer(x, staged[d * 4u]);
                sums1 += outer(x, staged[d * 4u + 1u]);
                sums2 += outer(x, staged[d * 4u + 2u]);
                sums3 += outer(x, staged[d * 4u + 3u]);
            }
        }
    }
    store4(pixels, o, end, sums0);
    store4(pixels, o + 4u, end, sums1);
    store4(pixels, o + 8u, end, sums2);
    store4(pixels, o + 12u, end, sums3);
}

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let total = p.batch * p.out_h * p.out_w;
    // Both conditions are the same for a whole workgroup, so no barrier is left waiting.
    if (p.out_c / p.groups < TILED_FROM) {
        let i = flat_index(id, groups);
        if (i < total * p.out_c) {
            one_output(i);
        }
        return;
    }
    let per_block = p.groups * ((p.out_c / p.groups + CHANNELS - 1u) / CHANNELS);
    let tile = workgroup.y * groups.x + workgroup.x;
    if (tile / per_block * PIXELS < total) {
        one_tile(tile, local);
    }
}
