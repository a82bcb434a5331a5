/** Told where the blocks of a recorded pass begin: what measures them sits here. */
export interface BlockObserver {
  /** The forward pass begins a block; or, with the number of blocks, it has ended the last one. */
  forward(block: number): void;
  /** The backward pass begins a block that is rebuilt. The others' backward is that of the nodes their forward pass made. */
  backward(block: number): void;
}
