import { ones, type Tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BlockPolicy, ReversibleSequence } from "../src/index.ts";
import { plansOf } from "./coupled.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const numBlocks = 5;

/** What an observer hears of a step under a plan; and of each node of the backward pass, which block's nodes it belongs to. */
function heard(plan: readonly BlockPolicy[]) {
  const branch = (x: Tensor): Tensor => x.sin();
  const blocks = plan.map(() => ({ F: branch, G: branch }));
  const sequence = new ReversibleSequence({ blocks, engine, plan: { blocks: plan } });
  const [forward, backward, firstNodes]: number[][] = [[], [], []];
  // A rebuilt block's node and its observer both say that it begins.
  const begin = (block: number): void => {
    if (backward!.at(-1) !== block) backward!.push(block);
  };
  sequence.observer = {
    forward: (block) => {
      forward!.push(block);
      firstNodes!.push(engine.nodeCount);
    },
    backward: begin,
  };
  const stop = engine.listenToBackward((id) => {
    const block = firstNodes!.findLastIndex((first) => first <= id);
    if (block >= 0 && block < plan.length) begin(block);
  });
  engine.scope(() => {
    engine.noGrad(() => sequence.call(ones([2], { engine }), ones([2], { engine })));
    const x = ones([2], { engine }).requireGrad();
    sequence.call(x, x)[0]!.sum().backward();
  });
  stop();
  for (const buffer of sequence.namedBuffers().values()) buffer.dispose();
  return { forward, backward };
}

test("an observer hears of every block once in each direction, whatever the plan", () => {
  fc.assert(
    fc.property(plansOf(numBlocks), (plan) => {
      expect(heard(plan)).toEqual({ forward: [0, 1, 2, 3, 4, 5], backward: [4, 3, 2, 1, 0] });
    }),
    runs(40),
  );
});
