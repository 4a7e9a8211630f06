// Input gradient of a 1x1 convolution as a tiled matrix product: a workgroup computes 256 pixels of the
// gradient by 16 input channels, an invocation 4 pixels by 16 channels, with weights staged in workgroup
// memory 16 output channels deep. A pixel also writes the zeros that the stride skips to its right and below.

const PIXELS: u32 = 256u;
const CHANNELS: u32 = 16u;
const DEPTH: u32 = 16u;

/// [depth][channel / 4]
var<workgroup> staged: array<vec4<f32>, 64>;

/// The weights of 4 input channels from `c` on towards output channel `o`, zeros beyond the last channel.
fn weights4(o: u32, c: u32) -> vec4<f32> {
    var w = vec4<f32>(0.0);
    if (o < p.out_c) {
        for (var j = 0u; j < 4u; j++) {
            if (c + j < p.in_c) {
                w[j] = in1[(c + j) * p.out_c + o];
            }
        }
    }
    return w;
}

/// Columns are input channels, rows the 4 pixels.
fn outer(g: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(g * w.x, g * w.y, g * w.z, g * w.w);
}

fn store(pixel: u32, c: u32, sum: f32) {
    if (pixel >= p.batch * p.out_h * p.out_w) {
        return;
    }
    let image = pixel / p.out_w / p.out_h * p.in_h;
    let first_y = pixel / p.out_w % p.out_h * p.stride_h;
    let first_x = pixel % p.out_w * p.stride_w;
    for (var y = first_y; y < min(first_y + p.stride_h, p.in_h); y++) {
        for (var x = first_x; x < min(first_x + p.stride_w, p.in_w); x++) {
            out[((image + y) * p.in_w + x) * p.in_c + c] = select(0.0, sum, y == first_y && x == first_x);
        }
    }
}

fn store_channel(pixels: vec4<u32>, c: u32, sums: vec4<f32>) {
    if (c < p.in_c) {
        store(pixels.x, c, sums.x);
        store(pixels.y, c, sums.y);
        store(pixels.z, c, sums.z);
        store(pixels.w, c, sums.w);
    }
}

fn store4(pixels: vec4<u32>, c: u32, sums: mat4x4<f32>) {
    store_channel(pixels, c, sums[0]);
    store_channel(pixels, c + 1u, sums[1]);
    store_channel(pixels, c + 2u, sums[2]);
    store_channel(pixels, c + 3u, sums[3]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let blocks = (p.in_c + CHANNELS - 1u) / CHANNELS;
    let tile = workgroup.y * groups.x + workgroup.x;
    let c = tile % blocks * CHANNELS;
    let first = tile / blocks * PIXELS;
    let total = p.batch * p.out_h * p.out_w;
    // The same for the whole workgroup, so no barrier is left waiting.
    if (first >= total) {
        return;
    }
    let pixels = vec4<u32>(first + local) + vec4<u32>(0u, 64u, 128u, 192u);
    // The last pixel stands in for those beyond it.
    let base = min(pixels, vec4<u32>(total - 1u)) * p.out_c;
    var sums0 = mat4x4<f32>();
    var sums1 = mat4x4<f32>();
    var sums2 = mat4x4<f32>();
    var sums3 = mat4x4<f32>();
    for (var o = 0u; o < p.out_c; o += DEPTH) {
        workgroupBarrier();
        staged[local] = weights4(o + local / 4u, c + local % 4u * 4u);
        workgroupBarrier();
        for (var d = 0u; d < min(DEPTH, p.out_c - o); d++) {
            let at = base + vec4<u32>(o + d);
            let g = vec4<f32>(in0[at.x], in0[at.y], in0[at.z], in0[at.w]);
            sums0 += outer(g, staged[d * 4u]);
            sums1 += outer(g, staged[d * 4u + 1u]);
            sums2 += outer(g, staged[d * 4u + 2u]);
            sums3 += outer(g, staged[d * 4u + 3u]);
        }
    }
    store4(pixels, c, sums0);
    store4(pixels, c + 4u, sums1);
    store4(pixels, c + 8u, sums2);
    store4(pixels, c + 12u, sums3);
}
