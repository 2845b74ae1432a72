#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
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

/* Text from elsewhere must not break the line, nor the terminal of who reads it. */
static void add_quoted(struct text *t, const char *s, bool json)
{
    size_t len = strlen(s);
    bool plain = !json && len > 0 && strpbrk(s, " =\"\\") == NULL;
    for (size_t i = 0; plain && i < len; i++) plain = (unsigned char)s[i] > 0x20 && s[i] != 0x7f;
    if (plain) {
        text_add(t, s, len);
        return;
    }
    bool utf8 = text_is_utf8(s, len);
    text_addc(t, '"');
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p == '"' || *p == '\\')
            text_addf(t, "\\%c", *p);
        else if (*p == '\n')
            text_adds(t, "\\n");
        else if (*p == '\t')
            text_adds(t, "\\t");
        else if (*p < 0x20 || *p == 0x7f)
            text_addf(t, "\\u%04x", *p);
        else if (*p >= 0x80 && !utf8)
            text_adds(t, "\\ufffd");
        else
            text_addc(t, (char)*p);
    }
    text_addc(t, '"');
}

static void add_field(struct text *t, const char *key, const char *value)
{
    if (as_json) {
        text_addf(t, "%s\"%s\":", t->len > 0 ? "," : "{", key);
    } else {
        text_addf(t, "%s%s=", t->len > 0 ? " " : "", key);
    }
    add_quoted(t, value, as_json);
}

static void redact(struct text *t)
{
    static const char cover[] = "[redacted]";
    for (size_t i = 0; i < n_secrets; i++) {
        const char *found;
        size_t len = strlen(secrets[i]);
        while (t->data != NULL && (found = strstr(t->data, secrets[i])) != NULL) {
            struct text clean = {0};
            text_add(&clean, t->data, (size_t)(found - t->data));
            text_adds(&clean, cover);
            text_adds(&clean, found + len);
            text_free(t);
            *t = clean;
        }
    }
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
    redact(&line);
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

void log_secret(const char *value)
{
    /* What add_quoted() would write is what must be found, so the quoted form is kept. */
    if (strlen(value) < 6) return;
    struct text quoted = {0};
    add_quoted(&quoted, value, true);
    pthread_mutex_lock(&lock);
    char *secret = xmemdup0(quoted.data + 1, quoted.len - 2);
    bool known = false;
    for (size_t i = 0; i < n_secrets; i++) known = known || strcmp(secrets[i], secret) == 0;
    if (known) {
        free(secret);
    } else {
        secrets = xrealloc(secrets, n_secrets + 1, sizeof *secrets);
        secrets[n_secrets++] = secret;
    }
    pthread_mutex_unlock(&lock);
    text_free(&quoted);
}

void log_divert(void (*sink)(void *, const char *, size_t), void *ud)
{
    pthread_mutex_lock(&lock);
    divert = sink;
    divert_ud = ud;
    pthread_mutex_unlock(&lock);
}
