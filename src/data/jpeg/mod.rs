//! Baseline JPEG, decoded to the very bits of libjpeg.
//!
//! Decoders differ by a few codes per pixel (inverse transform, colour interpolation, vector or
//! scalar path), and an int8 network notices: on the 10,000 CIFAR-10 JPEGs a third of a point of
//! accuracy. Everyone's reference numbers come from libjpeg's slow integer transform and its
//! "fancy" upsampling, so the same arithmetic is done here, alike on every machine.
//!
//! Read are sequential Huffman-coded images of 8 bits with one interleaved scan: grey, or YCbCr
//! with colour at full resolution, half width, or half width and height. Progressive and
//! arithmetic coding, other samplings and damaged scans are refused; nothing is concealed.

use super::image::{Image, MAX_EXPANSION, MAX_SIDE};
use huffman::{BitReader, Table};
use planes::Plane;

mod huffman;
mod idct;
mod planes;

/// Where coefficient `i` of the file's order lies in a block's rows.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// What the segments before a scan define.
#[derive(Default)]
struct Decoder {
    quantisers: [Option<[i32; 64]>; 4],
    dc_tables: [Option<Table>; 4],
    ac_tables: [Option<Table>; 4],
    frame: Option<Frame>,
    /// MCUs between restart markers; 0 is none.
    restart_interval: usize,
}

struct Frame {
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    /// Samples per MCU in blocks, across and down.
    h: usize,
    v: usize,
    quantiser: usize,
}

/// Whether the frame of a JPEG is progressive, which [`decode`] does not read.
pub fn is_progressive(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, tail @ ..] = rest {
        match marker {
            0xff => rest = &rest[1..],
            0xc2 => return true,
            0xc0 | 0xc1 | 0xda => return false,
            _ => {
                let length = tail.first_chunk().map_or(0, |&bytes| usize::from(u16::from_be_bytes(bytes)));
                rest = tail.get(length..).unwrap_or_default();
            }
        }
    }
    false
}

/// Decodes a whole file. Says why it cannot; the caller knows the file.
pub fn decode(bytes: &[u8]) -> Result<Image, String> {
    let mut decoder = Decoder::default();
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8]).ok_or("does not begin like a JPEG")?;
    loop {
        // Any number of fill bytes may precede a marker.
        let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
        let (&marker, after) = rest.get(fill..).and_then(|r| r.split_first()).ok_or("ends before its scan")?;
        if fill == 0 {
            return Err("has bytes that belong to no segment".into());
        }
        let length = after.first_chunk().map_or(0, |&bytes| usize::from(u16::from_be_bytes(bytes)));
        let segment = after.get(2..length).ok_or("has a segment that ends beyond the file")?;
        rest = &after[length..];
        match marker {
            0xc0 | 0xc1 => decoder.read_frame(segment, bytes.len())?,
            0xc4 => decoder.read_huffman(segment)?,
            0xdb => decoder.read_quantisers(segment)?,
            0xdd => decoder.restart_interval = usize::from(segment.first_chunk().map_or(0, |&b| u16::from_be_bytes(b))),
            0xda => return decoder.read_scan(segment, rest),
            0xe0..=0xef | 0xfe => {}
            0xc2 => return Err("is progressive; baseline JPEGs are read".into()),
            other => return Err(format!("has a segment {other:#04x} that baseline JPEGs do not have")),
        }
    }
}

impl Decoder {
    fn read_quantisers(&mut self, mut segment: &[u8]) -> Result<(), String> {
        while let Some((&head, values)) = segment.split_first() {
            let (wide, id) = (head >> 4, usize::from(head & 15));
            let bytes = if wide == 0 { 64 } else { 128 };
            if wide > 1 || id > 3 || values.len() < bytes {
                return Err("has a damaged quantisation table".into());
            }
            let mut table = [0; 64];
            for (i, value) in values[..bytes].chunks_exact(bytes / 64).enumerate() {
                table[ZIGZAG[i]] = value.iter().fold(0, |n, &byte| n << 8 | i32::from(byte));
            }
            self.quantisers[id] = Some(table);
            segment = &values[bytes..];
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), String> {
        while let Some((&head, body)) = segment.split_first() {
            let (class, id) = (head >> 4, usize::from(head & 15));
            if class > 1 || id > 3 {
                return Err("has a damaged Huffman table".into());
            }
            let (table, used) = Table::read(body)?;
            let tables = if class == 0 { &mut self.dc_tables } else { &mut self.ac_tables };
            tables[id] = Some(table);
            segment = &body[used..];
        }
        Ok(())
    }

    fn read_frame(&mut self, segment: &[u8], file_bytes: usize) -> Result<(), String> {
        let &[precision, h1, h0, w1, w0, count, ref body @ ..] = segment else {
            return Err("has a damaged frame header".into());
        };
        let (height, width) = (usize::from(u16::from_be_bytes([h1, h0])), usize::from(u16::from_be_bytes([w1, w0])));
        if precision != 8 || ![1, 3].contains(&count) || body.len() != 3 * usize::from(count) {
            return Err(format!("has {precision} bits and {count} components; 8 bits and 1 or 3 are read"));
        }
        let sides = 1..=MAX_SIDE;
        let claimed = width * height * usize::from(count);
        if !sides.contains(&width) || !sides.contains(&height) || claimed as u64 > file_bytes as u64 * MAX_EXPANSION {
            return Err(format!("claims {width} x {height} pixels, more than {file_bytes} bytes can hold"));
        }
        let component = |c: &[u8]| Component {
            id: c[0],
            h: usize::from(c[1] >> 4),
            v: usize::from(c[1] & 15),
            quantiser: usize::from(c[2]),
        };
        let mut components: Vec<Component> = body.chunks_exact(3).map(component).collect();
        if let [only] = &mut components[..] {
            // The sampling of a single component means nothing.
            (only.h, only.v) = (1, 1);
        }
        let luma = (components[0].h, components[0].v);
        let plain = components[1..].iter().all(|c| (c.h, c.v) == (1, 1));
        if ![(1, 1), (2, 1), (2, 2)].contains(&luma) || !plain || components.iter().any(|c| c.quantiser > 3) {
            return Err("samples colour in a way that is not read (4:4:4, 4:2:2 and 4:2:0 are)".into());
        }
        self.frame = Some(Frame { width, height, components });
        Ok(())
    }

    fn read_scan(&self, header: &[u8], data: &[u8]) -> Result<Image, String> {
        let frame = self.frame.as_ref().ok_or("has a scan before its frame")?;
        let count = frame.components.len();
        if header.len() != 4 + 2 * count || usize::from(header[0]) != count {
            return Err("has more than one scan; one interleaved scan is read".into());
        }
        let mut planes = vec![];
        for (component, selector) in frame.components.iter().zip(header[1..].chunks_exact(2)) {
            let tables = (usize::from(selector[1] >> 4), usize::from(selector[1] & 15));
            let dc = self.dc_tables.get(tables.0).and_then(Option::as_ref);
            let ac = self.ac_tables.get(tables.1).and_then(Option::as_ref);
            let quantiser = self.quantisers[component.quantiser].as_ref();
            let (Some(dc), Some(ac), Some(quantiser)) = (dc, ac, quantiser) else {
                return Err("has a scan that refers to a table that is not there".into());
            };
            if component.id != selector[0] {
                return Err("has a scan whose components are not the frame's".into());
            }
            planes.push(Plane::new(frame, *component, dc, ac, quantiser));
        }
        self.read_blocks(frame, &mut planes, BitReader::new(data))?;
        Ok(planes::image(frame, &planes))
    }

    fn read_blocks(&self, frame: &Frame, planes: &mut [Plane], mut bits: BitReader) -> Result<(), String> {
        let (across, down) = frame.mcus();
        for mcu in 0..across * down {
            if self.restart_interval > 0 && mcu > 0 && mcu % self.restart_interval == 0 {
                bits.restart()?;
                planes.iter_mut().for_each(Plane::restart);
            }
            for plane in planes.iter_mut() {
                plane.read_mcu(&mut bits, mcu % across, mcu / across)?;
            }
        }
        Ok(())
    }
}

impl Frame {
    /// Sampling of the first component, to which all are brought.
    fn sampling(&self) -> (usize, usize) {
        (self.components[0].h, self.components[0].v)
    }

    /// MCUs across and down.
    fn mcus(&self) -> (usize, usize) {
        let (h, v) = self.sampling();
        (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{ImageFormat, Rgb, RgbImage};
    use sha2::{Digest, Sha256};
    use std::io::Cursor;

    fn encoded(width: u32, height: u32) -> Vec<u8> {
        let drawn = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]));
        let mut bytes = Cursor::new(vec![]);
        drawn.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn another_decoder_agrees_to_within_its_rounding() {
        for (width, height) in [(32, 32), (40, 24), (17, 9), (1, 1), (3, 33)] {
            let bytes = encoded(width, height);
            let (ours, theirs) = (decode(&bytes).unwrap(), Image::decode(&bytes, ImageFormat::Jpeg).unwrap());
            assert_eq!((ours.width, ours.height, ours.channels), (theirs.width, theirs.height, 3));
            let worst = ours.pixels.iter().zip(&theirs.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(6), "{width} x {height}: {worst:?}");
        }
    }

    #[test]
    fn damage_is_named() {
        let whole = encoded(32, 32);
        let why = |bytes: &[u8]| decode(bytes).map(drop).unwrap_err();
        assert_eq!(why(b"GIF89a"), "does not begin like a JPEG");
        assert_eq!(why(&whole[..20]), "ends before its scan");
        assert_eq!(why(&whole[..whole.len() - 40]), "ends in the middle of its scan");
        let frame = whole.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        let mut progressive = whole.clone();
        progressive[frame + 1] = 0xc2;
        assert!(why(&progressive).contains("progressive"));
        let mut huge = whole;
        huge[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0xff, 0x1f, 0xff]);
        assert!(why(&huge).contains("claims 8191 x 8191"));
    }

    /// All pixels of the shared test set, class by class in turn, as Pillow 13 with libjpeg-turbo 3.2 decodes them.
    #[test]
    fn the_cifar10_jpegs_decode_to_libjpegs_bits() {
        const LIBJPEG_SHA256: &str = "5fce8f6a84d7de12f276662376ce80f5f19c236502ddae2e16c3f187c0386c13";
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/cifar10");
        if !std::path::Path::new(folder).exists() {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{folder} is required");
            println!("SKIPPED: {folder} is absent");
            return;
        }
        let set = crate::data::open(&format!("cifar10-jpeg:{folder}"), &Default::default()).unwrap();
        assert_eq!(
            (set.len(), set.labels.as_ref().unwrap()[..12].to_vec()),
            (10_000, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
        );
        let mut sha = Sha256::new();
        set.images.iter().for_each(|image| sha.update(&image.pixels));
        let digest: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, LIBJPEG_SHA256);
    }
}
