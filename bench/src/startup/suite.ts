import { fileURLToPath } from "node:url";
import { median } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import { installedBytes, packedBytes } from "./installed.ts";

/** Packages that a user of the peer installs by name. */
const peerPackages: { readonly [impl: string]: readonly string[] } = {
  "tfjs-wasm": ["@tensorflow/tfjs", "@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-wasm"],
  "tfjs-cpu": ["@tensorflow/tfjs", "@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-cpu"],
  "jax-js": ["@jax-js/jax"],
  "onnxruntime-web": ["onnxruntime-web"],
  "numpy-ts": ["numpy-ts"],
};
const size = 64;
const task = { op: "matmul", product: { batch: 1, m: size, k: size, n: size, transA: false, transB: false } };

interface Measured {
  readonly importMs: number;
  readonly firstStepMs: number;
}

/** From a cold process to the first result: import, then the first training step (ours) or the first product (peers). */
export const startup: Suite = {
  about: "import and first step in a fresh process, and the size on disk",
  run: async ({ isQuick, peers, log }) => {
    const repeats = isQuick ? 1 : 7;
    const rows: Row[] = [];
    const installBytes = packedBytes() ?? null;
    // As users have it, once it is built; else from the sources, whose types are stripped at every import.
    const code = installBytes === null ? "source" : "dist";
    const options = process.execArgv.filter((o) => code === "source" || !o.startsWith("--conditions"));
    const path = fileURLToPath(new URL("./first.ts", import.meta.url));
    const first = (): Promise<Measured> => new Subject("revnet-zero", process.execPath, [...options, path]).ask({});
    const library = async (impl: string): Promise<Measured> => {
      const serve = fileURLToPath(new URL("../tasks/serve.ts", import.meta.url));
      const subject = new Subject(impl, process.execPath, [...options, serve, impl, "1"]);
      const { importMs } = await subject.ask<{ importMs: number }>({ start: true });
      const began = performance.now();
      await subject.ask({ prepare: task });
      await subject.ask({ run: 1 });
      const firstStepMs = performance.now() - began;
      subject[Symbol.dispose]();
      return { importMs, firstStepMs };
    };
    const measure = async (
      impl: string,
      what: string,
      one: () => Promise<Measured>,
      bytes: number | null,
    ): Promise<void> => {
      const all: Measured[] = [];
      for (let i = 0; i < repeats; i++) all.push(await one());
      const importMs = median(all.map((m) => m.importMs));
      const firstStepMs = median(all.map((m) => m.firstStepMs));
      rows.push({ impl, firstStep: what, importMs, firstStepMs, installBytes: bytes, repeats });
      log(`  ${impl}: import ${importMs.toFixed(0)} ms, ${what} ${firstStepMs.toFixed(0)} ms`);
    };
    await measure("revnet-zero", "training step", first, installBytes);
    await measure("revnet-zero", "product", () => library("revnet-zero"), installBytes);
    for (const [impl, names] of Object.entries(peerPackages)) {
      if (!(peers?.includes(impl) ?? true)) continue;
      try {
        await measure(impl, "product", () => library(impl), await installedBytes(names));
      } catch (error) {
        rows.push({ impl, skipped: (error as Error).message });
      }
    }
    return { settings: { repeats, product: size, code }, rows, summary: {} };
  },
};
