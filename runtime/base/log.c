#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/memory.h"
#include "base/text.h"

static const char *const names[] = {"debug", "info", "warn", "error", "off"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over all below */
static enum log_level least = LOG_INFO;
static bool as_json;
static char **secrets;
static size_t n_secrets;
static void (*divert)(void *, const char *, size_t);
static void *divert_ud;

void log_setup(enum log_level level, bool json)
{
    pthread_mutex_lock(&lock);
    least = level;
    as_json = json;
    pthread_mutex_unlock(&lock);
}

bool log_wants(enum log_level level)
{
    pthread_mutex_lock(&lock);
    bool wants = level >= least && level < LOG_OFF;
    pthread_mutex_unlock(&lock);
    return wants;
}

int log_level_of(const char *name)
{
    for (int i = LOG_DEBUG; i <= LOG_OFF; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

/* Text from elsewhere must not break the line, nor the terminal of who reads it: the bytes at s
 * that may be shown as they are; 0 where they are a control character (those above 0x7f too) or no
 * UTF-8. */
static size_t printable(const char *s, size_t len)
{
    size_t n = text_utf8_char(s, len);
    unsigned char first = (unsigned char)s[0];
    bool is_c1 = n == 2 && first == 0xc2 && (unsigned char)s[1] < 0xa0;
    return first < 0x20 || first == 0x7f || is_c1 ? 0 : n;
}

static bool is_plain(const char *s, size_t len)
{
    size_t i = 0, n;
    if (len == 0 || strpbrk(s, " =\"\\") != NULL) return false;
    while (i < len && (n = printable(s + i, len - i)) > 0) i += n;
    return i == len;
}

static void add_quoted(struct text *t, const char *s, bool json)
{
    size_t len = strlen(s);
    if (!json && is_plain(s, len)) {
        text_add(t, s, len);
        return;
    }
    text_addc(t, '"');
    for (size_t i = 0, n; i < len; i += n) {
        unsigned char c = (unsigned char)s[i];
        n = printable(s + i, len - i);
        if (c == '"' || c == '\\') text_addc(t, '\\');
        if (n > 0) {
            text_add(t, s + i, n);
            continue;
        }
        n = text_utf8_char(s + i, len - i);
        if (c == '\n' || c == '\t')
            text_adds(t, c == '\n' ? "\\n" : "\\t");
        else
            text_addf(t, "\\u%04x", n == 0 ? 0xfffd : n == 2 ? (unsigned char)s[i + 1] : c);
        if (n == 0) n = 1;
    }
    text_addc(t, '"');
}

/* The length of the longest secret that s begins with; 0 if with none. */
static size_t secret_at(const char *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < n_secrets; i++) {
        if (secrets[i][0] != s[0]) continue;
        size_t len = strlen(secrets[i]);
        if (len > longest && strncmp(s, secrets[i], len) == 0) longest = len;
    }
    return longest;
}

/* Before anything is escaped: so it does not matter what stands around the secret. */
static void redact(struct text *t, const char *s)
{
    for (size_t n; *s; s += n > 0 ? n : 1) {
        n = secret_at(s);
        if (n > 0)
            text_adds(t, "[redacted]");
        else
            text_addc(t, *s);
    }
}

static void add_field(struct text *t, const char *key, const char *value)
{
    struct text clean = {0};
    redact(&clean, value);
    if (as_json) {
        text_addf(t, "%s\"%s\":", t->len > 0 ? "," : "{", key);
    } else {
        text_addf(t, "%s%s=", t->len > 0 ? " " : "", key);
    }
    add_quoted(t, clean.data != NULL ? clean.data : "", as_json);
    t->failed = t->failed || clean.failed;
    text_free(&clean);
}

static void write_line(struct text *t)
{
    if (divert != NULL) {
        divert(divert_ud, t->data, t->len);
        return;
    }
    text_addc(t, '\n');
    for (size_t done = 0; !t->failed && done < t->len;) {
        ssize_t n = write(STDERR_FILENO, t->data + done, t->len - done);
        if (n <= 0) break; /* nobody is left to be told */
        done += (size_t)n;
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    if (!log_wants(level)) return;
    char now[CLOCK_TEXT];
    struct text line = {0};
    pthread_mutex_lock(&lock);
    add_field(&line, "ts", clock_text(clock_wall_ms(), now));
    add_field(&line, "level", names[level]);
    add_field(&line, "msg", message);
    for (; fields != NULL && fields->key != NULL; fields++)
        if (fields->value != NULL) add_field(&line, fields->key, fields->value);
    if (as_json) text_addc(&line, '}');
    if (!line.failed) write_line(&line);
    pthread_mutex_unlock(&lock);
    text_free(&line);
}

void log_printf(enum log_level level, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_write(level, message, NULL);
}

static void keep_secret(const char *value)
{
    for (size_t i = 0; i < n_secrets; i++)
        if (strcmp(secrets[i], value) == 0) return;
    secrets = xrealloc(secrets, n_secrets + 1, sizeof *secrets);
    secrets[n_secrets++] = xstrdup(value);
}

void log_secret(const char *value)
{
    if (strlen(value) < 6) return;
    struct text quoted = {0}; /* a message may show a piece of JSON with the secret in it */
    add_quoted(&quoted, value, true);
    require(!quoted.failed);
    quoted.data[quoted.len - 1] = '\0';
    pthread_mutex_lock(&lock);
    keep_secret(value);
    keep_secret(quoted.data + 1);
    pthread_mutex_unlock(&lock);
    text_free(&quoted);
}

void log_redact(struct text *t, const char *s)
{
    pthread_mutex_lock(&lock);
    redact(t, s);
    pthread_mutex_unlock(&lock);
}

void log_divert(void (*sink)(void *, const char *, size_t), void *ud)
{
    pthread_mutex_lock(&lock);
    divert = sink;
    divert_ud = ud;
    pthread_mutex_unlock(&lock);
}
