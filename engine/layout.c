/* layout.c: the prompt around the segments. */
#include "engine/layout.h"

#include <stdlib.h>
#include <string.h>

omnid_status id_list_add(id_list *l, int32_t id, omnid_error *err)
{
    if (l->n == l->capacity) {
        int capacity = l->capacity ? 2 * l->capacity : 64;
        int32_t *ids = realloc(l->ids, (size_t)capacity * sizeof *ids);
        if (!ids)
            return omnid_fail(err, OMNID_NOMEM, "no memory for a prompt of %d tokens", capacity);
        l->ids = ids;
        l->capacity = capacity;
    }
    l->ids[l->n++] = id;
    return OMNID_OK;
}

omnid_status id_list_add_text(id_list *l, const omnid_tokenizer *t, const char *text, omnid_error *err)
{
    int32_t *ids = NULL;
    size_t n = 0;
    OMNID_TRY(omnid_tokenizer_encode(t, text, strlen(text), &ids, &n, err));
    omnid_status status = OMNID_OK;
    for (size_t i = 0; i < n && status == OMNID_OK; i++)
        status = id_list_add(l, ids[i], err);
    free(ids);
    return status;
}

void id_list_free(id_list *l)
{
    free(l->ids);
    *l = (id_list){0};
}

/* before and text are one string for BPE. */
static omnid_status add_joined(id_list *l, const omnid_model *m, const char *before, const char *text, omnid_error *err)
{
    size_t n = strlen(before), size = n + strlen(text) + 1;
    char *joined = malloc(size);
    if (!joined)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a prompt of %zu bytes", size);
    memcpy(joined, before, n);
    memcpy(joined + n, text, size - n);
    omnid_status status = id_list_add_text(l, m->tokenizer, joined, err);
    free(joined);
    return status;
}

/* <|im_end|>\n<|im_start|>{role}\n{text}: ends a turn and begins the next. */
static omnid_status add_turn(id_list *l, const omnid_model *m, const char *role, const char *text, omnid_error *err)
{
    OMNID_TRY(id_list_add(l, m->ids.im_end, err));
    OMNID_TRY(id_list_add_text(l, m->tokenizer, "\n", err));
    OMNID_TRY(id_list_add(l, m->ids.im_start, err));
    return add_joined(l, m, role, text, err);
}

omnid_status layout_prefix(id_list *out, const omnid_model *m, const char *system, stream_parts parts, omnid_error *err)
{
    OMNID_TRY(id_list_add(out, m->ids.im_start, err));
    OMNID_TRY(add_joined(out, m, "system\n", system, err));
    OMNID_TRY(add_turn(out, m, "user\n", "", err));
    if (parts.video)
        OMNID_TRY(id_list_add(out, m->ids.vision_start, err));
    if (parts.audio)
        OMNID_TRY(id_list_add(out, m->ids.audio_start, err));
    return OMNID_OK;
}

omnid_status layout_query(id_list *out, const omnid_model *m, const omnid_question_params *p, stream_parts parts,
                          int *first_score_row, omnid_error *err)
{
    if (parts.audio)
        OMNID_TRY(id_list_add(out, m->ids.audio_end, err));
    if (parts.video)
        OMNID_TRY(id_list_add(out, m->ids.vision_end, err));
    *first_score_row = 0;
    for (int i = 0; i < p->n_history; i++) {
        if (i == 0)
            OMNID_TRY(id_list_add_text(out, m->tokenizer, p->history[0].question, err));
        else
            OMNID_TRY(add_turn(out, m, "user\n", p->history[i].question, err));
        OMNID_TRY(add_turn(out, m, "assistant\n", p->history[i].answer, err));
    }
    if (p->n_history > 0) {
        *first_score_row = out->n + 2; /* behind this turn's <|im_end|> and line feed */
        OMNID_TRY(add_turn(out, m, "user\n", p->question, err));
        while (*first_score_row < out->n && out->ids[*first_score_row] != m->ids.im_start)
            ++*first_score_row;
    } else {
        OMNID_TRY(id_list_add_text(out, m->tokenizer, p->question, err));
    }
    return add_turn(out, m, "assistant\n", "", err);
}

int64_t layout_prefix_position(int i, int n, stream_parts parts)
{
    int openers = n - layout_n_openers(parts);
    return i < openers ? i : openers;
}
