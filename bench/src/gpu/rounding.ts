import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { Engine, tensor } from "@revnet-zero/tensor";

/** Values that are random, halfway between two steps, beyond the range, or no numbers. */
function values(count: number): Float32Array {
  const out = new Float32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const whole = state >> (state & 15);
    out[i] = i % 3 === 0 ? (whole + 0.5) * 2 ** -20 : i % 3 === 1 ? whole * 1e-5 : whole * 2 ** -26;
  }
  out.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2048, -2048, -0, 0.5 * 2 ** -20]);
  return out;
}

/** How many of many values CPU and GPU quantise differently. */
export function quantiseDifferences(backend: CudaBackend, count = 2 ** 20): number {
  const given = values(count);
  const [host, device] = [new CpuBackend(), backend].map((b) => {
    const engine = new Engine(b);
    return engine.scope(() => tensor(given, { engine }).quantise(20).dataSync());
  });
  let different = 0;
  for (let i = 0; i < count; i++) if (host![i] !== device![i]) different++;
  return different;
}
