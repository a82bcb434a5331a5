import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { dispatch, Engine, ops, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";

/** Attention of batch x heads of length x dim, every operand row-major, as bench/peers/pytorch_attention.py takes it too. */
export interface AttentionShape {
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly dim: number;
  readonly isCausal: boolean;
}

export const attentionShapes: readonly AttentionShape[] = [
  { batch: 32, heads: 12, length: 1024, dim: 64, isCausal: true },
  { batch: 4, heads: 16, length: 4096, dim: 64, isCausal: true },
  { batch: 1, heads: 16, length: 16384, dim: 64, isCausal: true },
  { batch: 4, heads: 16, length: 4096, dim: 128, isCausal: true },
  { batch: 4, heads: 16, length: 4096, dim: 128, isCausal: false },
];

export interface AttentionTime {
  readonly pass: "forward" | "backward";
  readonly way: string;
  readonly timeMs: number;
  /** Products of the scores under the mask: 4 a forward, 10 a backward, whatever a kernel multiplies again. */
  readonly teraflopsPerSecond: number;
}

const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1]!;

export interface AttentionTiming {
  readonly rounds: number;
  /** How q, k and v lie: each row-major, or as heads of one projection [batch, length, 3 heads, dim], as layers have them. */
  readonly layout: "apart" | "packed";
  readonly passes: readonly string[];
  /** Ways that are timed, of those that take the shape. Default: all of them. */
  readonly ways?: readonly string[];
}

/** q, k and v [batch, heads, length, dim]. */
function drawHeads(engine: Engine, { batch, heads, length, dim }: AttentionShape, isPacked: boolean): Tensor[] {
  const draw = (shape: number[], seed: number): Tensor =>
    randomNormal(shape, { key: randomKey(seed), engine }).cast("bf16");
  if (!isPacked) return [1, 2, 3].map((seed) => draw([batch, heads, length, dim], seed));
  const packed = draw([batch, length, 3 * heads, dim], 1);
  return packed.split([heads, heads, heads], 2).map((part) => part.permute([0, 2, 1, 3]));
}

/** Times the ways of attention on one shape in bfloat16, turn by turn: the median of `rounds`, each of several runs. */
export function timeAttention(backend: CudaBackend, shape: AttentionShape, timing: AttentionTiming): AttentionTime[] {
  const { batch, heads, length, dim, isCausal } = shape;
  const engine = new Engine(backend);
  const { native, choices } = backend.device;
  return engine.noGrad(() =>
    engine.scope(() => {
      const [q, k, v] = drawHeads(engine, shape, timing.layout === "packed") as [Tensor, Tensor, Tensor];
      const g = randomNormal([batch, heads, length, dim], { key: randomKey(4), engine }).cast("bf16");
      const attrs = { scale: dim ** -0.5, isCausal };
      const [o, lse] = dispatch(engine, ops.attention, [q, k, v], attrs) as [Tensor, Tensor];
      const passes = {
        forward: { flops: 4, run: () => dispatch(engine, ops.attention, [q, k, v], attrs) },
        backward: { flops: 10, run: () => dispatch(engine, ops.attentionBackward, [q, k, v, o, lse, g], attrs) },
      };
      const times: AttentionTime[] = [];
      for (const [pass, { flops, run }] of Object.entries(passes)) {
        if (!timing.passes.includes(pass)) continue;
        const timed = (way: string, runs: number): number =>
          choices.preferring(way, () => {
            const first = native.recordEvent();
            for (let i = 0; i < runs; i++) for (const t of run()) t.dispose();
            return native.elapsed(first, native.recordEvent()) / runs;
          });
        const turns = waysOf(backend, run, timing.ways).map((way) => {
          timed(way, 1); // what is compiled or planned at first
          const once = timed(way, 1);
          return { way, runs: Math.max(1, Math.min(20, Math.ceil(10 / once))), found: [] as number[] };
        });
        for (let round = 0; round < timing.rounds; round++)
          for (const { way, runs, found } of turns) found.push(timed(way, runs));
        const work = (flops * batch * heads * length * length * dim) / (isCausal ? 2 : 1);
        for (const { way, found } of turns) {
          const timeMs = median(found);
          times.push({ pass: pass as AttentionTime["pass"], way, timeMs, teraflopsPerSecond: work / timeMs / 1e9 });
        }
      }
      return times;
    }),
  );
}

/** The ways that take what `run` asks for, and run. */
function waysOf(
  { device }: CudaBackend,
  run: () => readonly Tensor[],
  wanted: readonly string[] | undefined,
): string[] {
  const [choice] = device.choices.askedBy(() => {
    for (const t of run()) t.dispose();
  });
  const { kernels, measure } = choice!;
  return kernels.filter((way) => (wanted?.includes(way) ?? true) && measure(way) !== undefined);
}
