/* process_metrics.h - what Prometheus' clients tell of their process. */
#ifndef APP_PROCESS_METRICS_H
#define APP_PROCESS_METRICS_H

void process_metrics_update(double started_at); /* Unix seconds */

#endif
