import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { Engine, expectNoLeak, ones, type Tensor, zeros } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BlockPolicy, type ByteStore, HostStore, offloadTo, ReversibleSequence } from "../src/index.ts";
import { buildCoupled, coupledGradients, coupledPeak, coupledRecipes, plansOf, withCoupled } from "./coupled.ts";
import { expectSameGradients, newEngine } from "./fixtures.ts";

const engine = newEngine();
const [rows, dim] = [16, 8];
const streamBytes = rows * dim * 4;

/** Bytes alive between forward and backward, and after backward, with a plan of every block. */
function usage(plan: readonly BlockPolicy[], store = new HostStore()) {
  const own = newEngine();
  const blocks = plan.map(() => ({ F: (x: Tensor) => x.sin(), G: (x: Tensor) => x.tanh().mul(0.5) }));
  const sequence = new ReversibleSequence({ blocks, engine: own, plan: { blocks: plan }, offload: offloadTo(store) });
  return own.scope(() => {
    const x = zeros([rows, dim], { engine: own }).requireGrad();
    const before = own.memory().liveBytes;
    const outputs = sequence.call(x, x);
    const loss = own.scope(() => outputs[0]!.add(outputs[1]!).sum());
    for (const y of outputs) y.dispose();
    const held = own.memory().liveBytes - before - 4;
    const offloaded = store.heldBytes;
    loss.backward();
    return { held, offloaded, after: store.heldBytes };
  });
}

describe("what a plan keeps between forward and backward", () => {
  const pair = 2 * streamBytes;
  test.each<[string, BlockPolicy[], number, number]>([
    ["nothing but the last streams, rebuilt", ["reconstruct", "reconstruct", "reconstruct"], pair, 0],
    ["a set of streams an anchor", ["reconstruct", "anchor", "reconstruct"], 2 * pair, 0],
    ["a set of streams a block that is run again", ["checkpoint", "checkpoint"], 2 * pair, 0],
    ["those alone, where a rebuilt block ends with them", ["reconstruct", "checkpoint"], pair, 0],
    ["nothing in the engine, offloaded", ["offload", "offload"], 0, 2 * pair],
    ["nothing of a rebuilt block that ends with offloaded streams", ["reconstruct", "offload"], 0, pair],
    ["what the branches' derivatives read, stored", ["store"], 2 * streamBytes + 4, 0],
    ["nothing of that in the engine, swapped", ["swap"], 0, 2 * streamBytes + 4],
  ])("%s", (_, plan, held, offloaded) => {
    expect(usage(plan)).toEqual({ held, offloaded, after: 0 });
  });
});

test("a backend without values predicts the peak of any plan, to the byte", () => {
  const cases = coupledRecipes().chain((recipe) => fc.tuple(fc.constant(recipe), plansOf(recipe.depth)));
  fc.assert(
    fc.property(cases, ([recipe, blocks]) => {
      const peak = (own: Engine) => coupledPeak(recipe, own, { blocks, offload: offloadTo(new HostStore()) });
      const backend = new CpuBackend();
      expect(peak(new Engine(backend))).toEqual(peak(new Engine(MetaBackend.like(backend))));
    }),
    runs(30),
  );
});

describe("an offload store", () => {
  test("on disk gives the bits of stored backpropagation, and is empty afterwards", () => {
    const folder = mkdtempSync(join(tmpdir(), "revnet-offload-"));
    let files = 0;
    const disk: ByteStore<string> = {
      write: (bytes) => {
        const path = join(folder, String(files++));
        writeFileSync(path, bytes);
        return path;
      },
      read: (path) => readFileSync(path),
      remove: (path) => rmSync(path),
    };
    const cases = coupledRecipes().chain((recipe) => fc.tuple(fc.constant(recipe), plansOf(recipe.depth)));
    try {
      fc.assert(
        fc.property(cases, ([recipe, plan]) =>
          withCoupled(buildCoupled(recipe, engine), (subject) => {
            const stored = coupledGradients(subject, "store");
            const { blocks, fractionBits } = subject.sequence;
            const own = new ReversibleSequence({ blocks, fractionBits, engine, offload: offloadTo(disk) });
            expectSameGradients(coupledGradients({ ...subject, sequence: own }, "exact", { plan }), stored, `${plan}`);
            for (const b of own.namedBuffers().values()) b.dispose();
            expect(readdirSync(folder)).toEqual([]);
          }),
        ),
        runs(20),
      );
      expect(files).toBeGreaterThan(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("is given back what was never asked for again, and whatever a failing pass had put there", () => {
    const store = new HostStore();
    let fails = false;
    const branch = (x: Tensor): Tensor => {
      if (fails) throw new Error("a branch failed");
      return x.sin();
    };
    const blocks = [{ F: branch, G: branch }];
    const plan = { blocks: ["offload", "reconstruct", "offload"] as const };
    const sequence = new ReversibleSequence({
      blocks: [...blocks, ...blocks, ...blocks],
      engine,
      plan,
      offload: offloadTo(store),
    });
    const x = ones([3], { engine }).requireGrad();
    expectNoLeak(engine, () => {
      engine.scope(() => void sequence.call(x, x));
      expect(store.heldBytes).toBe(0);
      engine.scope(() => void engine.noGrad(() => sequence.call(x, x)));
      expect(store.heldBytes).toBe(0);
      engine.scope(() => {
        const loss = sequence.call(x, x)[0]!.sum();
        expect(store.heldBytes).toBe(2 * 2 * 3 * 4);
        fails = true;
        expect(errorText(() => loss.backward())).toBe("Error: a branch failed");
        expect(errorText(() => sequence.call(x, x))).toBe("Error: a branch failed");
      });
      expect(store.heldBytes).toBe(0);
    });
    x.dispose();
    sequence.dispose();
  });

  test("that is full fails the pass, and nothing is left of it", () => {
    const branch = (x: Tensor): Tensor => x.sin();
    const plans: BlockPolicy[][] = [
      ["reconstruct", "offload"],
      ["offload", "store"],
    ];
    for (const blocks of plans) {
      const host = new HostStore();
      let room = 1;
      const write = (bytes: Uint8Array): Uint8Array => {
        if (room-- === 0) throw new Error("no space left");
        return host.write(bytes);
      };
      const store: ByteStore<Uint8Array> = { write, read: (t) => host.read(t), remove: (t) => host.remove(t) };
      const sequence = new ReversibleSequence({
        blocks: blocks.map(() => ({ F: branch, G: branch })),
        plan: { blocks },
        offload: offloadTo(store),
        engine,
      });
      const x = ones([3], { engine }).requireGrad();
      expectNoLeak(engine, () => expect(errorText(() => sequence.call(x, x))).toBe("Error: no space left"));
      expect(host.heldBytes).toBe(0);
      x.dispose();
      sequence.dispose();
    }
  });

  test("can be asked twice where the graph is kept", () => {
    const store = new HostStore();
    const branch = (x: Tensor): Tensor => x.sin();
    const plan = { blocks: ["reconstruct", "offload"] as const };
    const blocks = [
      { F: branch, G: branch },
      { F: branch, G: branch },
    ];
    const sequence = new ReversibleSequence({ blocks, engine, plan, offload: offloadTo(store) });
    const x = ones([3], { engine }).requireGrad();
    engine.scope(() => {
      const loss = sequence.call(x, x)[0]!.sum();
      loss.backward({ retainGraph: true });
      const once = x.grad!.dataSync().slice();
      loss.backward();
      expect([...x.grad!.dataSync()]).toEqual([...once].map((v) => 2 * v));
    });
    expect(store.heldBytes).toBe(0);
    x.dispose();
    sequence.dispose();
  });
});

describe("a plan that makes no sense", () => {
  const blocks = [{ F: (x: Tensor) => x, G: (x: Tensor) => x }];
  test("for another number of blocks", () => {
    const make = (): unknown => new ReversibleSequence({ blocks, engine, plan: { blocks: [] } });
    expect(errorText(make)).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: the plan is for 0 blocks, the sequence has 1
        hint: name one policy a block"
    `);
  });
  test("of an unknown policy", () => {
    const sequence = new ReversibleSequence({ blocks, engine });
    const set = (): void => {
      sequence.plan = { blocks: ["keep" as BlockPolicy] };
    };
    expect(errorText(set)).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: unknown policy "keep" in the plan
        hint: use store, checkpoint, reconstruct, anchor, offload, swap, store8"
    `);
    expect(sequence.plan).toBeUndefined();
  });
  test("modes that name a policy themselves do not follow it", () => {
    const sequence = new ReversibleSequence({ blocks, engine, mode: "store", plan: { blocks: ["reconstruct"] } });
    engine.scope(() => {
      const x = ones([2], { engine }).requireGrad();
      expect(sequence.call(x, x)[0]!.edge!.node.name).toBe("dequantise");
      const loss = sequence.call(x, x)[0]!.sum();
      loss.backward({ createGraph: true });
    });
  });
});
