import { type ChartPoint, formatBytes, type LineChart } from "@revnet-zero/plot";
import type { TargetName } from "../../work/demos/targets.ts";
import { mountCard } from "../card.ts";
import { LiveChart } from "../chart.ts";
import { colourMap } from "../colourMap.ts";
import { calmly, part, prefersLittleMotion, showFacts } from "../dom.ts";

const empty: LineChart = {
  title: "Negative log-likelihood",
  xLabel: "step",
  yLabel: "nats per point",
  series: [{ name: "loss", points: [], color: 1 }],
  formatY: (nats) => nats.toFixed(2),
};
const SMOOTH = 0.95;
/** Milliseconds between pictures; seldom for those who want little motion. */
const PICTURE_MS = prefersLittleMotion() ? 2000 : 80;

export function mountDensity(section: HTMLElement): void {
  const chart = new LiveChart(part(section, "loss"), empty, 180);
  const facts = calmly<Readonly<Record<string, string>>>((values) => showFacts(part(section, "facts"), values), 200);
  const heat = part<HTMLCanvasElement>(section, "density").getContext("2d")!;
  const dots = part<HTMLCanvasElement>(section, "points").getContext("2d")!;
  const caption = part(section, "points-caption");
  let [raw, smooth]: ChartPoint[][] = [[], []];
  let [steps, halfWidth] = [0, 2.4];

  function drawDots(points: Float32Array, variable: string): void {
    const { width } = dots.canvas;
    dots.clearRect(0, 0, width, width);
    dots.fillStyle = getComputedStyle(section).getPropertyValue(variable);
    const place = (v: number): number => ((v / halfWidth + 1) / 2) * width;
    dots.globalAlpha = 0.6;
    for (let i = 0; i < points.length; i += 2) {
      dots.beginPath();
      dots.arc(place(points[i]!), place(-points[i + 1]!), 2.2, 0, 7);
      dots.fill();
    }
  }

  const drawHeat = calmly<{ readonly cells: number; readonly values: Float32Array }>(({ cells, values }) => {
    const most = values.reduce((a, b) => Math.max(a, b), 1e-9);
    const small = new OffscreenCanvas(cells, cells);
    const image = new ImageData(cells, cells);
    // The square root shows thin parts too.
    for (let i = 0; i < values.length; i++) image.data.set([...colourMap(Math.sqrt(values[i]! / most)), 255], 4 * i);
    small.getContext("2d")!.putImageData(image, 0, 0);
    heat.imageSmoothingEnabled = true;
    heat.drawImage(small, 0, 0, heat.canvas.width, heat.canvas.height);
  }, PICTURE_MS);

  const { progress } = mountCard(section, "density", {
    settings(values) {
      steps = Number(values.get("steps"));
      return { target: values.get("target") as TargetName, couplings: Number(values.get("couplings")), steps };
    },
    onStart() {
      [raw, smooth] = [[], []];
      caption.textContent = "Points it is shown";
      heat.clearRect(0, 0, heat.canvas.width, heat.canvas.height);
      showFacts(part(section, "facts"), {});
    },
    onEvent(event) {
      if (event.kind === "data") drawDots(event.points, "--s2");
      else if (event.kind === "density") {
        halfWidth = event.halfWidth;
        drawHeat(event);
      } else if (event.kind === "samples") {
        drawDots(event.points, "--s1");
        caption.textContent = "Points it has drawn itself";
      } else if (event.kind === "checked") {
        facts({
          "Integral of the density": event.mass.toFixed(4),
          "Rebuilt inputs off by, relative": event.drift.toExponential(1),
        });
      } else {
        const before = smooth!.at(-1)?.y ?? event.nats;
        raw!.push({ x: event.step, y: event.nats });
        smooth!.push({ x: event.step, y: SMOOTH * before + (1 - SMOOTH) * event.nats });
        progress(event.step, steps, "step");
        facts({ "Nats per point": event.nats.toFixed(3), "Activations at most": formatBytes(event.activationBytes) });
        chart.show({
          series: [
            { name: "each batch", points: raw!, color: 1, isFaint: true },
            { name: "loss", points: smooth!, color: 1 },
          ],
        });
      }
    },
  });
}
