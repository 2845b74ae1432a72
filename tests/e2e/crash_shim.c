/* Preloaded into a perigee under test: counts the calls by which it writes to its store and to the
 * network, and at one of them does what kill -9, a power cut or a full disk would do.
 *
 * CRASH_FILE names 24 bytes, three integers that the test reads and writes while the process runs:
 * how many calls there were, the number of the one at which it happens (0: none), and what. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum what {
    BEFORE = 1, /* the process ends before the call */
    AFTER = 2,  /* once it has returned */
    TORN = 3,   /* with half of what it writes written */
    POWER = 4,  /* before it, and what no sync has put on the disk is gone */
    FULL = 5,   /* from this call on there is no space for what is written to files */
};

struct plan {
    _Atomic int64_t calls, at, what;
};

static struct plan idle, *plan = &idle;

__attribute__((constructor)) static void open_plan(void)
{
    const char *path = getenv("CRASH_FILE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *p = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED) plan = p;
}

/* -- what a power cut undoes: writes to files that no sync has followed, the latest first -- */

struct unsynced {
    struct unsynced *before;
    int fd;
    struct stat file; /* as it was before this write */
    off_t offset;
    size_t n;
    char old[];
};

static struct unsynced *latest;

static void remember(int fd, size_t len, off_t offset)
{
    struct unsynced *u = malloc(sizeof *u + len);
    if (u == NULL || fstat(fd, &u->file) < 0) abort();
    ssize_t n = pread(fd, u->old, len, offset);
    u->before = latest;
    u->fd = fd;
    u->offset = offset;
    u->n = n > 0 ? (size_t)n : 0;
    latest = u;
}

static void synced(int fd)
{
    for (struct unsynced **at = &latest; *at != NULL;) {
        struct unsynced *u = *at;
        if (u->fd == fd) {
            *at = u->before;
            free(u);
        } else {
            at = &u->before;
        }
    }
}

static void undo(const struct unsynced *u)
{
    struct stat now;
    if (fstat(u->fd, &now) < 0 || now.st_ino != u->file.st_ino) return; /* closed since */
    if (syscall(SYS_pwrite64, u->fd, u->old, u->n, u->offset) < 0 ||
        ftruncate(u->fd, u->file.st_size) < 0)
        abort();
}

/* -- the calls -- */

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call, and ends the process where that comes before it. What is left for the call to do.
 */
static enum what arrive(void)
{
    int64_t n = atomic_fetch_add(&plan->calls, 1) + 1, at = plan->at;
    enum what what =
        at > 0 && (n == at || (n > at && plan->what == FULL)) ? (enum what)plan->what : 0;
    for (const struct unsynced *u = latest; u != NULL && what == POWER; u = u->before) undo(u);
    if (what == BEFORE || what == POWER) die();
    return what;
}

static ssize_t leave(enum what what, ssize_t result)
{
    int saved = errno;
    if (what == AFTER || what == TORN) die();
    errno = saved;
    return result;
}

static size_t part(enum what what, size_t len) { return what == TORN ? len / 2 : len; }

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    enum what what = arrive();
    if (what == FULL) {
        errno = ENOSPC;
        return -1;
    }
    remember(fd, len, offset);
    return leave(what, syscall(SYS_pwrite64, fd, data, part(what, len), offset));
}

int fdatasync(int fd)
{
    enum what what = arrive();
    synced(fd);
    return (int)leave(what, syscall(SYS_fdatasync, fd));
}

int fsync(int fd)
{
    enum what what = arrive();
    synced(fd);
    return (int)leave(what, syscall(SYS_fsync, fd));
}

int rename(const char *from, const char *to)
{
    enum what what = arrive();
    return (int)leave(what, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    enum what what = arrive();
    return leave(what, syscall(SYS_sendto, fd, data, part(what, len), flags, NULL, 0));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    enum what what = arrive();
    return leave(what, syscall(SYS_sendmsg, fd, message, flags));
}
