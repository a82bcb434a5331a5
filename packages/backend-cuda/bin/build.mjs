#!/usr/bin/env node
// Compiles the addon. No part of npm install; nothing but the CUDA backend needs it.
import { buildAddon } from "@revnet-zero/backend-cuda";

try {
  console.log(`built ${buildAddon()}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
