//! CIFAR-10's test images as JPEGs in a zip: `test/<class>/NNNN.jpg`.
//!
//! Images come class by class in turn (the first of every class, then the second, …), so that the
//! first N are as balanced as N allows. The files have quality 75 and half-resolution colour,
//! which costs a network trained on the originals about ten points.

use super::archive::{Archive, Member};
use super::cifar10::{CLASSES, SIDE};
use super::image::Image;
use super::{DataError, Dataset, OpenOptions, Source, jpeg};
use crate::tensor::Shape;
use rayon::prelude::*;
use std::path::Path;

pub(super) const SOURCE: Source = Source {
    kind: "cifar10-jpeg",
    argument: "DIR_OR_ZIP",
    about: "10,000 CIFAR-10 test images as JPEGs of quality 75: cifar10_test_10000_jpg.zip, test/<class>/NNNN.jpg",
    open,
};

const ARCHIVE: &str = "cifar10_test_10000_jpg.zip";
/// The largest of the files has 1.4 kB.
const MAX_MEMBER_BYTES: u64 = 64 << 10;
/// Images whose compressed bytes are held at once.
const CHUNK: usize = 512;

fn open(path: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let path = Path::new(path);
    let path = if path.is_dir() { path.join(ARCHIVE) } else { path.into() };
    let mut archive = Archive::open(&path)?;
    let mut members = in_turn(&mut archive)?;
    if members.is_empty() {
        return Err(DataError::File { path, why: "has no test/<class>/*.jpg".into() });
    }
    members.truncate(options.limit.unwrap_or(usize::MAX));
    let mut images = vec![];
    for chunk in members.chunks(CHUNK) {
        images.extend(decode_chunk(&mut archive, chunk)?);
    }
    let labels = members.iter().map(|(label, _)| *label).collect();
    let (classes, shape) = (CLASSES.map(String::from).to_vec(), Shape::new(SIDE, SIDE, 3));
    Ok(Dataset { name: SOURCE.kind.into(), classes, images, labels: Some(labels), shape })
}

/// Labels and members, each class's in the order of their names, classes taking turns.
fn in_turn(archive: &mut Archive) -> Result<Vec<(u32, Member)>, DataError> {
    let mut by_class: [Vec<Member>; CLASSES.len()] = Default::default();
    for member in archive.members()? {
        if !member.name.ends_with(".jpg") {
            continue;
        }
        let class = match member.name.split('/').collect::<Vec<_>>()[..] {
            ["test", class, _] => CLASSES.iter().position(|&known| known == class),
            _ => None,
        };
        let class =
            class.ok_or_else(|| archive.error(&member.name, "is not test/<class>/NNNN.jpg of a CIFAR-10 class"))?;
        by_class[class].push(member);
    }
    let mut turns = vec![];
    for (label, mut members) in by_class.into_iter().enumerate() {
        members.sort_by(|a, b| a.name.cmp(&b.name));
        turns.extend(members.into_iter().enumerate().map(|(turn, member)| (turn, label as u32, member)));
    }
    turns.sort_by_key(|(turn, label, _)| (*turn, *label));
    Ok(turns.into_iter().map(|(_, label, member)| (label, member)).collect())
}

/// Reads in order, decodes in parallel, and reports the first fault in order.
fn decode_chunk(archive: &mut Archive, members: &[(u32, Member)]) -> Result<Vec<Image>, DataError> {
    let mut files = vec![];
    for (_, member) in members {
        files.push(archive.read(member, MAX_MEMBER_BYTES)?);
    }
    let decoded: Vec<Result<Image, String>> = files.par_iter().map(|bytes| decode(bytes)).collect();
    let named = decoded.into_iter().zip(members);
    named.map(|(image, (_, member))| image.map_err(|why| archive.error(&member.name, why))).collect()
}

fn decode(bytes: &[u8]) -> Result<Image, String> {
    let image = jpeg::decode(bytes)?;
    if (image.width, image.height, image.channels) != (SIDE, SIDE, 3) {
        return Err(format!("is {} x {} x {}, not 32 x 32 x 3", image.width, image.height, image.channels));
    }
    Ok(image)
}
