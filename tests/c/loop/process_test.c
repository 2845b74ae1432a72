#include "tests/c/test.h"
#include "loop/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "loop/timer.h"

static struct loop *loop;

/* -- one child, and what came of it -- */

struct outcome {
    int calls, status;
    bool truncated;
    struct text out, err; /* NULL data where there is none */
};

static void on_done(void *ud, struct process_result *r)
{
    struct outcome *o = ud;
    o->calls++;
    o->status = r->status;
    o->truncated = r->truncated;
    o->out = r->out; /* the text moves over */
    o->err = r->err;
    r->out = r->err = (struct text){0};
}

static struct process *start(const struct process_options *o, struct outcome *out)
{
    struct process *p = NULL;
    struct err e = {0};
    *out = (struct outcome){.calls = 0};
    if (process_start(loop, o, on_done, out, &p, &e) < 0) fail_msg("%s", e.text);
    return p;
}

static void run(const struct process_options *o, struct outcome *out)
{
    start(o, out);
    assert_int_equal(out->calls, 0); /* never from inside the call */
    loop_run(loop, NULL);
    assert_int_equal(out->calls, 1);
}

static void clear(struct outcome *o)
{
    text_free(&o->out);
    text_free(&o->err);
}

static struct process_options sh(const char *script) /* good until it has been called four times */
{
    static char name[] = "sh", c[] = "-c", *argv[4][4];
    static int at;
    char **mine = argv[at++ % 4];
    mine[0] = name;
    mine[1] = c;
    mine[2] = (char *)(uintptr_t)script;
    mine[3] = NULL;
    return (struct process_options){.argv = mine, .limit = 65536};
}

static void assert_no_child(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* -- how it ends -- */

TEST(the_exit_status_is_the_childs_or_128_and_the_signal)
{
    static const struct {
        const char *script;
        int status;
    } all[] = {{"exit 0", 0},
               {"exit 7", 7},
               {"exit 255", 255},
               {"kill -TERM $$", 143},
               {"kill -KILL $$", 137}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct process_options options = sh(all[i].script);
        struct outcome o;
        run(&options, &o);
        assert_int_equal(o.status, all[i].status);
        assert_false(o.truncated);
        clear(&o);
    }
}

TEST(a_program_that_is_not_there_is_told_at_once)
{
    char program[] = "/nowhere/perigee-no-such-program", x[] = "perigee-no-such-program";
    char *const argv[] = {program, NULL}, *const bare[] = {x, NULL};
    struct process_options o = {.argv = argv, .limit = 10, .input = "x", .input_len = 1};
    struct outcome out = {.calls = 0};
    struct process *p = NULL;
    struct err e = {0};
    int files = test_open_files();
    assert_int_equal(process_start(loop, &o, on_done, &out, &p, &e), -ENOENT);
    assert_string_equal(e.text,
                        "cannot start /nowhere/perigee-no-such-program: No such file or directory");
    o.argv = bare; /* looked for in PATH */
    assert_int_equal(process_start(loop, &o, on_done, &out, &p, &e), -ENOENT);
    char folder[64];
    char *const no_program[] = {(char *)(uintptr_t)test_folder(folder), NULL};
    o.argv = no_program;
    assert_int_equal(process_start(loop, &o, on_done, &out, &p, &e), -EACCES);
    test_remove(folder);
    loop_run(loop, NULL);
    assert_int_equal(out.calls, 0);
    assert_int_equal(test_open_files(), files);
    assert_no_child();
}

TEST(a_child_can_be_sent_signals_until_it_has_ended)
{
    struct process_options o =
        sh("trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.01; done");
    struct outcome out;
    struct process *p = start(&o, &out);
    assert_true(process_pid(p) > 0);
    assert_int_equal(kill(process_pid(p), 0), 0);
    assert_true(process_kill(p, 9999) < 0);
    /* Told once it is sure to have set its trap: it sleeps below. */
    for (bool slept = false; !slept;) {
        char path[64], line[64] = "";
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", process_pid(p), process_pid(p));
        FILE *f = fopen(path, "r");
        if (f != NULL) slept = fgets(line, sizeof line, f) != NULL;
        if (f != NULL) fclose(f);
    }
    assert_int_equal(process_kill(p, SIGUSR1), 0);
    loop_run(loop, NULL);
    assert_int_equal(out.status, 3);
    assert_string_equal(out.out.data, "ready\nusr1\n");
    clear(&out);
}

/* -- what it is given -- */

TEST(a_child_has_the_environment_folder_and_arguments_it_was_given)
{
    char folder[64], real[4096], expected[9000];
    assert_non_null(realpath(test_folder(folder), real));
    char a[] = "A=1 2", b[] = "B=é\n=", path[] = "PATH=/usr/bin:/bin";
    char *const env[] = {a, b, path, NULL};
    struct process_options o = {.argv = (char *[]){(char[]){"sh"}, (char[]){"-c"},
                                                   (char[]){"pwd; env | sort; echo \"$1|$2\""},
                                                   (char[]){"zero"}, (char[]){"$(exit 1); 'x\"*"},
                                                   (char[]){""}, NULL},
                                .env = env,
                                .cwd = folder,
                                .limit = 65536};
    struct outcome out;
    run(&o, &out);
    snprintf(expected, sizeof expected,
             "%s\n=\nA=1 2\nB=é\nPATH=/usr/bin:/bin\nPWD=%s\n$(exit 1); 'x\"*|\n", real, real);
    assert_string_equal(out.out.data, expected);
    assert_int_equal(out.status, 0);
    clear(&out);
    test_remove(folder);
}

TEST(without_an_environment_it_has_ours_and_without_input_none)
{
    struct process_options o = sh("echo $PERIGEE_TEST; wc -c");
    struct outcome out;
    setenv("PERIGEE_TEST", "ours", 1);
    run(&o, &out);
    assert_string_equal(out.out.data, "ours\n0\n");
    clear(&out);
}

TEST(a_child_reads_all_of_its_input_and_then_the_end)
{
    enum { LEN = 3000000 }; /* more than a pipe holds, to both sides */
    char *input = malloc(LEN);
    uint64_t seed = 1;
    for (size_t i = 0; i < LEN; i++) input[i] = (char)xorshift(&seed);
    char cat[] = "cat", *const argv[] = {cat, NULL};
    struct process_options o = {.argv = argv, .input = input, .input_len = LEN, .limit = LEN};
    struct outcome out;
    struct process *p = start(&o, &out);
    (void)p;
    memset(input, 0, 10); /* it has been copied */
    loop_run(loop, NULL);
    assert_int_equal(out.out.len, LEN);
    assert_false(out.truncated); /* the limit itself is within */
    assert_memory_equal(out.out.data + 10, input + 10, LEN - 10);
    assert_memory_not_equal(out.out.data, input, 10);
    assert_int_equal(out.status, 0);
    clear(&out);
    o.input_len = 0; /* an empty input is one too */
    run(&o, &out);
    assert_int_equal(out.out.len, 0);
    assert_int_equal(out.status, 0);
    clear(&out);
    free(input);
}

TEST(a_child_may_leave_its_input_unread)
{
    enum { LEN = 1000000 };
    char *input = calloc(1, LEN);
    struct process_options o = sh("exec <&-; echo closed; exit 4");
    o.input = input;
    o.input_len = LEN;
    struct outcome out;
    run(&o, &out);
    assert_string_equal(out.out.data, "closed\n");
    assert_int_equal(out.status, 4);
    clear(&out);
    free(input);
}

/* -- what it writes -- */

TEST(output_and_errors_are_kept_apart)
{
    struct process_options o = sh("echo out; echo err >&2; echo out again");
    struct outcome out;
    run(&o, &out);
    assert_string_equal(out.out.data, "out\nout again\n");
    assert_string_equal(out.err.data, "err\n");
    clear(&out);
}

TEST(a_child_that_writes_more_than_the_limit_is_ended)
{
    static const size_t limits[] = {0, 1, 16384, 100000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        for (int to_err = 0; to_err <= 1; to_err++) {
            struct process_options out_too = sh("echo small; exec yes"),
                                   err_too = sh("echo small >&2; exec yes >&2");
            struct process_options o = to_err ? err_too : out_too;
            struct outcome out;
            o.limit = limits[i];
            run(&o, &out);
            assert_true(out.truncated);
            assert_int_equal(out.status, 128 + SIGKILL);
            assert_int_equal(to_err ? out.err.len : out.out.len, limits[i]);
            assert_int_equal(to_err ? out.out.len : out.err.len, 0);
            clear(&out);
        }
    }
}

TEST(output_can_go_to_the_end_of_a_file)
{
    char folder[64], path[100], text[64] = "";
    snprintf(path, sizeof path, "%s/log", test_folder(folder));
    struct process_options o = sh("echo out; echo err >&2");
    struct outcome out;
    o.output_file = path;
    run(&o, &out);
    assert_true(out.out.data == NULL && out.err.data == NULL);
    run(&o, &out); /* appended */
    FILE *f = fopen(path, "r");
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    assert_int_equal(n, strlen(text));
    assert_string_equal(text, "out\nerr\nout\nerr\n");
    test_remove(folder);
    struct process *p = NULL;
    struct err e = {0};
    assert_int_equal(process_start(loop, &o, on_done, &out, &p, &e), -ENOENT); /* no such folder */
    assert_non_null(strstr(e.text, "cannot write"));
}

TEST(the_end_waits_for_what_a_grandchild_still_writes)
{
    char folder[64], fifo[100], command[300];
    snprintf(fifo, sizeof fifo, "%s/fifo", test_folder(folder));
    snprintf(command, sizeof command, "mkfifo %s; (cat %s >/dev/null; echo late) & echo early",
             fifo, fifo);
    struct process_options o = sh(command);
    struct outcome out;
    struct process *p = start(&o, &out);
    while (process_kill(p, 0) != -ESRCH) uv_run(loop_uv(loop), UV_RUN_ONCE); /* it has ended */
    assert_int_equal(out.calls, 0);
    FILE *f = fopen(fifo, "w"); /* lets the grandchild go on */
    fclose(f);
    loop_run(loop, NULL);
    assert_int_equal(out.calls, 1);
    assert_string_equal(out.out.data, "early\nlate\n");
    clear(&out);
    test_remove(folder);
}

/* -- children that nobody waits for -- */

static void assert_gone(int pid)
{
    while (kill(pid, 0) == 0) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_int_equal(errno, ESRCH);
}

TEST(an_abandoned_child_is_ended_and_nobody_is_told)
{
    struct process_options o = sh("trap '' TERM; exec yes");
    struct outcome out[3];
    int files = test_open_files(), pids[3];
    for (int i = 0; i < 3; i++) {
        struct process *p = start(&o, &out[i]);
        pids[i] = process_pid(p);
        for (int turns = 0; turns < i; turns++) uv_run(loop_uv(loop), UV_RUN_ONCE);
        process_abandon(p);
    }
    loop_run(loop, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(out[i].calls, 0);
        assert_gone(pids[i]);
    }
    assert_no_child();
    assert_int_equal(test_open_files(), files);
}

/* As a script ends with a child running: the loop is closed before it could see the child's end. */
TEST(a_child_abandoned_with_its_loop_leaves_nothing_behind)
{
    struct loop *own, *before = loop;
    struct process_options o = sh("exec sleep 1000");
    struct outcome out;
    int files = test_open_files();
    assert_int_equal(loop_open(&own), 0);
    loop = own;
    struct process *p = start(&o, &out);
    loop = before;
    int pid = process_pid(p);
    process_abandon(p);
    loop_close(own);
    assert_int_equal(out.calls, 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_no_child(); /* not even a zombie; and the leak sanitizer answers for its memory */
    assert_int_equal(test_open_files(), files);
}

TEST(many_children_at_once_leave_no_zombie_and_no_open_file)
{
    enum { MANY = 60 };
    static struct outcome out[MANY];
    int files = test_open_files();
    for (int i = 0; i < MANY; i++) {
        char status[8], exit[] = "exit $1", sh[] = "sh", c[] = "-c", zero[] = "x";
        snprintf(status, sizeof status, "%d", i);
        char *const argv[] = {sh, c, exit, zero, status, NULL};
        start(&(struct process_options){.argv = argv, .limit = 10, .input = "x", .input_len = 1},
              &out[i]);
    }
    loop_run(loop, NULL);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(out[i].calls, 1);
        assert_int_equal(out[i].status, i);
        clear(&out[i]);
    }
    assert_no_child();
    assert_int_equal(test_open_files(), files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(the_exit_status_is_the_childs_or_128_and_the_signal),
        CHECK(a_program_that_is_not_there_is_told_at_once),
        CHECK(a_child_can_be_sent_signals_until_it_has_ended),
        CHECK(a_child_has_the_environment_folder_and_arguments_it_was_given),
        CHECK(without_an_environment_it_has_ours_and_without_input_none),
        CHECK(a_child_reads_all_of_its_input_and_then_the_end),
        CHECK(a_child_may_leave_its_input_unread),
        CHECK(output_and_errors_are_kept_apart),
        CHECK(a_child_that_writes_more_than_the_limit_is_ended),
        CHECK(output_can_go_to_the_end_of_a_file),
        CHECK(the_end_waits_for_what_a_grandchild_still_writes),
        CHECK(an_abandoned_child_is_ended_and_nobody_is_told),
        CHECK(a_child_abandoned_with_its_loop_leaves_nothing_behind),
        CHECK(many_children_at_once_leave_no_zombie_and_no_open_file),
    };
    alarm(120);               /* what hangs is ended */
    signal(SIGPIPE, SIG_IGN); /* as main() does */
    if (loop_open(&loop) < 0) return 1;
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    loop_close(loop);
    return rc;
}
