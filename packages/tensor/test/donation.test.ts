import { expectBitEqual, operandsOf, runs, type Sample, samples, subject } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AnyOp, type DType, dispatch, isFloat, type OpName, ops, type Tensor } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

// A caller that gives its operand up lets the op write over it. That must be a saving and nothing else: where somebody
// else still reads the buffer, and where backward will, a new one is taken.

const names = (Object.keys(ops) as OpName[]).filter((n) => {
  const op: AnyOp = ops[n];
  return op.arity !== 0 && (op.kind === "elementwise" || op.mayAlias !== undefined);
});

/** Whether a call writes to operands that nobody gave up. */
const mutates = (name: OpName, { operands, attrs }: Sample): boolean =>
  ((ops[name] as AnyOp).mutates?.(operands, attrs) ?? []).length > 0;

const callsOf = (name: OpName) => {
  const { sampler } = subject(name);
  return fc
    .constantFrom<DType>(...sampler.dtypes)
    .chain((dtype) => samples(sampler, { dtype, values: "smooth", allowsViews: true }))
    .filter((sample) => !mutates(name, sample));
};

describe("an op whose operand is given up", () => {
  test.each(names)("%s gives the same bits in its buffer as in a new one, and leaves the others alone", (name) => {
    const op: AnyOp = ops[name];
    const engine = newEngine();
    fc.assert(
      fc.property(callsOf(name), (sample) => {
        engine.scope(() => {
          const given = operandsOf(engine, sample);
          const before = given.map((t) => t.dataSync());
          const holder = given[0]!.detach();
          const kept = dispatch(engine, op, given, sample.attrs, { donates: true });
          for (const [i, t] of given.entries()) expectBitEqual(t.dataSync(), before[i]!, `operand ${i}`);
          holder.dispose();
          const donated = dispatch(engine, op, given, sample.attrs, { donates: true });
          for (const [i, t] of donated.entries()) expectBitEqual(t.dataSync(), kept[i]!.dataSync(), `output ${i}`);
          for (const [i, t] of given.slice(1).entries())
            expectBitEqual(t.dataSync(), before[i + 1]!, `operand ${i + 1}`);
        });
      }),
      runs(25),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("takes the buffer where it fits: no byte more at the peak", () => {
    const engine = newEngine();
    engine.scope(() => {
      const [x, y] = [random(engine, 1, [1000]), random(engine, 2, [1000])];
      engine.ledger.resetPeak();
      const before = engine.memory().liveBytes;
      const [sum] = dispatch(engine, ops.add, [x, y], undefined, { donates: true });
      expect(engine.memory().peakBytes).toBe(before);
      expect(sum!.storage).toBe(x.storage);
    });
  });
});

describe("an op whose operand is given up, recorded", () => {
  const floatsOf = (n: OpName): DType[] => subject(n).sampler.dtypes.filter(isFloat);
  const isDifferentiable = (n: OpName): boolean => ops[n].gradient !== "none" && floatsOf(n).length > 0;

  test.each(names.filter(isDifferentiable))("%s has the gradients of the op that keeps its operand", (name) => {
    const op: AnyOp = ops[name];
    const engine = newEngine();
    fc.assert(
      fc.property(
        fc
          .constantFrom(...floatsOf(name))
          .chain((dtype) => samples(subject(name).sampler, { dtype, values: "smooth" }))
          .filter((sample) => !mutates(name, sample)),
        (sample) => {
          engine.scope(() => {
            const once = (donates: boolean): Tensor[] => {
              const leaves = operandsOf(engine, sample).map((t) => (isFloat(t.dtype) ? t.requireGrad() : t));
              // Values of the graph, not leaves: nobody but their node holds on to them.
              const values = leaves.map((t) => (isFloat(t.dtype) ? t.mul(1) : t.clone()));
              const [y] = dispatch(engine, op, values, sample.attrs, { donates });
              if (y!.requiresGrad) y!.backward({ gradient: y!.onesLike() });
              return leaves.flatMap((t) => (isFloat(t.dtype) ? [t.grad ?? t.zerosLike()] : []));
            };
            const [kept, donated] = [once(false), once(true)];
            for (const [i, g] of donated.entries()) expectBitEqual(g.dataSync(), kept[i]!.dataSync(), `gradient ${i}`);
          });
        },
      ),
      runs(10),
    );
    expect(engine.liveTensors).toBe(0);
  });
});
