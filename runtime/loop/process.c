#include "loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

struct process {
    uv_process_t uv;
    uv_pipe_t in, out, err;
    uv_write_t write;
    char *input;
    char chunk[16384]; /* read into one stream after the other, copied at once */
    size_t limit;
    int open; /* handles that have not called back from closing */
    bool exited;
    struct process_result result;
    void (*done)(void *, struct process_result *);
    void *ud;
};

static void free_process(struct process *p)
{
    text_free(&p->result.out);
    text_free(&p->result.err);
    free(p->input);
    free(p);
}

static void on_closed(uv_handle_t *h)
{
    struct process *p = h->data;
    if (--p->open > 0) return;
    if (p->done != NULL) p->done(p->ud, &p->result);
    free_process(p);
}

static void close_handle(void *handle)
{
    uv_handle_t *h = handle;
    if (h->data != NULL && !uv_is_closing(h)) uv_close(h, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct process *p = h->data;
    (void)suggested;
    *buf = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = stream->data;
    struct text *to = stream == (uv_stream_t *)&p->out ? &p->result.out : &p->result.err;
    if (n < 0) {
        close_handle(stream);
        return;
    }
    size_t room = p->limit - to->len;
    text_add(to, buf->base, (size_t)n < room ? (size_t)n : room);
    if ((size_t)n > room || to->failed) {
        p->result.truncated = true;
        if (!p->exited) (void)uv_process_kill(&p->uv, SIGKILL);
        close_handle(stream);
    }
}

static void on_written(uv_write_t *req, int status)
{
    (void)status; /* a child may well close its input early */
    close_handle(req->handle);
}

static void on_child_exit(uv_process_t *uv, int64_t status, int signum)
{
    struct process *p = uv->data;
    p->exited = true;
    p->result.status = signum ? 128 + signum : (int)status;
    close_handle(&p->uv);
    close_handle(&p->in);
}

static void open_pipe(struct process *p, struct loop *l, uv_pipe_t *pipe)
{
    require(uv_pipe_init(loop_uv(l), pipe, 0) == 0);
    pipe->data = p;
    p->open++;
}

static int spawn(struct process *p, struct loop *l, const struct process_options *o, int file)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    if (o->input != NULL) {
        open_pipe(p, l, &p->in);
        stdio[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
        stdio[0].data.stream = (uv_stream_t *)&p->in;
    }
    if (file >= 0) {
        stdio[1].flags = stdio[2].flags = UV_INHERIT_FD;
        stdio[1].data.fd = stdio[2].data.fd = file;
    } else {
        open_pipe(p, l, &p->out);
        open_pipe(p, l, &p->err);
        stdio[1].flags = stdio[2].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[1].data.stream = (uv_stream_t *)&p->out;
        stdio[2].data.stream = (uv_stream_t *)&p->err;
    }
    uv_process_options_t options = {.exit_cb = on_child_exit,
                                    .file = o->argv[0],
                                    .args = (char **)(uintptr_t)o->argv,
                                    .env = (char **)(uintptr_t)o->env,
                                    .cwd = o->cwd,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    p->uv.data = p;
    p->open++;
    return uv_spawn(loop_uv(l), &p->uv, &options);
}

int process_start(struct loop *l, const struct process_options *o,
                  void (*done)(void *ud, struct process_result *r), void *ud, struct process **out,
                  struct err *e)
{
    int file = -1;
    if (o->output_file != NULL) {
        file = open(o->output_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0) return err_sys(e, -errno, "cannot write %s", o->output_file);
    }
    struct process *p = xcalloc(1, sizeof *p);
    p->limit = o->limit;
    int rc = spawn(p, l, o, file);
    if (file >= 0) close(file);
    if (rc < 0) {
        close_handle(&p->uv);
        close_handle(&p->in);
        close_handle(&p->out);
        close_handle(&p->err);
        return err_sys(e, rc, "cannot start %s", o->argv[0]);
    }
    p->done = done;
    p->ud = ud;
    if (file < 0) {
        uv_read_start((uv_stream_t *)&p->out, on_alloc, on_read);
        uv_read_start((uv_stream_t *)&p->err, on_alloc, on_read);
    }
    if (o->input != NULL) {
        p->input = xmemdup0(o->input, o->input_len);
        uv_buf_t buf = uv_buf_init(p->input, (unsigned)o->input_len);
        if (uv_write(&p->write, (uv_stream_t *)&p->in, &buf, 1, on_written) < 0)
            close_handle(&p->in);
    }
    *out = p;
    return 0;
}

int process_pid(const struct process *p) { return p->uv.pid; }

int process_kill(struct process *p, int signum)
{
    return p->exited ? -ESRCH : uv_process_kill(&p->uv, signum);
}

void process_abandon(struct process *p)
{
    p->done = NULL;
    if (!p->exited) (void)uv_process_kill(&p->uv, SIGKILL);
    close_handle(&p->in);
    close_handle(&p->out);
    close_handle(&p->err);
}
