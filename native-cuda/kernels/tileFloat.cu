// Products of tiles in float32: [ROWS, COLUMNS] += a [ROWS, STEP] · b [STEP, COLUMNS] by a block's threads, 8 columns of an eighth of the rows each, in
// ascending order along STEP. The same names, for 16-bit floats on tensor cores, are tileHalf.cu's. T: float. ROWS: 16, 32 or 64.

enum { COLUMNS = 128, THREADS = 128, BLOCKS = 4, STEP = 16, NEIGHBOURS = 4, MINE = ROWS / 8 };

/** A step's operands in shared memory. What is beyond them keeps the columns of `a` off each other's banks. */
struct Tiles {
  float a[STEP][ROWS + 4];
  float b[STEP][COLUMNS + 4];
};
static __device__ __forceinline__ void putLeft(Tiles& tiles, int row, int k, T v) { tiles.a[k][row] = v; }
template <bool isByColumn>
static __device__ __forceinline__ void putRight(Tiles& tiles, int k, int column, T v) {
  tiles.b[k][column] = v;
}

struct Sums {
  float v[MINE][8] = {};

  enum { RUN = MINE < 4 ? MINE : 4 };
  /** A thread's rows and columns: four neighbours, and where it has eight, four in the other half. */
  static __device__ __forceinline__ int rowOf(int i) { return (int)threadIdx.x / 16 * RUN + i % RUN + i / RUN * (ROWS / 2); }
  static __device__ __forceinline__ int columnOf(int j) { return (int)threadIdx.x % 16 * 4 + (j & 3) + (j >> 2) * (COLUMNS / 2); }

  template <bool isByColumn>
  __device__ __forceinline__ void add(const Tiles& tiles) {
    typedef Pack<float, 4> Four;
#pragma unroll 2
    for (int k = 0; k < STEP; k++) {
      Pack<float, RUN> a[MINE / RUN];
#pragma unroll
      for (int i = 0; i < MINE / RUN; i++) a[i] = *(const Pack<float, RUN>*)&tiles.a[k][rowOf(i * RUN)];
      const Four b[2] = {*(const Four*)&tiles.b[k][columnOf(0)], *(const Four*)&tiles.b[k][columnOf(4)]};
#pragma unroll
      for (int i = 0; i < MINE; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) v[i][j] = multiplyAdd(a[i / RUN].v[i % RUN], b[j >> 2].v[j & 3], v[i][j]);
    }
  }

  /** `store(placeOf(column), row, column, sums)` for every run of NEIGHBOURS columns. */
  template <class PlaceOf, class Store>
  __device__ __forceinline__ void each(const PlaceOf& placeOf, const Store& store) const {
#pragma unroll
    for (int j = 0; j < 8; j += NEIGHBOURS) {
      const auto place = placeOf(columnOf(j));
#pragma unroll
      for (int i = 0; i < MINE; i++) store(place, rowOf(i), columnOf(j), v[i] + j);
    }
  }
};
