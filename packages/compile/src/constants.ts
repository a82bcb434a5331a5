import type { Engine, Storage, Tensor } from "@revnet-zero/tensor";
import type { ElementwiseCall, Instruction, KernelCall, Program, Result, Slot, SlotView } from "./program.ts";
import { Replay } from "./replay.ts";

/** What a program computes from tensors made outside alone, computed once: those tensors must stay as they are. */
export class Constants {
  /** The program without it, which reads what is kept. */
  readonly program: Program;
  readonly #kept: readonly Tensor[];
  readonly #sources: readonly (readonly [Storage, version: number])[];

  constructor(engine: Engine, program: Program) {
    const isConstant = constantInstructions(program);
    const [once, rest] = [true, false].map((wanted) =>
      program.instructions.filter((x) => isConstant.has(x) === wanted),
    ) as [Instruction[], Instruction[]];
    const made = new Set(once.flatMap((x) => x.outputs.map((v) => v.slot)));
    const kept = [...new Set(rest.flatMap((x) => x.inputs.map((v) => v.slot)))].filter((slot) => made.has(slot));
    const replay = new Replay(engine, {
      instructions: once,
      results: kept.map(whole),
      captured: capturedIn(once),
      copies: [],
      keyOf: () => undefined,
    });
    try {
      this.#kept = replay.run([], replay.nextValues(undefined)).map((t) => engine.keep(t));
    } finally {
      replay.dispose();
    }
    this.#sources = capturedIn(once).map((storage) => [storage.retain(), storage.version]);
    const slots = new Map(
      kept.map((slot, i): [Slot, Slot] => [slot, { kind: "captured", storage: this.#kept[i]!.storage }]),
    );
    const instructions = rest.map((x) => ({ ...x, inputs: x.inputs.map((v) => moved(v, slots)) }));
    this.program = { ...program, instructions, captured: capturedIn(instructions, program.results) };
  }

  /** Whether all that it follows from is somebody's, and as it was. */
  get isCurrent(): boolean {
    return this.#sources.every(([storage, version]) => storage.references > 1 && storage.version === version);
  }

  dispose(): void {
    for (const t of this.#kept) t.dispose();
    for (const [storage] of this.#sources) storage.release();
  }
}

function constantInstructions({ instructions, results, keyOf }: Program): ReadonlySet<Instruction> {
  const writers = new Map<Slot, number>();
  for (const { outputs } of instructions)
    for (const { slot } of outputs) writers.set(slot, (writers.get(slot) ?? 0) + 1);
  const returned = new Set<Slot>(results.map((r) => r.slot));
  const constant = new Set<Slot>();
  const found = new Set<Instruction>();
  for (const x of instructions) {
    const reads = x.inputs.every(
      ({ slot }) => constant.has(slot) || (slot.kind === "captured" && writers.get(slot) === undefined),
    );
    const isOwn = x.outputs.every(({ slot }) => slot.kind === "made" && writers.get(slot) === 1 && !returned.has(slot));
    const isFixed = x.kind === "write" || ((x.kind === "kernel" || x.kind === "elementwise") && !drawsKeys(x, keyOf));
    if (!reads || !isOwn || !isFixed) continue;
    for (const { slot } of x.outputs) constant.add(slot);
    found.add(x);
  }
  return found;
}

/** Whether an attribute is a key: derived from the ambient one it is another at every call. */
function drawsKeys({ attrs }: KernelCall | ElementwiseCall, keyOf: Program["keyOf"]): boolean {
  return Object.values((attrs ?? {}) as object).some(
    (v) => Array.isArray(v) && keyOf(v as unknown as Parameters<Program["keyOf"]>[0]) !== undefined,
  );
}

const whole = (slot: Slot): Result => {
  const { dtype, elements } = slot as Slot & { readonly kind: "made" };
  return { slot, dtype, shape: [elements], strides: [1], offset: 0, category: "workspace" };
};

const moved = (view: SlotView, slots: ReadonlyMap<Slot, Slot>): SlotView => {
  const slot = slots.get(view.slot);
  return slot === undefined ? view : { ...view, slot };
};

const capturedIn = (instructions: readonly Instruction[], results: readonly Result[] = []): Storage[] => {
  const views = [...instructions.flatMap((x) => [...x.inputs, ...x.outputs]), ...results];
  return [...new Set(views.flatMap(({ slot }) => (slot.kind === "captured" ? [slot.storage] : [])))];
};
