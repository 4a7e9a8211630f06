//! Constants of an ONNX file: initialisers, `Constant` nodes and what is folded from them.
//!
//! Every element is widened to f32 or i64. Refused: elements in another file, element types that
//! no float network has, sizes that contradict the bytes, weights that are not finite.

use super::proto;
use half::{bf16, f16};

/// Elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Float(Vec<f32>),
    Integer(Vec<i64>),
}

/// A constant with its dimensions; a scalar has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub dims: Vec<usize>,
    pub values: Values,
}

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const BFLOAT16: i32 = 16;

/// Names of ONNX's element types, by number.
const TYPES: [&str; 17] = [
    "UNDEFINED",
    "FLOAT",
    "UINT8",
    "INT8",
    "UINT16",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "BOOL",
    "FLOAT16",
    "DOUBLE",
    "UINT32",
    "UINT64",
    "COMPLEX64",
    "COMPLEX128",
    "BFLOAT16",
];

/// The element type's name in ONNX, or its number if it has none here.
pub fn type_name(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|i| TYPES.get(i));
    known.map_or_else(|| format!("element type {number}"), |name| name.to_string())
}

/// Why a tensor was not read; `unsupported` if the file may still be sound.
pub struct Refusal {
    pub unsupported: bool,
    pub why: String,
}

fn malformed(why: String) -> Refusal {
    Refusal { unsupported: false, why }
}

fn unsupported(why: String) -> Refusal {
    Refusal { unsupported: true, why }
}

/// Bytes that a tensor holds in the file, whatever it claims.
pub fn held_bytes(tensor: &proto::Tensor) -> usize {
    let typed = 4 * (tensor.float_data.len() + tensor.int32_data.len());
    typed + 8 * (tensor.int64_data.len() + tensor.double_data.len()) + tensor.raw_data.len()
}

impl Constant {
    pub fn vector(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], values: Values::Integer(values) }
    }

    pub fn scalar(value: i64) -> Self {
        Self { dims: vec![], values: Values::Integer(vec![value]) }
    }

    /// Reads a tensor: its elements must fill its dimensions exactly.
    pub fn read(tensor: &proto::Tensor) -> Result<Self, Refusal> {
        if tensor.data_location != 0 {
            let why = "its elements lie in another file; save the model with its weights inside (onnx.save_model, save_as_external_data=False)";
            return Err(unsupported(why.into()));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let dims = dims.ok_or_else(|| malformed(format!("has dimensions {:?}", tensor.dims)))?;
        let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let values = Values::read(tensor)?;
        if elements != Some(values.len()) {
            return Err(malformed(format!("has dimensions {dims:?} but holds {} elements", values.len())));
        }
        Ok(Self { dims, values })
    }

    /// All values, if the constant is float and every value finite.
    pub fn floats(&self) -> Result<&[f32], Refusal> {
        match &self.values {
            Values::Float(v) if v.iter().all(|v| v.is_finite()) => Ok(v),
            Values::Float(_) => Err(malformed("holds a value that is not finite".into())),
            Values::Integer(_) => Err(unsupported("holds integers where a float network has floats".into())),
        }
    }

    pub fn integers(&self) -> Result<&[i64], Refusal> {
        match &self.values {
            Values::Integer(v) => Ok(v),
            Values::Float(_) => Err(malformed("holds floats where integers are due".into())),
        }
    }
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Integer(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(t: &proto::Tensor) -> Result<Self, Refusal> {
        let raw = !t.raw_data.is_empty();
        let half = |bits: &i32| *bits as u16;
        Ok(match t.data_type {
            FLOAT if raw => Values::Float(words(t, f32::from_le_bytes)?),
            FLOAT => Values::Float(t.float_data.clone()),
            DOUBLE if raw => Values::Float(words(t, |b| f64::from_le_bytes(b) as f32)?),
            DOUBLE => Values::Float(t.double_data.iter().map(|&v| v as f32).collect()),
            FLOAT16 if raw => Values::Float(words(t, |b| f16::from_le_bytes(b).to_f32())?),
            FLOAT16 => Values::Float(t.int32_data.iter().map(|b| f16::from_bits(half(b)).to_f32()).collect()),
            BFLOAT16 if raw => Values::Float(words(t, |b| bf16::from_le_bytes(b).to_f32())?),
            BFLOAT16 => Values::Float(t.int32_data.iter().map(|b| bf16::from_bits(half(b)).to_f32()).collect()),
            INT64 if raw => Values::Integer(words(t, i64::from_le_bytes)?),
            INT64 => Values::Integer(t.int64_data.clone()),
            INT32 if raw => Values::Integer(words(t, |b| i32::from_le_bytes(b).into())?),
            BOOL if raw => Values::Integer(t.raw_data.iter().map(|&b| b.into()).collect()),
            INT32 | BOOL => Values::Integer(t.int32_data.iter().map(|&v| v.into()).collect()),
            other => {
                let read = "FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT32, INT64 and BOOL constants are read";
                return Err(unsupported(format!("is of type {}; {read}", type_name(other))));
            }
        })
    }
}

/// Raw bytes as little-endian words of `N` bytes.
fn words<const N: usize, T>(t: &proto::Tensor, from: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Refusal> {
    let (words, rest) = t.raw_data.as_chunks::<N>();
    if rest.is_empty() {
        Ok(words.iter().map(|w| from(*w)).collect())
    } else {
        Err(malformed(format!("holds {} bytes, which is no multiple of {N}", t.raw_data.len())))
    }
}
