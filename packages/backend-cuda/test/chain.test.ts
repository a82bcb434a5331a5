import { Engine, tensor } from "@revnet-zero/tensor";
import { afterEach, beforeEach, expect, test } from "vitest";
import { kernelText } from "../src/device/sources.ts";
import { backend, checkChains, launchTwice, reason } from "./chains.ts";

// Kernels that start before the ones in front of them have ended (chain.cu). The stand-in refuses such a launch of a kernel that does not wait for
// them, and fails one of which a thread did not, or which read before what its graph had written since the launch before.

beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});
// A device that is lost is found again.
afterEach(() => {
  for (const plan of ["none:1", ""]) {
    process.env.REVNET_STANDIN_FAIL = plan;
    backend?.device.native.architectureOf(
      backend.device.kernel({ files: ["chain", "fill"], types: { T: "u32" } }, "fill"),
    );
  }
});

/** One thread that adds one to a number: a chained kernel with this body. */
const kernelOf = (name: string, body: string): number =>
  backend!.device.printed(
    name,
    [
      kernelText("prelude"),
      kernelText("chain"),
      `struct One { int* x; };\nKERNEL_AHEAD(${name}, One, 1) {\n${body}\n}\n`,
    ].join("\n"),
  );

test("a kernel that does not wait for the work before it is not launched early", () => {
  const { device } = backend!;
  const kernel = device.kernel({ files: ["cumsum"], types: { T: "float", Y: "float" } }, "cumsum");
  expect(() => device.native.launch(kernel, 1, 1, 1, 32, 0, 1)).toThrow("launching a kernel");
});

test.each([
  ["waits, then reads and writes", "awaitPrevious(); p.x[0] += 1;", ["nothing", "nothing"]],
  [
    "reads what nothing writes, then waits",
    "const int held = readAhead(p.x + 1); awaitPrevious(); p.x[0] += held;",
    ["nothing", "nothing"],
  ],
  ["never waits", "p.x[0] += 1;", ["LAUNCH_FAILED", "LAUNCH_FAILED"]],
  // The first launch shows what it reads.
  [
    "reads too soon",
    "const int held = readAhead(p.x); awaitPrevious(); p.x[0] = held + 1;",
    ["nothing", "LAUNCH_FAILED"],
  ],
])("the stand-in finds out whether a kernel that %s starts too early", (what, body, expected) => {
  const { device } = backend!;
  const engine = new Engine(backend!);
  const x = engine.keep(tensor(Int32Array.of(1, 1), { engine }));
  const add = kernelOf(what.replaceAll(/\W/g, ""), body);
  const { address } = x.storage.data as { readonly address: number };
  const found = launchTwice(() => {
    for (let n = 0; n < 2; n++) {
      device.parameters.start().pointer(address);
      device.launch(add, 1, 1, 1, 1);
    }
  });
  for (const [i, text] of found.entries()) expect(text).toContain(expected[i]);
  x.dispose();
});

test("weights are read before the work in front has ended only where that does not write them: graphs have the bits of calls", () =>
  checkChains(10));
