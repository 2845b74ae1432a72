#include "net/websocket_handshake.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/hash.h"

void websocket_request(struct text *out, const struct url *u, char key[WEBSOCKET_KEY])
{
    unsigned char random[16];
    bool is_default = u->port == (strcmp(u->scheme, "https") == 0 ? 443 : 80);
    bool v6 = strchr(u->host, ':') != NULL;
    hash_random(random, sizeof random);
    base64_encode(random, sizeof random, key);
    key[WEBSOCKET_KEY - 1] = '\0';
    text_addf(out, "GET %s%s%s HTTP/1.1\r\nHost: %s%s%s", u->path, u->query ? "?" : "",
              u->query ? u->query : "", v6 ? "[" : "", u->host, v6 ? "]" : "");
    if (!is_default) text_addf(out, ":%d", u->port);
    text_addf(out,
              "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: %s\r\nUser-Agent: perigee/" PERIGEE_VERSION "\r\n\r\n",
              key);
}

/* The value of the header in the head's lines, its length in *len; NULL where it is not there. */
static const char *header(const char *head, const char *name, size_t *len)
{
    size_t n = strlen(name);
    const char *line = head;
    while ((line = strstr(line, "\r\n")) != NULL && line[2] != '\r') {
        line += 2;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *value = line + n + 1, *end = strstr(value, "\r\n");
        while (*value == ' ' || *value == '\t') value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t')) end--;
        *len = (size_t)(end - value);
        return value;
    }
    return NULL;
}

/* Whether the header is a list, by commas, that has the word. */
static bool has_word(const char *head, const char *name, const char *word)
{
    size_t len, n = strlen(word);
    const char *value = header(head, name, &len);
    for (size_t i = 0; value != NULL && i + n <= len; i++) {
        bool begins = i == 0 || strchr(", \t", value[i - 1]) != NULL;
        bool ends = i + n == len || strchr(", \t", value[i + n]) != NULL;
        if (begins && ends && strncasecmp(value + i, word, n) == 0) return true;
    }
    return false;
}

static bool accepts_key(const char *head, const char *key)
{
    char text[WEBSOCKET_KEY + 36], expected[28];
    unsigned char digest[20];
    size_t len;
    const char *value = header(head, "Sec-WebSocket-Accept", &len);
    snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    hash_sha1(text, strlen(text), digest);
    base64_encode(digest, sizeof digest, expected);
    return value != NULL && len == sizeof expected && memcmp(value, expected, len) == 0;
}

const char *websocket_refusal(const char *head, const char *key, char words[64])
{
    size_t len;
    int status = 0;
    if (sscanf(head, "HTTP/1.%*1d %3d", &status) != 1) return "no HTTP answer";
    if (status != 101) {
        snprintf(words, 64, "the server answered %d instead of 101", status);
        return words;
    }
    if (!has_word(head, "Upgrade", "websocket") || !has_word(head, "Connection", "upgrade"))
        return "the server does not upgrade to a WebSocket";
    if (!accepts_key(head, key)) return "the server's Sec-WebSocket-Accept is wrong";
    if (header(head, "Sec-WebSocket-Extensions", &len) ||
        header(head, "Sec-WebSocket-Protocol", &len))
        return "the server chose what was not offered";
    return NULL;
}
