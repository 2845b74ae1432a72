/* The Lua module perigee.file: the few things the program does with files, without blocking long.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "bindings/bind.h"
#include "bindings/modules.h"

static int fail(lua_State *L, const char *what, const char *path, int code)
{
    lua_pushnil(L);
    lua_pushfstring(L, "cannot %s %s: %s", what, path, strerror(code));
    return 2;
}

static int l_read(lua_State *L) /* read(path [, limit = 16 MiB]) -> bytes | nil, message */
{
    const char *path = luaL_checkstring(L, 1);
    size_t limit = (size_t)luaL_optinteger(L, 2, 16 << 20);
    struct text *t = bind_text(L);
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(L, "read", path, errno);
    if (fstat(fd, &s) == 0 && !S_ISREG(s.st_mode)) { /* a pipe would keep the loop waiting */
        close(fd);
        return fail(L, "read", path, S_ISDIR(s.st_mode) ? EISDIR : EINVAL);
    }
    char chunk[65536];
    ssize_t n = 0;
    int code = 0;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && !t->failed && t->len <= limit)
        text_add(t, chunk, (size_t)n);
    if (n < 0) code = errno;
    close(fd);
    if (code != 0) return fail(L, "read", path, code);
    if (t->failed) return luaL_error(L, "not enough memory");
    if (t->len > limit) return fail(L, "read", path, EFBIG);
    lua_pushlstring(L, t->data != NULL ? t->data : "", t->len);
    text_free(t);
    return 1;
}

static int write_all(int fd, const char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0) return errno;
        done += (size_t)n;
    }
    return fsync(fd) < 0 && errno != EINVAL ? errno : 0; /* devices have nothing to sync */
}

/* A device or a pipe is written into: to put a file in its place would take /dev/null from all. */
static int write_into(lua_State *L, const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe that nobody reads fails */
    if (fd < 0) return fail(L, "write", path, errno);
    int code = fcntl(fd, F_SETFL, 0) < 0 ? errno : write_all(fd, data, len);
    if (close(fd) < 0 && code == 0) code = errno;
    if (code != 0) return fail(L, "write", path, code);
    lua_pushboolean(L, 1);
    return 1;
}

/* write(path, bytes): the file is there whole or not at all, whatever happens meanwhile. A link
 * stays, and what it leads to is written. */
static int l_write(lua_State *L)
{
    size_t len;
    char real[PATH_MAX];
    struct stat s;
    const char *path = luaL_checkstring(L, 1), *data = luaL_checklstring(L, 2, &len);
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode))
        return write_into(L, path, data, len);
    const char *target = realpath(path, real) != NULL ? real : path;
    const char *temporary = lua_pushfstring(L, "%s.%d.new", target, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return fail(L, "write", path, errno);
    int code = write_all(fd, data, len);
    if (close(fd) < 0 && code == 0) code = errno;
    if (code == 0 && rename(temporary, target) < 0) code = errno;
    if (code != 0) {
        unlink(temporary);
        return fail(L, "write", path, code);
    }
    lua_pushboolean(L, 1);
    return 1;
}

#define GLOB_TYPE "perigee.glob"

static int l_free_glob(lua_State *L)
{
    glob_t *found = luaL_checkudata(L, 1, GLOB_TYPE);
    globfree(found);
    *found = (glob_t){0};
    return 0;
}

static int
l_glob(lua_State *L) /* glob(pattern) -> sorted array of paths, empty if there are none */
{
    const char *pattern = luaL_checkstring(L, 1);
    glob_t *found = lua_newuserdatauv(L, sizeof *found, 0);
    *found = (glob_t){0};
    luaL_setmetatable(L, GLOB_TYPE);
    int rc = glob(pattern, 0, NULL, found);
    if (rc == GLOB_NOSPACE) return luaL_error(L, "not enough memory");
    if (rc != 0 && rc != GLOB_NOMATCH) return fail(L, "list", pattern, EIO);
    size_t n = rc == 0 ? found->gl_pathc : 0;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, found->gl_pathv[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int l_stat(lua_State *L) /* stat(path) -> { type, size, modified, mode } | nil, message */
{
    const char *path = luaL_checkstring(L, 1);
    struct stat s;
    if (stat(path, &s) < 0) return fail(L, "read", path, errno);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, S_ISREG(s.st_mode) ? "file" : S_ISDIR(s.st_mode) ? "folder" : "other");
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, s.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)s.st_mtim.tv_sec + (lua_Number)s.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "modified");
    lua_pushinteger(L, s.st_mode & 0777);
    lua_setfield(L, -2, "mode");
    return 1;
}

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static int l_make_folder(lua_State *L) /* make_folder(path): with its parents, as mkdir -p does */
{
    const char *path = luaL_checkstring(L, 1);
    char *copy = lua_newuserdatauv(L, strlen(path) + 1, 0);
    strcpy(copy, path);
    for (char *at = copy + 1; copy[0] != '\0'; at++) {
        char c = *at;
        if (c != '/' && c != '\0') continue;
        *at = '\0';
        if (mkdir(copy, 0777) < 0 && errno != EEXIST) return fail(L, "make folder", path, errno);
        *at = c;
        if (c == '\0') break;
    }
    if (!is_folder(path)) return fail(L, "make folder", path, ENOTDIR);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_temporary_folder(lua_State *L) /* temporary_folder(prefix) -> path */
{
    const char *root = getenv("TMPDIR"), *prefix = luaL_checkstring(L, 1);
    char unique[17];
    hash_random_hex(8, unique);
    /* The name first: once the folder is there, nothing may fail that would leave it behind. */
    const char *path = lua_pushfstring(L, "%s/%s-%s", root != NULL ? root : "/tmp", prefix, unique);
    if (mkdir(path, 0700) < 0) return fail(L, "make", path, errno);
    return 1;
}

static int l_executable(lua_State *L) /* executable() -> path of the program that runs */
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n < 0) return fail(L, "find", "the program", errno);
    lua_pushlstring(L, path, (size_t)n);
    return 1;
}

#define LOCK_TYPE "perigee.lock"

static int l_unlock(lua_State *L)
{
    int *fd = luaL_checkudata(L, 1, LOCK_TYPE);
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return 0;
}

/* lock(path) -> lock | nil, message: held by one process at a time, until closed or the process
 * ends */
static int l_lock(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = -1;
    luaL_setmetatable(L, LOCK_TYPE);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB) < 0) return fail(L, "lock", path, errno);
    return 1;
}

int luaopen_perigee_file(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", l_read},
                                         {"write", l_write},
                                         {"glob", l_glob},
                                         {"stat", l_stat},
                                         {"make_folder", l_make_folder},
                                         {"temporary_folder", l_temporary_folder},
                                         {"lock", l_lock},
                                         {"executable", l_executable},
                                         {NULL, NULL}};
    bind_type(L, LOCK_TYPE, (const luaL_Reg[]){{"close", l_unlock}, {NULL, NULL}}, l_unlock);
    bind_type(L, GLOB_TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_free_glob);
    luaL_newlib(L, functions);
    return 1;
}
