// Elementwise product, the second operand broadcast by its steps.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.pixels * p.channels) {
        return;
    }
    let channel = i % p.channels;
    let pixel = i / p.channels % p.pixels;
    let image = i / p.channels / p.pixels;
    out[i] = in0[i] * in1[image * p.image_step + pixel * p.pixel_step + channel * p.channel_step];
}
