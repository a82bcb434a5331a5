import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import { literal, type Source } from "../text/source.ts";
import type { Context, Operand } from "./context.ts";
import { exp, log, offsetsKey, reader } from "./rows.ts";

type Kernels = Pick<FusedKernels<Slot>, "attention" | "attentionBackward">;
type Attrs = Parameters<NonNullable<Kernels["attention"]>["run"]>[2];

/** [b, h, t, d] queries, [b, hk, s, d] keys, [b, hk, s, e] values. */
interface Sizes {
  readonly b: number;
  readonly h: number;
  readonly hk: number;
  readonly t: number;
  readonly n: number;
  readonly d: number;
  readonly e: number;
}

function sizesOf(q: View, k: View, v: View): Sizes {
  const [b, h, t, d] = q.shape as unknown as [number, number, number, number];
  return { b, h, t, d, hk: k.shape[1]!, n: k.shape[2]!, e: v.shape[3]! };
}

/** Which keys query t sees. */
function sees({ t, n }: Sizes, { isCausal, window }: Attrs, query: string, key: string): string | undefined {
  if (!isCausal) return undefined;
  const last = `${query} + ${n - t}`;
  return `${key} <= ${last}${window === undefined ? "" : ` && ${key} > ${last} - ${window}`}`;
}

/** `body` where query sees key. */
function whereSeen(s: Source, condition: string | undefined, body: () => void): void {
  if (condition === undefined) body();
  else s.if(condition, body);
}

/** The row [b, hk] of the key head that query head [b, h] uses. */
function keyRow(s: Source, { h, hk }: Sizes, batch: string, head: string): string {
  const { quotient } = s.split(head, h / hk);
  return s.let(`${batch} * ${hk} + ${quotient}`);
}

/** Σ x[p + i] y[q + i] over i < size. */
function dot(
  s: Source,
  read: ReturnType<typeof reader>,
  [x, p]: readonly [number, string],
  [y, q]: readonly [number, string],
  size: number,
): string {
  const total = s.let("num(0)");
  s.loop(size, (i) =>
    s.line(`${total} = ${total} + ${read(s, x, s.let(`${p} + ${i}`))} * ${read(s, y, s.let(`${q} + ${i}`))};`),
  );
  return total;
}

/** Scaled scores [b, h, t, s]; those that are masked are 0 and never read. */
function scores(c: Context, q: View, k: View, sizes: Sizes, attrs: Attrs): Operand {
  const { b, h, t, n, d } = sizes;
  const read = reader([q, k]);
  return c.make({
    key: `scores ${JSON.stringify([sizes, attrs])} ${offsetsKey([q, k])}`,
    dtype: "f32",
    elements: b * h * t * n,
    inputs: [c.operand(q), c.operand(k)],
    body: (s, position) => {
      const [batch, head, query, key] = s.coordinates(position, [b, h, t, n]) as [string, string, string, string];
      const found = s.let("num(0)");
      whereSeen(s, sees(sizes, attrs, query, key), () => {
        const row = s.let(`((${batch} * ${h} + ${head}) * ${t} + ${query}) * ${d}`);
        const at = s.let(`(${keyRow(s, sizes, batch, head)} * ${n} + ${key}) * ${d}`);
        s.line(`${found} = ${dot(s, read, [0, row], [1, at], d)} * ${literal(attrs.scale)};`);
      });
      return { kind: "float", text: found };
    },
  });
}

/** log Σ e^score of every row [b, h, t], shifted by the largest. */
function logSumExp(c: Context, score: Operand, sizes: Sizes, attrs: Attrs): Operand {
  const { b, h, t, n } = sizes;
  return c.make({
    key: `attention lse ${JSON.stringify([sizes, attrs])}`,
    dtype: "f32",
    elements: b * h * t,
    inputs: [score],
    body: (s, row) => {
      const { rest: query } = s.split(row, t);
      const start = s.let(`${row} * ${n}`);
      const top = s.let("num(-3e38)");
      s.loop(n, (key) =>
        whereSeen(s, sees(sizes, attrs, query, key), () => {
          const v = s.loadFloat(0, s.let(`${start} + ${key}`));
          s.if(`${v} > ${top}`, () => s.line(`${top} = ${v};`));
        }),
      );
      const total = s.let("num(0)");
      s.loop(n, (key) =>
        whereSeen(s, sees(sizes, attrs, query, key), () =>
          s.line(`${total} = ${total} + ${exp(s, `${s.loadFloat(0, s.let(`${start} + ${key}`))} - ${top}`)};`),
        ),
      );
      return { kind: "float", text: s.let(`${log(s, total)} + ${top}`) };
    },
  });
}

/** Rows of weights times vectors: y[row, i] = Σ over seen keys of weight(row, key) · x[key row, i]. */
export function attentionKernels(c: Context): Kernels {
  return {
    attention: {
      inputs: "contiguous",

      run: ([q, k, v], [o, lse], attrs) => {
        if (numel(lse!.shape) === 0) return;
        const sizes = sizesOf(q!, k!, v!);
        const { b, h, t, n, e } = sizes;
        if (n === 0) {
          if (numel(o!.shape) > 0) c.fill(o!, Number.NaN);
          return c.fill(lse!, Number.NEGATIVE_INFINITY);
        }
        const score = scores(c, q!, k!, sizes, attrs);
        c.with([score], () => {
          const rows = logSumExp(c, score, sizes, attrs);
          const read = reader([{ offset: 0 }, { offset: 0 }, v!]);
          c.into(o!, {
            key: `attention ${JSON.stringify([sizes, attrs])} ${v!.offset}`,
            inputs: [score, rows, c.operand(v!)],
            body: (s, position) => {
              const [batch, head, query, i] = s.coordinates(position, [b, h, t, e]) as [string, string, string, string];
              const row = s.let(`(${batch} * ${h} + ${head}) * ${t} + ${query}`);
              const level = s.loadFloat(1, row);
              const values = s.let(`${keyRow(s, sizes, batch, head)} * ${n * e} + ${i}`);
              const total = s.let("num(0)");
              s.loop(n, (key) =>
                whereSeen(s, sees(sizes, attrs, query, key), () => {
                  const p = s.let(exp(s, `${s.loadFloat(0, s.let(`${row} * ${n} + ${key}`))} - ${level}`));
                  s.line(`${total} = ${total} + ${p} * ${read(s, 2, s.let(`${values} + ${key} * ${e}`))};`);
                }),
              );
              return { kind: "float", text: total };
            },
          });
          c.store(lse!.data, rows);
        });
      },
    },
    attentionBackward: {
      inputs: "contiguous",

      run: ([q, k, v, o, lse, g], [dq, dk, dv], attrs) => {
        const sizes = sizesOf(q!, k!, v!);
        const { b, h, hk, t, n, d, e } = sizes;
        if (numel(lse!.shape) === 0 || n === 0) {
          for (const y of [dq!, dk!, dv!]) if (numel(y.shape) > 0) c.fill(y, 0);
          return;
        }
        const key = JSON.stringify([sizes, attrs]);
        const score = scores(c, q!, k!, sizes, attrs);
        const seen = (
          s: Source,
          position: string,
          value: (row: string, batch: string, head: string, key: string) => string,
        ): string => {
          const [batch, head, query, at] = s.coordinates(position, [b, h, t, n]) as [string, string, string, string];
          const found = s.let("num(0)");
          whereSeen(s, sees(sizes, attrs, query, at), () => {
            const row = s.let(`(${batch} * ${h} + ${head}) * ${t} + ${query}`);
            s.line(`${found} = ${value(row, batch, head, at)};`);
          });
          return found;
        };
        const readLse = reader([{ offset: 0 }, lse!]);
        const p = c.with([score], () =>
          c.make({
            key: `weights ${key} ${lse!.offset}`,
            dtype: "f32",
            elements: b * h * t * n,
            inputs: [score, c.operand(lse!)],
            body: (s, position) => ({
              kind: "float",
              text: seen(s, position, (row) => exp(s, `${s.loadFloat(0, position)} - ${readLse(s, 1, row)}`)),
            }),
          }),
        );
        const readOut = reader([g!, o!]);
        const delta = c.make({
          key: `delta ${key} ${offsetsKey([g!, o!])}`,
          dtype: "f32",
          elements: b * h * t,
          inputs: [c.operand(g!), c.operand(o!)],
          body: (s, row) => {
            const start = s.let(`${row} * ${e}`);
            return { kind: "float", text: dot(s, readOut, [0, start], [1, start], e) };
          },
        });
        const readPull = reader([{ offset: 0 }, { offset: 0 }, g!, v!]);
        const ds = c.with([delta], () =>
          c.make({
            key: `score gradients ${key} ${offsetsKey([g!, v!])}`,
            dtype: "f32",
            elements: b * h * t * n,
            inputs: [p, delta, c.operand(g!), c.operand(v!)],
            body: (s, position) => ({
              kind: "float",
              text: seen(s, position, (row, batch, head, at) => {
                const from = s.let(`${row} * ${e}`);
                const value = s.let(`(${keyRow(s, sizes, batch, head)} * ${n} + ${at}) * ${e}`);
                const dp = dot(s, readPull, [2, from], [3, value], e);
                return `${s.loadFloat(0, position)} * (${dp} - ${s.loadFloat(1, row)}) * ${literal(attrs.scale)}`;
              }),
            }),
          }),
        );
        const readKeys = reader([{ offset: 0 }, k!]);
        c.into(dq!, {
          key: `dq ${key} ${k!.offset}`,
          inputs: [ds, c.operand(k!)],
          body: (s, position) => {
            const [batch, head, query, i] = s.coordinates(position, [b, h, t, d]) as [string, string, string, string];
            const row = s.let(`((${batch} * ${h} + ${head}) * ${t} + ${query}) * ${n}`);
            const keys = s.let(`${keyRow(s, sizes, batch, head)} * ${n * d} + ${i}`);
            const total = s.let("num(0)");
            s.loop(n, (at) => {
              const [x, y] = [s.loadFloat(0, s.let(`${row} + ${at}`)), readKeys(s, 1, s.let(`${keys} + ${at} * ${d}`))];
              s.line(`${total} = ${total} + ${x} * ${y};`);
            });
            return { kind: "float", text: total };
          },
        });
        /** Σ over the queries of the heads that share a key head. */
        const shared = (output: View, name: string, weights: Operand, x: View, width: number): void => {
          const read = reader([{ offset: 0 }, x]);
          c.into(output, {
            key: `${name} ${key} ${x.offset}`,
            inputs: [weights, c.operand(x)],
            body: (s, position) => {
              const [batch, head, at, i] = s.coordinates(position, [b, hk, n, width]) as [
                string,
                string,
                string,
                string,
              ];
              const total = s.let("num(0)");
              s.loop(h / hk, (m) => {
                const first = s.let(`(${batch} * ${h} + ${head} * ${h / hk} + ${m}) * ${t}`);
                s.loop(t, (query) => {
                  const row = s.let(`${first} + ${query}`);
                  const w = s.loadFloat(0, s.let(`${row} * ${n} + ${at}`));
                  s.line(`${total} = ${total} + ${w} * ${read(s, 1, s.let(`${row} * ${width} + ${i}`))};`);
                });
              });
              return { kind: "float", text: total };
            },
          });
        };
        shared(dk!, "dk", ds, q!, d);
        shared(dv!, "dv", p, g!, e);
        c.release(p, ds);
      },
    },
  };
}
