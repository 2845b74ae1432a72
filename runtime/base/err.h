/* err.h - a failure a person will read of: a code for the program, words for the person. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

struct err {
    int code;       /* -errno, or 0 while nothing has failed */
    char text[512]; /* what is wrong and what was expected; cut, never overrun */
};

/* Fills *e and returns code, so that a function can end with `return err_set(e, -EINVAL, …)`.
 * e may be NULL for a caller that only wants the code. */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with the system's words for code after a colon. */
int err_sys(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* For bugs, where going on could do harm: says where and aborts. Always on. */
#define require(x) ((x) ? (void)0 : err_panic(__FILE__, __LINE__, #x))
_Noreturn void err_panic(const char *file, int line, const char *what);

#endif
