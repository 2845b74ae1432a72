#include "kernels/measures.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* One score, with the pairs of this score and of all higher ones. */
struct point {
    double score;
    size_t positives, negatives;
};

struct measures {
    size_t n;             /* at least 1 */
    struct point point[]; /* strictly descending scores; both counts never fall */
};

size_t measures_bytes(size_t n) { return sizeof(struct measures) + n * sizeof(struct point); }

static int descending(const void *a, const void *b)
{
    double x = ((const struct point *)a)->score, y = ((const struct point *)b)->score;
    return (x < y) - (x > y);
}

int measures_fit_at(void *p, const double *y, const double *score, size_t n)
{
    struct measures *m = p;
    size_t pairs = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(y[i]) || isnan(score[i])) continue;
        assert(y[i] == 0 || y[i] == 1);
        m->point[pairs++] = (struct point){score[i], y[i] == 1, y[i] == 0};
    }
    m->n = 0;
    if (pairs == 0) return -ENODATA;
    qsort(m->point, pairs, sizeof *m->point, descending);
    /* One point a score, with the counts of all before it. */
    for (size_t i = 1; i < pairs; i++) {
        struct point *last = &m->point[m->n], next = m->point[i];
        next.positives += last->positives;
        next.negatives += last->negatives;
        if (next.score != last->score) m->n++;
        m->point[m->n] = next;
    }
    m->n++;
    return 0;
}

static const struct point *last_of(const struct measures *m) { return &m->point[m->n - 1]; }

/* The pairs of the score of point i alone. */
static struct point of_one(const struct measures *m, size_t i)
{
    struct point p = m->point[i];
    if (i > 0) {
        p.positives -= m->point[i - 1].positives;
        p.negatives -= m->point[i - 1].negatives;
    }
    return p;
}

static size_t count_of(struct point p) { return p.positives + p.negatives; }

size_t measures_count(const struct measures *m) { return count_of(*last_of(m)); }
size_t measures_positives(const struct measures *m) { return last_of(m)->positives; }
double measures_lowest(const struct measures *m) { return last_of(m)->score; }
double measures_highest(const struct measures *m) { return m->point[0].score; }

/* -- ranking -- */

double measures_auc(const struct measures *m)
{
    struct point all = *last_of(m);
    if (all.positives == 0 || all.negatives == 0) return NAN;
    /* Twice the pairs in the right order, in whole numbers: fits below 2^32 rows. */
    uint64_t twice = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct point one = of_one(m, i);
        twice += (uint64_t)one.negatives * (2 * m->point[i].positives - one.positives);
    }
    return (double)twice / 2 / ((double)all.positives * (double)all.negatives);
}

double measures_average_precision(const struct measures *m)
{
    size_t positives = measures_positives(m);
    if (positives == 0) return NAN;
    double sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum += (double)of_one(m, i).positives * (double)m->point[i].positives /
               (double)count_of(m->point[i]);
    return sum / (double)positives;
}

/* -- probabilities -- */

/* Neumaier's sum: what rounding takes away is kept beside it. */
struct sum {
    double value, lost;
};

static void add(struct sum *s, double x)
{
    double sum = s->value + x;
    s->lost += fabs(s->value) >= fabs(x) ? s->value - sum + x : x - sum + s->value;
    s->value = sum;
}

static double total(struct sum s) { return s.value + s.lost; }

double measures_log_loss(const struct measures *m)
{
    struct sum sum = {0};
    for (size_t i = 0; i < m->n; i++) {
        struct point one = of_one(m, i);
        double p = fmin(fmax(one.score, DBL_EPSILON), 1 - DBL_EPSILON);
        add(&sum, -(double)one.positives * log(p));
        add(&sum, -(double)one.negatives * log1p(-p));
    }
    return total(sum) / (double)measures_count(m);
}

double measures_brier(const struct measures *m)
{
    struct sum sum = {0};
    for (size_t i = 0; i < m->n; i++) {
        struct point one = of_one(m, i);
        double p = one.score;
        add(&sum, (double)one.positives * (1 - p) * (1 - p) + (double)one.negatives * p * p);
    }
    return total(sum) / (double)measures_count(m);
}

static void into_bin(struct measures_bin *bin, struct point one)
{
    size_t count = count_of(one);
    if (bin->count == 0) *bin = (struct measures_bin){.lower = one.score};
    bin->upper = one.score;
    bin->count += count;
    bin->positives += one.positives;
    bin->mean += (one.score - bin->mean) * (double)count / (double)bin->count;
}

size_t measures_bins_by_count(const struct measures *m, struct measures_bin *out, size_t n_bins)
{
    assert(n_bins >= 1);
    size_t n = 0, taken = 0, all = measures_count(m);
    out[0].count = 0;
    for (size_t i = m->n; i-- > 0;) {
        struct point one = of_one(m, i);
        into_bin(&out[n], one);
        taken += count_of(one);
        /* The next bin begins once this one and those before hold their share. */
        if (i > 0 && n + 1 < n_bins &&
            (double)taken * (double)n_bins >= (double)all * (double)(n + 1))
            out[++n].count = 0;
    }
    return n + 1;
}

static size_t bin_by_width(double score, size_t n_bins)
{
    double k = floor(score * (double)n_bins);
    return k < (double)n_bins ? (size_t)k : n_bins - 1;
}

size_t measures_bins_by_width(const struct measures *m, struct measures_bin *out, size_t n_bins)
{
    assert(n_bins >= 1 && measures_lowest(m) >= 0 && measures_highest(m) <= 1);
    size_t n = 0, before = bin_by_width(measures_lowest(m), n_bins);
    out[0].count = 0;
    for (size_t i = m->n; i-- > 0;) {
        size_t k = bin_by_width(m->point[i].score, n_bins);
        if (k != before) out[++n].count = 0;
        before = k;
        into_bin(&out[n], of_one(m, i));
    }
    return n + 1;
}

/* -- thresholds -- */

struct measures_confusion measures_at(const struct measures *m, double threshold)
{
    size_t above = 0, end = m->n; /* point[above - 1].score > threshold >= point[end].score */
    while (above < end) {
        size_t middle = above + (end - above) / 2;
        if (m->point[middle].score > threshold)
            above = middle + 1;
        else
            end = middle;
    }
    struct point all = *last_of(m), alarms = above > 0 ? m->point[above - 1] : (struct point){0};
    return (struct measures_confusion){
        .true_positives = alarms.positives,
        .false_positives = alarms.negatives,
        .false_negatives = all.positives - alarms.positives,
        .true_negatives = all.negatives - alarms.negatives,
    };
}

/* Below high and not below low: where to part the two. */
static double between(double high, double low)
{
    double middle = isfinite(low) ? low + (high - low) / 2 : low;
    return middle < high ? middle : low;
}

/* The threshold that just lets point i alarm. */
static double just_below(const struct measures *m, size_t i)
{
    double score = m->point[i].score;
    return i + 1 < m->n ? between(score, m->point[i + 1].score) : nextafter(score, -INFINITY);
}

double measures_by_precision(const struct measures *m, double precision)
{
    assert(precision > 0 && precision <= 1);
    for (size_t i = m->n; i-- > 0;) {
        struct point p = m->point[i];
        if ((double)p.positives >= precision * (double)count_of(p)) return just_below(m, i);
    }
    return NAN;
}

double measures_by_alarms(const struct measures *m, size_t most)
{
    size_t i = 0;
    while (i < m->n && count_of(m->point[i]) <= most) i++;
    return i > 0 ? just_below(m, i - 1) : measures_highest(m);
}

struct row {
    double score;
    size_t at;
};

static int row_descending(const void *a, const void *b)
{
    double x = ((const struct row *)a)->score, y = ((const struct row *)b)->score;
    return (x < y) - (x > y);
}

/* Rows i and i + 1 can be of one alarm. */
static bool neighbours(const struct measures_rows *rows, size_t i)
{
    return i + 1 < rows->n && (rows->run == NULL || rows->run[i] == rows->run[i + 1]);
}

/* How many alarms one counts for that lasts so many rows. */
static size_t counts(const struct measures_rows *rows, size_t length)
{
    return length / rows->again + (length % rows->again != 0);
}

/* Down through the scores: a row is an alarm of its own, lengthens a neighbour's, or joins two. */
static double descend(const struct measures_rows *rows, const struct row *row, size_t n,
                      size_t *length, size_t most)
{
    /* length[i]: of the alarm that begins or ends at row i; 0 where there is none. */
    double threshold = row[0].score;
    size_t alarms = 0;
    for (size_t k = 0, end; k < n; k = end) {
        for (end = k; end < n && row[end].score == row[k].score; end++) {
            size_t i = row[end].at;
            size_t left = i > 0 && neighbours(rows, i - 1) ? length[i - 1] : 0;
            size_t right = neighbours(rows, i) ? length[i + 1] : 0;
            size_t joined = left + 1 + right;
            length[i] = length[i - left] = length[i + right] = joined;
            alarms += counts(rows, joined);
            alarms -= counts(rows, left) + counts(rows, right);
        }
        if (alarms > most) break;
        threshold =
            end < n ? between(row[k].score, row[end].score) : nextafter(row[k].score, -INFINITY);
    }
    return threshold;
}

int measures_by_episodes(double *threshold, const struct measures_rows *rows, size_t most)
{
    assert(rows->again >= 1);
    struct row *row = calloc(rows->n + 1, sizeof *row);
    size_t n = 0, *length = calloc(rows->n + 1, sizeof *length);
    int rc = row == NULL || length == NULL ? -ENOMEM : 0;
    *threshold = NAN;
    for (size_t i = 0; rc == 0 && i < rows->n; i++)
        if (!isnan(rows->score[i])) row[n++] = (struct row){rows->score[i], i};
    if (n > 0) {
        qsort(row, n, sizeof *row, row_descending);
        *threshold = descend(rows, row, n, length, most);
    }
    free(row);
    free(length);
    return rc;
}

size_t measures_episodes(const struct measures_rows *rows, double threshold)
{
    size_t alarms = 0, length = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (i > 0 && !neighbours(rows, i - 1)) length = 0;
        length = rows->score[i] > threshold ? length + 1 : 0;
        alarms += length % rows->again == 1 || (rows->again == 1 && length > 0);
    }
    return alarms;
}
