import { formatFigure, groupDigits } from "@revnet-zero/plot";
import type { ComparedTensor } from "../../work/demos/exactness.ts";
import { mountCard } from "../card.ts";
import { element, part } from "../dom.ts";

export function mountExactness(section: HTMLElement): void {
  const [verdict, tiles, detail] = [part(section, "verdict"), part(section, "tiles"), part(section, "detail")];
  let [count, compared]: [number, ComparedTensor[]] = [0, []];

  function showDetail({ group, name, elements, isEqual, relativeError, firstDifference }: ComparedTensor): void {
    const what = group === "streams" ? name : `gradient of ${name}`;
    const found = isEqual ? "all bits equal" : `relative error ${formatFigure(relativeError)}; ${firstDifference}`;
    detail.textContent = `${what}, ${groupDigits(elements)} numbers: ${found}`;
  }

  function conclude(): void {
    const numbers = groupDigits(compared.reduce((sum, { elements }) => sum + elements, 0));
    const unequal = compared.filter(({ isEqual }) => !isEqual);
    verdict.classList.toggle("good", unequal.length === 0);
    verdict.classList.toggle("bad", unequal.length > 0);
    verdict.textContent =
      unequal.length === 0
        ? `All ${numbers} numbers have the same bits.`
        : `${unequal.length} of ${compared.length} tensors differ: choose a tile to see how.`;
    if (unequal[0] !== undefined) showDetail(unequal[0]);
  }

  const { progress } = mountCard(section, "exactness", {
    settings: (values) => ({
      layers: Number(values.get("layers")),
      mode: values.get("mode") as "exact" | "exact16" | "float",
      dropout: Number(values.get("dropout")),
      precision: values.get("precision") as "f32" | "bf16",
      plantsError: values.has("plantsError"),
    }),
    onStart() {
      compared = [];
      tiles.replaceChildren();
      verdict.classList.remove("good", "bad");
      verdict.textContent = "Comparing…";
      detail.textContent = "";
    },
    onEvent(event) {
      if (event.kind === "tensors") {
        count = event.count;
        return;
      }
      compared.push(event);
      const word = event.isEqual ? "equal" : "different";
      const button = element("button", { type: "button", className: `${word} ${event.group}`, title: event.name });
      button.ariaLabel = `${event.name}: ${word}`;
      for (const moment of ["focus", "mouseenter", "click"] as const)
        button.addEventListener(moment, () => showDetail(event));
      tiles.append(element("li", {}, button));
      progress(compared.length, count, "tensor");
    },
    onDone: conclude,
    onEnd() {
      verdict.textContent = "Press Run: it takes about a second.";
    },
  });
}
