import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  type BlockPolicy,
  blockPolicies,
  losslessPolicies,
  offloadTo,
  ReversibleSequence,
  reversibleModes,
} from "@revnet-zero/reversible";
import { Engine, type MemoryReport } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import { DiskStore, estimateProgram, type StepProgram } from "../src/index.ts";
import { programOf, subjects } from "./programs.ts";

// The promises of estimates and of the disk store, run a few times by `npm test` and often by the deep tests.

export const backend: CpuBackend = new CpuBackend();
export const sizes = { batch: 2, sequence: 6, depth: 2 } as const;

/** What the ledger says of the program's second step, run for good. */
export function measured(program: StepProgram): MemoryReport {
  const engine = new Engine(backend);
  const step = program(engine);
  engine.scope(step);
  engine.ledger.resetPeak();
  engine.scope(step);
  return engine.memory();
}

const reversible = ["reversible transformer", "reversible vision transformer", "encoder-decoder", "reversible ResNet"];

/** The peak and what it consists of are the ledger's, in every mode and under any plan. */
export function estimateIsThePeak() {
  const cases = fc.record({
    name: fc.constantFrom(...reversible),
    mode: fc.constantFrom(...reversibleModes.filter((mode) => mode !== "lossless")),
    policies: fc.array(fc.constantFrom(...blockPolicies), { minLength: 1, maxLength: 4 }),
    dropout: fc.constantFrom(0, 0.1),
  });
  return fc.property(cases, ({ name, ...variant }) => {
    const program = programOf(subjects[name]!, sizes, variant);
    const { peakBytes, atPeak } = measured(program);
    expect(estimateProgram(program, { like: backend })).toMatchObject({ peakBytes, atPeak, assumptions: [] });
  });
}

/** A disk store gives back the bytes it was given, whatever is written, read and removed in whatever order. */
export function diskGivesBack(folder: string) {
  const what = fc.constantFrom("write", "write", "read", "read latest", "remove");
  const actions = fc.array(fc.record({ what, pick: fc.nat(), size: fc.nat(3000) }), { maxLength: 80 });
  return fc.property(actions, fc.constantFrom(1, 2000, 10_000), fc.nat(), (todo, stagingBytes, seed) => {
    using store = new DiskStore({ dir: folder, stagingBytes });
    const random = new Random(seed);
    const held: { readonly ticket: ReturnType<DiskStore["write"]>; readonly bytes: Uint8Array }[] = [];
    for (const { what, pick, size } of todo) {
      if (what === "write") {
        const bytes = Uint8Array.from({ length: size }, () => random.integer(0, 255));
        held.push({ ticket: store.write(bytes), bytes });
      } else if (held.length > 0) {
        const i = what === "read latest" ? held.length - 1 : pick % held.length;
        expect(Buffer.compare(store.read(held[i]!.ticket), held[i]!.bytes)).toBe(0);
        if (what === "remove") store.remove(held.splice(i, 1)[0]!.ticket);
      }
      expect(store.usedBytes).toBe(held.reduce((sum, { bytes }) => sum + bytes.length, 0));
      // One that is read and one that is on its way may each be larger than the bound.
      expect(store.stagedBytes).toBeLessThanOrEqual(stagingBytes + 2 * 3000);
    }
  });
}

/** Plans that offload and swap to a disk leave every gradient as stored backpropagation has it, and the store empty. */
export function diskLeavesGradients(store: DiskStore) {
  const policies = fc.array(fc.constantFrom(...losslessPolicies, "offload", "swap"), { minLength: 1, maxLength: 6 });
  const gradients = (name: string, plan: readonly BlockPolicy[], mode: "exact" | "store") => {
    const engine = new Engine(backend);
    const { model, loss } = subjects[name]!(engine, { batch: 2, sequence: 5, depth: 3 }, { mode });
    for (const module of model.namedModules().values())
      if (module instanceof ReversibleSequence) {
        module.offload = offloadTo(store);
        module.plan = { blocks: module.blocks.map((_, i) => plan[i % plan.length]!) };
      }
    engine.scope(() => loss().backward());
    return [...model.namedParameters()].map(([path, p]) => [path, p.grad?.dataSync()] as const);
  };
  return fc.property(fc.constantFrom(...reversible), policies, (name, plan) => {
    expect(gradients(name, plan as BlockPolicy[], "exact")).toEqual(gradients(name, plan as BlockPolicy[], "store"));
    expect(store.usedBytes).toBe(0);
  });
}
