/* layout.h: the prompt around the segments: token ids and TMRoPE positions (docs/semantics.md, sections 3 and 7). */
#ifndef ENGINE_LAYOUT_H
#define ENGINE_LAYOUT_H

#include "engine/model.h"

/* A growing list of ids; all zero = empty. */
typedef struct {
    int32_t *ids;
    int n, capacity;
} id_list;

omnid_status id_list_add(id_list *l, int32_t id, omnid_error *err);
/* Appends the ids of text (one string for BPE, special tokens not parsed). */
omnid_status id_list_add_text(id_list *l, const omnid_tokenizer *t, const char *text, omnid_error *err);
void id_list_free(id_list *l);

/* What the stream has; fixes openers and closers. */
typedef struct {
    bool video, audio;
} stream_parts;

/* <|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n and the openers (one or two, the last rows). */
omnid_status layout_prefix(id_list *out, const omnid_model *m, const char *system, stream_parts parts,
                           omnid_error *err);

/* Closers, earlier turns, {question}, template. *first_score_row: where the last user turn starts (0 without history). */
omnid_status layout_query(id_list *out, const omnid_model *m, const omnid_question_params *p, stream_parts parts,
                          int *first_score_row, omnid_error *err);

static inline int layout_n_openers(stream_parts parts)
{
    return parts.video + parts.audio;
}

/* Position of prefix row i of n (openers share the last one); st, the position of the stream's first token. */
int64_t layout_prefix_position(int i, int n, stream_parts parts);
static inline int64_t layout_st(int n_prefix, stream_parts parts)
{
    return n_prefix - layout_n_openers(parts) + 1;
}

/* Position of query row i where e is the closers' (they share it). */
static inline int64_t layout_query_position(int i, int64_t e, stream_parts parts)
{
    int n = layout_n_openers(parts);
    return i < n ? e : e + 1 + i - n;
}

/* The place of one audio or video token in the stream, δ = 0. */
typedef struct {
    int64_t t, h, w;
} position;

static inline position layout_audio(int64_t st, int64_t segment, int i)
{
    int64_t p = st + 50 * segment + i;
    return (position){p, p, p};
}

/* Token i of a segment's video, grids of columns x rows tokens. h and w do not grow with time. */
static inline position layout_video(int64_t st, int64_t segment, int i, int columns, int rows)
{
    int grid = i / (columns * rows), place = i % (columns * rows);
    return (position){st + 25 * (2 * segment + grid), st + place / columns, st + place % columns};
}

#endif
