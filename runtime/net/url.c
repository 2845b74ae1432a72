#include "net/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/memory.h"

static char *part(CURLU *parsed, CURLUPart what, unsigned flags)
{
    char *value = NULL, *copy = NULL;
    if (curl_url_get(parsed, what, &value, flags) == CURLUE_OK && value != NULL)
        copy = xstrdup(value);
    curl_free(value);
    return copy;
}

int url_parse(struct url *u, const char *text, struct err *e)
{
    *u = (struct url){0};
    CURLU *parsed = curl_url();
    if (parsed == NULL) return -ENOMEM;
    CURLUcode rc = curl_url_set(parsed, CURLUPART_URL, text, 0);
    if (rc != CURLUE_OK) {
        curl_url_cleanup(parsed);
        return err_set(e, -EINVAL, "no valid URL: %s", curl_url_strerror(rc));
    }
    char *user = part(parsed, CURLUPART_USER, 0),
         *port = part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    u->has_user = user != NULL;
    u->port = port != NULL ? atoi(port) : 0;
    u->scheme = part(parsed, CURLUPART_SCHEME, 0);
    u->host = part(parsed, CURLUPART_HOST, 0);
    u->path = part(parsed, CURLUPART_PATH, 0);
    u->query = part(parsed, CURLUPART_QUERY, 0);
    free(user);
    free(port);
    curl_url_cleanup(parsed);
    if (u->scheme == NULL || u->host == NULL || u->path == NULL ||
        (strcmp(u->scheme, "http") != 0 && strcmp(u->scheme, "https") != 0))
        return err_set(e, -EINVAL, "no http:// or https:// URL");
    for (char *c = u->host; *c; c++) *c = (char)tolower((unsigned char)*c);
    size_t len = strlen(u->host);
    if (u->host[0] == '[' && u->host[len - 1] == ']') {
        memmove(u->host, u->host + 1, len - 2);
        u->host[len - 2] = '\0';
    }
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
