#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 16 << 20 }; /* bytes read between two looks at *cancel */

static int read_all(int fd, const char *path, size_t size, char *data, size_t *len,
                    const atomic_bool *cancel, struct err *e)
{
    while (*len < size && (cancel == NULL || !atomic_load(cancel))) {
        size_t most = size - *len;
        ssize_t n = read(fd, data + *len, most < PIECE ? most : PIECE);
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(e, -errno, "cannot read %s", path);
        *len += (size_t)n;
    }
    return 0;
}

int file_read(const char *path, size_t most, char **data, size_t *len, const atomic_bool *cancel,
              struct err *e)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us */
    *data = NULL;
    *len = 0;
    if (fd < 0) return err_sys(e, -errno, "cannot read %s", path);
    if (fstat(fd, &st) < 0)
        rc = err_sys(e, -errno, "cannot read %s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, -EINVAL, "cannot read %s: it is no regular file", path);
    else if ((size_t)st.st_size > most)
        rc = err_set(e, -EFBIG, "cannot read %s: larger than %zu MiB", path, most >> 20);
    else if ((*data = malloc((size_t)st.st_size + 1)) == NULL)
        rc = err_set(e, -ENOMEM, "not enough memory");
    else
        rc = read_all(fd, path, (size_t)st.st_size, *data, len, cancel, e);
    close(fd);
    if (rc == 0) return 0;
    free(*data);
    *data = NULL;
    return rc;
}
