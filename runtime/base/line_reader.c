#include "base/line_reader.h"

#include <errno.h>
#include <string.h>

int line_reader_add(struct line_reader *l, const char *bytes, size_t n)
{
    if (l->held.failed) return -ENOMEM;
    if (l->open > l->max) return -EMSGSIZE;
    size_t whole = 0;
    for (const char *at = bytes, *end = bytes + n; at < end;) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        l->open += (size_t)((eol != NULL ? eol : end) - at);
        if (l->open > l->max) return -EMSGSIZE;
        if (eol == NULL) break;
        l->open = 0;
        whole++;
        at = eol + 1;
    }
    text_compact(&l->held, &l->taken);
    text_add(&l->held, bytes, n);
    if (l->held.failed) return -ENOMEM;
    l->whole += whole; /* only now are they there */
    return 0;
}

bool line_reader_next(struct line_reader *l, const char **line, size_t *len)
{
    if (l->whole == 0) return false;
    const char *start = l->held.data + l->taken;
    const char *eol = memchr(start, '\n', line_reader_held(l));
    l->whole--;
    l->taken += (size_t)(eol - start) + 1;
    *line = start;
    *len = (size_t)(eol - start);
    if (*len > 0 && start[*len - 1] == '\r') --*len;
    return true;
}

bool line_reader_rest(struct line_reader *l, const char **line, size_t *len)
{
    *len = line_reader_held(l);
    if (*len == 0) return false;
    *line = l->held.data + l->taken;
    l->taken = l->held.len;
    l->open = 0;
    return true;
}

void line_reader_free(struct line_reader *l)
{
    text_free(&l->held);
    l->taken = l->open = l->whole = 0;
}
