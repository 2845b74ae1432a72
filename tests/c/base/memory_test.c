#include "tests/c/test.h"
#include "base/memory.h"

#include <errno.h>

#include "base/err.h"
#include "base/list.h"

TEST(an_array_grows_by_doubling_and_keeps_what_it_holds)
{
    int *items = NULL;
    size_t capacity = 0;
    int grown = 0;
    for (size_t n = 0; n < 100000; n++) {
        size_t before = capacity;
        assert_true(array_reserve((void **)&items, &capacity, n + 1, sizeof *items));
        grown += capacity != before;
        items[n] = (int)n;
    }
    assert_true(grown <= 15);
    for (size_t n = 0; n < 100000; n++) assert_int_equal(items[n], n);
    free(items);
}

TEST(a_reservation_that_no_memory_holds_changes_nothing)
{
    char *items = NULL;
    size_t capacity = 0;
    assert_true(array_reserve((void **)&items, &capacity, 3, 1));
    char *before = items;
    size_t had = capacity;
    static const size_t sizes[] = {1, 3, 8, 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_false(array_reserve((void **)&items, &capacity, SIZE_MAX, sizes[i]));
        assert_false(array_reserve((void **)&items, &capacity, SIZE_MAX / 2 + 2, sizes[i]));
    }
    assert_true(items == before && capacity == had);
    free(items);
}

TEST(copies_have_a_nul_behind_them)
{
    char *copy = xmemdup0("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    free(copy);
    copy = xmemdup0(NULL, 0);
    assert_string_equal(copy, "");
    free(copy);
}

TEST(an_error_has_a_code_and_words_that_are_cut_to_fit)
{
    struct err e = {0};
    char *longest = malloc(2000);
    memset(longest, 'x', 1999);
    longest[1999] = '\0';
    assert_int_equal(err_set(&e, -EINVAL, "%d of %s", 3, "four"), -EINVAL);
    assert_int_equal(e.code, -EINVAL);
    assert_string_equal(e.text, "3 of four");
    assert_int_equal(err_sys(&e, -ENOENT, "cannot read %s", "x"), -ENOENT);
    assert_string_equal(e.text, "cannot read x: No such file or directory");
    err_sys(&e, -ENOENT, "%s", longest);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(err_set(NULL, -EIO, "nobody reads this"), -EIO);
    assert_int_equal(err_sys(NULL, -EIO, "nobody reads this"), -EIO);
    free(longest);
}

TEST(a_list_is_a_ring_through_its_head)
{
    struct item {
        int n;
        struct list link;
    } items[5];
    struct list head;
    int sum = 0;
    list_init(&head);
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        list_append(&head, &items[i].link);
    }
    list_remove(&items[2].link);
    list_remove(&items[2].link); /* twice is fine */
    list_remove(&items[0].link);
    list_remove(&items[4].link);
    list_append(&head, &items[0].link); /* and again */
    for (struct list *at = head.next; at != &head; at = at->next) {
        assert_ptr_equal(at->next->prev, at);
        sum = sum * 10 + LIST_ITEM(at, struct item, link)->n;
    }
    assert_int_equal(sum, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(an_array_grows_by_doubling_and_keeps_what_it_holds),
        CHECK(a_reservation_that_no_memory_holds_changes_nothing),
        CHECK(copies_have_a_nul_behind_them),
        CHECK(an_error_has_a_code_and_words_that_are_cut_to_fit),
        CHECK(a_list_is_a_ring_through_its_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
