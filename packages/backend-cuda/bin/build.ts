import { buildAddon } from "../src/build.ts";

// `npm run cuda:build`: compiles the addon. No part of npm install; nothing but the CUDA backend needs it.
try {
  console.log(`built ${buildAddon()}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
