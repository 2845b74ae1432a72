#include "base/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/memory.h"

struct child {
    double value;       /* of a histogram: the sum */
    double count;       /* histogram only */
    double in_bucket[]; /* n_buckets of them, not yet cumulative */
};

struct metric {
    char *name, *help;
    enum metric_type type;
    char *labels[8];
    size_t n_labels;
    double *buckets; /* ascending */
    size_t n_buckets;
    struct map children; /* by the labels as they are printed: a="x",b="y" */
};

static struct map families;

/* One byte that is no UTF-8 would make Prometheus refuse the whole scrape. */
static void add_text(struct text *t, const char *s, bool quotes)
{
    for (size_t n; *s; s += n > 0 ? n : 1) {
        n = text_utf8_char(s, strnlen(s, 4));
        if (*s == '\n')
            text_adds(t, "\\n");
        else if (*s == '\\' || (quotes && *s == '"'))
            text_addf(t, "\\%c", *s);
        else if (n > 0)
            text_add(t, s, n);
        else
            text_adds(t, "\xef\xbf\xbd");
    }
}

static void add_escaped(struct text *t, const char *s) { add_text(t, s, true); }

static bool split_labels(struct metric *m, const char *names)
{
    while (*names) {
        size_t len = strcspn(names, ",");
        if (m->n_labels == sizeof m->labels / sizeof *m->labels) return false;
        m->labels[m->n_labels++] = xmemdup0(names, len);
        names += len + (names[len] == ',');
    }
    return true;
}

static bool same_labels(const struct metric *m, const char *names)
{
    for (size_t i = 0; i < m->n_labels; i++) {
        size_t len = strlen(m->labels[i]);
        if (strncmp(names, m->labels[i], len) != 0) return false;
        names += len;
        if (*names != (i + 1 < m->n_labels ? ',' : '\0')) return false;
        names += *names == ',';
    }
    return *names == '\0';
}

struct metric *metric_family(const char *name, const char *help, enum metric_type type,
                             const char *label_names, const double *buckets, size_t n_buckets)
{
    struct metric *m = map_get(&families, name);
    if (m != NULL) return m->type == type && same_labels(m, label_names) ? m : NULL;
    m = xcalloc(1, sizeof *m);
    m->name = xstrdup(name);
    m->help = xstrdup(help);
    m->type = type;
    require(split_labels(m, label_names));
    if (n_buckets > 0) {
        m->buckets = xcalloc(n_buckets, sizeof *buckets);
        memcpy(m->buckets, buckets, n_buckets * sizeof *buckets);
        m->n_buckets = n_buckets;
    }
    map_set(&families, name, m);
    return m;
}

static struct child *child_of(struct metric *m, const char *const *values, bool make)
{
    struct text key = {0};
    for (size_t i = 0; i < m->n_labels; i++) {
        if (i > 0) text_addc(&key, ',');
        text_adds(&key, m->labels[i]);
        text_adds(&key, "=\"");
        add_escaped(&key, values[i]);
        text_addc(&key, '"');
    }
    require(!key.failed);
    const char *name = key.data != NULL ? key.data : "";
    struct child *c = map_get(&m->children, name);
    if (c == NULL && make && m->children.used < METRICS_CHILDREN) {
        c = xcalloc(1, sizeof *c + m->n_buckets * sizeof(double));
        map_set(&m->children, name, c);
    } else if (c == NULL && make) {
        metric_add(metric_family("perigee_metrics_dropped_total",
                                 "Updates of label sets beyond the limit of a family.",
                                 METRIC_COUNTER, "", NULL, 0),
                   (const char *const[]){NULL}, 1);
    }
    text_free(&key);
    return c;
}

void metric_add(struct metric *m, const char *const *values, double amount)
{
    struct child *c = child_of(m, values, true);
    if (c != NULL) c->value += amount;
}

void metric_set(struct metric *m, const char *const *values, double value)
{
    struct child *c = child_of(m, values, true);
    if (c != NULL) c->value = value;
}

void metric_observe(struct metric *m, const char *const *values, double value)
{
    struct child *c = child_of(m, values, true);
    if (c == NULL) return;
    c->value += value;
    c->count++;
    for (size_t i = 0; i < m->n_buckets; i++) {
        if (value <= m->buckets[i]) {
            c->in_bucket[i]++;
            break;
        }
    }
}

double metric_value(struct metric *m, const char *const *values)
{
    struct child *c = child_of(m, values, false);
    return c == NULL ? 0 : m->type == METRIC_HISTOGRAM ? c->count : c->value;
}

void metric_clear(struct metric *m) { map_free(&m->children, free); }

/* -- exposition -- */

static const char *number(double x, char out[TEXT_NUMBER])
{
    if (isnan(x)) return "NaN";
    if (isinf(x)) return x > 0 ? "+Inf" : "-Inf";
    return text_number(x, out);
}

static void sample(struct text *t, const char *name, const char *suffix, const char *labels,
                   const char *extra, double value)
{
    char n[TEXT_NUMBER];
    text_addf(t, "%s%s", name, suffix);
    if (*labels || *extra) text_addf(t, "{%s%s%s}", labels, *labels && *extra ? "," : "", extra);
    text_addf(t, " %s\n", number(value, n));
}

/* OpenMetrics wants bounds to look like floats: "1.0". */
static void bound(double x, bool openmetrics, char out[TEXT_NUMBER + 8])
{
    char n[TEXT_NUMBER];
    const char *digits = number(x, n);
    bool is_whole = isfinite(x) && strpbrk(digits, ".e") == NULL;
    snprintf(out, TEXT_NUMBER + 8, "le=\"%s%s\"", digits, openmetrics && is_whole ? ".0" : "");
}

static void histogram(struct text *t, const struct metric *m, const struct map_entry *e,
                      bool openmetrics)
{
    const struct child *c = e->value;
    double cumulative = 0;
    for (size_t i = 0; i < m->n_buckets; i++) {
        char le[TEXT_NUMBER + 8];
        cumulative += c->in_bucket[i];
        bound(m->buckets[i], openmetrics, le);
        sample(t, m->name, "_bucket", e->key, le, cumulative);
    }
    sample(t, m->name, "_bucket", e->key, "le=\"+Inf\"", c->count);
    sample(t, m->name, "_sum", e->key, "", c->value);
    sample(t, m->name, "_count", e->key, "", c->count);
}

static int by_key(const void *a, const void *b)
{
    const struct map_entry *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static struct map_entry **sorted(const struct map *m)
{
    struct map_entry **all = xcalloc(m->used + 1, sizeof *all), *e;
    size_t n = 0;
    for (size_t i = 0; (e = map_next(m, &i)) != NULL;) all[n++] = e;
    qsort(all, n, sizeof *all, by_key);
    return all;
}

/* In OpenMetrics a counter is named without the "_total" of its samples; what lacks it is none. */
static void head(struct text *t, const struct metric *m, bool openmetrics)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const char *type = types[m->type];
    size_t len = strlen(m->name), total = strlen("_total");
    if (openmetrics && m->type == METRIC_COUNTER) {
        if (len > total && strcmp(m->name + len - total, "_total") == 0)
            len -= total;
        else
            type = "unknown";
    }
    text_addf(t, "# HELP %.*s ", (int)len, m->name);
    add_text(t, m->help, openmetrics);
    text_addf(t, "\n# TYPE %.*s %s\n", (int)len, m->name, type);
}

static void family(struct text *t, const struct metric *m, bool openmetrics)
{
    struct map_entry **children = sorted(&m->children);
    head(t, m, openmetrics);
    for (size_t i = 0; children[i] != NULL; i++) {
        if (m->type == METRIC_HISTOGRAM)
            histogram(t, m, children[i], openmetrics);
        else
            sample(t, m->name, "", children[i]->key, "",
                   ((struct child *)children[i]->value)->value);
    }
    free(children);
}

void metrics_expose(struct text *out, bool openmetrics)
{
    struct map_entry **all = sorted(&families);
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct metric *m = all[i]->value;
        if (m->children.used > 0) family(out, m, openmetrics);
    }
    free(all);
    if (openmetrics) text_adds(out, "# EOF\n");
}
