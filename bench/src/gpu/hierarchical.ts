import { Hierarchical, HierarchicalReversibleAttention, type RecallOptions } from "@revnet-zero/attention";
import { type Backend, Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import type { OpProfile } from "./profile.ts";

const heads = { numHeads: 2, numKeyValueHeads: 1, leafSize: 4, compressionRatios: [2, 4] } as const;

/** Results by name: outputs and gradients of causal and bidirectional hierarchical attention, and a sequence generated step by step with a cache. */
function resultsOf(backend: Backend): Map<string, Float32Array> {
  const engine = new Engine(backend);
  const found = new Map<string, Float32Array>();
  const keep = (name: string, x: Tensor): void => {
    found.set(name, Float32Array.from(x.detach().dataSync()));
  };
  engine.scope(() => {
    for (const isCausal of [true, false]) {
      const attention = new Hierarchical({
        ...{ ...heads, headDim: 16, isCausal, pooling: "learned", levelBias: true, engine },
        ...(isCausal ? { recall: { topK: 2, level: 1 } } : {}),
      });
      const inputs = [2, 1, 1].map((n, i) =>
        randomNormal([1, n, 90, 16], { key: randomKey(i), engine }).requireGrad(),
      ) as [Tensor, Tensor, Tensor];
      const y = attention.call(...inputs);
      y.square().sum().backward();
      const which = isCausal ? "causal" : "bidirectional";
      keep(`${which} output`, y);
      for (const [i, x] of [...inputs, ...attention.parameters()].entries()) keep(`${which} gradient ${i}`, x.grad!);
      for (const x of inputs) x.grad!.dispose();
      attention.dispose();
    }
    const layer = new HierarchicalReversibleAttention({
      ...{ ...heads, dModel: 32, extendLevels: true, rotary: true, key: randomKey(9), engine },
    });
    const x = randomNormal([1, 40, 32], { key: randomKey(5), engine });
    engine.noGrad(() => {
      const cache = layer.cache();
      const steps = Array.from({ length: 40 }, (_, i) => layer.call(x.narrow(1, i, 1), { cache }));
      keep("steps with a cache", steps[0]!.concat(steps.slice(1), 1));
      cache.dispose();
    });
    layer.dispose();
  });
  return found;
}

/** The largest difference of each result from the other backend's, relative to its largest value. */
export function hierarchicalApart(backend: Backend, other: Backend): Map<string, number> {
  const [found, expected] = [resultsOf(backend), resultsOf(other)];
  const apart = (a: Float32Array, b: Float32Array): number => {
    const largest = b.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    return b.reduce((m, v, i) => Math.max(m, Math.abs(v - a[i]!)), 0) / largest;
  };
  return new Map([...expected].map(([name, values]) => [name, apart(found.get(name)!, values)]));
}

export interface ProfiledAttention {
  readonly tokens: number;
  readonly leafSize: number;
  readonly keyHeads: number;
  readonly recall?: RecallOptions;
}

/** A forward and backward pass of causal attention, 16 heads of 64 in bfloat16, after one that compiles. */
export function profileAttention(profile: OpProfile, { tokens, leafSize, keyHeads, recall }: ProfiledAttention): void {
  const engine = new Engine(profile.backend);
  const attention = new Hierarchical({
    ...{ numHeads: 16, numKeyValueHeads: keyHeads, headDim: 64, leafSize, extendLevels: true, engine },
    ...(recall === undefined ? {} : { recall }),
  });
  engine.scope(() => {
    const drawn = [16, keyHeads, keyHeads, 16].map((heads, i) =>
      randomNormal([1, heads, tokens, 64], { key: foldKey(randomKey(1), i), engine }).cast("bf16"),
    ) as [Tensor, Tensor, Tensor, Tensor];
    const pass = (): void =>
      engine.scope(() => {
        const leaves = drawn.slice(0, 3).map((x) => x.detach().requireGrad()) as [Tensor, Tensor, Tensor];
        attention.call(...leaves).backward({ gradient: drawn[3] });
        for (const x of leaves) x.grad!.dispose();
      });
    pass();
    profile.reset();
    pass();
  });
  attention.dispose();
}
