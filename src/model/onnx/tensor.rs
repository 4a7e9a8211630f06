//! Constants of an ONNX file: initialisers, `Constant` nodes and what is folded from them.
//!
//! Every element is widened to f32 or i64; the element type is kept beside. A constant behind a
//! DequantizeLinear keeps its codes, because the trunk wants those and not the values they stand
//! for. Refused: elements in another file, element types that no network here has, sizes that
//! contradict the bytes, weights that are not finite.

use super::proto;
use half::{bf16, f16};
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Float(Vec<f32>),
    Integer(Vec<i64>),
}

/// What a DequantizeLinear says of a constant's codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Coding {
    /// One for the whole constant, or one per index of `axis`.
    pub scales: Vec<f32>,
    /// As many as there are scales.
    pub zero_points: Vec<i64>,
    pub axis: usize,
}

/// A constant with its dimensions; a scalar has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub dims: Vec<usize>,
    pub element: Element,
    pub values: Values,
    /// If the values are codes of real numbers. The element type is then that of the codes.
    pub coding: Option<Coding>,
}

/// Element types that constants have once they are read: every float is a FLOAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Bool,
}

impl Element {
    pub fn name(self) -> String {
        type_name(self.number())
    }

    pub fn number(self) -> i32 {
        match self {
            Element::Float => FLOAT,
            Element::Uint8 => UINT8,
            Element::Int8 => INT8,
            Element::Uint16 => UINT16,
            Element::Int16 => INT16,
            Element::Int32 => INT32,
            Element::Int64 => INT64,
            Element::Bool => BOOL,
        }
    }

    pub fn from_number(number: i32) -> Option<Self> {
        use Element::*;
        match number {
            FLOAT16 | DOUBLE | BFLOAT16 => Some(Float),
            _ => [Float, Uint8, Int8, Uint16, Int16, Int32, Int64, Bool].into_iter().find(|e| e.number() == number),
        }
    }

    /// The values that an integer of this type may have.
    pub fn range(self) -> RangeInclusive<i64> {
        match self {
            Element::Uint8 => 0..=255,
            Element::Int8 => -128..=127,
            Element::Uint16 => 0..=65535,
            Element::Int16 => -32768..=32767,
            Element::Int32 => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Element::Bool => 0..=1,
            Element::Int64 | Element::Float => i64::MIN..=i64::MAX,
        }
    }
}

const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const UINT16: i32 = 4;
const INT16: i32 = 5;
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
#[derive(Debug)]
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

/// How many elements dimensions hold, if they can be counted even without those of size 0. A tensor
/// of nothing may not be long: what walks along its other dimensions would never end.
pub fn elements(dims: &[usize]) -> Option<usize> {
    const LONGEST_NOTHING: usize = 1 << 20;
    let span = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
    let elements = dims.iter().product();
    (elements > 0 || span <= LONGEST_NOTHING).then_some(elements)
}

/// Elements that a tensor holds in the file, whatever it claims.
pub fn held(tensor: &proto::Tensor) -> usize {
    let bytes = match tensor.data_type {
        DOUBLE | INT64 => 8,
        FLOAT | INT32 => 4,
        FLOAT16 | BFLOAT16 | INT16 | UINT16 => 2,
        _ => 1,
    };
    let typed = tensor.float_data.len() + tensor.int32_data.len() + tensor.int64_data.len() + tensor.double_data.len();
    typed + tensor.raw_data.len() / bytes
}

/// Elements of all constants that a file holds.
pub fn held_elements(file: &proto::Graph) -> usize {
    let attributes = file.node.iter().flat_map(|node| &node.attribute);
    let listed = attributes.map(|a| a.floats.len() + a.ints.len() + a.t.as_ref().map_or(0, held));
    file.initializer.iter().map(held).chain(listed).sum()
}

impl Constant {
    pub fn new(dims: Vec<usize>, element: Element, values: Values) -> Self {
        Self { dims, element, values, coding: None }
    }

    pub fn float(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self::new(dims, Element::Float, Values::Float(values))
    }

    pub fn vector(values: Vec<i64>) -> Self {
        Self::new(vec![values.len()], Element::Int64, Values::Integer(values))
    }

    pub fn scalar(value: i64) -> Self {
        Self::new(vec![], Element::Int64, Values::Integer(vec![value]))
    }

    /// Bytes that the elements take as they are held here.
    pub fn bytes(&self) -> usize {
        self.values.len().saturating_mul(4)
    }

    /// The type that ONNX sees.
    pub fn presented(&self) -> Element {
        if self.coding.is_some() { Element::Float } else { self.element }
    }

    /// Reads a tensor: its elements must fill its dimensions exactly.
    pub fn read(tensor: &proto::Tensor) -> Result<Self, Refusal> {
        if tensor.data_location != 0 {
            let why = "its elements lie in another file; save the model with its weights inside (onnx.save_model, save_as_external_data=False)";
            return Err(unsupported(why.into()));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let dims = dims.ok_or_else(|| malformed(format!("has dimensions {:?}", tensor.dims)))?;
        let elements = elements(&dims);
        let values = Values::read(tensor)?;
        if elements != Some(values.len()) {
            return Err(malformed(format!("has dimensions {dims:?} but holds {} elements", values.len())));
        }
        let element = Element::from_number(tensor.data_type);
        let element = element.ok_or_else(|| unsupported(format!("is of type {}", type_name(tensor.data_type))))?;
        Ok(Self::new(dims, element, values))
    }

    /// All values, if the constant is float and every value finite; codes are dequantised.
    pub fn floats(&self) -> Result<Cow<'_, [f32]>, Refusal> {
        let values: Cow<'_, [f32]> = match (&self.values, &self.coding) {
            (Values::Float(v), _) => v.into(),
            (Values::Integer(codes), Some(coding)) => self.dequantised(codes, coding).into(),
            (Values::Integer(_), None) => {
                return Err(unsupported("holds integers where a float network has floats".into()));
            }
        };
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(malformed("holds a value that is not finite".into()))
        }
    }

    /// `(q - z) · s`: an integer subtraction and one f32 multiplication.
    pub fn dequantised(&self, codes: &[i64], coding: &Coding) -> Vec<f32> {
        if codes.is_empty() {
            return vec![];
        }
        let inner: usize = self.dims[(coding.axis + 1).min(self.dims.len())..].iter().product();
        let channels = coding.scales.len();
        let real = |(i, &q): (usize, &i64)| {
            let c = i / inner % channels;
            (q - coding.zero_points[c]) as f32 * coding.scales[c]
        };
        codes.iter().enumerate().map(real).collect()
    }

    pub fn integers(&self) -> Result<&[i64], Refusal> {
        match (&self.values, &self.coding) {
            (Values::Integer(v), None) => Ok(v),
            _ => Err(malformed("holds floats where integers are due".into())),
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
            INT16 if raw => Values::Integer(words(t, |b| i16::from_le_bytes(b).into())?),
            UINT16 if raw => Values::Integer(words(t, |b| u16::from_le_bytes(b).into())?),
            INT8 if raw => Values::Integer(t.raw_data.iter().map(|&b| (b as i8).into()).collect()),
            UINT8 | BOOL if raw => Values::Integer(t.raw_data.iter().map(|&b| b.into()).collect()),
            UINT8 | INT8 | UINT16 | INT16 | INT32 | BOOL => narrow(t)?,
            other => {
                let read = "floats, INT8 to INT64, UINT8, UINT16 and BOOL constants are read";
                return Err(unsupported(format!("is of type {}; {read}", type_name(other))));
            }
        })
    }
}

/// Integers of up to 32 bits in the typed field, if they fit their type.
fn narrow(t: &proto::Tensor) -> Result<Values, Refusal> {
    let range = Element::from_number(t.data_type).map_or(0..=0, Element::range);
    match t.int32_data.iter().find(|&&v| !range.contains(&v.into())) {
        Some(v) => Err(malformed(format!("is of type {} but holds {v}", type_name(t.data_type)))),
        None => Ok(Values::Integer(t.int32_data.iter().map(|&v| v.into()).collect())),
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
