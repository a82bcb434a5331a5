import { CpuBackend } from "@revnet-zero/backend-cpu";
import { wrapBackend } from "@revnet-zero/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { Engine, type OpEvent, tensor } from "../src/index.ts";
import { leaf, newEngine, random } from "./engine.fixture.ts";

/** The events of `f`, without their times. */
function eventsOf(engine: Engine, f: () => void): OpEvent[] {
  const events: OpEvent[] = [];
  const stop = engine.trace.listen((e) => events.push(e));
  f();
  stop();
  return events;
}
const names = (events: readonly OpEvent[]): string[] => events.map((e) => e.op);

describe("a listener", () => {
  test("is told of every op after it ran: shapes, types, module and time", () => {
    const engine = newEngine();
    const [x, w] = [random(engine, 1, [2, 3]), random(engine, 2, [3, 4])];
    const events = eventsOf(engine, () => {
      engine.inModule("blocks.0", () => engine.inModule("mlp", () => x.matmul(w).greater(0)));
    });
    expect(events.map(({ startMs: _start, timeMs: _time, ...e }) => e)).toEqual([
      {
        op: "matmul",
        module: "blocks.0.mlp",
        inputs: [
          { shape: [2, 3], dtype: "f32" },
          { shape: [3, 4], dtype: "f32" },
        ],
        outputs: [{ shape: [2, 4], dtype: "f32" }],
      },
      { op: "fill", module: "blocks.0.mlp", inputs: [], outputs: [{ shape: [], dtype: "f32" }] },
      {
        op: "greater",
        module: "blocks.0.mlp",
        inputs: [
          { shape: [2, 4], dtype: "f32" },
          { shape: [], dtype: "f32" },
        ],
        outputs: [{ shape: [2, 4], dtype: "bool" }],
      },
    ]);
    for (const { timeMs } of events) expect(timeMs).toBeGreaterThanOrEqual(0);
  });

  test("hears the backward pass, the parts of a decomposition before the whole, and the casts of autocast", () => {
    const decomposing = new Engine(wrapBackend(new CpuBackend(), { kernels: { softmax: undefined } }));
    const x = leaf(decomposing, [1, 2]);
    expect(names(eventsOf(decomposing, () => x.softmax()))).toEqual(["max", "sub", "exp", "sum", "div", "softmax"]);

    const engine = newEngine();
    const y = leaf(engine, [1, 2]);
    const square = y.square().sum();
    expect(names(eventsOf(engine, () => square.backward()))).toEqual(["fill", "reshape", "expand", "squareGrad0"]);

    const m = random(engine, 1, [2, 2]);
    const low = eventsOf(engine, () => engine.autocast("bf16", () => m.matmul(m)));
    expect(names(low)).toEqual(["cast", "cast", "matmul"]);
    expect(low[2]!.inputs.map((i) => i.dtype)).toEqual(["bf16", "bf16"]);
  });

  test("hears nothing of an op that failed, nothing of other engines, and nothing after it stopped", () => {
    const [engine, other] = [newEngine(), newEngine()];
    const x = tensor([1, 2], { engine });
    const elsewhere = tensor([1, 2], { engine: other });
    const heard = eventsOf(engine, () => {
      expect(() => x.add(tensor([1, 2, 3], { engine }))).toThrow("cannot broadcast");
      elsewhere.exp();
    });
    expect(heard).toEqual([]);
    const first = eventsOf(engine, () => x.exp());
    x.log();
    expect(names(first)).toEqual(["exp"]);
  });

  test("is one of several; tracing is off when the last has gone", () => {
    const engine = newEngine();
    const x = tensor([1], { engine });
    expect(engine.trace.isOn).toBe(false);
    const heard: string[] = [];
    const stops = ["a", "b"].map((who) => engine.trace.listen((e) => heard.push(`${who} ${e.op}`)));
    x.exp();
    stops[0]!();
    stops[0]!();
    x.sin();
    expect(engine.trace.isOn).toBe(true);
    stops[1]!();
    expect(engine.trace.isOn).toBe(false);
    expect(heard).toEqual(["a exp", "b exp", "b sin"]);
  });

  test("changes no value and keeps no tensor alive", () => {
    const run = (listens: boolean): { values: number[]; live: number } => {
      const engine = newEngine();
      const events: OpEvent[] = [];
      if (listens) engine.trace.listen((e) => events.push(e));
      const x = random(engine, 3, [4, 4]).requireGrad();
      engine.scope(() => x.matmul(x).softmax().square().sum().backward());
      const values = [...x.grad!.dataSync()];
      x.dispose();
      return { values, live: engine.memory().liveBytes + engine.liveTensors };
    };
    const [quiet, traced] = [run(false), run(true)];
    expect(traced).toEqual(quiet);
    expect(traced.live).toBe(0);
  });
});

describe("REVNET_DEBUG", () => {
  const [level, print] = [process.env.REVNET_DEBUG, console.error];
  afterEach(() => {
    if (level === undefined) delete process.env.REVNET_DEBUG;
    else process.env.REVNET_DEBUG = level;
    console.error = print;
  });

  const linesAt = (value: string): string[] => {
    const lines: string[] = [];
    process.env.REVNET_DEBUG = value;
    console.error = (line: string) => lines.push(line);
    const engine = newEngine();
    const x = tensor([[1, 2, 3]], { engine, dtype: "f64" });
    engine.inModule("head", () => x.topk(2));
    return lines.map((line) => line.replace(/\d+\.\d{3} ms$/, "… ms"));
  };

  test.each([
    ["0", []],
    ["1", ["topk -> [1, 2] f64, [1, 2] i32 24 bytes … ms"]],
    ["2", ["head topk -> [1, 2] f64, [1, 2] i32 24 bytes … ms"]],
  ])("%s prints a line an op", (value, expected) => {
    expect(linesAt(value).filter((line) => line.includes("topk"))).toEqual(expected);
  });
});
