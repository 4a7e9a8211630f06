
/// High and low words of a product, by halves: the language has no 64-bit integers.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

/// Philox 4x32-10: four random words of a counter and a key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let even = wide_product(0xd2511f53u, c.x);
        let odd = wide_product(0xcd9e8d57u, c.z);
        c = vec4<u32>(odd.x ^ c.y ^ k.x, odd.y, even.x ^ c.w ^ k.y, even.y);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}
