import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { errorText } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { Engine, OutOfMemoryError, ones, type Tensor, zeros } from "../src/index.ts";

const backend = new CpuBackend();
const shapes = MetaBackend.like(backend);

/** A step over a parameter, and everything it leaves behind taken away again. */
function step(w: Tensor): void {
  const { engine } = w;
  engine.scope(() => w.matmul(w).gelu().softmax().sum().backward());
  w.grad!.dispose();
  w.grad = undefined;
}

/** The highest bytes an observer sees while `f` runs. */
function highest(engine: Engine, f: () => void): number {
  let peak = 0;
  const stop = engine.ledger.watch({
    allocated: () => {
      peak = Math.max(peak, engine.ledger.liveBytes);
    },
    moved: () => {},
    freed: () => {},
  });
  f();
  stop();
  return peak;
}

test("a rehearsal has the step's ledger, changes no value and no recorded peak, and heeds no limit", () => {
  const engine = new Engine(backend, { memoryLimitBytes: 10_000 });
  const w = ones([32, 32], { engine }).requireGrad();
  const before = engine.memory();
  const rehearsed = highest(engine, () => engine.rehearse(shapes, () => step(w)));
  expect(engine.memory()).toEqual(before);
  expect([...w.dataSync()]).toEqual(new Array(1024).fill(1));
  expect(rehearsed).toBeGreaterThan(10_000);
  expect(() => step(w)).toThrow(OutOfMemoryError);

  const free = new Engine(backend);
  const x = ones([32, 32], { engine: free }).requireGrad();
  expect(highest(free, () => step(x))).toBe(rehearsed);
});

test("what a rehearsal frees goes back to the backend it came from", () => {
  const engine = new Engine(backend);
  const x = zeros([4], { engine });
  engine.rehearse(shapes, () => x.dispose());
  expect(engine.memory().liveBytes).toBe(0);
  expect(engine.backend).toBe(backend);
});

test("what a rehearsal leaves behind is an error, and reading in it too", () => {
  const engine = new Engine(backend);
  const w = ones([2], { engine }).requireGrad();
  let kept: Tensor | undefined;
  const keep = (): void => {
    kept = engine.keep(zeros([2], { engine }));
  };
  expect(errorText(() => engine.rehearse(shapes, keep))).toContain("1 buffers without values are left");
  kept!.dispose();
  expect(errorText(() => engine.rehearse(shapes, () => void w.sum().itemSync()))).toContain("has shapes but no values");
  expect(engine.memory().liveBytes).toBe(8);
});

test("a rehearsal draws the random keys that the step will draw", () => {
  const engine = new Engine(backend);
  engine.withKey([1, 2], () => {
    engine.rehearse(shapes, () => void engine.nextKey("test"));
    const first = engine.nextKey("test");
    engine.withKey([1, 2], () => expect(engine.nextKey("test")).toEqual(first));
  });
});

test("a memory limit holds while a function runs, and never raises the engine's", () => {
  const engine = new Engine(backend, { memoryLimitBytes: 1000 });
  const make = (bytes: number): void => zeros([bytes / 4], { engine }).dispose();
  expect(() => engine.withMemoryLimit(100, () => make(104))).toThrow(OutOfMemoryError);
  engine.withMemoryLimit(100, () => make(100));
  expect(() => engine.withMemoryLimit(2000, () => make(1004))).toThrow(OutOfMemoryError);
  make(1000);
});

test("listeners hear of the nodes of a backward pass, the last first, and not of those inside one", () => {
  const engine = new Engine(backend);
  const w = ones([3, 3], { engine }).requireGrad();
  const heard: number[] = [];
  const stop = engine.listenToBackward((id) => heard.push(id));
  const first = engine.nodeCount;
  // Softmax's own rule, and a product's: nothing deeper. A log-sum-exp is differentiated through another record.
  engine.scope(() => w.matmul(w).softmax().logSumExp().sum().backward());
  stop();
  expect(heard).toEqual([...heard].sort((a, b) => b - a));
  expect(Math.min(...heard)).toBe(first);
  engine.scope(() => w.sum().backward());
  expect(heard.length).toBe(new Set(heard).size);
});
