/* The answer of a WebSocket's server: whatever the bytes, words about what is wrong with it, or the
 * proof that it has read our key. Build: make build/fuzz/handshake */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of RFC 6455, section 1.3. */
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==", proof[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    char words[64];
    size_t len = strnlen((const char *)data, size);
    char *head = malloc(len + 5);
    memcpy(head, data, len);
    memcpy(head + len, "\r\n\r\n", 5);
    strstr(head, "\r\n\r\n")[4] = '\0';
    const char *wrong = websocket_refusal(head, key, words);
    assert(wrong != NULL ? *wrong != '\0' : strstr(head, proof) != NULL);
    free(head);
    return 0;
}
