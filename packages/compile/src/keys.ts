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

/** A value with every key in it that `pathOf` knows: as a function of the ambient key, or undefined where there is none. */
export function keyed(value: unknown, pathOf: (key: Key) => KeyPath | undefined): ((root: Key) => unknown) | undefined {
  if (Array.isArray(value)) {
    const path = pathOf(value as unknown as Key);
    if (path !== undefined) return (root) => path.reduce(foldKey, root);
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const parts = Object.entries(value).flatMap(([name, part]) => {
    const make = keyed(part, pathOf);
    return make === undefined ? [] : [[name, make] as const];
  });
  if (parts.length === 0) return undefined;
  return (root) => ({ ...value, ...Object.fromEntries(parts.map(([name, make]) => [name, make(root)])) });
}
