import { BackendError, type Key } from "@revnet-zero/tensor";

const CAPACITY = 4096; // what a kernel takes at most

const tooLarge = (value: number): BackendError =>
  new BackendError(
    "cuda",
    `a kernel counts what it was given in 32 bits, and ${value} is more`,
    "split the batch or the sequence: x.split(sizes, axis)",
  );

/** A kernel's parameters, packed as C lays out a struct: every member aligned to its own size. */
export class Parameters {
  readonly bytes: Uint8Array = new Uint8Array(CAPACITY);
  readonly #view: DataView = new DataView(this.bytes.buffer);
  #at = 0;
  #alignment = 1;

  start(): this {
    this.#at = 0;
    this.#alignment = 1;
    return this;
  }

  #place(size: number): number {
    const at = Math.ceil(this.#at / size) * size;
    this.#at = at + size;
    this.#alignment = Math.max(this.#alignment, size);
    return at;
  }

  /** A whole number as 64 bits, two's complement. */
  long(value: number): this {
    const at = this.#place(8);
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
    return this;
  }
  pointer(address: number): this {
    return this.long(address);
  }
  longs(values: readonly number[], count: number = values.length): this {
    for (let i = 0; i < count; i++) this.long(values[i] ?? 0);
    return this;
  }
  /** A whole number as 32 bits, with or without a sign: where a kernel counts in so many, more is an error and no other number. */
  int(value: number): this {
    if (value < -(2 ** 31) || value >= 2 ** 32) throw tooLarge(value);
    this.#view.setInt32(this.#place(4), value, true);
    return this;
  }
  ints(values: readonly number[], count: number = values.length): this {
    for (let i = 0; i < count; i++) this.int(values[i] ?? 0);
    return this;
  }
  float(value: number): this {
    this.#view.setFloat32(this.#place(4), value, true);
    return this;
  }
  double(value: number): this {
    this.#view.setFloat64(this.#place(8), value, true);
    return this;
  }
  /** 64 bits as two words, the low one first. */
  words(low: number, high: number): this {
    const at = this.#place(8);
    this.#view.setUint32(at, low >>> 0, true);
    this.#view.setUint32(at + 4, high >>> 0, true);
    return this;
  }

  /** A key by value and, where it has one, by its place in device memory (0 for none), which then counts (random.cu). */
  key(place: number, [low, high]: Key): this {
    return this.pointer(place).int(low).int(high);
  }

  /** A tensor map: 128 bytes that `write` puts at an offset of `bytes`. */
  map(write: (bytes: Uint8Array, offset: number) => void): this {
    this.#alignment = 64;
    this.#at = Math.ceil(this.#at / 64) * 64;
    write(this.bytes, this.#at);
    this.#at += 128;
    return this;
  }

  /** What follows a struct inside a struct begins where the inner one's size ends. */
  pad(): this {
    this.#at = this.size;
    return this;
  }

  /** The struct's size, which C rounds up to its largest member. */
  get size(): number {
    return Math.ceil(this.#at / this.#alignment) * this.#alignment;
  }
}
