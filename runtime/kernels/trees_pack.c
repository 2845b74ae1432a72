#include "kernels/trees.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"

static const char format_name[PACK_NAME] = {'p', 'e', 'r', 't', 'r', 'e', 'e', 's'};
enum { VERSION = 1, LEAF = 16 /* beside the flags of a node */, LEAST = 13 /* bytes of a node */ };

/* --- writing --------------------------------------------------------------------------------- */

static void pack_set(const struct trees *t, uint32_t set, struct text *out)
{
    uint32_t n = t->sets[set + 1] - t->sets[set];
    pack_u32(out, n);
    if (n > 0) pack_u32s(out, t->words + t->sets[set], n);
}

static void pack_linear(const struct trees *t, uint32_t which, struct text *out)
{
    const struct trees_linear *f = &t->linear[which];
    pack_f64(out, f->constant);
    pack_u32(out, f->count);
    if (f->count == 0) return;
    pack_u32s(out, t->linear_features + f->first, f->count);
    pack_f64s(out, t->linear_weights + f->first, f->count);
}

static void pack_number(const struct trees *t, struct text *out, double x)
{
    float half = (float)x;
    if (t->single)
        pack_f32s(out, &half, 1);
    else
        pack_f64(out, x);
}

static void pack_node(const struct trees *t, const struct trees_tree *tree, uint32_t i,
                      struct text *out)
{
    const struct trees_node *node = &t->nodes[i];
    bool leaf = node->left == TREES_NONE;
    pack_u8(out, (uint8_t)(node->flags | (leaf ? LEAF : 0)));
    pack_f64(out, t->cover[i]);
    if (!leaf) pack_f64(out, t->gain[i]);
    if (leaf) {
        pack_number(t, out, node->at);
        if (node->flags & TREES_LINEAR) pack_linear(t, node->set, out);
        return;
    }
    pack_u32(out, node->feature);
    pack_u32(out, node->left - tree->first);
    pack_u32(out, node->right - tree->first);
    if (node->flags & TREES_CATEGORICAL)
        pack_set(t, node->set, out);
    else
        pack_f64(out, node->at);
}

void trees_pack(const struct trees *t, struct text *out)
{
    pack_begin(out, format_name, VERSION);
    pack_u32(out, (uint32_t)t->features);
    pack_u32(out, (uint32_t)t->groups);
    pack_u8(out, (uint8_t)t->link);
    pack_u8(out, t->single);
    pack_u8(out, t->mean);
    pack_f64(out, t->sigmoid);
    pack_f64s(out, t->base, t->groups);
    pack_u8(out, t->names != NULL);
    for (size_t j = 0; t->names != NULL && j < t->features; j++)
        pack_bytes(out, t->names[j], strlen(t->names[j]));
    pack_bytes(out, t->note != NULL ? t->note : "", t->note_len);
    pack_u32(out, (uint32_t)t->n_trees);
    for (const struct trees_tree *tree = t->trees; tree < t->trees + t->n_trees; tree++) {
        pack_u32(out, tree->group);
        pack_u32(out, tree->count);
        for (uint32_t i = 0; i < tree->count; i++) pack_node(t, tree, tree->first + i, out);
    }
    pack_end(out);
}

/* --- reading --------------------------------------------------------------------------------- */

struct reading {
    struct unpack u;
    struct trees *t;
    struct err *e;
    uint32_t *words; /* scratch for a set or the features of a linear leaf, with `weights` */
    double *weights;
};

static int malformed(struct reading *r, const char *what)
{
    return err_set(r->e, -EINVAL, "the model is malformed: %s", what);
}

static int read_names(struct reading *r)
{
    struct trees *t = r->t;
    if (unpack_u8(&r->u) == 0) return 0;
    if (!unpack_holds(&r->u, t->features, 8)) return malformed(r, "it ends within the names");
    const char **names = calloc(t->features + 1, sizeof *names);
    int rc = names == NULL ? -ENOMEM : 0;
    for (size_t j = 0; rc == 0 && j < t->features; j++) {
        size_t len;
        const char *s = unpack_bytes(&r->u, &len);
        names[j] = strndup(s, len);
        if (names[j] == NULL) rc = -ENOMEM;
    }
    if (rc == 0) rc = trees_set_names(t, names);
    for (size_t j = 0; names != NULL && j < t->features; j++) free((void *)(uintptr_t)names[j]);
    free(names);
    return rc < 0 ? err_sys(r->e, rc, "names of features") : 0;
}

static int read_head(struct reading *r)
{
    struct unpack *u = &r->u;
    uint32_t features = unpack_u32(u), groups = unpack_u32(u);
    int rc = trees_new(&r->t, features, groups, r->e);
    if (rc < 0) return rc;
    struct trees *t = r->t;
    uint8_t link = unpack_u8(u);
    if (link > TREES_SOFTMAX) return malformed(r, "an unknown kind of margin");
    t->link = (enum trees_link)link;
    t->single = unpack_u8(u) != 0;
    t->mean = unpack_u8(u) != 0;
    t->sigmoid = unpack_f64(u);
    unpack_f64s(u, t->base, t->groups);
    if (t->single)
        for (size_t g = 0; g < t->groups; g++) t->base[g] = (double)(float)t->base[g];
    bool fine = t->sigmoid > 0 && isfinite(t->sigmoid);
    for (size_t g = 0; g < t->groups; g++) fine = fine && isfinite(t->base[g]);
    if (!fine) return malformed(r, "a number is not finite");
    rc = read_names(r);
    if (rc < 0) return rc;
    size_t len;
    const char *note = unpack_bytes(u, &len);
    if (len > 0 && trees_set_note(t, note, len) < 0) return err_sys(r->e, -ENOMEM, "the model");
    return 0;
}

static bool scratch(struct reading *r, uint32_t n, size_t size)
{
    if (!unpack_holds(&r->u, n, size)) return false;
    free(r->words);
    free(r->weights);
    r->words = malloc(((size_t)n + 1) * sizeof *r->words);
    r->weights = malloc(((size_t)n + 1) * sizeof *r->weights);
    return r->words != NULL && r->weights != NULL;
}

static int no_scratch(struct reading *r)
{
    return r->u.failed ? malformed(r, "it ends too early") : err_sys(r->e, -ENOMEM, "the model");
}

static int64_t read_leaf(struct reading *r, unsigned flags, double cover)
{
    float half = 0;
    double value;
    if (r->t->single) {
        unpack_f32s(&r->u, &half, 1);
        value = (double)half;
    } else {
        value = unpack_f64(&r->u);
    }
    int64_t number = trees_leaf(r->t, value, cover, r->e);
    if (number < 0 || !(flags & TREES_LINEAR)) return number;
    double constant = unpack_f64(&r->u);
    uint32_t n = unpack_u32(&r->u);
    if (!scratch(r, n, 12)) return no_scratch(r);
    unpack_u32s(&r->u, r->words, n);
    unpack_f64s(&r->u, r->weights, n);
    int rc = trees_make_linear(r->t, (size_t)number, constant, r->words, r->weights, n, r->e);
    return rc < 0 ? rc : number;
}

static int64_t read_node(struct reading *r)
{
    unsigned flags = unpack_u8(&r->u);
    double cover = unpack_f64(&r->u);
    if (flags & LEAF) return read_leaf(r, flags, cover);
    double gain = unpack_f64(&r->u);
    uint32_t feature = unpack_u32(&r->u), left = unpack_u32(&r->u), right = unpack_u32(&r->u);
    int64_t number;
    if (flags & TREES_CATEGORICAL) {
        uint32_t n = unpack_u32(&r->u);
        if (!scratch(r, n, 4)) return no_scratch(r);
        unpack_u32s(&r->u, r->words, n);
        number = trees_split_set(r->t, feature, r->words, n, flags, gain, cover, r->e);
    } else {
        number = trees_split(r->t, feature, unpack_f64(&r->u), flags, gain, cover, r->e);
    }
    if (number >= 0) trees_children(r->t, (size_t)number, left, right);
    return number;
}

static int read_trees(struct reading *r)
{
    uint32_t n = unpack_u32(&r->u);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t group = unpack_u32(&r->u), count = unpack_u32(&r->u);
        if (!unpack_holds(&r->u, count, LEAST)) return malformed(r, "it ends within a tree");
        int rc = trees_open(r->t, group, r->e);
        for (uint32_t k = 0; rc == 0 && k < count; k++) {
            int64_t number = read_node(r);
            if (number < 0) rc = (int)number;
        }
        if (rc == 0) rc = trees_close(r->t, r->e);
        if (rc < 0) return rc;
    }
    return unpack_end(&r->u, r->e);
}

int trees_unpack(struct trees **out, const void *data, size_t len, struct err *e)
{
    struct reading r = {.e = e};
    uint32_t version;
    int rc = unpack_begin(&r.u, data, len, format_name, VERSION, &version, e);
    if (rc == 0) rc = read_head(&r);
    if (rc == 0) rc = read_trees(&r);
    if (rc == 0 && trees_finish(r.t) < 0) rc = err_sys(e, -ENOMEM, "the model");
    free(r.words);
    free(r.weights);
    if (rc == 0)
        *out = r.t;
    else
        trees_free(r.t);
    return rc;
}

/* --- whatever form --------------------------------------------------------------------------- */

static bool begins(const char *data, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(data, with, strlen(with)) == 0;
}

static bool contains(const char *data, size_t len, const char *what)
{
    return memmem(data, len, what, strlen(what)) != NULL;
}

int trees_load(struct trees **out, const void *data, size_t len, struct err *e)
{
    const char *s = data;
    if (pack_is(data, len, format_name)) return trees_unpack(out, data, len, e);
    while (len > 0 && (*s == ' ' || *s == '\n' || *s == '\r' || *s == '\t')) s++, len--;
    if (begins(s, len, "tree\n") || begins(s, len, "tree\r\n"))
        return trees_load_lightgbm(out, s, len, e);
    if (len > 0 && *s == '{') {
        /* A file of ours names its library first; XGBoost's knows no such key. */
        size_t head = len < 256 ? len : 256;
        if (contains(s, head, "\"library\"") && contains(s, head, "sklearn"))
            return trees_load_sklearn(out, s, len, e);
        return trees_load_xgboost(out, s, len, e);
    }
    if (begins(s, len, "binf") || begins(s, len, "bs64") ||
        contains(s, len < 64 ? len : 64, "gbtree"))
        return err_set(e, -EINVAL,
                       "XGBoost's old binary form is not read; save the model as JSON "
                       "or UBJSON");
    return err_set(e, -EINVAL,
                   "it is no model: neither one that was saved here, nor XGBoost's "
                   "JSON or UBJSON, nor LightGBM's text");
}
