import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, ones, type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { AdamW, SGD } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

function parameter(value: number, gradient: number, name?: string): Tensor {
  const p = tensor([value], { engine }).requireGrad();
  p.grad = tensor([gradient], { engine });
  p.name = name;
  return p;
}
const at = (p: Tensor): number => p.dataSync()[0]!;

test("groups have options of their own and the optimizer's others", () => {
  const [a, b] = [parameter(1, 1), parameter(1, 1)];
  const optimizer = new SGD(
    [
      { parameters: [a], learningRate: 0.5 },
      { parameters: [b], weightDecay: 1 },
    ],
    {
      learningRate: 0.25,
    },
  );
  optimizer.step();
  expect([at(a), at(b)]).toEqual([0.5, 0.5]);
});

test("a scheduled learning rate is every group's, times its scale", () => {
  const [a, b] = [parameter(1, 1), parameter(1, 1)];
  const optimizer = new SGD([{ parameters: [a] }, { parameters: [b], learningRateScale: 0.5 }], { learningRate: 9 });
  optimizer.step({ learningRate: 0.5 });
  expect([at(a), at(b)]).toEqual([0.5, 0.75]);
});

test("the state's names are the parameters', so that groups may be arranged anew", () => {
  const make = (): [Tensor, Tensor] => [parameter(1, 2, "a.weight"), parameter(1, -3, "b.bias")];
  const [a, b] = make();
  const first = new SGD([a, b], { momentum: 0.9 });
  first.step();
  expect([...first.stateDict().tensors.keys()]).toEqual(["velocity/a.weight", "velocity/b.bias"]);
  const [c, d] = make();
  const second = new SGD([{ parameters: [d], weightDecay: 0.1 }, { parameters: [c] }], { momentum: 0.9 });
  second.loadStateDict(first.stateDict());
  expect(second.stateDict().tensors.get("velocity/b.bias")!.dataSync()[0]).toBe(-3);
});

test("a parameter whose gradients start late has bias corrections of its own", () => {
  const [a, late] = [parameter(1, 1), parameter(1, 1)];
  const optimizer = new AdamW([a, late], { learningRate: 0.125, weightDecay: 0 });
  late.grad = undefined;
  for (let i = 0; i < 5; i++) optimizer.step();
  late.grad = tensor([1], { engine });
  optimizer.step();
  expect(at(late)).toBeCloseTo(1 - 0.125, 6);
  expect(optimizer.stateDict()).toMatchObject({ step: 6, updates: { 0: 6, 1: 1 } });
});

test("what is no set of f32 or f64 parameters is refused", () => {
  const p = parameter(1, 1, "w");
  expect(() => new SGD([])).toThrow("no parameters were given\n  hint: pass model.parameters()");
  expect(() => new SGD([p, p])).toThrow("parameter w [1] f32 is given twice");
  expect(() => new SGD([{ parameters: [p] }, { parameters: [p] }])).toThrow("given twice");
  expect(() => new SGD([zeros([2], { dtype: "i32", engine })])).toThrow("[2] i32 is too coarse");
  expect(() => new SGD([zeros([2], { dtype: "bf16", engine })])).toThrow("engine.autocast");
});

test("options out of range are refused, in groups too", () => {
  const p = parameter(1, 1);
  expect(() => new SGD([p], { learningRate: -1 })).toThrow("SGD: learningRate is -1");
  expect(() => new AdamW([p], { beta2: 1 })).toThrow("AdamW: beta2 is 1\n  hint: beta2 is in [0, 1)");
  expect(() => new AdamW([{ parameters: [p], eps: Number.NaN }])).toThrow("AdamW: eps is NaN");
  expect(() => new SGD([p]).step({ learningRate: Number.NaN })).toThrow("learningRate is NaN");
});

test("a gradient of another shape is refused", () => {
  const p = parameter(1, 1, "w");
  p.grad = ones([2], { engine });
  expect(() => new SGD([p]).step()).toThrow("SGD.step: gradient [2] f32 does not fit parameter w [1] f32");
});

test("a step between forward and backward is caught", () => {
  const w = ones([2], { engine }).requireGrad();
  w.grad = ones([2], { engine });
  const loss = w.square().sum();
  new SGD([w]).step();
  expect(() => loss.backward()).toThrow("modified in place");
});
