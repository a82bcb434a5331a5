import { availableParallelism } from "node:os";
import type { TrainingBackend } from "../backends.ts";
import { inParallel } from "../inParallel.ts";
import { deviation, mean } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import { type AttentionName, budgetOf, comparisons, type LongContextRequest, type Task } from "./configuration.ts";
import { needles } from "./needles.ts";
import type { LongContextAnswer } from "./trainee.ts";

const seeds = { full: [1, 2, 3], quick: [1] } as const;

/** A GPU's processes take turns on it: some of them keep it busy while others wait for their host. */
const atOnce: Readonly<Record<TrainingBackend, number>> = {
  cpu: availableParallelism(),
  cuda: Math.min(4, availableParallelism()),
};

type Answered = LongContextRequest & LongContextAnswer;

/** What hierarchical attention costs in quality: text predicted after the same training, and needles found in it by distance. */
export const longContext: Suite = {
  about:
    "held-out bits per byte, and recall of needles by distance, of hierarchical against dense attention at equal steps",
  backends: ["cpu", "cuda"],
  run: async (context) => {
    const { isQuick, log } = context;
    const backend = context.backend as TrainingBackend;
    const runs = isQuick ? seeds.quick : seeds.full;
    // The longest first.
    const cases = (["needles", "text"] as const).flatMap((task) =>
      runs.flatMap((seed) => comparisons[task].map((attention) => ({ task, attention, seed, isQuick, backend }))),
    );
    const answers = await inParallel(cases, atOnce[backend], async (request): Promise<Answered> => {
      // A model a core: bits do not depend on it, and none waits for another.
      const env = { ...process.env, REVNET_THREADS: "1" };
      using subject = Subject.node(
        `${request.task}, ${request.attention}`,
        new URL("./trainee.ts", import.meta.url),
        env,
      );
      const answer = await subject.ask<LongContextAnswer>(request);
      const figure =
        answer.bitsPerByte?.toFixed(4) ??
        shares(answer)
          .map((s) => s.toFixed(2))
          .join(" ");
      log(
        `  ${request.task}, ${request.attention}, seed ${request.seed}: ${figure} (${(answer.timeMs / 1000).toFixed(0)} s)`,
      );
      return { ...request, ...answer };
    });
    const settings = (task: Task) => ({ ...budgetOf({ task, isQuick, backend }), seeds: runs });
    return {
      settings: {
        text: "State of the Union, 1790 to 2019",
        textTask: settings("text"),
        needleTask: { ...settings("needles"), ...needles },
      },
      rows: answers.flatMap((a) => rowsOf(a, backend)),
      summary: { bitsPerByte: textSummary(answers), recall: needleSummary(answers), chance: 1 / needles.values },
    };
  },
};

const shares = ({ recall = [] }: LongContextAnswer): number[] => recall.map(({ right, asked }) => right / asked);

function rowsOf(
  { task, attention, seed, bitsPerByte, recall = [], parameters, timeMs }: Answered,
  backend: string,
): Row[] {
  const common = { backend, task, attention, seed, parameters, trainingMs: timeMs };
  if (bitsPerByte !== undefined) return [{ ...common, bitsPerByte }];
  return recall.map(({ from, to, right, asked }) => ({
    ...common,
    distance: `${from} to ${to}`,
    right,
    asked,
    share: right / asked,
  }));
}

/** Half the width of a 95 % interval of the mean of so many values, by Student's t. */
function interval(values: readonly number[]): {
  readonly mean: number;
  readonly halfWidth: number;
  readonly values: readonly number[];
} {
  const t = [Number.NaN, 12.71, 4.303, 3.182, 2.776][values.length - 1] ?? 2;
  return { mean: mean(values), halfWidth: (t * deviation(values)) / Math.sqrt(values.length), values };
}

function textSummary(answers: readonly Answered[]) {
  const of = (name: AttentionName): number[] =>
    answers.filter((a) => a.task === "text" && a.attention === name).map((a) => a.bitsPerByte!);
  const against = (name: AttentionName) => interval(of(name).map((bits, i) => bits - of("dense")[i]!));
  return Object.fromEntries(
    comparisons.text.map((name) => [
      name,
      { ...interval(of(name)), ...(name === "dense" ? {} : { minusDense: against(name) }) },
    ]),
  );
}

/** Share of questions answered, by distance, with its interval over seeds. */
function needleSummary(answers: readonly Answered[]) {
  return Object.fromEntries(
    comparisons.needles.map((name) => {
      const own = answers.filter((a) => a.task === "needles" && a.attention === name);
      const ranges = own[0]?.recall ?? [];
      return [
        name,
        Object.fromEntries(
          ranges.map(({ from, to }, i) => {
            const { mean: share, halfWidth } = interval(own.map((a) => shares(a)[i]!));
            return [`${from} to ${to}`, { share, halfWidth }];
          }),
        ),
      ];
    }),
  );
}
