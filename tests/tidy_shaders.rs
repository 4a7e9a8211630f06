//! Every shader has its kernel file with a twin and its line in the list, and the other way round.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trunkline::kernel::Kernel;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of one extension in a folder: name without extension, and text.
fn files(folder: &Path, extension: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = entries.filter(|path| path.extension().is_some_and(|e| e == extension));
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    wanted.map(read).collect()
}

fn listed() -> BTreeSet<String> {
    Kernel::ALL.iter().map(|k| k.name().to_owned()).collect()
}

#[test]
fn the_list_names_each_kernel_once() {
    assert_eq!(listed().len(), Kernel::ALL.len());
}

#[test]
fn the_shaders_are_the_listed_kernels() {
    let shaders: BTreeSet<_> = files(&root().join("shaders"), "wgsl").into_iter().map(|(name, _)| name).collect();
    assert_eq!(shaders, listed(), "files in shaders/ and lines in src/kernel/mod.rs");
}

#[test]
fn the_files_with_a_twin_are_the_listed_kernels() {
    let is_kernel = |text: &str| text.contains("\npub fn twin(");
    let twins: BTreeSet<_> = files(&root().join("src/kernel"), "rs")
        .into_iter()
        .filter(|(_, text)| is_kernel(text))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(twins, listed(), "twins in src/kernel/ and lines in src/kernel/mod.rs");
}

#[test]
fn shaders_declare_no_bindings_or_parameters_of_their_own() {
    for (name, text) in files(&root().join("shaders"), "wgsl") {
        for generated in ["@binding", "struct Params", "var<storage", "var<uniform"] {
            assert!(!text.contains(generated), "shaders/{name}.wgsl: {generated} is generated from {name}.rs");
        }
    }
}

#[test]
fn only_one_file_names_wgpu() {
    let mut folders = vec![root().join("src")];
    let mut naming = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
        let uses = files(&folder, "rs").into_iter().filter(|(_, text)| text.contains("wgpu::"));
        naming.extend(uses.map(|(name, _)| folder.join(name)));
    }
    assert_eq!(naming, [root().join("src/device/gpu")]);
}
