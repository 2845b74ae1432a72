/* process.h - child processes: started without a shell, their output kept up to a limit. */
#ifndef LOOP_PROCESS_H
#define LOOP_PROCESS_H

#include "base/err.h"
#include "base/text.h"
#include "loop/loop.h"

struct process;

struct process_options {
    char *const *argv;       /* argv[0] is looked up in PATH; ends with NULL */
    char *const *env;        /* "NAME=value"; NULL: the parent's */
    const char *cwd;         /* NULL: the parent's */
    const char *output_file; /* standard output and error are appended there; NULL: kept */
    const char *input;       /* written to its standard input, which then ends; NULL: none */
    size_t input_len;
    size_t limit; /* bytes kept of each of the two; what exceeds it ends the child */
};

struct process_result {
    int status;           /* exit status, or 128 + signal */
    bool truncated;       /* it wrote more than the limit, or memory has, and was ended */
    struct text out, err; /* the callee's until its call returns */
};

/* done(ud, result) is called once, when the child has ended and its output is complete. */
int process_start(struct loop *l, const struct process_options *o,
                  void (*done)(void *ud, struct process_result *r), void *ud, struct process **out,
                  struct err *e);
int process_pid(const struct process *p);
int process_kill(struct process *p, int signum); /* 0 or -errno; valid until done() */
/* Kills it and calls nobody. */
void process_abandon(struct process *p);

#endif
