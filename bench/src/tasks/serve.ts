import { answerRequests } from "../subject.ts";
import type { Run, TaskLibrary, TaskRequest } from "./task.ts";

// One library in one process: node serve.ts <library> <threads>.

const [name = "", threads = "1"] = process.argv.slice(2);
const libraries: { readonly [name: string]: () => Promise<TaskLibrary> } = {
  "revnet-zero": async () => (await import("./revnet.ts")).start(),
  "tfjs-wasm": async () => (await import("./tfjs.ts")).start("wasm"),
  "tfjs-cpu": async () => (await import("./tfjs.ts")).start("cpu"),
  "jax-js": async () => (await import("./jax.ts")).start(),
  "onnxruntime-web": async () => (await import("./onnxruntimeWeb.ts")).start(Number(threads)),
  "numpy-ts": async () => (await import("./numpyTs.ts")).start(),
};

// What libraries tell their users belongs on standard error: standard output is the protocol's.
console.log = console.info = console.warn = console.error;
const began = performance.now();
let library: TaskLibrary | undefined;
let run: Run | undefined;
await answerRequests(async (request: TaskRequest | { readonly start: true } | { readonly peak: true }) => {
  if ("start" in request) {
    library = await libraries[name]!();
    const { version, tier } = library;
    return { version, tier, importMs: performance.now() - began };
  }
  if ("peak" in request) return { peakFlops: library!.peakFlops?.() ?? null };
  if ("prepare" in request) {
    run = await library!.prepare(request.prepare);
    return { isAble: run !== undefined };
  }
  const start = performance.now();
  await run!(request.run);
  return { timeMs: (performance.now() - start) / request.run };
});
