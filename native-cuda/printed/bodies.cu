// Written by packages/backend-cuda/test/printed.test.ts: `npm test -- printed.test.ts -u`; do not edit.
// a0, a1: elements as they are stored; wide and narrow (kernels/prelude.cu) take them to the numbers they are computed with and
// back. In float64 the same with double for float, and without the letter f. What is not C's own is in kernels/map.cu.

// add: x + y; integers wrap
float add(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 + x1)); }
int add(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((int)((u32)x0 + (u32)x1)); }
truth add(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((int)((u32)x0 + (u32)x1)); }

// atan2: angle of the point (y = first, x = second)
float atan2(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((float)atan2((double)x0, (double)x1)); }

// bitwiseAnd: bits set in both
int bitwiseAnd(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((x0 & x1)); }

// bitwiseOr: bits set in either
int bitwiseOr(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((x0 | x1)); }

// bitwiseXor: bits set in exactly one
int bitwiseXor(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((x0 ^ x1)); }

// div: x / y
float div(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 / x1)); }

// equal: x = y
truth equal(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>((x0 == x1)); }
truth equal(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 == x1)); }
truth equal(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 == x1)); }

// floorDivide: x / y rounded down
int floorDivide(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((int)((u32)quotient(x0, x1) - (u32)((floorMod(x0, x1) == (int)((u32)x0 - (u32)(int)((u32)quotient(x0, x1) * (u32)x1))) ? 0 : 1))); }

// floorMod: what floorDivide leaves, with the sign of y
int floorMod(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>(floorMod(x0, x1)); }

// greater: x > y
truth greater(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>((x1 < x0)); }
truth greater(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x1 < x0)); }
truth greater(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x1 < x0)); }

// greaterEqual: x ≥ y
truth greaterEqual(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>((x1 <= x0)); }
truth greaterEqual(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x1 <= x0)); }
truth greaterEqual(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x1 <= x0)); }

// less: x < y
truth less(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>((x0 < x1)); }
truth less(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 < x1)); }
truth less(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 < x1)); }

// lessEqual: x ≤ y
truth lessEqual(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>((x0 <= x1)); }
truth lessEqual(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 <= x1)); }
truth lessEqual(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 <= x1)); }

// logicalAnd: both true
truth logicalAnd(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 & x1)); }

// logicalOr: at least one true
truth logicalOr(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 | x1)); }

// logicalXor: exactly one true
truth logicalXor(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((x0 ^ x1)); }

// maximum: the larger; ties share the gradient
float maximum(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>(greater(x0, x1)); }
int maximum(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>(greater(x0, x1)); }
truth maximum(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>(greater(x0, x1)); }

// minimum: the smaller; ties share the gradient
float minimum(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>(lesser(x0, x1)); }
int minimum(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>(lesser(x0, x1)); }
truth minimum(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>(lesser(x0, x1)); }

// mod: remainder with the sign of y
float mod(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>(floorMod(x0, x1)); }

// mul: x * y; integers wrap
float mul(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 * x1)); }
int mul(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((int)((u32)x0 * (u32)x1)); }
truth mul(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((int)((u32)x0 * (u32)x1)); }

// notEqual: x ≠ y (true for NaN)
truth notEqual(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<truth>(((x0 == x1) == 0)); }
truth notEqual(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>(((x0 == x1) == 0)); }
truth notEqual(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>(((x0 == x1) == 0)); }

// pow: x^y
float pow(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((float)powerOf((double)x0, (double)x1)); }

// shiftLeft: x · 2^y, wrapping
int shiftLeft(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((int)((u32)x0 << (x1 & 31))); }

// shiftRight: x / 2^y rounded down
int shiftRight(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((x0 >> (x1 & 31))); }

// sub: x - y; integers wrap
float sub(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 - x1)); }
int sub(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<int>((int)((u32)x0 - (u32)x1)); }
truth sub(truth a0, truth a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<truth>((int)((u32)x0 - (u32)x1)); }

// dequantiseChannels: narrow fixed point to f32: x / scale; straight-through gradient
float dequantiseChannels(i16 a0, float a1) { const int x0 = wide(a0); const float x1 = wide(a1); return narrow<float>(((float)x0 / x1)); }

// quantiseChannels: f32 to narrow fixed point: round(x · scale) half to even, saturating, NaN to 0; straight-through gradient
i8 quantiseChannels(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<i8>(lesser(greater(fixedPoint((x0 * x1)), (-128)), 127)); }

// dequantise: fixed point to f32: float32(x) · 2^-s; straight-through gradient
float dequantise(int a0) { const int x0 = wide(a0); return narrow<float>(((float)x0 * 0.0000152587890625f)); }

// quantise: f32 to fixed point: round(x · 2^s) half to even, saturating, NaN to 0; straight-through gradient
int quantise(float a0) { const float x0 = wide(a0); return narrow<int>(fixedPoint((x0 * 65536.0f))); }

// snapToGrid: the nearest multiple of 2^-s within ±2^(24-s), half to even, NaN to 0; straight-through gradient
float snapToGrid(float a0) { const float x0 = wide(a0); return narrow<float>(((((rintf((x0 * 65536.0f)) == 0.0f) ? 0.0f : ((rintf((x0 * 65536.0f)) == rintf((x0 * 65536.0f))) ? ((16777216.0f < rintf((x0 * 65536.0f))) ? 16777216.0f : ((rintf((x0 * 65536.0f)) < (-16777216.0f)) ? (-16777216.0f) : rintf((x0 * 65536.0f)))) : 0.0f)) == 0.0f) ? 0.0f : ((rintf((x0 * 65536.0f)) == 0.0f) ? 0.0f : ((rintf((x0 * 65536.0f)) == rintf((x0 * 65536.0f))) ? ((16777216.0f < rintf((x0 * 65536.0f))) ? 256.0f : ((rintf((x0 * 65536.0f)) < (-16777216.0f)) ? (-256.0f) : (rintf((x0 * 65536.0f)) * 0.0000152587890625f))) : 0.0f)))); }

// fromOrdered: the float32 of a rank
float fromOrdered(int a0) { const int x0 = wide(a0); return narrow<float>((float)__uint_as_float((u32)(x0 ^ ((x0 >> (31 & 31)) & 2147483647)))); }

// toOrdered: the rank of a float32 among all float32 numbers, an i32; NaN lies beyond the infinities
int toOrdered(float a0) { const float x0 = wide(a0); return narrow<int>(((int)__float_as_uint((float)x0) ^ (((int)__float_as_uint((float)x0) >> (31 & 31)) & 2147483647))); }

// bitsToNormal: two random words to one standard normal number (Box-Muller)
float bitsToNormal(int a0, int a1) { const int x0 = wide(a0); const int x1 = wide(a1); return narrow<float>((sqrtf(((-2.0f) * logf((((float)((u32)x0 >> (8 & 31)) + 1.0f) * 5.960464477539063e-8f)))) * cosf((6.2831854820251465f * ((float)((u32)x1 >> (8 & 31)) * 5.960464477539063e-8f))))); }

// bitsToUniform: random words to [0, 1): top 24 bits times 2^-24
float bitsToUniform(int a0) { const int x0 = wide(a0); return narrow<float>(((float)((u32)x0 >> (8 & 31)) * 5.960464477539063e-8f)); }

// abs: |x|; gradient 0 at 0
float abs(float a0) { const float x0 = wide(a0); return narrow<float>(fabsf(x0)); }
int abs(int a0) { const int x0 = wide(a0); return narrow<int>((x0 < 0 ? (int)(0u - (u32)x0) : x0)); }
truth abs(truth a0) { const int x0 = wide(a0); return narrow<truth>(fabsf(x0)); }

// bitwiseNot: every bit inverted
int bitwiseNot(int a0) { const int x0 = wide(a0); return narrow<int>((~x0)); }

// ceil: smallest integer not below x
float ceil(float a0) { const float x0 = wide(a0); return narrow<float>(ceilf(x0)); }

// cos: cosine of radians
float cos(float a0) { const float x0 = wide(a0); return narrow<float>(cosf(x0)); }

// erf: error function
float erf(float a0) { const float x0 = wide(a0); return narrow<float>(erff(x0)); }

// exp: e^x
float exp(float a0) { const float x0 = wide(a0); return narrow<float>(accurateExp(x0)); }

// expm1: e^x - 1, accurate near 0
float expm1(float a0) { const float x0 = wide(a0); return narrow<float>(expm1f(x0)); }

// finite: true where x is neither NaN nor infinite
truth finite(float a0) { const float x0 = wide(a0); return narrow<truth>(((x0 - x0) == 0.0f)); }
truth finite(int a0) { const int x0 = wide(a0); return narrow<truth>(((int)((u32)x0 - (u32)x0) == 0)); }
truth finite(truth a0) { const int x0 = wide(a0); return narrow<truth>(((int)((u32)x0 - (u32)x0) == 0)); }

// floor: largest integer not above x
float floor(float a0) { const float x0 = wide(a0); return narrow<float>(floorf(x0)); }

// gelu: GELU, tanh form
float gelu(float a0) { const float x0 = wide(a0); return narrow<float>((x0 * sigmoidOf((x0 * (1.5957691669464111f + (0.07135481387376785f * (x0 * x0))))))); }

// geluExact: GELU, x times the normal distribution function
float geluExact(float a0) { const float x0 = wide(a0); return narrow<float>(((0.5f * x0) * (1.0f + erff((0.7071067690849304f * x0))))); }

// isNan: true where x is not a number
truth isNan(float a0) { const float x0 = wide(a0); return narrow<truth>(((x0 == x0) == 0)); }
truth isNan(int a0) { const int x0 = wide(a0); return narrow<truth>(((x0 == x0) == 0)); }
truth isNan(truth a0) { const int x0 = wide(a0); return narrow<truth>(((x0 == x0) == 0)); }

// log: natural logarithm
float log(float a0) { const float x0 = wide(a0); return narrow<float>(logf(x0)); }

// log1p: log(1 + x), accurate near 0
float log1p(float a0) { const float x0 = wide(a0); return narrow<float>(log1pf(x0)); }

// logicalNot: true where x is false
truth logicalNot(truth a0) { const int x0 = wide(a0); return narrow<truth>((x0 == 0)); }

// neg: -x
float neg(float a0) { const float x0 = wide(a0); return narrow<float>((-x0)); }
int neg(int a0) { const int x0 = wide(a0); return narrow<int>((int)(0u - (u32)x0)); }
truth neg(truth a0) { const int x0 = wide(a0); return narrow<truth>((-x0)); }

// reciprocal: 1 / x
float reciprocal(float a0) { const float x0 = wide(a0); return narrow<float>((1.0f / x0)); }

// relu: max(x, 0); gradient 0 at 0; NaN stays NaN
float relu(float a0) { const float x0 = wide(a0); return narrow<float>(((x0 <= 0.0f) ? 0.0f : x0)); }

// round: nearest integer, ties to even
float round(float a0) { const float x0 = wide(a0); return narrow<float>(rintf(x0)); }

// rsqrt: 1 / sqrt(x)
float rsqrt(float a0) { const float x0 = wide(a0); return narrow<float>((1.0f / sqrtf(x0))); }

// sigmoid: 1 / (1 + e^-x)
float sigmoid(float a0) { const float x0 = wide(a0); return narrow<float>(sigmoidOf(x0)); }

// sign: -1, 0 or 1
float sign(float a0) { const float x0 = wide(a0); return narrow<float>(signOf(x0)); }
int sign(int a0) { const int x0 = wide(a0); return narrow<int>(signOf(x0)); }
truth sign(truth a0) { const int x0 = wide(a0); return narrow<truth>(signOf(x0)); }

// silu: x * sigmoid(x) (swish)
float silu(float a0) { const float x0 = wide(a0); return narrow<float>((x0 * sigmoidOf(x0))); }

// sin: sine of radians
float sin(float a0) { const float x0 = wide(a0); return narrow<float>(sinf(x0)); }

// softplus: log(1 + e^x) without overflow
float softplus(float a0) { const float x0 = wide(a0); return narrow<float>((greater(x0, 0.0f) + log1pf(accurateExp((-fabsf(x0)))))); }

// sqrt: square root
float sqrt(float a0) { const float x0 = wide(a0); return narrow<float>(sqrtf(x0)); }

// square: x * x
float square(float a0) { const float x0 = wide(a0); return narrow<float>((x0 * x0)); }

// tanh: hyperbolic tangent
float tanh(float a0) { const float x0 = wide(a0); return narrow<float>(tanhf(x0)); }

// trunc: x without its fraction
float trunc(float a0) { const float x0 = wide(a0); return narrow<float>(truncf(x0)); }

// where: x where the condition holds, else y
float where(truth a0, float a1, float a2) { const int x0 = wide(a0); const float x1 = wide(a1); const float x2 = wide(a2); return narrow<float>((x0 ? x1 : x2)); }
int where(truth a0, int a1, int a2) { const int x0 = wide(a0); const int x1 = wide(a1); const int x2 = wide(a2); return narrow<int>((x0 ? x1 : x2)); }
truth where(truth a0, truth a1, truth a2) { const int x0 = wide(a0); const int x1 = wide(a1); const int x2 = wide(a2); return narrow<truth>((x0 ? x1 : x2)); }

// cast
bf16 cast(float a0) { typedef bf16 Y; return Cast<Y>::from(wide(a0)); }
int cast(float a0) { typedef int Y; return Cast<Y>::from(wide(a0)); }
float cast(truth a0) { typedef float Y; return narrow<Y>(wide(a0)); }
