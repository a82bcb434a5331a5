import { formatBytes, formatMs, html, Markup, type MarkupValue, pageStyle } from "@revnet-zero/plot";
import { categories, describe } from "@revnet-zero/tensor";
import type { MemoryProfile } from "./memoryProfile.ts";
import { placeOf, topModules } from "./profileText.ts";
import type { Usage } from "./tables.ts";

/** A page of its own: the timeline, and every table. */
export function profileHtml(
  profile: MemoryProfile,
  { title = "Memory of a training step", budget }: { readonly title?: string; readonly budget?: number },
): string {
  const { peakBytes, activationBytes, peakMs, timeMs, peakPhase, atPeak } = profile;
  const busyMs = profile.byPhase().reduce((sum, usage) => sum + usage.timeMs, 0);
  const timeline = new Markup(
    profile.timelineSvg({ title: "Live bytes over the step", ...(budget === undefined ? {} : { budget }) }),
  );
  const present = categories.filter((c) => atPeak[c] > 0).sort((a, b) => atPeak[b] - atPeak[a]);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${pageStyle}</style>
</head>
<body>
<header><p class="brand">RevNet-Zero</p>
<h1>${title}</h1></header>
<section class="figures">
${figure(formatBytes(peakBytes), "at the peak", `after ${formatMs(peakMs)}, in ${peakPhase}`)}
${figure(formatBytes(activationBytes), "activations at the peak", "less parameters, gradients, optimizer state")}
${figure(formatMs(timeMs), "the step", `${formatMs(busyMs)} of it in ops`)}
</section>
<section id="timeline"><h2>Timeline</h2>
<p class="lead">Live bytes after every allocation and release, as the engine's ledger counts them.</p>
<figure class="chart">${timeline}</figure></section>
<section id="reasons"><h2>Why memory did not go down</h2>
<p class="lead">Everything that was alive at the peak, in groups, and what would make each smaller.</p>
${table(
  ["Bytes", "What", "What frees it"],
  profile.reasons.slice(0, 12).map(({ bytes, what, hint }) => [formatBytes(bytes), wrapped(what), wrapped(hint)]),
  { numbers: [0] },
)}</section>
<section id="categories"><h2>By purpose, at the peak</h2>
${table(
  ["Purpose", "Bytes", "Share"],
  present.map((c) => [c, formatBytes(atPeak[c]), `${((100 * atPeak[c]) / peakBytes).toFixed(1)} %`]),
  { numbers: [1, 2] },
)}</section>
${usages("phases", "By phase", "Phase", profile.byPhase())}
${usages("modules", "By module", "Module", topModules(profile, 30))}
${usages("ops", "By op", "Op", profile.byOp().slice(0, 20))}
<section id="tensors"><h2>Largest tensors at the peak</h2>
${table(
  ["Bytes", "Shape", "Purpose", "Made by"],
  profile.largest(20).map((t) => [formatBytes(t.bytes), describe(t), t.category, wrapped(placeOf(t))]),
  { numbers: [0] },
)}</section>
</body>
</html>
`.text;
}

const figure = (
  value: string,
  label: string,
  note: string,
): Markup => html`<div class="figure"><p class="value">${value}</p>
<p class="label">${label}</p>
<p class="note">${note}</p></div>
`;

/** A cell whose text may be long. */
const wrapped = (text: string): Markup => html`<span class="wrap">${text}</span>`;

function usages(id: string, title: string, what: string, rows: readonly Usage[]): Markup {
  return html`<section id="${id}"><h2>${title}</h2>
${table(
  [what, "At the peak", "Allocated in all", "Ops", "Time"],
  rows.map(({ name, peakBytes, allocatedBytes, ops, timeMs }) => [
    wrapped(name === "" ? "(outside)" : name),
    formatBytes(peakBytes),
    formatBytes(allocatedBytes),
    String(ops),
    formatMs(timeMs),
  ]),
  { numbers: [1, 2, 3, 4] },
)}</section>`;
}

function table(
  header: readonly string[],
  rows: readonly (readonly MarkupValue[])[],
  { numbers }: { readonly numbers: readonly number[] },
): Markup {
  const isNumber = (column: number): boolean => numbers.includes(column);
  const cell = (value: MarkupValue, column: number): Markup =>
    isNumber(column) ? html`<td class="number">${value}</td>` : html`<td>${value}</td>`;
  return html`<div class="scroll"><table><thead><tr>${header.map((name, c) => (isNumber(c) ? html`<th class="number">${name}</th>` : html`<th>${name}</th>`))}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map(cell)}</tr>`)}</tbody></table></div>
`;
}
