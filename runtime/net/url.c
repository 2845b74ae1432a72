#include "net/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/memory.h"

/* A part that is not there is NULL. False when memory is gone. */
static bool read_part(CURLU *parsed, CURLUPart what, char **out)
{
    char *value = NULL;
    CURLUcode rc =
        curl_url_get(parsed, what, &value, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);
    if (rc == CURLUE_OK) *out = xstrdup(value);
    curl_free(value);
    return rc != CURLUE_OUT_OF_MEMORY;
}

static bool read_parts(struct url *u, CURLU *parsed)
{
    char *user = NULL, *port = NULL;
    bool ok = read_part(parsed, CURLUPART_USER, &user) &&
              read_part(parsed, CURLUPART_PORT, &port) &&
              read_part(parsed, CURLUPART_SCHEME, &u->scheme) &&
              read_part(parsed, CURLUPART_HOST, &u->host) &&
              read_part(parsed, CURLUPART_PATH, &u->path) &&
              read_part(parsed, CURLUPART_QUERY, &u->query);
    u->has_user = user != NULL;
    u->port = port != NULL ? atoi(port) : 0;
    free(user);
    free(port);
    return ok;
}

/* Lower case, and IPv6 without its brackets. */
static void tidy_host(char *host)
{
    for (char *c = host; *c; c++) *c = (char)tolower((unsigned char)*c);
    size_t len = strlen(host);
    if (host[0] != '[' || host[len - 1] != ']') return;
    memmove(host, host + 1, len - 2);
    host[len - 2] = '\0';
}

int url_parse(struct url *u, const char *text, struct err *e)
{
    *u = (struct url){0};
    CURLU *parsed = curl_url();
    CURLUcode rc = CURLUE_OUT_OF_MEMORY;
    if (parsed != NULL) rc = curl_url_set(parsed, CURLUPART_URL, text, 0);
    if (rc == CURLUE_OK && !read_parts(u, parsed)) rc = CURLUE_OUT_OF_MEMORY;
    curl_url_cleanup(parsed);
    if (rc == CURLUE_OUT_OF_MEMORY) return err_set(e, -ENOMEM, "not enough memory");
    if (rc != CURLUE_OK) return err_set(e, -EINVAL, "no valid URL: %s", curl_url_strerror(rc));
    if (u->scheme == NULL || u->host == NULL || u->path == NULL ||
        (strcmp(u->scheme, "http") != 0 && strcmp(u->scheme, "https") != 0))
        return err_set(e, -EINVAL, "no http:// or https:// URL");
    tidy_host(u->host);
    return 0;
}

void url_free(struct url *u)
{
    free(u->scheme);
    free(u->host);
    free(u->path);
    free(u->query);
    *u = (struct url){0};
}

void url_escape(struct text *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (isalnum(c) || (c != '\0' && strchr("-._~", c) != NULL))
            text_addc(out, (char)c);
        else
            text_addf(out, "%%%02X", c);
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void url_unescape(struct text *out, const char *s, size_t len, bool form)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
            text_addc(out, (char)(hex(s[i + 1]) * 16 + hex(s[i + 2])));
            i += 2;
        } else {
            text_addc(out, form && s[i] == '+' ? ' ' : s[i]);
        }
    }
}
