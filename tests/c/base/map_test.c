#include "tests/c/test.h"
#include "base/map.h"

enum { KEYS = 3000 };

static int freed;
static void count_free(void *value)
{
    freed++;
    free(value);
}

static int *boxed(int n)
{
    int *box = malloc(sizeof *box);
    *box = n;
    return box;
}

/* Keys of any bytes; many share a beginning, one is empty. */
static const char *key_of(size_t i, char out[40])
{
    snprintf(out, 40, "%.*s%zu%s", (int)(i % 5), "\xff\x01 =\n", i, i % 3 ? "" : "/");
    return i == 0 ? "" : out;
}

TEST(a_map_holds_what_an_array_of_pairs_would)
{
    struct map m = {0};
    int *twin[KEYS] = {NULL};
    uint64_t seed = 1;
    char key[40];
    size_t n = 0;
    for (int round = 0; round < 20000; round++) {
        size_t i = xorshift(&seed) % KEYS;
        if (round % 3 == 0) {
            n += twin[i] == NULL;
            free(twin[i]);
            twin[i] = boxed(round);
            map_set(&m, key_of(i, key), twin[i]);
        }
        assert_ptr_equal(map_get(&m, key_of(i, key)), twin[i]);
        assert_int_equal(m.used, n);
    }
    assert_true(n > KEYS * 3 / 4); /* it has grown many times */
    freed = 0;
    map_free(&m, count_free);
    assert_int_equal(freed, n);
}

TEST(a_visit_meets_every_entry_once)
{
    struct map m = {0};
    char key[40];
    bool met[KEYS] = {false};
    for (size_t i = 0; i < KEYS; i++) map_set(&m, key_of(i, key), boxed((int)i));
    struct map_entry *e;
    size_t n = 0;
    for (size_t at = 0; (e = map_next(&m, &at)) != NULL; n++) {
        int i = *(int *)e->value;
        assert_string_equal(e->key, key_of((size_t)i, key));
        assert_false(met[i]);
        met[i] = true;
    }
    assert_int_equal(n, KEYS);
    map_free(&m, free);
}

TEST(an_empty_map_has_nothing_and_a_freed_one_is_empty)
{
    struct map m = {0};
    size_t at = 0;
    int value = 1;
    assert_null(map_get(&m, ""));
    assert_null(map_next(&m, &at));
    map_free(&m, NULL);
    char key[] = "key";
    map_set(&m, key, &value);
    key[0] = 'x'; /* the map has its own copy */
    assert_ptr_equal(map_get(&m, "key"), &value);
    map_free(&m, NULL);
    assert_true(m.used == 0 && m.capacity == 0 && m.entries == NULL);
    assert_null(map_get(&m, "key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_map_holds_what_an_array_of_pairs_would),
        CHECK(a_visit_meets_every_entry_once),
        CHECK(an_empty_map_has_nothing_and_a_freed_one_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
