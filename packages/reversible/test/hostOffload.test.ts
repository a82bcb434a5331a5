import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { type Backend, Engine, expectNoLeak, tensor } from "@revnet-zero/tensor";
import { runs, withLateCopies } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BlockPolicy, HostOffload, ReversibleSequence } from "../src/index.ts";
import { buildCoupled, coupledGradients, coupledPeak, coupledRecipes, withCoupled } from "./coupled.ts";
import { expectSameGradients } from "./fixtures.ts";

const device = withLateCopies(new CpuBackend() as Backend);
const engine = new Engine(device);
const policies: readonly BlockPolicy[] = ["offload", "swap", "offload", "swap", "reconstruct", "checkpoint", "store"];
const cases = coupledRecipes().chain((recipe) =>
  fc.record({
    recipe: fc.constant(recipe),
    plan: fc.array(fc.constantFrom(...policies), { minLength: recipe.depth, maxLength: recipe.depth }),
    inFlightBytes: fc.constantFrom(0, 100, 1000, 2 ** 20),
  }),
);

describe("copies in host memory, made as late as may be", () => {
  test("give the bits of stored backpropagation under any plan, and nothing is left", () => {
    fc.assert(
      fc.property(cases, ({ recipe, plan, inFlightBytes }) =>
        withCoupled(buildCoupled(recipe, engine), (subject) => {
          const stored = coupledGradients(subject, "store");
          const { blocks, fractionBits } = subject.sequence;
          const offload = new HostOffload({ inFlightBytes });
          const own = new ReversibleSequence({ blocks, fractionBits, engine, offload });
          expectSameGradients(coupledGradients({ ...subject, sequence: own }, "exact", { plan }), stored, `${plan}`);
          for (const b of own.namedBuffers().values()) b.dispose();
          expect([offload.heldBytes, device.copying.count]).toEqual([0, 0]);
        }),
      ),
      runs(40),
    );
  });

  test("count as a backend without values predicts, byte for byte", () => {
    fc.assert(
      fc.property(cases, ({ recipe, plan, inFlightBytes }) => {
        const offload = new HostOffload({ inFlightBytes });
        const peak = (own: Engine) => coupledPeak(recipe, own, { blocks: plan, offload });
        expect(peak(new Engine(device))).toEqual(peak(new Engine(MetaBackend.like(device) as Backend)));
      }),
      runs(30),
    );
  });
});

describe("a queue of tensors", () => {
  const streamBytes = 4 * 64;
  /** Bytes on the device while n tensors are put and fetched, with room for `inFlight` of them on their way. */
  function bytesOf(numTensors: number, inFlight: number) {
    const store = new HostOffload({ inFlightBytes: inFlight * streamBytes });
    return expectNoLeak(engine, () => {
      const before = engine.memory().liveBytes;
      const live = (): number => (engine.memory().liveBytes - before) / streamBytes;
      const put: number[] = [];
      const got: number[] = [];
      const kept = Array.from({ length: numTensors }, (_, i) => {
        const t = tensor(new Float32Array(64).fill(i), { engine });
        const held = store.put(t);
        t.dispose();
        put.push(live());
        return held;
      });
      expect(store.heldBytes).toBe(numTensors * streamBytes);
      for (const [i, held] of [...kept.entries()].reverse()) {
        const t = held.fetch();
        got.push(live());
        expect(t.dataSync()).toEqual(new Float32Array(64).fill(i));
        t.dispose();
        held.release();
      }
      return { put, got, copied: store.copiedBytes / streamBytes };
    });
  }

  test("keeps on the device what is on its way, as far as the limit allows, and that is not brought back", () => {
    // One was asked for, and two are on their way; the last two were never away.
    expect(bytesOf(6, 2)).toEqual({ put: [1, 2, 2, 2, 2, 2], got: [3, 3, 3, 3, 2, 1], copied: 6 + 4 });
  });

  test("brings one back ahead, however little room there is", () => {
    expect(bytesOf(4, 0)).toEqual({ put: [1, 1, 1, 1], got: [2, 2, 2, 1], copied: 4 + 3 });
  });

  test("brings none ahead that the engine has no room for", () => {
    const store = new HostOffload({ inFlightBytes: 0 });
    const kept = [0, 1].map((i) => {
      const t = tensor(new Float32Array(64).fill(i), { engine });
      const held = store.put(t);
      t.dispose();
      return held;
    });
    engine.withMemoryLimit(engine.memory().liveBytes, () => {
      for (const held of [...kept].reverse()) {
        const t = held.fetch();
        expect(t.dataSync()[0]).toBe(kept.indexOf(held));
        t.dispose();
        held.release();
      }
    });
    expect(store.heldBytes).toBe(0);
  });

  test("sends a tensor away before it is written in place, as it was", () => {
    const store = new HostOffload();
    const t = tensor([1, 2, 3], { engine });
    const held = store.put(t);
    t.assign(tensor([4, 5, 6], { engine }));
    t.dispose();
    const back = held.fetch();
    expect(Array.from(back.dataSync())).toEqual([1, 2, 3]);
    back.dispose();
    // Once more, though it was brought back.
    expect(Array.from(held.fetch().dataSync())).toEqual([1, 2, 3]);
    held.release();
    expect([store.heldBytes, device.copying.count]).toEqual([0, 0]);
  });

  /** What a recording is told of work that leaves nothing in a store, on the device or on one that sees other copies. */
  function told(store: HostOffload, work: () => void, on: Backend = device): string[] {
    const reasons: string[] = [];
    const host = { effect: (what: string) => reasons.push(what), values: () => {}, isLasting: () => false };
    engine.withBackend(on, host, work);
    expect([store.heldBytes, device.copying.count]).toEqual([0, 0]);
    return reasons;
  }

  test("tells a recording of what was put before it, which it does not see", () => {
    const store = new HostOffload();
    const t = tensor([1, 2, 3], { engine });
    const held = store.put(t);
    const recorder: Backend = Object.create(device, { hostCopies: { value: { ...device.hostCopies! } } });
    const reasons = told(
      store,
      () => {
        held.fetch().dispose();
        held.release();
      },
      recorder,
    );
    t.dispose();
    expect(new Set(reasons)).toEqual(new Set(["it uses tensors that were put in host memory before"]));
  });

  test("tells a recording where a memory limit says what is brought back ahead", () => {
    const store = new HostOffload({ inFlightBytes: 0 });
    const fetchBoth = (): void => {
      const kept = [0, 1].map((i) => {
        const t = tensor(new Float32Array(64).fill(i), { engine });
        const held = store.put(t);
        t.dispose();
        return held;
      });
      for (const held of kept.reverse()) {
        held.fetch().dispose();
        held.release();
      }
    };
    expect(told(store, fetchBoth)).toEqual([]);
    expect(engine.withMemoryLimit(2 ** 20, () => told(store, fetchBoth))).toEqual([
      "what it brings back ahead of time depends on the room under the memory limit",
    ]);
  });

  test("takes views for what they show", () => {
    const store = new HostOffload();
    const t = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { engine },
    );
    const held = [t.transpose(), t.narrow(0, 1, 1)].map((view) => store.put(view));
    t.assign(t.mul(0));
    expect(held.map((h) => Array.from(h.fetch().dataSync()))).toEqual([
      [1, 3, 2, 4],
      [3, 4],
    ]);
    for (const h of held) h.release();
  });
});
