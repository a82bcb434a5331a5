import type { Engine } from "../engine.ts";
import { LifetimeError } from "../errors.ts";
import { categories } from "./ledger.ts";

/** The largest live buffers and the totals by category, as text for errors and reports. */
export function liveReport(engine: Engine, most = 8): string {
  const { live, liveBytes, liveBuffers } = engine.memory();
  const totals = categories.filter((c) => live[c] > 0).map((c) => `${c} ${live[c]}`);
  const largest = [...engine.storages].sort((a, b) => b.bytes - a.bytes).slice(0, most);
  const lines = largest.map(
    (s) => `    ${s.bytes} bytes ${s.dtype} ${s.category}${s.site === undefined ? "" : ` made at ${s.site}`}`,
  );
  return [`  live: ${liveBytes} bytes in ${liveBuffers} buffers (${totals.join(", ")})`, ...lines].join("\n");
}

/**
 * Runs `f` and throws when it leaves more tensors or bytes alive than there were before, beyond those in its result. Copies that autocast keeps
 * beside parameters are no leak: they go with those.
 * Set REVNET_LEAKS=1 to have the report say where they were made.
 */
export function expectNoLeak<T>(engine: Engine, f: () => T): T {
  const tensors = engine.liveTensors;
  const bytes = bytesBesideCopies(engine);
  const before = new Set(engine.storages);
  const result = f();
  if (result instanceof Promise) {
    return result.then((value) => {
      check();
      return value;
    }) as T;
  }
  check();
  return result;

  function check(): void {
    const left = bytesBesideCopies(engine);
    if (engine.liveTensors <= tensors && left <= bytes) return;
    const fresh = [...engine.storages].filter((s) => !before.has(s) && s.copyOf === undefined);
    const list = fresh
      .slice(0, 8)
      .map((s) => `\n    ${s.bytes} bytes ${s.dtype} ${s.category}${s.site === undefined ? "" : ` made at ${s.site}`}`);
    throw new LifetimeError(
      "expectNoLeak",
      `${engine.liveTensors - tensors} tensors and ${left - bytes} bytes leaked${list.join("")}`,
      "wrap the computation in scope(() => …) or dispose its tensors; REVNET_LEAKS=1 names the places",
    );
  }
}

const bytesBesideCopies = ({ ledger, storages }: Engine): number =>
  [...storages].reduce((bytes, s) => (s.copyOf === undefined ? bytes : bytes - s.bytes), ledger.liveBytes);
