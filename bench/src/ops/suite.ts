import { availableParallelism } from "node:os";
import { timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { Contest, ratio } from "../tasks/contest.ts";
import { amountOf, type MapOp } from "../tasks/task.ts";
import { measureBandwidth } from "./bandwidth.ts";

/** Bytes that an element must be read and written at least. */
const bytesPerElement: { readonly [K in MapOp]: number } = {
  ...{ add: 12, mul: 12, exp: 8, tanh: 8, gelu: 8, sum: 4, softmax: 8, layerNorm: 8, cast: 6 },
};
const opNames = Object.keys(bytesPerElement) as MapOp[];

/** In the second-level cache, and far larger than all caches. */
const fullShapes: readonly (readonly number[])[] = [
  [64, 512],
  [8192, 2048],
];

/** Elementwise ops, reductions, casts and norms, where memory is the limit and where it is not. */
export const ops: Suite = {
  about: "elementwise ops, reductions, casts and norms: share of the measured memory bandwidth, and peers",
  run: async ({ isQuick, peers, log }) => {
    const shapes = isQuick ? [[16, 64]] : fullShapes;
    const rows: Row[] = [];
    const summary: Record<string, unknown> = {};
    for (const threads of isQuick ? [1] : [...new Set([1, availableParallelism()])]) {
      const bandwidth = await measureBandwidth(threads);
      using contest = await Contest.start(threads, peers);
      const speed: Record<string, Record<string, number>> = {};
      const shares: Record<string, number> = {};
      for (const shape of shapes) {
        for (const op of opNames) {
          const task = { op, shape };
          const { times: measured } = await contest.measure(task, { repeats: isQuick ? 2 : 11, isQuick });
          const ours = measured.get("revnet-zero")!;
          const name = `${op} [${shape}]`;
          for (const [impl, times] of measured) {
            const { timeMs, ...time } = timeColumns(times);
            const gbPerSecond = (amountOf(task) * bytesPerElement[op]) / timeMs / 1e6;
            const shareOfBandwidth = (gbPerSecond * 1e9) / bandwidth;
            rows.push({ impl, op, shape: shape.join("x"), threads, gbPerSecond, shareOfBandwidth, timeMs, ...time });
            log(`  ${name}, ${threads} threads, ${impl}: ${gbPerSecond.toFixed(1)} GB/s`);
            if (impl === "revnet-zero") shares[name] = shareOfBandwidth;
            else speed[`speedOver ${impl}`] = { ...speed[`speedOver ${impl}`], [name]: ratio(times, ours) };
          }
        }
      }
      rows.push(...contest.skipped);
      summary[`${threads} threads`] = { bandwidthGbPerSecond: bandwidth / 1e9, shareOfBandwidth: shares, ...speed };
    }
    return { settings: { dtype: "f32", bytesPerElement }, rows, summary };
  },
};
