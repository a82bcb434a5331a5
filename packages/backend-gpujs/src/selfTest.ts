import {
  BackendError,
  type Engine,
  ops,
  randomKey,
  randomNormal,
  randomWords,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";

/** What was found at start-up on the user's device. */
export interface SelfTest {
  /** The same kernels on the same numbers gave the same bits, with other kernels in between. */
  readonly isRepeatable: boolean;
  /** Numbers came back as they were uploaded, and sums, products and quantised values of 32-bit words were right to the bit. */
  readonly isExact: boolean;
  /** The largest relative error of exp, log, sin, cos and tanh at the numbers tried. */
  readonly functionError: number;
  readonly timeMs: number;
}

const numbers = Float32Array.of(0, 1, -1, 0.1, 1 / 3, 65535, 65537, -16777215, 1e-30, -3e38, 1.5, -2.5, 1e9, -7e8);

/** Runs the test. Throws where the device is not fit for exact networks: what it computes cannot be relied on. */
export async function testDevice(engine: Engine): Promise<SelfTest> {
  const start = performance.now();
  const scope = engine.openScope("gpujs self-test");
  try {
    const x = randomNormal([24, 40], { key: randomKey(1), engine });
    const w = randomNormal([40, 24], { key: randomKey(2), engine });
    const chain = (): Tensor => x.matmul(w).tanh().softmax().matmul(x).mul(20).sin().exp().sum(0);
    const first = await bits(chain());
    const wrong = await wrongWords(engine);
    const again = await bits(chain());
    const isRepeatable = first.every((b, i) => b === again[i]);
    const result = {
      isRepeatable,
      isExact: wrong === undefined,
      functionError: await functionError(engine),
      timeMs: performance.now() - start,
    };
    const problem = wrong ?? (isRepeatable ? undefined : "the same kernel on the same numbers gave other bits");
    if (problem === undefined) return result;
    throw new BackendError(
      engine.backend.name,
      `this device failed the start-up test: ${problem}`,
      'networks would not be exact on it; use another mode ("webasm" runs everywhere), and report the device',
    );
  } finally {
    scope.close();
  }
}

async function bits(t: Tensor): Promise<Int32Array> {
  return new Int32Array(Float32Array.from(await t.data()).buffer);
}

/** The first thing that is not as on the host, in words. */
async function wrongWords(engine: Engine): Promise<string | undefined> {
  const a = randomWords([64], { key: randomKey(3), engine });
  const b = randomWords([64], { key: randomKey(4), engine });
  const [p, q] = [await a.data(), await b.data()];
  const floats = tensor(numbers, { engine });
  const rounded = tensor(
    Float32Array.from(p, (v) => v / 2 ** 21),
    { engine },
  );
  const halves = await rounded.data();
  const checks: readonly (readonly [string, Tensor, ArrayLike<number>])[] = [
    ["numbers do not come back as they were uploaded", floats.reshape([2, 7]).transpose().clone().transpose(), numbers],
    ["sums of 32-bit words are wrong", a.add(b), p.map((v, i) => (v + q[i]!) | 0)],
    ["products of 32-bit words are wrong", a.mul(b), p.map((v, i) => Math.imul(v, q[i]!))],
    ["shifted 32-bit words are wrong", a.apply(ops.shiftLeft, [a, a.fullOf([], 11)], undefined), p.map((v) => v << 11)],
    ["differences of 32-bit words are wrong", a.sub(b), p.map((v, i) => (v - q[i]!) | 0)],
    ["fixed-point numbers are rounded wrongly", rounded.quantise(1), Array.from(halves, (v) => halfToEven(2 * v))],
    ["words are read wrongly as numbers", a.dequantise(20), Float32Array.from(p, (v) => Math.fround(v) * 2 ** -20)],
  ];
  for (const [problem, found, expected] of checks) {
    const values = await found.data();
    const at = Array.from(expected).findIndex((v, i) => v !== values[i]);
    if (at >= 0) return `${problem} (${values[at]} in place of ${expected[at]})`;
  }
  return undefined;
}

function halfToEven(v: number): number {
  const below = Math.floor(v);
  const rest = v - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

async function functionError(engine: Engine): Promise<number> {
  const given = Float32Array.from({ length: 64 }, (_, i) => 0.05 + i * 0.173);
  const x = tensor(given, { engine });
  const functions: readonly (readonly [Tensor, (v: number) => number])[] = [
    [x.exp(), Math.exp],
    [x.log(), Math.log],
    [x.tanh(), Math.tanh],
    [x.sin(), Math.sin],
    [x.cos(), Math.cos],
  ];
  let worst = 0;
  for (const [t, f] of functions) {
    const values = await t.data();
    // Near a zero of the function the error is an absolute one.
    given.forEach((v, i) => {
      worst = Math.max(worst, Math.abs(values[i]! - f(v)) / Math.max(1e-2, Math.abs(f(v))));
    });
  }
  return worst;
}
