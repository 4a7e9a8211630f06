// Weight gradient of a 1x1 convolution, one part for every 256 output pixels of an image. A workgroup
// computes 32 input by 32 output channels of a part, an invocation 4 by 4, with both operands staged in
// workgroup memory 8 pixels deep.

const PART: u32 = 256u;
const TILE: u32 = 32u;
const DEPTH: u32 = 8u;

/// [pixel][channel / 4]
var<workgroup> staged_x: array<vec4<f32>, 64>;
var<workgroup> staged_g: array<vec4<f32>, 64>;

/// Four input channels from `c` on under output pixel `q` of an image, zeros beyond the last channel.
fn map4(image: u32, q: u32, c: u32) -> vec4<f32> {
    let y = q / p.out_w * p.stride_h;
    let x = q % p.out_w * p.stride_w;
    let base = ((image * p.in_h + y) * p.in_w + x) * p.in_c;
    var v = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if (c + j < p.in_c) {
            v[j] = in0[base + c + j];
        }
    }
    return v;
}

/// The same of the gradient.
fn gradient4(image: u32, q: u32, o: u32) -> vec4<f32> {
    let base = (image * p.out_h * p.out_w + q) * p.out_c;
    var v = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.out_c) {
            v[j] = in1[base + o + j];
        }
    }
    return v;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pixels = p.out_h * p.out_w;
    let parts = (pixels + PART - 1u) / PART;
    let tiles_o = (p.out_c + TILE - 1u) / TILE;
    let tiles = tiles_o * ((p.in_c + TILE - 1u) / TILE);
    let index = workgroup.y * groups.x + workgroup.x;
    let part = index / tiles;
    let image = part / parts;
    // The same for the whole workgroup, so no barrier is left waiting.
    if (image >= p.batch) {
        return;
    }
    let c = index % tiles / tiles_o * TILE;
    let o = index % tiles % tiles_o * TILE;
    let first = part % parts * PART;
    let end = min(first + PART, pixels);
    // Columns are output channels, rows input channels.
    var sums = mat4x4<f32>();
    for (var q = first; q < end; q += DEPTH) {
        let mine = q + local / 8u;
        workgroupBarrier();
        staged_x[local] = vec4<f32>(0.0);
        staged_g[local] = vec4<f32>(0.0);
        if (mine < end) {
            staged_x[local] = map4(image, mine, c + local % 8u * 4u);
            staged_g[local] = gradient4(image, mine, o + local % 8u * 4u);
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let x = staged_x[d * 8u + local / 8u];
            let g = staged_g[d * 8u + local % 8u];
            sums += mat4x4<f32>(x * g.x, x * g.y, x * g.z, x * g.w);
        }
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let row = c + local / 8u * 4u + i;
            let column = o + local % 8u * 4u + j;
            if (row < p.in_c && column < p.out_c) {
                out[(part * p.in_c + row) * p.out_c + column] = sums[j][i];
            }
        }
    }
}
