//! Every door opens what programs that are not ours wrote, and decodes it to the same pixels: the sets of
//! `tests/conformance/data_writers.py`, whose `data_sets.json` says what they hold.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use trunkline::data::split::Split;
use trunkline::data::{Catalogue, OpenOptions, Samples, catalogue};

const SETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/data_sets");

fn expected() -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(SETS).join("data_sets.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Opened by its content: no kind is named.
fn opened(name: &str) -> Catalogue {
    catalogue(&format!("{SETS}/{name}"), &OpenOptions::default()).unwrap()
}

/// The SHA-256 of all pixels.
fn digest(samples: &Samples) -> String {
    let mut sha = Sha256::new();
    (0..samples.len()).for_each(|i| sha.update(&samples.image(i).unwrap().pixels));
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_others_wrote_decodes_to_the_pixels_that_they_read() {
    let sets = expected();
    assert!(sets.len() > 20, "{} sets", sets.len());
    for told in &sets {
        let name = told["spec"].as_str().unwrap();
        let set = opened(name);
        if let Some(classes) = told["classes"].as_array() {
            assert_eq!(set.classes.iter().map(String::as_str).collect::<Vec<_>>(), classes[..], "{name}");
        }
        for split in Split::ALL {
            let told = &told["splits"][split.name()];
            let labels: Option<Vec<u64>> = set[split].labels().map(|all| all.into_iter().map(u64::from).collect());
            assert_eq!(set[split].len() as u64, told["images"].as_u64().unwrap_or(0), "{name} {split}");
            if !told.is_null() {
                assert_eq!(serde_json::to_value(labels).unwrap(), told["labels"], "{name} {split}");
                assert_eq!(digest(&set[split]), told["sha256"].as_str().unwrap(), "{name} {split}");
            }
        }
    }
}

/// Parquet pages are read and held as they are asked for: any order from many threads gives the same images.
#[test]
fn rows_of_parquet_files_come_in_any_order() {
    use rayon::prelude::*;
    for name in ["parquet/struct-snappy.parquet", "parquet/plain-zstd-dictionary.parquet", "hub"] {
        let set = opened(name);
        let samples = &set[Split::Train];
        let inside_out: Vec<usize> = (0..200).map(|i| (i * 7) % samples.len()).collect();
        let in_order: Vec<_> = (0..samples.len()).map(|i| samples.image(i).unwrap()).collect();
        let found: Vec<_> = inside_out.par_iter().map(|&i| samples.image(i).unwrap()).collect();
        assert!(inside_out.iter().zip(found).all(|(&i, image)| image == in_order[i]), "{name}");
    }
}
