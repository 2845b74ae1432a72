#include "app/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/metrics.h"

static void gauge(const char *name, const char *help, double value)
{
    metric_set(metric_family(name, help, METRIC_GAUGE, "", NULL, 0), NULL, value);
}

static double open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    double n = -3; /* ".", "..", and the folder itself */
    while (readdir(folder) != NULL) n++;
    closedir(folder);
    return n;
}

static double resident_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    if (fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

void process_metrics_update(double started_at)
{
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        static double told; /* a counter is added to, never set */
        double cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
        metric_add(metric_family("process_cpu_seconds_total", "CPU time used, user and system.",
                                 METRIC_COUNTER, "", NULL, 0),
                   NULL, cpu - told);
        told = cpu;
    }
    gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes());
    gauge("process_open_fds", "Open file descriptors.", open_files());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        gauge("process_max_fds", "Most file descriptors that may be open.", (double)limit.rlim_cur);
    gauge("process_start_time_seconds", "When the process started, Unix seconds.", started_at);
}
