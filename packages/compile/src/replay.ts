import {
  type BufferView,
  type CastCopy,
  type Engine,
  type Key,
  type MemoryCategory,
  makeTensor,
  type Storage,
  type Tensor,
} from "@revnet-zero/tensor";
import { RunningCopies } from "./hostMoves.ts";
import type { Lifetime } from "./placement.ts";
import type { Instruction, Program, Slot, SlotView } from "./program.ts";
import { ValueSource, type Values } from "./values.ts";

type MutableView = { -readonly [K in keyof BufferView<unknown>]: BufferView<unknown>[K] };
export type MadeSlot = Slot & { readonly kind: "made" };

/** A place in the table of buffers: what a slot's is at the moment. */
interface Place {
  readonly slot: Slot;
  storage: Storage | undefined;
  readonly views: MutableView[];
}

interface Step {
  readonly instruction: Instruction;
  readonly work: (values: Values) => void;
  /** Buffers that it is the first to use, and the last. */
  readonly makes: readonly Place[];
  readonly frees: readonly Place[];
}

/** A program that is ready to run on an engine, again and again. */
export class Replay {
  readonly engine: Engine;
  /** What it writes to that was there before. */
  readonly written: readonly Slot[];
  /** The buffers that come in from outside at every call. */
  readonly argumentSlots: readonly (Slot & { readonly kind: "argument" })[];
  readonly #values: ValueSource;
  readonly #program: Program;
  readonly #places = new Map<Slot, Place>();
  /** What results are for; everything else is workspace. */
  readonly #categories: ReadonlyMap<Slot, MemoryCategory>;
  readonly #steps: readonly Step[];
  /** Parameters' copies in fewer bits that it reads as it finds them. */
  readonly #copies: readonly CastCopy[];
  readonly #hostCopies: RunningCopies;

  constructor(engine: Engine, program: Program) {
    this.engine = engine;
    this.#values = new ValueSource(program);
    this.#program = program;
    this.#hostCopies = new RunningCopies(engine.backend.hostCopies);
    for (const s of program.captured) s.retain();
    this.#categories = new Map(program.results.map((r) => [r.slot, r.category]));
    const last = new Map<Slot, number>();
    program.instructions.forEach((instruction, i) => {
      for (const { slot } of operands(instruction)) last.set(slot, i);
    });
    this.#steps = program.instructions.map((instruction, i) =>
      this.#step(instruction, (slot) => last.get(slot) === i && !this.#categories.has(slot)),
    );
    this.#copies = copiesRead(program);
    const outputs = program.instructions.flatMap((instruction) => instruction.outputs.map((v) => v.slot));
    this.written = [...new Set(outputs)].filter((slot) => slot.kind !== "made");
    this.argumentSlots = [...this.#places.keys()].filter((slot) => slot.kind === "argument");
    for (const place of this.#places.values()) if (place.slot.kind === "captured") this.#put(place, place.slot.storage);
  }

  /** Whether what it captured is still somebody's. */
  get isCurrent(): boolean {
    return this.#program.captured.every((s) => s.references > 1);
  }

  /** Casts again the parameters written since their copies were made that it reads. False where that cannot be: it must be recorded anew. */
  bringUpToDate(): boolean {
    return this.#copies.every((copy) => copy.bringUpToDate());
  }

  /** What this call has for its own. To be asked once a call: hosts count. */
  nextValues(root: Key | undefined): Values {
    return this.#values.next(root);
  }

  /** Computes on these arguments, buffer by buffer. */
  run(args: readonly Tensor[], values: Values): Tensor[] {
    for (const place of this.#places.values())
      if (place.slot.kind === "argument") this.#put(place, args[place.slot.index]!.storage);
    const made = new Map<Slot, Storage>();
    try {
      for (const { work, makes, frees } of this.#steps) {
        for (const place of makes) this.#put(place, this.make(place.slot as MadeSlot));
        work(values);
        for (const place of frees) this.#take(place).release();
      }
      for (const slot of this.#categories.keys())
        if (slot.kind === "made") made.set(slot, this.#take(this.#places.get(slot)!));
      return this.results(args, (slot) => made.get(slot)!);
    } finally {
      this.#hostCopies.end();
      for (const storage of made.values()) storage.release();
      // Of a run that failed.
      for (const place of this.#places.values())
        if (place.slot.kind === "made" && place.storage !== undefined) this.#take(place).release();
    }
  }

  /** A buffer for one that it makes. */
  make(slot: MadeSlot): Storage {
    return this.engine.allocate({ shape: [slot.elements], dtype: slot.dtype }, this.#categories.get(slot));
  }

  /** The buffers that it makes and returns, and those that the host writes before its work. */
  get lasting(): readonly MadeSlot[] {
    const written = this.#steps.flatMap(({ instruction }) =>
      instruction.kind === "values" ? instruction.outputs : [],
    );
    return [...new Set([...this.#categories.keys(), ...written.map((v) => v.slot)])].filter((s) => s.kind === "made");
  }

  /** All other buffers that it makes, with the steps that they are needed in. */
  lifetimes(): Lifetime<MadeSlot>[] {
    const lasting = new Set<Slot>(this.lasting);
    const first = new Map<Slot, number>();
    return this.#steps.flatMap(({ makes, frees }, i) => {
      for (const { slot } of makes) first.set(slot, i);
      return frees.flatMap(({ slot }) => {
        if (lasting.has(slot)) return [];
        return [{ of: slot as MadeSlot, bytes: this.#bytesOf(slot as MadeSlot), first: first.get(slot)!, last: i }];
      });
    });
  }

  #bytesOf({ dtype, elements }: MadeSlot): number {
    return this.engine.bytesOf(dtype, elements);
  }

  /** Asks the backend for all work on buffers that are there; the host's numbers are in theirs. */
  issue(dataOf: (slot: Slot) => unknown, values: Values): void {
    for (const { slot, views } of this.#places.values()) {
      if (slot.kind === "captured") continue;
      const data = dataOf(slot);
      for (const v of views) v.data = data;
    }
    try {
      for (const { instruction, work } of this.#steps) if (instruction.kind !== "values") work(values);
    } finally {
      this.#hostCopies.end();
    }
  }

  /** Writes the host's numbers. */
  writeValues(dataOf: (slot: Slot) => unknown, { words }: Values): void {
    for (const [{ outputs }, numbers] of words) this.engine.backend.write(dataOf(outputs[0]!.slot), numbers);
  }

  /** What it returns, after its work was done on these buffers. */
  results(args: readonly Tensor[], made: (slot: Slot) => Storage): Tensor[] {
    const { engine } = this;
    const storageOf = (slot: Slot): Storage => {
      if (slot.kind === "argument") return args[slot.index]!.storage;
      return slot.kind === "captured" ? slot.storage : made(slot);
    };
    for (const slot of this.written) storageOf(slot).version++;
    for (const copy of this.#program.copies) copy.markCurrent();
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

  #step(instruction: Instruction, isFreed: (slot: Slot) => boolean): Step {
    const slots = [...new Set(operands(instruction).map((v) => v.slot))].filter((slot) => slot.kind === "made");
    const isNew = slots.map((slot) => !this.#places.has(slot));
    const inputs = instruction.inputs.map((v) => this.#view(v));
    const outputs = instruction.outputs.map((v) => this.#view(v));
    const placesOf = (slots: readonly Slot[]): Place[] => slots.map((slot) => this.#places.get(slot)!);
    return {
      instruction,
      work: this.#work(instruction, inputs, outputs),
      makes: placesOf(slots.filter((_, i) => isNew[i])),
      frees: placesOf(slots.filter(isFreed)),
    };
  }

  #work(
    instruction: Instruction,
    inputs: readonly MutableView[],
    outputs: readonly MutableView[],
  ): (values: Values) => void {
    const { backend } = this.engine;
    const [output] = outputs as [MutableView];
    if (instruction.kind === "write") return () => backend.write(output.data, instruction.words);
    if (instruction.kind === "values") return ({ words }) => backend.write(output.data, words.get(instruction)!);
    if (instruction.kind !== "kernel" && instruction.kind !== "elementwise")
      return this.#hostCopies.mover(instruction, inputs[0] ?? output);
    const { attrs } = instruction;
    const attrsAt = this.#values.keys.in(attrs) ?? (() => attrs);
    if (instruction.kind === "kernel") return ({ keys }) => instruction.run(inputs, outputs, attrsAt(keys));
    return ({ keys }) => backend.elementwise(instruction.op, attrsAt(keys), inputs, output);
  }
}

const operands = ({ inputs, outputs }: Instruction): SlotView[] => [...inputs, ...outputs];

/** Copies of parameters whose first use is that they are read. */
function copiesRead({ instructions }: Program): CastCopy[] {
  const used = new Set<Slot>();
  const found: CastCopy[] = [];
  for (const { inputs, outputs } of instructions) {
    for (const { slot } of inputs)
      if (slot.kind === "captured" && !used.has(slot) && slot.storage.copyOf !== undefined)
        found.push(slot.storage.copyOf);
    for (const { slot } of [...inputs, ...outputs]) used.add(slot);
  }
  return found;
}
