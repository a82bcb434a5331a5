import { type ChartPoint, formatBytes, formatCount, type LineChart } from "@revnet-zero/plot";
import { mountCard } from "../card.ts";
import { LiveChart } from "../chart.ts";
import { calmly, part, showFacts } from "../dom.ts";

/** Bits a byte of the batches jump about: the line is their running mean. */
const SMOOTH = 0.8;
const ANSWER_BYTES = 240;

const empty: LineChart = {
  title: "Loss while training",
  xLabel: "step",
  yLabel: "bits per byte",
  series: [
    { name: "training", points: [], color: 1 },
    { name: "text it has not seen", points: [], color: 2 },
  ],
  yFrom: 2,
  formatY: (bits) => bits.toFixed(2),
};

export function mountLanguageModel(section: HTMLElement): void {
  const chart = new LiveChart(part(section, "loss"), empty, 300);
  const facts = calmly<Readonly<Record<string, string>>>((values) => showFacts(part(section, "facts"), values), 200);
  const [sample, writtenAt, answer] = [part(section, "sample"), part(section, "written-at"), part(section, "answer")];
  const form = part<HTMLFormElement>(section, "ask");
  const askButton = form.querySelector("button")!;
  let [raw, smooth, heldOut]: ChartPoint[][] = [[], [], []];
  let [parameters, steps, bigramBits] = [0, 0, 0];

  const show = (): void =>
    chart.show({
      series: [
        { name: "each batch", points: raw!, color: 1, isFaint: true },
        { name: "training", points: smooth!, color: 1 },
        { name: "text it has not seen", points: heldOut!, color: 2 },
      ],
      referenceLines: bigramBits === 0 ? [] : [{ name: "counting pairs", y: bigramBits }],
    });

  const { runner, progress } = mountCard(section, "languageModel", {
    settings: (values) => ({
      layers: Number(values.get("layers")),
      width: Number(values.get("width")),
      steps: Number(values.get("steps")),
      isReversible: values.has("isReversible"),
    }),
    onStart() {
      [raw, smooth, heldOut, bigramBits] = [[], [], [], 0];
      sample.textContent = "Not yet…";
      writtenAt.textContent = "";
      answer.hidden = true;
      showFacts(part(section, "facts"), {});
      show();
    },
    onEvent(event) {
      if (event.kind === "begun") ({ parameters, steps, bigramBits } = event);
      else if (event.kind === "step") {
        const before = smooth!.at(-1)?.y ?? event.bits;
        raw!.push({ x: event.step, y: event.bits });
        smooth!.push({ x: event.step, y: SMOOTH * before + (1 - SMOOTH) * event.bits });
        progress(event.step, steps, "step");
        facts({
          Parameters: formatCount(parameters),
          "Bytes a second": formatCount(event.tokensPerSecond),
          "Activations at most": formatBytes(event.activationBytes),
          "Memory at most": formatBytes(event.peakBytes),
        });
      } else if (event.kind === "heldOut") heldOut!.push({ x: event.step, y: event.bits });
      else if (event.kind === "sample") {
        writtenAt.textContent = `after ${event.step} steps`;
        sample.replaceChildren(prompt(event.prompt), event.text);
      } else answer.replaceChildren(prompt(event.prompt), event.text);
      show();
    },
    onDone: () => {
      askButton.disabled = false;
    },
    onEnd: () => {
      askButton.disabled = true;
    },
    onAnswered: () => {
      askButton.disabled = false;
    },
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (askButton.disabled) return;
    const values = new FormData(form);
    askButton.disabled = true;
    answer.hidden = false;
    const temperature = Number(values.get("temperature"));
    runner.ask({ prompt: String(values.get("prompt")), length: ANSWER_BYTES, temperature });
  });
}

function prompt(text: string): HTMLElement {
  const mark = document.createElement("mark");
  mark.textContent = text;
  return mark;
}
