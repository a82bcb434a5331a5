import { CpuBackend } from "../../src/index.ts";
import { digest } from "./digest.ts";

// Runs in the browser: computes at once, most likely alone, then with the workers that have started meanwhile, and posts what it found.

/** Milliseconds in which workers must have joined. */
const PATIENCE_MS = 10_000;

async function look() {
  const backend = new CpuBackend({ threads: 3 });
  const { tier, arithmetic, threads } = backend;
  const alone = digest(backend);
  const until = performance.now() + PATIENCE_MS;
  while (!backend.areThreadsReady && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  return { tier, arithmetic, threads, alone, together: { ready: backend.areThreadsReady, digest: digest(backend) } };
}

// The browser's `fetch`, typed here: tests have no browser types.
const { fetch } = globalThis as unknown as { fetch(url: string, options: object): Promise<unknown> };
const found = await look().catch((error: unknown) => ({ error: String(error) }));
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
