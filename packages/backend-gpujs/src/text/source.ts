import type { DType } from "@revnet-zero/tensor";
import { namedInOrder } from "./functions.ts";

// Text of kernels in the JavaScript that gpu.js translates. Kernels are given as strings, never as functions: bundlers rename what a
// function's source names.

/** One element while it is computed. A word of 32 bits is two whole numbers, high·2^16 + low, the high one signed; truth is 0 or 1. */
export type Value =
  | { readonly kind: "float" | "bool"; readonly text: string }
  | { readonly kind: "int"; readonly high: string; readonly low: string };

/** A value whose text is `words`: one number, or the halves of a word. */
export function asValue(dtype: DType, first: string, second: string): Value {
  if (dtype === "i32") return { kind: "int", high: first, low: second };
  return { kind: dtype === "bool" ? "bool" : "float", text: first };
}

/** The text of a number that is no word. */
export function textOf(v: Value): string {
  if (v.kind === "int") throw new Error("a word is not a float");
  return v.text;
}

/** Numbers in the buffer of so many elements: words are kept as a plane of high halves and a plane of low ones. */
export const wordsOf = (dtype: DType, elements: number): number => (dtype === "i32" ? 2 * elements : elements);

/** A number as text; one without a fraction is an integer to gpu.js only beside another one. */
export function literal(v: number): string {
  if (!Number.isFinite(v)) throw new Error(`${v} is not a literal of a kernel: pass it as a number`);
  return v < 0 || Object.is(v, -0) ? `(${Math.fround(v)})` : String(Math.fround(v));
}

/** How a kernel's input lies in its buffer. */
export interface Input {
  readonly dtype: DType;
  /** Elements of the buffer: where the second plane begins. */
  readonly elements: number;
}

/** What a kernel is written for. */
export interface Target {
  /** Whether the device's own functions are as good as JavaScript's. */
  readonly hasGoodFunctions: boolean;
  /** Whether functions have to stand before their users. */
  readonly needsOrder: boolean;
  /** Whether numbers are float64: each is rounded, so that what two kernels compute alike is alike, whether it was stored or not. */
  readonly needsRounding: boolean;
}

/** Statements of one kernel, whose inputs are called a0, a1, … and whose numbers are called n0, n1, …. */
export class Source {
  readonly inputs: readonly Input[];
  readonly hasGoodFunctions: boolean;
  readonly needsOrder: boolean;
  readonly #needsRounding: boolean;
  #lines: string[] = [];
  #names = 0;
  #loads = new Map<string, Value>();

  constructor(inputs: readonly Input[], { hasGoodFunctions, needsOrder, needsRounding }: Target) {
    this.inputs = inputs;
    this.hasGoodFunctions = hasGoodFunctions;
    this.needsOrder = needsOrder;
    this.#needsRounding = needsRounding;
  }

  get text(): string {
    return this.#lines.join("\n");
  }

  line(text: string): void {
    this.#lines.push(text);
  }

  fresh(): string {
    return `t${this.#names++}`;
  }

  /** A variable holding `text`, a float. */
  let(text: string): string {
    const name = this.fresh();
    const number = /^[\d(.-]+[\d.e)+-]*$/.test(text) ? `num(${text})` : text;
    this.line(`let ${name} = ${this.#needsRounding ? `Math.fround(${number})` : number};`);
    return name;
  }

  letValue(v: Value): Value {
    if (v.kind === "int") return { kind: "int", high: this.let(v.high), low: this.let(v.low) };
    return { kind: v.kind, text: this.let(v.text) };
  }

  assign(to: Value, v: Value): void {
    if (to.kind === "int" && v.kind === "int") {
      const [high, low] = [this.let(v.high), this.let(v.low)];
      this.line(`${to.high} = ${high}; ${to.low} = ${low};`);
    } else if (to.kind !== "int" && v.kind !== "int") this.line(`${to.text} = ${v.text};`);
    else throw new Error(`a ${v.kind} is not a ${to.kind}`);
  }

  /** `body` in the braces of `head`; what is loaded inside is not known after. */
  block(head: string, body: () => void): void {
    const before = new Map(this.#loads);
    this.line(`${head} {`);
    body();
    this.line("}");
    this.#loads = before;
  }

  if(condition: string, body: () => void): void {
    this.block(`if (${condition})`, body);
  }

  /** Bounds are literals: gpu.js ends a loop whose bound is an argument after 1000 rounds, silently. */
  loop(count: number, body: (index: string) => void): void {
    const k = `k${this.#names++}`;
    this.block(`for (let ${k} = 0; ${k} < ${count}; ${k}++)`, () => body(this.let(`num(${k})`)));
  }

  /** Element `at` of input k. */
  load(k: number, at: string): Value {
    const { dtype, elements } = this.inputs[k]!;
    const key = `${k} ${at}`;
    const known = this.#loads.get(key);
    if (known !== undefined) return known;
    const found = this.letValue(asValue(dtype, `a${k}[${at}]`, `a${k}[${at} + ${elements}]`));
    this.#loads.set(key, found);
    return found;
  }

  /** A float element. */
  loadFloat(k: number, at: string): string {
    return textOf(this.load(k, at));
  }

  /** A word as a number: exact below 2^24, as indices are. */
  loadIndex(k: number, at: string): string {
    const v = this.load(k, at);
    return v.kind === "int" ? this.let(`${v.high} * 65536 + ${v.low}`) : v.text;
  }

  /** Quotient and remainder of a whole number by a positive one. */
  split(x: string, by: number): { readonly quotient: string; readonly rest: string } {
    if (by === 1) return { quotient: x, rest: this.let("num(0)") };
    const isPower = Number.isInteger(Math.log2(by));
    const quotient = this.let(isPower ? `Math.floor(${x} * ${literal(1 / by)})` : `divide(${x}, ${by})`);
    return { quotient, rest: this.let(`${x} - ${quotient} * ${by}`) };
  }

  /** Coordinates of a row-major position in `sizes`. */
  coordinates(position: string, sizes: readonly number[]): string[] {
    const found = new Array<string>(sizes.length);
    let left = position;
    for (let d = sizes.length - 1; d > 0; d--) {
      const { quotient, rest } = this.split(left, sizes[d]!);
      found[d] = rest;
      left = quotient;
    }
    if (sizes.length > 0) found[0] = left;
    return found;
  }

  /** `offset + Σ coordinates · strides`. */
  position(coordinates: readonly string[], strides: readonly number[], offset = "0"): string {
    const terms = coordinates.flatMap((c, d) =>
      strides[d] === 0 ? [] : strides[d] === 1 ? [c] : [`${c} * ${literal(strides[d]!)}`],
    );
    const all = offset === "0" ? terms : [offset, ...terms];
    return all.length === 0
      ? this.let("num(0)")
      : all.length === 1 && /^\w+$/.test(all[0]!)
        ? all[0]!
        : this.let(all.join(" + "));
  }
}

/** The whole kernel: one number of the output buffer from the position of its element. */
export function kernelText(
  source: Source,
  output: { readonly dtype: DType; readonly elements: number },
  numbers: number,
  body: (position: string) => Value,
): string {
  const parameters = [...source.inputs.map((_, k) => `a${k}`), ...Array.from({ length: numbers }, (_, k) => `n${k}`)];
  source.line(`let i = num(this.thread.x);`);
  if (output.dtype === "i32") {
    source.line("let isHigh = num(1);");
    source.line(`if (i >= ${output.elements}) { i = i - ${output.elements}; isHigh = num(0); }`);
  }
  const value = body("i");
  const { kind } = asValue(output.dtype, "", "");
  if (value.kind !== kind) throw new Error(`a ${value.kind} is not stored as ${output.dtype}`);
  if (value.kind === "int") {
    source.line(`let y = ${value.low};`);
    source.line(`if (isHigh > 0.5) { y = ${value.high}; }`);
  } else source.line(`let y = num(${value.text});`);
  source.line("return y;");
  const order = source.needsOrder ? `${namedInOrder(source.text)}\n` : "";
  return `function(${parameters.join(", ")}) {\n${order}${source.text}\n}`;
}
