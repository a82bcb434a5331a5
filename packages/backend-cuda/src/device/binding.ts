/**
 * The addon's functions (native-cuda/src), as TypeScript sees them. Device addresses and handles are numbers: none has more
 * than 49 bits. A failing call throws an Error whose `code` is the driver's own name, such as CUDA_ERROR_ILLEGAL_ADDRESS.
 */
export interface NativeCuda {
  /** Opens libcuda; gives the CUDA version it supports, 13000 for 13.0. */
  openDriver(path: string): number;
  /** Throws with the linker's words where a library does not open; leaves it closed. */
  checkLibrary(path: string): void;
  deviceCount(): number;
  deviceName(ordinal: number): string;
  /** [major, minor, multiprocessors, largest dynamic shared memory of a block, bytes of memory] */
  deviceFacts(ordinal: number): [number, number, number, number, number];
  /** One device a process. */
  openDevice(ordinal: number): void;
  closeDevice(): void;
  synchronize(): void;

  /** [free, total] as the driver counts them. */
  memoryInfo(): [number, number];
  /** An address, or 0 where there is no room. */
  allocate(bytes: number): number;
  release(address: number): void;
  /** Host memory that kernels can write, and its address for them. Never freed. */
  mapped(bytes: number): [ArrayBuffer, number];
  upload(to: number, from: ArrayBufferView, bytes: number): void;
  download(to: ArrayBufferView, from: number, bytes: number): void;
  read(from: number, bytes: number): Promise<ArrayBuffer>;
  copy(to: number, from: number, bytes: number): void;
  fill(to: number, byte: number, bytes: number): void;

  /** Begins to copy to pinned host memory, beside the work that follows; gives a transfer. */
  copyOut(from: number, bytes: number): number;
  /** Begins to copy back what a transfer holds. */
  copyBack(transfer: number, to: number, bytes: number): void;
  /** Has the work that follows wait for the copy of a transfer that was begun last. The program goes on. */
  awaitTransfer(transfer: number): void;
  /** Gives its host memory back. The work that follows waits for what is being copied back; what is being copied out may be written again. */
  endTransfer(transfer: number): void;
  /** Milliseconds that copies took since one of these two was first called; waits for them. */
  copyTimes(): number;
  /** Milliseconds that the work waited for copies; waits for the work. */
  waitTimes(): number;
  /** Bytes of pinned host memory that transfers use, and bytes kept for later ones. */
  pinnedMemory(): [number, number];
  /** Gives the latter back. */
  releasePinned(): void;

  loadModule(code: Uint8Array): number;
  getFunction(module: number, name: string, sharedBytes: number): number;
  /** Where `launch` finds the packed parameters. */
  setParameters(buffer: Uint8Array): void;
  /** Writes what leads the copy engine to a tensor (launch.cc says which numbers). */
  encodeTensorMap(to: Uint8Array, offset: number, address: number, type: number, ...numbers: number[]): void;
  /** What a kernel's PTX was written for: 90 for compute_90 and compute_90a. */
  architectureOf(kernel: number): number;
  /** `isEarly`: 1 where the kernel may start before the one in front of it has ended, for which it waits itself. */
  launch(
    kernel: number,
    blocksX: number,
    blocksY: number,
    blocksZ: number,
    threads: number,
    sharedBytes: number,
    isEarly: number,
  ): void;
  /** What the stream is asked for is taken down until `endCapture` gives a graph of it, or `abandonCapture` forgets it. */
  beginCapture(): void;
  endCapture(): number;
  abandonCapture(): void;
  launchGraph(graph: number): void;
  /** Waits for its launches. */
  destroyGraph(graph: number): void;
  recordEvent(): number;
  /** Milliseconds between two events; ends both. */
  elapsed(first: number, second: number): number;

  openCompiler(path: string, builtins: string): [number, number];
  compile(source: string, name: string, options: readonly string[]): Uint8Array;

  openProducts(path: string): number;
  /** Column-major; see products.cc for the order. -1 where cuBLASLt has nothing for it. */
  planProduct(...numbers: number[]): number;
  multiply(
    plan: number,
    a: number,
    b: number,
    d: number,
    bias: number,
    alpha: number,
    workspace: number,
    workspaceBytes: number,
    beta: number,
    before: number,
  ): void;

  openCollectives(path: string): number;
  makeGroupId(): Uint8Array;
  /** A group; waits for the other ranks. */
  joinGroup(id: Uint8Array, ranks: number, rank: number): number;
  leaveGroup(group: number, isBroken: number): void;
  /** 0, or NCCL's code of what went wrong with work under way. */
  groupError(group: number): number;
  allReduce(group: number, from: number, to: number, elements: number, type: number, reduction: number): void;
  reduceScatter(group: number, from: number, to: number, elements: number, type: number, reduction: number): void;
  allGather(group: number, from: number, to: number, elements: number, type: number): void;
  broadcast(group: number, from: number, to: number, elements: number, type: number, rank: number): void;

  openAttention(path: string): number;
  /** [plan, bytes of workspace], plan -1 where cuDNN has none; see attention.cc for the numbers and their order. */
  planAttention(numbers: Float64Array, scale: number, which: number): [number, number];
  runAttention(plan: number, workspace: number, addresses: Float64Array): void;
}

/** The `code` of an error that the addon threw. */
export const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? "";
