import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { chromiumPath, noChromium } from "../../chromium.ts";
import { buildGallery, serveGallery } from "../site.ts";
import { launch, looks, type OpenPage, open, reach, run, screenshotPath, set } from "./browser.ts";

let [isolated, plain]: (PreviewServer | undefined)[] = [];
let browser: Browser | undefined;
let opened: OpenPage | undefined;

const urlOf = (server: PreviewServer | undefined): string => server!.resolvedUrls!.local[0]!;

beforeAll(async () => {
  if (chromiumPath === undefined) return;
  await buildGallery();
  [isolated, plain] = await Promise.all([serveGallery({ port: 0 }), serveGallery({ port: 0, isIsolated: false })]);
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  await Promise.all([isolated?.close(), plain?.close()]);
});
beforeEach(async (context) => {
  if (chromiumPath === undefined) context.skip(noChromium);
  await opened?.context.close();
  opened = await open(browser!, urlOf(isolated));
});

const text = async (selector: string): Promise<string> => (await opened!.page.locator(selector).textContent()) ?? "";
const number = (words: string): number => Number(words.replace(/[^\d.]/g, ""));

describe("each demonstration", () => {
  test("trains a language model that learns, writes, and continues a sentence", async () => {
    const { page, errors } = opened!;
    await run(page, "language-model", { layers: "2", width: "32", steps: "40" });
    const legend = await text("#language-model .legend");
    expect(number(/has not seen ([\d.]+)/.exec(legend)![1]!)).toBeLessThan(5);
    expect((await text('#language-model [data-part="sample"]')).length).toBeGreaterThan(100);
    await page.fill('#language-model [name="prompt"]', "Call me ");
    await page.click("#language-model .ask button");
    await page.waitForFunction(() => (document.querySelector('[data-part="answer"]')?.textContent ?? "").length > 200);
    expect(await text('[data-part="answer"]')).toMatch(/^Call me /);
    expect(errors).toEqual([]);
  });

  test("shows that rebuilt activations take the same bytes at every depth, and that stored ones do not fit", async () => {
    await run(opened!.page, "memory", { deepest: "16", limit: "16" });
    expect(await text('#memory [data-part="verdict"]')).toMatch(/did not fit beyond \d+ layers.*the same to the byte/s);
    const rows = await opened!.page.locator("#memory tbody tr").allInnerTexts();
    expect(rows).toHaveLength(6);
    expect(rows.at(-1)).toMatch(/does not fit/);
    const rebuilt = rows.slice(1).map((row) => row.split("\t")[2]);
    expect(new Set(rebuilt).size).toBe(1);
  });

  test("finds all bits equal on integer streams", async () => {
    for (const mode of ["exact", "exact16"]) {
      await run(opened!.page, "exactness", { mode, layers: "2", precision: "bf16", dropout: "0.5" });
      expect(await text('#exactness [data-part="verdict"]')).toMatch(/^All [\d\u202f]+ numbers have the same bits/);
    }
  });

  test("finds all bits equal on gpu.js too", async () => {
    await opened!.page.selectOption("#backend", "webgl2");
    await run(opened!.page, "exactness", { layers: "2" });
    expect(await text('#exactness [data-part="verdict"]')).toMatch(/^All/);
    expect(await text("#engine-facts")).toMatch(/gpu\.js/);
  });

  test("finds a planted error, and the drift of floats", async () => {
    await run(opened!.page, "exactness", { layers: "2", plantsError: true });
    expect(await text('#exactness [data-part="verdict"]')).toMatch(/^\d+ of \d+ tensors differ/);
    await run(opened!.page, "exactness", { layers: "2", plantsError: false, mode: "float" });
    expect(await text('#exactness [data-part="verdict"]')).toMatch(/^\d+ of \d+ tensors differ/);
    await opened!.page.focus("#exactness .tiles .different");
    expect(await text('#exactness [data-part="detail"]')).toMatch(/relative error/);
  });

  test("loses a picture and gets it back, bit for bit on the grid and not in floats", async () => {
    const { page } = opened!;
    const verdict = page.locator('#picture [data-part="verdict"]');
    await run(page, "picture", { blocks: "4" });
    await verdict.filter({ hasText: "if they are stored" }).waitFor();
    expect(await verdict.textContent()).toMatch(/^Difference 0: all/);
    const pixels = (part: string): Promise<string> =>
      page.evaluate((name) => document.querySelector<HTMLCanvasElement>(`[data-part="${name}"]`)!.toDataURL(), part);
    expect(await pixels("out")).toBe(await pixels("in"));
    expect(await pixels("now")).not.toBe(await pixels("in"));
    await run(page, "picture", { mode: "float" });
    await verdict.filter({ hasText: "if they are stored" }).waitFor();
    expect(await verdict.textContent()).toMatch(/came back otherwise/);
  });

  test("learns a density whose integral is 1", async () => {
    await run(opened!.page, "density", { steps: "60", couplings: "4", target: "whale" });
    await opened!.page.locator("#density .facts", { hasText: "Integral" }).waitFor();
    const integral = /Integral of the density([\d.]+)/.exec(await text("#density .facts"))![1]!;
    expect(Math.abs(Number(integral) - 1)).toBeLessThan(0.01);
  });
});

describe("by keyboard", () => {
  test("runs, pauses, resumes and cancels, and the focus never gets lost", async () => {
    const { page } = opened!;
    const step = async (): Promise<number> => Number(/step (\d+)/.exec(await text("#language-model .count"))?.[1] ?? 0);
    await set(page, "language-model", { steps: "5000" });
    await page.focus("#language-model .primary");
    await page.keyboard.press("Enter");
    await reach(page, "language-model", "running");
    await page.waitForFunction(() => /step [1-9]/.test(document.querySelector("#language-model .count")!.textContent));
    await page.keyboard.press("Enter");
    await reach(page, "language-model", "paused");
    await page.waitForTimeout(300);
    const before = await step();
    await page.waitForTimeout(500);
    expect(await step()).toBe(before);
    await page.keyboard.press("Enter");
    await reach(page, "language-model", "running");
    await page.waitForFunction(
      (n) => Number(/step (\d+)/.exec(document.querySelector("#language-model .count")!.textContent)?.[1]) > n,
      before,
    );
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await reach(page, "language-model", "cancelled");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Run again");
  });

  test("reaches every control, each with a name and a visible focus", async () => {
    const { page } = opened!;
    const seen = new Set<string>();
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      const found = await page.evaluate(() => {
        const on = document.activeElement as HTMLElement;
        const label = (on as HTMLInputElement).labels?.[0]?.textContent ?? on.textContent ?? "";
        const { outlineStyle, outlineWidth } = getComputedStyle(on);
        const section = on.closest("section, nav")?.id ?? "";
        return {
          key: `${section} ${on.tagName} ${label.trim()}`,
          isVisible: outlineStyle !== "none" && outlineWidth !== "0px",
          label,
        };
      });
      if (found.key.includes("BODY")) break;
      expect(found, found.key).toMatchObject({ isVisible: true, label: expect.stringMatching(/\S/) });
      seen.add(found.key);
    }
    for (const id of ["language-model", "memory", "exactness", "picture", "density"])
      expect([...seen]).toContain(`${id} BUTTON Run`);
  });
});

test("one demonstration computes at a time: starting a second pauses the first", async () => {
  const { page } = opened!;
  await set(page, "language-model", { steps: "5000" });
  await page.click("#language-model .primary");
  await reach(page, "language-model", "running");
  await run(page, "exactness", { layers: "2" });
  expect(await page.getAttribute("#language-model", "data-state")).toBe("paused");
  await page.click("#language-model .primary");
  await reach(page, "language-model", "running");
});

describe("privacy", () => {
  test("nothing is asked of anybody but the page's own server, by page or workers", async () => {
    const { page, requests, errors } = opened!;
    await run(page, "language-model", { layers: "2", width: "32", steps: "40" });
    await run(page, "picture", { blocks: "4" });
    await run(page, "density", { steps: "60", couplings: "4" });
    const own = new URL(urlOf(isolated)).origin;
    // The workers' own requests are among them, or this would prove little.
    expect(requests.some((url) => url.endsWith("/moby-dick.txt"))).toBe(true);
    expect(requests.filter((url) => !/^(blob|data):/.test(url) && new URL(url).origin !== own)).toEqual([]);
    expect(errors).toEqual([]);
    expect(await page.context().cookies()).toEqual([]);
  });

  test("and the policy it is served with would refuse it", async () => {
    const { page } = opened!;
    const refused = await page.evaluate(() =>
      fetch("http://127.0.0.1:9/").then(String, (error: Error) => error.message),
    );
    expect(refused).toMatch(/Failed to fetch/);
    expect(opened!.errors.join()).toMatch(/Content Security Policy/);
  });
});

describe("where something is missing", () => {
  test("without isolation it says so and computes on one thread, the same bits", async () => {
    opened = await open(browser!, urlOf(plain));
    const { page } = opened;
    expect(await text("#engine-note")).toMatch(/without cross-origin isolation/);
    await run(page, "exactness", { layers: "2" });
    expect(await text('#exactness [data-part="verdict"]')).toMatch(/^All/);
    expect(await text("#engine-facts")).toMatch(/Threads1/);
  });

  test("a text that does not load is an error that says what to do, and can be tried again", async () => {
    const { page, context } = opened!;
    await context.route("**/moby-dick.txt", (route) => route.fulfill({ status: 404 }));
    await set(page, "language-model", { layers: "2", width: "32", steps: "40" });
    await page.click("#language-model .primary");
    await reach(page, "language-model", "failed");
    expect(await text("#language-model .problem")).toMatch(/did not load: 404[\s\S]*What to do/);
    await context.unroute("**/moby-dick.txt");
    await run(page, "language-model");
    expect(await page.locator("#language-model .problem").isVisible()).toBe(false);
  });

  test("a browser without WebGL and WebGPU says so, and the CPU still computes", async () => {
    const blind = await launch(["--disable-gpu", "--disable-software-rasterizer"]);
    try {
      const { page } = await open(blind, urlOf(isolated));
      await page.selectOption("#backend", "webgpu");
      await page.click("#exactness .primary");
      await reach(page, "exactness", "failed");
      expect(await page.textContent("#exactness .problem")).toMatch(
        /webgpu is not available here.*choose another backend/s,
      );
      await page.selectOption("#backend", "webgl2");
      await page.click("#exactness .primary");
      await page.locator("#exactness .problem", { hasText: "webgl2" }).waitFor();
      await reach(page, "exactness", "failed");
      expect(await page.textContent("#exactness .problem")).toMatch(
        /webgl2 is not available here.*choose another backend/s,
      );
      await page.selectOption("#backend", "cpu");
      await run(page, "exactness", { layers: "2" });
    } finally {
      await blind.close();
    }
  });

  test("a lost WebGL context is an error that says so", async () => {
    const crashing = await launch();
    try {
      const { page } = await open(crashing, urlOf(isolated));
      await page.selectOption("#backend", "webgl2");
      await set(page, "picture", { blocks: "32" });
      await page.click("#picture .primary");
      await page.locator("#picture .strip canvas").first().waitFor();
      // Ends the process that draws, as a driver that is restarted does.
      const devtools = await crashing.newBrowserCDPSession();
      await devtools.send("Browser.crashGpuProcess");
      await reach(page, "picture", "failed");
      expect(await page.textContent("#picture .problem")).toMatch(/context was lost.*choose another backend/s);
    } finally {
      await crashing.close();
    }
  });

  test("memory that runs out is an error that says what to do, and a smaller model trains after it", async () => {
    const small = await launch(["--js-flags=--wasm-max-mem-pages=640"]);
    try {
      const { page } = await open(small, urlOf(isolated));
      await set(page, "language-model", { layers: "16", width: "128", steps: "40", isReversible: false });
      await page.click("#language-model .primary");
      await reach(page, "language-model", "failed");
      expect(await page.textContent("#language-model .problem")).toMatch(
        /^Out of memory.*What to do: choose fewer layers/s,
      );
      await run(page, "language-model", { layers: "2", width: "32" });
    } finally {
      await small.close();
    }
  });

  test("a file that is no picture is refused in words", async () => {
    const file = { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("not a picture") };
    await opened!.page.setInputFiles('#picture [name="file"]', file);
    await opened!.page.locator('#picture [data-part="verdict"].bad', { hasText: "notes.png" }).waitFor();
  });
});

describe("looks", () => {
  test.each(looks)("$scheme, $width pixels wide: nothing sticks out", async (look) => {
    opened = await open(browser!, urlOf(isolated), look);
    const { page, errors } = opened;
    await run(page, "language-model", { layers: "2", width: "32", steps: "40" });
    await run(page, "memory", { deepest: "16" });
    await run(page, "exactness", { layers: "6" });
    await run(page, "picture", { blocks: "12" });
    await run(page, "density", { steps: "60" });
    await page.locator('#picture [data-part="verdict"]', { hasText: "stored" }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(look.width);
    expect(await page.evaluate(() => getComputedStyle(document.querySelector(".pulse")!).display)).toBe("none");
    await page.screenshot({
      path: screenshotPath(`${look.scheme}-${look.width}`),
      fullPage: true,
      style: "nav { position: static }",
    });
    expect(errors).toEqual([]);
  });
});
