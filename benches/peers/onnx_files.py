"""A network as ONNX: float, and quantised in the form that each engine does best on."""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def calibration_images(net, count):
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, (1, *net.shapes["input"])).astype(np.float32) for _ in range(count)]


class Writer:
    def __init__(self, net):
        self.net, self.nodes, self.constants = net, [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_{op}", **attributes))

    def layer(self, layer):
        bare = f"{layer.output}_bare" if layer.act else layer.output
        x = layer.inputs[0]
        if layer.op in ("conv", "linear"):
            inputs = [x, self.constant(f"{layer.output}_w", layer.weight), self.constant(f"{layer.output}_b", layer.bias)]
        if layer.op == "conv":
            self.node("Conv", inputs, bare, kernel_shape=layer.weight.shape[2:], strides=layer.stride, pads=layer.pad,
                      group=layer.groups)
        elif layer.op == "linear":
            self.node("Gemm", inputs, bare, transB=1)
        elif layer.op in ("add", "mul"):
            self.node(layer.op.capitalize(), layer.inputs, bare)
        elif layer.op in ("max-pool", "avg-pool"):
            op = "MaxPool" if layer.op == "max-pool" else "AveragePool"
            self.node(op, [x], bare, kernel_shape=layer.kernel, strides=layer.stride, pads=layer.pad)
        elif layer.op == "mean":
            self.node("GlobalAveragePool", [x], bare)
        elif layer.op == "pad-channels":
            amounts = np.array([0, 0, 0, 0, 0, layer.channels, 0, 0], np.int64)
            self.node("Pad", [x, self.constant(f"{layer.output}_pads", amounts)], bare)
        elif layer.op == "flatten":
            self.node("Flatten", [x], bare)
        elif layer.op == "softmax":
            self.node("Softmax", [x], bare, axis=-1)
        if layer.act == "relu6":
            bounds = [self.constant(f"{layer.output}_{b}", np.float32(b)) for b in (0, 6)]
            self.node("Clip", [bare, *bounds], layer.output)
        elif layer.act == "hard-sigmoid":
            self.node("HardSigmoid", [bare], layer.output, alpha=1 / 6, beta=0.5)
        elif layer.act:
            self.node({"relu": "Relu", "hard-swish": "HardSwish"}[layer.act], [bare], layer.output)

    def model(self):
        for layer in self.net.layers:
            self.layer(layer)
        last = self.net.layers[-1].output
        ends = [[helper.make_tensor_value_info(v, TensorProto.FLOAT, ["batch", *self.net.shapes[v]])]
                for v in ("input", last)]
        graph = helper.make_graph(self.nodes, self.net.name, *ends, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)


class Images:
    """What the calibrators of ONNX Runtime read."""

    def __init__(self, net, count):
        self.images = iter(calibration_images(net, count))

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"input": image}


def write(net, folder, calibration=4):
    """NAME.onnx (float), .qdq, .qop, .qconv (QLinearConv only), .dynamic (ConvInteger), and NNCF's .xml."""
    from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic,
                                          quantize_static)
    CalibrationDataReader.register(Images)
    folder = Path(folder)
    source = folder / f"{net.name}.onnx"
    onnx.save(Writer(net).model(), source)

    def static(suffix, form, **options):
        quantize_static(source, folder / f"{net.name}.{suffix}.onnx", Images(net, calibration), quant_format=form,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, **options)

    static("qdq", QuantFormat.QDQ)
    static("qop", QuantFormat.QOperator)
    static("qconv", QuantFormat.QOperator, op_types_to_quantize=["Conv"])
    without_shapes(folder / f"{net.name}.qconv.onnx")
    quantize_dynamic(source, folder / f"{net.name}.dynamic.onnx", weight_type=QuantType.QUInt8,
                     op_types_to_quantize=["Conv"])
    nncf_file(source, net, folder, calibration)


def without_shapes(path):
    """tract, told a batch, refuses the symbolic batch that the quantiser wrote on every map."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)


def nncf_file(source, net, folder, calibration):
    import nncf
    import openvino
    model = openvino.Core().read_model(source)
    data = nncf.Dataset(calibration_images(net, calibration), lambda image: {"input": image})
    quantised = nncf.quantize(model, data, subset_size=calibration)
    openvino.save_model(quantised, folder / f"{net.name}.nncf.xml")


def ranges(net, source, calibration=4):
    """The least and greatest value of every map, over the calibration images."""
    import onnxruntime
    model = onnx.load(source)
    known = {v.name for v in model.graph.output}
    for layer in net.layers:
        if layer.output not in known:
            model.graph.output.append(helper.make_tensor_value_info(layer.output, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [layer.output for layer in net.layers]
    found = {"input": (-1.0, 1.0)}
    for image in calibration_images(net, calibration):
        for name, values in zip(names, session.run(names, {"input": image})):
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found
