import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import type { CudaBackend } from "../backend.ts";
import type { CudaView } from "../device/device.ts";

const viewOf = ({ storage, layout, dtype }: Tensor): CudaView => ({ data: storage.data as never, ...layout, dtype });

/** Every collective in a group of this process alone, in several types: what is not as it must be, in words. */
export function proveCollectives(backend: CudaBackend): string[] {
  const engine = new Engine(backend);
  const { collectives } = backend.device;
  const group = collectives.join(collectives.makeId(), 1, 0);
  const wrong: string[] = [];
  engine.scope(() => {
    for (const dtype of ["f32", "bf16", "i32"] as const) {
      const x = tensor([1, -2, 3, 4, 5], { engine, dtype });
      const calls: Readonly<Record<string, (y: Tensor) => void>> = {
        allReduce: (y) => group.allReduce(viewOf(x), viewOf(y), "sum"),
        reduceScatter: (y) => group.reduceScatter(viewOf(x), viewOf(y), "sum"),
        allGather: (y) => group.allGather(viewOf(x), viewOf(y)),
        broadcast: (y) => group.broadcast(viewOf(x), viewOf(y), 0),
      };
      for (const [name, call] of Object.entries(calls)) {
        const y = tensor([0, 0, 0, 0, 0], { engine, dtype });
        call(y);
        const found = Array.from(y.dataSync()).join();
        if (found !== "1,-2,3,4,5") wrong.push(`${name} in ${dtype} gave ${found}`);
      }
    }
    group.check();
  });
  group.leave();
  return wrong;
}
