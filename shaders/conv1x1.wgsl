// 1x1 convolution as a tiled matrix product: a workgroup computes 256 pixels by 16 output channels,
// an invocation 4 pixels by 16 channels, with weights staged in workgroup memory 16 inputs deep.

const PIXELS: u32 = 256u;
const CHANNELS: u32 = 16u;
const DEPTH: u32 = 16u;

/// [depth][channel / 4]
var<workgroup> staged: array<vec4<f32>, 64>;

/// The weights of 4 output channels from `o` on, zeros beyond the last channel.
fn weights4(k: u32, o: u32) -> vec4<f32> {
    var w = vec4<f32>(0.0);
    if (k < p.in_c) {
        for (var j = 0u; j < 4u; j++) {
            if (o + j < p.out_c) {
                w[j] = in1[k * p.out_c + o + j];
            }
        }
    }
    return w;
}

/// Columns are output channels, rows the 4 pixels.
fn outer(x: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x * w.x, x * w.y, x * w.z, x * w.w);
}

fn bias4(o: u32) -> mat4x4<f32> {
    var b = vec4<f32>(0.0);
    if (p.has_bias == 1u) {
        for (var j = 0u; j < 4u; j++) {
            if (o + j < p.out_c) {
                b[j] = in2[o + j];
            }
        }
    }
    return outer(vec4<f32>(1.0), b);
}

/// Where an output pixel's input channels start; the last pixel stands in for those beyond it.
fn source(pixel: u32) -> u32 {
    let q = min(pixel, p.batch * p.out_h * p.out_w - 1u);
    let x = q % p.out_w * p.stride_w;
    let y = q / p.out_w % p.out_h * p.stride_h;
    let image = q / p.out_w / p.out_h;
    return ((image * p.in_h + y) * p.in_w + x) * p.in_c;
}

fn store_channel(pixels: vec4<u32>, o: u32, sums: vec4<f32>) {
    if (o >= p.out_c) {
        return;
    }
    let total = p.batch * p.out_h * p.out_w;
    if (pixels.x < total) { out[pixels.x * p.out_c + o] = sums.x; }
    if (pixels.y < total) { out[pixels.y * p.out_c + o] = sums.y; }
    if (pixels.z < total) { out[pixels.z * p.out_c + o] = sums.z; }
    if (pixels.w < total) { out[pixels.w * p.out_c + o] = sums.w; }
}

fn store4(pixels: vec4<u32>, o: u32, sums: mat4x4<f32>) {
    store_channel(pixels, o, sums[0]);
    store_channel(pixels, o + 1u, sums[1]);
    store_channel(pixels, o + 2u, sums[2]);
    store_channel(pixels, o + 3u, sums[3]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let blocks = (p.out_c + CHANNELS - 1u) / CHANNELS;
    let tile = workgroup.y * groups.x + workgroup.x;
    let o = tile % blocks * CHANNELS;
    let first = tile / blocks * PIXELS;
    // The same for the whole workgroup, so no barrier is left waiting.
    if (first >= p.batch * p.out_h * p.out_w) {
        return;
    }
    let pixels = vec4<u32>(first + local) + vec4<u32>(0u, 64u, 128u, 192u);
    let base = vec4<u32>(source(pixels.x), source(pixels.y), source(pixels.z), source(pixels.w));
    var sums0 = bias4(o);
    var sums1 = bias4(o + 4u);
    var sums2 = bias4(o + 8u);
    var sums3 = bias4(o + 12u);
    for (var k = 0u; k < p.in_c; k += DEPTH) {
        workgroupBarrier();
        staged[local] = weights4(k + local / 4u, o + local % 4u * 4u);
        workgroupBarrier();
        for (var d = 0u; d < min(DEPTH, p.in_c - k); d++) {
            let at = base + vec4<u32>(k + d);
            let x = vec4<f32>(in0[at.x], in0[at.y], in0[at.z], in0[at.w]);
            sums0 += outer(x, staged[d * 4u]);
            sums1 += outer(x, staged[d * 4u + 1u]);
            sums2 += outer(x, staged[d * 4u + 2u]);
            sums3 += outer(x, staged[d * 4u + 3u]);
        }
    }
    store4(pixels, o, sums0);
    store4(pixels, o + 4u, sums1);
    store4(pixels, o + 8u, sums2);
    store4(pixels, o + 12u, sums3);
}
