import { figure, number, percent, type Ratios, type Report, table } from "./report.ts";

/** What a GPU's report says of one kernel. */
interface Found extends Ratios {
  readonly timeMs?: number;
  readonly shareOfCopy?: number;
  readonly speedOverPytorch?: number;
  /** Of cuBLASLt's fastest kernel for a product: of what served, what serves untuned, and the library's first proposal. */
  readonly shareOfBest?: number;
  readonly shippedOfBest?: number;
  readonly firstOfBest?: number;
}

const PRODUCT = "product: ";

const found = ({ summary }: Report): [name: string, found: Found][] => Object.entries(summary as Record<string, Found>);
const kernelsIn = (report: Report): [string, Found][] => found(report).filter(([name]) => !name.startsWith(PRODUCT));
const productsIn = (report: Report): [string, Found][] =>
  found(report).flatMap(([name, one]) =>
    name.startsWith(PRODUCT) ? [[name.slice(PRODUCT.length), one] as const] : [],
  );

const times = (ratio: number | undefined): string => (ratio === undefined ? "" : `${figure(ratio)}×`);

/** Kernels of a training step beside a copy, their parts and PyTorch's; and its products beside the library's best. */
export function gpuKernelTables(report: Report): string[] {
  const rateOf = (op: string): string => {
    const row = report.rows.find((r) => r.op === op && r.impl === "fused");
    if (row?.gbPerSecond !== undefined) return `${figure(number(row.gbPerSecond))} GB/s`;
    return `${figure(number(row?.gflops) / 1000)} TFLOP/s`;
  };
  return [
    table(
      ["kernel", "ms", "rate", "of a copy", "over its parts", "bytes", "over PyTorch"],
      kernelsIn(report).map(([op, one]) => [
        `\`${op}\``,
        figure(number(one.timeMs)),
        rateOf(op),
        percent(one.shareOfCopy),
        ...[one.speedOverDecomposed, one.expectedOfBytes, one.speedOverPytorch].map(times),
      ]),
    ),
    table(
      ["product", "ms", "rate", "of cuBLASLt's best", "untuned", "its first proposal", "over PyTorch"],
      productsIn(report).map(([name, one]) => [
        name,
        figure(number(one.timeMs)),
        rateOf(PRODUCT + name),
        ...[one.shareOfBest, one.shippedOfBest, one.firstOfBest].map(percent),
        times(one.speedOverPytorch),
      ]),
    ),
  ];
}

/** How many of some figures reach what was asked, and those that do not. */
function reaching(all: readonly [string, number | undefined][], asked: number, show: (v: number) => string): string {
  const measured = all.filter((one): one is [string, number] => typeof one[1] === "number");
  const short = measured.filter(([, v]) => v < asked);
  const names = short.map(([name, v]) => `${name} ${show(v)}`).join(", ");
  return `${measured.length - short.length} of ${measured.length}${names === "" ? "" : `; ${names}`}`;
}

const LEAST_OF_COPY = 0.8;
const LEAST_OF_BYTES = 0.85;
const LEAST_OF_BEST = 0.95;
/** Those that are to take at most half of what their parts take. */
const twice = ["softmax", "crossEntropyWithGradient", "adamw", "attention", "attentionBackward"];

export const shareOfCopy = (report: Report): string =>
  reaching(
    kernelsIn(report).map(([name, one]) => [name, one.shareOfCopy]),
    LEAST_OF_COPY,
    percent,
  );

/** Of their speed over their parts and that of the bytes. */
export const shareOfBytes = (report: Report): string =>
  reaching(
    kernelsIn(report).map(([name, { speedOverDecomposed, expectedOfBytes }]) => [
      name,
      expectedOfBytes === undefined || speedOverDecomposed === undefined
        ? undefined
        : speedOverDecomposed / expectedOfBytes,
    ]),
    LEAST_OF_BYTES,
    figure,
  );

const ofThose =
  (names: readonly string[], value: (one: Found) => number | undefined) =>
  (report: Report): string =>
    kernelsIn(report)
      .filter(([name]) => names.includes(name))
      .map(([name, one]) => `${name} ${figure(number(value(one)))}`)
      .join(", ");

export const overParts: (report: Report) => string = ofThose(twice, (one) => one.speedOverDecomposed);
export const attentionOverPytorch: (report: Report) => string = ofThose(
  ["attention", "attentionBackward"],
  (one) => one.speedOverPytorch,
);

const ofBest =
  (share: (one: Found) => number | undefined) =>
  (report: Report): string =>
    reaching(
      productsIn(report).map(([name, one]) => [name, share(one)]),
      LEAST_OF_BEST,
      percent,
    );
export const shareOfBest: (report: Report) => string = ofBest((one) => one.shareOfBest);
export const untunedOfBest: (report: Report) => string = ofBest((one) => one.shippedOfBest ?? one.shareOfBest);
