/* The Lua module perigee.yaml: one document, with the place of every node, so that what is wrong in
 * a file can be named by line and column. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define DOCUMENT_TYPE "perigee.yaml.document"
enum { MAX_DEPTH = 64, MAX_NODES = 1000000, MAX_TEXT = 16 << 20 };

struct box {
    yaml_parser_t parser;
    yaml_document_t document;
    bool has_parser, has_document;
};

static int l_free(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, DOCUMENT_TYPE);
    if (b->has_document) yaml_document_delete(&b->document);
    if (b->has_parser) yaml_parser_delete(&b->parser);
    b->has_document = b->has_parser = false;
    return 0;
}

/* Building goes on with raised errors: `place: words`, which l_decode() catches. */
struct build {
    lua_State *L;
    yaml_document_t *document;
    int places; /* stack index: table -> { [key or index] = {line, column} } */
    int nodes;
    bool as_text; /* plain 1.10 and true stay as they are written */
};

static int fail_at(lua_State *L, const yaml_mark_t *m, const char *words)
{
    return luaL_error(L, "%d:%d: %s", (int)m->line + 1, (int)m->column + 1, words);
}

static bool is_word(const char *s, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(s, *words) == 0) return true;
    return false;
}

/* The number of the core schema that s is, pushed: 12, 012 (twelve), 0o14, 0xc, 1.2e1, .5 */
static bool push_number(lua_State *L, const char *s)
{
    static const char digits[] = "0123456789", hex[] = "0123456789abcdefABCDEF";
    char *end;
    bool octal = strncmp(s, "0o", 2) == 0, hexadecimal = strncmp(s, "0x", 2) == 0;
    if (octal || hexadecimal) {
        size_t n = strspn(s + 2, octal ? "01234567" : hex);
        if (n == 0 || s[2 + n] != '\0' || n > 15) return false;
        lua_pushinteger(L, strtoll(s + 2, NULL, octal ? 8 : 16));
        return true;
    }
    const char *at = s + (*s == '+' || *s == '-');
    size_t whole = strspn(at, digits), fraction = 0;
    bool integer = at[whole] != '.';
    at += whole;
    if (!integer) fraction = strspn(++at, digits);
    if (whole + fraction == 0) return false;
    at += fraction;
    if (*at == 'e' || *at == 'E') {
        at += at[1] == '+' || at[1] == '-' ? 2 : 1;
        size_t exponent = strspn(at, digits);
        if (exponent == 0) return false;
        at += exponent;
        integer = false;
    }
    if (*at != '\0') return false;
    errno = 0;
    long long value = integer ? strtoll(s, &end, 10) : 0;
    if (integer && errno == 0)
        lua_pushinteger(L, value);
    else
        lua_pushnumber(L, strtod(s, &end));
    return true;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};

/* YAML 1.2's core schema: what looks like a number is one, unless it is quoted. */
static void push_plain(lua_State *L, const char *s, size_t len)
{
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    const char *unsigned_part = s + (*s == '+' || *s == '-');
    if (is_word(s, nulls))
        lua_pushnil(L);
    else if (is_word(s, trues) || is_word(s, falses))
        lua_pushboolean(L, is_word(s, trues));
    else if (is_word(unsigned_part, infinities))
        lua_pushnumber(L, *s == '-' ? -INFINITY : INFINITY);
    else if (is_word(s, nans))
        lua_pushnumber(L, NAN);
    else if (!push_number(L, s))
        lua_pushlstring(L, s, len);
}

static void push_node(struct build *b, int id, int depth);

static void push_scalar(struct build *b, const yaml_node_t *n)
{
    const char *s = (const char *)n->data.scalar.value;
    bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                 (n->tag == NULL || strcmp((const char *)n->tag, YAML_STR_TAG) == 0);
    if (plain && (!b->as_text || is_word(s, nulls)))
        push_plain(b->L, s, n->data.scalar.length);
    else
        lua_pushlstring(b->L, s, n->data.scalar.length);
}

/* places[table][key] = {line, column}; the table is below the key on the stack: t … */
static void remember(struct build *b, int table, const yaml_mark_t *m) /* key -> - */
{
    lua_State *L = b->L;
    lua_pushvalue(L, table);
    lua_rawget(L, b->places); /* key of_table */
    lua_insert(L, -2);        /* of_table key */
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, (lua_Integer)m->line + 1);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, (lua_Integer)m->column + 1);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Whether the key on top of the stack has a place in the table. */
static bool is_known(struct build *b, int table) /* key -> key */
{
    lua_State *L = b->L;
    lua_pushvalue(L, table);
    lua_rawget(L, b->places);
    lua_pushvalue(L, -2);
    bool known = lua_rawget(L, -2) != LUA_TNIL; /* key of_table place */
    lua_pop(L, 2);
    return known;
}

static int push_table(struct build *b) /* - -> t, known to places */
{
    lua_State *L = b->L;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_newtable(L);
    lua_rawset(L, b->places);
    return lua_gettop(L);
}

static void push_sequence(struct build *b, const yaml_node_t *n, int depth)
{
    lua_State *L = b->L;
    int t = push_table(b);
    lua_Integer i = 0;
    for (yaml_node_item_t *item = n->data.sequence.items.start; item < n->data.sequence.items.top;
         item++) {
        const yaml_mark_t *at = &yaml_document_get_node(b->document, *item)->start_mark;
        push_node(b, *item, depth + 1); /* t v */
        /* A Lua list would end here, and what comes behind be lost without a word. */
        if (lua_isnil(L, -1)) fail_at(L, at, "an item of a list is empty");
        lua_rawseti(L, t, ++i);
        lua_pushinteger(L, i);
        remember(b, t, at);
    }
}

/* `<<: *defaults` adds what the mapping lacks; of `<<: [*a, *b]` the first counts. */
static void merge(struct build *b, int t, const yaml_node_t *key, int value, int depth)
{
    lua_State *L = b->L;
    const yaml_node_t *n = yaml_document_get_node(b->document, value);
    if (n->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top;
             i++) {
            if (yaml_document_get_node(b->document, *i)->type != YAML_MAPPING_NODE)
                fail_at(L, &key->start_mark, "\"<<\" takes a mapping, or a list of mappings");
            merge(b, t, key, *i, depth);
        }
        return;
    }
    if (n->type != YAML_MAPPING_NODE)
        fail_at(L, &key->start_mark, "\"<<\" takes a mapping, or a list of mappings");
    push_node(b, value, depth + 1); /* other */
    int other = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, other); lua_pop(L, 1)) { /* other k v */
        lua_pushvalue(L, -2);                                 /* other k v k */
        if (is_known(b, t)) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -1);
        remember(b, t, &key->start_mark);
        lua_pushvalue(L, -2);
        lua_rawset(L, t); /* other k v */
    }
    lua_pop(L, 1);
}

static void push_mapping(struct build *b, const yaml_node_t *n, int depth)
{
    lua_State *L = b->L;
    int t = push_table(b);
    yaml_node_pair_t *pair = n->data.mapping.pairs.start, *top = n->data.mapping.pairs.top;
    for (; pair < top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(b->document, pair->key);
        if (key->type != YAML_SCALAR_NODE)
            fail_at(L, &key->start_mark, "a key is a plain word or text");
        const char *name = (const char *)key->data.scalar.value;
        if (strcmp(name, "<<") == 0) continue;
        lua_pushlstring(L, name, key->data.scalar.length); /* t k */
        if (is_known(b, t)) /* also where its value is null, and so not in t */
            fail_at(L, &key->start_mark, lua_pushfstring(L, "the key \"%s\" is there twice", name));
        lua_pushvalue(L, -1);
        remember(b, t, &key->start_mark);
        push_node(b, pair->value, depth + 1); /* t k v */
        lua_rawset(L, t);
    }
    for (pair = n->data.mapping.pairs.start; pair < top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(b->document, pair->key);
        if (strcmp((const char *)key->data.scalar.value, "<<") == 0)
            merge(b, t, key, pair->value, depth);
    }
}

static void push_node(struct build *b, int id, int depth)
{
    const yaml_node_t *n = yaml_document_get_node(b->document, id);
    luaL_checkstack(b->L, 12, "YAML is nested too deep");
    if (depth > MAX_DEPTH) fail_at(b->L, &n->start_mark, "nested too deep");
    /* Aliases are expanded, so a few lines can stand for billions of nodes. */
    if (++b->nodes > MAX_NODES) fail_at(b->L, &n->start_mark, "too many values");
    switch (n->type) {
    case YAML_SEQUENCE_NODE: push_sequence(b, n, depth); break;
    case YAML_MAPPING_NODE: push_mapping(b, n, depth); break;
    default: push_scalar(b, n);
    }
}

/* Where the document after the one that was loaded begins, as {line, column}; nil without one. */
static void push_next(lua_State *L, yaml_parser_t *parser)
{
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event)) {
        lua_pushnil(L); /* what is wrong behind the document does not count */
        return;
    }
    bool more = event.type == YAML_DOCUMENT_START_EVENT;
    lua_Integer line = (lua_Integer)event.start_mark.line + 1;
    lua_Integer column = (lua_Integer)event.start_mark.column + 1;
    yaml_event_delete(&event);
    if (!more) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, line);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, column);
    lua_rawseti(L, -2, 2);
}

static int l_build(lua_State *L) /* box as_text -> value, places, next */
{
    struct box *box = lua_touserdata(L, 1);
    lua_newtable(L); /* box as_text places */
    struct build b = {
        .L = L, .document = &box->document, .places = 3, .as_text = lua_toboolean(L, 2)};
    if (yaml_document_get_root_node(b.document) == NULL)
        lua_pushnil(L);
    else
        push_node(&b, 1, 0); /* the root is node 1 */
    lua_insert(L, -2);       /* box as_text value places */
    push_next(L, &box->parser);
    return 3;
}

static int parse_failed(lua_State *L, const yaml_parser_t *p)
{
    const yaml_mark_t *m = p->error == YAML_READER_ERROR ? &p->mark : &p->problem_mark;
    lua_pushnil(L);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, p->problem);
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, (lua_Integer)m->line + 1);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, (lua_Integer)m->column + 1);
    lua_setfield(L, -2, "column");
    return 2;
}

/* "line:column: words" of fail_at() as {message=, line=, column=} */
static int build_failed(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    char *end = NULL;
    long line = text != NULL ? strtol(text, &end, 10) : 0;
    if (line <= 0 || *end != ':') return lua_error(L); /* out of memory */
    long column = strtol(end + 1, &end, 10);
    lua_pushnil(L);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, end + 2);
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, line);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, column);
    lua_setfield(L, -2, "column");
    return 2;
}

/* decode(text [, as_text]) -> value, places, next | nil, {message=, line=, column=}. Only the first
 * document counts; next is the {line, column} of another. places[table][key or index] is
 * {line, column} of the key or item. An empty document is nil. With as_text plain scalars are texts
 * as they are written. */
static int l_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_settop(L, 2);
    luaL_argcheck(L, len <= MAX_TEXT, 1, "larger than 16 MiB");
    lua_pushcfunction(L, l_build);
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0); /* text as_text build box */
    memset(b, 0, sizeof *b);
    luaL_setmetatable(L, DOCUMENT_TYPE);
    if (!yaml_parser_initialize(&b->parser)) return luaL_error(L, "not enough memory");
    b->has_parser = true;
    yaml_parser_set_input_string(&b->parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&b->parser, &b->document)) {
        /* In places libyaml gives up without a word: always for want of memory. */
        if (b->parser.error == YAML_MEMORY_ERROR || b->parser.error == YAML_NO_ERROR)
            return luaL_error(L, "not enough memory");
        return parse_failed(L, &b->parser);
    }
    b->has_document = true;
    lua_pushvalue(L, 2);
    return lua_pcall(L, 2, 3, 0) == LUA_OK ? 3 : build_failed(L);
}

static int l_library(lua_State *L) /* library() -> libyaml's version */
{
    lua_pushstring(L, yaml_get_version_string());
    return 1;
}

int luaopen_perigee_yaml(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", l_decode}, {"library", l_library}, {NULL, NULL}};
    bind_type(L, DOCUMENT_TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_free);
    luaL_newlib(L, functions);
    return 1;
}
