// A reversible transformer trains in a web page, and has the bits of the one that trains in Node, to the last weight.
// It opens a page on this machine; with --assert it opens it in a Chromium of its own. `npm run gallery` has the whole course live.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { CpuBackend, Engine } from "revnet-zero";
import { build } from "vite";
import { type Trained, train } from "./browser/training.ts";
import { chromiumPath, noChromium } from "./chromium.ts";
import { claim, isAssert } from "./claims.ts";

// -- in Node ------------------------------------------------------------------------------------------------------------
const inNode = await train(new Engine(new CpuBackend()), (step, loss) => {
  if (step % 10 === 0) console.log(`in Node, step ${step}: ${loss.toFixed(4)} nats`);
});
console.log(`bits of all weights: ${inNode.digest}; ${inNode.threads} threads, ${inNode.seconds.toFixed(1)} s\n`);

// -- as a page ------------------------------------------------------------------------------------------------------------
// The very same module, bundled: kernels are generated where they run, so no file has to be found.
const built = await build({
  configFile: false,
  logLevel: "error",
  resolve: { conditions: ["@revnet-zero/source", "module", "browser", "production"] },
  build: {
    write: false,
    target: "es2023",
    modulePreload: false,
    rollupOptions: { input: fileURLToPath(new URL("./browser/page.ts", import.meta.url)) },
  },
});
const [script] = [built].flat().flatMap((result) => ("output" in result ? result.output : []));
const code = script?.type === "chunk" ? script.code : "";
console.log(`the page's script has ${code.length} characters`);

const html = `<!doctype html><meta charset="utf-8"><title>A reversible transformer, training</title>
<h1>A reversible transformer, training</h1><pre></pre><script type="module" src="/page.js"></script>`;
const server = createServer((request, response) => {
  // Threads need shared memory, and that needs isolation from other origins.
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  const isScript = request.url === "/page.js";
  response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html").end(isScript ? code : html);
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

async function inChromium(executablePath: string): Promise<Trained> {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    const found = await page.waitForFunction(() => (globalThis as { trained?: Trained }).trained, null, {
      timeout: 120_000,
    });
    return (await found.jsonValue()) as Trained;
  } finally {
    await browser.close();
  }
}

if (isAssert) {
  const found = chromiumPath === undefined ? undefined : await inChromium(chromiumPath);
  server.close();
  if (found === undefined) {
    console.log(`!! ${noChromium}: the page was built and not opened`);
  } else {
    console.log(
      `in Chromium: ${found.digest}; ${found.threads} threads, ${found.seconds.toFixed(1)} s; ${found.arithmetic}`,
    );
  }
  // Where a processor lets only one of the two multiply and add in one rounding, bits differ, and the backends say so.
  const isComparable = found !== undefined && found.arithmetic === inNode.arithmetic;
  claim({
    "the model has learned its sentence": inNode.losses.at(-1)! < 0.6 * inNode.losses[0]!,
    "the page's script is whole": code.length > 50_000,
    ...(isComparable ? { "a browser trains the same bits as Node": found.digest === inNode.digest } : {}),
    ...(found === undefined
      ? {}
      : { "a browser learns as Node does": Math.abs(found.losses.at(-1)! - inNode.losses.at(-1)!) < 0.05 }),
  });
} else {
  console.log(`open ${url} and compare the bits; Ctrl+C ends this`);
}
