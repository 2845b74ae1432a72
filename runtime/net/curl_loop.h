/* curl_loop.h - curl's multi interface, driven by the loop: its sockets are polled, its timer is
 * the loop's. What is transferred, and what comes of it, is for the callers. */
#ifndef NET_CURL_LOOP_H
#define NET_CURL_LOOP_H

#include <curl/curl.h>

#include "loop/loop.h"

struct curl_loop;

/* Called from the loop for each handle whose transfer has ended; it is still added. May remove it,
 * and may close the curl_loop. */
typedef void curl_done_fn(void *ud, CURL *easy, CURLcode rc);

int curl_loop_open(struct curl_loop **out, struct loop *l, curl_done_fn *done, void *ud);
/* Nobody is called any more. Handles have been removed before. NULL is fine. */
void curl_loop_close(struct curl_loop *c);

/* Begins the handle's transfer: HTTP(S) alone, TLS 1.2 at least. Who ends it early does not wait
 * for a name that is being resolved. 0 or -ENOMEM. */
int curl_loop_add(struct curl_loop *c, CURL *easy);
void curl_loop_remove(struct curl_loop *c, CURL *easy); /* one that was not added is fine */

int curl_loop_errno(CURLcode rc); /* as -errno; what is not known by name is -EIO */

#endif
