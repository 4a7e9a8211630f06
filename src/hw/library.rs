//! Where hardware models are found: the files built into the program, or any path.

use super::file::Setting;
use super::{HwError, HwFile, Kind, System};
use include_dir::{Dir, include_dir};
use std::io::Read;
use std::path::Path;

static EMBEDDED: Dir = include_dir!("$CARGO_MANIFEST_DIR/hw_models");

/// Larger than any hardware file; what is larger is something else.
const MAX_FILE_B: u64 = 1 << 20;

/// The names of the built-in files of a kind, sorted.
pub fn list(kind: Kind) -> Vec<String> {
    let folder = EMBEDDED.get_dir(kind.folder());
    let mut names: Vec<String> = folder
        .iter()
        .flat_map(|d| d.files())
        .filter_map(|f| f.path().file_stem().map(|s| s.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

/// A file by the name of a built-in one or by its path; memories that it refers to are resolved.
pub fn load(kind: Kind, name: &str) -> Result<HwFile, HwError> {
    load_beside(kind, name, None)
}

/// Reads a file of whatever kind it says it is.
pub fn load_any(path: &Path) -> Result<HwFile, HwError> {
    let file = HwFile::parse(&read(path)?, &path.display().to_string(), None)?;
    with_memories(file, path.parent())
}

/// A system by name or path, with its three parts.
pub fn load_system(name: &str) -> Result<System, HwError> {
    system(load(Kind::System, name)?, folder_of(name))
}

/// The parts of a system file; names of parts are looked for beside it first.
pub fn system(file: HwFile, folder: Option<&Path>) -> Result<System, HwError> {
    let text = |key: &str| file.text(key).unwrap_or_default().to_string();
    let system = System {
        name: file.name.clone(),
        trunk: load_beside(Kind::Trunk, &text("trunk"), folder)?,
        adapter: load_beside(Kind::Adapter, &text("adapter"), folder)?,
        link: load_beside(Kind::Link, &text("link"), folder)?,
        launch_api: text("launch_api"),
        tap_in_rounds: text("tap_in_rounds"),
    };
    let prefix = format!("launch.{}.", system.launch_api);
    if !system.adapter.figures.keys().any(|k| k.starts_with(&prefix)) {
        let why =
            format!("launch_api = \"{}\": adapter '{}' has no [launch.{0}]", system.launch_api, system.adapter.name);
        return Err(HwError::File { file: file.origin, line: None, why });
    }
    Ok(system)
}

fn folder_of(name: &str) -> Option<&Path> {
    is_path(name).then(|| Path::new(name).parent()).flatten()
}

fn is_path(name: &str) -> bool {
    name.ends_with(".toml") || name.contains(['/', '\\'])
}

fn load_beside(kind: Kind, name: &str, folder: Option<&Path>) -> Result<HwFile, HwError> {
    let beside = folder.map(|f| f.join(if name.ends_with(".toml") { name.into() } else { format!("{name}.toml") }));
    let path = match beside.filter(|p| p.exists()) {
        Some(path) => Some(path),
        None => is_path(name).then(|| Path::new(name).to_path_buf()),
    };
    let (file, folder) = match path {
        Some(path) => {
            let folder = path.parent().map(Path::to_path_buf);
            (HwFile::parse(&read(&path)?, &path.display().to_string(), Some(kind))?, folder)
        }
        None => (embedded(kind, name)?, None),
    };
    with_memories(file, folder.as_deref())
}

fn embedded(kind: Kind, name: &str) -> Result<HwFile, HwError> {
    let inside = format!("{}/{name}.toml", kind.folder());
    let text = EMBEDDED.get_file(&inside).and_then(|f| f.contents_utf8());
    let text =
        text.ok_or_else(|| HwError::Unknown { kind: kind.name(), name: name.into(), known: list(kind).join(", ") })?;
    HwFile::parse(text, &format!("embedded:{inside}"), Some(kind))
}

/// Reads a whole file of a bounded size.
fn read(path: &Path) -> Result<String, HwError> {
    let io = |source| HwError::Io { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_B + 1).read_to_end(&mut bytes).map_err(io)?;
    let fault = |why: String| HwError::File { file: path.display().to_string(), line: None, why };
    if bytes.len() as u64 > MAX_FILE_B {
        return Err(fault(format!("is larger than {MAX_FILE_B} bytes: no hardware file is")));
    }
    String::from_utf8(bytes).map_err(|e| fault(format!("is not UTF-8 text: {e}")))
}

/// Copies the figures of referenced memory files below the key that refers to them. What the file
/// says itself goes before. A memory refers to nothing, so there are no cycles.
fn with_memories(mut file: HwFile, folder: Option<&Path>) -> Result<HwFile, HwError> {
    let refs: Vec<(String, String)> = file
        .settings
        .iter()
        .filter_map(|(key, value)| match value {
            Setting::Text(name) => key.strip_suffix(".ref").map(|prefix| (prefix.to_string(), name.clone())),
            _ => None,
        })
        .collect();
    for (prefix, name) in refs {
        let memory = load_beside(Kind::Memory, &name, folder)?;
        for (source, text) in memory.sources {
            file.sources.entry(format!("{}/{source}", memory.name)).or_insert(text);
        }
        for (key, mut figure) in memory.figures {
            if let Some(known) = &mut figure.value {
                known.source = format!("{}/{}", memory.name, known.source);
            }
            file.figures.entry(format!("{prefix}.{key}")).or_insert(figure);
        }
    }
    Ok(file)
}
