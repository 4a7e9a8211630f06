//! Holds the house rules that a compiler does not: the order of the modules, one file that knows
//! wgpu, files and functions of a readable size.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]").next().unwrap();
    body.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first module of each file below `src`, such as `graph` for `graph/check.rs`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(src()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

/// The modules in the order in which `lib.rs` declares them.
fn order() -> BTreeMap<String, usize> {
    let lib = fs::read_to_string(src().join("lib.rs")).unwrap();
    let names = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ").or(l.strip_prefix("mod ")))
        .map(|l| l.trim_end_matches(';').to_string());
    names.enumerate().map(|(i, n)| (n, i)).collect()
}

/// Every module that a text names as `crate::x`.
fn named(text: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    text.split("crate::").skip(1).map(word).filter(|w| !w.is_empty()).collect()
}

/// Names in `text` of modules declared after the one it belongs to.
fn upward(text: &str, module: &str, order: &BTreeMap<String, usize>) -> Vec<String> {
    let own = order[module];
    named(text).into_iter().filter(|n| order.get(n).is_some_and(|&at| at > own)).collect()
}

#[test]
fn a_module_names_only_modules_above_it() {
    let order = order();
    assert!(order.len() > 15, "lib.rs declares {order:?}");
    let mut faults = Vec::new();
    for path in rust_files(&src()) {
        let module = module_of(&path);
        if module != "lib" && module != "main" {
            let up = upward(&code(&path), &module, &order);
            faults.extend(
                up.iter().map(|to| format!("{} names `{to}`, which is declared below `{module}`", path.display())),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_upward_name_would_be_caught() {
    let order = order();
    assert_eq!(upward("use crate::cli::run;", "graph", &order), ["cli"]);
    assert!(upward("use crate::units::Phase;", "graph", &order).is_empty());
}

#[test]
fn one_file_names_wgpu() {
    let naming: Vec<_> = rust_files(&src()).into_iter().filter(|p| code(p).contains("wgpu::")).collect();
    assert_eq!(naming, [src().join("device/gpu.rs")]);
}

#[test]
fn files_hold_one_idea() {
    let is_generated = |p: &Path| p.to_string_lossy().contains("generated");
    let long: Vec<String> = rust_files(&src())
        .iter()
        .filter(|p| !is_generated(p))
        .map(|p| (p, code(p).lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(p, lines)| format!("{}: {lines} lines before its tests", p.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
