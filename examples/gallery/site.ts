import { fileURLToPath } from "node:url";
import { loadText } from "@revnet-zero/data";
import { build, type InlineConfig, type Plugin, type PreviewServer, preview } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** The novel as a file beside the page: the repository gets it from a package, the browser from its own server. */
const novel: Plugin = {
  name: "moby-dick",
  async buildStart() {
    const { bytes } = await loadText("moby-dick");
    this.emitFile({ type: "asset", fileName: "moby-dick.txt", source: bytes });
  },
};

// The page and its worker resolve packages to their sources, so nothing has to be built before.
const config: InlineConfig = {
  root,
  configFile: false,
  base: "./",
  // Warnings would be that readers of files, which the page does not use, have no place in a browser.
  logLevel: "error",
  resolve: { conditions: ["@revnet-zero/source", "module", "browser", "production"] },
  worker: { format: "es" },
  build: { outDir: "dist", emptyOutDir: true, target: "es2023" },
};

/** Writes the page as static files into `examples/gallery/dist`. */
export async function buildGallery(): Promise<void> {
  await build({ ...config, plugins: [novel] });
}

/** The policy forbids requests to anybody else. Kernels are made at run time, and threads start from blob: addresses. */
const policy = [
  "default-src 'self'",
  "script-src 'self' 'unsafe-eval' blob:",
  "worker-src 'self' blob:",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** Shared memory, and so threads, need isolation from other origins; without it the page computes on one thread. */
const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export interface ServeOptions {
  /** 0 for any that is free. */
  readonly port: number;
  /** Default true. */
  readonly isIsolated?: boolean;
}

/** Serves what `buildGallery` wrote, to this machine only. */
export function serveGallery({ port, isIsolated = true }: ServeOptions): Promise<PreviewServer> {
  const headers = { "Content-Security-Policy": policy, ...(isIsolated ? isolation : {}) };
  return preview({ ...config, preview: { headers, port, host: "127.0.0.1" } });
}
