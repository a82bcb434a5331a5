import { type AttrsOf, type FusedKernels, numel, type ops } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

/** Tensors of one launch (optimizer.cu, adamw.cu), and blocks that share a tensor: the same for every size, so that sums do not depend on it. */
const TENSORS = 64;
const BLOCKS = 512;

/** Consecutive runs of at most `TENSORS` tensors of one type. */
function* runsOf<T>(items: readonly T[], typeOf: (item: T) => string): Generator<T[]> {
  let run: T[] = [];
  for (const item of items) {
    if (run.length === TENSORS || (run.length > 0 && typeOf(run[0]!) !== typeOf(item))) {
      yield run;
      run = [];
    }
    run.push(item);
  }
  if (run.length > 0) yield run;
}

const blocksFor = (views: readonly CudaView[]): number =>
  Math.max(1, Math.min(BLOCKS, Math.ceil(Math.max(...views.map((v) => numel(v.shape))) / THREADS)));

/** The update of one tensor: parameter, gradient, both moments and, where it has one, the copy. */
type Member = CudaView[];

export function optimizerKernels({
  device,
}: Context): Required<Pick<FusedKernels<Block>, "adamw" | "adamwCopying" | "globalNorm">> {
  const update = (
    name: "adamw" | "adamwCopying",
    [factor, schedule, ...members]: readonly CudaView[],
    { beta1, beta2, eps, weightDecay }: AttrsOf<typeof ops.adamw>,
  ): void => {
    const size = name === "adamw" ? 4 : 5;
    const groups = Array.from(
      { length: members.length / size },
      (_, i): Member => members.slice(size * i, size * (i + 1)),
    );
    // Without a copy the type of one is any.
    const typeOf = ([p, , , , copy]: Member): string => `${p!.dtype} ${copy?.dtype}`;
    for (const run of runsOf(groups, typeOf)) {
      const [parameter, , , , copy] = run[0]!;
      const types = { T: cTypes[parameter!.dtype], C: cTypes[(copy ?? parameter)!.dtype] };
      const kernel = device.kernel({ files: ["adamw"], types }, name);
      const p = device.parameters.start();
      for (let member = 0; member < size; member++)
        p.longs(
          run.map((group) => addressOf(group[member]!)),
          TENSORS,
        );
      p.longs(
        run.map(([first]) => numel(first!.shape)),
        TENSORS,
      );
      p.pointer(addressOf(factor!)).pointer(addressOf(schedule!));
      p.double(beta1)
        .double(beta2)
        .double(1 - beta1)
        .double(1 - beta2)
        .double(eps)
        .double(weightDecay);
      device.launch(kernel, blocksFor(run.map(([first]) => first!)), run.length);
    }
  };
  return {
    adamw: { inputs: "contiguous", run: (inputs, _, attrs) => update("adamw", inputs, attrs) },
    adamwCopying: { inputs: "contiguous", run: (inputs, _, attrs) => update("adamwCopying", inputs, attrs) },
    globalNorm: {
      inputs: "contiguous",
      run: (inputs, [y]) => {
        const runs = [...runsOf(inputs, (x) => x.dtype)].map((views) => ({ views, blocks: blocksFor(views) }));
        const count = runs.reduce((n, { views, blocks }) => n + views.length * blocks, 0);
        device.withWorkspace(8 * count, (sums) => {
          let at = sums;
          for (const { views, blocks } of runs) {
            const kernel = device.kernel({ files: ["optimizer"], types: { T: cTypes[views[0]!.dtype] } }, "squares");
            const p = device.parameters.start().longs(views.map(addressOf), TENSORS);
            p.longs(
              views.map((v) => numel(v.shape)),
              TENSORS,
            );
            p.pointer(at);
            device.launch(kernel, blocks, views.length);
            at += 8 * views.length * blocks;
          }
          const kernel = device.kernel({ files: ["optimizer"], types: { T: "float" } }, "rootOfSum");
          device.parameters.start().pointer(sums).pointer(addressOf(y!)).long(count);
          device.launch(kernel, 1);
        });
      },
    },
  };
}
