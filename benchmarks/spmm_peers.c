// Kernels of the structure that XNNPACK ships for WebAssembly SIMD (f32-spmm, f32-gemm), written
// from its description: what benchmarks/wasm_peers.py times beside the generated ones. Arguments,
// packed weights and results are those of the generated kernels.
#include <stdint.h>
#include <wasm_simd128.h>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT(name) __attribute__((export_name(name), noinline))
#define SPMM_PARAMETERS                                                                    \
  uint32_t bytes, uint32_t channels, const float *input, const float *weights,            \
      const int32_t *steps, const uint32_t *counts, float *output, uint32_t stride,       \
      float low, float high
#define SPMM_VALUES bytes, channels, input, weights, steps, counts, output, stride, low, high
#define GEMM_PARAMETERS                                                                    \
  uint32_t rows, uint32_t channels, uint32_t depth, const float *a, uint32_t a_stride,    \
      const float *weights, float *c, uint32_t c_stride, float low, float high
#define GEMM_VALUES rows, channels, depth, a, a_stride, weights, c, c_stride, low, high

typedef v128_t vec;

INLINE const float *behind(const float *at, int32_t bytes) {
  return (const float *)((uintptr_t)at + (uintptr_t)bytes);
}

INLINE vec multiply_add(vec total, vec a, vec b) {
#ifdef __wasm_relaxed_simd__
  return wasm_f32x4_relaxed_madd(a, b, total);
#else
  return wasm_f32x4_add(total, wasm_f32x4_mul(a, b));
#endif
}

INLINE vec limited(vec value, float low, float high) {
  vec most = wasm_f32x4_pmin(wasm_f32x4_splat(high), value);
  return wasm_f32x4_pmax(wasm_f32x4_splat(low), most);
}

INLINE vec load(const float *at, int lanes) {
  if (lanes == 4) return wasm_v128_load(at);
  return lanes == 2 ? wasm_v128_load64_zero(at) : wasm_v128_load32_zero(at);
}

INLINE void store(float *at, vec value, int lanes) {
  if (lanes == 4) wasm_v128_store(at, value);
  else if (lanes == 2) wasm_v128_store64_lane(at, value, 0);
  else wasm_v128_store32_lane(at, value, 0);
}

// One strip of n vectors over all output channels; `turn` nonzeros per turn of the inner loop, each
// with accumulators of its own. Returns where the input ends: where it began.
INLINE const float *strip(int n, int lanes, int turn, SPMM_PARAMETERS) {
  do {
    uint32_t left = *counts++;
    vec total[8], second[8];
    total[0] = wasm_v128_load32_splat(weights++);
    for (int i = 1; i < n; i++) total[i] = total[0];
    if (turn == 2) {
      for (int i = 0; i < n; i++) second[i] = wasm_f32x4_const_splat(0);
      for (; left >= 2; left -= 2, steps += 2, weights += 2)
        for (int u = 0; u < 2; u++) {
          vec weight = wasm_v128_load32_splat(weights + u);
          vec *sums = u ? second : total;
          for (int i = 0; i < n; i++)
            sums[i] = multiply_add(sums[i], load(input + 4 * i, lanes), weight);
          input = behind(input, steps[u]);
        }
      for (int i = 0; i < n; i++) total[i] = wasm_f32x4_add(total[i], second[i]);
    }
    if (left) do {
      int32_t step = *steps++;
      vec pixels[8];
      for (int i = 0; i < n; i++) pixels[i] = load(input + 4 * i, lanes);
      input = behind(input, step);
      vec weight = wasm_v128_load32_splat(weights++);
      for (int i = 0; i < n; i++) total[i] = multiply_add(total[i], pixels[i], weight);
    } while (--left);
    for (int i = 0; i < n; i++) store(output + 4 * i, limited(total[i], low, high), lanes);
    output = (float *)((uintptr_t)output + stride);
  } while (--channels);
  return input;
}

// The same, multiplying what the turn before has loaded.
INLINE const float *pipelined(int n, SPMM_PARAMETERS) {
  vec weight = wasm_v128_load32_splat(weights++), pixels[8];
  int32_t step = *steps++;
  for (int i = 0; i < n; i++) pixels[i] = wasm_v128_load(input + 4 * i);
  do {
    uint32_t left = *counts++;
    vec total[8];
    for (int i = 0; i < n; i++) total[i] = weight;
    weight = wasm_v128_load32_splat(weights++);
    if (left) do {
      for (int i = 0; i < n; i++) total[i] = multiply_add(total[i], pixels[i], weight);
      input = behind(input, step);
      step = *steps++;
      weight = wasm_v128_load32_splat(weights++);
      for (int i = 0; i < n; i++) pixels[i] = wasm_v128_load(input + 4 * i);
    } while (--left);
    for (int i = 0; i < n; i++) wasm_v128_store(output + 4 * i, limited(total[i], low, high));
    output = (float *)((uintptr_t)output + stride);
  } while (--channels);
  return input;
}

#define PASS(pixels, loops) (input = (loops) + (pixels), output += (pixels))
#define SPMM(id, name, mr, turn, loops)                                                    \
  EXPORT(name) void id(SPMM_PARAMETERS) {                                                  \
    for (; bytes >= 4 * mr; bytes -= 4 * mr) PASS(mr, loops);                              \
    if (mr > 16 && bytes & 64) PASS(16, strip(4, 4, turn, SPMM_VALUES));                   \
    if (bytes & 32) PASS(8, strip(2, 4, turn, SPMM_VALUES));                               \
    if (bytes & 16) PASS(4, strip(1, 4, turn, SPMM_VALUES));                               \
    if (bytes & 8) PASS(2, strip(1, 2, turn, SPMM_VALUES));                                \
    if (bytes & 4) PASS(1, strip(1, 1, turn, SPMM_VALUES));                                \
  }                                                                                        \
  EXPORT("repeated_" name) void repeated_##id(SPMM_PARAMETERS, uint32_t times) {           \
    while (times--) id(SPMM_VALUES);                                                       \
  }

SPMM(spmm_16x1, "16x1", 16, 1, strip(4, 4, 1, SPMM_VALUES))
SPMM(spmm_16x1_u2, "16x1-u2", 16, 2, strip(4, 4, 2, SPMM_VALUES))
SPMM(spmm_16x1_pipelined, "16x1-pipelined", 16, 1, pipelined(4, SPMM_VALUES))
SPMM(spmm_32x1, "32x1", 32, 1, strip(8, 4, 1, SPMM_VALUES))
SPMM(spmm_32x1_pipelined, "32x1-pipelined", 32, 1, pipelined(8, SPMM_VALUES))

// m rows by all output channels, 8 at a time. "splat" loads 4 values of each row and spreads them by
// shuffles; "loadsplat" loads and spreads one value of each row per turn.
INLINE void dense(int m, int splat, GEMM_PARAMETERS) {
  for (int32_t rest = (int32_t)channels; rest > 0; rest -= 8, c += 8) {
    vec total[12];
    const float *row[6];
    uint32_t left = depth;
    for (int i = 0; i < m; i++) {
      total[2 * i] = wasm_v128_load(weights);
      total[2 * i + 1] = wasm_v128_load(weights + 4);
      row[i] = behind(a, i * (int32_t)a_stride);
    }
    weights += 8;
    if (splat) for (; left >= 4; left -= 4) {
      vec values[6];
      for (int i = 0; i < m; i++) values[i] = wasm_v128_load(row[i]), row[i] += 4;
#define LANE(at)                                                                           \
  for (int i = 0; i < m; i++) {                                                            \
    vec value = wasm_i32x4_shuffle(values[i], values[i], at, at, at, at);                  \
    total[2 * i] = multiply_add(total[2 * i], value, wasm_v128_load(weights + 8 * at));    \
    vec right = wasm_v128_load(weights + 8 * at + 4);                                      \
    total[2 * i + 1] = multiply_add(total[2 * i + 1], value, right);                       \
  }
      LANE(0) LANE(1) LANE(2) LANE(3)
      weights += 32;
    }
    for (; left; left--, weights += 8)
      for (int i = 0; i < m; i++) {
        vec value = wasm_v128_load32_splat(row[i]++);
        total[2 * i] = multiply_add(total[2 * i], value, wasm_v128_load(weights));
        total[2 * i + 1] = multiply_add(total[2 * i + 1], value, wasm_v128_load(weights + 4));
      }
    for (int i = 0; i < m; i++) {
      float *to = (float *)((uintptr_t)c + i * c_stride);
      wasm_v128_store(to, limited(total[2 * i], low, high));
      wasm_v128_store(to + 4, limited(total[2 * i + 1], low, high));
    }
  }
}

#define NEXT(m) (a = behind(a, (m) * (int32_t)a_stride),                                   \
                 c = (float *)((uintptr_t)c + (m) * c_stride), rows -= (m))
#define GEMM(id, name, m, splat)                                                           \
  EXPORT(name) void id(GEMM_PARAMETERS) {                                                  \
    for (; rows >= m; NEXT(m)) dense(m, splat, GEMM_VALUES);                               \
    for (; rows; NEXT(1)) dense(1, splat, GEMM_VALUES);                                    \
  }                                                                                        \
  EXPORT("repeated_" name) void repeated_##id(GEMM_PARAMETERS, uint32_t times) {           \
    while (times--) id(GEMM_VALUES);                                                       \
  }

GEMM(gemm_4x8, "gemm-4x8-loadsplat", 4, 0)
GEMM(gemm_5x8, "gemm-5x8-loadsplat", 5, 0)
GEMM(gemm_6x8, "gemm-6x8-loadsplat", 6, 0)
GEMM(gemm_4x8_splat, "gemm-4x8-splat", 4, 1)
GEMM(gemm_5x8_splat, "gemm-5x8-splat", 5, 1)
GEMM(gemm_6x8_splat, "gemm-6x8-splat", 6, 1)
