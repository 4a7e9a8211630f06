//! No bytes whatever make a door panic, hang, or take more memory than they justify.
//!
//! Files are made here and then damaged; the shared models are damaged too where they are present.
//! A counting allocator watches the peak of every attempt.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use trunkline::data::{self, OpenOptions, image::Image, jpeg};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::graph::Graph;
use trunkline::model::{ModelError, npz::Npz, onnx, tflite};
use trunkline::quant::Profile;
use trunkline::scheme::{Request, SCHEMES, SchemeSpec, place};
use trunkline::tensor::Tensor;
use trunkline::trunk::prepare;

mod sealed;
mod tiny;

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system allocator as it came; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Attempts are measured one at a time: the counter is the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `attempt` on what `file_bytes` of file justify: a multiple of their size and a fixed allowance.
fn justified<T>(file_bytes: usize, attempt: impl FnOnce() -> T) -> T {
    const ALLOWANCE_BYTES: usize = 8 << 20;
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(before, Ordering::Relaxed);
    let started = Instant::now();
    let outcome = attempt();
    let used = PEAK_BYTES.load(Ordering::Relaxed) - before;
    let limit = ALLOWANCE_BYTES + 64 * file_bytes;
    assert!(used <= limit, "{file_bytes} bytes of file took {used} bytes of memory");
    assert!(started.elapsed() < Duration::from_secs(20), "{file_bytes} bytes of file took {:?}", started.elapsed());
    outcome
}

/// The watch itself is watched.
#[test]
#[should_panic(expected = "of memory")]
fn memory_beyond_what_the_file_justifies_is_noticed() {
    let _alone = alone();
    justified(1000, || std::hint::black_box(vec![1u8; 16 << 20]));
}

fn alone() -> impl Drop {
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(7), ..Config::default() }
}

/// What happened to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    /// A little-endian word in place of what was there: sizes and offsets are words.
    Word(usize, u32),
    Cut(usize),
    Double(usize, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let word = prop_oneof![any::<u32>(), 0..64u32, Just(u32::MAX), Just(i32::MAX as u32), Just(1 << 31)];
    let one = prop_oneof![
        4 => (any::<usize>(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        4 => (any::<usize>(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => any::<usize>().prop_map(Damage::Cut),
        1 => (any::<usize>(), 0..64usize).prop_map(|(at, n)| Damage::Double(at, n)),
    ];
    prop::collection::vec(one, 1..6)
}

fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damage {
        let len = bytes.len().max(1);
        match *damage {
            Damage::Flip(at, bits) => bytes.iter_mut().skip(at % len).take(1).for_each(|byte| *byte ^= bits),
            Damage::Word(at, word) => {
                let at = (at % len) & !3;
                bytes.iter_mut().skip(at).zip(word.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
            Damage::Cut(at) => bytes.truncate(at % len),
            Damage::Double(at, n) => {
                let at = at % len;
                let piece: Vec<u8> = bytes.iter().skip(at).take(n).copied().collect();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece);
            }
        }
    }
    bytes
}

fn import(bytes: &[u8]) -> Result<(), ModelError> {
    let imported = justified(bytes.len(), || tflite::import_bytes(bytes, Path::new("damaged.tflite")))?;
    go_on_with(&imported.graph);
    Ok(())
}

/// A model that came through the door must also be placed, prepared and run without a panic: each
/// step is free to refuse it. Its maps may be larger than its file, so memory is not watched here.
fn go_on_with(graph: &Graph) {
    for scheme in SCHEMES {
        let request = Request { scheme: SchemeSpec(scheme.name.into()), sites: None, batch_norm: None, seed: 0 };
        let Ok(placed) = place(graph, &request) else { continue };
        let _refused_or_not = prepare(&placed.graph, &Profile::default(), 8);
    }
    let elements: usize = graph.edges.iter().map(|e| e.shape.elements()).sum();
    let macs: u64 = graph.node_ids().map(|n| graph.macs(n)).sum();
    // What would take long is not run; preparing it was the point.
    if let Ok(program) = prepare(graph, &Profile::default(), 8)
        && elements < 1 << 21
        && macs < 1 << 26
    {
        let input = Tensor::zeros(1, graph.shape(graph.input));
        let _refused_or_not = program.run_all(&input);
    }
}

/// An error must say which file it is about.
fn names_the_file(outcome: Result<(), impl std::error::Error>, file: &str) {
    if let Err(error) = outcome {
        assert!(error.to_string().contains(file), "{error}");
    }
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn a_damaged_model_is_an_error_or_a_model(damage in damage()) {
        let _alone = alone();
        names_the_file(import(&damaged(&tiny::sample().build(), &damage)), "damaged.tflite");
    }

    #[test]
    fn any_bytes_after_the_magic_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _alone = alone();
        let mut file = vec![bytes.len() as u8, 0, 0, 0, b'T', b'F', b'L', b'3'];
        file.extend(bytes);
        prop_assert!(import(&file).is_err());
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn damaged_shared_models_are_errors_or_models(damage in damage()) {
        let _alone = alone();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models/mlperf_tiny"));
        for name in ["kws_ref_model", "pretrainedResnet_quant", "ad01_int8", "vww_96_int8"] {
            let Ok(bytes) = std::fs::read(folder.join(format!("{name}.tflite"))) else {
                assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{} is required", folder.display());
                println!("SKIPPED: {} is absent", folder.display());
                break;
            };
            names_the_file(import(&damaged(&bytes, &damage)), "damaged.tflite");
        }
    }
}

#[test]
fn a_file_cannot_multiply_itself_by_naming_one_buffer_often() {
    let _alone = alone();
    let mut model = tiny::Tiny::default();
    let mut map = model.map(tiny::INT8, &[1, 300]);
    let weight = model.weight(&[300, 300], 0);
    for _ in 0..200 {
        let next = model.map(tiny::INT8, &[1, 300]);
        model.operator(9, &[map, weight], next, Some((8, &[])));
        map = next;
    }
    let bytes = model.build();
    let error = import(&bytes).unwrap_err().to_string();
    assert!(error.contains("share buffers"), "{error}");
}

/// What a field of a trunk file may be changed to.
fn replacement() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let number = prop_oneof![Just(0i64), Just(1), Just(-1), Just(3), Just(1 << 26), Just(1 << 40), Just(i64::MAX)];
    prop_oneof![
        4 => number.prop_map(|n| json!(n)),
        1 => prop::sample::select(vec![json!(null), json!([]), json!({}), json!(1e300), json!(1e-40), json!("stem")]),
        1 => prop::sample::select(vec![json!("input"), json!("relu"), json!("add"), json!("s1b1c1"), json!(true)]),
    ]
}

/// Replaces leaf number `at` of a document.
fn replace_leaf(value: &mut serde_json::Value, at: &mut usize, with: &serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|v| replace_leaf(v, at, with)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|v| replace_leaf(v, at, with)),
        leaf => {
            if *at == 0 {
                *leaf = with.clone();
            }
            *at = at.wrapping_sub(1);
        }
    }
}

fn leaves(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => items.iter().map(leaves).sum(),
        serde_json::Value::Object(fields) => fields.values().map(leaves).sum(),
        _ => 1,
    }
}

/// The bytes of a small trunk file of our own.
fn trunk_file() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        let mut trunk = Trunk::open("resnet8:width=0.125,input=8", Wanted::default()).unwrap();
        trunk.calibrate_on("random", 1, 0).unwrap();
        trunk.to_file().unwrap().to_bytes().unwrap()
    })
}

fn open_trunk(bytes: &[u8]) -> Result<(), impl std::error::Error + use<>> {
    let (_folder, path) = folder_with("damaged.safetensors", bytes);
    justified(bytes.len(), || Trunk::import(&path)).map(|trunk| go_on_with(&trunk.graph))
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn a_damaged_trunk_file_is_an_error(damage in damage()) {
        let _alone = alone();
        let bytes = damaged(trunk_file(), &damage);
        let outcome = open_trunk(&bytes);
        prop_assert!(outcome.is_err() || bytes == trunk_file(), "no byte of it can change unnoticed");
        names_the_file(outcome, "damaged.safetensors");
    }

    #[test]
    fn a_trunk_file_with_changed_fields_is_an_error_or_a_trunk(
        changes in prop::collection::vec((any::<usize>(), replacement()), 1..4),
    ) {
        let _alone = alone();
        let bytes = sealed::resealed(trunk_file(), |parts| {
            let count = leaves(&parts.document);
            for (at, with) in &changes {
                replace_leaf(&mut parts.document, &mut (at % count), with);
            }
        });
        names_the_file(open_trunk(&bytes), "damaged.safetensors");
    }

    #[test]
    fn a_trunk_file_with_changed_tensors_is_an_error_or_a_trunk(which in any::<usize>(), damage in damage()) {
        let _alone = alone();
        let bytes = sealed::resealed(trunk_file(), |parts| {
            let at = which % parts.tensors.len();
            let (dtype, shape, data) = parts.tensors.values_mut().nth(at).expect("a tensor");
            let changed = damaged(data, &damage);
            // A tensor of another length, if it can have one.
            let word = dtype.bitsize() / 8;
            if changed.len() != data.len() && changed.len().is_multiple_of(word) {
                *shape = vec![changed.len() / word];
            }
            if changed.len().is_multiple_of(word) {
                *data = changed;
            }
        });
        names_the_file(open_trunk(&bytes), "damaged.safetensors");
    }
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A folder with one file in it.
fn folder_with(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn npy() -> Vec<u8> {
    let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([7; 24]);
    bytes
}

/// Reads every array as every type.
fn read_arrays(path: &Path, file_bytes: usize) -> Result<(), ModelError> {
    justified(file_bytes, || {
        let mut npz = Npz::open(path)?;
        for name in npz.names() {
            let outcomes = [
                npz.read_i8(&name).map(drop),
                npz.read::<i32>(&name).map(drop),
                npz.read::<f64>(&name).map(drop),
                npz.read_strings(&name).map(drop),
            ];
            outcomes.into_iter().for_each(|outcome| names_the_file(outcome, "x.npz"));
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_damaged_npz_is_an_error_or_arrays(damage in damage()) {
        let _alone = alone();
        let bytes = damaged(&zipped(&[("a.npy", &npy()), ("b.npy", &npy())]), &damage);
        let (_folder, path) = folder_with("x.npz", &bytes);
        names_the_file(read_arrays(&path, bytes.len()), "x.npz");
    }

    #[test]
    fn a_damaged_array_in_a_sound_npz_is_an_error_or_an_array(damage in damage()) {
        let _alone = alone();
        let bytes = zipped(&[("a.npy", &damaged(&npy(), &damage))]);
        let (_folder, path) = folder_with("x.npz", &bytes);
        names_the_file(read_arrays(&path, bytes.len()), "x.npz");
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_damaged_onnx_file_is_an_error_or_a_graph(which in 0usize..4, damage in damage()) {
        let _alone = alone();
        let name = ["tiny_qdq_s8", "tiny_qdq_u8", "tiny_qop_s8", "tiny_qop_u8"][which];
        let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/onnx_quant/{}.onnx"), name);
        let bytes = damaged(&std::fs::read(path).unwrap(), &damage);
        let outcome = justified(bytes.len(), || onnx::import_bytes(bytes.clone(), Path::new("damaged.onnx")));
        if let Ok(imported) = &outcome {
            go_on_with(&imported.graph);
        }
        names_the_file(outcome.map(drop), "damaged.onnx");
    }
}

fn encoded(format: image::ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let drawn =
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]));
    let mut bytes = Cursor::new(vec![]);
    drawn.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn open(spec: &str, file_bytes: usize) -> Result<(), data::DataError> {
    justified(file_bytes, || data::open(spec, &OpenOptions::default()).map(drop))
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_damaged_image_is_an_error_or_an_image(damage in damage()) {
        let _alone = alone();
        for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg] {
            let bytes = damaged(&encoded(format, 40, 24), &damage);
            // Pixels may be a thousand times the file; what the damage claims beyond that is refused.
            let outcome = justified(20 * bytes.len(), || Image::decode(&bytes, format));
            let exact = justified(20 * bytes.len(), || jpeg::decode(&bytes));
            for image in [outcome, exact].into_iter().flatten() {
                prop_assert_eq!(image.pixels.len(), image.width * image.height * image.channels);
            }
        }
    }

    #[test]
    fn a_damaged_archive_of_images_is_an_error_or_a_set(damage in damage()) {
        let _alone = alone();
        let jpeg = encoded(image::ImageFormat::Jpeg, 32, 32);
        let sound = zipped(&[("test/cat/0000.jpg", &jpeg), ("test/dog/0000.jpg", &jpeg), ("README", b"")]);
        let bytes = damaged(&sound, &damage);
        let (_folder, path) = folder_with("x.zip", &bytes);
        names_the_file(open(&format!("cifar10-jpeg:{}", path.display()), bytes.len()), "x.zip");
    }

    #[test]
    fn a_damaged_tree_of_images_is_an_error_or_a_set(damage in damage(), omniglot in any::<bool>()) {
        let _alone = alone();
        let png = encoded(image::ImageFormat::Png, 12, 10);
        let sound = zipped(&[("A/character01/0_1.png", &png), ("B/character02/0_1.png", &png), ("README", b"")]);
        let bytes = damaged(&sound, &damage);
        let (_folder, path) = folder_with("x.zip", &bytes);
        let kind = if omniglot { "omniglot" } else { "images" };
        names_the_file(open(&format!("{kind}:{}", path.display()), 20 * bytes.len()), "x.zip");
    }

    #[test]
    fn a_damaged_idx_is_an_error_or_a_set(damage in damage(), gz in any::<bool>()) {
        let _alone = alone();
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 5];
        images.extend([77; 60]);
        if gz {
            let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &images).unwrap();
            images = encoder.finish().unwrap();
        }
        let bytes = damaged(&images, &damage);
        let (folder, path) = folder_with("x-images-idx3-ubyte", &bytes);
        std::fs::write(folder.path().join("x-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4]).unwrap();
        names_the_file(open(&format!("idx:{}", path.display()), 1100 * bytes.len()), "x-");
    }

    #[test]
    fn any_labels_are_an_error_that_names_them(text in "[0-9a-z\n \u{e9}-]{0,40}") {
        let _alone = alone();
        let (folder, _) = folder_with("cifar10_train_batch_labels.txt", text.as_bytes());
        let error = open(&format!("cifar10:{}", folder.path().display()), text.len()).unwrap_err();
        prop_assert!(error.to_string().contains("labels.txt"), "{}", error);
    }

    #[test]
    fn any_spec_is_an_error_or_a_set(spec in "(synth:(shapes|gratings)(:(count|size|seed|x)=[0-9x,=]{0,3})?|[a-z:/=,]{0,20})") {
        let _alone = alone();
        let options = OpenOptions { limit: Some(2), ..OpenOptions::default() };
        // The largest request of three digits is two images of 999 x 999.
        let outcome = justified(1 << 20, || data::open(&spec, &options));
        if let Ok(set) = outcome {
            prop_assert!(set.len() <= 2 && set.labels.unwrap().len() == set.images.len());
        }
    }
}

/// A small set of `tests/conformance/data_writers.py`.
fn written(name: &str) -> Vec<u8> {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/data_sets/{}"), name);
    std::fs::read(path).unwrap()
}

/// Opens a set and decodes it, by the door that is named and by its content.
fn through_doors(kind: &str, path: &Path, file_bytes: usize) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    for spec in [format!("{kind}:{}", path.display()), path.display().to_string()] {
        names_the_file(open(&spec, file_bytes), &name);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn damaged_records_of_cifar_are_an_error_or_a_set(damage in damage(), hundred in any::<bool>()) {
        let _alone = alone();
        let sound = written(if hundred { "cifar100/train.bin" } else { "cifar10/data_batch_1.bin" });
        let bytes = damaged(&sound, &damage);
        let (_folder, path) = folder_with("data_batch_1.bin", &bytes);
        through_doors("cifar-binary", &path, bytes.len());
    }

    #[test]
    fn a_damaged_npz_of_images_is_an_error_or_a_set(damage in damage(), plain in any::<bool>()) {
        let _alone = alone();
        let bytes = damaged(&written(if plain { "plain.npz" } else { "deflated.npz" }), &damage);
        let (_folder, path) = folder_with("x.npz", &bytes);
        through_doors("npz", &path, 20 * bytes.len());
    }

    #[test]
    fn a_damaged_list_is_an_error_or_a_set(damage in damage(), text in "(path|image),(label|class)\n([a-z./0-9]{0,12},[a-z]{0,3}\n){0,4}") {
        let _alone = alone();
        for sound in [written("list/headed.csv"), written("list/bare.csv"), text.into_bytes()] {
            let bytes = damaged(&sound, &damage);
            let (folder, path) = folder_with("x.csv", &bytes);
            // What the list names is there, so that more than its first line is read.
            std::fs::create_dir(folder.path().join("images")).unwrap();
            let png = encoded(image::ImageFormat::Png, 4, 4);
            (0..4).for_each(|i| std::fs::write(folder.path().join(format!("images/{i}.png")), &png).unwrap());
            // An error may be about the list or about an image that it names: both are in its folder.
            let place = folder.path().display().to_string();
            names_the_file(open(&format!("csv:{}", path.display()), bytes.len()), &place);
            names_the_file(open(&path.display().to_string(), bytes.len()), &place);
        }
    }

    #[test]
    fn a_damaged_parquet_file_is_an_error_or_a_set(damage in damage(), which in 0usize..4) {
        let _alone = alone();
        let name = ["struct-none", "plain-snappy-dictionary", "plain-gzip-dictionary", "struct-zstd"][which];
        let bytes = damaged(&written(&format!("parquet/{name}.parquet")), &damage);
        let (_folder, path) = folder_with("x.parquet", &bytes);
        through_doors("parquet", &path, 20 * bytes.len());
    }

    #[test]
    fn damaged_annotations_are_an_error_or_a_set(damage in damage()) {
        let _alone = alone();
        let bytes = damaged(&written("decathlon/annotations/svhn_train.json"), &damage);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("annotations")).unwrap();
        std::fs::write(folder.path().join("annotations/svhn_train.json"), &bytes).unwrap();
        let place = folder.path().display().to_string();
        names_the_file(open(&format!("decathlon:{place}"), bytes.len()), &place);
        names_the_file(open(&place, bytes.len()), &place);
    }

    #[test]
    fn any_file_is_detected_or_refused_by_name(
        start in prop::sample::select(vec![&b"PK\x03\x04"[..], b"PAR1", b"\x1f\x8b\x08", b"\0\0\x08\x03", b"path,label\n", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..120),
        name in "[a-z]{1,4}(\\.bin|\\.npz|\\.csv|\\.parquet)?",
    ) {
        let _alone = alone();
        let bytes = [start, &rest[..]].concat();
        let (folder, path) = folder_with(&name, &bytes);
        let place = folder.path().display().to_string();
        names_the_file(open(&path.display().to_string(), 1100 * bytes.len()), &place);
    }
}

/// The decoder would allocate all pixels before it found out that they are not there.
#[test]
fn an_image_cannot_claim_more_pixels_than_its_bytes_can_hold() {
    let _alone = alone();
    let mut jpeg = encoded(image::ImageFormat::Jpeg, 32, 32);
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0xff, 0x1f, 0xff]);
    let why = justified(jpeg.len(), || Image::decode(&jpeg, image::ImageFormat::Jpeg).map(drop).unwrap_err());
    assert!(why.contains("claims 8191 x 8191"), "{why}");
}

/// What a wrong archive's error must say.
#[test]
fn a_wrong_archive_is_refused_by_archive_member_and_reason() {
    let _alone = alone();
    let jpeg = encoded(image::ImageFormat::Jpeg, 32, 32);
    let small = encoded(image::ImageFormat::Jpeg, 16, 16);
    let bomb = vec![0; 1 << 20];
    let cases: [(&str, &[u8], &str); 6] = [
        ("../test/cat/0000.jpg", &jpeg, "leaves the archive"),
        ("test/../../cat/0000.jpg", &jpeg, "leaves the archive"),
        ("test/zebra/0000.jpg", &jpeg, "of a CIFAR-10 class"),
        ("test/cat/0000.jpg", &small, "is 16 x 16 x 3"),
        ("test/cat/0000.jpg", &bomb, "larger than"),
        ("test/cat/0000.jpg", b"not a jpeg", ""),
    ];
    for (member, bytes, why) in cases {
        let (_folder, path) = folder_with("x.zip", &zipped(&[(member, bytes)]));
        let error = open(&format!("cifar10-jpeg:{}", path.display()), 1 << 12).unwrap_err().to_string();
        assert!(error.contains("x.zip") && error.contains(member) && error.contains(why), "{error}");
    }
}

#[test]
fn a_bomb_in_an_npz_is_not_inflated() {
    let _alone = alone();
    let mut member = npy();
    member.extend(vec![0; 64 << 20]);
    let bytes = zipped(&[("a.npy", &member)]);
    drop(member);
    let (_folder, path) = folder_with("x.npz", &bytes);
    let error = justified(bytes.len() / 64, || Npz::open(&path).unwrap().read::<i32>("a").unwrap_err().to_string());
    assert!(error.contains("a.npy") && error.contains("describes"), "{error}");
}
