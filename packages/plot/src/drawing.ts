import { chartStyle } from "./chartStyle.ts";
import { html, type Markup } from "./markup.ts";

export interface DrawingOptions {
  readonly width: number;
  readonly height: number;
  readonly title: string;
  /** What is to be seen, in words. */
  readonly description: string;
  /** Unique in the page; by default made of the title. */
  readonly id?: string | undefined;
  /** Without the frame and the title, which the page around it has. */
  readonly isBare?: boolean;
}

/** One SVG element with title, description and style: it stands in a page as well as alone in a file. */
export function drawing(options: DrawingOptions, content: Markup): string {
  const { width, height, title, description, id, isBare = false } = options;
  const name = id ?? `chart-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return html`<svg class="rz-chart" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${name}-title ${name}-desc" xmlns="http://www.w3.org/2000/svg">
<title id="${name}-title">${title}</title>
<desc id="${name}-desc">${description}</desc>
<style>${chartStyle}</style>
${!isBare && html`<rect class="paper" width="${width}" height="${height}" rx="10"/><text class="title" x="16" y="24">${title}</text>`}
${content}</svg>`.text;
}
