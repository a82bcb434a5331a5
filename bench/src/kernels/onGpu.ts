import { startPytorch } from "../pytorch.ts";
import { median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { BenchContext, Row, SuiteResult } from "../suite.ts";
import { ratio } from "../tasks/contest.ts";
import { gpt2Sizes, gpuCaseNames, productsOf, quickSizes } from "./gpuCases.ts";
import type { CopyAnswer, KernelAnswer, ProductAnswer } from "./onGpuSubject.ts";

interface PytorchAnswer {
  /** Undefined where PyTorch has nothing of the kind. */
  readonly timeMs?: number;
  /** Which of its ways was the fastest. */
  readonly how?: string;
}

const COPY_BYTES = 2 ** 29;

/** Kernels of a training step: beside a copy, beside what they replace, beside the library's best product, beside PyTorch. */
export async function kernelsOnGpu({ isQuick, backend, log, peers }: BenchContext): Promise<SuiteResult> {
  const ours = Subject.node("kernels", new URL("./onGpuSubject.ts", import.meta.url));
  const sizes = isQuick ? quickSizes : gpt2Sizes;
  const wantsPytorch = peers === undefined || peers.includes("pytorch");
  const pytorch = wantsPytorch ? await startPytorch("pytorch_gpu_kernels.py", { sizes }) : "it was not asked for";
  if (typeof pytorch === "string") log(`  no PyTorch: ${pytorch}`);
  const theirs = async (request: object): Promise<PytorchAnswer> =>
    typeof pytorch === "string" ? {} : await pytorch.ask<PytorchAnswer>(request);
  const repeats = isQuick ? 1 : 3;
  const rows: Row[] = [];
  const summary: Record<string, object> = {};
  try {
    const { gbPerSecond: ceiling } = await ours.ask<CopyAnswer>({ copy: isQuick ? 4096 : COPY_BYTES, isQuick });
    log(`  copy: ${ceiling.toFixed(0)} GB/s`);
    rows.push({ backend, op: "copy", impl: "driver", gbPerSecond: ceiling });
    for (const op of gpuCaseNames) {
      const answers: KernelAnswer[] = [];
      const peer: PytorchAnswer[] = [];
      for (let n = 0; n < repeats; n++) {
        answers.push(await ours.ask<KernelAnswer>({ kernel: op, isQuick }));
        peer.push(await theirs({ kernel: op }));
      }
      const { bytes, flops, expectedOfBytes } = answers[0]!;
      const fused = answers.map((a) => a.fusedMs);
      const parts = answers.flatMap((a) => a.partsMs ?? []);
      const other = peer.flatMap((p) => p.timeMs ?? []);
      const { how } = peer[0]!;
      const rate = (ms: number): Row => ({
        ...(bytes === undefined ? {} : { gbPerSecond: bytes / ms / 1e6, shareOfBandwidth: bytes / ms / 1e6 / ceiling }),
        ...(flops === undefined ? {} : { gflops: flops / ms / 1e6 }),
      });
      for (const [impl, times] of [
        ["fused", fused],
        ["decomposed", parts],
        ...(how === undefined ? [] : [[`PyTorch ${how}`, other] as const]),
      ] as const)
        if (times.length > 0) rows.push({ backend, op, impl, ...rate(median(times)), ...timeColumns(times) });
      const found = {
        timeMs: median(fused),
        ...(bytes === undefined ? {} : { shareOfCopy: bytes / median(fused) / 1e6 / ceiling }),
        ...(parts.length === 0 ? {} : { speedOverDecomposed: ratio(parts, fused) }),
        ...(expectedOfBytes === undefined ? {} : { expectedOfBytes }),
        ...(other.length === 0 ? {} : { speedOverPytorch: ratio(other, fused) }),
      };
      summary[op] = found;
      log(`  ${op}: ${said(found)}${how === undefined ? "" : ` (${how})`}`);
    }
    for (const { name, ...shape } of productsOf(sizes)) {
      const mine: ProductAnswer[] = [];
      const peer: PytorchAnswer[] = [];
      for (let n = 0; n < repeats; n++) {
        mine.push(await ours.ask<ProductAnswer>({ product: name, isQuick }));
        peer.push(await theirs({ product: shape }));
      }
      const times = mine.map((a) => a.timeMs);
      const other = peer.flatMap((p) => p.timeMs ?? []);
      const op = `product: ${name}`;
      const { flops } = mine[0]!;
      rows.push({ backend, op, impl: "fused", gflops: flops / median(times) / 1e6, ...timeColumns(times) });
      if (other.length > 0)
        rows.push({ backend, op, impl: "PyTorch", gflops: flops / median(other) / 1e6, ...timeColumns(other) });
      const found = {
        ...{ timeMs: median(times), teraflops: flops / median(times) / 1e9 },
        ...sharesOfBest(mine),
        ...(other.length === 0 ? {} : { speedOverPytorch: ratio(other, times) }),
      };
      summary[op] = found;
      log(`  ${op}: ${said(found)}`);
    }
  } finally {
    await ours.end();
    if (typeof pytorch !== "string") await pytorch.end();
  }
  return { settings: { ...sizes, dtype: "bf16" }, rows, summary };
}

/** Shares of the speed of the library's fastest kernel: of the one that served, of the one that serves untuned, of its first proposal. */
function sharesOfBest(answers: readonly ProductAnswer[]): Record<string, number> {
  const measured = answers.flatMap(({ library }) => library ?? []);
  if (measured.length === 0) return {};
  const share = (of: "servedMs" | "shippedMs" | "firstMs"): number =>
    median(measured.map((library) => library.bestMs / library[of]));
  return { shareOfBest: share("servedMs"), shippedOfBest: share("shippedMs"), firstOfBest: share("firstMs") };
}

const said = (figures: object): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${Number((value as number).toPrecision(3))}`)
    .join(", ");
