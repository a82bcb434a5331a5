import { formatBytes, groupDigits } from "@revnet-zero/plot";
import { mountCard } from "../card.ts";
import { element, part, prefersLittleMotion } from "../dom.ts";
import { drawSeascape } from "../seascape.ts";

const SIDE = 96;
/** Milliseconds that each frame stays, so that it can be seen; none for those who want no motion. */
const FRAME_MS = prefersLittleMotion() ? 0 : 90;

export function mountPicture(section: HTMLElement): void {
  const canvas = (name: string): CanvasRenderingContext2D =>
    part<HTMLCanvasElement>(section, name).getContext("2d", { willReadFrequently: true })!;
  const [input, now, output, difference] = [canvas("in"), canvas("now"), canvas("out"), canvas("difference")];
  const [strip, verdict, caption] = [part(section, "strip"), part(section, "verdict"), part(section, "now-caption")];
  const file = section.querySelector<HTMLInputElement>('[name="file"]')!;
  drawSeascape(input, SIDE);
  let blocks = 0;
  let mode: "exact" | "float" = "exact";
  /** What arrives is shown one after another. */
  let shown: Promise<void> = Promise.resolve();
  let run = 0;

  const put = (context: CanvasRenderingContext2D, pixels: Uint8ClampedArray<ArrayBuffer>): void =>
    context.putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
  const queue = (show: () => void): void => {
    const mine = run;
    shown = shown.then(async () => {
      if (mine !== run) return;
      show();
      if (FRAME_MS > 0) await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
    });
  };
  const clear = (): void => {
    run++;
    for (const context of [now, output, difference]) context.clearRect(0, 0, SIDE, SIDE);
    strip.replaceChildren();
    verdict.textContent = "";
    verdict.classList.remove("good", "bad");
    caption.textContent = "All that is kept";
  };

  file.addEventListener("change", async () => {
    const [chosen] = file.files ?? [];
    if (chosen === undefined) return;
    clear();
    try {
      const bitmap = await createImageBitmap(chosen);
      const side = Math.min(bitmap.width, bitmap.height);
      const [x, y] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
      input.drawImage(bitmap, x, y, side, side, 0, 0, SIDE, SIDE);
      bitmap.close();
    } catch {
      verdict.classList.add("bad");
      verdict.textContent = `“${chosen.name}” is no picture this browser can read. Choose a PNG or JPEG file.`;
    }
  });

  const { progress } = mountCard(section, "picture", {
    settings(values) {
      blocks = Number(values.get("blocks"));
      mode = values.get("mode") as "exact" | "float";
      return { pixels: input.getImageData(0, 0, SIDE, SIDE).data, side: SIDE, blocks, mode };
    },
    onStart: clear,
    onEvent(event) {
      if (event.kind === "frame") {
        queue(() => {
          const isForward = event.direction === "forward";
          put(isForward ? now : output, event.pixels);
          caption.textContent = `All that is kept, after ${isForward ? event.block : blocks} blocks`;
          const frame = element("canvas", {
            width: SIDE,
            height: SIDE,
            title: `${isForward ? "forward" : "back"}, ${event.block} blocks`,
          });
          put(frame.getContext("2d")!, event.pixels);
          strip.append(frame);
          strip.scrollLeft = strip.scrollWidth;
          progress(isForward ? event.block : 2 * blocks - event.block, 2 * blocks, "block");
        });
      } else if (event.kind === "compared") {
        queue(() => {
          put(difference, event.pixels);
          const isEqual = event.different === 0;
          verdict.classList.add(isEqual ? "good" : "bad");
          verdict.textContent = isEqual
            ? `Difference 0: all ${groupDigits(event.values)} values came back bit for bit.`
            : `${groupDigits(event.different)} of ${groupDigits(event.values)} values came back otherwise, by up to ${groupDigits(Math.round(event.largest))} × 2⁻²⁴. You would not see it; a proof does.`;
        });
      } else {
        queue(() => {
          verdict.textContent += ` A training step of these blocks holds ${formatBytes(event.keptBytes)} of activations, ${formatBytes(event.storedBytes)} if they are stored.`;
        });
      }
    },
    onEnd: () => {
      run++;
    },
  });
}
