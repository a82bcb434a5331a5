import { Markup } from "./markup.ts";

/**
 * Looks of every chart, inside the SVG so that it also stands alone. Blue and orange stay apart for colour-blind readers; where lines
 * cross, their ends are named. Contrast with the background is at least 3 for lines and 4.5 for text, light and dark.
 */
export const chartStyle: Markup = new Markup(`
.rz-chart{--ink:#1d2433;--soft:#5b6475;--grid:#e6e8ee;--axis:#aab1bf;--s1:#2457d6;--s2:#c2570c;--s3:#0f766e;--s4:#8a3ffc;--s5:#b3174e;--s6:#5b6b00;--paper:#ffffff;
--a1:#64748b;--a2:#a3afc2;--a3:#8a3ffc;--a4:#0f8a7e;--a5:#2457d6;--a6:#e8852c;--b1:#dbe6ff;--b2:#ffe6d1;--b3:#e6e8ee;
font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:13px;
display:block;width:100%;height:auto}
@media (prefers-color-scheme:dark){.rz-chart{--ink:#e8ebf2;--soft:#a3acbd;--grid:#2a3040;--axis:#566075;--s1:#82aaff;--s2:#ff9e57;--s3:#4fd1c0;
--s4:#c4a1ff;--s5:#ff8fb3;--s6:#c3d357;--paper:#171b24;
--a1:#7d8aa0;--a2:#556075;--a3:#b48cff;--a4:#3fbfae;--a5:#6f9bff;--a6:#f2914a;--b1:#24345c;--b2:#54341c;--b3:#2a3040}}
.rz-chart text{fill:var(--soft);font-variant-numeric:tabular-nums}
.rz-chart .title{fill:var(--ink);font-size:15px;font-weight:600}
.rz-chart .label{font-weight:600}
.rz-chart .paper{fill:var(--paper)}
.rz-chart .grid{stroke:var(--grid)}
.rz-chart .axis{stroke:var(--axis)}
.rz-chart line.reference{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}
.rz-chart text.reference{fill:var(--soft);font-weight:400}
.rz-chart .line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.rz-chart .faint{stroke-width:1;opacity:.4}
.rz-chart .leader{fill:none;stroke:var(--soft);stroke-width:1}
.rz-chart .marker{stroke:var(--paper);stroke-width:1.5}
.rz-chart .s1{stroke:var(--s1)}.rz-chart .s2{stroke:var(--s2)}.rz-chart .s3{stroke:var(--s3)}.rz-chart .s4{stroke:var(--s4)}
.rz-chart .s5{stroke:var(--s5)}.rz-chart .s6{stroke:var(--s6)}
.rz-chart .marker.s1,.rz-chart text.s1{fill:var(--s1)}.rz-chart .marker.s2,.rz-chart text.s2{fill:var(--s2)}
.rz-chart .marker.s3,.rz-chart text.s3{fill:var(--s3)}.rz-chart .marker.s4,.rz-chart text.s4{fill:var(--s4)}
.rz-chart .marker.s5,.rz-chart text.s5{fill:var(--s5)}.rz-chart .marker.s6,.rz-chart text.s6{fill:var(--s6)}
.rz-chart .area{stroke:var(--paper);stroke-width:.6;stroke-linejoin:round}
.rz-chart .a1{fill:var(--a1)}.rz-chart .a2{fill:var(--a2)}.rz-chart .a3{fill:var(--a3)}.rz-chart .a4{fill:var(--a4)}.rz-chart .a5{fill:var(--a5)}
.rz-chart .a6{fill:var(--a6)}
.rz-chart .b1{fill:var(--b1)}.rz-chart .b2{fill:var(--b2)}.rz-chart .b3{fill:var(--b3)}
.rz-chart .band-name{fill:var(--ink);font-size:12px}
.rz-chart line.peak{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3}
.rz-chart .peak-dot{fill:var(--ink);stroke:var(--paper);stroke-width:1.5}
.rz-chart line.limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:6 4}
.rz-chart .note{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:4px}
.rz-chart .chosen{fill:var(--s1);stroke:var(--paper);stroke-width:2}
.rz-chart text:not(.note){stroke:none!important}
.rz-chart .marker{stroke:var(--paper)!important}
`);
