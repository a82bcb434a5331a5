// Functions that kernels call, in the JavaScript that gpu.js translates. All numbers are float32; each function says for which
// operands it is exact. Products stay below 2^24, so that a device that fuses multiply-adds gives the same bits.
//
// Reduction: Cody & Waite 1980; coefficients of exp, log and tanh: the Cephes library (Moshier 1989); of erf: a rational minimax fit.
// All but those of exp are the CPU backend's vector functions' too. WebAssembly and plain JavaScript have good functions and use their own.

const power = (n: number): string => String(2 ** n);
const halvings = [64, 32, 16, 8, 4, 2, 1];

/** Horner's scheme, highest coefficient first. */
const polynomial = (x: string, coefficients: readonly number[]): string =>
  coefficients.slice(1).reduce((sum, c) => `(${sum}) * ${x} + (${c})`, `(${coefficients[0]})`);

const exponential = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5];
const logarithm = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
];
const tangent = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1];
const erfAbove = [
  -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5, -7.34990630326855e-4,
  -2.95459980854025e-3, -1.60960333262415e-2,
];
const erfBelow = [
  -1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3, -1.42647390514189e-2,
];
const sine = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1];
const cosine = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2];

/** n·ln 2 taken away in two parts, the first of which is exact. */
const reduced = (x: string): string =>
  `const n = Math.floor(${x} * ${Math.LOG2E} + 0.5); const r = ${x} - n * 0.693359375 + n * 0.00021219444;`;

/** Quotient and remainder of unsigned words, bit by bit; the part asked for: their halves, in order. */
const longDivision = `function divideWords(ah, al, bh, bl, part) {
  let xh = ah; let xl = al; let rh = num(0); let rl = num(0); let qh = num(0); let ql = num(0);
  for (let k = 0; k < 32; k++) {
    const top = Math.floor(xh * ${power(-15)});
    const carry = Math.floor(xl * ${power(-15)});
    xh = (xh - top * 32768) * 2 + carry;
    xl = (xl - carry * 32768) * 2;
    const over = Math.floor(rl * ${power(-15)});
    rh = rh * 2 + over;
    rl = (rl - over * 32768) * 2 + top;
    const out = Math.floor(qh * ${power(-15)});
    const up = Math.floor(ql * ${power(-15)});
    qh = (qh - out * 32768) * 2 + up;
    ql = (ql - up * 32768) * 2;
    if (rh > bh || (rh === bh && rl >= bl)) {
      rh = rh - bh; rl = rl - bl; ql = ql + 1;
      if (rl < 0) { rl = rl + 65536; rh = rh - 1; }
    }
  }
  let y = qh;
  if (part > 0.5) { y = ql; }
  if (part > 1.5) { y = rh; }
  if (part > 2.5) { y = rl; }
  return y;
}`;

/** Sources by name; parameters are numbers, and so is the result. A function may call those before it. */
export const functionSources: readonly string[] = [
  "function num(x) { return x; }",
  // Quotient rounded down, for whole numbers below 2^24: a division may be off by a unit, so its remainder is looked at.
  `function divide(x, w) {
    let q = Math.floor(x / w);
    const r = x - q * w;
    if (r < 0) { q = q - 1; }
    if (r >= w) { q = q + 1; }
    return q;
  }`,
  // 1 where x is no number. Written with comparisons, as compilers fold x !== x.
  "function notNumber(x) { let y = num(1); if (x <= 0) { y = num(0); } if (x > 0) { y = num(0); } return y; }",
  "function signOf(x) { let y = x; if (x > 0) { y = num(1); } if (x < 0) { y = num(-1); } return y; }",
  "function truncate(x) { let y = Math.floor(x); if (x < 0) { y = -Math.floor(-x); } return y; }",
  "function lesser(a, b) { let y = b; if (a < b) { y = a; } if (notNumber(a) > 0.5) { y = a; } return y; }",
  "function greater(a, b) { let y = b; if (a > b) { y = a; } if (notNumber(a) > 0.5) { y = a; } return y; }",
  `function halfToEven(v) {
    const f = Math.floor(v);
    const d = v - f;
    let r = f;
    if (d > 0.5) { r = f + 1; }
    if (d === 0.5) { r = f + (f - 2 * Math.floor(f * 0.5)); }
    return r;
  }`,
  // Words of 32 bits as two halves: the high one signed, the low one not. The outer floor changes nothing: it keeps drivers (Mesa's, for one) from
  // adding what comes after to x before the large part is taken away, which float32 cannot hold.
  `function wrap16(x) { return Math.floor(x - Math.floor(x * ${power(-16)}) * 65536); }`,
  `function sign16(x) { return Math.floor(x - Math.floor((x + 32768) * ${power(-16)}) * 65536); }`,
  // The product of two unsigned halves, b in two bytes: every product is below 2^24.
  `function productSum(a, b) {
    const b1 = Math.floor(b * ${power(-8)});
    const t = a * b1;
    return a * (b - b1 * 256) + (t - Math.floor(t * ${power(-8)}) * 256) * 256;
  }`,
  "function productLow(a, b) { return wrap16(productSum(a, b)); }",
  `function productHigh(a, b) {
    return Math.floor(a * Math.floor(b * ${power(-8)}) * ${power(-8)}) + Math.floor(productSum(a, b) * ${power(-16)});
  }`,
  `function and16(a, b) {
    let x = a; let y = b; let s = num(0); let p = num(1);
    for (let k = 0; k < 16; k++) {
      const u = Math.floor(x * 0.5);
      const v = Math.floor(y * 0.5);
      s = s + p * (x - 2 * u) * (y - 2 * v);
      p = p * 2; x = u; y = v;
    }
    return s;
  }`,
  longDivision,

  // 2^n for whole n within ±127.
  `function exp2i(n) {
    let m = Math.abs(n); let p = num(1);
    ${halvings.map((k) => `if (m >= ${k}) { m = m - ${k}; if (n < 0) { p = p * ${power(-k)}; } else { p = p * ${power(k)}; } }`).join("\n")}
    return p;
  }`,
  // The e with 2^e <= x < 2^(e+1), for positive numbers.
  `function exponentOf(x) {
    let m = x; let e = num(0);
    if (m < ${power(-126)}) { m = m * ${power(24)}; e = e - 24; }
    ${halvings.map((k) => `if (m >= ${power(k)}) { m = m * ${power(-k)}; e = e + ${k}; }`).join("\n")}
    ${halvings.map((k) => `if (m < ${power(1 - k)}) { m = m * ${power(k)}; e = e - ${k}; }`).join("\n")}
    return e;
  }`,
  "function scaleBy(x, n) { const h = Math.floor(n * 0.5); return x * exp2i(h) * exp2i(n - h); }",

  // a - floor(a / b) b, exactly: the largest multiples of b by powers of two are taken away first, and each difference is exact.
  `function floorModulo(a, b) {
    const divisor = Math.abs(b);
    let y = Math.abs(a);
    if (b !== 0 && divisor <= 3.4028234663852886e38 && y <= 3.4028234663852886e38) {
      if (y >= divisor) {
        const d = exponentOf(y) - exponentOf(divisor);
        let t = scaleBy(divisor, d);
        for (let k = 0; k < 280; k++) { if (k <= d) { if (y >= t) { y = y - t; } t = t * 0.5; } }
      }
      if (a < 0) { y = -y; }
      if ((y < 0 && b > 0) || (y > 0 && b < 0)) { y = y + b; }
    }
    else { y = a - Math.floor(a / b) * b; }
    return y;
  }`,

  // round(v) half to even as a word, saturated; 0 of what is no number.
  `function fixedHigh(v) {
    const r = halfToEven(v);
    let h = Math.floor(r * ${power(-16)});
    if (r >= 2147483648) { h = num(32767); }
    if (r < -2147483648) { h = num(-32768); }
    if (notNumber(v) > 0.5) { h = num(0); }
    return h;
  }`,
  `function fixedLow(v) {
    const r = halfToEven(v);
    let l = wrap16(r);
    if (r >= 2147483648) { l = num(65535); }
    if (r < -2147483648) { l = num(0); }
    if (notNumber(v) > 0.5) { l = num(0); }
    return l;
  }`,
  // A float32's word, from arithmetic. Part 0 is the high half, 1 the low one.
  `function wordOf(x, part) {
    let sign = num(0);
    if (x < 0) { sign = num(-32768); }
    if (x === 0) { if (1 / x < 0) { sign = num(-32768); } }
    const a = Math.abs(x);
    let e = num(0); let f = num(0);
    if (a > 0) {
      const n = exponentOf(a);
      if (n < -126) { f = a * ${power(100)} * ${power(49)}; }
      else { e = n + 127; f = (scaleBy(a, -n) - 1) * ${power(23)}; }
    }
    if (a > 3.4028234663852886e38) { e = num(255); f = num(0); }
    if (notNumber(x) > 0.5) { sign = num(0); e = num(255); f = num(4194304); }
    const top = Math.floor(f * ${power(-16)});
    let y = sign + e * 128 + top;
    if (part > 0.5) { y = wrap16(f); }
    return y;
  }`,
  // The float32 of a word. What is no number comes from the device's own square root.
  `function floatOf(high, low) {
    const h = wrap16(high);
    const negative = Math.floor(h * ${power(-15)});
    const e = Math.floor((h - negative * 32768) * ${power(-7)});
    const f = (h - negative * 32768 - e * 128) * 65536 + low;
    let y = scaleBy(f * ${power(-23)} + 1, Math.min(e, 254) - 127);
    if (e < 0.5) { y = f * ${power(-100)} * ${power(-49)}; }
    if (e > 254.5) { y = num(3.4028234663852886e38) * 2; if (f > 0.5) { y = Math.sqrt(0 - f); } }
    if (negative > 0.5) { y = -y; }
    return y;
  }`,

  `function ownExp(x) {
    const c = Math.min(Math.max(x, -104), 89);
    ${reduced("c")}
    return scaleBy(r * r * (${polynomial("r", exponential)}) + r + 1, n);
  }`,
  `function ownExpm1(x) {
    const c = Math.min(Math.max(x, -30), 89);
    ${reduced("c")}
    const q = r * r * (${polynomial("r", exponential)}) + r;
    let y = q;
    if (Math.abs(n) > 0.5) { const s = exp2i(n - 1); const half = s * q + (s - 0.5); y = half + half; }
    return y;
  }`,
  `function ownLog(x) {
    let e = exponentOf(x);
    let m = scaleBy(x, -e);
    if (m > ${Math.SQRT2}) { m = m * 0.5; e = e + 1; }
    const t = m - 1;
    const y = (${polynomial("t", logarithm)}) * t * t * t - e * 0.00021219444 - 0.5 * t * t;
    let result = e * 0.693359375 + (t + y);
    if (x > 3.4028234663852886e38) { result = x; }
    if (x <= 0) { result = Math.log(x); }
    return result;
  }`,
  `function ownLog1p(x) {
    const u = x + 1;
    let y = x;
    if (Math.abs(x) > 0.00001) { y = ownLog(u); if (Math.abs(x) < 16777216) { y = y + (x - (u - 1)) / u; } }
    else { y = x - 0.5 * x * x; }
    return y;
  }`,
  // Beyond 10 it is 1, to the last bit: the device's own is NaN from 50 on.
  `function ownTanh(x) {
    const a = Math.abs(x);
    const x2 = x * x;
    let y = x + x * x2 * (${polynomial("x2", tangent)});
    if (a >= 0.625) {
      y = 1 - 2 / (ownExp(Math.min(a + a, 20)) + 1);
      if (x < 0) { y = -y; }
    }
    return y;
  }`,
  `function ownErf(x) {
    const c = Math.min(Math.max(x, -4), 4);
    const x2 = c * c;
    let y = c * (${polynomial("x2", erfAbove)}) / (${polynomial("x2", erfBelow)});
    if (Math.abs(x) < 0.0001) { y = x * ${2 / Math.sqrt(Math.PI)}; }
    if (x >= 4) { y = num(1); }
    if (x <= -4) { y = num(-1); }
    return y;
  }`,
  // π/2 in four parts of few bits: n times each is exact up to n = 2^13.
  `function quarterTurns(x) { return Math.floor(x * ${2 / Math.PI} + 0.5); }`,
  `function withinQuarter(x, n) {
    return (((x - n * 1.5703125) - n * 0.0004837512969970703) - n * 7.549533620476723e-8) - n * 2.5633440682570896e-12;
  }`,
  `function sineOf(r) { const r2 = r * r; return r + r * r2 * (${polynomial("r2", sine)}); }`,
  `function cosineOf(r) { const r2 = r * r; return 1 - 0.5 * r2 + r2 * r2 * (${polynomial("r2", cosine)}); }`,
  // Quarter n of a turn: sine, cosine, -sine, -cosine.
  `function turned(r, n) {
    const q = n - 4 * Math.floor(n * 0.25);
    let y = sineOf(r);
    if (q > 0.5) { y = cosineOf(r); }
    if (q > 1.5) { y = -sineOf(r); }
    if (q > 2.5) { y = -cosineOf(r); }
    return y;
  }`,
  "function ownSin(x) { const n = quarterTurns(x); return turned(withinQuarter(x, n), n); }",
  "function ownCos(x) { const n = quarterTurns(x); return turned(withinQuarter(x, n), n + 1); }",
  `function ownPow(a, b) {
    const m = Math.abs(a);
    let y = ownExp(b * ownLog(m));
    if (m === 1) { y = num(1); }
    if (a < 0) {
      const whole = Math.floor(b);
      if (whole !== b) { y = Math.sqrt(a); }
      else { if (whole - 2 * Math.floor(whole * 0.5) > 0.5) { y = -y; } }
    }
    if (a === 0) { y = num(0); if (b < 0) { y = 1 / m; } }
    if (b === 0) { y = num(1); }
    return y;
  }`,
];

/** Name and number of parameters of a source. */
export function signature(source: string): { readonly name: string; readonly arity: number } {
  const [, name, list] = /^function (\w+)\(([^)]*)\)/.exec(source)!;
  return { name: name!, arity: list!.split(",").length };
}

const signatures = functionSources.map((source) => ({ source, ...signature(source) }));

/**
 * Statements for the beginning of a kernel that name every function it needs, callers first, in code that never runs. gpu.js orders functions
 * by where it meets them, without those they call: what WebGL then reads may use a function before its definition.
 */
export function namedInOrder(text: string): string {
  const needed = new Set<string>();
  // A function calls only those before it in the list.
  for (const { name, source } of [...signatures].reverse()) {
    const users = [text, ...signatures.filter((s) => needed.has(s.name)).map((s) => s.source)];
    if (users.some((t) => t !== source && t.includes(`${name}(`))) needed.add(name);
  }
  const calls = [...signatures].reverse().filter((s) => needed.has(s.name));
  const named = calls.map((s) => `order = ${s.name}(${new Array(s.arity).fill("order").join(", ")});`);
  return `let order = 0.5; if (0 > 1) { ${named.join(" ")} }`;
}
