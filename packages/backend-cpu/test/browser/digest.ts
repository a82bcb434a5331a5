import { Engine, randomKey, randomNormal } from "@revnet-zero/tensor";
import type { CpuBackend } from "../../src/index.ts";

/** The bits of results large enough for all threads, in one number. */
export function digest(backend: CpuBackend): string {
  const engine = new Engine(backend);
  let hash = 0x811c9dc5;
  engine.scope(() => {
    const x = randomNormal([600, 200], { key: randomKey(1), engine });
    const w = randomNormal([200, 300], { key: randomKey(2), engine });
    const b = randomNormal([300], { key: randomKey(3), engine });
    const y = x.matmul(w).gelu();
    for (const t of [y, y.softmax(), y.layerNorm(b, b), y.sum([0]), y.exp()]) {
      for (const word of new Int32Array(t.dataSync().slice().buffer as ArrayBuffer))
        hash = Math.imul(hash ^ word, 0x01000193);
    }
  });
  return (hash >>> 0).toString(16);
}
