//! Finds hardware models by name or path and puts systems together.
//!
//! A *name* is one of the models that the program carries; a *path* is anything that ends in
//! `.toml` or exists as a file. What a file names is looked for beside that file first, then among
//! the carried ones. In names `_` reads as `-`, and a leading `memory_` and the like is dropped.

use super::adapter::Adapter;
use super::error::HwError;
use super::figure::{claim, fill};
use super::link::Link;
use super::memory::{Memory, MemoryKind, MemoryLevel};
use super::model::{Body, Model};
use super::reader::{kind_of, read};
use super::schema::{Kind, LaunchApi, RoundsAt};
use super::sheet::Sheet;
use super::source::{Source, embedded_names};
use super::system::{Host, Memories, System, SystemFile, TapAccess, choose_api};
use super::table::{self, Table};
use super::trunk::Trunk;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Memory files that may build on each other before it is taken for a mistake.
const LONGEST_CHAIN: usize = 16;

/// A model that the program carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    pub kind: Kind,
    pub name: &'static str,
}

/// Every model that the program carries, by kind and name.
pub fn list() -> Vec<Entry> {
    let of = |kind: Kind| embedded_names(kind).into_iter().map(move |name| Entry { kind, name });
    Kind::ALL.iter().copied().flat_map(of).collect()
}

/// The widths that a carried link comes in beside its file's own: `NAME-x4`.
pub fn widths(entry: &Entry) -> Vec<u32> {
    let link = (entry.kind == Kind::Link).then(|| load(entry.kind, entry.name));
    match link.and_then(Result::ok).map(|model| model.body) {
        Some(Body::Link(link)) => link.phy.lane_counts,
        _ => Vec::new(),
    }
}

/// Reads one model of a known kind.
pub fn load(kind: Kind, name_or_path: &str) -> Result<Model, HwError> {
    open(&find_source(kind, name_or_path)?, Some(kind))
}

/// Reads one model of whatever kind, for showing.
pub fn find(name_or_path: &str) -> Result<Model, HwError> {
    if is_path(name_or_path) {
        return open(&Source::read(Path::new(name_or_path))?, None);
    }
    let mut sources = Kind::ALL.iter().filter_map(|kind| embedded(*kind, name_or_path));
    let source = sources.next().ok_or_else(|| no_such(None, name_or_path))?;
    open(&source, None)
}

/// Reads a system and everything that it names.
pub fn load_system(name_or_path: &str) -> Result<System, HwError> {
    Ok(system(&find_source(Kind::System, name_or_path)?)?.0)
}

/// Puts a system together from its parts, each a name or a path.
pub fn compose(trunk: &str, adapter: &str, link: &str) -> Result<System, HwError> {
    let trunk = read_trunk(&find_source(Kind::Trunk, trunk)?)?.0;
    let adapter = read_adapter(&find_source(Kind::Adapter, adapter)?)?.0;
    let link = read::<Link>(&find_source(Kind::Link, link)?)?.0;
    let name = format!("{}+{}+{}", trunk.name, adapter.name, link.name);
    let mut host = Host::default();
    claim(&mut host, "host", &format!("{}/{name}", Kind::System));
    let parts = Parts {
        name,
        trunk,
        adapter,
        link,
        host,
        launch_api: None,
        tap_in_rounds: None,
        access: TapAccess::chosen(None, None),
    };
    parts.into_system(&Source { label: "the given parts".into(), path: None, text: String::new(), lanes: None })
}

/// Reads a model from its text; also resolves what it names.
pub(super) fn open(source: &Source, wanted: Option<Kind>) -> Result<Model, HwError> {
    let (sheet, body) = match wanted.map_or_else(|| kind_of(source), Ok)? {
        Kind::Trunk => read_trunk(source).map(|(t, sheet)| (sheet, Body::Trunk(Box::new(t))))?,
        Kind::Adapter => read_adapter(source).map(|(a, sheet)| (sheet, Body::Adapter(Box::new(a))))?,
        Kind::Link => read::<Link>(source).map(|(l, sheet)| (sheet, Body::Link(Box::new(l))))?,
        Kind::Memory => read_memory(source, &mut Vec::new()).map(|(m, sheet)| (sheet, Body::Memory(Box::new(m))))?,
        Kind::Table => read::<Table>(source).map(|(t, sheet)| (sheet, Body::Table(Box::new(t))))?,
        Kind::System => system(source).map(|(s, sheet)| (sheet, Body::System(Box::new(s))))?,
    };
    Ok(Model { sheet, body })
}

fn is_path(name: &str) -> bool {
    name.ends_with(".toml") || Path::new(name).is_file()
}

/// A carried model, by any spelling of its name; a link also by the name of its file and a width.
fn embedded(kind: Kind, name: &str) -> Option<Source> {
    let name = name.replace('_', "-");
    let short = name.strip_prefix(&format!("{kind}-")).unwrap_or(&name);
    let whole = |name: &str| embedded_names(kind).contains(&name).then(|| Source::embedded(kind, name))?;
    let of_width = |name: &str| {
        let (file, lanes) = width(name).filter(|_| kind == Kind::Link)?;
        let source = whole(file).filter(|source| source.text.contains("lane_counts"))?;
        Some(Source { lanes: Some(lanes), ..source })
    };
    [name.as_str(), short].into_iter().find_map(|name| whole(name).or_else(|| of_width(name)))
}

/// A name's end such as `-x4`, and what stands before it.
fn width(name: &str) -> Option<(&str, u32)> {
    let (file, lanes) = name.rsplit_once("-x")?;
    Some((file, lanes.parse().ok()?))
}

fn find_source(kind: Kind, name: &str) -> Result<Source, HwError> {
    if is_path(name) {
        return Source::read(Path::new(name));
    }
    embedded(kind, name).ok_or_else(|| no_such(Some(kind), name))
}

fn no_such(kind: Option<Kind>, name: &str) -> HwError {
    let (what, known) = match kind {
        Some(kind) => (kind.to_string(), embedded_names(kind).join(", ")),
        None => ("hardware model".into(), list().iter().map(|e| e.name).collect::<Vec<_>>().join(", ")),
    };
    HwError::NoSuchModel { what, name: name.into(), known }
}

/// The file that `name`, said at `key` of `from`, means: beside `from` first, then carried.
fn follow(from: &Source, key: &str, kind: Kind, name: &str) -> Result<Source, HwError> {
    let beside = from.path.as_deref().map(|path| candidates(path, kind, name)).unwrap_or_default();
    if let Some(path) = beside.iter().find(|path| path.is_file()) {
        return Source::read(path);
    }
    embedded(kind, name).ok_or_else(|| {
        let known = embedded_names(kind).join(", ");
        let beside = if beside.is_empty() { "" } else { "a file beside this one, or " };
        from.wrong(key, format!("there is no {kind} `{name}`"), format!("{beside}one of: {known}"))
    })
}

/// Where a named file may lie: in the same folder, or in the folder of its kind next to it.
fn candidates(from: &Path, kind: Kind, name: &str) -> Vec<PathBuf> {
    let here = from.parent().unwrap_or(Path::new(""));
    let file = if name.ends_with(".toml") { name.to_string() } else { format!("{name}.toml") };
    vec![here.join(&file), here.join("..").join(kind.folder()).join(&file), here.join(kind.folder()).join(&file)]
}

fn read_trunk(source: &Source) -> Result<(Trunk, Sheet), HwError> {
    let (mut trunk, sheet) = read::<Trunk>(source)?;
    fill_levels(&mut trunk.memory, source)?;
    if let Some(name) = &trunk.energy_table {
        let lender = read::<Table>(&follow(source, "energy_table", Kind::Table, name)?)?.0;
        table::lend(&lender, &mut trunk);
    }
    Ok((trunk, sheet))
}

fn read_adapter(source: &Source) -> Result<(Adapter, Sheet), HwError> {
    let (mut adapter, sheet) = read::<Adapter>(source)?;
    fill_levels(&mut adapter.memory, source)?;
    Ok((adapter, sheet))
}

fn fill_levels(levels: &mut BTreeMap<String, MemoryLevel>, source: &Source) -> Result<(), HwError> {
    for (name, level) in levels {
        if let Some(reference) = level.reference.clone() {
            fill_level(level, &reference, &format!("memory.{name}.ref"), source)?;
        }
    }
    Ok(())
}

fn fill_level(level: &mut MemoryLevel, reference: &str, key: &str, source: &Source) -> Result<(), HwError> {
    let (memory, _) = read_memory(&follow(source, key, Kind::Memory, reference)?, &mut Vec::new())?;
    level.kind = level.kind.or(Some(memory.kind));
    level.word_bits = level.word_bits.or(memory.word_bits);
    fill(level, &memory);
    Ok(())
}

/// Reads a memory and what it builds on; `chain` holds the files that led here.
fn read_memory(source: &Source, chain: &mut Vec<(PathBuf, String)>) -> Result<(Memory, Sheet), HwError> {
    let (mut memory, sheet) = read::<Memory>(source)?;
    chain.push((source.identity(), source.label.clone()));
    if let Some(reference) = memory.reference.clone() {
        let next = follow(source, "ref", Kind::Memory, &reference)?;
        if chain.len() == LONGEST_CHAIN {
            let wrong = format!("{LONGEST_CHAIN} memories build on each other up to here");
            return Err(source.wrong("ref", wrong, "write the figures into fewer files"));
        }
        if chain.iter().any(|(identity, _)| *identity == next.identity()) {
            let path: Vec<_> = chain.iter().map(|(_, label)| label.as_str()).chain([next.label.as_str()]).collect();
            let wrong = format!("the files name each other in a circle: {}", path.join(" -> "));
            return Err(source.wrong("ref", wrong, "take one `ref` out"));
        }
        let (base, _) = read_memory(&next, chain)?;
        memory.word_bits = memory.word_bits.or(base.word_bits);
        fill(&mut memory, &base);
    }
    Ok((memory, sheet))
}

/// What a system is made of, some choices still open.
struct Parts {
    name: String,
    trunk: Trunk,
    adapter: Adapter,
    link: Link,
    host: Host,
    launch_api: Option<LaunchApi>,
    tap_in_rounds: Option<RoundsAt>,
    access: TapAccess,
}

impl Parts {
    fn into_system(self, source: &Source) -> Result<System, HwError> {
        let launch_api = choose_api(self.launch_api, &self.adapter, source)?;
        let Some(tap_in_rounds) = self.tap_in_rounds.or(self.trunk.tap_in_rounds) else {
            let right = "\"adapter\" or \"trunk\", here or in the trunk's file";
            return Err(source.wrong("tap_in_rounds", "it is missing", right));
        };
        let Parts { name, trunk, adapter, link, host, access, .. } = self;
        Ok(System { name, trunk, adapter, link, host, launch_api, tap_in_rounds, access })
    }
}

fn system(source: &Source) -> Result<(System, Sheet), HwError> {
    let (file, sheet) = read::<SystemFile>(source)?;
    let mut trunk = read_trunk(&follow(source, "trunk", Kind::Trunk, &file.trunk)?)?.0;
    let mut adapter = read_adapter(&follow(source, "adapter", Kind::Adapter, &file.adapter)?)?.0;
    let link = read::<Link>(&follow(source, "link", Kind::Link, &file.link)?)?.0;
    put_memories(&file.memories, &mut trunk, &mut adapter, source)?;
    let SystemFile { name, host, launch_api, tap_in_rounds, .. } = file;
    let access = TapAccess::chosen(file.tap_out_access, file.tap_in_access);
    let parts = Parts { name, trunk, adapter, link, host, launch_api, tap_in_rounds, access };
    Ok((parts.into_system(source)?, sheet))
}

/// Gives the trunk's and the device's memories what the system's own choice of memory knows.
fn put_memories(memories: &Memories, trunk: &mut Trunk, adapter: &mut Adapter, source: &Source) -> Result<(), HwError> {
    if let Some(reference) = &memories.trunk_dram {
        let key = "memories.trunk_dram";
        let dram = trunk.memory.values_mut().find(|level| level.kind == Some(MemoryKind::Dram));
        let Some(level) = dram else {
            let wrong = format!("trunk/{} has no memory of kind dram", trunk.name);
            return Err(source.wrong(key, wrong, "take the line out, or add [memory.dram] to the trunk"));
        };
        fill_level(level, reference, key, source)?;
    }
    if let Some(reference) = &memories.adapter {
        let key = "memories.adapter";
        let Some(level) = adapter.memory.get_mut("device") else {
            let wrong = format!("{} has no [memory.device]", adapter.path());
            return Err(source.wrong(key, wrong, "take the line out, or add [memory.device] to the adapter"));
        };
        fill_level(level, reference, key, source)?;
    }
    Ok(())
}
