// Products of tiles of 16-bit floats on tensor cores, with float32 sums: [ROWS, COLUMNS] += a [ROWS, STEP] · b [STEP, COLUMNS] by
// four warps, half of the rows and columns each. The same names, for float32, are tileFloat.cu's. T: bf16 or f16. ROWS: 32 or 64.

enum { COLUMNS = 128, THREADS = 128, BLOCKS = 3, STEP = 32, NEIGHBOURS = 2, MINE = ROWS / 32 };

/** A step's operands in shared memory; b lies by row, or by column where neighbours along STEP are put together. Rows end on other banks than they began. */
struct Tiles {
  u16 a[ROWS][STEP + 8];
  union {
    u16 b[STEP][COLUMNS + 8];
    u16 byColumn[COLUMNS][STEP + 8];
  };
};
static __device__ __forceinline__ void putLeft(Tiles& tiles, int row, int k, T v) { tiles.a[row][k] = v.bits; }
template <bool isByColumn>
static __device__ __forceinline__ void putRight(Tiles& tiles, int k, int column, T v) {
  if (isByColumn) tiles.byColumn[column][k] = v.bits;
  else tiles.b[k][column] = v.bits;
}

struct Sums {
  float v[MINE][8][4] = {};

  static __device__ __forceinline__ int row0() { return (int)threadIdx.x / 64 * (ROWS / 2); }
  static __device__ __forceinline__ int column0() { return (int)threadIdx.x / 32 % 2 * 64; }

  template <bool isByColumn>
  __device__ __forceinline__ void add(const Tiles& tiles) {
    const int lane = threadIdx.x & 31;
    const SharedAt a = sharedAt(&tiles.a[row0() + (lane & 15)][lane / 16 * 8]);
    const SharedAt b = isByColumn ? sharedAt(&tiles.byColumn[column0() + (lane & 7) + lane / 16 * 8][lane / 8 % 2 * 8])
                                  : sharedAt(&tiles.b[lane & 15][column0() + lane / 16 * 8]);
#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
      u32 left[MINE][4];
#pragma unroll
      for (int i = 0; i < MINE; i++) loadTiles<false>(left[i], further(a, i * 16 * (STEP + 8) + k));
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        u32 right[4];
        loadTiles<!isByColumn>(right, further(b, isByColumn ? j * 8 * (STEP + 8) + k : k * (COLUMNS + 8) + j * 8));
#pragma unroll
        for (int i = 0; i < MINE; i++) {
          multiplyTiles(v[i][j], left[i], right);
          multiplyTiles(v[i][j + 1], left[i], right + 2);
        }
      }
    }
  }

  /** `store(placeOf(column), row, column, sums)` for every run of NEIGHBOURS columns. */
  template <class PlaceOf, class Store>
  __device__ __forceinline__ void each(const PlaceOf& placeOf, const Store& store) const {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const int column = column0() + 8 * j + 2 * t;
      const auto place = placeOf(column);
#pragma unroll
      for (int i = 0; i < MINE; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) store(place, row0() + 16 * i + g + 8 * half, column, v[i][j] + 2 * half);
    }
  }
};
