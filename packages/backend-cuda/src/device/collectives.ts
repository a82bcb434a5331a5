import { BackendError, type DType, describe, isContiguous, numel, ShapeError, sameShape } from "@revnet-zero/tensor";
import type { CudaDevice } from "./device.ts";
import { openLibrary } from "./libraries.ts";
import { addressOf, type CudaView } from "./view.ts";

/** NVIDIA's numbers for the types; what has none does not travel. */
const types: Partial<Record<DType, number>> = { i8: 0, u8: 1, bool: 1, i32: 2, f16: 6, f32: 7, f64: 8, bf16: 9 };
const reductions = { sum: 0, product: 1, max: 2, min: 3, mean: 4 } as const;
export type Reduction = keyof typeof reductions;

const typeOf = (view: CudaView): number => {
  const type = types[view.dtype];
  if (type === undefined)
    throw new BackendError("cuda", `NCCL has no type for ${describe(view)}`, "cast it, i16 to i32 for instance");
  return type;
};

/**
 * Processes, one a device, that sum and exchange tensors by NCCL. Calls enqueue on the device's stream and return. All ranks
 * must make the same calls in the same order. Contiguous views only.
 */
export class Group {
  readonly #device: CudaDevice;
  readonly #handle: number;
  readonly ranks: number;
  readonly rank: number;
  #isLeft = false;

  constructor(device: CudaDevice, handle: number, ranks: number, rank: number) {
    this.#device = device;
    this.#handle = handle;
    this.ranks = ranks;
    this.rank = rank;
  }

  /** to = the reduction of every rank's `from`; the two may be one. */
  allReduce(from: CudaView, to: CudaView, reduction: Reduction): void {
    this.#mustFit("allReduce", from, to, 1, 1);
    this.#run(() => {
      const { native } = this.#device;
      native.allReduce(
        this.#handle,
        addressOf(from),
        addressOf(to),
        numel(from.shape),
        typeOf(from),
        reductions[reduction],
      );
    });
  }

  /** to = this rank's part of the reduction: `from` holds one part a rank. */
  reduceScatter(from: CudaView, to: CudaView, reduction: Reduction): void {
    this.#mustFit("reduceScatter", from, to, 1, this.ranks);
    this.#run(() => {
      const { native } = this.#device;
      native.reduceScatter(
        this.#handle,
        addressOf(from),
        addressOf(to),
        numel(to.shape),
        typeOf(from),
        reductions[reduction],
      );
    });
  }

  /** to = every rank's `from`, one behind the other. */
  allGather(from: CudaView, to: CudaView): void {
    this.#mustFit("allGather", from, to, this.ranks, 1);
    this.#run(() => {
      this.#device.native.allGather(this.#handle, addressOf(from), addressOf(to), numel(from.shape), typeOf(from));
    });
  }

  /** to = the `from` of one rank. */
  broadcast(from: CudaView, to: CudaView, rank: number): void {
    this.#mustFit("broadcast", from, to, 1, 1);
    this.#run(() => {
      this.#device.native.broadcast(
        this.#handle,
        addressOf(from),
        addressOf(to),
        numel(from.shape),
        typeOf(from),
        rank,
      );
    });
  }

  /** Throws where work under way has failed: another rank is gone, say. A hung call cannot be interrupted otherwise. */
  check(): void {
    const code = this.#device.guard(() => this.#device.native.groupError(this.#handle));
    if (code === 0) return;
    this.leave(true);
    throw new BackendError("cuda", `a collective failed (NCCL_${code})`, "see the other ranks' logs; start all again");
  }

  /** Ends this rank's part; a broken group is left without waiting for the others. */
  leave(isBroken = false): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#device.guard(() => this.#device.native.leaveGroup(this.#handle, Number(isBroken)));
  }

  /** Elements of `from` times `a` are those of `to` times `b`, and both lie as NCCL reads them. */
  #mustFit(name: string, from: CudaView, to: CudaView, a: number, b: number): void {
    for (const view of [from, to])
      if (!isContiguous(view)) {
        const problem = `${describe(view)} has strides [${view.strides.join(", ")}], and NCCL reads row-major tensors alone`;
        throw new ShapeError(name, problem, "give a contiguous copy: x.clone()");
      }
    const fits = a === 1 && b === 1 ? sameShape(from.shape, to.shape) : numel(from.shape) * a === numel(to.shape) * b;
    if (fits && from.dtype === to.dtype) return;
    throw new ShapeError(
      name,
      `${describe(from)} does not fit ${describe(to)} in a group of ${this.ranks}`,
      "allReduce and broadcast take equal shapes; allGather gives, and reduceScatter takes, one part a rank",
    );
  }

  #run(call: () => void): void {
    this.#device.guard(call);
  }
}

/** NCCL, opened when first used: the path it was found at is given, so that no second copy comes into the process. */
export class Collectives {
  readonly #device: CudaDevice;
  readonly #driverMajor: number;
  #version: number | undefined;

  constructor(device: CudaDevice, driverMajor: number) {
    this.#device = device;
    this.#driverMajor = driverMajor;
  }

  /** NCCL's version, 22703 for 2.27.3. Throws where it is not to be found. */
  get version(): number {
    this.#version ??= openLibrary("nccl", this.#driverMajor, (path) => this.#device.native.openCollectives(path)).value;
    return this.#version;
  }

  /** The id that all ranks of a new group join with: made by one, given to the others. */
  makeId(): Uint8Array {
    void this.version;
    return this.#device.guard(() => this.#device.native.makeGroupId());
  }

  /** Joins as one of `ranks`; waits until all have. */
  join(id: Uint8Array, ranks: number, rank: number): Group {
    void this.version;
    return new Group(
      this.#device,
      this.#device.guard(() => this.#device.native.joinGroup(id, ranks, rank)),
      ranks,
      rank,
    );
  }
}
