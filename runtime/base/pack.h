/* pack.h - models to bytes and back, the same on every machine: little endian, IEEE 754, with a
 * name in front and a checksum behind.
 *
 * The checksum finds accidents, not malice: whoever unpacks checks every number that it then counts
 * by or indexes with. */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

enum { PACK_NAME = 8 }; /* bytes of a format's name */

/* Writing. What has failed (memory, the text's limit) shows in out->failed, at the end. */
void pack_begin(struct text *out, const char name[PACK_NAME], uint32_t version);
void pack_u8(struct text *out, uint8_t x);
void pack_u32(struct text *out, uint32_t x);
void pack_u64(struct text *out, uint64_t x);
void pack_f64(struct text *out, double x);
void pack_bytes(struct text *out, const void *data, size_t len); /* their number in front */
void pack_u16s(struct text *out, const uint16_t *x, size_t n);   /* without it, as the next three */
void pack_u32s(struct text *out, const uint32_t *x, size_t n);
void pack_f32s(struct text *out, const float *x, size_t n);
void pack_f64s(struct text *out, const double *x, size_t n);
/* The checksum of all since pack_begin(), which was called on an empty text. */
void pack_end(struct text *out);

/* Reading. Past the end everything is 0 and `failed` is set: one look at the end is enough, but
 * before anything is allocated for n items of a size unpack_holds() says whether they can be there.
 */
struct unpack {
    const unsigned char *at, *end;
    bool failed;
};

bool pack_is(const void *data, size_t len, const char name[PACK_NAME]);
/* 0, or -EINVAL with e: another format, a version above `newest`, damage. */
int unpack_begin(struct unpack *u, const void *data, size_t len, const char name[PACK_NAME],
                 uint32_t newest, uint32_t *version, struct err *e);
uint8_t unpack_u8(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
double unpack_f64(struct unpack *u);
const char *unpack_bytes(struct unpack *u, size_t *len);      /* into the data; "" once failed */
bool unpack_holds(struct unpack *u, uint64_t n, size_t size); /* and fails where not */
void unpack_u16s(struct unpack *u, uint16_t *x, size_t n);
void unpack_u32s(struct unpack *u, uint32_t *x, size_t n);
void unpack_f32s(struct unpack *u, float *x, size_t n);
void unpack_f64s(struct unpack *u, double *x, size_t n);
/* 0 when all was there and nothing is left over, else -EINVAL with e. */
int unpack_end(const struct unpack *u, struct err *e);

#endif
