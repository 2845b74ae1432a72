/* websocket_handshake.h - the two heads that open a WebSocket (RFC 6455, section 4): ours, and what
 * is to be thought of the server's. */
#ifndef NET_WEBSOCKET_HANDSHAKE_H
#define NET_WEBSOCKET_HANDSHAKE_H

#include "base/text.h"
#include "net/url.h"

enum { WEBSOCKET_KEY = 25 /* 16 bytes in base64, and a NUL */ };

/* Adds our request to out, and makes its key. */
void websocket_request(struct text *out, const struct url *u, char key[WEBSOCKET_KEY]);

/* What is wrong with the server's answer, perhaps written into words; NULL: nothing. The head ends
 * with an empty line. */
const char *websocket_refusal(const char *head, const char *key, char words[64]);

#endif
