import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ElementwiseOp, elementwise, expr, grad, type Tensor } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

// A vjp may take what its input has received so far and give it back with more in it. Nobody may notice.

const tripled = (takes: boolean): ElementwiseOp =>
  elementwise({
    name: "tripled",
    arity: 1,
    doc: "3 x",
    body: ([x]) => expr.mul(3, x!),
    meta: ([x]) => [x!],
    gradient: {
      saves: () => ({}),
      vjp: ({ gradient, takeReceived }) => {
        const own = gradient.mul(3);
        const sum = takes ? takeReceived(0) : undefined;
        if (sum === undefined) return [own];
        taken++;
        const total = sum.addDonating(own);
        sum.dispose();
        return [total];
      },
    },
  });
const [taking, plain] = [tripled(true), tripled(false)];
let taken = 0;

const programs = fc.array(
  fc.record({ op: fc.constantFrom("tripled", "mul", "add", "sin"), a: fc.nat(), b: fc.nat() }),
  { minLength: 2, maxLength: 10 },
);
type Program = readonly { readonly op: string; readonly a: number; readonly b: number }[];

/** A program over a growing list, summed up. */
function run(program: Program, op: ElementwiseOp, x: Tensor): Tensor {
  const values = [x];
  for (const { op: name, a, b } of program) {
    const [first, second] = [values[a % values.length]!, values[b % values.length]!];
    if (name === "tripled") values.push(first.apply(op, [first], undefined));
    else if (name === "sin") values.push(first.sin());
    else values.push(first[name as "mul" | "add"](second));
  }
  return values.reduce((sum, v) => sum.add(v)).sum();
}

test("gradients that join what was received have the bits of those added to it: leaves, values, second passes, held gradients", () => {
  const engine = newEngine();
  fc.assert(
    fc.property(programs, fc.boolean(), (program, isHeld) => {
      engine.scope(() => {
        const gradients = [taking, plain].map((op) => {
          const x = random(engine, 1, [5]).requireGrad();
          run(program, op, x).backward();
          // A second pass adds to the gradient; one that somebody else reads stays what it was.
          const holder = isHeld ? x.grad!.detach() : undefined;
          const before = holder?.dataSync();
          run(program, op, x).backward();
          if (holder !== undefined) expectBitEqual(holder.dataSync(), before!, "a held gradient");
          return x.grad!.dataSync();
        });
        expectBitEqual(gradients[0]!, gradients[1]!, "gradients");
      });
    }),
    runs(60),
  );
  expect(taken).toBeGreaterThan(0);
  expect(engine.memory().liveBytes).toBe(0);
});

test("a pass that is recorded gives nothing up", () => {
  const engine = newEngine();
  engine.scope(() => {
    const twice = [taking, plain].map((op) => {
      const x = random(engine, 1, [5]);
      const f = (t: Tensor): Tensor =>
        t
          .mul(t)
          .add(t.apply(op, [t], undefined).mul(t))
          .sum();
      const [second] = grad((t) => grad(f, [t], { createGraph: true })[0]!.square().sum(), [x]);
      return second!.dataSync();
    });
    expectBitEqual(twice[0]!, twice[1]!, "second derivatives");
  });
});
