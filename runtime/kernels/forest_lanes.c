#include "kernels/forest_plan.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

/* What every machine has: vectors of 16 bytes, or what the compiler makes of them. */
#define NAME run_portable
#define TARGET
#define WIDTH 16
#ifdef __SSE2__
#define PACK(out, a, b) out = (BYTES)_mm_packs_epi16((__m128i)(a), (__m128i)(b))
#else
#define PACK(out, a, b)                                                                            \
    out = __builtin_shufflevector((BYTES)(a), (BYTES)(b), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,   \
                                  22, 24, 26, 28, 30)
#endif
#include "kernels/forest_lanes.h"

#ifdef __x86_64__
#define NAME run_avx2
#define TARGET __attribute__((target("avx2")))
#define WIDTH 32
#define PACK(out, a, b) out = (BYTES)_mm256_packs_epi16((__m256i)(a), (__m256i)(b))
#include "kernels/forest_lanes.h"

#define NAME run_avx512
#define TARGET __attribute__((target("avx512f,avx512bw")))
#define WIDTH 64
#define PACK(out, a, b) out = (BYTES)_mm512_packs_epi16((__m512i)(a), (__m512i)(b))
#include "kernels/forest_lanes.h"
#endif

/* Two vectors of ranks become one of bytes; the processor does so in pieces of 16 bytes, half of
 * each from the one and half from the other. */
static struct forest_lanes lanes(forest_lanes_fn *run, unsigned width)
{
    struct forest_lanes l = {.run = run};
    for (unsigned r = 0; r < FOREST_BLOCK; r++) {
        unsigned byte = r % width, vector = r / width * 2 + byte % 16 / 8;
        l.at[r] = (unsigned char)(vector * (width / 2) + byte / 16 * 8 + byte % 8);
    }
    return l;
}

struct forest_lanes forest_lanes(enum forest_path path)
{
#ifdef __x86_64__
    bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512f");
    bool avx2 = __builtin_cpu_supports("avx2");
    if (avx512 && (path == FOREST_BEST || path == FOREST_AVX512)) return lanes(run_avx512, 64);
    if (avx2 && (path == FOREST_BEST || path == FOREST_AVX2)) return lanes(run_avx2, 32);
#endif
    if (path == FOREST_BEST || path == FOREST_PORTABLE) return lanes(run_portable, 16);
    return (struct forest_lanes){.run = NULL};
}
