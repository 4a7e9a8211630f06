//! From decoded images to the trunk's input: the host's and the sensor's work.

use crate::data::image::Image;
use crate::quant::{QuantParams, boundary};
use crate::tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum InputError {
    #[error("images have {has} channels, the trunk takes {wants}: no conversion from {has} to {wants}")]
    Channels { has: usize, wants: usize },
    #[error("the trunk's input has no codes: calibrate it first")]
    Uncalibrated,
}

/// How pixel values become the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocess {
    /// The byte is the code: 0 is the lowest code, 255 the highest. What quantised models trained
    /// on plain pixels expect.
    Codes,
    /// `(byte / 255 - mean) / std` by channel (a grey image has the first), then coded by the
    /// input's scale.
    Normalise { mean: [f32; 3], std: [f32; 3] },
}

/// Normalisations by the name under which they can be asked for.
pub const NORMALISATIONS: [(&str, Preprocess); 4] = [
    ("imagenet", Preprocess::IMAGENET),
    ("centred", Preprocess::CENTRED),
    ("signed", Preprocess::Normalise { mean: [0.5; 3], std: [0.5; 3] }),
    ("unit", Preprocess::Normalise { mean: [0.0; 3], std: [1.0; 3] }),
];

impl Preprocess {
    /// Pixels around zero, in about ±2.
    pub const CENTRED: Self = Self::Normalise { mean: [0.5; 3], std: [0.25; 3] };

    /// The mean and deviation of ImageNet, by which networks trained with PyTorch mostly normalise.
    pub const IMAGENET: Self = Self::Normalise { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
}

/// The pixels of an image at the trunk's size and channel count. Another size is resampled
/// (bilinear); grey becomes RGB by repetition and RGB grey by luma.
fn fit(image: &Image, shape: Shape) -> Result<Vec<u8>, InputError> {
    let resized = (image.width != shape.w || image.height != shape.h).then(|| image.resized(shape.h, shape.w));
    let image = resized.as_ref().unwrap_or(image);
    image.pixels_with(shape.c).ok_or(InputError::Channels { has: image.channels, wants: shape.c })
}

/// The pixels of images, all at the trunk's shape.
fn fit_all(images: &[Image], shape: Shape) -> Result<Tensor<u8>, InputError> {
    let mut data = Vec::with_capacity(images.len() * shape.elements());
    for image in images {
        data.extend(fit(image, shape)?);
    }
    Ok(Tensor::from_vec(images.len(), shape, data))
}

/// Real input values, for calibration.
pub fn reals(images: &[Image], shape: Shape, how: Preprocess) -> Result<Tensor<f32>, InputError> {
    Ok(reals_of(&fit_all(images, shape)?, how))
}

/// The same of pixels that have the trunk's shape already.
pub fn reals_of(pixels: &Tensor<u8>, how: Preprocess) -> Tensor<f32> {
    let by_channel = pixels.data.iter().enumerate().map(|(i, &p)| real(p, i % pixels.shape.c, how));
    Tensor::from_vec(pixels.batch, pixels.shape, by_channel.collect())
}

/// Input codes, in the engine's signed view.
pub fn codes(
    images: &[Image],
    shape: Shape,
    how: Preprocess,
    quant: Option<QuantParams>,
) -> Result<Tensor<i8>, InputError> {
    codes_of(&fit_all(images, shape)?, how, quant)
}

/// The same of pixels that have the trunk's shape already.
pub fn codes_of(pixels: &Tensor<u8>, how: Preprocess, quant: Option<QuantParams>) -> Result<Tensor<i8>, InputError> {
    let quant = quant.ok_or(InputError::Uncalibrated)?;
    // 256 pixel values, 256 codes, by channel.
    let table = |channel: usize| -> Vec<i8> { (0..=255u8).map(|p| code(p, channel, how, quant)).collect() };
    let tables = [table(0), table(1), table(2)];
    let by_channel =
        pixels.data.iter().enumerate().map(|(i, &p)| tables[last_of_three(i % pixels.shape.c)][usize::from(p)]);
    Ok(Tensor::from_vec(pixels.batch, pixels.shape, by_channel.collect()))
}

/// Channels after the third are normalised like the third.
fn last_of_three(channel: usize) -> usize {
    channel.min(2)
}

fn real(pixel: u8, channel: usize, how: Preprocess) -> f32 {
    match how {
        Preprocess::Codes => f32::from(pixel),
        Preprocess::Normalise { mean, std } => {
            let c = last_of_three(channel);
            (f32::from(pixel) / 255.0 - mean[c]) / std[c]
        }
    }
}

fn code(pixel: u8, channel: usize, how: Preprocess, quant: QuantParams) -> i8 {
    match how {
        Preprocess::Codes => (i32::from(pixel) - 128) as i8,
        Preprocess::Normalise { .. } => boundary::quantise_input(&[real(pixel, channel, how)], &quant).0[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::CodeType;

    #[test]
    fn every_channel_has_its_own_mean_and_deviation() {
        let image = Image { width: 2, height: 1, channels: 3, pixels: vec![0, 0, 0, 255, 255, 255] };
        let shape = Shape::new(1, 2, 3);
        let x = reals(std::slice::from_ref(&image), shape, Preprocess::IMAGENET).unwrap();
        for (channel, (mean, std)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].into_iter().enumerate() {
            assert_eq!(x.data[channel], (0.0 - mean) / std);
            assert_eq!(x.data[3 + channel], (1.0 - mean) / std);
        }
        let quant = QuantParams { scale: 0.01, zero_point: 0, codes: CodeType::I8 };
        let q = codes(&[image], shape, Preprocess::IMAGENET, Some(quant)).unwrap();
        let expected: Vec<i8> = x.data.iter().map(|v| (v / 0.01).round().clamp(-128.0, 127.0) as i8).collect();
        assert_eq!(q.data, expected);
    }
}
