/* The last lasting jump of level: for people to read; the forecast follows levels by itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/seasonal_auto_inner.h"

enum { SIDE = 24 }; /* bins on each side that a level is the median of */

static double middle(const double *x, size_t n, double *work)
{
    memcpy(work, x, n * sizeof *x);
    return auto_nth(work, n, n / 2);
}

/* The change from the SIDE bins before i to those behind. */
static double change(const double *x, size_t i, double *work)
{
    return middle(x + i, SIDE, work) - middle(x + i - SIDE, SIDE, work);
}

/* Where within a side of i the two levels part with the least that is left over. */
static size_t place(const double *x, size_t i, double *work)
{
    double before = middle(x + i - SIDE, SIDE, work), behind = middle(x + i, SIDE, work);
    double left = 0, least = 0;
    size_t best = i - SIDE;
    for (size_t k = i - SIDE; k < i + SIDE; k++) {
        left += fabs(x[k] - before) - fabs(x[k] - behind);
        if (left < least) {
            least = left;
            best = k + 1;
        }
    }
    return best;
}

size_t auto_step(const double *x, size_t n, double noise, double *work, double *size)
{
    double *jump = work, *scratch = work + n, largest = 0;
    size_t at = 0, count = 0;
    *size = 0;
    if (n < 6 * SIDE) return 0;
    for (size_t i = SIDE; i + SIDE <= n; i++) jump[count++] = fabs(change(x, i, scratch));
    memcpy(scratch, jump, count * sizeof *jump);
    /* A slope changes every level alike: what is usual is taken away. */
    double usual = auto_nth(scratch, count, count / 2);
    double enough = fmax(5 * usual, 4 * noise);
    for (size_t k = count; k-- > 0;) { /* the last one that is large enough, at its peak */
        if (jump[k] > enough && jump[k] > largest) {
            largest = jump[k];
            at = k + SIDE;
        } else if (at > 0 && k + 2 * SIDE < at) {
            break;
        }
    }
    /* Lasting: the level at the end is still nearer to the one behind it than to the one before. */
    if (at == 0) return 0;
    double before = middle(x + at - SIDE, SIDE, scratch), behind = middle(x + at, SIDE, scratch);
    double end = middle(x + n - SIDE, SIDE, scratch);
    if (fabs(end - before) < fabs(behind - before) / 2) return 0;
    *size = behind - before;
    return place(x, at, scratch);
}
