/* For any processor: what compilers make of vectors of 16 bytes, which all have in some form. */
#define WIDTH 16
#define SELECT(m, a, b) ((b) ^ (((a) ^ (b)) & (m)))
#define CODE fast_portable
#include "kernels/trees_fast_code.h"

static void one(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                uint8_t *leaf)
{
    walk_each(f, b, bins, leaf, true);
}

#define IN_ORDER                                                                                   \
    {                                                                                              \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,  \
            25, 26, 27, 28, 29, 30, 31                                                             \
    }
const struct fast_code fast_portable = {"portable", code_row, code_rows, one,
                                        batch,      IN_ORDER, IN_ORDER};
