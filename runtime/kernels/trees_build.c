#include "kernels/trees.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/trees_fast.h"
#include "kernels/trees_room.h"

enum { ROOM = 0xfffffff }; /* of trees_node.set */

static bool reserve_nodes(struct trees *t, size_t n)
{
    size_t room = t->room_nodes, same = room, again = room;
    if (n <= room) return true;
    /* The three grow alike, so one capacity is enough; it grows only once all three have. */
    if (!RESERVE(t->nodes, room, n)) return false;
    if (!RESERVE(t->cover, same, n)) return false;
    if (!RESERVE(t->gain, again, n)) return false;
    t->room_nodes = room < same ? room : same;
    if (again < t->room_nodes) t->room_nodes = again;
    return true;
}

int trees_new(struct trees **out, size_t features, size_t groups, struct err *e)
{
    if (features > TREES_MOST_FEATURES)
        return err_set(e, -EINVAL, "%zu features are more than the %d a model may have", features,
                       TREES_MOST_FEATURES);
    if (groups == 0 || groups > TREES_MOST_GROUPS)
        return err_set(e, -EINVAL, "%zu classes are not between 1 and %d", groups,
                       TREES_MOST_GROUPS);
    struct trees *t = calloc(1, sizeof *t);
    if (t == NULL) return err_sys(e, -ENOMEM, "a model");
    t->features = features;
    t->groups = groups;
    t->sigmoid = 1;
    t->base = calloc(groups, sizeof *t->base);
    t->sets = calloc(1, sizeof *t->sets);
    /* None stays NULL, so that one may always point into them. */
    if (t->base == NULL || t->sets == NULL || !RESERVE(t->trees, t->room_trees, 1) ||
        !reserve_nodes(t, 1) || !RESERVE(t->words, t->room_words, 1)) {
        trees_free(t);
        return err_sys(e, -ENOMEM, "a model");
    }
    *out = t;
    return 0;
}

static void free_names(struct trees *t)
{
    if (t->names == NULL) return;
    for (size_t j = 0; j < t->features; j++) free(t->names[j]);
    free(t->names);
    t->names = NULL;
}

void trees_free(struct trees *t)
{
    if (t == NULL) return;
    trees_fast_free(t->fast);
    free_names(t);
    free(t->base);
    free(t->trees);
    free(t->nodes);
    free(t->cover);
    free(t->gain);
    free(t->sets);
    free(t->words);
    free(t->linear);
    free(t->linear_features);
    free(t->linear_weights);
    free(t->note);
    free(t);
}

int trees_set_names(struct trees *t, const char *const *names)
{
    free_names(t);
    if (t->features == 0) return 0;
    t->names = calloc(t->features, sizeof *t->names);
    if (t->names == NULL) return -ENOMEM;
    for (size_t j = 0; j < t->features; j++) {
        t->names[j] = strdup(names[j]);
        if (t->names[j] == NULL) return -ENOMEM;
    }
    return 0;
}

int trees_set_note(struct trees *t, const void *data, size_t len)
{
    char *note = malloc(len + 1);
    if (note == NULL) return -ENOMEM;
    if (len > 0) memcpy(note, data, len);
    note[len] = '\0';
    free(t->note);
    t->note = note;
    t->note_len = len;
    return 0;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static int no_memory(struct err *e) { return err_sys(e, -ENOMEM, "a model's trees"); }

int trees_open(struct trees *t, size_t group, struct err *e)
{
    if (group >= t->groups)
        return err_set(e, -EINVAL, "tree %zu belongs to class %zu of %zu", t->n_trees, group,
                       t->groups);
    if (t->n_trees == TREES_MOST_TREES)
        return err_set(e, -EINVAL, "more than %d trees", TREES_MOST_TREES);
    if (!RESERVE(t->trees, t->room_trees, t->n_trees + 1)) return no_memory(e);
    t->trees[t->n_trees++] =
        (struct trees_tree){.first = (uint32_t)t->n_nodes, .group = (uint32_t)group};
    return 0;
}

static bool weight(double x) { return isfinite(x) && x >= 0; }

static int64_t add(struct trees *t, struct trees_node node, double gain, double cover,
                   struct err *e)
{
    struct trees_tree *tree = &t->trees[t->n_trees - 1];
    if (t->n_nodes == TREES_MOST_NODES)
        return err_set(e, -EINVAL, "more than %d nodes", TREES_MOST_NODES);
    if (!weight(cover))
        return err_set(e, -EINVAL, "tree %zu, node %u: the weight of its rows is no such weight",
                       t->n_trees - 1, tree->count);
    if (!reserve_nodes(t, t->n_nodes + 1)) return no_memory(e);
    t->nodes[t->n_nodes] = node;
    t->cover[t->n_nodes] = cover;
    t->gain[t->n_nodes++] = weight(gain) ? gain : 0;
    return tree->count++;
}

int64_t trees_leaf(struct trees *t, double value, double cover, struct err *e)
{
    if (!isfinite(value))
        return err_set(e, -EINVAL, "tree %zu: the value of a leaf is not finite", t->n_trees - 1);
    struct trees_node leaf = {.at = value, .left = TREES_NONE, .right = TREES_NONE};
    return add(t, leaf, 0, cover, e);
}

static int check_feature(const struct trees *t, size_t feature, struct err *e)
{
    if (feature < t->features) return 0;
    return err_set(e, -EINVAL, "tree %zu splits by feature %zu of %zu", t->n_trees - 1, feature,
                   t->features);
}

int64_t trees_split(struct trees *t, size_t feature, double threshold, unsigned flags, double gain,
                    double cover, struct err *e)
{
    int rc = check_feature(t, feature, e);
    if (rc < 0) return rc;
    if (isnan(threshold))
        return err_set(e, -EINVAL, "tree %zu: a threshold is no number", t->n_trees - 1);
    struct trees_node split = {.at = threshold,
                               .left = TREES_NONE,
                               .right = TREES_NONE,
                               .feature = (uint32_t)feature,
                               .flags = flags & (TREES_MISSING_LEFT | TREES_ZERO_MISSING)};
    return add(t, split, gain, cover, e);
}

int64_t trees_split_set(struct trees *t, size_t feature, const uint32_t *words, size_t n,
                        unsigned flags, double gain, double cover, struct err *e)
{
    int rc = check_feature(t, feature, e);
    if (rc < 0) return rc;
    if (n > TREES_MOST_CATEGORY / 32 || t->n_sets == ROOM || t->n_words + n > TREES_MOST_WORDS)
        return err_set(e, -EINVAL, "tree %zu: a set of %zu categories is too large", t->n_trees - 1,
                       n * 32);
    if (!RESERVE(t->sets, t->room_sets, t->n_sets + 2)) return no_memory(e);
    if (n > 0 && !RESERVE(t->words, t->room_words, t->n_words + n)) return no_memory(e);
    struct trees_node split = {.left = TREES_NONE,
                               .right = TREES_NONE,
                               .feature = (uint32_t)feature,
                               .set = t->n_sets & ROOM,
                               .flags = (flags & TREES_MISSING_LEFT) | TREES_CATEGORICAL};
    int64_t number = add(t, split, gain, cover, e);
    if (number < 0) return number;
    if (n > 0) memcpy(t->words + t->n_words, words, n * sizeof *words);
    t->sets[t->n_sets++] = (uint32_t)t->n_words;
    t->n_words += n;
    t->sets[t->n_sets] = (uint32_t)t->n_words;
    return number;
}

int trees_make_linear(struct trees *t, size_t node, double constant, const uint32_t *features,
                      const double *weights, size_t n, struct err *e)
{
    struct trees_tree *tree = &t->trees[t->n_trees - 1];
    bool fine = node < tree->count && isfinite(constant) && t->n_linear < ROOM &&
                n <= TREES_MOST_FEATURES && t->n_terms + n <= UINT32_MAX;
    for (size_t i = 0; fine && i < n; i++) fine = features[i] < t->features && isfinite(weights[i]);
    if (!fine) return err_set(e, -EINVAL, "tree %zu: a linear leaf is malformed", t->n_trees - 1);
    size_t room = t->room_terms, same = room;
    if (!RESERVE(t->linear, t->room_linear, t->n_linear + 1)) return no_memory(e);
    if (n > 0 && (!RESERVE(t->linear_features, room, t->n_terms + n) ||
                  !RESERVE(t->linear_weights, same, t->n_terms + n)))
        return no_memory(e);
    t->room_terms = room < same ? room : same;
    if (n > 0) {
        memcpy(t->linear_features + t->n_terms, features, n * sizeof *features);
        memcpy(t->linear_weights + t->n_terms, weights, n * sizeof *weights);
    }
    struct trees_node *leaf = &t->nodes[tree->first + node];
    leaf->flags = TREES_LINEAR;
    leaf->set = t->n_linear & ROOM;
    t->linear[t->n_linear++] = (struct trees_linear){constant, (uint32_t)t->n_terms, (uint32_t)n};
    t->n_terms += n;
    return 0;
}

void trees_children(struct trees *t, size_t node, size_t left, size_t right)
{
    struct trees_tree *tree = &t->trees[t->n_trees - 1];
    require(node < tree->count);
    /* What does not fit is left for trees_close() to find. */
    size_t most = TREES_NONE - 1 - tree->first;
    t->nodes[tree->first + node].left = tree->first + (uint32_t)(left < most ? left : most);
    t->nodes[tree->first + node].right = tree->first + (uint32_t)(right < most ? right : most);
}

/* Walks the open tree, counts its leaves and edges down. The stack holds (node, depth). */
static int survey(struct trees *t, struct trees_tree *tree, unsigned char *seen, uint32_t *stack,
                  struct err *e)
{
    uint32_t n = 0, met = 0;
    stack[n++] = tree->first;
    stack[n++] = 0;
    seen[0] = 1;
    while (n > 0) {
        uint32_t depth = stack[--n], at = stack[--n];
        const struct trees_node *node = &t->nodes[at];
        met++;
        if (depth > tree->depth) tree->depth = depth;
        if (node->left == TREES_NONE) {
            tree->leaves++;
            continue;
        }
        if (depth == TREES_MOST_DEPTH)
            return err_set(e, -EINVAL, "tree %zu is more than %d splits deep", t->n_trees - 1,
                           TREES_MOST_DEPTH);
        const uint32_t children[] = {node->right, node->left};
        for (int i = 0; i < 2; i++) {
            uint32_t child = children[i] - tree->first;
            if (child >= tree->count || seen[child])
                return err_set(e, -EINVAL, "tree %zu is no tree: node %u has child %u",
                               t->n_trees - 1, at - tree->first, child);
            seen[child] = 1;
            stack[n++] = children[i];
            stack[n++] = depth + 1;
        }
    }
    if (met < tree->count)
        return err_set(e, -EINVAL, "tree %zu is no tree: %u of its nodes hang on none",
                       t->n_trees - 1, tree->count - met);
    return 0;
}

int trees_close(struct trees *t, struct err *e)
{
    struct trees_tree *tree = &t->trees[t->n_trees - 1];
    if (tree->count == 0) return err_set(e, -EINVAL, "tree %zu has no nodes", t->n_trees - 1);
    tree->depth = tree->leaves = 0;
    /* Each node goes onto the stack once. */
    unsigned char *seen = calloc(tree->count, 1);
    uint32_t *stack = malloc((2 * (size_t)tree->count + 2) * sizeof *stack);
    int rc = seen == NULL || stack == NULL ? no_memory(e) : survey(t, tree, seen, stack, e);
    free(seen);
    free(stack);
    if (rc < 0) return rc;
    for (uint32_t i = tree->first; i < tree->first + tree->count; i++)
        if (t->nodes[i].left != TREES_NONE && (t->nodes[i].flags & TREES_LINEAR))
            return err_set(e, -EINVAL, "tree %zu: a split is no linear leaf", t->n_trees - 1);
    return 0;
}

void trees_keep(struct trees *t, size_t n)
{
    require(t->fast == NULL);
    if (n >= t->n_trees) return;
    t->n_nodes = t->trees[n].first; /* sets and linear functions stay, unused */
    t->n_trees = n;
}

int trees_finish(struct trees *t) { return trees_fast_build(&t->fast, t); }

/* --- thresholds ------------------------------------------------------------------------------ */

double trees_below(float t)
{
    const double last = 0x1.ffffffp+127; /* what lies beyond it is infinite as a float */
    if (isinf(t)) return t > 0 ? nextafter(last, 0) : t;
    float before = nextafterf(t, -INFINITY);
    /* What lies half way goes to the even one of the two, whichever that is. Below the lowest float
     * it is the infinite one, from where the next float would be if there were one. */
    double middle = isinf(before) ? -last : before / 2. + t / 2.;
    return (float)middle < t ? middle : nextafter(middle, -INFINITY);
}

/* Doubles in order as integers, and back. */
static int64_t rank_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? INT64_MIN - bits : bits;
}

static double of_rank(int64_t rank)
{
    int64_t bits = rank < 0 ? INT64_MIN - rank : rank;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

double trees_within(double t, double mean, double scale)
{
    /* The last of those that are, by bisection over all doubles: 64 steps. Rounding is monotone, so
     * the whole is. */
    int64_t low = rank_of(-DBL_MAX), high = rank_of(DBL_MAX);
    while (low < high) {
        int64_t middle = low + (int64_t)(((uint64_t)high - (uint64_t)low + 1) / 2);
        if ((double)(float)((of_rank(middle) - mean) / scale) <= t)
            low = middle;
        else
            high = middle - 1;
    }
    return of_rank(low);
}
