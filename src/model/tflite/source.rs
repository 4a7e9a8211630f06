//! The file as a whole: which tensors and operators there are, and how much of it may be copied.

use super::tensor::TensorRef;
use super::{names, schema};
use crate::model::{Fault, printable};
use flatbuffers::{ForwardsUOffset, Vector};

/// The parts of a verified model that the importer walks.
pub struct Source<'a> {
    codes: Vector<'a, ForwardsUOffset<schema::OperatorCode<'a>>>,
    buffers: Vector<'a, ForwardsUOffset<schema::Buffer<'a>>>,
    tensors: Vector<'a, ForwardsUOffset<schema::Tensor<'a>>>,
    operators: Vector<'a, ForwardsUOffset<schema::Operator<'a>>>,
    pub subgraphs: usize,
    pub input: i32,
    pub output: i32,
}

/// One operator of the file.
#[derive(Clone, Copy)]
pub struct Operator<'a> {
    pub index: usize,
    pub raw: schema::Operator<'a>,
    /// The schema's name, or a custom operator's own.
    pub name: &'a str,
    pub custom: bool,
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err(Fault::malformed("header", "bytes 4..8 are not 'TFL3': this is not a TFLite model"));
        }
        let model = schema::root(bytes).map_err(|error| {
            let error = error.to_string();
            Fault::malformed("FlatBuffer", error.split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
        if model.version() != 3 {
            return Err(Fault::unsupported("header", format!("schema version {}; version 3 is read", model.version())));
        }
        let missing = |what: &str| Fault::malformed("model", format!("has no {what}"));
        let subgraphs = model.subgraphs().filter(|s| !s.is_empty()).ok_or_else(|| missing("subgraph"))?;
        let main = subgraphs.get(0);
        let single = |ends: Option<Vector<'a, i32>>, what: &str| match ends {
            Some(ends) if ends.len() == 1 => Ok(ends.get(0)),
            ends => {
                let n = ends.map_or(0, |e| e.len());
                Err(Fault::unsupported("subgraph 0", format!("has {n} {what}s; a trunk has exactly one {what}")))
            }
        };
        Ok(Self {
            codes: model.operator_codes().ok_or_else(|| missing("operator codes"))?,
            buffers: model.buffers().ok_or_else(|| missing("buffers"))?,
            tensors: main.tensors().ok_or_else(|| missing("tensors"))?,
            operators: main.operators().filter(|o| !o.is_empty()).ok_or_else(|| missing("operators"))?,
            subgraphs: subgraphs.len(),
            input: single(main.inputs(), "input")?,
            output: single(main.outputs(), "output")?,
        })
    }

    pub fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    pub fn tensor(&self, index: i32) -> Result<TensorRef<'a>, Fault> {
        let place = format!("tensor {index}");
        let position = usize::try_from(index).ok().filter(|&i| i < self.tensors.len());
        let position = position
            .ok_or_else(|| Fault::malformed(&place, format!("is not among the {} tensors", self.tensors.len())))?;
        let raw = self.tensors.get(position);
        let tensor = TensorRef { index: position as u32, raw, data: self.buffer(&place, raw.buffer())? };
        if raw.is_variable() {
            return Err(Fault::unsupported(tensor, "is a variable; a trunk keeps no state between images"));
        }
        Ok(tensor)
    }

    /// A buffer's bytes; buffer 0, and an empty one, mean that there are none.
    fn buffer(&self, place: &str, index: u32) -> Result<Option<&'a [u8]>, Fault> {
        let position = index as usize;
        if position >= self.buffers.len() {
            let why = format!("refers to buffer {index} of {}", self.buffers.len());
            return Err(Fault::malformed(place, why));
        }
        let buffer = self.buffers.get(position);
        if buffer.offset() > 1 || buffer.size() > 1 {
            return Err(Fault::unsupported(place, "is stored behind the FlatBuffer (a file beyond 2 GiB)"));
        }
        Ok(buffer.data().map(|data| data.bytes()).filter(|bytes| position != 0 && !bytes.is_empty()))
    }

    pub fn operators(&self) -> impl Iterator<Item = Result<Operator<'a>, Fault>> + '_ {
        self.operators.iter().enumerate().map(|(index, raw)| self.operator(index, raw))
    }

    fn operator(&self, index: usize, raw: schema::Operator<'a>) -> Result<Operator<'a>, Fault> {
        let code = raw.opcode_index() as usize;
        if code >= self.codes.len() {
            let why = format!("refers to operator code {code} of {}", self.codes.len());
            return Err(Fault::malformed(format!("operator {index}"), why));
        }
        let code = self.codes.get(code);
        // Codes below 127 may be in the old one-byte field only.
        let number = code.builtin_code().max(i32::from(code.deprecated_builtin_code()));
        let name = names::operator(number);
        Ok(match (name, code.custom_code()) {
            ("CUSTOM", Some(own)) => Operator { index, raw, name: own, custom: true },
            _ => Operator { index, raw, name, custom: false },
        })
    }
}

impl<'a> Operator<'a> {
    /// The tensors it reads; -1 stands for an optional one that is absent.
    pub fn input(&self, position: usize) -> Option<i32> {
        self.raw.inputs().filter(|list| position < list.len()).map(|list| list.get(position)).filter(|&t| t != -1)
    }
    pub fn input_count(&self) -> usize {
        self.raw.inputs().map_or(0, |list| list.len())
    }
    pub fn reads(&self, tensor: i32) -> bool {
        self.raw.inputs().is_some_and(|list| list.iter().any(|t| t == tensor))
    }
    /// The one tensor it writes.
    pub fn output(&self) -> Result<i32, Fault> {
        match self.raw.outputs() {
            Some(list) if list.len() == 1 => Ok(list.get(0)),
            list => {
                let n = list.map_or(0, |l| l.len());
                Err(Fault::unsupported(self.place(), format!("has {n} outputs; operators with one are read")))
            }
        }
    }

    fn place(&self) -> String {
        format!("operator {} {}", self.index, self.shown_name())
    }
    pub fn shown_name(&self) -> String {
        match (self.custom, self.name) {
            (true, own) => format!("CUSTOM '{}'", printable(own)),
            (false, "") => "of a newer schema".into(),
            (false, name) => name.into(),
        }
    }
    /// Where an error about this operator is: number, name and what it computes.
    pub fn place_with(&self, output: &TensorRef) -> String {
        format!("{} (output {output})", self.place())
    }
}
