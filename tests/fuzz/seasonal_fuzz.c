/* Packed seasonal models: whatever lies between header and checksum, a model that forecasts and
 * packs again or an error. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/pack.h"
#include "kernels/seasonal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct seasonal *m)
{
    struct seasonal_view v = seasonal_view(m);
    double ds[2] = {v.start, v.start + 2 * v.t_scale}, x[800] = {0};
    double yhat[2], lower[2], upper[2];
    struct seasonal_future f = {.ds = ds, .n = 2, .x = x};
    struct seasonal_forecast out = {.yhat = yhat, .yhat_lower = lower, .yhat_upper = upper};
    struct err e = {0};
    /* A thousand paths say no more than ten. */
    int rc = seasonal_predict(m, &f, v.samples <= 1000 ? &out : &(struct seasonal_forecast){0},
                              NULL, &e);
    assert(rc == 0 || e.code == rc);
    struct text packed = {0};
    struct seasonal *again = NULL;
    seasonal_pack(m, &packed);
    assert(!packed.failed);
    rc = seasonal_unpack(&again, packed.data, packed.len, &e);
    assert(rc == 0);
    seasonal_free(again);
    text_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text whole = {0};
    struct seasonal *m = NULL;
    struct err e = {0};
    pack_begin(&whole, "seasonal", 1);
    text_add(&whole, data, size);
    pack_end(&whole);
    int rc = seasonal_unpack(&m, whole.data, whole.len, &e);
    assert(rc == e.code && (rc == 0) == (m != NULL));
    if (rc == 0) look(m);
    seasonal_free(m);
    text_free(&whole);
    return 0;
}
