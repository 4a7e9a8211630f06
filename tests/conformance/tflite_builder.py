"""Writes quantised TFLite models without TensorFlow, operator by operator.

One method per operator that Trunkline imports. A map is a tensor index; `Tflite.shape`, `.scale` and
`.zero_point` say how it is coded. The models are valid for every runtime that is compared: SAME
padding and output shapes are computed here as TFLite does.
"""
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
SAME, VALID = range(2)
TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.uint8): schema.TensorType.UINT8,
         np.dtype(np.int32): schema.TensorType.INT32}
# The versions in which the operators took on int8; per-channel FULLY_CONNECTED is version 12.
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2, "MUL": 2, "AVERAGE_POOL_2D": 2,
            "MAX_POOL_2D": 2, "MEAN": 2, "PAD": 2, "CONCATENATION": 2, "SOFTMAX": 2, "LOGISTIC": 2, "TANH": 2,
            "HARD_SWISH": 1, "LEAKY_RELU": 2, "QUANTIZE": 2, "RESHAPE": 1, "RELU": 2, "RELU6": 2}


def window(extent, kernel, stride, dilation, padding):
    """Output positions along one axis."""
    reach = (kernel - 1) * dilation + 1
    return -(-extent // stride) if padding == SAME else (extent - reach) // stride + 1


def exact_multiplier(x):
    return float(np.float32(x))


class Tflite:
    def __init__(self, shape, scale, zero_point, dtype=np.int8):
        self.dtype = np.dtype(dtype)
        self.model = schema.ModelT(version=3, description="made by tflite_builder.py")
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.codes = [], {}
        self.graph = schema.SubGraphT(tensors=[], operators=[], name="main")
        self.model.subgraphs = [self.graph]
        self.input = self.map(shape, scale, zero_point)
        self.graph.inputs, self.graph.outputs = [self.input], [self.input]

    # Tensors

    def _tensor(self, shape, dtype, quantization, data=None):
        buffer = 0
        if data is not None:
            buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
        index = len(self.graph.tensors)
        self.graph.tensors.append(schema.TensorT(shape=[int(n) for n in shape], type=TYPES[np.dtype(dtype)],
                                                 buffer=buffer, name=f"t{index}", quantization=quantization))
        return index

    def map(self, shape, scale, zero_point):
        coding = schema.QuantizationParametersT(scale=[exact_multiplier(scale)], zeroPoint=[int(zero_point)])
        return self._tensor(shape, self.dtype, coding)

    def constant(self, values, scales=None, zero_points=None, axis=0):
        coding = None
        if scales is not None:
            scales = [exact_multiplier(s) for s in np.atleast_1d(scales)]
            zero_points = [0] * len(scales) if zero_points is None else [int(z) for z in np.atleast_1d(zero_points)]
            # XNNPACK refuses a single scale along any dimension but the first.
            axis = axis if len(scales) > 1 else 0
            coding = schema.QuantizationParametersT(scale=scales, zeroPoint=zero_points, quantizedDimension=axis)
        return self._tensor(values.shape, values.dtype, coding, values)

    def shape(self, t):
        return list(self.graph.tensors[t].shape)

    def scale(self, t):
        return self.graph.tensors[t].quantization.scale[0]

    def zero_point(self, t):
        return self.graph.tensors[t].quantization.zeroPoint[0]

    # Operators: each returns its output map

    def _operator(self, name, inputs, output, options=None, version=None):
        code = getattr(schema.BuiltinOperator, name)
        key = (code, version or VERSIONS[name])
        if key not in self.codes:
            self.codes[key] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(
                schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=key[1]))
        kind = 0
        if options is not None:
            kind = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(schema.OperatorT(opcodeIndex=self.codes[key], inputs=list(inputs), outputs=[output],
                                                     builtinOptionsType=kind, builtinOptions=options))
        self.graph.outputs = [output]
        return output

    def _weights(self, x, codes, scales, zero_point, bias, axis):
        """The constants of an operator with weights; the bias has the scale of its products."""
        zero_points = [zero_point] * len(np.atleast_1d(scales))
        inputs = [x, self.constant(codes, scales, zero_points, axis)]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.int32), np.float32(self.scale(x)) * np.float32(scales)))
        return inputs

    def conv(self, x, codes, scales, bias, out, stride=(1, 1), padding=SAME, dilation=(1, 1), fused=NONE, zero_point=0):
        """`codes` as [out, h, w, in]; `out` is the output's (scale, zero point)."""
        n, h, w, _ = self.shape(x)
        shape = [n, window(h, codes.shape[1], stride[0], dilation[0], padding),
                 window(w, codes.shape[2], stride[1], dilation[1], padding), codes.shape[0]]
        options = schema.Conv2DOptionsT(padding=padding, strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0],
                                        dilationWFactor=dilation[1], fusedActivationFunction=fused)
        inputs = self._weights(x, codes, scales, zero_point, bias, 0)
        return self._operator("CONV_2D", inputs, self.map(shape, *out), options)

    def depthwise(self, x, codes, scales, bias, out, stride=(1, 1), padding=SAME, dilation=(1, 1), fused=NONE, zero_point=0):
        """`codes` as [1, h, w, in × multiplier]."""
        n, h, w, c = self.shape(x)
        shape = [n, window(h, codes.shape[1], stride[0], dilation[0], padding),
                 window(w, codes.shape[2], stride[1], dilation[1], padding), codes.shape[3]]
        options = schema.DepthwiseConv2DOptionsT(padding=padding, strideH=stride[0], strideW=stride[1],
                                                 dilationHFactor=dilation[0], dilationWFactor=dilation[1],
                                                 depthMultiplier=codes.shape[3] // c, fusedActivationFunction=fused)
        inputs = self._weights(x, codes, scales, zero_point, bias, 3)
        return self._operator("DEPTHWISE_CONV_2D", inputs, self.map(shape, *out), options)

    def fully_connected(self, x, codes, scales, bias, out, fused=NONE, zero_point=0):
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=fused)
        inputs = self._weights(x, codes, scales, zero_point, bias, 0)
        version = 12 if len(np.atleast_1d(scales)) > 1 else None
        shape = [self.shape(x)[0], codes.shape[0]]
        return self._operator("FULLY_CONNECTED", inputs, self.map(shape, *out), options, version)

    def add(self, a, b, out, fused=NONE):
        output = self.map(np.broadcast_shapes(self.shape(a), self.shape(b)), *out)
        return self._operator("ADD", [a, b], output, schema.AddOptionsT(fusedActivationFunction=fused))

    def mul(self, a, b, out, fused=NONE):
        output = self.map(np.broadcast_shapes(self.shape(a), self.shape(b)), *out)
        return self._operator("MUL", [a, b], output, schema.MulOptionsT(fusedActivationFunction=fused))

    def pool(self, name, x, kernel, stride, padding, fused=NONE):
        n, h, w, c = self.shape(x)
        shape = [n, window(h, kernel[0], stride[0], 1, padding), window(w, kernel[1], stride[1], 1, padding), c]
        options = schema.Pool2DOptionsT(padding=padding, strideH=stride[0], strideW=stride[1], filterHeight=kernel[0],
                                        filterWidth=kernel[1], fusedActivationFunction=fused)
        return self._operator(name, [x], self.map(shape, self.scale(x), self.zero_point(x)), options)

    def mean(self, x, out, keep=True):
        n, _, _, c = self.shape(x)
        axes = self.constant(np.array([1, 2], np.int32))
        output = self.map([n, 1, 1, c] if keep else [n, c], *out)
        return self._operator("MEAN", [x, axes], output, schema.ReducerOptionsT(keepDims=keep))

    def pad(self, x, amounts):
        """`amounts` per axis: [[0, 0], [top, bottom], [left, right], [before, after]]."""
        shape = [n + sum(a) for n, a in zip(self.shape(x), amounts)]
        table = self.constant(np.array(amounts, np.int32))
        return self._operator("PAD", [x, table], self.map(shape, self.scale(x), self.zero_point(x)), schema.PadOptionsT())

    def concat(self, maps):
        shape = self.shape(maps[0])
        shape[-1] = sum(self.shape(m)[-1] for m in maps)
        output = self.map(shape, self.scale(maps[0]), self.zero_point(maps[0]))
        return self._operator("CONCATENATION", maps, output, schema.ConcatenationOptionsT(axis=len(shape) - 1))

    def reshape(self, x, shape):
        output = self.map(shape, self.scale(x), self.zero_point(x))
        target = self.constant(np.array(shape, np.int32))
        return self._operator("RESHAPE", [x, target], output, schema.ReshapeOptionsT(newShape=[int(n) for n in shape]))

    def softmax(self, x, beta=1.0):
        output = self.map(self.shape(x), *self.bounded(1 / 256, -128))
        return self._operator("SOFTMAX", [x], output, schema.SoftmaxOptionsT(beta=beta))

    def logistic(self, x):
        return self._operator("LOGISTIC", [x], self.map(self.shape(x), *self.bounded(1 / 256, -128)))

    def tanh(self, x):
        return self._operator("TANH", [x], self.map(self.shape(x), *self.bounded(1 / 128, 0)))

    def hard_swish(self, x, out):
        return self._operator("HARD_SWISH", [x], self.map(self.shape(x), *out), schema.HardSwishOptionsT())

    def leaky_relu(self, x, slope, out):
        return self._operator("LEAKY_RELU", [x], self.map(self.shape(x), *out), schema.LeakyReluOptionsT(alpha=slope))

    def relu(self, name, x, out):
        return self._operator(name, [x], self.map(self.shape(x), *out))

    def quantize(self, x, out):
        return self._operator("QUANTIZE", [x], self.map(self.shape(x), *out), schema.QuantizeOptionsT())

    def bounded(self, scale, zero_point):
        return scale, zero_point + (128 if self.dtype == np.uint8 else 0)

    def bytes(self):
        return pack(self.model)


def pack(model):
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def operator_names(model):
    numbers = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [numbers[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    return [codes[op.opcodeIndex] for op in model.subgraphs[0].operators]


def is_code(model, tensor):
    return model.subgraphs[0].tensors[tensor].type in (schema.TensorType.INT8, schema.TensorType.UINT8)


def with_every_output(data):
    """The same model with each operator's 8-bit map as an output, in running order, and their tensor numbers."""
    model = unpack(data)
    graph = model.subgraphs[0]
    tensors = [int(op.outputs[0]) for op in graph.operators if is_code(model, op.outputs[0])]
    graph.outputs = tensors
    # The old output list also stands in the signatures, which no runtime here needs.
    model.signatureDefs = []
    return pack(model), tensors


def with_batch(data, batch):
    """The same model for a fixed batch: the leading dimension of every map, and of what RESHAPE is told."""
    model = unpack(data)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        has_data = model.buffers[tensor.buffer].data is not None and len(model.buffers[tensor.buffer].data) > 0
        if not has_data and tensor.shape is not None and len(tensor.shape) > 1:
            tensor.shape = [batch] + [int(n) for n in tensor.shape[1:]]
            tensor.shapeSignature = None
    for op, name in zip(graph.operators, operator_names(model)):
        if name == "RESHAPE":
            shape = [int(n) for n in graph.tensors[op.outputs[0]].shape]
            if len(op.inputs) > 1:
                table = graph.tensors[op.inputs[1]]
                model.buffers.append(schema.BufferT(data=np.frombuffer(np.array(shape, np.int32).tobytes(), np.uint8)))
                table.buffer = len(model.buffers) - 1
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = shape
    return pack(model)
