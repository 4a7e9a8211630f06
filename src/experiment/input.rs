//! From decoded images to the trunk's input: the host's and the sensor's work.

use crate::data::image::Image;
use crate::quant::{QuantParams, boundary};
use crate::tensor::{Shape, Tensor};
use serde::Serialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum InputError {
    #[error("images have {has} channels, the trunk takes {wants}: no conversion from {has} to {wants}")]
    Channels { has: usize, wants: usize },
    #[error("the trunk's input has no codes: calibrate it first")]
    Uncalibrated,
}

/// How pixel values become the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocess {
    /// The byte is the code: 0 is the lowest code, 255 the highest. What quantised models trained
    /// on plain pixels expect.
    Codes,
    /// `(byte / 255 - mean) / std`, the same for every channel, then coded by the input's scale.
    Normalise { mean: f32, std: f32 },
}

impl Preprocess {
    /// Pixels around zero, in about ±2.
    pub const CENTRED: Self = Self::Normalise { mean: 0.5, std: 0.25 };
}

/// The pixels of an image at the trunk's size and channel count. Another size is resampled
/// (bilinear); grey becomes RGB by repetition and RGB grey by luma.
fn fit(image: &Image, shape: Shape) -> Result<Vec<u8>, InputError> {
    let resized = (image.width != shape.w || image.height != shape.h).then(|| image.resized(shape.h, shape.w));
    let image = resized.as_ref().unwrap_or(image);
    match (image.channels, shape.c) {
        (has, wants) if has == wants => Ok(image.pixels.clone()),
        (1, 3) => Ok(image.pixels.iter().flat_map(|&p| [p; 3]).collect()),
        (3, 1) => Ok(image.pixels.chunks_exact(3).map(luma).collect()),
        (has, wants) => Err(InputError::Channels { has, wants }),
    }
}

/// ITU-R BT.601 luma.
fn luma(rgb: &[u8]) -> u8 {
    let weighted = 299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2]);
    ((weighted + 500) / 1000) as u8
}

/// Real input values, for calibration.
pub fn reals(images: &[Image], shape: Shape, how: Preprocess) -> Result<Tensor<f32>, InputError> {
    let mut data = Vec::with_capacity(images.len() * shape.elements());
    for image in images {
        data.extend(fit(image, shape)?.into_iter().map(|p| real(p, how)));
    }
    Ok(Tensor::from_vec(images.len(), shape, data))
}

/// Input codes, in the engine's signed view.
pub fn codes(
    images: &[Image],
    shape: Shape,
    how: Preprocess,
    quant: Option<QuantParams>,
) -> Result<Tensor<i8>, InputError> {
    let quant = quant.ok_or(InputError::Uncalibrated)?;
    // 256 pixel values, 256 codes.
    let table: Vec<i8> = (0..=255u8).map(|p| code(p, how, quant)).collect();
    let mut data = Vec::with_capacity(images.len() * shape.elements());
    for image in images {
        data.extend(fit(image, shape)?.into_iter().map(|p| table[usize::from(p)]));
    }
    Ok(Tensor::from_vec(images.len(), shape, data))
}

fn real(pixel: u8, how: Preprocess) -> f32 {
    match how {
        Preprocess::Codes => f32::from(pixel),
        Preprocess::Normalise { mean, std } => (f32::from(pixel) / 255.0 - mean) / std,
    }
}

fn code(pixel: u8, how: Preprocess, quant: QuantParams) -> i8 {
    match how {
        Preprocess::Codes => (i32::from(pixel) - 128) as i8,
        Preprocess::Normalise { .. } => boundary::quantise_input(&[real(pixel, how)], &quant).0[0],
    }
}
