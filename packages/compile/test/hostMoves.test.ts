import { type Tensor, tensor } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { compile } from "../src/index.ts";
import { copies, copyOf, engine, holdsForRecordings, size } from "./hostMovesProperty.ts";

test("copies in host memory are made again by a recording, on its own buffers", () => holdsForRecordings(40));

test("what is kept in host memory, and what copies take, cannot be recorded", () => {
  const x = engine.keep(tensor(new Float32Array(size), { engine }));
  const kept: { release(): void }[] = [];
  const reasons = [
    (t: Tensor) => {
      kept.push(copyOf(t));
      return t.neg();
    },
    (t: Tensor) => t.mul(copies().copiesMs() + copies().waitsMs()),
  ].map((f) => {
    const recorded = compile(f);
    for (let call = 0; call < 2; call++) recorded(x).dispose();
    return recorded.reason;
  });
  expect(reasons).toEqual(["it keeps tensors in host memory", "it asks how long copies took"]);
  for (const copy of kept) copy.release();
  x.dispose();
  expect(engine.memory().liveBytes).toBe(0);
});
