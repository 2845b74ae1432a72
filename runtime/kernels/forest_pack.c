/* Forests as bytes. Nodes in their order, of each a number: 0 for a leaf, else its feature plus 1.
 * Then what the cut is, or how many rows the leaf has. 7 bits a byte, the lowest first, as long as
 * the 8th is set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "kernels/forest.h"
#include "kernels/forest_form.h"

static const char FORMAT[PACK_NAME] = "PRGFORST";
enum { VERSION = 1, ORIGINS = 1, NAMES = 2, MOST = 1 << 20 /* features, trees */ };

static void pack_number(struct text *out, uint32_t x)
{
    for (; x >= 128; x >>= 7) pack_u8(out, (uint8_t)(x | 128));
    pack_u8(out, (uint8_t)x);
}

static uint32_t unpack_number(struct unpack *u)
{
    uint64_t x = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = unpack_u8(u);
        x |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            if (x > UINT32_MAX) u->failed = true;
            return (uint32_t)x;
        }
    }
    u->failed = true;
    return 0;
}

static void pack_tree(const struct forest *f, size_t tree, struct text *out)
{
    uint32_t first = f->first[tree], n = f->first[tree + 1] - first;
    pack_number(out, n);
    for (uint32_t k = 0; k < n; k++) {
        struct forest_node node = f->node[first + k];
        if (forest_child(f, first, node) == k) {
            pack_number(out, 0);
            pack_number(out, f->rows[first + k]);
            continue;
        }
        pack_number(out, forest_feature(f, node) + 1);
        if (f->pair == NULL) {
            pack_f32s(out, &node.t, 1);
        } else {
            pack_number(out, f->pair[first + k].second);
            pack_f32s(out, f->pair[first + k].w, 2);
            pack_f64(out, f->pair[first + k].t);
        }
    }
}

void forest_pack(const struct forest *f, struct text *out)
{
    bool origins = false;
    for (size_t c = 0; c < f->features; c++) origins |= f->origin[c] != 0;
    pack_begin(out, FORMAT, VERSION);
    pack_u32(out, (uint32_t)f->features);
    pack_u32(out, (uint32_t)f->trees);
    pack_u64(out, f->max_samples);
    pack_u8(out, (uint8_t)f->ndim);
    pack_u8(out, (uint8_t)((origins ? ORIGINS : 0) | (f->names != NULL ? NAMES : 0)));
    /* A NaN has many forms; the file has one. */
    pack_f64(out, isnan(f->contamination) ? 0 : f->contamination);
    pack_f64(out, f->offset);
    if (origins) pack_f64s(out, f->origin, f->features);
    for (size_t c = 0; f->names != NULL && c < f->features; c++)
        pack_bytes(out, f->names[c], strlen(f->names[c]));
    for (size_t t = 0; t < f->trees; t++) pack_tree(f, t, out);
    pack_end(out);
}

bool forest_is_packed(const void *data, size_t len) { return pack_is(data, len, FORMAT); }

/* -- and back -- */

static int take_tree(struct unpack *u, unsigned ndim, struct forest_tree *tree)
{
    uint32_t n = unpack_number(u), child = 1;
    if (n == 0 || !unpack_holds(u, n, 2)) return -EINVAL;
    if ((tree->nodes = calloc(n, sizeof *tree->nodes)) == NULL) return -ENOMEM;
    if (ndim == 2 && (tree->pairs = calloc(n, sizeof *tree->pairs)) == NULL) return -ENOMEM;
    tree->n = n;
    for (uint32_t k = 0; k < n; k++) {
        struct forest_sprout *s = &tree->nodes[k];
        uint32_t kind = unpack_number(u);
        if (kind == 0) {
            s->rows = unpack_number(u);
            s->t = INFINITY;
            continue;
        }
        s->feature = kind - 1;
        if (child > n - 2 || n < 3) return -EINVAL;
        s->left = child;
        s->right = child + 1;
        child += 2;
        bool number;
        if (ndim == 1) {
            unpack_f32s(u, &s->t, 1);
            number = !isnan(s->t);
        } else {
            struct forest_pair *p = &tree->pairs[k];
            p->second = unpack_number(u);
            unpack_f32s(u, p->w, 2);
            p->t = unpack_f64(u);
            number = isfinite(p->w[0]) && isfinite(p->w[1]) && !isnan(p->t);
        }
        if (!number) return -EINVAL;
    }
    return u->failed || child != n ? -EINVAL : 0;
}

static int take_names(struct unpack *u, size_t features, char ***names)
{
    if (!unpack_holds(u, features, 8)) return -EINVAL;
    if ((*names = calloc(features, sizeof **names)) == NULL) return -ENOMEM;
    for (size_t c = 0; c < features; c++) {
        size_t len;
        const char *name = unpack_bytes(u, &len);
        if (u->failed || memchr(name, '\0', len) != NULL) return -EINVAL;
        if (((*names)[c] = strndup(name, len)) == NULL) return -ENOMEM;
    }
    return 0;
}

struct parts {
    struct forest head;
    double *origin; /* or NULL */
    struct forest_tree *trees;
};

static void parts_free(struct parts *p)
{
    for (size_t c = 0; p->head.names != NULL && c < p->head.features; c++) free(p->head.names[c]);
    free(p->head.names);
    for (size_t t = 0; p->trees != NULL && t < p->head.trees; t++) forest_tree_free(&p->trees[t]);
    free(p->trees);
    free(p->origin);
}

static bool sound(const struct forest *h)
{
    bool counts = h->features > 0 && h->features <= MOST && h->trees > 0 && h->trees <= MOST;
    bool cuts = h->ndim == 1 || h->ndim == 2;
    bool share = isnan(h->contamination) || (h->contamination > 0 && h->contamination <= 0.5);
    return counts && cuts && share && h->max_samples >= 2 && h->max_samples <= UINT32_MAX &&
           isfinite(h->offset);
}

static int take(struct unpack *u, struct parts *p)
{
    struct forest *h = &p->head;
    h->features = unpack_u32(u);
    h->trees = unpack_u32(u);
    h->max_samples = unpack_u64(u);
    h->ndim = unpack_u8(u);
    uint8_t has = unpack_u8(u);
    h->contamination = unpack_f64(u);
    if (h->contamination == 0) h->contamination = NAN;
    h->offset = unpack_f64(u);
    if (u->failed || !sound(h) || (has & ~(ORIGINS | NAMES)) != 0) return -EINVAL;
    if (has & ORIGINS) {
        if (!unpack_holds(u, h->features, sizeof *p->origin)) return -EINVAL;
        if ((p->origin = malloc(h->features * sizeof *p->origin)) == NULL) return -ENOMEM;
        unpack_f64s(u, p->origin, h->features);
        for (size_t c = 0; c < h->features; c++)
            if (!isfinite(p->origin[c])) return -EINVAL;
    }
    int rc = has & NAMES ? take_names(u, h->features, &h->names) : 0;
    if (rc < 0) return rc;
    if (!unpack_holds(u, h->trees, 3)) return -EINVAL;
    if ((p->trees = calloc(h->trees, sizeof *p->trees)) == NULL) return -ENOMEM;
    for (size_t t = 0; rc == 0 && t < h->trees; t++) rc = take_tree(u, h->ndim, &p->trees[t]);
    return rc;
}

int forest_unpack(struct forest **out, const void *data, size_t len, struct err *e)
{
    struct unpack u;
    struct parts p = {0};
    struct forest *f = NULL;
    uint32_t version;
    int rc = unpack_begin(&u, data, len, FORMAT, VERSION, &version, e);
    if (rc < 0) return rc;
    rc = take(&u, &p);
    if (rc == -EINVAL) err_set(e, rc, "the model is malformed");
    if (rc == 0) rc = unpack_end(&u, e);
    if (rc == 0) rc = forest_assemble(&f, &p.head, p.trees, e);
    if (rc == 0 && p.origin != NULL) memcpy(f->origin, p.origin, f->features * sizeof *f->origin);
    if (rc == 0) rc = forest_copy_names(f, p.head.names);
    parts_free(&p);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc < 0)
        forest_free(f);
    else
        *out = f;
    return rc;
}
