/* LightGBM's text models, versions 2 to 4. What it computes is in its source (4.6): x <= threshold
 * in double after what is within 1e-35 of 0 has become 0; three ways to take a missing value; a
 * category in the set goes left. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/memory.h"
#include "kernels/trees.h"

/* The lines of one tree that are read, as the file has them. */
enum {
    LEAVES,
    CATEGORICAL_SPLITS,
    FEATURE,
    GAIN,
    THRESHOLD,
    DECISION,
    LEFT,
    RIGHT,
    VALUE,
    LEAF_COUNT,
    COUNT,
    BOUNDARIES,
    WORDS,
    LINEAR,
    CONSTANT,
    TERMS,
    TERM_FEATURES,
    TERM_WEIGHTS,
    LINES
};
static const char *const line_names[LINES] = {
    "num_leaves",     "num_cat",        "split_feature", "split_gain", "threshold",
    "decision_type",  "left_child",     "right_child",   "leaf_value", "leaf_count",
    "internal_count", "cat_boundaries", "cat_threshold", "is_linear",  "leaf_const",
    "num_features",   "leaf_features",  "leaf_coeff"};

/* decision_type's bits, and what is missing. */
enum { IS_CATEGORICAL = 1, DEFAULT_LEFT = 2, MISSING_NONE = 0, MISSING_ZERO = 1, MISSING_NAN = 2 };

struct slice {
    const char *s, *end;
};

struct reading {
    const char *at, *end;
    struct err *e;
    struct trees *t;
    struct slice version, objective, names;
    struct slice lines[LINES]; /* of this tree; s is NULL for what it does not have */
    struct document_numbers arrays[LINES];
    double classes, per_round, last_feature, sizes; /* sizes: how many trees there should be */
    bool average;
    uint32_t *words, *features;
    size_t room_words, room_features;
};

/* The next line without its end; false behind the last. */
static bool next_line(struct reading *r, struct slice *line)
{
    if (r->at == r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    line->s = r->at;
    line->end = stop != NULL ? stop : r->end;
    r->at = stop != NULL ? stop + 1 : r->end;
    if (line->end > line->s && line->end[-1] == '\r') line->end--;
    return true;
}

static size_t length(struct slice s) { return (size_t)(s.end - s.s); }

static bool is(struct slice s, const char *word)
{
    return s.s != NULL && length(s) == strlen(word) && memcmp(s.s, word, length(s)) == 0;
}

/* Cuts "key=value" in two; a line without = is a key alone. */
static struct slice cut(struct slice *line, char by)
{
    const char *stop = length(*line) > 0 ? memchr(line->s, by, length(*line)) : NULL;
    struct slice value = {stop != NULL ? stop + 1 : line->end, line->end};
    if (stop != NULL) line->end = stop;
    return value;
}

static double one_number(struct slice s)
{
    double x;
    return length(s) > 0 && document_decimal(s.s, s.end, &x) == length(s) ? x : NAN;
}

static int malformed(struct reading *r, const char *what)
{
    return err_set(r->e, -EINVAL, "LightGBM: tree %zu: %s",
                   r->t->n_trees > 0 ? r->t->n_trees - 1 : 0, what);
}

/* Numbers with blanks between them, from the line of that name. */
static int read_numbers(struct reading *r, int which)
{
    struct document_numbers *to = &r->arrays[which];
    struct slice line = r->lines[which];
    to->n = 0;
    if (line.s == NULL) return 0;
    for (;;) {
        while (line.s < line.end && *line.s == ' ') line.s++;
        if (line.s == line.end) return 0;
        double x = INFINITY; /* "inf": all that is not missing goes left */
        size_t len = document_decimal(line.s, line.end, &x);
        if (len == 0 && length(line) >= 3 && memcmp(line.s, "inf", 3) == 0) len = 3;
        if (len == 0 || (line.s + len < line.end && line.s[len] != ' ')) {
            char text[64];
            snprintf(text, sizeof text, "%s holds what is no number", line_names[which]);
            return malformed(r, text);
        }
        if (to->n == to->room) {
            void *p = to->x;
            bool fine = array_reserve(&p, &to->room, to->n + 1, sizeof *to->x);
            to->x = p;
            if (!fine) return err_sys(r->e, -ENOMEM, "LightGBM: a tree");
        }
        to->x[to->n++] = x;
        line.s += len;
    }
}

/* --- the head -------------------------------------------------------------------------------- */

static size_t count_words(struct slice s)
{
    size_t n = 0;
    for (const char *p = s.s; p < s.end; p++) n += *p != ' ' && (p == s.s || p[-1] == ' ');
    return n;
}

/* Up to the first tree, whose line "Tree=0" is left to be read. */
static void read_head(struct reading *r)
{
    struct slice line;
    for (const char *at = r->at; next_line(r, &line); at = r->at) {
        struct slice value = cut(&line, '=');
        if (is(line, "Tree") || is(line, "end of trees")) {
            r->at = at;
            return;
        }
        if (is(line, "version")) r->version = value;
        if (is(line, "num_class")) r->classes = one_number(value);
        if (is(line, "num_tree_per_iteration")) r->per_round = one_number(value);
        if (is(line, "max_feature_idx")) r->last_feature = one_number(value);
        if (is(line, "objective")) r->objective = value;
        if (is(line, "feature_names")) r->names = value;
        if (is(line, "tree_sizes")) r->sizes = (double)count_words(value);
        if (is(line, "average_output")) r->average = true;
    }
}

static int set_names(struct reading *r)
{
    size_t n = count_words(r->names), i = 0;
    if (n != r->t->features)
        return err_set(r->e, -EINVAL, "LightGBM: %zu names for %zu features", n, r->t->features);
    char *copy = malloc(length(r->names) + 1);
    const char **names = malloc((n + 1) * sizeof *names);
    int rc = copy == NULL || names == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        memcpy(copy, r->names.s, length(r->names));
        copy[length(r->names)] = '\0';
        char *rest = copy, *name;
        while ((name = strsep(&rest, " ")) != NULL)
            if (*name != '\0' && i < n) names[i++] = name;
        while (i < n) names[i++] = ""; /* a NUL has cut the line */
        rc = trees_set_names(r->t, names);
    }
    free(copy);
    free(names);
    return rc < 0 ? err_sys(r->e, rc, "LightGBM: names of features") : 0;
}

static bool known_version(struct slice v) { return is(v, "v2") || is(v, "v3") || is(v, "v4"); }

/* What the margin says: "binary sigmoid:1". */
static int set_objective(struct reading *r)
{
    static const char *const plain[] = {"regression", "regression_l1", "huber", "fair",
                                        "quantile",   "mape",          "l2",    "l1"};
    struct slice name = r->objective, rest = cut(&name, ' ');
    bool known = r->objective.s == NULL; /* a loss of the trainer's own: the margin is the answer */
    bool several = is(name, "multiclass") || is(name, "multiclassova");
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) known = known || is(name, plain[i]);
    if (is(name, "binary") || is(name, "cross_entropy") || is(name, "multiclassova"))
        r->t->link = TREES_LOGISTIC;
    if (is(name, "multiclass")) r->t->link = TREES_SOFTMAX;
    known = known || several || r->t->link == TREES_LOGISTIC;
    while (known && length(rest) > 0) {
        struct slice word = rest, value;
        rest = cut(&word, ' ');
        value = cut(&word, ':');
        double x = one_number(value);
        if (is(word, "sigmoid") && x > 0 && isfinite(x))
            r->t->sigmoid = x;
        else if (is(word, "num_class"))
            known = x == (double)r->t->groups;
        else
            known = length(word) == 0; /* "sqrt" and what else changes the answer */
    }
    known = known && several == (r->t->groups > 1);
    if (known) return 0;
    int len = length(r->objective) < 60 ? (int)length(r->objective) : 60;
    return err_set(r->e, -EINVAL, "LightGBM: objective \"%.*s\" of %zu classes is not supported",
                   len, r->objective.s != NULL ? r->objective.s : "", r->t->groups);
}

static int begin_model(struct reading *r)
{
    if (!known_version(r->version))
        return err_set(r->e, -EINVAL,
                       "LightGBM: versions v2, v3 and v4 of its text are read, not "
                       "this one");
    if (!(r->last_feature >= 0 && r->last_feature < TREES_MOST_FEATURES) ||
        r->last_feature != floor(r->last_feature))
        return err_set(r->e, -EINVAL, "LightGBM: max_feature_idx %g is not between 0 and %d",
                       r->last_feature, TREES_MOST_FEATURES - 1);
    double groups = r->per_round;
    if (!(groups >= 1 && groups <= TREES_MOST_GROUPS) || groups != floor(groups) ||
        r->classes != groups)
        return err_set(r->e, -EINVAL, "LightGBM: %g trees a round for %g classes", groups,
                       r->classes);
    int rc = trees_new(&r->t, (size_t)r->last_feature + 1, (size_t)groups, r->e);
    if (rc < 0) return rc;
    r->t->mean = r->average;
    rc = set_objective(r);
    if (rc == 0 && r->names.s != NULL) rc = set_names(r);
    return rc;
}

/* --- trees ----------------------------------------------------------------------------------- */

/* arrays[which][i] as a whole number in [low, high), or high. */
static int64_t whole(const struct reading *r, int which, size_t i, int64_t low, int64_t high)
{
    const struct document_numbers *a = &r->arrays[which];
    if (i >= a->n || !(a->x[i] >= (double)low && a->x[i] < (double)high)) return high;
    int64_t n = (int64_t)a->x[i];
    return (double)n == a->x[i] ? n : high;
}

static bool in_zero(double t) { return t >= -TREES_ZERO && t <= TREES_ZERO; }

static int64_t add_numeric(struct reading *r, size_t feature, double at, unsigned decision,
                           double gain, double cover)
{
    const double before = nextafter(-TREES_ZERO, -INFINITY);
    unsigned missing = decision >> 2 & 3, flags = 0;
    bool left = decision & DEFAULT_LEFT;
    if (missing == MISSING_ZERO) {
        /* What is zero goes the missing values' way. Mostly a threshold can say that too. */
        if (left && in_zero(at))
            at = TREES_ZERO;
        else if (!left && in_zero(at))
            at = before;
        else if (left == (at < 0))
            flags |= TREES_ZERO_MISSING;
    } else {
        if (in_zero(at)) at = at >= 0 ? TREES_ZERO : before;
        if (missing == MISSING_NONE) left = at >= 0; /* as a zero would */
    }
    return trees_split(r->t, feature, at, flags | (left ? TREES_MISSING_LEFT : 0), gain, cover,
                       r->e);
}

static int64_t add_set(struct reading *r, size_t feature, double at, double gain, double cover)
{
    int64_t n_words = (int64_t)r->arrays[WORDS].n;
    size_t which = at >= 0 && at < (double)r->arrays[BOUNDARIES].n ? (size_t)at : SIZE_MAX - 1;
    int64_t first = whole(r, BOUNDARIES, which, 0, n_words + 1);
    int64_t last = whole(r, BOUNDARIES, which + 1, 0, n_words + 1);
    if (last > n_words || first > last)
        return malformed(r, "a categorical split has no categories");
    void *p = r->words;
    bool fine = array_reserve(&p, &r->room_words, (size_t)(last - first) + 1, sizeof *r->words);
    r->words = p;
    if (!fine) return err_sys(r->e, -ENOMEM, "LightGBM: categories");
    for (int64_t i = first; i < last; i++) {
        int64_t word = whole(r, WORDS, (size_t)i, 0, INT64_C(1) << 32);
        if (word > UINT32_MAX) return malformed(r, "cat_threshold holds what is no set");
        r->words[i - first] = (uint32_t)word;
    }
    return trees_split_set(r->t, feature, r->words, (size_t)(last - first), 0, gain, cover, r->e);
}

static double weight(const struct reading *r, int which, size_t i)
{
    return i < r->arrays[which].n ? r->arrays[which].x[i] : 0;
}

static int add_splits(struct reading *r, size_t leaves)
{
    for (size_t i = 0; i + 1 < leaves; i++) {
        int64_t feature = whole(r, FEATURE, i, 0, TREES_MOST_FEATURES);
        int64_t decision = whole(r, DECISION, i, 0, 16);
        double at = r->arrays[THRESHOLD].x[i], gain = weight(r, GAIN, i),
               cover = weight(r, COUNT, i);
        if (decision == 16 || (decision >> 2 & 3) == 3) return malformed(r, "an unknown decision");
        int64_t rc = decision & IS_CATEGORICAL
                         ? add_set(r, (size_t)feature, at, gain, cover)
                         : add_numeric(r, (size_t)feature, at, (unsigned)decision, gain, cover);
        if (rc < 0) return (int)rc;
    }
    return 0;
}

static int add_linear(struct reading *r, size_t leaves)
{
    const struct document_numbers *weights = &r->arrays[TERM_WEIGHTS];
    size_t at = 0, n = weights->n;
    void *p = r->features;
    bool fine = array_reserve(&p, &r->room_features, n + 1, sizeof *r->features);
    r->features = p;
    if (!fine) return err_sys(r->e, -ENOMEM, "LightGBM: linear leaves");
    for (size_t i = 0; i < n; i++)
        r->features[i] = (uint32_t)whole(r, TERM_FEATURES, i, 0, TREES_MOST_FEATURES);
    for (size_t i = 0; i < leaves; i++) {
        int64_t count = whole(r, TERMS, i, 0, (int64_t)(n - at) + 1);
        if (i >= r->arrays[CONSTANT].n || count > (int64_t)(n - at))
            return malformed(r, "a linear leaf is malformed");
        int rc = trees_make_linear(r->t, leaves - 1 + i, r->arrays[CONSTANT].x[i], r->features + at,
                                   weights->x + at, (size_t)count, r->e);
        if (rc < 0) return rc;
        at += (size_t)count;
    }
    return 0;
}

/* Splits become nodes 0 to leaves - 2, leaves those behind. */
static int build_tree(struct reading *r, size_t leaves)
{
    for (int i = FEATURE; i <= RIGHT; i++)
        if (i != GAIN && r->arrays[i].n != leaves - 1)
            return malformed(r, "its lines are of different lengths");
    if (r->arrays[VALUE].n != leaves) return malformed(r, "it has not as many values as leaves");
    int rc = add_splits(r, leaves);
    if (rc < 0) return rc;
    for (size_t i = 0; i < leaves; i++) {
        int64_t leaf = trees_leaf(r->t, r->arrays[VALUE].x[i], weight(r, LEAF_COUNT, i), r->e);
        if (leaf < 0) return (int)leaf;
    }
    int64_t n = (int64_t)leaves;
    for (size_t i = 0; i + 1 < leaves; i++) {
        int64_t left = whole(r, LEFT, i, -n, n - 1), right = whole(r, RIGHT, i, -n, n - 1);
        if (left == n - 1 || right == n - 1) return malformed(r, "a child that is not there");
        trees_children(r->t, i, (size_t)(left < 0 ? n - 1 + ~left : left),
                       (size_t)(right < 0 ? n - 1 + ~right : right));
    }
    if (r->arrays[LINEAR].n > 0 && r->arrays[LINEAR].x[0] != 0) rc = add_linear(r, leaves);
    return rc < 0 ? rc : trees_close(r->t, r->e);
}

static int read_tree(struct reading *r)
{
    struct slice line;
    memset(r->lines, 0, sizeof r->lines);
    while (next_line(r, &line) && length(line) > 0) {
        struct slice value = cut(&line, '=');
        for (int i = 0; i < LINES; i++)
            if (is(line, line_names[i])) r->lines[i] = value;
    }
    int rc = trees_open(r->t, r->t->n_trees % r->t->groups, r->e);
    for (int i = 0; rc == 0 && i < LINES; i++) rc = read_numbers(r, i);
    if (rc < 0) return rc;
    int64_t leaves = whole(r, LEAVES, 0, 1, TREES_MOST_NODES / 2);
    if (leaves == TREES_MOST_NODES / 2) return malformed(r, "num_leaves is out of range");
    return build_tree(r, (size_t)leaves);
}

static int load(struct reading *r)
{
    struct slice line = {r->at, r->at};
    next_line(r, &line);
    if (!is(line, "tree"))
        return err_set(r->e, -EINVAL, "LightGBM: its text begins with a line \"tree\"");
    read_head(r);
    int rc = begin_model(r);
    if (rc < 0) return rc;
    bool ended = false;
    while (!ended && next_line(r, &line)) {
        cut(&line, '=');
        ended = is(line, "end of trees");
        if (is(line, "Tree")) rc = read_tree(r);
        if (rc < 0) return rc;
    }
    if (!ended || (r->sizes >= 0 && (double)r->t->n_trees != r->sizes))
        return err_set(r->e, -EINVAL, "LightGBM: the file is cut off: %zu trees of %.0f",
                       r->t->n_trees, r->sizes);
    if (r->t->n_trees % r->t->groups != 0)
        return err_set(r->e, -EINVAL, "LightGBM: %zu trees for %zu classes", r->t->n_trees,
                       r->t->groups);
    rc = trees_finish(r->t);
    return rc < 0 ? err_sys(r->e, rc, "LightGBM: the model") : 0;
}

int trees_load_lightgbm(struct trees **out, const char *data, size_t len, struct err *e)
{
    struct reading r = {.at = data, .end = data + len, .e = e};
    r.classes = r.per_round = r.last_feature = NAN;
    r.sizes = -1;
    int rc = load(&r);
    for (int i = 0; i < LINES; i++) free(r.arrays[i].x);
    free(r.words);
    free(r.features);
    if (rc == 0)
        *out = r.t;
    else
        trees_free(r.t);
    return rc;
}
