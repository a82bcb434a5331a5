import { LifetimeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The tensors made inside one `scope`; closing it disposes those that were neither kept nor returned. */
export class Scope {
  readonly owned: Set<Tensor> = new Set();
  readonly parent: Scope | undefined;
  readonly label: string;
  constructor(parent: Scope | undefined, label: string) {
    this.parent = parent;
    this.label = label;
  }
}

/** The scopes of an engine, innermost last. Scopes nest; closing them out of order is an error, not a guess. */
export class ScopeStack {
  #top: Scope | undefined;

  get top(): Scope | undefined {
    return this.#top;
  }

  open(label: string): Scope {
    this.#top = new Scope(this.#top, label);
    return this.#top;
  }

  /** Disposes what the scope owns, except `escaping` tensors, which the parent then owns. */
  close(scope: Scope, escaping: Iterable<Tensor> = []): void {
    if (this.#top !== scope) {
      throw new LifetimeError(
        "scope",
        `"${scope.label}" closed while "${this.#top?.label ?? "nothing"}" is innermost: two tasks interleave on one scope stack`,
        "await one task before starting the next, or give each its own Engine",
      );
    }
    this.#top = scope.parent;
    for (const t of escaping) {
      if (scope.owned.delete(t)) scope.parent?.owned.add(t);
    }
    for (const t of scope.owned) t.dispose();
    scope.owned.clear();
  }
}

/** Tensors reachable through arrays, maps and plain objects of a returned value. */
export function tensorsIn(value: unknown, isTensor: (v: unknown) => v is Tensor, found: Tensor[] = []): Tensor[] {
  if (isTensor(value)) found.push(value);
  else if (Array.isArray(value)) for (const v of value) tensorsIn(v, isTensor, found);
  else if (value instanceof Map) for (const v of value.values()) tensorsIn(v, isTensor, found);
  else if (typeof value === "object" && value !== null) {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null)
      for (const v of Object.values(value)) tensorsIn(v, isTensor, found);
  }
  return found;
}
