#include "base/pack.h"

#include <errno.h>
#include <string.h>

enum { CHECKSUM = 8, HEAD = PACK_NAME + 4 };

static uint64_t checksum(const unsigned char *p, size_t len) /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 0x100000001b3;
    return h;
}

static void add_little(struct text *out, uint64_t x, int bytes)
{
    unsigned char b[8];
    for (int i = 0; i < bytes; i++) b[i] = (unsigned char)(x >> (8 * i));
    text_add(out, b, (size_t)bytes);
}

static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--) x = (x << 8) | p[i];
    return x;
}

void pack_begin(struct text *out, const char name[PACK_NAME], uint32_t version)
{
    require(out->len == 0);
    text_add(out, name, PACK_NAME);
    pack_u32(out, version);
}

void pack_u8(struct text *out, uint8_t x) { add_little(out, x, 1); }
void pack_u32(struct text *out, uint32_t x) { add_little(out, x, 4); }
void pack_u64(struct text *out, uint64_t x) { add_little(out, x, 8); }

void pack_f64(struct text *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    pack_u64(out, bits);
}

void pack_bytes(struct text *out, const void *data, size_t len)
{
    pack_u64(out, len);
    text_add(out, data, len);
}

void pack_u16s(struct text *out, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) add_little(out, x[i], 2);
}

void pack_u32s(struct text *out, const uint32_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) pack_u32(out, x[i]);
}

void pack_f32s(struct text *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        pack_u32(out, bits);
    }
}

void pack_f64s(struct text *out, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) pack_f64(out, x[i]);
}

void pack_end(struct text *out)
{
    if (!out->failed) pack_u64(out, checksum((const unsigned char *)out->data, out->len));
}

bool pack_is(const void *data, size_t len, const char name[PACK_NAME])
{
    return len >= HEAD + CHECKSUM && memcmp(data, name, PACK_NAME) == 0;
}

int unpack_begin(struct unpack *u, const void *data, size_t len, const char name[PACK_NAME],
                 uint32_t newest, uint32_t *version, struct err *e)
{
    if (!pack_is(data, len, name)) return err_set(e, -EINVAL, "it is no model of this kind");
    *u = (struct unpack){.at = data, .end = (const unsigned char *)data + len - CHECKSUM};
    u->at += PACK_NAME;
    *version = unpack_u32(u);
    if (*version == 0 || *version > newest)
        return err_set(e, -EINVAL, "the model has format %u; this program reads 1 to %u", *version,
                       newest);
    if (checksum(data, len - CHECKSUM) != little(u->end, CHECKSUM))
        return err_set(e, -EINVAL, "the model is damaged or cut off: its checksum is wrong");
    return 0;
}

bool unpack_holds(struct unpack *u, uint64_t n, size_t size)
{
    if (u->failed || n > (size_t)(u->end - u->at) / size) u->failed = true;
    return !u->failed;
}

static uint64_t take(struct unpack *u, int bytes)
{
    if (!unpack_holds(u, 1, (size_t)bytes)) return 0;
    u->at += bytes;
    return little(u->at - bytes, bytes);
}

uint8_t unpack_u8(struct unpack *u) { return (uint8_t)take(u, 1); }
uint32_t unpack_u32(struct unpack *u) { return (uint32_t)take(u, 4); }
uint64_t unpack_u64(struct unpack *u) { return take(u, 8); }

double unpack_f64(struct unpack *u)
{
    uint64_t bits = take(u, 8);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

const char *unpack_bytes(struct unpack *u, size_t *len)
{
    uint64_t n = unpack_u64(u);
    *len = 0;
    if (!unpack_holds(u, n, 1)) return "";
    *len = (size_t)n;
    u->at += n;
    return (const char *)(u->at - n);
}

void unpack_u16s(struct unpack *u, uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (uint16_t)take(u, 2);
}

void unpack_u32s(struct unpack *u, uint32_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = unpack_u32(u);
}

void unpack_f32s(struct unpack *u, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = unpack_u32(u);
        memcpy(&x[i], &bits, sizeof bits);
    }
}

void unpack_f64s(struct unpack *u, double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = unpack_f64(u);
}

int unpack_end(const struct unpack *u, struct err *e)
{
    if (u->failed || u->at != u->end)
        return err_set(e, -EINVAL, "the model is malformed: %s",
                       u->failed ? "it ends too early" : "there is more than belongs to it");
    return 0;
}
