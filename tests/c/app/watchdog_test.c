#include "tests/c/test.h"
#include "app/watchdog.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "loop/timer.h"

/* What a child does in one turn; the parent looks at how the child ends. */
static void hang(void *ud)
{
    (void)ud;
    for (;;) sleep(1);
}

static void stand_still(void *ud)
{
    (void)ud;
    usleep(600000); /* the watchdog looks before it, and behind it */
    raise(SIGSTOP);
    usleep(600000);
}

static void quiet(void *ud, const char *line, size_t len)
{
    (void)ud;
    (void)line;
    (void)len;
}

static pid_t start(void (*turn)(void *))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    struct loop *loop;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    log_divert(quiet, NULL);
    if (loop_open(&loop) < 0) _exit(2);
    struct watchdog *w = watchdog_start(loop);
    timer_start(loop, 0, turn, NULL);
    loop_run(loop, NULL);
    watchdog_stop(w);
    loop_close(loop);
    _exit(0);
}

/* Both at once, for each takes as long as the watchdog is patient. */
TEST(a_turn_that_hangs_ends_the_process_and_one_that_stood_still_does_not)
{
    int hung, stopped;
    pid_t hangs = start(hang), stands = start(stand_still);
    assert_int_equal(waitpid(stands, &stopped, WUNTRACED), stands);
    assert_true(WIFSTOPPED(stopped));
    time_t began = time(NULL);
    assert_int_equal(waitpid(hangs, &hung, 0), hangs);
    assert_true(WIFSIGNALED(hung) && WTERMSIG(hung) == SIGABRT);
    assert_true(time(NULL) - began >= WATCHDOG_ABORT_MS / 1000 - 1);
    sleep(1); /* so that it has stood still for longer than a turn may take */
    kill(stands, SIGCONT);
    assert_int_equal(waitpid(stands, &stopped, 0), stands);
    assert_true(WIFEXITED(stopped) && WEXITSTATUS(stopped) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_turn_that_hangs_ends_the_process_and_one_that_stood_still_does_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
