import { foldKey, type Key, type KeyDerivation } from "@revnet-zero/tensor";
import type { KeyPath } from "./program.ts";

/** The numbers that lead from `root` to a key, or undefined where it does not come from there. */
export function pathFrom(root: Key, key: Key, derivations: ReadonlyMap<Key, KeyDerivation>): KeyPath | undefined {
  const path: number[] = [];
  for (let at: Key = key; at !== root; ) {
    const derivation = derivations.get(at);
    if (derivation === undefined) return undefined;
    path.unshift(derivation.data);
    at = derivation.parent;
  }
  return path;
}

/** The keys of a program that follow from the ambient one, in a list without repetitions. */
export class Keys {
  readonly #paths: KeyPath[] = [];
  readonly #places = new Map<string, number>();
  readonly #pathOf: (key: Key) => KeyPath | undefined;

  constructor(pathOf: (key: Key) => KeyPath | undefined) {
    this.#pathOf = pathOf;
  }

  /** All of them, each an object of its own. */
  from(root: Key | undefined): Key[] {
    return this.#paths.map((path) => path.reduce(foldKey, [...root!] as Key));
  }

  /** A value with every such key in it as a function of the list, or undefined where it has none. */
  in(value: unknown): ((keys: readonly Key[]) => unknown) | undefined {
    if (Array.isArray(value)) {
      const place = this.#placeOf(value as unknown as Key);
      return place === undefined ? undefined : (keys) => keys[place];
    }
    if (typeof value !== "object" || value === null) return undefined;
    const parts = Object.entries(value).flatMap(([name, part]) => {
      const make = this.in(part);
      return make === undefined ? [] : [[name, make] as const];
    });
    if (parts.length === 0) return undefined;
    return (keys) => ({ ...value, ...Object.fromEntries(parts.map(([name, make]) => [name, make(keys)])) });
  }

  #placeOf(key: Key): number | undefined {
    const path = this.#pathOf(key);
    if (path === undefined) return undefined;
    const name = path.join();
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    this.#places.set(name, this.#paths.length);
    return this.#paths.push(path) - 1;
  }
}
