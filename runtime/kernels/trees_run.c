/* Predicting with the fast form (trees_fast.h): rows become codes, codes bytes, bytes leaves. */
#include "kernels/trees_fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEW = 12,           /* rows; fewer are cheaper one by one */
    FEW_SOURCES = 1024, /* whose codes lie on the stack */
    ALIGNED = 64
};

static _Atomic(const struct fast_code *) chosen;

static const struct fast_code *best(void)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2")) return &fast_avx2;
#endif
    return &fast_portable;
}

static const struct fast_code *vector_code(void)
{
    const struct fast_code *code = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (code != NULL) return code;
    code = best();
    atomic_store_explicit(&chosen, code, memory_order_relaxed);
    return code;
}

const char *trees_vector_code(void) { return vector_code()->name; }

bool trees_choose_vector_code(const char *name)
{
    const struct fast_code *code = best();
    if (name != NULL && strcmp(name, code->name) != 0) {
        if (strcmp(name, fast_portable.name) != 0) return false;
        code = &fast_portable;
    }
    atomic_store(&chosen, code);
    return true;
}

/* --- one row --------------------------------------------------------------------------------- */

static void add_single(const struct trees *t, const struct fast_block *b, const uint8_t *leaf,
                       double *out)
{
    const struct trees_fast *f = t->fast;
    const float *values = f->values;
    const struct fast_tree *ft = f->trees + b->first, *end = ft + b->count;
    float sum = (float)out[0];
    if (t->groups == 1 && b->full == b->count) { /* their leaves lie one behind the other */
        values += ft->values;
        for (uint32_t i = 0; i < b->count; i++) sum += values[i * FAST_LEAVES + leaf[i]];
        out[0] = (double)sum;
        return;
    }
    if (t->groups == 1) {
        for (; ft < end; ft++) sum += values[ft->values + leaf[ft->slot]];
        out[0] = (double)sum;
        return;
    }
    for (; ft < end; ft++)
        out[ft->group] = (double)((float)out[ft->group] + values[ft->values + leaf[ft->slot]]);
}

static void add_double(const struct trees *t, const struct fast_block *b, const uint8_t *leaf,
                       double *out)
{
    const struct trees_fast *f = t->fast;
    const double *values = f->values;
    const struct fast_tree *ft = f->trees + b->first, *end = ft + b->count;
    double sum = out[0];
    if (t->groups == 1 && b->full == b->count) {
        values += ft->values;
        for (uint32_t i = 0; i < b->count; i++) sum += values[i * FAST_LEAVES + leaf[i]];
        out[0] = sum;
        return;
    }
    if (t->groups == 1) {
        for (; ft < end; ft++) sum += values[ft->values + leaf[ft->slot]];
        out[0] = sum;
        return;
    }
    for (; ft < end; ft++) out[ft->group] += values[ft->values + leaf[ft->slot]];
}

static void add_walked(const struct trees *t, const struct fast_block *b, const double *x,
                       double *out)
{
    const struct fast_tree *ft = t->fast->trees + b->first, *end = ft + b->count;
    for (; ft < end; ft++) {
        double value = trees_walk_tree(t, &t->trees[ft->tree], x), *sum = &out[ft->group];
        *sum = t->single ? (double)((float)*sum + (float)value) : *sum + value;
    }
}

static bool walked(const struct trees_fast *f, const struct fast_block *b)
{
    return f->trees[b->first].kind == FAST_WALK;
}

static void one_row(const struct trees *t, const struct fast_code *code, const double *x,
                    uint16_t *codes, double *out)
{
    const struct trees_fast *f = t->fast;
    int8_t bins[FAST_COLUMNS];
    uint8_t leaf[FAST_SLOTS];
    code->code_row(t, x, codes);
    for (size_t g = 0; g < t->groups; g++) out[g] = t->base[g];
    for (const struct fast_block *b = f->blocks; b < f->blocks + f->n_blocks; b++) {
        if (walked(f, b)) {
            add_walked(t, b, x, out);
            continue;
        }
        const struct fast_column *column = f->columns + b->column;
        for (uint32_t c = 0; c < b->columns; c++)
            bins[c] = (int8_t)f->maps[column[c].map + codes[column[c].source]];
        code->one(f, b, bins, leaf);
        if (t->single)
            add_single(t, b, leaf, out);
        else
            add_double(t, b, leaf, out);
    }
}

/* --- many rows ------------------------------------------------------------------------------- */

struct scratch {
    int8_t *bins;    /* (FAST_COLUMNS, FAST_CHUNK) */
    void *work;      /* FAST_WORK bytes */
    void *sums;      /* (groups, FAST_CHUNK) */
    uint16_t *codes; /* (n_sources, FAST_CHUNK) */
    double *row;     /* (groups) */
};

static void *aligned(size_t size)
{
    return aligned_alloc(ALIGNED, (size + ALIGNED) / ALIGNED * ALIGNED);
}

static void free_scratch(struct scratch *s)
{
    free(s->bins);
    free(s->work);
    free(s->sums);
    free(s->codes);
    free(s->row);
}

static bool make_scratch(struct scratch *s, const struct trees *t)
{
    s->bins = aligned((size_t)FAST_COLUMNS * FAST_CHUNK);
    s->work = aligned(FAST_WORK);
    s->sums = aligned(t->groups * FAST_CHUNK * sizeof(double));
    s->codes = aligned(t->fast->n_sources * FAST_CHUNK * sizeof *s->codes);
    s->row = aligned(t->groups * sizeof *s->row);
    if (s->bins && s->work && s->sums && s->codes && s->row) {
        /* Lanes behind the last row are computed too, from whatever lies there. */
        memset(s->bins, 0, (size_t)FAST_COLUMNS * FAST_CHUNK);
        return true;
    }
    free_scratch(s);
    return false;
}

static void make_bins(const struct trees_fast *f, const struct fast_block *b, size_t rows,
                      const struct scratch *s)
{
    for (uint32_t c = 0; c < b->columns; c++) {
        const struct fast_column *column = &f->columns[b->column + c];
        const uint8_t *map = f->maps + column->map;
        const uint16_t *codes = s->codes + (size_t)column->source * FAST_CHUNK;
        int8_t *bins = s->bins + (size_t)c * FAST_CHUNK;
        for (size_t r = 0; r < rows; r++) bins[r] = (int8_t)map[codes[r]];
    }
}

/* Row r of a chunk lies here in the sums of a group. */
static size_t place(const struct trees *t, const struct fast_code *code, size_t group, size_t r)
{
    const uint8_t *places = t->single ? code->place_single : code->place_double;
    return group * FAST_CHUNK + r / FAST_LANES * FAST_LANES + places[r % FAST_LANES];
}

static double get_sum(const struct trees *t, const void *sums, size_t at)
{
    return t->single ? (double)((const float *)sums)[at] : ((const double *)sums)[at];
}

static void put_sum(const struct trees *t, void *sums, size_t at, double value)
{
    if (t->single)
        ((float *)sums)[at] = (float)value;
    else
        ((double *)sums)[at] = value;
}

static void walk_chunk(const struct trees *t, const struct fast_code *code,
                       const struct fast_block *b, const double *x, size_t rows,
                       const struct scratch *s)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t g = 0; g < t->groups; g++)
            s->row[g] = get_sum(t, s->sums, place(t, code, g, r));
        add_walked(t, b, x + r * t->features, s->row);
        for (size_t g = 0; g < t->groups; g++) put_sum(t, s->sums, place(t, code, g, r), s->row[g]);
    }
}

static void chunk(const struct trees *t, const struct fast_code *code, const double *x, size_t rows,
                  const struct scratch *s, double *out)
{
    const struct trees_fast *f = t->fast;
    code->code_rows(t, x, rows, s->codes);
    for (size_t g = 0; g < t->groups; g++)
        for (size_t r = 0; r < FAST_CHUNK; r++) put_sum(t, s->sums, g * FAST_CHUNK + r, t->base[g]);
    for (const struct fast_block *b = f->blocks; b < f->blocks + f->n_blocks; b++) {
        if (walked(f, b)) {
            walk_chunk(t, code, b, x, rows, s);
            continue;
        }
        make_bins(f, b, rows, s);
        code->batch(f, b, s->bins, rows, s->sums, s->work);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t g = 0; g < t->groups; g++)
            out[r * t->groups + g] = get_sum(t, s->sums, place(t, code, g, r));
}

void trees_margins(const struct trees *t, const double *x, size_t n, double *out)
{
    const struct fast_code *code = vector_code();
    uint16_t few[FEW_SOURCES];
    struct scratch s;
    bool small = t->fast != NULL && t->fast->n_sources <= FEW_SOURCES;
    if (n < FEW && small) {
        for (size_t i = 0; i < n; i++)
            one_row(t, code, x + i * t->features, few, out + i * t->groups);
    } else if (t->fast != NULL && make_scratch(&s, t)) {
        for (size_t i = 0; i < n; i += FAST_CHUNK)
            chunk(t, code, x + i * t->features, n - i < FAST_CHUNK ? n - i : FAST_CHUNK, &s,
                  out + i * t->groups);
        free_scratch(&s);
    } else { /* no memory is no reason not to answer */
        for (size_t i = 0; i < n; i++) trees_walk(t, x + i * t->features, out + i * t->groups);
    }
}
