/* pretokenizer.c: the Split step by PCRE2, made to match as the `tokenizers` library does with Oniguruma. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/pretokenizer.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_START = 32 << 10, STACK_MAX = 8 << 20 };

struct pretokenizer {
    pcre2_code *code; /* NULL = no splitting */
};

struct pretokenizer_cursor {
    const pretokenizer *p;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    const char *text;
    size_t n, at;
    size_t match_begin, match_end; /* the match found ahead, while what lies before it is given out */
    bool pending;
};

/* Unicode's White_Space, which is Oniguruma's \s. PCRE2's \s also has U+180E, which is none since Unicode 6.3. */
#define SPACES "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* The pattern with every \s spelled out, and every \S outside of brackets. malloc'ed. */
static char *spell_spaces(const char *pattern)
{
    size_t n = strlen(pattern), at = 0;
    char *out = malloc(n * (sizeof SPACES + 4) / 2 + 1); /* two characters become at most sizeof SPACES + 2 */
    bool bracket = false;
    for (size_t i = 0; out && i < n; i++) {
        char c = pattern[i], next = pattern[i + 1];
        if (c == '\\' && (next == 's' || (next == 'S' && !bracket))) {
            const char *open = bracket ? "" : next == 's' ? "[" : "[^";
            at = (size_t)(stpcpy(stpcpy(stpcpy(out + at, open), SPACES), bracket ? "" : "]") - out);
            i++;
            continue;
        }
        out[at++] = c;
        if (c == '\\' && next)
            out[at++] = pattern[++i];
        else if (c == '[' || c == ']')
            bracket = c == '[';
    }
    if (out)
        out[at] = '\0';
    return out;
}

omnid_status pretokenizer_create(pretokenizer **out, const char *pattern, omnid_error *err)
{
    *out = NULL;
    pretokenizer *p = calloc(1, sizeof *p);
    char *spelled = pattern ? spell_spaces(pattern) : NULL;
    if (!p || (pattern && !spelled)) {
        free(p);
        free(spelled);
        return omnid_fail(err, OMNID_NOMEM, "no memory for the pre-tokenizer");
    }
    if (pattern) {
        int code;
        PCRE2_SIZE offset;
        p->code =
            pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
        free(spelled);
        if (!p->code) {
            char text[128] = "";
            pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
            free(p);
            return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: its regular expression does not compile: %s", text);
        }
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* where there is no JIT, matching interprets */
    }
    *out = p;
    return OMNID_OK;
}

void pretokenizer_destroy(pretokenizer **p)
{
    if (!*p)
        return;
    pcre2_code_free((*p)->code);
    free(*p);
    *p = NULL;
}

omnid_status pretokenizer_cursor_create(pretokenizer_cursor **out, const pretokenizer *p, omnid_error *err)
{
    *out = NULL;
    pretokenizer_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a walk over text");
    c->p = p;
    if (p->code) {
        c->match = pcre2_match_data_create(1, NULL);
        c->context = pcre2_match_context_create(NULL);
        c->stack = pcre2_jit_stack_create(STACK_START, STACK_MAX, NULL); /* NULL without JIT: not an error */
        if (!c->match || !c->context) {
            pretokenizer_cursor_destroy(&c);
            return omnid_fail(err, OMNID_NOMEM, "no memory for a walk over text");
        }
        if (c->stack)
            pcre2_jit_stack_assign(c->context, NULL, c->stack);
    }
    *out = c;
    return OMNID_OK;
}

void pretokenizer_cursor_destroy(pretokenizer_cursor **c)
{
    if (!*c)
        return;
    pcre2_match_data_free((*c)->match);
    pcre2_match_context_free((*c)->context);
    pcre2_jit_stack_free((*c)->stack);
    free(*c);
    *c = NULL;
}

void pretokenizer_cursor_set(pretokenizer_cursor *c, const char *text, size_t n)
{
    c->text = text;
    c->n = n;
    c->at = 0;
    c->pending = false;
}

/* Gives out text[at .. end) and moves there. */
static omnid_status give(pretokenizer_cursor *c, size_t end, const char **piece, size_t *n)
{
    *piece = c->text + c->at;
    *n = end - c->at;
    c->at = end;
    return OMNID_OK;
}

/* Finds the next match that is not empty, at `at` or later; none: begin = end = n. */
static omnid_status find_match(pretokenizer_cursor *c, omnid_error *err)
{
    c->match_begin = c->match_end = c->n;
    for (size_t from = c->at; from < c->n;) {
        /* The text has been checked once: PCRE2's own check at every call would make the walk quadratic. */
        int found = pcre2_match(c->p->code, (PCRE2_SPTR)c->text, c->n, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                c->match, c->context);
        if (found == PCRE2_ERROR_NOMATCH)
            return OMNID_OK;
        if (found < 0) {
            char text[128] = "";
            pcre2_get_error_message(found, (PCRE2_UCHAR *)text, sizeof text);
            return omnid_fail(err, OMNID_LIMIT, "the pre-tokenizer gave up after byte %zu: %s", from, text);
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(c->match);
        if (range[1] > range[0] && range[0] >= c->at) {
            c->match_begin = range[0];
            c->match_end = range[1];
            return OMNID_OK;
        }
        from = range[1] > from ? range[1] : c->n; /* \K in a pattern can make odd ranges: never twice the same place */
    }
    return OMNID_OK;
}

omnid_status pretokenizer_next(pretokenizer_cursor *c, const char **piece, size_t *n, omnid_error *err)
{
    if (c->at >= c->n)
        return OMNID_AGAIN;
    if (!c->p->code)
        return give(c, c->n, piece, n);
    if (!c->pending) {
        OMNID_TRY(find_match(c, err));
        c->pending = c->match_begin > c->at;
        return give(c, c->pending ? c->match_begin : c->match_end, piece, n);
    }
    c->pending = false;
    return give(c, c->match_end, piece, n);
}
