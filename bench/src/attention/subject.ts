import type { Mechanism } from "@revnet-zero/attention";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { collectGarbage } from "../memory.ts";
import { answerRequests } from "../subject.ts";
import {
  type AttentionAnswer,
  type AttentionRequest,
  keysPerQuery,
  type MechanismName,
  mechanisms,
  size,
} from "./ways.ts";

// One forward and backward pass of causal attention by one way to attend, and what it takes at its peak.

const engine = new Engine(new CpuBackend());
const { heads, dim } = size;
const made = new Map<MechanismName, Mechanism>();
function mechanismOf(name: MechanismName): Mechanism {
  const found = made.get(name) ?? mechanisms[name](engine);
  made.set(name, found);
  return found;
}

let operands: { readonly tokens: number; readonly list: readonly Tensor[] } = { tokens: 0, list: [] };
function operandsFor(tokens: number): readonly Tensor[] {
  if (operands.tokens === tokens) return operands.list;
  for (const t of operands.list) t.dispose();
  const list = [0, 1, 2, 3].map((i) =>
    engine.keep(randomNormal([1, heads, tokens, dim], { key: foldKey(randomKey(1), i), engine })),
  );
  operands = { tokens, list };
  return list;
}

await answerRequests(({ mechanism: name, tokens }: AttentionRequest): AttentionAnswer => {
  const mechanism = mechanismOf(name);
  const [q, k, v, gradient] = operandsFor(tokens) as [Tensor, Tensor, Tensor, Tensor];
  collectGarbage();
  return engine.scope(() => {
    const leaves = [q, k, v].map((x) => x.detach().requireGrad()) as [Tensor, Tensor, Tensor];
    engine.ledger.resetPeak();
    const start = performance.now();
    const y = mechanism.call(...leaves);
    const middle = performance.now();
    y.backward({ gradient });
    const end = performance.now();
    const fixed = 7 * q.size * 4;
    for (const x of leaves) x.grad!.dispose();
    return {
      timeMs: end - start,
      forwardMs: middle - start,
      peakBytes: engine.memory().peakBytes - fixed,
      keysPerQuery: keysPerQuery(mechanism, tokens),
    };
  });
});
