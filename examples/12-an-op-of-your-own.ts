// An op of your own: one line of mathematics is a kernel on every backend, its derivative, and its second derivative.
// Then a function with a backward pass of its own; both are held to finite differences in float64.
import { gradcheck, gradgradcheck } from "@revnet-zero/testkit";
import {
  defaultEngine,
  defineFunction,
  Engine,
  expr,
  foldKey,
  grad,
  type HostData,
  ReferenceBackend,
  ReversibleSequence,
  randomKey,
  randomNormal,
  smooth,
  type Tensor,
  tensor,
} from "revnet-zero";
import { claim } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);

// -- elementwise: a body ------------------------------------------------------------------------------------------------
// softsign(x) = x / (1 + |x|). The engine prints the body for each backend and differentiates it; nothing else is written.
const softsignOp = smooth({
  name: "softsign",
  arity: 1,
  doc: "x / (1 + |x|)",
  meta: ([x]) => [x!],
  body: ([x]) => expr.div(x!, expr.add(1, expr.abs(x!))),
});
const softsign = (x: Tensor): Tensor => x.apply(softsignOp, [x], undefined);

const x = tensor([-3, -1, 0.5, 2]);
const [slope] = grad((v) => softsign(v).sum(), [x]);
console.log(`softsign  ${Array.from(softsign(x).dataSync(), (v) => v.toFixed(4)).join("  ")}`);
console.log(`slope     ${Array.from(slope!.dataSync(), (v) => v.toFixed(4)).join("  ")}`);
const byHand = Array.from(x.dataSync(), (v) => 1 / (1 + Math.abs(v)) ** 2);

const doubles = (shape: number[], use: number): Tensor => randomNormal(shape, { key: foldKey(key, use), dtype: "f64" });
/** Whether a check of gradients passes; what it says where it does not. */
async function passes(check: Promise<void>): Promise<boolean> {
  return check.then(
    () => true,
    (error: Error) => {
      console.log(`  ${error.message.split("\n")[0]}`);
      return false;
    },
  );
}
const isRight = await passes(gradcheck(softsign, [doubles([3, 4], 0)]));
const isRightTwice = await passes(gradgradcheck(softsign, [doubles([3, 4], 1)]));

// -- a function with its own backward pass ---------------------------------------------------------------------------------
// log Σ exp, written so that backward reuses the result: d/dx = exp(x - y). What backward needs is saved, and counted.
const logSumExpNode = defineFunction({
  name: "logSumExp",
  forward: ({ save }, v) => {
    const most = v!.max(-1, { keepDims: true });
    const y = v!.sub(most).exp().sum(-1, { keepDims: true }).log().add(most);
    save(v!, y);
    return y;
  },
  backward: (context, gradient) => {
    const [v, y] = context.saved() as [Tensor, Tensor];
    return [gradient!.mul(v.sub(y).exp())];
  },
});
const logSumExp = (v: Tensor): Tensor => [logSumExpNode(v)].flat()[0]!;
const isRightToo = await passes(gradcheck(logSumExp, [doubles([5, 7], 2)]));

// The check finds what is wrong: this one forgets a factor.
const forgetful = defineFunction({
  name: "square, wrongly",
  forward: ({ save }, v) => {
    save(v!);
    return v!.mul(v!);
  },
  backward: (context, gradient) => [gradient!.mul(context.saved()[0]!)],
});
console.log("\na backward pass with a factor forgotten:");
const isFound = !(await passes(gradcheck(forgetful, [doubles([4], 3)])));

// -- they are citizens like the others -----------------------------------------------------------------------------------
/** The bits of a result of a reversible network whose branches use both. */
function gradientsIn(mode: "exact" | "store"): HostData {
  const weights = randomNormal([8, 8], { key: foldKey(key, 4) }).requireGrad();
  const branch = (v: Tensor): Tensor => softsign(v.matmul(weights));
  const sequence = new ReversibleSequence({
    blocks: Array.from({ length: 4 }, () => ({ F: branch, G: (v: Tensor) => v.sub(logSumExp(v)).exp() })),
    mode,
  });
  const input = randomNormal([6, 8], { key: foldKey(key, 5) });
  sequence.call(input, input)[0]!.sum().backward();
  return weights.grad!.dataSync();
}
const [exact, store] = engine.scope(() => [gradientsIn("exact"), gradientsIn("store")] as const);

const reference = new Engine(new ReferenceBackend());
const onReference = softsign(tensor([-3, -1, 0.5, 2], { engine: reference })).dataSync();

claim({
  "the derivative that was generated is the one worked out by hand": byHand.every(
    (v, i) => Math.abs(v - slope!.dataSync()[i]!) < 1e-6,
  ),
  "first and second derivatives agree with finite differences": isRight && isRightTwice,
  "so does the backward pass written by hand": isRightToo,
  "a wrong one is found": isFound,
  "another backend has the op without another line": onReference.every(
    (v, i) => Math.abs(v - softsign(x).dataSync()[i]!) < 1e-6,
  ),
  "in a reversible network both are exact": Buffer.from(exact.buffer).equals(Buffer.from(store.buffer)),
});
