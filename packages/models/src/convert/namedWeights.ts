import { describe, type Shape, sameShape, type Tensor, ValueError } from "@revnet-zero/tensor";

/**
 * The tensors of a file by the names of another library, taken one by one: what is missing, misshapen or left over is an error
 * that lists all of it.
 */
export class NamedWeights {
  readonly #what: string;
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #prefix: string;
  readonly #taken = new Set<string>();
  readonly #problems: string[] = [];

  /** @param prefix that names may have or not, such as "transformer.". */
  constructor(what: string, tensors: ReadonlyMap<string, Tensor>, prefix: string) {
    this.#what = what;
    this.#tensors = tensors;
    this.#prefix = prefix;
  }

  /** The tensor of a name, if it is there. */
  find(name: string): Tensor | undefined {
    for (const full of [this.#prefix + name, name]) {
      const found = this.#tensors.get(full);
      if (found !== undefined) {
        this.#taken.add(full);
        return found;
      }
    }
    return undefined;
  }

  /** The shape of a tensor that the configuration is read from. */
  shapeOf(name: string, rank: number): Shape {
    const found = this.find(name);
    if (found?.rank === rank) return found.shape;
    const problem = found === undefined ? `there is no ${name}` : `${name} is ${describe(found)}`;
    throw new ValueError(this.#what, problem, `give the weights in the names that ${this.#what} describes`);
  }

  /** The tensor of a name as f32, which must have a shape; a failure is noted, and thrown by `finish`. */
  take(name: string, shape: Shape): Tensor {
    const found = this.find(name);
    if (found === undefined) this.#problems.push(`missing: ${name} [${shape.join(", ")}]`);
    else if (!sameShape(found.shape, shape))
      this.#problems.push(`mismatched: ${name} is ${describe(found)}, expected [${shape.join(", ")}]`);
    else return found.cast("f32");
    const any = this.#tensors.values().next().value!;
    return any.fullOf(shape, 0, "f32");
  }

  /** How many layers there are: the numbers n of names `layers.n.…`. */
  count(layers: string): number {
    const numbers = [...this.#tensors.keys()].map((name) => {
      const own = name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : name;
      return own.startsWith(`${layers}.`) ? Number.parseInt(own.slice(layers.length + 1), 10) + 1 : 0;
    });
    return Math.max(0, ...numbers);
  }

  /** Throws unless every tensor was found, and all of the file's were taken but those that may stay. */
  finish(mayStay: RegExp): void {
    for (const [name, t] of this.#tensors)
      if (!this.#taken.has(name) && !mayStay.test(name)) this.#problems.push(`unexpected: ${name} ${describe(t)}`);
    if (this.#problems.length === 0) return;
    throw new ValueError(
      this.#what,
      `the weights do not fit:\n    ${this.#problems.join("\n    ")}`,
      "check that the file is of this architecture and complete",
    );
  }
}
