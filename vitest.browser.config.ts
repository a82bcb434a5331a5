import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

// Tests that run inside a browser: `npm run test:browser`. WebGL and WebGPU are computed in software (SwiftShader), so that no GPU is
// needed: what is right is tested, not what is fast.

const { PATH = "" } = process.env;
const chromium = PATH.split(delimiter)
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));
if (chromium === undefined) throw new Error("no Chromium on the PATH: apt-get install chromium");

const software = [
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
];
const quiet = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export default defineConfig(({ mode }) => ({
  resolve: { conditions: ["@revnet-zero/source", "browser", "module"] },
  optimizeDeps: { include: ["gpu.js", "fast-check"] },
  test: {
    include: [
      mode === "deep" ? "{packages/*,bench}/test/**/*.browser.deep.ts" : "{packages/*,bench}/test/**/*.browser.ts",
    ],
    fileParallelism: false,
    testTimeout: mode === "deep" ? 1_200_000 : 120_000,
    hookTimeout: 120_000,
    reporters: ["default", "./packages/tooling/src/closing-line.ts"],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: { executablePath: chromium, args: [...software, ...quiet] } }),
      instances: [{ browser: "chromium" }],
    },
  },
}));
