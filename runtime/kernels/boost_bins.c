#include "kernels/boost_parts.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

/* Numbers are cut at quantiles of at most so many rows, drawn by the seed. */
enum { SAMPLE = 1 << 17 };

struct binning {
    const struct matrix *X;
    struct boost_bins *bins;
    size_t n_train;
    const struct boost_options *o;
    const atomic_bool *cancel;
    size_t sample;           /* rows in the sample */
    uint64_t **keys, **swap; /* (threads, sample) */
    atomic_size_t wrong;  /* the first value, by row and column, that cannot be: X's index of it */
    atomic_bool failed;   /* for want of memory */
    atomic_bool *missing; /* (columns) */
};

/* -- numbers -- */

/* Doubles in the order of unsigned numbers, and back. -0 becomes 0 first. */
static uint64_t to_key(double x)
{
    uint64_t k;
    x += 0.0;
    memcpy(&k, &x, sizeof k);
    return k >> 63 ? ~k : k | (uint64_t)1 << 63;
}

static double of_key(uint64_t k)
{
    double x;
    k = k >> 63 ? k & ~((uint64_t)1 << 63) : ~k;
    memcpy(&x, &k, sizeof x);
    return x;
}

/* Radix sort, from the lowest byte; a byte in which all agree costs nothing. Returns which of the
 * two arrays it has ended in. */
static uint64_t *sort_keys(uint64_t *keys, uint64_t *swap, size_t n)
{
    static const int BYTES = 8;
    size_t count[8][256] = {{0}};
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < BYTES; b++) count[b][keys[i] >> 8 * b & 0xff]++;
    for (int b = 0; b < BYTES; b++) {
        size_t at = 0, *c = count[b];
        if (n == 0 || c[keys[0] >> 8 * b & 0xff] == n) continue;
        for (int v = 0; v < 256; v++) {
            size_t here = c[v];
            c[v] = at;
            at += here;
        }
        for (size_t i = 0; i < n; i++) swap[c[keys[i] >> 8 * b & 0xff]++] = keys[i];
        uint64_t *t = keys;
        keys = swap;
        swap = t;
    }
    return keys;
}

/* A cut c with a <= c < b. */
static double between(double a, double b)
{
    double c = a / 2 + b / 2;
    return c >= b || c < a ? a : c;
}

/* Cuts the sorted values into at most `most` bins of about as many rows each: what is left is
 * shared out anew after every cut, so that a value that many rows have takes a bin to itself
 * without starving the others. Returns the number of cuts. */
static size_t cut(const uint64_t *keys, size_t n, size_t most, double *cuts)
{
    size_t distinct = 0, n_cuts = 0, in_bin = 0, done = 0;
    for (size_t i = 0; i < n; i++) distinct += i == 0 || keys[i] != keys[i - 1];
    bool all = distinct <= most;
    for (size_t i = 0; i < n && n_cuts + 1 < most; i++) {
        in_bin++;
        if (i + 1 == n || keys[i] == keys[i + 1]) continue;
        if (!all && in_bin * (most - n_cuts) < n - done) continue;
        cuts[n_cuts++] = between(of_key(keys[i]), of_key(keys[i + 1]));
        done += in_bin;
        in_bin = 0;
    }
    return n_cuts;
}

static void learn_numbers(struct binning *w, size_t j, unsigned worker)
{
    struct boost_feature *f = &w->bins->features[j];
    uint64_t *keys = w->keys[worker];
    struct random r;
    size_t n = 0;
    random_seed(&r, w->o->seed, 0x62696e73); /* the same rows for every column */
    for (size_t i = 0; i < w->sample; i++) {
        size_t row = w->sample < w->n_train ? random_below(&r, (uint32_t)w->n_train) : i;
        double x = matrix_get(w->X, row, j);
        if (isfinite(x)) keys[n++] = to_key(x);
    }
    keys = sort_keys(keys, w->swap[worker], n);
    double cuts[BOOST_BINS];
    size_t n_cuts = cut(keys, n, w->o->max_bins - 1, cuts);
    f->n_values = (unsigned)n_cuts + 1;
    f->cuts = malloc((BOOST_BINS - 1) * sizeof *f->cuts);
    if (f->cuts == NULL) {
        atomic_store(&w->failed, true);
        return;
    }
    memcpy(f->cuts, cuts, n_cuts * sizeof *cuts);
    for (size_t k = n_cuts; k < BOOST_BINS - 1; k++) f->cuts[k] = INFINITY;
}

/* -- categories -- */

static void wrong(struct binning *w, size_t at)
{
    size_t first = atomic_load(&w->wrong);
    while (at < first && !atomic_compare_exchange_weak(&w->wrong, &first, at)) continue;
}

static bool is_category(double x) { return x >= 0 && x <= BOOST_MOST_CATEGORY && x == floor(x); }

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The rows of the category of rank `most`, from the commonest: what is kept has more, or as many
 * and a lower number. */
static uint32_t count_at_rank(const uint32_t *counts, size_t most)
{
    uint32_t low = 1, high = UINT32_MAX / 2; /* the least count that at most `most` reach */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t reach = 0;
        for (size_t c = 0; c <= BOOST_MOST_CATEGORY; c++) reach += counts[c] >= middle;
        if (reach <= most)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Keeps the commonest categories; the last bin is for the others. */
static void learn_categories(struct binning *w, size_t j, uint32_t *counts)
{
    struct boost_feature *f = &w->bins->features[j];
    size_t most = w->o->max_bins - 2, n = 0; /* beside the others and the missing */
    memset(counts, 0, (BOOST_MOST_CATEGORY + 1) * sizeof *counts);
    for (size_t i = 0; i < w->n_train; i++) {
        double x = matrix_get(w->X, i, j);
        if (is_category(x)) counts[(size_t)x]++;
    }
    f->categories = malloc((most + 1) * sizeof *f->categories);
    if (f->categories == NULL) {
        atomic_store(&w->failed, true);
        return;
    }
    uint32_t least = count_at_rank(counts, most);
    for (uint32_t c = 0; c <= BOOST_MOST_CATEGORY; c++)
        if (counts[c] >= least) f->categories[n++] = c;
    for (uint32_t c = 0; c <= BOOST_MOST_CATEGORY && n < most; c++)
        if (counts[c] > 0 && counts[c] + 1 == least) f->categories[n++] = c;
    qsort(f->categories, n, sizeof *f->categories, by_number);
    f->n_values = (unsigned)n + 1;
}

static void learn(void *ud, size_t first, size_t last, unsigned worker)
{
    struct binning *w = ud;
    for (size_t j = first; j < last && !boost_cancelled(w->cancel); j++) {
        if (w->bins->features[j].categorical)
            learn_categories(w, j, (uint32_t *)(void *)w->keys[worker]);
        else
            learn_numbers(w, j, worker);
    }
}

/* -- from values to bins -- */

static unsigned bin_of(const struct boost_feature *f, double x)
{
    unsigned at = 0, n = f->n_values - 1;
    if (f->categorical) {
        uint32_t c = (uint32_t)x;
        while (n > 0) {
            unsigned half = n / 2;
            if (f->categories[at + half] < c) {
                at += half + 1;
                n -= half + 1;
            } else {
                n = half;
            }
        }
        return at < f->n_values - 1 && f->categories[at] == c ? at : f->n_values - 1;
    }
    for (unsigned bit = 8; bit-- > 0;) /* a sum, no branch: nobody could foresee it */
        at += (unsigned)(f->cuts[at + (1u << bit) - 1] < x) << bit;
    return at;
}

static unsigned char take(struct binning *w, size_t row, size_t j)
{
    const struct boost_feature *f = &w->bins->features[j];
    double x = matrix_get(w->X, row, j);
    if (isnan(x)) {
        if (row < w->n_train && !atomic_load_explicit(&w->missing[j], memory_order_relaxed))
            atomic_store_explicit(&w->missing[j], true, memory_order_relaxed);
        return (unsigned char)f->n_values;
    }
    if (f->categorical ? !is_category(x) : isinf(x)) {
        wrong(w, row * w->X->columns + j);
        return 0;
    }
    return (unsigned char)bin_of(f, x);
}

static void fill(void *ud, size_t first, size_t last, unsigned worker)
{
    struct binning *w = ud;
    struct boost_bins *b = w->bins;
    (void)worker;
    if (boost_cancelled(w->cancel)) return;
    for (size_t i = first; i < last; i++) {
        for (size_t k = 0; k < b->blocks; k++) {
            uint64_t word = 0;
            for (size_t j = k * BOOST_BLOCK; j < b->columns && j < (k + 1) * BOOST_BLOCK; j++)
                word |= (uint64_t)take(w, i, j) << j % BOOST_BLOCK * 8;
            b->words[k][i] = word;
        }
    }
}

/* -- all together -- */

static int allocate(struct boost_bins *b, const struct boost_options *o)
{
    b->features = calloc(b->columns, sizeof *b->features);
    b->words = calloc(b->blocks, sizeof *b->words);
    if (b->features == NULL || b->words == NULL) return -ENOMEM;
    for (size_t k = 0; k < b->blocks; k++) {
        b->words[k] = malloc(b->rows * sizeof *b->words[k]);
        if (b->words[k] == NULL) return -ENOMEM;
    }
    for (size_t j = 0; j < b->columns; j++)
        b->features[j].categorical = o->categorical != NULL && o->categorical[j];
    return 0;
}

static int tell_wrong(const struct binning *w, struct err *e)
{
    size_t at = w->wrong, row = at / w->X->columns, j = at % w->X->columns;
    char name[128];
    if (w->X->names != NULL && w->X->names[j][0] != '\0')
        snprintf(name, sizeof name, "\"%.100s\"", w->X->names[j]);
    else
        snprintf(name, sizeof name, "%zu", j + 1);
    if (w->bins->features[j].categorical)
        return err_set(e, -EINVAL,
                       "row %zu, column %s: %g is no category; expected whole numbers "
                       "from 0 to %d",
                       row + 1, name, w->X->x[at], BOOST_MOST_CATEGORY);
    return err_set(e, -EINVAL,
                   "row %zu, column %s: infinite; expected a number, or NaN where it "
                   "is missing",
                   row + 1, name);
}

static int work(struct binning *w, struct parallel *team, struct err *e)
{
    unsigned threads = parallel_threads(team);
    size_t sample = w->sample;
    /* Counts of categories take the place of keys. */
    if (sample < (BOOST_MOST_CATEGORY + 1) / 2) sample = (BOOST_MOST_CATEGORY + 1) / 2;
    for (unsigned t = 0; t < threads; t++) {
        w->keys[t] = malloc(sample * sizeof *w->keys[t]);
        w->swap[t] = malloc(sample * sizeof *w->swap[t]);
        if (w->keys[t] == NULL || w->swap[t] == NULL) return -ENOMEM;
    }
    parallel_for(team, w->X->columns, 1, learn, w);
    if (w->failed) return -ENOMEM;
    if (!boost_cancelled(w->cancel)) parallel_for(team, w->X->rows, BOOST_CHUNK, fill, w);
    if (boost_cancelled(w->cancel)) return -ECANCELED;
    if (w->wrong != SIZE_MAX) return tell_wrong(w, e);
    for (size_t j = 0; j < w->X->columns; j++) w->bins->features[j].missing = w->missing[j];
    return 0;
}

int boost_bins_make(struct boost_bins **out, const struct matrix *X, size_t n_train,
                    const struct boost_options *o, struct parallel *team, const atomic_bool *cancel,
                    struct err *e)
{
    unsigned threads = parallel_threads(team);
    struct boost_bins *b = calloc(1, sizeof *b);
    struct binning w = {.X = X, .bins = b, .n_train = n_train, .o = o, .cancel = cancel};
    assert(o->max_bins >= 2 && o->max_bins < BOOST_BINS && X->columns > 0 && n_train > 0);
    w.sample = n_train < SAMPLE ? n_train : SAMPLE;
    w.wrong = SIZE_MAX;
    w.keys = calloc(threads, sizeof *w.keys);
    w.swap = calloc(threads, sizeof *w.swap);
    w.missing = calloc(X->columns, sizeof *w.missing);
    int rc = -ENOMEM;
    if (b != NULL && w.keys != NULL && w.swap != NULL && w.missing != NULL) {
        b->rows = X->rows;
        b->columns = X->columns;
        b->blocks = (X->columns + BOOST_BLOCK - 1) / BOOST_BLOCK;
        rc = allocate(b, o);
        if (rc == 0) rc = work(&w, team, e);
    }
    for (unsigned t = 0; t < threads; t++) {
        if (w.keys != NULL) free(w.keys[t]);
        if (w.swap != NULL) free(w.swap[t]);
    }
    free(w.keys);
    free(w.swap);
    free(w.missing);
    if (rc < 0) {
        boost_bins_free(b);
        return rc;
    }
    *out = b;
    return 0;
}

void boost_bins_free(struct boost_bins *b)
{
    if (b == NULL) return;
    for (size_t j = 0; b->features != NULL && j < b->columns; j++) {
        free(b->features[j].cuts);
        free(b->features[j].categories);
    }
    for (size_t k = 0; b->words != NULL && k < b->blocks; k++) free(b->words[k]);
    free(b->features);
    free(b->words);
    free(b);
}
