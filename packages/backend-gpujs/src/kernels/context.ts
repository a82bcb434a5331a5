import { type DType, numel } from "@revnet-zero/tensor";
import type { Device, Words } from "../device/device.ts";
import type { Slot, View } from "../slot.ts";
import { asValue, type Input, kernelText, Source, type Value, wordsOf } from "../text/source.ts";

/** Numbers on the device with the type they are read as: a tensor's buffer, or what a kernel keeps for itself. */
export interface Operand {
  readonly words: Words;
  readonly dtype: DType;
  readonly elements: number;
}

/** What a kernel is for: one value an element of its output. */
export interface Recipe {
  /** Names the text. What it depends on is in here: attributes, shapes and strides. */
  readonly key: string;
  readonly dtype: DType;
  readonly elements: number;
  readonly inputs: readonly Operand[];
  /** Numbers that change from call to call, read as n0, n1, …. */
  readonly numbers?: readonly number[];
  readonly body: (s: Source, position: string) => Value;
}

/** What kernels have at hand. */
export class Context {
  readonly device: Device;

  constructor(device: Device) {
    this.device = device;
  }

  /** A new buffer with what the recipe says. Whoever asked for it releases it, or stores it in a slot. */
  make({ key, dtype, elements, inputs, numbers = [], body }: Recipe): Operand {
    const count = wordsOf(dtype, elements);
    this.device.checkCount(count, `a kernel's output of ${elements} ${dtype} elements`);
    const described: Input[] = inputs.map((x) => ({ dtype: x.dtype, elements: x.elements }));
    const types = described.map((x) => `${x.dtype}${x.elements}`).join();
    const words = this.device.run({
      key: `${key} ${types} -> ${dtype}${elements}`,
      text: () => {
        const source = new Source(described, this.device);
        return kernelText(source, { dtype, elements }, numbers.length, (position) => body(source, position));
      },
      count,
      inputs: inputs.map((x) => x.words),
      numbers,
    });
    return { words, dtype, elements };
  }

  /** Writes what the recipe says into an output. */
  into(output: View, recipe: Omit<Recipe, "dtype" | "elements">): void {
    const elements = numel(output.shape);
    if (elements > 0) this.store(output.data, this.make({ ...recipe, dtype: output.dtype, elements }));
  }

  /** Writes a constant, in the output's type. */
  fill(output: View, value: number): void {
    const { dtype } = output;
    const numbers = constantNumbers(value, dtype);
    this.into(output, { key: "fill", inputs: [], numbers, body: () => asValue(dtype, "n0", "n1") });
  }

  /** Puts a buffer into a slot, which owns it from then on. */
  store(slot: Slot, made: Operand): void {
    const { words } = made.elements === slot.elements ? made : this.#over(slot, made);
    const before = slot.words;
    slot.words = words;
    if (before !== undefined) this.device.release(before);
  }

  /** What was in a slot with its first elements replaced: an op in place on a part of a tensor. */
  #over(slot: Slot, made: Operand): Operand {
    const { dtype, elements } = slot;
    return this.with([made], () =>
      this.make({
        key: "over",
        dtype,
        elements,
        inputs: [made, this.operand({ data: slot })],
        body: (s, i) => {
          const found = s.letValue(s.load(1, i));
          s.if(`${i} < ${made.elements}`, () => s.assign(found, s.load(0, i)));
          return found;
        },
      }),
    );
  }

  /** A tensor's buffer. One that nobody wrote holds zeros. */
  operand({ data }: Pick<View, "data">): Operand {
    data.words ??= this.device.upload(new Float32Array(wordsOf(data.dtype, data.elements)));
    return { words: data.words, dtype: data.dtype, elements: data.elements };
  }

  release(...operands: readonly Operand[]): void {
    for (const { words } of operands) this.device.release(words);
  }

  /** Runs `f` with buffers that are released after. */
  with<T>(operands: readonly Operand[], f: () => T): T {
    try {
      return f();
    } finally {
      this.release(...operands);
    }
  }
}

/** A buffer of a kernel's own, seen as a row. */
export const rowView = ({ words, dtype, elements }: Operand): View => ({
  data: { words, dtype, elements },
  dtype,
  shape: [elements],
  strides: [1],
  offset: 0,
});

/** A constant as it lies in a buffer; integers toward zero, saturating, NaN to 0. */
export function constantNumbers(value: number, dtype: DType): number[] {
  if (dtype === "bool") return [value !== 0 ? 1 : 0];
  if (dtype === "f32") return [Math.fround(value)];
  const w = Number.isNaN(value) ? 0 : Math.max(-2147483648, Math.min(2147483647, Math.trunc(value)));
  return [w >> 16, w & 65535];
}
