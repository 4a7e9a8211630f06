//! Small TFLite models, written field by field, for tests of the importer.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, WIPOffset};

pub const INT8: i8 = 9;
pub const UINT8: i8 = 3;
pub const INT32: i8 = 2;

/// One field of an options table.
#[derive(Clone, Copy)]
pub enum Value {
    I8(i8),
    I32(i32),
    F32(f32),
}

#[derive(Clone)]
pub struct Tensor {
    pub dims: Vec<i32>,
    pub kind: i8,
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub axis: i32,
    pub data: Vec<u8>,
}

#[derive(Clone)]
pub struct Operator {
    pub code: i32,
    pub inputs: Vec<i32>,
    pub output: i32,
    /// The options' union number and fields.
    pub options: Option<(u8, Vec<(u16, Value)>)>,
}

/// A model of which every part can be set; tensor 0 is the input, the last operator's output the output.
#[derive(Clone, Default)]
pub struct Tiny {
    pub tensors: Vec<Tensor>,
    pub operators: Vec<Operator>,
}

impl Tiny {
    fn tensor(&mut self, tensor: Tensor) -> i32 {
        self.tensors.push(tensor);
        self.tensors.len() as i32 - 1
    }

    /// A map of `kind` with scale 1/16 and zero point 0 (in the signed view).
    pub fn map(&mut self, kind: i8, dims: &[i32]) -> i32 {
        let zero_points = vec![if kind == UINT8 { 128 } else { 0 }];
        self.tensor(Tensor { dims: dims.to_vec(), kind, scales: vec![1.0 / 16.0], zero_points, axis: 0, data: vec![] })
    }

    /// A map coded as TFLite fixes the outputs of softmax and the logistic function.
    pub fn probabilities(&mut self, dims: &[i32]) -> i32 {
        let map = self.map(INT8, dims);
        self.tensors[map as usize].scales = vec![1.0 / 256.0];
        self.tensors[map as usize].zero_points = vec![-128];
        map
    }

    /// An int8 weight counting up from 0, of scale 1/8 per channel along `axis`.
    pub fn weight(&mut self, dims: &[i32], axis: usize) -> i32 {
        let elements: i32 = dims.iter().product();
        let data = (0..elements).map(|i| i as u8).collect();
        let channels = dims[axis] as usize;
        let (scales, zero_points) = (vec![0.125; channels], vec![0; channels]);
        self.tensor(Tensor { dims: dims.to_vec(), kind: INT8, scales, zero_points, axis: axis as i32, data })
    }

    /// Constant integers without a coding: a bias, axes, paddings.
    pub fn ints(&mut self, dims: &[i32], values: &[i32]) -> i32 {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(Tensor { dims: dims.to_vec(), kind: INT32, scales: vec![], zero_points: vec![], axis: 0, data })
    }

    pub fn operator(&mut self, code: i32, inputs: &[i32], output: i32, options: Option<(u8, &[(u16, Value)])>) {
        let options = options.map(|(tag, fields)| (tag, fields.to_vec()));
        self.operators.push(Operator { code, inputs: inputs.to_vec(), output, options });
    }

    pub fn build(&self) -> Vec<u8> {
        let mut b = FlatBufferBuilder::new();
        let codes: Vec<_> =
            self.operators.iter().map(|o| table(&mut b, |b| b.push_slot_always(slot(3), o.code))).collect();
        let mut buffers = vec![table(&mut b, |_| ())];
        for tensor in &self.tensors {
            let data = b.create_vector(&tensor.data);
            buffers.push(table(&mut b, |b| b.push_slot_always(slot(0), data)));
        }
        let tensors: Vec<_> = self.tensors.iter().enumerate().map(|(i, t)| t.build(&mut b, i)).collect();
        let operators: Vec<_> = self.operators.iter().enumerate().map(|(i, o)| o.build(&mut b, i)).collect();
        let ends = [0, self.operators.last().map_or(0, |o| o.output)].map(|end| b.create_vector(&[end]));
        let (tensors, operators) = (b.create_vector(&tensors), b.create_vector(&operators));
        let subgraph = table(&mut b, |b| {
            b.push_slot_always(slot(0), tensors);
            b.push_slot_always(slot(1), ends[0]);
            b.push_slot_always(slot(2), ends[1]);
            b.push_slot_always(slot(3), operators);
        });
        let (codes, subgraphs, buffers) =
            (b.create_vector(&codes), b.create_vector(&[subgraph]), b.create_vector(&buffers));
        let model = table(&mut b, |b| {
            b.push_slot_always(slot(0), 3u32);
            b.push_slot_always(slot(1), codes);
            b.push_slot_always(slot(2), subgraphs);
            b.push_slot_always(slot(4), buffers);
        });
        b.finish(model, Some("TFL3"));
        b.finished_data().to_vec()
    }
}

type Builder<'b> = FlatBufferBuilder<'b>;
type Built = WIPOffset<TableFinishedWIPOffset>;

fn slot(field: u16) -> u16 {
    4 + 2 * field
}

fn table<'b>(b: &mut Builder<'b>, fields: impl FnOnce(&mut Builder<'b>)) -> Built {
    let start = b.start_table();
    fields(b);
    b.end_table(start)
}

impl Tensor {
    fn build(&self, b: &mut Builder, index: usize) -> Built {
        let (dims, name) = (b.create_vector(&self.dims), b.create_string(&format!("net/tensor_{index}")));
        let (scales, zero_points) = (b.create_vector(&self.scales), b.create_vector(&self.zero_points));
        let quantization = table(b, |b| {
            b.push_slot_always(slot(2), scales);
            b.push_slot_always(slot(3), zero_points);
            b.push_slot_always(slot(6), self.axis);
        });
        table(b, |b| {
            b.push_slot_always(slot(0), dims);
            b.push_slot_always(slot(1), self.kind);
            b.push_slot_always(slot(2), index as u32 + 1);
            b.push_slot_always(slot(3), name);
            b.push_slot_always(slot(4), quantization);
        })
    }
}

impl Operator {
    fn build(&self, b: &mut Builder, index: usize) -> Built {
        let (inputs, outputs) = (b.create_vector(&self.inputs), b.create_vector(&[self.output]));
        let options = self.options.as_ref().map(|(tag, fields)| {
            let options = table(b, |b| {
                for &(field, value) in fields {
                    match value {
                        Value::I8(v) => b.push_slot_always(slot(field), v),
                        Value::I32(v) => b.push_slot_always(slot(field), v),
                        Value::F32(v) => b.push_slot_always(slot(field), v),
                    }
                }
            });
            (*tag, options)
        });
        table(b, |b| {
            b.push_slot_always(slot(0), index as u32);
            b.push_slot_always(slot(1), inputs);
            b.push_slot_always(slot(2), outputs);
            if let Some((tag, options)) = options {
                b.push_slot_always(slot(3), tag);
                b.push_slot_always(slot(4), options);
            }
        })
    }
}

/// A network with one operator of almost every kind.
pub fn sample() -> Tiny {
    use Value::{F32, I8, I32};
    let mut t = Tiny::default();
    let x = t.map(INT8, &[1, 6, 6, 2]);
    let (w, bias) = (t.weight(&[4, 3, 3, 2], 0), t.ints(&[4], &[1, -2, 3, -4]));
    let conv = t.map(INT8, &[1, 3, 3, 4]);
    t.operator(3, &[x, w, bias], conv, Some((1, &[(1, I32(2)), (2, I32(2)), (3, I8(1))])));
    let (w, depthwise) = (t.weight(&[1, 3, 3, 8], 3), t.map(INT8, &[1, 3, 3, 8]));
    t.operator(4, &[conv, w, -1], depthwise, Some((2, &[(1, I32(1)), (2, I32(1)), (3, I32(2)), (4, I8(3))])));
    let pads = t.ints(&[4, 2], &[0, 0, 1, 0, 0, 1, 2, 2]);
    let padded = t.map(INT8, &[1, 4, 4, 12]);
    t.operator(34, &[depthwise, pads], padded, None);
    let pooled = t.map(INT8, &[1, 2, 2, 12]);
    t.operator(17, &[padded], pooled, Some((5, &[(0, I8(1)), (1, I32(2)), (2, I32(2)), (3, I32(2)), (4, I32(2))])));
    let gate = t.probabilities(&[1, 2, 2, 12]);
    t.operator(14, &[pooled], gate, None);
    let product = t.map(INT8, &[1, 2, 2, 12]);
    t.operator(18, &[pooled, gate], product, Some((21, &[])));
    let sum = t.map(INT8, &[1, 2, 2, 12]);
    t.operator(0, &[product, pooled], sum, Some((11, &[(0, I8(2))])));
    let joined = t.map(INT8, &[1, 2, 2, 24]);
    t.operator(2, &[sum, product], joined, Some((10, &[(0, I32(-1))])));
    let leaky = t.map(INT8, &[1, 2, 2, 24]);
    t.operator(98, &[joined], leaky, Some((75, &[(0, F32(0.1))])));
    let (axes, mean) = (t.ints(&[2], &[1, -2]), t.map(INT8, &[1, 24]));
    t.operator(40, &[leaky, axes], mean, None);
    let (w, linear) = (t.weight(&[5, 24], 0), t.map(INT8, &[1, 5]));
    t.operator(9, &[mean, w], linear, Some((8, &[])));
    let softmax = t.probabilities(&[1, 5]);
    t.operator(25, &[linear], softmax, Some((9, &[(0, F32(1.0))])));
    let unsigned = t.map(UINT8, &[1, 5]);
    t.operator(114, &[softmax], unsigned, None);
    t
}
