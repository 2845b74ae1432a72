/* forest_lanes.h - the steps of a plan, for one width of vectors; forest_lanes.c includes it once
 * for each. Wants NAME, TARGET (an attribute or nothing), WIDTH (bytes), PACK(out, a, b) (words of
 * 0 or -1 to bytes). Nothing but these differs: what is tested with one width holds for the others.
 */
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define WORDS PASTE(NAME, _words)
#define BYTES PASTE(NAME, _bytes)
#define FOURS PASTE(NAME, _fours)

typedef int16_t WORDS __attribute__((vector_size(WIDTH), may_alias));
typedef uint8_t BYTES __attribute__((vector_size(WIDTH), may_alias));
typedef uint32_t FOURS __attribute__((vector_size(WIDTH), may_alias));

TARGET static void NAME(const struct forest_step *step, const struct forest_step *last,
                        const struct forest_step *end, const int16_t *rank, unsigned char *slots,
                        unsigned char *labels)
{
    enum { VECTORS = FOREST_BLOCK / WIDTH };
    const unsigned char *ranks = (const unsigned char *)rank;
    BYTES sum[VECTORS];
    for (int i = 0; i < VECTORS; i++) {
        sum[i] = (BYTES){0};
        ((BYTES *)(void *)slots)[i] = ~sum[i];
    }
    const BYTES *rows = (const BYTES *)(const void *)slots;
#define WORDS_AT(i) (*(const WORDS *)(const void *)(ranks + column + (i) * (size_t)WIDTH))
#define SLOT(offset, i) (*(BYTES *)(void *)(slots + (offset) + (i) * (size_t)WIDTH))
    /* Unrolled by hand: the sums must stay in registers, whatever the optimization. */
#define EACH(ONE)                                                                                  \
    ONE(0)                                                                                         \
    ONE(1)                                                                                         \
    ONE(2)                                                                                         \
    ONE(3)
    for (; step < last; step++, rows += VECTORS) {
        size_t column = step->column, left = step->left, right = step->right;
        WORDS cut = (WORDS)(step->cut - (FOURS){0});
        BYTES label = (BYTES)(step->label - (FOURS){0});
#define ONE(i)                                                                                     \
    if ((i) < VECTORS) {                                                                           \
        enum { AT = (i) < VECTORS ? (i) : 0 };                                                     \
        BYTES below, here = rows[AT];                                                              \
        PACK(below, (WORDS)(cut > WORDS_AT(2 * AT)), (WORDS)(cut > WORDS_AT(2 * AT + 1)));         \
        below &= here;                                                                             \
        SLOT(left, AT) = below;                                                                    \
        SLOT(right, AT) = here ^ below;                                                            \
        sum[AT] += below & label;                                                                  \
    }
        EACH(ONE)
#undef ONE
    }
    for (; step < end; step++, rows += VECTORS) {
        size_t column = step->column;
        WORDS cut = (WORDS)(step->cut - (FOURS){0});
#define ONE(i)                                                                                     \
    if ((i) < VECTORS) {                                                                           \
        enum { AT = (i) < VECTORS ? (i) : 0 };                                                     \
        BYTES below;                                                                               \
        PACK(below, (WORDS)(cut > WORDS_AT(2 * AT)), (WORDS)(cut > WORDS_AT(2 * AT + 1)));         \
        sum[AT] -= below & rows[AT]; /* a mask is -1 */                                            \
    }
        EACH(ONE)
#undef ONE
    }
    for (int i = 0; i < VECTORS; i++) ((BYTES *)(void *)labels)[i] = sum[i];
}

#undef EACH
#undef SLOT
#undef WORDS_AT
#undef PASTE_
#undef PASTE
#undef WORDS
#undef BYTES
#undef FOURS
#undef NAME
#undef TARGET
#undef WIDTH
#undef PACK
