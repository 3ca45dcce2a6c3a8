// See luakeys.h.
#include "envctl/luakeys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "envctl/buf.h"
#include "envctl/mem.h"

#define MAX_NESTING   200 // what is nested deeper is passed over
#define MAX_ALIASES   10  // variables that stand for variables
#define MAX_TEXT      UINT32_MAX
#define FIRST_BUCKETS 256

// --- what is kept ----------------------------------------------------------------------------------------------------

// A piece of the pool. The pool begins with the text; names whose escapes were resolved are behind it.
typedef struct slice {
    uint32_t at, size;
} slice;

// Nodes are numbers, for their array moves. Children are in one hash table, by parent and key.
typedef struct node {
    uint32_t line;
    bool inner;    // has children of its own
    slice include; // path given to envctl.include for this value
    slice name;    // variable that this value is taken from
} node;

typedef struct child {
    uint32_t parent, node; // node 0: the place is free
    uint32_t hash;
    slice key;
    int64_t number; // when key.size is NO_TEXT
} child;

#define NO_TEXT   UINT32_MAX
#define VARIABLES 0 // parent of the variables of the chunk

struct ek_index {
    eb_buf pool;
    node *nodes;
    uint32_t node_count, node_capacity;
    child *children;
    uint32_t child_count, buckets;
    uint32_t root; // 0: none
};

static uint32_t new_node(ek_index *x, uint32_t line)
{
    if (x->node_count == x->node_capacity) {
        x->node_capacity = x->node_capacity ? x->node_capacity * 2 : 256;
        x->nodes = ec_xrealloc(x->nodes, x->node_capacity * sizeof *x->nodes);
    }
    x->nodes[x->node_count] = (node){.line = line};
    return x->node_count++;
}

static uint32_t hash_key(uint32_t parent, const char *text, size_t size, int64_t number)
{
    uint64_t h = 14695981039346656037u ^ parent;
    if (text) {
        for (size_t i = 0; i < size; i++)
            h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    } else {
        h = (h ^ (uint64_t)number) * 1099511628211u + 1;
    }
    h *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

// The place of a child, or the free one where it belongs.
static child *bucket(const ek_index *x, uint32_t parent, const char *text, size_t size, int64_t number, uint32_t hash)
{
    for (uint32_t i = hash;; i++) {
        child *c = &x->children[i & (x->buckets - 1)];
        if (c->node == 0)
            return c;
        if (c->hash != hash || c->parent != parent || (c->key.size == NO_TEXT) != !text)
            continue;
        if (text ? c->key.size == size && memcmp(x->pool.data + c->key.at, text, size) == 0 : c->number == number)
            return c;
    }
}

static void grow(ek_index *x)
{
    child *old = x->children;
    uint32_t count = x->buckets;
    x->buckets = count ? count * 2 : FIRST_BUCKETS;
    x->children = ec_xcalloc(x->buckets, sizeof *x->children);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = old[i].hash;
        while (old[i].node && x->children[at & (x->buckets - 1)].node)
            at++;
        if (old[i].node)
            x->children[at & (x->buckets - 1)] = old[i];
    }
    free(old);
}

static uint32_t get(const ek_index *x, uint32_t parent, const char *text, size_t size, int64_t number)
{
    return bucket(x, parent, text, size, number, hash_key(parent, text, size, number))->node;
}

static void set(ek_index *x, uint32_t parent, slice key, int64_t number, uint32_t to)
{
    if (x->child_count * 2 >= x->buckets)
        grow(x);
    const char *text = key.size == NO_TEXT ? NULL : x->pool.data + key.at;
    uint32_t hash = hash_key(parent, text, key.size, number);
    child *c = bucket(x, parent, text, key.size, number, hash);
    x->child_count += c->node == 0;
    *c = (child){.parent = parent, .node = to, .hash = hash, .key = key, .number = number};
}

// --- the lexer -------------------------------------------------------------------------------------------------------

typedef enum kind { END, NAME, NUMBER, STRING, SYMBOL } kind;

// One token ahead.
typedef struct lexer {
    ek_index *index;
    uint32_t size; // of the text
    uint32_t pos, line;
    kind kind;
    uint32_t at_line;
    slice value; // NAME, STRING (resolved)
    char symbol; // SYMBOL; 0 for one of two characters
    bool whole;  // NUMBER is an integer
    int64_t number;
} lexer;

static int byte_at(const lexer *l, uint32_t pos)
{
    return pos < l->size ? (unsigned char)l->index->pool.data[pos] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(int c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool starts_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c > 127;
}

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// On to `pos`, counting the lines on the way.
static void move_to(lexer *l, uint32_t pos)
{
    const char *text = l->index->pool.data;
    for (const char *p = text + l->pos; (p = memchr(p, '\n', (size_t)(text + pos - p))); p++)
        l->line++;
    l->pos = pos;
}

// Whether a long bracket opens at pos; then where its text is, and where it ends.
static bool long_bracket(const lexer *l, uint32_t pos, slice *inside, uint32_t *behind)
{
    const char *text = l->index->pool.data;
    uint32_t level = 0;
    if (byte_at(l, pos) != '[')
        return false;
    while (byte_at(l, pos + 1 + level) == '=')
        level++;
    if (byte_at(l, pos + 1 + level) != '[')
        return false;
    uint32_t from = pos + level + 2;
    for (const char *p = text + from; (p = memchr(p, ']', (size_t)(text + l->size - p))); p++) {
        uint32_t close = (uint32_t)(p - text), n = 0;
        while (byte_at(l, close + 1 + n) == '=')
            n++;
        if (n == level && byte_at(l, close + 1 + n) == ']') {
            *inside = (slice){from, close - from};
            *behind = close + level + 2;
            return true;
        }
        p += n;
    }
    *inside = (slice){from, l->size - from};
    *behind = l->size;
    return true;
}

static void skip_blanks(lexer *l)
{
    for (;;) {
        uint32_t pos = l->pos;
        while (is_space(byte_at(l, pos)))
            pos++;
        move_to(l, pos);
        if (byte_at(l, pos) != '-' || byte_at(l, pos + 1) != '-')
            return;
        slice inside;
        uint32_t behind;
        if (!long_bracket(l, pos + 2, &inside, &behind)) {
            const char *text = l->index->pool.data, *stop = memchr(text + pos, '\n', l->size - pos);
            behind = stop ? (uint32_t)(stop - text) : l->size;
        }
        move_to(l, behind);
    }
}

static void add_utf8(eb_buf *b, uint32_t c)
{
    if (c < 0x80) {
        eb_addc(b, (char)c);
    } else if (c < 0x800) {
        eb_addc(b, (char)(0xc0 | c >> 6));
        eb_addc(b, (char)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        eb_addc(b, (char)(0xe0 | c >> 12));
        eb_addc(b, (char)(0x80 | (c >> 6 & 63)));
        eb_addc(b, (char)(0x80 | (c & 63)));
    } else {
        eb_addc(b, (char)(0xf0 | c >> 18));
        eb_addc(b, (char)(0x80 | (c >> 12 & 63)));
        eb_addc(b, (char)(0x80 | (c >> 6 & 63)));
        eb_addc(b, (char)(0x80 | (c & 63)));
    }
}

// Adds what the escape behind the backslash at `pos` stands for; returns the position behind it.
static uint32_t add_escape(const lexer *l, eb_buf *out, uint32_t pos)
{
    static const char from[] = "ntrabfv", to[] = "\n\t\r\a\b\f\v";
    int c = byte_at(l, ++pos);
    if (is_digit(c)) {
        unsigned code = 0;
        for (int i = 0; i < 3 && is_digit(byte_at(l, pos)); i++)
            code = code * 10 + (unsigned)(byte_at(l, pos++) - '0');
        eb_addc(out, (char)code);
        return pos;
    }
    if (c == 'z') {
        do
            pos++;
        while (is_space(byte_at(l, pos)));
        return pos;
    }
    if (c == 'x' && hex_digit(byte_at(l, pos + 1)) >= 0 && hex_digit(byte_at(l, pos + 2)) >= 0) {
        eb_addc(out, (char)(hex_digit(byte_at(l, pos + 1)) * 16 + hex_digit(byte_at(l, pos + 2))));
        return pos + 3;
    }
    if (c == 'u' && byte_at(l, pos + 1) == '{') {
        uint32_t code = 0;
        for (pos += 2; hex_digit(byte_at(l, pos)) >= 0 && code <= 0x10ffff; pos++)
            code = code * 16 + (uint32_t)hex_digit(byte_at(l, pos));
        add_utf8(out, code <= 0x10ffff ? code : 0xfffd);
        return byte_at(l, pos) == '}' ? pos + 1 : pos;
    }
    const char *known = c > 0 ? strchr(from, c) : NULL;
    if (c >= 0)
        eb_addc(out, known ? to[known - from] : (char)c);
    return pos + 1;
}

// The text of a quoted string as the chunk has it, put into the pool when it has escapes.
static slice resolve_escapes(lexer *l, uint32_t from, uint32_t to)
{
    eb_buf *pool = &l->index->pool;
    if (!memchr(pool->data + from, '\\', to - from))
        return (slice){from, to - from};
    eb_buf out = {0};
    for (uint32_t pos = from; pos < to;) {
        if (byte_at(l, pos) == '\\') {
            pos = add_escape(l, &out, pos);
        } else {
            eb_addc(&out, (char)byte_at(l, pos++));
        }
    }
    slice result = {(uint32_t)pool->size, (uint32_t)out.size};
    // The pool of a text of almost 4 GiB could outgrow its numbers; such a name is then none.
    if (pool->size + out.size < MAX_TEXT)
        eb_add(pool, out.data, out.size);
    else
        result = (slice){0, 0};
    eb_free(&out);
    return result;
}

static void read_quoted(lexer *l, int quote)
{
    uint32_t pos = l->pos + 1;
    int c;
    while ((c = byte_at(l, pos)) >= 0 && c != quote && c != '\n') { // an unfinished one ends with its line
        int next = byte_at(l, pos + 1);
        pos += c == '\\' ? 2 : 1;
        while (c == '\\' && (next == 'z' || next == '\r') && is_space(byte_at(l, pos)))
            pos++;
    }
    uint32_t stop = pos < l->size ? pos : l->size;
    l->kind = STRING;
    l->value = resolve_escapes(l, l->pos + 1 < stop ? l->pos + 1 : stop, stop);
    move_to(l, c == quote ? stop + 1 : stop);
}

static void read_number(lexer *l)
{
    char text[64];
    uint32_t n = 0;
    for (int c; (c = byte_at(l, l->pos)) == '.' || c == '_' || is_digit(c) || (starts_name(c) && c < 128); l->pos++)
        if (n < sizeof text - 1)
            text[n++] = (char)c;
    text[n] = '\0';
    char *end;
    double value = strtod(text, &end);
    l->kind = NUMBER;
    l->whole = *end == '\0' && fabs(value) < 9007199254740992.0 && value == floor(value);
    l->number = l->whole ? (int64_t)value : 0;
}

static void advance(lexer *l)
{
    skip_blanks(l);
    l->at_line = l->line;
    uint32_t behind;
    int c = byte_at(l, l->pos), next = byte_at(l, l->pos + 1);
    if (c < 0) {
        l->kind = END;
    } else if (starts_name(c)) {
        l->kind = NAME;
        l->value = (slice){l->pos, 0};
        while (starts_name(c) || is_digit(c))
            c = byte_at(l, ++l->pos);
        l->value.size = l->pos - l->value.at;
    } else if (c == '"' || c == '\'') {
        read_quoted(l, c);
    } else if (is_digit(c) || (c == '.' && is_digit(next))) {
        read_number(l);
    } else if (long_bracket(l, l->pos, &l->value, &behind)) {
        l->kind = STRING;
        move_to(l, behind);
    } else {
        bool two = next == '=' && (c == '=' || c == '~' || c == '<' || c == '>');
        l->kind = SYMBOL;
        l->symbol = two ? '\0' : (char)c;
        l->pos += two ? 2 : 1;
    }
}

static bool is_symbol(const lexer *l, char c)
{
    return l->kind == SYMBOL && l->symbol == c;
}

static bool same(const lexer *l, slice s, const char *word)
{
    return strlen(word) == s.size && memcmp(l->index->pool.data + s.at, word, s.size) == 0;
}

static bool is_word(const lexer *l, const char *word)
{
    return l->kind == NAME && same(l, l->value, word);
}

// What the token does to the number of open blocks.
static int block_step(const lexer *l)
{
    if (l->kind != NAME)
        return 0;
    if (is_word(l, "function") || is_word(l, "if") || is_word(l, "do") || is_word(l, "repeat"))
        return 1;
    return is_word(l, "end") || is_word(l, "until") ? -1 : 0;
}

// --- tables ----------------------------------------------------------------------------------------------------------

// On to the `,`, `;` or `}` of the constructor that this expression stands in.
static void skip_value(lexer *l)
{
    uint32_t brackets = 0, blocks = 0;
    for (; l->kind != END; advance(l)) {
        if (l->kind == SYMBOL && brackets == 0 && blocks == 0 &&
            (l->symbol == ',' || l->symbol == ';' || l->symbol == '}'))
            return;
        if (l->kind == SYMBOL && (l->symbol == '(' || l->symbol == '{' || l->symbol == '['))
            brackets++;
        else if (l->kind == SYMBOL && (l->symbol == ')' || l->symbol == '}' || l->symbol == ']'))
            brackets -= brackets > 0;
        int step = block_step(l);
        if (step > 0)
            blocks++;
        else if (step < 0 && blocks > 0)
            blocks--;
    }
}

// Some call: on behind the bracket that closes it. The opening one was passed already.
static void skip_call(lexer *l)
{
    for (uint32_t open = 1; open > 0 && l->kind != END; advance(l)) {
        open += is_symbol(l, '(');
        open -= is_symbol(l, ')');
    }
}

static uint32_t read_value(lexer *l, unsigned depth);

// The key at the start of a field; false for a positional value. A key that is an expression is one without a name.
static bool read_key(lexer *l, slice *key, int64_t *number)
{
    *number = 0;
    if (l->kind == NAME) {
        lexer before = *l;
        *key = l->value;
        advance(l);
        if (is_symbol(l, '=')) {
            advance(l);
            return true;
        }
        *l = before;
        return false;
    }
    if (!is_symbol(l, '['))
        return false;
    advance(l);
    *key = (slice){0, 0};
    if (l->kind == STRING) {
        *key = l->value;
    } else if (l->kind == NUMBER && l->whole) {
        key->size = NO_TEXT;
        *number = l->number;
    }
    advance(l);
    if (is_symbol(l, ']'))
        advance(l);
    if (is_symbol(l, '='))
        advance(l);
    return true;
}

// A table constructor, whose brace is the token now, and on behind it.
static void read_table(lexer *l, uint32_t of, unsigned depth)
{
    int64_t place = 0;
    l->index->nodes[of].inner = true;
    advance(l);
    while (l->kind != END && !is_symbol(l, '}')) {
        uint32_t line = l->at_line;
        slice key;
        int64_t number;
        if (!read_key(l, &key, &number)) {
            key = (slice){0, NO_TEXT};
            number = ++place;
        }
        uint32_t value = read_value(l, depth + 1);
        l->index->nodes[value].line = line;
        set(l->index, of, key, number, value);
        skip_value(l);
        if (is_symbol(l, ',') || is_symbol(l, ';'))
            advance(l);
    }
    advance(l);
}

static void skip_table(lexer *l)
{
    for (uint32_t open = 0; l->kind != END;) {
        open += is_symbol(l, '{');
        open -= is_symbol(l, '}');
        advance(l);
        if (open == 0)
            return;
    }
}

static void read_table_or_skip(lexer *l, uint32_t of, unsigned depth)
{
    if (depth < MAX_NESTING)
        read_table(l, of, depth);
    else
        skip_table(l);
}

// A value that starts here: a table, or a call with one table, such as envctl.append { … }, or what a variable holds.
static uint32_t read_value(lexer *l, unsigned depth)
{
    uint32_t n = new_node(l->index, l->at_line);
    if (is_symbol(l, '{')) {
        read_table_or_skip(l, n, depth);
        return n;
    }
    if (l->kind != NAME || block_step(l) != 0)
        return n;
    slice first = l->value, last = first;
    bool dotted = false;
    advance(l);
    while (is_symbol(l, '.')) {
        advance(l);
        if (l->kind != NAME)
            return n;
        last = l->value;
        dotted = true;
        advance(l);
    }
    bool parenthesis = is_symbol(l, '(');
    if (parenthesis)
        advance(l);
    if (is_symbol(l, '{')) {
        read_table_or_skip(l, n, depth);
    } else if (l->kind == STRING && dotted && same(l, first, "envctl") && same(l, last, "include")) {
        l->index->nodes[n].include = l->value;
        advance(l);
    } else if (!parenthesis && !dotted) {
        l->index->nodes[n].name = first;
    }
    if (parenthesis)
        skip_call(l);
    return n;
}

// --- the chunk -------------------------------------------------------------------------------------------------------

// `name.a["b"] = value` at the top level of a chunk.
static void read_assignment(lexer *l, uint32_t line)
{
    ek_index *x = l->index;
    // Where the value belongs; a table that is not known has no places either.
    uint32_t parent = VARIABLES;
    bool known = true;
    slice key = l->value;
    int64_t number = 0;
    advance(l);
    for (int i = 0; i < 3 && (i > 0 || is_symbol(l, '<')); i++) // an attribute
        advance(l);
    for (;;) {
        bool index = is_symbol(l, '[');
        if (!index && !is_symbol(l, '.'))
            break;
        advance(l);
        if (index ? l->kind != STRING && !(l->kind == NUMBER && l->whole) : l->kind != NAME)
            return;
        const char *text = key.size == NO_TEXT ? NULL : x->pool.data + key.at;
        uint32_t at = get(x, parent, text, key.size, number);
        if (at == 0 && parent != VARIABLES && known) {
            at = new_node(x, line);
            set(x, parent, key, number, at);
        }
        known = known && at != 0;
        if (known)
            x->nodes[at].inner = true;
        parent = at;
        key = l->kind == NUMBER ? (slice){0, NO_TEXT} : l->value;
        number = l->kind == NUMBER ? l->number : 0;
        advance(l);
        if (index) {
            if (!is_symbol(l, ']'))
                return;
            advance(l);
        }
    }
    if (!is_symbol(l, '='))
        return;
    advance(l);
    uint32_t value = read_value(l, 0);
    x->nodes[value].line = line;
    if (known)
        set(x, parent, key, number, value);
}

static void read_statement(lexer *l)
{
    uint32_t line = l->at_line;
    if (is_word(l, "local")) {
        advance(l);
        if (l->kind != NAME || is_word(l, "function"))
            return;
    }
    read_assignment(l, line);
}

// The keywords at which no statement of interest starts.
static bool is_keyword(const lexer *l)
{
    static const char *const words[] = {"and", "break", "else", "elseif", "for",  "goto",  "in",
                                        "not", "or",    "then", "while",  "true", "false", "nil"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(l, words[i]))
            return true;
    return false;
}

static void read_chunk(lexer *l)
{
    uint32_t blocks = 0;
    advance(l);
    while (l->kind != END) {
        int step = block_step(l);
        if (step > 0)
            blocks++;
        else if (step < 0)
            blocks -= blocks > 0;
        if (l->kind != NAME || step != 0 || blocks > 0 || is_keyword(l)) {
            advance(l);
        } else if (is_word(l, "return")) {
            advance(l);
            l->index->root = read_value(l, 0);
        } else {
            read_statement(l);
        }
    }
}

ek_index *ek_index_new(const char *text, size_t size)
{
    ek_index *x = ec_xcalloc(1, sizeof *x);
    if (size >= MAX_TEXT)
        size = 0;
    eb_add(&x->pool, text, size);
    grow(x);
    new_node(x, 0); // the variables
    lexer l = {.index = x, .size = (uint32_t)size, .line = 1};
    if (byte_at(&l, 0) == '#') { // a first line for the shell
        const char *stop = memchr(x->pool.data, '\n', size);
        l.pos = stop ? (uint32_t)(stop - x->pool.data) : l.size;
    }
    read_chunk(&l);
    return x;
}

void ek_index_free(ek_index *index)
{
    if (!index)
        return;
    eb_free(&index->pool);
    free(index->nodes);
    free(index->children);
    free(index);
}

// --- looking up ------------------------------------------------------------------------------------------------------

static uint32_t resolve(const ek_index *x, uint32_t at)
{
    for (int i = 0; i < MAX_ALIASES && at && !x->nodes[at].inner && x->nodes[at].name.size; i++) {
        slice name = x->nodes[at].name;
        uint32_t to = get(x, VARIABLES, x->pool.data + name.at, name.size, 0);
        if (!to)
            break;
        at = to;
    }
    return at;
}

bool ek_index_find(const ek_index *index, const ek_key *path, size_t count, ek_place *out)
{
    uint32_t at = resolve(index, index->root);
    *out = (ek_place){0};
    if (!at)
        return false;
    out->line = index->nodes[at].line;
    while (out->depth < count && !index->nodes[at].include.size) {
        const ek_key *key = &path[out->depth];
        uint32_t next = get(index, at, key->text, key->size, key->number);
        if (!next)
            return true;
        out->line = index->nodes[next].line;
        out->depth++;
        at = resolve(index, next);
    }
    slice include = index->nodes[at].include;
    if (include.size) {
        out->include = index->pool.data + include.at;
        out->include_size = include.size;
    }
    return true;
}
