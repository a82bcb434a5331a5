import { unsigned } from "./encode.ts";
import { type I32, i32, type Statement, type Type, typeCodes, type Value } from "./value.ts";

/** A parameter or local variable: used as a value, it is read. */
export interface Local<T extends Type = Type> extends Value<T> {
  readonly index: number;
}

/** One function under construction. Statements run in the order in which they are written. */
export class FunctionBuilder {
  readonly index: number;
  readonly #parameters: number;
  readonly #locals: Type[] = [];
  readonly #code: number[] = [];
  readonly #hoisted: number[] = [];
  readonly #constants = new Set<number>();
  #zero: Local<"v128"> | undefined;

  constructor(index: number, parameters: number) {
    this.index = index;
    this.#parameters = parameters;
  }

  local<T extends Type>(type: T): Local<T> {
    this.#locals.push(type);
    return localAt(type, this.#parameters + this.#locals.length - 1);
  }
  locals<T extends Type>(type: T, count: number): Local<T>[] {
    return Array.from({ length: count }, () => this.local(type));
  }
  /** A new local with this value. */
  let<T extends Type>(value: Value<T>): Local<T> {
    const local = this.local(value.type);
    this.set(local, value);
    return local;
  }

  /** A local set once, before all else: for constants used in a loop, which some engines would rebuild in every round. */
  hoist<T extends Type>(value: Value<T>): Local<T> {
    const local = this.local(value.type);
    this.#hoisted.push(...value.code, 0x21, ...unsigned(local.index));
    this.#constants.add(local.index);
    return local;
  }

  do(statement: Statement): void {
    for (const byte of statement) this.#code.push(byte);
  }
  set<T extends Type>(local: Local<T>, value: Value<T>): void {
    this.do([...value.code, 0x21, ...unsigned(local.index)]);
  }
  /** local += amount */
  advance(local: Local<"i32">, amount: I32 | number): void {
    this.set(local, i32.add(local, typeof amount === "number" ? i32.const(amount) : amount));
  }
  call(target: FunctionBuilder | number, ...operands: readonly Value[]): void {
    const index = typeof target === "number" ? target : target.index;
    this.do([...operands.flatMap((o) => o.code), 0x10, ...unsigned(index)]);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.do([...condition.code, 0x04, 0x40]);
    then();
    if (otherwise !== undefined) {
      this.do([0x05]);
      otherwise();
    }
    this.do([0x0b]);
  }
  /** `while (condition) body()`. Vectors made in the body are gone after each round. */
  while(condition: I32, body: () => void): void {
    this.do([0x02, 0x40, ...i32.eqz(condition).code, 0x0d, 0, 0x03, 0x40]);
    const first = this.#locals.length;
    body();
    this.#forget(first);
    this.do([...condition.code, 0x0d, 0, 0x0b, 0x0b]);
  }
  /** `for (i = from; i < to; i += step) body()`. */
  for(i: Local<"i32">, from: I32, to: I32, step: I32 | number, body: () => void): void {
    this.set(i, from);
    this.while(i32.ltS(i, to), () => {
      body();
      this.advance(i, step);
    });
  }

  /**
   * Clears the vectors declared since. To V8 a local that lives on after a loop is a use outside of it, which it counts against joining
   * the loop's instructions to 256 bits; a cleared one costs nothing.
   */
  #forget(first: number): void {
    const end = this.#locals.length;
    for (let i = first; i < end; i++) {
      const index = this.#parameters + i;
      if (this.#locals[i] !== "v128" || this.#constants.has(index)) continue;
      this.#zero ??= this.#never();
      this.set(localAt("v128", index), this.#zero);
    }
  }
  /** A vector nobody sets: zero. */
  #never(): Local<"v128"> {
    const local = this.local("v128");
    this.#constants.add(local.index);
    return local;
  }

  /** Locals and code as the code section holds them. */
  bytes(): number[] {
    const groups: { type: Type; count: number }[] = [];
    for (const type of this.#locals) {
      const last = groups[groups.length - 1];
      if (last?.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    const declared = groups.flatMap(({ type, count }) => [...unsigned(count), typeCodes[type]]);
    const body = [...unsigned(groups.length), ...declared, ...this.#hoisted, ...this.#code, 0x0b];
    return [...unsigned(body.length), ...body];
  }
}

export const localAt = <T extends Type>(type: T, index: number): Local<T> => ({
  type,
  index,
  code: [0x20, ...unsigned(index)],
});
