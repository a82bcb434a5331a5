import { formatBytes, type LineChart } from "@revnet-zero/plot";
import type { MemoryMode, MemoryPoint } from "../../work/demos/memory.ts";
import { mountCard } from "../card.ts";
import { LiveChart } from "../chart.ts";
import { element, part } from "../dom.ts";

const DEPTHS = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64];

const empty: LineChart = {
  title: "Memory of a training step against depth",
  xLabel: "layers",
  yLabel: "bytes at most",
  series: [
    { name: "stored", points: [], color: 2 },
    { name: "rebuilt", points: [], color: 1 },
  ],
  yFrom: 0,
  yBase: "binary",
  formatX: String,
  formatY: formatBytes,
};

type Measure = "activationBytes" | "peakBytes";

export function mountMemory(section: HTMLElement): void {
  const chart = new LiveChart(part(section, "chart"), empty, 320);
  const [rows, verdict] = [part(section, "rows"), part(section, "verdict")];
  const shown = section.querySelector<HTMLSelectElement>('[name="shown"]')!;
  let points: MemoryPoint[] = [];
  let limitBytes = 0;
  let deepest = 0;
  const at = (depth: number, mode: MemoryMode): MemoryPoint | undefined =>
    points.find((point) => point.depth === depth && point.mode === mode);

  function show(): void {
    const measure = shown.value as Measure;
    const line = (mode: MemoryMode) =>
      points
        .filter((point) => point.mode === mode)
        .map((point) => ({ x: point.depth, y: point[measure] ?? Number.NaN }));
    chart.show({
      series: [
        { name: "stored", points: line("store"), color: 2 },
        { name: "rebuilt", points: line("exact"), color: 1 },
      ],
      referenceLines:
        limitBytes > 0 && measure === "peakBytes" ? [{ name: "memory of the device", y: limitBytes }] : [],
    });
    rows.replaceChildren(...[...new Set(points.map(({ depth }) => depth))].map((depth) => row(depth, measure)));
  }

  function row(depth: number, measure: Measure): HTMLElement {
    const [stored, rebuilt] = [at(depth, "store"), at(depth, "exact")];
    const ratio =
      stored?.[measure] === undefined || rebuilt?.[measure] === undefined ? "" : ratioOf(stored, rebuilt, measure);
    const cells = [stored, rebuilt].map((point) => element("td", { textContent: bytesOf(point, measure) }));
    return element(
      "tr",
      {},
      element("th", { scope: "row", textContent: String(depth) }),
      ...cells,
      element("td", { textContent: ratio }),
    );
  }

  function conclude(): void {
    const stored = points.findLast(({ mode, activationBytes }) => mode === "store" && activationBytes !== undefined);
    const rebuilt = points.filter(({ mode }) => mode === "exact");
    const last = rebuilt.at(-1);
    if (stored === undefined || last?.activationBytes === undefined) return;
    const flatFrom = rebuilt.find(({ activationBytes }) => activationBytes === last.activationBytes)!.depth;
    const most = formatBytes(last.activationBytes);
    const ending = flatFrom < last.depth ? `${most} from ${flatFrom} layers on, the same to the byte` : most;
    const room = stored.depth < last.depth ? `Stored activations did not fit beyond ${stored.depth} layers. ` : "";
    verdict.textContent = `${room}Rebuilt ones take ${ending}; stored ones took ${formatBytes(stored.activationBytes!)} at ${stored.depth}.`;
  }

  const { progress } = mountCard(section, "memory", {
    settings(values) {
      deepest = Number(values.get("deepest"));
      limitBytes = Number(values.get("limit")) * 2 ** 20;
      return { depths: DEPTHS.filter((depth) => depth <= deepest), width: Number(values.get("width")), limitBytes };
    },
    onStart() {
      points = [];
      verdict.textContent = "";
      show();
    },
    onEvent(point) {
      points.push(point);
      progress(points.length, 2 * DEPTHS.filter((depth) => depth <= deepest).length, "measurement");
      show();
    },
    onDone: conclude,
  });
  shown.addEventListener("change", show);
}

const bytesOf = (point: MemoryPoint | undefined, measure: Measure): string =>
  point === undefined ? "…" : point[measure] === undefined ? "does not fit" : formatBytes(point[measure]);

const ratioOf = (stored: MemoryPoint, rebuilt: MemoryPoint, measure: Measure): string =>
  `${(stored[measure]! / rebuilt[measure]!).toFixed(1)} ×`;
