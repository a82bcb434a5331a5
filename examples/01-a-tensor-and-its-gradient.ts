// A tensor and its gradient: ops, backward, second derivatives, scopes and the memory ledger.
// Everything later in the course is made of what is here.
import { defaultEngine, foldKey, grad, jvp, randomKey, randomNormal, type Tensor, tensor } from "revnet-zero";
import { claim } from "./claims.ts";

const engine = defaultEngine(); // the CPU, because "revnet-zero" was imported

// -- a function of two tensors, and its gradient -------------------------------------------------------------------------
const x = tensor([
  [1, 2],
  [3, 4],
]).requireGrad();
const w = tensor([0.5, -1]).requireGrad();
const y = x.mul(w).tanh().sum(); // [2, 2] · [2] -> [2, 2] -> []
y.backward();
console.log(`y = ${y.itemSync().toFixed(4)}`);
console.log(`dy/dw = ${Array.from(w.grad!.dataSync(), (v) => v.toFixed(4)).join(", ")}`);

// By hand: d tanh(x w)/dw = x (1 - tanh²(x w)), summed over the rows that w was broadcast to.
const byHand = [0, 1].map((j) => [1, 3].reduce((sum, i) => sum + slope(i + j, [0.5, -1][j]!), 0));
function slope(value: number, weight: number): number {
  return value * (1 - Math.tanh(value * weight) ** 2);
}
const error = Math.max(...byHand.map((v, j) => Math.abs(v - w.grad!.dataSync()[j]!)));

// -- gradients are functions too -----------------------------------------------------------------------------------------
// `grad` gives the gradients of a scalar function by its inputs, and can be differentiated in its turn: x³, 3x², 6x.
const cube = (v: Tensor): Tensor => v.mul(v).mul(v).sum();
const at = tensor([1, 2, 3]);
const [firsts] = grad(cube, [at]);
const [seconds] = grad((v) => grad(cube, [v], { createGraph: true })[0]!.sum(), [at]);
console.log(
  `x³ at 1, 2, 3: first derivative ${firsts!.dataSync().join(", ")}; second ${seconds!.dataSync().join(", ")}`,
);

// Forward mode: the directional derivative along a tangent, without a gradient of anything else.
const { tangent } = jvp((v) => v.sin(), [at], [tensor([1, 0, 0])]);
const along = tangent.dataSync()[0]!;
console.log(`the derivative of sin along (1, 0, 0) begins with cos 1 = ${along.toFixed(6)}`);

// -- memory: nothing waits for the garbage collector ---------------------------------------------------------------------
const before = engine.memory().liveBytes;
const kept = engine.scope(() => {
  const big = randomNormal([256, 256], { key: randomKey(1) }); // 256 KiB
  return big.matmul(big.transpose()).sum(); // everything made here but the result is freed when the scope ends
});
const after = engine.memory();
console.log(`live after the scope: ${after.liveBytes - before} bytes more; at most ${after.peakBytes} in between`);

// -- randomness: explicit keys, the same numbers on every machine --------------------------------------------------------
const key = randomKey(2024);
const drawn = [0, 1, 0].map((use) =>
  randomNormal([4], { key: foldKey(key, use) })
    .dataSync()
    .join(),
);

claim({
  "the gradient is the one worked out by hand, to float32": error < 1e-6,
  "the second derivative of x³ is 6x": seconds!.dataSync().join() === "6,12,18",
  "forward mode gives cos 1": Math.abs(along - Math.cos(1)) < 1e-6,
  "only the scope's result is still alive": after.liveBytes - before === kept.bytes,
  "the same key gives the same numbers, another one others": drawn[0] === drawn[2] && drawn[0] !== drawn[1],
});
