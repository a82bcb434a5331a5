import { median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { Contest, ratio } from "../tasks/contest.ts";
import type { Task } from "../tasks/task.ts";

const ELEMENTS = 1024;
const shape = [4, ELEMENTS / 4];
const tasks: readonly Task[] = (["add", "mul", "exp", "tanh", "sum", "softmax", "layerNorm"] as const).map((op) => ({
  op,
  shape,
}));

/** Time of an eager op on so few elements that calling it is most of the work. */
export const overhead: Suite = {
  about: `time of one eager op on ${ELEMENTS} elements, one thread`,
  run: async ({ isQuick, peers, log }) => {
    using contest = await Contest.start(1, peers);
    const rows: Row[] = [];
    const ratios: Record<string, Record<string, number>> = {};
    const ourTimes: Record<string, number> = {};
    for (const task of tasks) {
      const { times: measured } = await contest.measure(task, { repeats: isQuick ? 2 : 15, isQuick });
      const ours = measured.get("revnet-zero")!;
      for (const [impl, times] of measured) {
        const { timeMs, timeMsMinimum, ...rest } = timeColumns(times);
        rows.push({
          ...{ impl, op: task.op, elements: ELEMENTS, timeUs: 1000 * timeMs, timeUsMinimum: 1000 * timeMsMinimum },
          ...rest,
        });
        log(`  ${task.op}, ${impl}: ${(1000 * timeMs).toFixed(2)} us`);
        const name = `speedOver ${impl}`;
        if (impl !== "revnet-zero") ratios[name] = { ...ratios[name], [task.op]: ratio(times, ours) };
      }
      ourTimes[task.op] = 1000 * median(ours);
    }
    rows.push(...contest.skipped);
    return { settings: { elements: ELEMENTS, threads: 1 }, rows, summary: { timeUs: ourTimes, ...ratios } };
  },
};
