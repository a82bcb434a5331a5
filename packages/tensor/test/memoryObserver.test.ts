import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { categories, type Engine, type MemoryCategory, type Shape, type Storage, type Tensor } from "../src/index.ts";
import { leaf, newEngine, random } from "./engine.fixture.ts";

/** A second ledger, kept from what observers are told. */
function observe(engine: Engine) {
  const live = new Map<Storage, { readonly bytes: number; category: MemoryCategory; readonly shape: Shape }>();
  const made: string[] = [];
  let peakBytes = 0;
  const total = (): number => [...live.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const stop = engine.ledger.watch({
    allocated: (storage, shape) => {
      live.set(storage, { bytes: storage.bytes, category: storage.category, shape });
      made.push(`${engine.trace.op} ${engine.modulePath.join(".")}`.trim());
      peakBytes = Math.max(peakBytes, total());
    },
    moved: (storage, from) => {
      const entry = live.get(storage)!;
      expect(from).toBe(entry.category);
      entry.category = storage.category;
    },
    freed: (storage) => expect(live.delete(storage)).toBe(true),
  });
  const byCategory = (): Record<string, number> => {
    const sums = Object.fromEntries(categories.map((c) => [c, 0]));
    for (const { category, bytes } of live.values()) sums[category]! += bytes;
    return sums;
  };
  return { stop, made, byCategory, peak: () => peakBytes, live };
}

describe("an observer of the ledger", () => {
  test("can keep the same books", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 }), (ops) => {
        const engine = newEngine();
        const books = observe(engine);
        engine.scope(() => {
          let x: Tensor = leaf(engine, [1, 2, 3, 4]).reshape([2, 2]);
          for (const op of ops) x = [x.exp(), x.matmul(x), x.softmax(), x.sum(0), x.mul(2)][op]!.add(x);
          x.sum().backward();
        });
        expect(books.byCategory()).toEqual(engine.memory().live);
        expect(books.peak()).toBe(engine.memory().peakBytes);
        expect(books.live.size).toBe(engine.memory().liveBuffers);
        books.stop();
      }),
      runs(20),
    );
  });

  test("learns shape, op and module of a buffer, in the backward pass too", () => {
    const engine = newEngine();
    const stopListening = engine.trace.listen(() => {});
    const books = observe(engine);
    const [x, w] = [random(engine, 1, [2, 3]), leaf(engine, [1, 2, 3]).reshape([3, 1])];
    const loss = engine.inModule("net", () => engine.inModule("mlp", () => x.matmul(w).square()).sum());
    expect([...books.live.values()].at(-1)!.shape).toEqual([]);
    engine.inModule("outside", () => loss.backward());
    expect(books.made.filter((place) => /matmul|square/.test(place))).toEqual([
      "matmul net.mlp",
      "square net.mlp",
      "squareGrad0 net.mlp",
      "matmul net.mlp",
    ]);
    expect(engine.modulePath).toEqual([]);
    expect(engine.trace.op).toBe("");
    stopListening();
    books.stop();
    expect(engine.ledger.isWatched).toBe(false);
  });

  test("hears nothing after it stopped, and an op that failed leaves no name behind", () => {
    const engine = newEngine();
    const stopListening = engine.trace.listen(() => {});
    const books = observe(engine);
    const x = leaf(engine, [1, 2]);
    expect(() => engine.trace.run({ op: "bad", module: "", inputs: [], outputs: [] }, () => fail())).toThrow("failed");
    expect(engine.trace.op).toBe("");
    books.stop();
    const before = books.made.length;
    x.exp();
    expect(books.made.length).toBe(before);
    stopListening();
  });
});

function fail(): never {
  throw new Error("failed");
}
