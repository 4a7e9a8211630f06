//! One 8-bit image, grey or RGB: decoded from a file's bytes, resized, looked at.

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// No side of any image is longer.
pub const MAX_SIDE: usize = 8192;
/// Neither deflate nor JPEG can describe more pixel bytes per byte of file.
pub(super) const MAX_EXPANSION: u64 = 1100;

/// Rows of pixels, channels innermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height × width × channels` values.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Decodes a PNG or BMP that is in memory, or a JPEG whose last bits do not matter (`jpeg` has
    /// libjpeg's). Says why it cannot; the caller knows the file.
    pub fn decode(bytes: &[u8], format: ImageFormat) -> Result<Self, String> {
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE as u32);
        limits.max_image_height = Some(MAX_SIDE as u32);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions();
        let claimed_bytes = decoder.total_bytes();
        // The decoder allocates the whole image before it reads the first pixel.
        if claimed_bytes > (bytes.len() as u64).saturating_mul(MAX_EXPANSION) {
            return Err(format!("claims {width} x {height} pixels, more than {} bytes can hold", bytes.len()));
        }
        match DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())? {
            DynamicImage::ImageLuma8(grey) => Ok(Self::new(width, height, 1, grey.into_raw())),
            DynamicImage::ImageRgb8(rgb) => Ok(Self::new(width, height, 3, rgb.into_raw())),
            // What is transparent keeps the colour that the file gives it.
            DynamicImage::ImageLumaA8(grey) => Ok(Self::new(width, height, 1, grey.pixels().map(|p| p.0[0]).collect())),
            DynamicImage::ImageRgba8(rgb) => {
                Ok(Self::new(width, height, 3, rgb.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect()))
            }
            other => Err(format!("is of colour type {:?}; 8-bit grey and RGB are read", other.color())),
        }
    }

    /// Decodes a PNG, JPEG or BMP, told apart by how it begins. Baseline JPEGs come out as
    /// libjpeg's bits, others as the `image` crate decodes them.
    pub fn decode_any(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Self::decode(bytes, ImageFormat::Png),
            [b'B', b'M', ..] => Self::decode(bytes, ImageFormat::Bmp),
            // What is damaged must not be concealed by a more forgiving decoder.
            [0xff, 0xd8, ..] if !super::jpeg::is_progressive(bytes) => super::jpeg::decode(bytes),
            [0xff, 0xd8, ..] => Self::decode(bytes, ImageFormat::Jpeg),
            _ => Err("is neither PNG, JPEG nor BMP".into()),
        }
    }

    /// A grey image as RGB, by repetition.
    pub fn to_rgb(&self) -> Self {
        let pixels = match self.channels {
            1 => self.pixels.iter().flat_map(|&p| [p; 3]).collect(),
            _ => self.pixels.clone(),
        };
        Self { pixels, channels: 3, ..*self }
    }

    /// The pixels with `channels` channels: grey becomes RGB by repetition, RGB grey by luma.
    /// There is no other conversion.
    pub fn pixels_with(&self, channels: usize) -> Option<Vec<u8>> {
        match (self.channels, channels) {
            (has, wants) if has == wants => Some(self.pixels.clone()),
            (1, 3) => Some(self.pixels.iter().flat_map(|&p| [p; 3]).collect()),
            (3, 1) => Some(self.pixels.chunks_exact(3).map(luma).collect()),
            _ => None,
        }
    }

    fn new(width: u32, height: u32, channels: usize, pixels: Vec<u8>) -> Self {
        Self { width: width as usize, height: height as usize, channels, pixels }
    }

    /// This image at another size, bilinear: a triangle as wide as the larger pixel.
    pub fn resized(&self, height: usize, width: usize) -> Self {
        if (self.height, self.width) == (height, width) {
            return self.clone();
        }
        let (from_w, from_h) = (self.width as u32, self.height as u32);
        let (w, h) = (width as u32, height as u32);
        let pixels = self.pixels.clone();
        let resized = match self.channels {
            1 => GrayImage::from_raw(from_w, from_h, pixels).map(|i| resize(&i, w, h, FilterType::Triangle).into_raw()),
            _ => RgbImage::from_raw(from_w, from_h, pixels).map(|i| resize(&i, w, h, FilterType::Triangle).into_raw()),
        };
        let pixels = resized.expect("an image holds height x width x channels values");
        Self { width, height, channels: self.channels, pixels }
    }
}

/// ITU-R BT.601 luma.
fn luma(rgb: &[u8]) -> u8 {
    let weighted = 299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2]);
    ((weighted + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(image: &RgbImage) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_png_comes_back_exactly() {
        let drawn = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 200]));
        let image = Image::decode(&png(&drawn), ImageFormat::Png).unwrap();
        assert_eq!((image.width, image.height, image.channels), (5, 3, 3));
        assert_eq!(image.pixels, drawn.into_raw());
    }

    #[test]
    fn a_small_file_cannot_claim_a_large_image() {
        let mut bytes = png(&RgbImage::new(4, 4));
        bytes[16..24].copy_from_slice(&[0, 0, 0x1f, 0xff, 0, 0, 0x1f, 0xff]);
        // The claim alone must do: make the header's checksum right again.
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let why = Image::decode(&bytes, ImageFormat::Png).unwrap_err();
        assert!(why.contains("8191 x 8191"), "{why}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
    }

    #[test]
    fn resizing_keeps_flat_colour_and_blends_between() {
        let flat = Image { width: 2, height: 2, channels: 3, pixels: [9, 8, 7].repeat(4) };
        assert_eq!(flat.resized(5, 4).pixels, [9, 8, 7].repeat(20));
        let edge = Image { width: 2, height: 1, channels: 1, pixels: vec![0, 100] };
        assert_eq!(edge.resized(1, 4).pixels, [0, 25, 75, 100]);
        assert_eq!(edge.resized(1, 2), edge);
    }
}
