import {
  type BufferView,
  type Engine,
  type Key,
  type MemoryCategory,
  makeTensor,
  type Storage,
  type Tensor,
} from "@revnet-zero/tensor";
import { Keys } from "./keys.ts";
import type { Instruction, Program, Slot, SlotView } from "./program.ts";

type MutableView = { -readonly [K in keyof BufferView<unknown>]: BufferView<unknown>[K] };
type MadeSlot = Slot & { readonly kind: "made" };

/** A place in the table of buffers: what a slot's is at the moment. */
interface Place {
  readonly slot: Slot;
  storage: Storage | undefined;
  readonly views: MutableView[];
}

/** A program that is ready to run on an engine, again and again. */
export class Replay {
  readonly engine: Engine;
  readonly keys: Keys;
  /** What it writes to that was there before. */
  readonly written: readonly Slot[];
  readonly #program: Program;
  readonly #places = new Map<Slot, Place>();
  /** What results are for; everything else is workspace. */
  readonly #categories: ReadonlyMap<Slot, MemoryCategory>;
  readonly #steps: readonly ((keys: readonly Key[]) => void)[];

  constructor(engine: Engine, program: Program) {
    this.engine = engine;
    this.keys = new Keys(program.keyOf);
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
    this.written = [...new Set(outputs)].filter((slot) => slot.kind !== "made");
    for (const place of this.#places.values()) if (place.slot.kind === "captured") this.#put(place, place.slot.storage);
  }

  /** Whether what it captured is still somebody's. */
  get isCurrent(): boolean {
    return this.#program.captured.every((s) => s.references > 1);
  }

  /** The buffers that come in from outside at every call. */
  get argumentSlots(): readonly (Slot & { readonly kind: "argument" })[] {
    return [...this.#places.keys()].filter((slot) => slot.kind === "argument");
  }

  /** Computes on these arguments. */
  run(args: readonly Tensor[], root: Key | undefined): Tensor[] {
    const made = this.execute((index) => args[index]!.storage, new Map(), this.keys.from(root));
    const results = this.results(args, made);
    for (const storage of made.values()) storage.release();
    return results;
  }

  /** A buffer for every one that it returns and makes. */
  makeResults(): Map<Slot, Storage> {
    const made = new Map<Slot, Storage>();
    try {
      for (const slot of this.#categories.keys()) if (slot.kind === "made") made.set(slot, this.#make(slot));
    } catch (error) {
      for (const storage of made.values()) storage.release();
      throw error;
    }
    return made;
  }

  #make(slot: MadeSlot): Storage {
    const { dtype, elements } = slot;
    return this.engine.allocate({ shape: [elements], dtype }, this.#categories.get(slot));
  }

  /** Asks the backend for all of it. What it returns is put into the buffers given for it, or into new ones. */
  execute(
    argument: (index: number) => Storage,
    given: ReadonlyMap<Slot, Storage>,
    keys: readonly Key[],
  ): ReadonlyMap<Slot, Storage> {
    for (const place of this.#places.values()) {
      const { slot } = place;
      const storage = slot.kind === "argument" ? argument(slot.index) : given.get(slot);
      if (storage !== undefined) this.#put(place, storage);
    }
    const made = new Map<Slot, Storage>();
    try {
      for (const step of this.#steps) step(keys);
      for (const slot of this.#categories.keys())
        if (slot.kind === "made") made.set(slot, this.#take(this.#places.get(slot)!));
      return made;
    } finally {
      // Of a run that failed.
      for (const place of this.#places.values()) {
        if (place.slot.kind !== "made" || place.storage === undefined) continue;
        const storage = this.#take(place);
        if (!given.has(place.slot)) storage.release();
      }
    }
  }

  /** What it returns, after it was executed with these arguments and results. */
  results(args: readonly Tensor[], made: ReadonlyMap<Slot, Storage>): Tensor[] {
    const { engine } = this;
    const storageOf = (slot: Slot): Storage => {
      if (slot.kind === "argument") return args[slot.index]!.storage;
      return slot.kind === "captured" ? slot.storage : made.get(slot)!;
    };
    for (const slot of this.written) storageOf(slot).version++;
    return this.#program.results.map(({ slot, dtype, shape, strides, offset }) =>
      makeTensor({ engine, storage: storageOf(slot).retain(), layout: { shape, strides, offset }, dtype }),
    );
  }

  dispose(): void {
    for (const s of this.#program.captured) s.release();
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

  #step(instruction: Instruction, freed: readonly Slot[]): (keys: readonly Key[]) => void {
    const inputs = instruction.inputs.map((v) => this.#view(v));
    const outputs = instruction.outputs.map((v) => this.#view(v));
    const made = instruction.outputs.flatMap(({ slot }) =>
      slot.kind === "made" ? [[slot, this.#places.get(slot)!] as const] : [],
    );
    const release = freed.map((slot) => this.#places.get(slot)!);
    const work = this.#work(instruction, inputs, outputs);
    return (keys) => {
      for (const [slot, place] of made) if (place.storage === undefined) this.#put(place, this.#make(slot));
      work(keys);
      for (const place of release) this.#take(place).release();
    };
  }

  #work(
    instruction: Instruction,
    inputs: readonly MutableView[],
    outputs: readonly MutableView[],
  ): (keys: readonly Key[]) => void {
    const { backend } = this.engine;
    const [output] = outputs as [MutableView];
    if (instruction.kind === "write") return () => backend.write(output.data, instruction.words);
    const { attrs } = instruction;
    const attrsAt = this.keys.in(attrs) ?? (() => attrs);
    if (instruction.kind === "kernel") return (keys) => instruction.run(inputs, outputs, attrsAt(keys));
    return (keys) => backend.elementwise(instruction.op, attrsAt(keys), inputs, output);
  }
}

const operands = ({ inputs, outputs }: Instruction): SlotView[] => [...inputs, ...outputs];
