import { MetaBackend } from "@revnet-zero/backend-meta";
import { type Backend, dispatch, Engine, isFloat, type Meta, type Tensor, type VjpContext } from "@revnet-zero/tensor";
import { gradcheck, gradgradcheck } from "../gradcheck.ts";
import { inFloat, inRowMajor, operandsOf, type Sample } from "../sample.ts";
import { poisoned } from "../wrap.ts";
import { backpropagate, differentiable, gradients, inputsOf, outcome, type Subject } from "./run.ts";
import {
  expectMetas,
  expectOutcome,
  expectSame,
  expectSameOutcome,
  expectValues,
  type Judge,
  termSize,
} from "./values.ts";

// One function a promise that every op makes on every backend. Each throws with what was found.

/** The right values, from the kernel and from the decomposition. */
export async function checkValues(judge: Judge, backend: Backend, subject: Subject, sample: Sample): Promise<void> {
  const { name, op, sampler } = subject;
  const actual = await outcome(backend, subject, sample);
  if (sampler.compare === "parts") {
    expectSameOutcome(actual, await outcome(backend, subject, sample, { isDecomposed: true }), `${name} and its parts`);
    return;
  }
  await expectValues(judge, subject, sample, actual, name);
  if (op.kind !== "fused") return;
  const decomposed = await outcome(backend, subject, sample, { isDecomposed: true });
  expectMetas(decomposed, actual, `${name} decomposed`);
  await expectValues(judge, subject, sample, decomposed, `${name} decomposed`);
}

/** The same bits again, whatever was in the output buffers; for ops that only move or map, in any layout. */
export async function checkDeterminism(backend: Backend, subject: Subject, sample: Sample): Promise<void> {
  const { name, op, sampler } = subject;
  const first = await outcome(poisoned(backend, "large"), subject, sample);
  const again = await outcome(poisoned(backend, "not a number"), subject, sample);
  expectSameOutcome(again, first, `${name} run again`);
  if (op.kind !== "elementwise" && sampler.compare !== "bits") return;
  const dense = await outcome(backend, subject, sample, { prepare: inRowMajor });
  expectSameOutcome(first, dense, `${name} of strided operands`);
}

/** Shapes and types are those of the meta rule, the ledger is that of the meta backend, and nothing is left. */
export async function checkMemory(backend: Backend, subject: Subject, sample: Sample): Promise<void> {
  const { name, op } = subject;
  const run = (on: Backend): { readonly engine: Engine; readonly metas: readonly Meta[] } => {
    const engine = new Engine(on);
    const metas = engine.scope(() => {
      const inputs = inputsOf(subject, operandsOf(engine, sample), sample);
      const predicted = op.meta(inputs, sample.attrs).map(({ shape, dtype }) => ({ shape, dtype }));
      const outputs = engine.noGrad(() => dispatch(engine, op, inputs, sample.attrs));
      outputs.forEach((t, k) => {
        const [is, was] = [t, predicted[k]!].map((m) => `[${m.shape.join(", ")}] ${m.dtype}`);
        if (is !== was) throw new Error(`${name}: output ${k} is ${is}, the meta rule says ${was}`);
      });
      return predicted;
    });
    for (const x of op.gradient === "none" ? [] : backpropagate(engine, subject, sample)) x.dispose();
    return { engine, metas };
  };
  const real = run(backend).engine;
  const { liveBytes, liveBuffers } = real.memory();
  if (liveBytes !== 0 || liveBuffers !== 0 || real.liveTensors !== 0) {
    throw new Error(`${name}: ${liveBytes} bytes in ${liveBuffers} buffers and ${real.liveTensors} tensors leaked`);
  }
  const shadow = run(MetaBackend.like(backend)).engine;
  const [is, was] = [shadow, real].map((e) => JSON.stringify(e.memory()));
  if (is !== was) throw new Error(`${name}: the meta backend's ledger is\n${is}, the backend's\n${was}`);
}

/** The gradients of the sample's own type, against those of the reference in float64. */
export async function checkGradients(judge: Judge, backend: Backend, subject: Subject, sample: Sample): Promise<void> {
  const actual = await gradients(backend, subject, sample);
  if (subject.sampler.compare === "parts") {
    const parts = await gradients(backend, subject, sample, { isDecomposed: true });
    expectSameOutcome(actual, parts, `gradients of ${subject.name} and of its parts`);
    return;
  }
  const plain = await gradients(judge.reference, subject, sample);
  const exact = await gradients(judge.reference, subject, inFloat(subject.sampler, sample));
  expectMetas(actual, plain, `gradients of ${subject.name}`);
  // Cotangents, by which every term is multiplied, are at most 1.5.
  const size = 1.5 * Math.max(1, termSize(subject, sample));
  // Two kernels: what forward keeps may be off by the factor, and what backward makes of it again.
  const twice = { ...judge, factor: 2 * judge.factor };
  expectOutcome(twice, actual, { plain, exact, termSize: size }, `gradient of ${subject.name}`);
}

/** The op as a function of its free float operands. */
function asFunction(engine: Engine, subject: Subject, sample: Sample): (...free: Tensor[]) => Tensor[] {
  return (...free) =>
    differentiable(subject, dispatch(engine, subject.op, inputsOf(subject, free, sample), sample.attrs));
}

/** Backward against differences in float64, once and (where `order` is 2) twice. */
export async function checkDifferences(
  backend: Backend,
  subject: Subject,
  sample: Sample,
  order: 1 | 2,
): Promise<void> {
  const wide = inFloat(subject.sampler, sample);
  const engine = new Engine(backend);
  const free = engine.scope(() => operandsOf(engine, wide));
  if (free.some((t) => isFloat(t.dtype))) {
    const f = asFunction(engine, subject, wide);
    if (order === 1) await gradcheck(f, free, { elements: 8 });
    else await gradgradcheck(f, free, { elements: 4 });
  }
  for (const t of free) t.dispose();
  if (engine.liveTensors !== 0) throw new Error(`${subject.name}: differentiating leaks ${engine.liveTensors} tensors`);
}

/** The straight-through gradient is the cotangent itself, or its negative. */
export async function checkStraightThrough(backend: Backend, subject: Subject, sample: Sample): Promise<void> {
  const engine = new Engine(backend);
  const { op, sampler, name } = subject;
  // Operands past the list (scales) are constants.
  const expected = sampler.straightThrough!(sample.attrs).map((s) => s * 0.75);
  const [leaves, cotangent] = engine.scope(() => {
    const xs = operandsOf(engine, sample).map((t, i) => t.requireGrad(expected[i] !== undefined));
    const [y] = dispatch(engine, op, xs, sample.attrs);
    const w = y!.fullOf(y!.shape, 0.75, "f32");
    y!.backward({ gradient: w });
    return [xs, w] as const;
  });
  for (const [i, e] of expected.entries()) {
    const g = await leaves[i]!.grad!.data();
    expectSame(g, new Array(g.length).fill(e), leaves[i]!.shape, `gradient ${i} of ${name}`);
  }
  for (const t of [...leaves, cotangent]) t.dispose();
}

/** `saves` names exactly what the vjp reads: less would throw, more would keep memory alive for nothing. */
export function checkSaves(backend: Backend, subject: Subject, sample: Sample): void {
  const { op, name } = subject;
  if (typeof op.gradient === "string" || "through" in op.gradient) return;
  const { vjp, saves } = op.gradient;
  const engine = new Engine(backend);
  engine.scope(() =>
    engine.noGrad(() => {
      const inputs = inputsOf(subject, operandsOf(engine, sample), sample);
      const outputs = dispatch(engine, op, inputs, sample.attrs);
      const declared = saves(inputs, sample.attrs);
      const read = { inputs: new Set<number>(), outputs: new Set<number>() };
      const asked = differentiable(subject, outputs);
      const gradients = outputs.map((t) => (asked.includes(t) ? t.onesLike() : undefined));
      const context: VjpContext = {
        inputs,
        outputs,
        gradients,
        gradient: gradients[0] ?? outputs[0]!.zerosLike(),
        needs: inputs.map((t) => isFloat(t.dtype)),
        gradientTypes: inputs.map((t) => t.dtype),
        input: (i) => {
          read.inputs.add(i);
          return inputs[i]!;
        },
        output: (i) => {
          read.outputs.add(i);
          return outputs[i]!;
        },
        releaseOutput: () => {},
        takeReceived: () => undefined,
      };
      vjp(context, sample.attrs);
      for (const kind of ["inputs", "outputs"] as const) {
        const named = [...(declared[kind] ?? [])].sort().join();
        const used = [...read[kind]].sort().join();
        if (named !== used) throw new Error(`${name}: saves ${kind} [${named}], its vjp reads [${used}]`);
      }
    }),
  );
}

/** The table's entry says what it must, in the form the generated pages expect. */
export function checkEntry({ name, op }: Subject, sample: Sample, inputs: readonly Meta[]): void {
  if (op.name !== name) throw new Error(`${name}: the op calls itself ${op.name}`);
  if (!/^\S[^\n]{0,139}[^.\s]$/.test(op.doc)) throw new Error(`${name}: doc must be one line without a full stop`);
  if (op.arity !== "variadic" && op.arity !== inputs.length) {
    throw new Error(`${name}: arity is ${op.arity}, the sample has ${inputs.length} inputs`);
  }
  const outputs = op.meta(inputs, sample.attrs);
  const flops = op.flops?.(inputs, outputs, sample.attrs) ?? 0;
  if (!Number.isFinite(flops) || flops < 0) throw new Error(`${name}: flops are ${flops}`);
}
