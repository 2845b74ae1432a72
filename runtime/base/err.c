#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *e, int code, const char *format, ...)
{
    if (e == NULL) return code;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    e->code = code;
    return code;
}

int err_sys(struct err *e, int code, const char *format, ...)
{
    if (e == NULL) return code;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(-code));
    e->code = code;
    return code;
}

void err_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "perigee: %s:%d: this must hold and does not: %s\n", file, line, what);
    abort();
}
