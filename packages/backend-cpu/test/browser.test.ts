import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { CpuBackend } from "../src/index.ts";
import { digest } from "./browser/digest.ts";

const { PATH = "" } = process.env;
const browser = PATH.split(delimiter)
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

interface Found {
  readonly tier: string;
  readonly arithmetic: string;
  readonly threads: number;
  readonly alone: string;
  readonly together: { readonly ready: boolean; readonly digest: string };
}

/** Ends the browser with all its processes, which would go on writing to its profile. */
async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  process.kill(-child.pid, "SIGKILL");
  await ended;
}

/** What the page finds; with shared memory only where it is isolated from other origins. */
async function openPage(isIsolated: boolean): Promise<Found> {
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL("./browser/page.ts", import.meta.url))],
    ...{ bundle: true, write: false, format: "esm", target: "es2022", conditions: ["@revnet-zero/source"] },
  });
  const script = bundle.outputFiles[0]!.text;
  const profile = mkdtempSync(join(tmpdir(), "revnet-browser-"));
  let resolve: (found: Found) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const answer = new Promise<Found>((answered, failed) => {
    [resolve, reject] = [answered, failed];
  });
  const server = createServer((request, response) => {
    if (isIsolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    if (request.method === "POST") {
      let text = "";
      request.on("data", (part) => {
        text += part;
      });
      request.on("end", () => {
        response.end();
        resolve(JSON.parse(text) as Found);
      });
    } else if (request.url === "/page.js") response.setHeader("Content-Type", "text/javascript").end(script);
    else response.setHeader("Content-Type", "text/html").end('<script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  const flags = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    `--user-data-dir=${profile}`,
  ];
  const child = spawn(browser!, [...flags, `http://127.0.0.1:${port}/`], { stdio: "ignore", detached: true });
  child.on("error", reject);
  child.on("exit", (code) => reject(new Error(`${browser} ended with exit code ${code} before the page had answered`)));
  try {
    return await answer;
  } finally {
    server.close();
    await end(child);
    await rm(profile, { recursive: true, force: true, maxRetries: 30, retryDelay: 100 });
  }
}

const skip = browser === undefined ? "no chromium, chromium-browser or google-chrome on the PATH" : undefined;

describe("in a browser", () => {
  const expected = digest(new CpuBackend({ tier: "relaxed", threads: 1 }));

  test("an isolated page computes at once, then on all threads, the bits of Node", {
    timeout: 60_000,
  }, async (context) => {
    if (skip !== undefined) context.skip(skip);
    expect(await openPage(true)).toEqual({
      tier: "relaxed",
      arithmetic: "float32 in fixed order, multiply-add fused",
      threads: 3,
      alone: expected,
      together: { ready: true, digest: expected },
    });
  });

  test("a page without shared memory computes on one thread, with the same bits", {
    timeout: 60_000,
  }, async (context) => {
    if (skip !== undefined) context.skip(skip);
    const { tier, threads, together } = await openPage(false);
    expect({ tier, threads, digest: together.digest }).toEqual({ tier: "relaxed", threads: 1, digest: expected });
  });
});
