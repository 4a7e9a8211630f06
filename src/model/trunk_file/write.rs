//! A trunk file's bytes, and putting them on disk whole or not at all.

use super::document::{Document, Form, GraphRecord, MapRecord, NodeRecord, ParamRecord, VERSION};
use super::seal::{Hashed, seal};
use super::{KEY, SEAL, TrunkFile, tensor_name};
use crate::door;
use crate::graph::{Graph, Node, ParamValue};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a trunk file was not written. There is then no file, or the one that was there before.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error("'{}' is there already; say --force to replace it", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write '{}': {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A graph that the format cannot hold.
    #[error("trunk '{trunk}': {why}")]
    Graph { trunk: String, why: String },
}

/// A tensor to be written.
struct Owned {
    name: String,
    dtype: Dtype,
    dims: Vec<usize>,
    data: Vec<u8>,
}

impl TrunkFile {
    /// Writes the file under another name beside `path` and renames it when it is complete. An
    /// existing file is replaced only if `replace` says so.
    pub fn write(&self, path: &Path, replace: bool) -> Result<(), WriteError> {
        check_place(path, replace)?;
        // What a link stands for is replaced, not the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.into());
        let path = target.as_path();
        let bytes = self.to_bytes()?;
        let fault = |source| WriteError::Io { path: path.into(), source };
        let mut draft = draft(path).map_err(fault)?;
        draft.write_all(&bytes).map_err(fault)?;
        draft.as_file().sync_all().map_err(fault)?;
        let persisted = if replace { draft.persist(path) } else { draft.persist_noclobber(path) };
        persisted.map(drop).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists { path: path.into() },
            _ => fault(e.error),
        })
    }

    /// The file's bytes: the same for the same trunk.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        let fault = |why: String| WriteError::Graph { trunk: self.name.clone(), why };
        check_names(&self.graph).map_err(fault)?;
        let document = serde_json::to_string(&self.document()).map_err(|e| fault(e.to_string()))?;
        let mut tensors = self.tensors();
        let hashed = |t: &Owned| (t.name.clone(), t.dtype.to_string());
        let labels: Vec<_> = tensors.iter().map(hashed).collect();
        let sealed = tensors.iter().zip(&labels).map(|(t, (name, dtype))| Hashed {
            name,
            dtype: dtype.clone(),
            shape: &t.dims,
            data: &t.data,
        });
        let seal = seal(&document, sealed.collect()).to_vec();
        tensors.push(Owned { name: SEAL.into(), dtype: Dtype::U8, dims: vec![seal.len()], data: seal });
        let views = tensors.iter().map(|t| Ok((t.name.as_str(), TensorView::new(t.dtype, t.dims.clone(), &t.data)?)));
        let views =
            views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(|e| fault(e.to_string()))?;
        serialize(views, Some(HashMap::from([(KEY.into(), document)]))).map_err(|e| fault(e.to_string()))
    }

    fn document(&self) -> Document {
        let graph = &self.graph;
        let map = |edge: &crate::graph::Edge| MapRecord {
            name: edge.name.clone(),
            shape: edge.shape,
            quant: edge.quant,
            tensor: edge.origin,
        };
        Document {
            version: VERSION,
            name: self.name.clone(),
            provenance: self.provenance.clone(),
            notes: self.notes.clone(),
            profile: self.profile.to_string(),
            preprocess: self.preprocess.clone(),
            trunk_sha256: self.trunk_sha256.clone(),
            graph: GraphRecord {
                name: graph.name.clone(),
                input: graph.edge(graph.input).name.clone(),
                output: graph.edge(graph.output).name.clone(),
                maps: graph.edges.iter().map(map).collect(),
                nodes: graph.nodes.iter().map(|node| self.node(node)).collect(),
            },
        }
    }

    fn node(&self, node: &Node) -> NodeRecord {
        let name = |&edge| self.graph.edge(edge).name.clone();
        let param = |&id| {
            let param = self.graph.param(id);
            let form = match &param.value {
                ParamValue::F32(_) => Form::F32,
                ParamValue::I8 { .. } => Form::Int8,
                ParamValue::I32 { .. } => Form::Int32,
                // Never prepared, so never written.
                ParamValue::ShapeOnly(_) => Form::F32,
            };
            ParamRecord { name: param.name.clone(), kind: param.kind, form }
        };
        NodeRecord {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs: node.inputs.iter().map(name).collect(),
            output: name(&node.output),
            params: node.params.iter().map(param).collect(),
        }
    }

    fn tensors(&self) -> Vec<Owned> {
        let mut made = Made::default();
        for node in &self.graph.nodes {
            let layer = self.layers.get(&node.name);
            // A layer's first parameter is its weight.
            let mut weights = layer.and_then(|l| l.weights.as_ref());
            for &id in &node.params {
                let param = self.graph.param(id);
                let (name, dims) = (&param.name, &param.dims);
                match &param.value {
                    ParamValue::F32(values) => made.f32s("values", name, dims, values),
                    ParamValue::I8 { .. } | ParamValue::ShapeOnly(_) => {}
                    ParamValue::I32 { codes, scales } => {
                        made.i32s("values", name, dims, codes);
                        made.f32s("scales", name, &[scales.len()], scales);
                    }
                }
                if let Some(w) = weights.take() {
                    made.i8s("codes", name, dims, &w.codes);
                    made.f32s("scales", name, &[w.scales.len()], &w.scales);
                    made.i32s("zero_points", name, &[w.zero_points.len()], &w.zero_points);
                    if !param.input_means.is_empty() {
                        made.f32s("means", name, &[param.input_means.len()], &param.input_means);
                    }
                }
            }
            if let Some(registers) = layer.and_then(|l| l.registers.as_ref()) {
                let channels = [registers.channels()];
                let (mantissa, shift): (Vec<i32>, Vec<i32>) =
                    registers.multipliers.iter().map(|m| (m.mantissa, m.shift)).unzip();
                for (part, values) in [("mantissa", &mantissa), ("shift", &shift), ("bias", &registers.bias)] {
                    made.i32s(part, &node.name, &channels, values);
                }
            }
        }
        made.0
    }
}

#[derive(Default)]
struct Made(Vec<Owned>);

impl Made {
    fn push(&mut self, part: &str, of: &str, dtype: Dtype, dims: &[usize], data: Vec<u8>) {
        self.0.push(Owned { name: tensor_name(part, of), dtype, dims: dims.to_vec(), data });
    }
    fn f32s(&mut self, part: &str, of: &str, dims: &[usize], values: &[f32]) {
        self.push(part, of, Dtype::F32, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    fn i32s(&mut self, part: &str, of: &str, dims: &[usize], values: &[i32]) {
        self.push(part, of, Dtype::I32, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    fn i8s(&mut self, part: &str, of: &str, dims: &[usize], values: &[i8]) {
        self.push(part, of, Dtype::I8, dims, values.iter().map(|&v| v as u8).collect());
    }
}

/// Names are the format's references, so none may stand for two things.
fn check_names(graph: &Graph) -> Result<(), String> {
    let owned = graph.nodes.iter().flat_map(|n| &n.params).map(|&p| graph.param(p).name.as_str());
    let lists: [(&str, Vec<&str>); 3] = [
        ("nodes", graph.nodes.iter().map(|n| n.name.as_str()).collect()),
        ("maps", graph.edges.iter().map(|e| e.name.as_str()).collect()),
        ("parameters", owned.collect()),
    ];
    for (what, names) in lists {
        let mut seen = HashSet::new();
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(*name)) {
            return Err(format!("two {what} are called '{twice}'; a trunk file tells them by name"));
        }
    }
    Ok(())
}

/// Finds out whether a trunk file can be written, before there is one.
pub fn check_place(path: &Path, replace: bool) -> Result<(), WriteError> {
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; name a file in it");
        return Err(WriteError::Io { path: path.into(), source });
    }
    if !replace && path.symlink_metadata().is_ok() {
        return Err(WriteError::Exists { path: path.into() });
    }
    draft(path).map(drop).map_err(|source| WriteError::Io { path: path.into(), source })
}

/// A nameless file beside `path`, gone unless it is persisted, as readable as any other file.
fn draft(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no folder '{}'", folder.display())));
    }
    door::draft(folder)
}
