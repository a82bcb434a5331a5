import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { chromiumPath } from "../../chromium.ts";

/** WebGL in software, so that no GPU is needed. */
const softwareRendering = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];

export const launch = (args: readonly string[] = []): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumPath!, args: ["--no-sandbox", ...softwareRendering, ...args] });

/** Where screenshots are kept for people to look at: ignored by git, kept by CI. */
export function screenshotPath(name: string): string {
  const folder = fileURLToPath(new URL("../../../runs/gallery/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  return join(folder, `${name}.png`);
}

export interface Look {
  readonly scheme: "light" | "dark";
  readonly width: number;
}
export const looks: readonly Look[] = [
  { scheme: "light", width: 1280 },
  { scheme: "dark", width: 1280 },
  { scheme: "light", width: 390 },
  { scheme: "dark", width: 390 },
];

export interface OpenPage {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Addresses of all requests, of page and workers. */
  readonly requests: string[];
  /** What the page complained about. */
  readonly errors: string[];
}

/** The gallery, freshly opened. What it asks for of anybody else is noted and refused. */
export async function open(browser: Browser, url: string, { scheme, width }: Look = looks[0]!): Promise<OpenPage> {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    reducedMotion: "reduce",
  });
  const [requests, errors]: [string[], string[]] = [[], []];
  context.on("request", (request) => void requests.push(request.url()));
  const page = await context.newPage();
  page.on("pageerror", ({ message }) => void errors.push(message));
  page.on("console", (message) => void (message.type() === "error" && errors.push(message.text())));
  await page.goto(url);
  return { page, context, requests, errors };
}

/** Sets a section's fields, presses its button and waits for the end. */
export async function run(
  page: Page,
  id: string,
  fields: Readonly<Record<string, string | boolean>> = {},
): Promise<void> {
  await set(page, id, fields);
  await page.click(`#${id} .primary`);
  await reach(page, id, "done");
}

export async function set(page: Page, id: string, fields: Readonly<Record<string, string | boolean>>): Promise<void> {
  for (const [name, value] of Object.entries(fields)) {
    const field = page.locator(`#${id} .about [name="${name}"]`);
    if (typeof value === "boolean") await field.setChecked(value);
    else await field.selectOption(value);
  }
}

/** Waits for a state; an unexpected failure is reported in its own words. */
export async function reach(page: Page, id: string, state: string): Promise<void> {
  const section = page.locator(`#${id}`);
  await page.waitForFunction(
    ([id, state]) => ["failed", state].includes(document.getElementById(id!)!.dataset.state ?? ""),
    [id, state] as const,
    { timeout: 120_000 },
  );
  const found = await section.getAttribute("data-state");
  if (found !== state) throw new Error(`${id} is ${found}: ${await section.locator(".problem").textContent()}`);
}
