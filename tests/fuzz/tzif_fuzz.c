/* Time zone files: whatever the bytes, a zone whose clocks make sense or an error. Build:
 * clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iruntime -I. tests/fuzz/tzif_fuzz.c \
 *   runtime/kernels/calendar.c runtime/base/err.c */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernels/calendar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct zone *z, int64_t t)
{
    struct calendar_time c = calendar_time(z, t);
    int32_t offset = zone_offset(z, t);
    assert(offset > -26 * 3600 && offset < 26 * 3600);
    assert(c.weekday * 24 + c.hour == calendar_hour_of_week(z, t));
    int64_t days = calendar_days_from_civil(c.year, c.month, c.day);
    assert(((days * 24 + c.hour) * 60 + c.minute) * 60 + c.second == t + offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zone *z = NULL;
    struct err e = {0};
    int rc = zone_parse(&z, data, size, &e);
    assert(rc == e.code && (rc == 0) == (z != NULL));
    if (rc < 0) return 0;
    for (int64_t t = -4000000000; t < 8000000000; t += 12345678) look(z, t);
    look(z, CALENDAR_LIMIT);
    look(z, -CALENDAR_LIMIT);
    zone_free(z);
    return 0;
}
