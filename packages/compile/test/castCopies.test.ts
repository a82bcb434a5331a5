import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { compile } from "../src/index.ts";

// Recordings that read the copies of parameters in fewer bits which autocast keeps.

function parameter(engine: Engine, seed: number): Tensor {
  const t = engine.keep(randomNormal([3, 4], { key: randomKey(seed), engine }));
  t.storage.category = "parameters";
  return t;
}

const apply = (w: Tensor, x: Tensor): Tensor => w.engine.autocast("bf16", () => x.linear(w)).cast("f32");
const values = (t: Tensor): number[] => [...t.dataSync()];

test("a recording reads the values that a parameter has, whoever wrote them since, and casts nothing otherwise", () => {
  const engine = new Engine(new CpuBackend());
  const [w, x] = [parameter(engine, 1), parameter(engine, 2)];
  const f = compile((t: Tensor) => apply(w, t));
  for (let call = 0; call < 6; call++) {
    engine.scope(() => {
      if (call > 2) w.assign(randomNormal([3, 4], { key: randomKey(10 + call), engine }));
      const expected = w.cast("bf16");
      expect(values(f(x))).toEqual(values(x.cast("bf16").linear(expected).cast("f32")));
    });
  }
  expect(f.reason).toBeUndefined();
  // x, which is an argument, is cast, and the product's result: the weight is not.
  expect(f.recordings.map((r) => r.recorded)).toEqual([3]);
  w.dispose();
  engine.scope(() => expect(() => f(x)).toThrow(/disposed/));
  f.dispose();
  x.dispose();
  expect(engine.memory().liveBytes).toBe(0);
});

test("a parameter that is an argument is cast anew: another call may give another one", () => {
  const engine = new Engine(new CpuBackend());
  const weights = [1, 2, 3, 4].map((seed) => parameter(engine, seed));
  const x = parameter(engine, 5);
  const f = compile(apply);
  for (const w of weights)
    engine.scope(() => expect(values(f(w, x))).toEqual(values(x.cast("bf16").linear(w.cast("bf16")).cast("f32"))));
  expect(f.reason).toBeUndefined();
});

test("a parameter written inside of a recording is read as it is then", () => {
  const engine = new Engine(new CpuBackend());
  const [w, x] = [parameter(engine, 1), parameter(engine, 2)];
  const step = (t: Tensor): Tensor[] => {
    const before = apply(w, t);
    w.assign(w.mul(0.5));
    return [before, apply(w, t)];
  };
  const f = compile(step);
  let expected = w.clone();
  for (let call = 0; call < 5; call++) {
    engine.scope(() => {
      const [before, after] = f(x) as [Tensor, Tensor];
      const at = (v: Tensor): number[] => values(x.cast("bf16").linear(v.cast("bf16")).cast("f32"));
      expect(values(before)).toEqual(at(expected));
      expected = engine.keep(expected.mul(0.5));
      expect(values(after)).toEqual(at(expected));
    });
  }
  expect(f.reason).toBeUndefined();
});
