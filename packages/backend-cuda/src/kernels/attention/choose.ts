import { dtypes } from "@revnet-zero/tensor";
import { withScratch } from "../../choice/scratch.ts";
import { timeOnDevice } from "../../choice/tune.ts";
import type { CudaDevice, CudaView } from "../../device/device.ts";
import type { LibraryState } from "../../device/libraries.ts";
import { byGraph, takesGraph } from "./graphs.ts";
import { byHopper, takesHopper } from "./hopper.ts";
import { type AttentionAttrs, type AttentionOperands, sizesOf } from "./operands.ts";
import { byRows, byTiles, TILE, takesTiles } from "./own.ts";

/** `cuDNN 1` and on are what else the library proposes for a graph: each from there on that it makes a plan of. */
export type AttentionWay = "cuDNN" | `cuDNN ${number}` | "hopper" | "tiles" | "rows";

type RunWay = (device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs) => boolean;

/** How many of the library's plans are candidates beside its first. */
const OTHER_PLANS = 5;
const otherPlans = Array.from({ length: OTHER_PLANS }, (_, i) => `cuDNN ${i + 1}` as const);

/** Each way to compute attention: forward where operands have no `delta`, else backward. False where it refuses. */
const attentionWays: Readonly<Record<string, RunWay>> = {
  ...{ cuDNN: byGraph, hopper: always(byHopper), tiles: always(byTiles), rows: always(byRows) },
  ...Object.fromEntries(
    otherPlans.map((way, i): [AttentionWay, RunWay] => [way, (...call) => byGraph(...call, i + 1)]),
  ),
};

function always<Call extends readonly unknown[]>(run: (...call: Call) => void): (...call: Call) => boolean {
  return (...call) => {
    run(...call);
    return true;
  };
}

/**
 * The ways that take a problem, the one that serves without a table first. Rows take all; beside tiles they may be the faster
 * only where queries fill no tile.
 */
export function waysFor(
  device: Pick<CudaDevice, "hasWarpgroups">,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
  hasGraphs: () => boolean,
): AttentionWay[] {
  const hasTiles = takesTiles(operands);
  const graph = takesGraph(operands, attrs) && hasGraphs() ? (["cuDNN"] as const) : [];
  const hopper = takesHopper(device, operands, attrs) ? (["hopper"] as const) : [];
  // Backward, cuDNN's form that adds in one order keeps gradients of scores in memory and takes longer (`attention-speed`).
  return [
    ...(operands.delta === undefined ? [...graph, ...hopper] : [...hopper, ...graph]),
    ...(hasTiles ? (["tiles"] as const) : []),
    ...(!hasTiles || sizesOf(operands).t < TILE ? (["rows"] as const) : []),
  ];
}

/** Names a problem: what the ways that take it follow from, and what their times do. */
function nameProblem(operands: AttentionOperands, { isCausal, window }: AttentionAttrs): string {
  const { batch, heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const shared = keyHeads === heads ? "" : ` on ${keyHeads}`;
  const width = d === e ? `${d}` : `${d} to ${e}`;
  const mask = `${isCausal ? " causal" : ""}${window === undefined ? "" : ` window ${window}`}`;
  return `${operands.q.dtype} batch ${batch} heads ${heads}${shared} ${t}x${s} of ${width}${mask}`;
}

/** Runs attention the way that the table names, or the first that takes it. */
export function runAttention(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { attention, choices } = device;
  const taking = waysFor(device, operands, attrs, () => !("missing" in attention.state));
  const hasGraph = taking.includes("cuDNN");
  const kernels = [...taking, ...(hasGraph ? otherPlans : [])];
  const op = operands.delta === undefined ? "attention" : "attentionBackward";
  const problem = `${nameProblem(operands, attrs)}${hasGraph ? nameGraph(attention.state, operands) : ""}`;
  const chosen = choices.choose(op, problem, kernels, (way) => measure(device, attentionWays[way]!, operands, attrs));
  if (attentionWays[chosen]!(device, operands, attrs)) return;
  // The library has no engine for these strides: the first of our own.
  taking.filter((way) => way !== chosen).some((way) => attentionWays[way]!(device, operands, attrs));
}

/** What the library's plans follow from besides: its version, and how operands lie. */
function nameGraph(state: LibraryState, operands: AttentionOperands): string {
  const steps = viewNames.flatMap((name) => operands[name]?.strides.slice(0, 3) ?? []);
  return `, cuDNN ${"missing" in state ? 0 : state.version} [${steps.join(" ")}]`;
}

const viewNames = ["q", "k", "v", "o", "g", "out", "dq", "dk", "dv"] as const;

/** The time of a way on numbers of its own, which lie as the operands do; undefined where it refuses. */
function measure(
  device: CudaDevice,
  run: RunWay,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
): number | undefined {
  const views = viewNames.flatMap((name) => {
    const view = operands[name];
    return view === undefined ? [] : [{ name, view }];
  });
  const { batch, heads, t } = sizesOf(operands);
  const statistics = batch * heads * t * (operands.q.dtype === "f64" ? 8 : 4);
  return withScratch(device, [...views.map(({ view }) => spanOf(view)), statistics, statistics], (addresses) => {
    const placed = views.map(({ name, view }, i) => [name, place(view, addresses[i]!)] as const);
    const [lse, delta] = addresses.slice(-2) as [number, number];
    const own = {
      ...(Object.fromEntries(placed) as unknown as Omit<AttentionOperands, "lse" | "delta">),
      ...{ lse, ...(operands.delta === undefined ? {} : { delta }) },
    };
    return run(device, own, attrs) ? timeOnDevice(device, () => void run(device, own, attrs)) : undefined;
  });
}

const place = (view: CudaView, address: number): CudaView => ({
  ...view,
  ...{ strides: view.strides.map(Math.abs), offset: 0, data: { address, bytes: spanOf(view) } },
});

/** Bytes from a view's first element to its last. */
const spanOf = ({ shape, strides, dtype }: CudaView): number =>
  dtypes[dtype].bytes * shape.reduce((n, size, axis) => n + (size - 1) * Math.abs(strides[axis]!), 1);
