import { test } from "vitest";
import { createGpuJsBackend } from "../src/index.ts";
import { traps } from "./traps.ts";

const missing = await createGpuJsBackend({ mode: "headlessgl" }).then(
  () => undefined,
  (error: Error) => error.message,
);
if (missing === undefined) traps("headlessgl");
else test("traps in headlessgl", (context) => context.skip(missing));
