//! A contact sheet: the first images of every class, a row of tiles per class.

use super::DataError;
use super::catalogue::{Broken, Samples};
use super::image::Image;
use ::image::{ImageFormat, RgbImage};
use std::io::Cursor;

/// Classes that are shown, and images of each.
const ROWS: usize = 24;
const COLUMNS: usize = 16;
/// Sides of a tile in pixels, within which images keep their size.
const TILE: std::ops::RangeInclusive<usize> = 32..=96;
const GAP: usize = 2;

/// The sheet as a PNG file.
pub fn png(samples: &Samples, broken: &mut Broken) -> Result<Vec<u8>, DataError> {
    let sheet = sheet(samples, broken)?;
    let refused = |why: String| DataError::Spec { spec: "contact sheet".into(), why };
    let picture = RgbImage::from_raw(sheet.width as u32, sheet.height as u32, sheet.pixels);
    let picture = picture.ok_or_else(|| refused("has another size than its pixels".into()))?;
    let mut bytes = Cursor::new(vec![]);
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|error| refused(error.to_string()))?;
    Ok(bytes.into_inner())
}

fn sheet(samples: &Samples, broken: &mut Broken) -> Result<Image, DataError> {
    let mut rows: Vec<Vec<Image>> = vec![];
    for chosen in chosen(samples) {
        let mut row = vec![];
        for index in chosen {
            match samples.image(index) {
                Ok(image) => row.push(image.to_rgb()),
                Err(why) if samples.skip_bad => broken.add(&why),
                Err(why) => return Err(why),
            }
        }
        rows.push(row);
    }
    let largest = rows.iter().flatten().map(|i| i.height.max(i.width)).max().unwrap_or(*TILE.start());
    let tile = largest.clamp(*TILE.start(), *TILE.end());
    let across = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let (width, height) = (across * (tile + GAP) + GAP, rows.len().max(1) * (tile + GAP) + GAP);
    let mut sheet = Image { width, height, channels: 3, pixels: vec![255; width * height * 3] };
    for (y, row) in rows.iter().enumerate() {
        for (x, image) in row.iter().enumerate() {
            paste(&mut sheet, &fitted(image, tile), GAP + x * (tile + GAP), GAP + y * (tile + GAP));
        }
    }
    Ok(sheet)
}

/// The first images of the first classes; without labels, simply the first.
fn chosen(samples: &Samples) -> Vec<Vec<usize>> {
    if samples.labels().is_none() {
        let all: Vec<usize> = (0..samples.len().min(ROWS * COLUMNS)).collect();
        return all.chunks(COLUMNS).map(<[usize]>::to_vec).collect();
    }
    let mut rows = vec![vec![]; ROWS];
    for (index, item) in samples.items().iter().enumerate() {
        if let Some(row) = item.label.and_then(|label| rows.get_mut(label as usize))
            && row.len() < COLUMNS
        {
            row.push(index);
        }
    }
    while rows.last().is_some_and(Vec::is_empty) {
        rows.pop();
    }
    rows
}

/// The image as large as a tile allows, in its proportions.
fn fitted(image: &Image, tile: usize) -> Image {
    let largest = image.height.max(image.width);
    let side = |n: usize| (n * tile / largest).max(1);
    if largest <= tile && largest * 2 > tile {
        image.clone()
    } else {
        image.resized(side(image.height), side(image.width))
    }
}

fn paste(sheet: &mut Image, image: &Image, left: usize, top: usize) {
    for (y, row) in image.pixels.chunks_exact(3 * image.width).enumerate() {
        let start = 3 * ((top + y) * sheet.width + left);
        sheet.pixels[start..start + row.len()].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue, split::Split};

    #[test]
    fn a_row_per_class_and_every_image_in_its_place() {
        let set = catalogue("synth:shapes:count=34,size=40", &OpenOptions::default()).unwrap();
        let sheet = sheet(&set[Split::Train], &mut Broken::default()).unwrap();
        assert_eq!((sheet.width, sheet.height), (4 * 42 + 2, 10 * 42 + 2));
        let second_of_third = set[Split::Train].image(12).unwrap();
        let start = 3 * ((2 + 2 * 42) * sheet.width + 2 + 42);
        assert_eq!(sheet.pixels[start..start + 120], second_of_third.pixels[..120]);
        let decoded = Image::decode_any(&png(&set[Split::Train], &mut Broken::default()).unwrap()).unwrap();
        assert_eq!(decoded, sheet);
    }
}
