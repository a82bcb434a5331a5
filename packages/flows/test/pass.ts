import { type HostData, randomKey, type Tensor } from "@revnet-zero/tensor";
import type { FlowMode, FlowSequence } from "../src/index.ts";
import { engine, floats } from "./fixtures.ts";

const same = (x: Tensor): Tensor => x;

/** Outputs and every gradient of Σ c·value + Σ c·logDeterminant, in a mode. */
export function pass(
  flow: FlowSequence,
  mode: FlowMode,
  input: Tensor,
  { reads = "both", enter = same, leave = same } = {},
): (HostData | undefined)[] {
  flow.mode = mode;
  return engine.scope(() => {
    const x = input.detach().requireGrad();
    const { value, logDeterminant } = engine.withKey(randomKey(7), () => flow.call(enter(x)));
    const left = leave(value);
    const [a, b] = [left, logDeterminant].map((t, i) => t.mul(floats(t.shape, 90 + i, t.dtype)).sum());
    if (reads === "both") a!.add(b!).backward();
    // What has no gradient at all cannot be asked for one.
    else if ((reads === "value" ? a! : b!).requiresGrad) (reads === "value" ? a! : b!).backward();
    const found = [left.dataSync(), logDeterminant.dataSync(), x.grad?.dataSync()];
    for (const p of flow.parameters()) found.push(p.grad?.dataSync());
    flow.zeroGrad();
    x.dispose();
    return found;
  });
}
