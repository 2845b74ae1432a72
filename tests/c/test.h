/* test.h - what every C test needs: cmocka, names that are sentences, seeded numbers, folders. */
#ifndef TESTS_C_TEST_H
#define TESTS_C_TEST_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST(name) static void name(void **state __attribute__((unused)))
#define CHECK(name) cmocka_unit_test(name)

#ifndef __has_feature
#define __has_feature(x) 0
#endif
/* How much longer than in an ordinary build all may take. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ ||                                 \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { TEST_SLOW = 50 };
#else
enum { TEST_SLOW = 1 };
#endif

static inline uint64_t xorshift(uint64_t *seed) /* Marsaglia's; *seed not 0 */
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static inline double uniform(uint64_t *seed) /* in [0, 1) */
{
    return (double)(xorshift(seed) >> 11) / 9007199254740992.0;
}

/* A folder of the test's own; ends with test_remove(). */
static inline const char *test_folder(char out[64])
{
    snprintf(out, 64, "%s", "/tmp/perigee-test-XXXXXX");
    assert_non_null(mkdtemp(out));
    return out;
}

static inline void test_remove(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static inline int test_open_files(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL) n++;
    closedir(folder);
    return n;
}

#endif
