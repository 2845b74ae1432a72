/* file.h - whole files into memory. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/err.h"

/* All of a regular file of at most `most` bytes, for free(); it blocks, so a large one is read on a
 * thread. Ends early, with what is there, once *cancel (NULL: never) is true. 0, or -errno with e,
 * and then *data is NULL. */
int file_read(const char *path, size_t most, char **data, size_t *len, const atomic_bool *cancel,
              struct err *e);

#endif
