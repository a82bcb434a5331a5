import { CpuBackend } from "@revnet-zero/backend-cpu";
import { compileGradients } from "@revnet-zero/compile";
import { Engine, randomKey, type Tensor, toWords } from "@revnet-zero/tensor";
import { median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { type Case, cases } from "./cases.ts";

/** Forward and backward passes, called and recorded. */
export const compile: Suite = {
  about: "forward and backward passes recorded by compileGradients against the same called: time, kernels, peak memory",
  run: async ({ isQuick, backend, log }) => {
    const [repeats, targetMs] = isQuick ? [2, 1] : [25, 100];
    const rows: Row[] = [];
    const speeds: Record<string, number> = {};
    for (const [name, make] of Object.entries(cases)) {
      const { recorded, instructions, times, peaks, isBitEqual } = measure(make, repeats, targetMs);
      const speed = median(times.called.map((t, i) => t / times.recorded[i]!));
      for (const way of ["called", "recorded"] as const) {
        const kernels = way === "called" ? recorded : instructions;
        rows.push({ backend, case: name, way, kernels, peakBytes: peaks[way], ...timeColumns(times[way]) });
      }
      speeds[name] = speed;
      log(
        `  ${name}: ${recorded} kernels, ${instructions} recorded, ${speed.toFixed(2)}x, bits ${isBitEqual ? "equal" : "DIFFER"}`,
      );
      if (!isBitEqual) throw new Error(`${name}: the recording has other gradients than the function`);
    }
    return { settings: { repeats }, rows, summary: { speedOverCalled: speeds } };
  },
};

function measure(make: (engine: Engine) => Case, repeats: number, targetMs: number) {
  const engine = new Engine(new CpuBackend());
  const { parameters, args, run } = make(engine);
  const recording = compileGradients(parameters, run);
  const ways = { called: run, recorded: recording as Case["run"] };
  const pass = <T>(f: Case["run"], look: (gradients: readonly Tensor[]) => T): T =>
    engine.scope(() => {
      engine.withKey(randomKey(1), () => f(...args));
      const seen = look(parameters.flatMap((p) => p.grad ?? []));
      for (const p of parameters) {
        p.grad?.dispose();
        p.grad = undefined;
      }
      return seen;
    });
  const ignore = (): void => {};
  const words = (gradients: readonly Tensor[]): string =>
    gradients.map((g) => toWords(g.dataSync(), g.dtype).join()).join();
  for (let i = 0; i < 3; i++) for (const f of Object.values(ways)) pass(f, ignore);
  const isBitEqual = pass(ways.called, words) === pass(ways.recorded, words);
  const start = performance.now();
  pass(ways.called, ignore);
  const loops = Math.max(1, Math.round(targetMs / (performance.now() - start)));
  const times = { called: [] as number[], recorded: [] as number[] };
  const peaks = { called: 0, recorded: 0 };
  for (let r = 0; r < repeats; r++) {
    for (const way of ["called", "recorded"] as const) {
      engine.ledger.resetPeak();
      const from = performance.now();
      for (let i = 0; i < loops; i++) pass(ways[way], ignore);
      times[way].push((performance.now() - from) / loops);
      peaks[way] = engine.memory().peakBytes;
    }
  }
  const { recorded, instructions } = recording.recordings[0]!;
  return { recorded, instructions, times, peaks, isBitEqual };
}
