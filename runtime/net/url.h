/* url.h - taking URLs apart, and percent-encoding. */
#ifndef NET_URL_H
#define NET_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/text.h"

struct url {
    char *scheme;  /* "http" or "https" */
    char *host;    /* lower case; IPv6 without brackets */
    int port;      /* the scheme's own where none is written */
    char *path;    /* as written, dot segments resolved; at least "/" */
    char *query;   /* without "?"; NULL: none */
    bool has_user; /* user or password in it */
};

/* 0, or with e -EINVAL: no absolute http or https URL; or -ENOMEM. url_free() is fine after any. */
int url_parse(struct url *u, const char *text, struct err *e);
void url_free(struct url *u);

/* What RFC 3986 calls unreserved stays, all else becomes %XX. */
void url_escape(struct text *out, const char *s, size_t len);
/* "+" is a blank in a form; a "%" without two hexadecimal digits stays as it is. */
void url_unescape(struct text *out, const char *s, size_t len, bool form);

#endif
