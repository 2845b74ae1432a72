/* metrics.h - the program's own counters, gauges and histograms, and their text for a scrape.
 *
 * They belong to the process, not to a generation of the rules, so a reload never resets them.
 * For the loop's thread alone. Names and labels must be bounded: a family takes at most
 * METRICS_CHILDREN label sets and counts the rest as perigee_metrics_dropped_total. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/text.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum { METRICS_CHILDREN = 2000 };

struct metric; /* a family; lives as long as the process */

/* The family of that name, made at the first call. label_names: "rule,kind", or "" for none.
 * buckets: ascending upper bounds without +Inf, for a histogram. NULL when a family of that name
 * has another type or other labels. */
struct metric *metric_family(const char *name, const char *help, enum metric_type type,
                             const char *label_names, const double *buckets, size_t n_buckets);

/* values: as many as there are label names (NULL for none). */
void metric_add(struct metric *m, const char *const *values, double amount);    /* counter, gauge */
void metric_set(struct metric *m, const char *const *values, double value);     /* gauge */
void metric_observe(struct metric *m, const char *const *values, double value); /* histogram */
double metric_value(struct metric *m, const char *const *values); /* 0 where there is none */
void metric_clear(struct metric *m); /* forgets the label sets: for gauges drawn anew */

/* All families, sorted by name: Prometheus' text format 0.0.4, or OpenMetrics 1.0. */
void metrics_expose(struct text *out, bool openmetrics);

#endif
