/* Series from outside: whatever the bytes, samples in order of time or an error with a position. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/series.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of its own, so that one byte too far is seen. */
    char *text = malloc(size > 0 ? size : 1);
    assert(text != NULL);
    if (size > 0) memcpy(text, data, size);
    struct series s;
    struct err e = {0};
    double t;
    int rc = series_from_csv(&s, text, size, NULL, &e);
    if (rc == 0)
        for (size_t i = 0; i < s.n; i++)
            assert(isfinite(s.samples[i].ds) && (i == 0 || s.samples[i - 1].ds <= s.samples[i].ds));
    else
        assert(s.samples == NULL && e.code == rc && e.text[0] >= '1' && e.text[0] <= '9');
    if (series_time(text, size, &t)) assert(fabs(t) <= 1e11);
    series_free(&s);
    free(text);
    return 0;
}
