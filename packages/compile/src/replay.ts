import {
  type BufferView,
  type Engine,
  type Key,
  type MemoryCategory,
  makeTensor,
  type Storage,
  type Tensor,
} from "@revnet-zero/tensor";
import { keyed } from "./keys.ts";
import type { Instruction, Program, Slot, SlotView } from "./program.ts";

type MutableView = { -readonly [K in keyof BufferView<unknown>]: BufferView<unknown>[K] };

/** A place in the table of buffers: what a slot's is at the moment. */
interface Place {
  readonly slot: Slot;
  storage: Storage | undefined;
  readonly views: MutableView[];
}

/** A program that is ready to run on an engine, again and again. */
export class Replay {
  readonly #engine: Engine;
  readonly #program: Program;
  readonly #places = new Map<Slot, Place>();
  /** What results are for; everything else is workspace. */
  readonly #categories: ReadonlyMap<Slot, MemoryCategory>;
  readonly #steps: readonly ((root: Key | undefined) => void)[];
  /** What it writes to that was there before. */
  readonly #written: readonly Slot[];

  constructor(engine: Engine, program: Program) {
    this.#engine = engine;
    this.#program = program;
    for (const s of program.captured) s.retain();
    this.#categories = new Map(program.results.map((r) => [r.slot, r.category]));
    const last = new Map<Slot, number>();
    program.instructions.forEach((instruction, i) => {
      for (const { slot } of operands(instruction)) last.set(slot, i);
    });
    this.#steps = program.instructions.map((instruction, i) => {
      const freed = [...new Set(operands(instruction).map((v) => v.slot))].filter(
        (slot) => slot.kind === "made" && last.get(slot) === i && !this.#categories.has(slot),
      );
      return this.#step(instruction, freed);
    });
    const outputs = program.instructions.flatMap((instruction) => instruction.outputs.map((v) => v.slot));
    this.#written = [...new Set(outputs)].filter((slot) => slot.kind !== "made");
    for (const place of this.#places.values()) if (place.slot.kind === "captured") this.#put(place, place.slot.storage);
  }

  /** Whether what it captured is still somebody's. */
  get isCurrent(): boolean {
    return this.#program.captured.every((s) => s.references > 1);
  }

  run(args: readonly Tensor[], root: Key | undefined): Tensor[] {
    const engine = this.#engine;
    for (const place of this.#places.values())
      if (place.slot.kind === "argument") this.#put(place, args[place.slot.index]!.storage);
    try {
      for (const step of this.#steps) step(root);
    } catch (error) {
      for (const place of this.#places.values())
        if (place.slot.kind === "made" && place.storage !== undefined) this.#take(place).release();
      throw error;
    }
    for (const slot of this.#written) this.#storageOf(slot, args).version++;
    const results = this.#program.results.map(({ slot, dtype, shape, strides, offset }) => {
      const storage = this.#storageOf(slot, args);
      return makeTensor({ engine, storage: storage.retain(), layout: { shape, strides, offset }, dtype });
    });
    for (const slot of this.#categories.keys()) if (slot.kind === "made") this.#take(this.#places.get(slot)!).release();
    return results;
  }

  dispose(): void {
    for (const s of this.#program.captured) s.release();
  }

  #storageOf(slot: Slot, args: readonly Tensor[]): Storage {
    if (slot.kind === "argument") return args[slot.index]!.storage;
    return slot.kind === "captured" ? slot.storage : this.#places.get(slot)!.storage!;
  }

  #put(place: Place, storage: Storage): void {
    place.storage = storage;
    for (const v of place.views) v.data = storage.data;
  }

  #take(place: Place): Storage {
    const { storage } = place;
    place.storage = undefined;
    return storage!;
  }

  #view({ slot, dtype, shape, strides, offset }: SlotView): MutableView {
    let place = this.#places.get(slot);
    if (place === undefined) {
      place = { slot, storage: undefined, views: [] };
      this.#places.set(slot, place);
    }
    const view: MutableView = { data: undefined, dtype, shape, strides, offset };
    place.views.push(view);
    return view;
  }

  #step(instruction: Instruction, freed: readonly Slot[]): (root: Key | undefined) => void {
    const engine = this.#engine;
    const inputs = instruction.inputs.map((v) => this.#view(v));
    const outputs = instruction.outputs.map((v) => this.#view(v));
    const made = instruction.outputs.flatMap(({ slot }) =>
      slot.kind === "made" ? [[slot, this.#places.get(slot)!] as const] : [],
    );
    const categories = this.#categories;
    const release = freed.map((slot) => this.#places.get(slot)!);
    const work = this.#work(instruction, inputs, outputs);
    return (root) => {
      for (const [{ dtype, elements }, place] of made)
        if (place.storage === undefined)
          this.#put(place, engine.allocate({ shape: [elements], dtype }, categories.get(place.slot)));
      work(root);
      for (const place of release) this.#take(place).release();
    };
  }

  #work(
    instruction: Instruction,
    inputs: readonly MutableView[],
    outputs: readonly MutableView[],
  ): (root: Key | undefined) => void {
    const { backend } = this.#engine;
    const [output] = outputs as [MutableView];
    if (instruction.kind === "write") return () => backend.write(output.data, instruction.words);
    const { attrs } = instruction;
    const fresh = keyed(attrs, this.#program.keyOf);
    const attrsAt = fresh === undefined ? () => attrs : (root: Key | undefined) => fresh(root!);
    if (instruction.kind === "kernel") return (root) => instruction.run(inputs, outputs, attrsAt(root));
    return (root) => backend.elementwise(instruction.op, attrsAt(root), inputs, output);
  }
}

const operands = ({ inputs, outputs }: Instruction): SlotView[] => [...inputs, ...outputs];
