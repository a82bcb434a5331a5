import type { Module } from "@revnet-zero/nn";
import { fromWords, type TypedArray } from "@revnet-zero/tensor";

/** Runs something that may change a module's buffers (running statistics), and puts their values back. */
export async function withStateKept<T>(module: Module, f: () => Promise<T>): Promise<T> {
  const before: TypedArray[] = [];
  const buffers = [...module.stateDict().values()].filter((t) => t.edge === undefined);
  for (const t of buffers) before.push(await t.words());
  try {
    return await f();
  } finally {
    for (const [i, t] of buffers.entries()) {
      const { engine, shape, dtype } = t;
      engine.scope(() => t.assign(fromWords(before[i]!, shape, dtype, engine)));
    }
  }
}
