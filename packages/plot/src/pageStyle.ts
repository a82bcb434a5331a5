import { Markup } from "./markup.ts";

/** Looks of a page: system fonts, one column, contrast of text at least 4.5 in light and dark, and a version for paper. */
export const pageStyle: Markup = new Markup(`
:root{color-scheme:light dark;--ink:#1d2433;--soft:#5b6475;--page:#f5f6f9;--paper:#ffffff;--line:#dfe2ea;--accent:#2457d6;--mark:#e3ebff;
--good:#0b7a4b;--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebf2;--soft:#a3acbd;--page:#0f1218;--paper:#171b24;--line:#2a3040;--accent:#82aaff;
--mark:#24345c;--good:#4ccb8f;--bad:#ff8a7d}}
*{box-sizing:border-box}
html{background:var(--page);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:940px;padding:48px 24px 72px;font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
header{margin-bottom:28px}
.brand{margin:0 0 6px;color:var(--accent);font-size:13px;font-weight:600;letter-spacing:.04em}
h1{margin:0;font-size:32px;line-height:1.2;letter-spacing:-.02em;text-wrap:balance}
.date{margin:8px 0 0;color:var(--soft);font-size:14px}
h2{margin:0 0 4px;font-size:21px;letter-spacing:-.01em}
h3{margin:0 0 6px;font-size:14px;font-weight:600}
section{margin-top:44px}
.lead{margin:0 0 16px;max-width:68ch;color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin-top:0}
.figure,.chart,.scroll,.group,.sample{background:var(--paper);border:1px solid var(--line);border-radius:12px}
.figure{padding:18px 20px}
.figure p{margin:0}
.figure .value{font-size:34px;font-weight:650;line-height:1.15;letter-spacing:-.02em;color:var(--accent)}
.figure.bad .value{color:var(--bad)}
.figure .label{font-weight:600}
.figure .note{margin-top:4px;color:var(--soft);font-size:14px;line-height:1.4}
.chart{margin:0;padding:8px;overflow-x:auto}
.chart svg{min-width:600px}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:15px}
th,td{padding:10px 18px;text-align:left;white-space:nowrap}
th{color:var(--soft);font-size:13px;font-weight:600}
tbody tr{border-top:1px solid var(--line)}
.number{text-align:right}
.wrap{display:inline-block;white-space:normal;min-width:16ch;max-width:52ch;overflow-wrap:anywhere}
.yes{color:var(--good);font-weight:600}
.no{color:var(--bad);font-weight:600}
details{margin-top:10px}
summary{cursor:pointer;width:max-content;max-width:100%;color:var(--soft);font-size:14px}
details[open] summary{margin-bottom:10px}
summary:focus-visible,.sample:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:6px}
.sample{margin:0;padding:20px 22px;font:15px/1.65 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
mark{padding:2px 0;border-radius:2px;background:var(--mark);box-shadow:0 0 0 2px var(--mark);color:inherit}
.groups{columns:3 250px;column-gap:14px}
#environment~.groups{columns:1}
.group{display:inline-block;width:100%;margin-bottom:14px;padding:16px 18px;break-inside:avoid}
dl{margin:0;font-size:14px}
dl div{display:flex;justify-content:space-between;gap:16px;padding:3px 0}
dt{color:var(--soft)}
dd{margin:0;text-align:right;overflow-wrap:anywhere}
@media print{html{background:none}body{max-width:none;padding:0}section,.figure{break-inside:avoid}}
`);
