import { Engine, type Tensor, tensor, toWords } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { kernelText } from "../src/device/sources.ts";
import type { CudaBackend } from "../src/index.ts";
import { useStandIn } from "../src/testing/standIn.ts";

// Kernels that start before the ones in front of them have ended (chain.cu). The stand-in refuses such a launch of a kernel that does not wait for
// them, and fails one of which a thread did not, or which read before what its graph had written since the launch before.

const reason = useStandIn();
const backend: CudaBackend | undefined =
  reason === undefined ? new (await import("../src/index.ts")).CudaBackend() : undefined;

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

/** What two launches of a graph of some work throw. */
function launchTwice(work: () => void): string[] {
  const memory = backend!.openGraphs(() => {});
  const graph = memory.capture([], work);
  const thrown: string[] = [];
  for (let n = 0; n < 2; n++)
    try {
      graph.launch([], []);
      backend!.synchronize();
      thrown.push("nothing");
    } catch (error) {
      thrown.push((error as Error).message);
    }
  graph.dispose();
  memory.dispose();
  return thrown;
}

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

test("a product of few rows reads its weight before the work in front of it has ended only where that does not write it", () => {
  const steps = fc.array(fc.record({ kind: fc.constantFrom("product", "write", "cast"), of: fc.nat(1) }), {
    minLength: 2,
    maxLength: 6,
  });
  fc.assert(
    fc.property(steps, (program) => {
      const engine = new Engine(backend!);
      const numbers = (n: number): Float32Array =>
        Float32Array.from({ length: 64 }, (_, i) => ((i * 7 + n * 5) % 9) / 16 - 0.25);
      const run = (isGraph: boolean): unknown => {
        const [x, ...weights] = [1, 2, 3].map((n) =>
          engine.keep(tensor(numbers(n).subarray(0, n === 1 ? 16 : 64), { shape: [n === 1 ? 2 : 8, 8], engine })),
        ) as unknown as [Tensor, Tensor, Tensor];
        const work = (): void =>
          engine.noGrad(() =>
            engine.scope(() => {
              for (const { kind, of } of program) {
                const w = weights[of]!;
                if (kind === "product") x.assign(x.linear(w).tanh());
                else if (kind === "cast") x.assign(x.cast("bf16").linear(w.cast("bf16")).cast("f32"));
                else w.assign(w.mul(0.75).add(0.125));
              }
            }),
          );
        if (isGraph) expect(launchTwice(work)).toEqual(["nothing", "nothing"]);
        else for (let n = 0; n < 2; n++) work();
        const found = [x, ...weights].map((t) => Array.from(toWords(t.dataSync(), t.dtype)));
        for (const t of [x, ...weights]) t.dispose();
        return found;
      };
      expect(run(true)).toEqual(run(false));
      expect(backend!.memory().liveBlocks).toBe(0);
    }),
    runs(12),
  );
});
