import { type Backend, Engine, type TypedArray } from "@revnet-zero/tensor";
import { expectBitEqual, expectClose } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { CpuBackend, ReferenceBackend, type TierName, tierNames } from "../src/index.ts";
import { inputsOf, type Program, programs } from "./programs.ts";

async function results(backend: Backend, program: Program, dtype: "f32" | "f64"): Promise<TypedArray[]> {
  const engine = new Engine(backend);
  const scope = engine.openScope("program");
  try {
    const outputs = program.run(engine, inputsOf(program, engine, dtype));
    return await Promise.all(outputs.map(async (t) => (await t.data()) as TypedArray));
  } finally {
    scope.close();
  }
}

/** The tiers that this engine can run, with the reason where one cannot. */
function cpu(tier: TierName, threads: number): CpuBackend | string {
  try {
    return new CpuBackend({ tier, threads });
  } catch (error) {
    return (error as Error).message;
  }
}

const exact = new Map<Program, Promise<readonly [TypedArray[], TypedArray[]]>>();
function oracle(program: Program) {
  let found = exact.get(program);
  if (found === undefined) {
    const reference = new ReferenceBackend();
    found = Promise.all([results(reference, program, "f64"), results(reference, program, "f32")]);
    exact.set(program, found);
  }
  return found;
}

describe.each(tierNames)("tier %s", (tier) => {
  const one = cpu(tier, 1);

  test.each(programs.map((p) => [p.name, p] as const))("%s: within the tolerance of float64", async (_, program) => {
    const backend = cpu(tier, 2);
    if (typeof backend === "string") {
      expect(backend).toMatch(/cannot run here/);
      return;
    }
    const [wide, plain] = await oracle(program);
    const found = await results(backend, program, "f32");
    expect(found).toHaveLength(wide.length);
    found.forEach((actual, i) => {
      const naive = plain[i]!;
      expectClose(actual, { exact: wide[i]!, naive, dtype: "f32", factor: 8 }, `output ${i}`);
    });
  });

  test("same bits on one, two and three threads", async () => {
    if (typeof one === "string") {
      expect(one).toMatch(/cannot run here/);
      return;
    }
    const several = [2, 3].map((threads) => [threads, cpu(tier, threads) as CpuBackend] as const);
    for (const program of programs) {
      const expected = await results(one, program, "f32");
      for (const [threads, backend] of several) {
        const found = await results(backend, program, "f32");
        found.forEach((actual, i) => {
          expectBitEqual(actual, expected[i]!, `${program.name}, output ${i} on ${threads} threads`);
        });
      }
    }
  });
});

test("tiers wide and relaxed give the same bits", async () => {
  const [wide, relaxed] = [cpu("wide", 2), cpu("relaxed", 2)];
  if (typeof wide === "string" || typeof relaxed === "string") {
    expect(`${wide} ${relaxed}`).toMatch(/cannot run here/);
    return;
  }
  for (const program of programs) {
    const expected = await results(relaxed, program, "f32");
    (await results(wide, program, "f32")).forEach((actual, i) => {
      expectBitEqual(actual, expected[i]!, `${program.name}, output ${i}`);
    });
  }
});
