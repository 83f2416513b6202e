/* model_files.c: the small files beside the weights: omnid.json, generation_config.json, and the ids of special tokens. */
#include "engine/json_field.h"
#include "engine/model_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ omnid.json */

/* Letters to insert, delete or exchange to make b of a (Levenshtein); names here are short. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    size_t n = strnlen(a, LONGEST), m = strnlen(b, LONGEST);
    int row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

static omnid_status check_keys(const json_t *root, omnid_error *err)
{
    static const char *const known[] = {"name", "max_pixels", "retention"};
    const char *key, *nearest = known[0];
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (edit_distance(key, known[i]) < edit_distance(key, nearest))
                nearest = known[i];
        if (strcmp(key, nearest) != 0)
            return omnid_fail(err, OMNID_FORMAT, "omnid.json: unknown key \"%.64s\"; the nearest is \"%s\"", key,
                              nearest);
    }
    return OMNID_OK;
}

/* "30": [p_init, p_final, t_mid, tds_start] */
static omnid_status read_schedule(retention_named *out, const char *name, const json_t *list, int n_layers,
                                  omnid_error *err)
{
    *out = (retention_named){0};
    if (!*name || strlen(name) >= sizeof out->name || strcmp(name, "none") == 0)
        return omnid_fail(err, OMNID_FORMAT,
                          "omnid.json: retention \"%.64s\": want a name of 1 .. %zu characters, not \"none\"", name,
                          sizeof out->name - 1);
    memcpy(out->name, name, strlen(name) + 1);
    double v[4];
    for (size_t i = 0; i < 4; i++) {
        const json_t *x = json_array_get(list, i);
        if (json_array_size(list) != 4 || !json_is_number(x))
            return omnid_fail(err, OMNID_FORMAT,
                              "omnid.json: retention \"%s\": want [p_init, p_final, t_mid, tds_start]", name);
        v[i] = json_number_value(x);
    }
    if (!(v[0] >= 0 && v[0] <= 1 && v[1] >= 0 && v[1] <= 1 && v[2] >= -1 && v[2] <= 2 && v[3] >= 0 && v[3] < n_layers))
        return omnid_fail(err, OMNID_LIMIT,
                          "omnid.json: retention \"%s\": want p of 0 .. 1, t_mid of -1 .. 2, tds_start of 0 .. %d",
                          name, n_layers - 1);
    out->p_init = v[0];
    out->p_final = v[1];
    out->t_mid = v[2];
    out->tds_start = (int)v[3];
    return OMNID_OK;
}

static omnid_status read_schedules(omnid_model *m, const json_t *object, omnid_error *err)
{
    const size_t room = sizeof m->schedules / sizeof *m->schedules;
    if (!json_is_object(object) || json_object_size(object) > room)
        return omnid_fail(err, OMNID_FORMAT, "omnid.json: retention: want an object of at most %zu schedules", room);
    const char *name;
    json_t *list;
    m->n_schedules = 0;
    json_object_foreach((json_t *)object, name, list)
        OMNID_TRY(read_schedule(&m->schedules[m->n_schedules++], name, list, m->config.text.n_layers, err));
    return OMNID_OK;
}

static omnid_status use_omnid_json(omnid_model *m, const json_t *root, omnid_error *err)
{
    if (!json_is_object(root))
        return omnid_fail(err, OMNID_FORMAT, "omnid.json: want a JSON object");
    OMNID_TRY(check_keys(root, err));
    OMNID_TRY(json_field_int(root, "omnid.json", "max_pixels", 28 * 28, 1 << 26, true, &m->max_pixels, err));
    const json_t *name = json_field_get(root, "name");
    if (name) {
        const char *text = json_string_value(name);
        if (!text || !*text || strlen(text) > 64)
            return omnid_fail(err, OMNID_FORMAT, "omnid.json: name: want a string of 1 .. 64 bytes");
        char *copy = strdup(text);
        if (!copy)
            return omnid_fail(err, OMNID_NOMEM, "no memory for the model's name");
        free(m->name);
        m->name = copy;
    }
    const json_t *retention = json_field_get(root, "retention");
    return retention ? read_schedules(m, retention, err) : OMNID_OK;
}

omnid_status model_read_omnid_json(omnid_model *m, const char *json, size_t n, omnid_error *err)
{
    json_t *root;
    OMNID_TRY(json_field_parse(&root, json, n, "omnid.json", err));
    omnid_status status = use_omnid_json(m, root, err);
    json_decref(root);
    return status;
}

/* ------------------------------------------------------------------ ids */

/* The tokenizer's id; it must be a row of the embedding and the config's id, where that names one. */
static omnid_status find_id(const omnid_model *m, int32_t *out, const char *token, int configured, omnid_error *err)
{
    int32_t id = tokenizer_id(m->tokenizer, token);
    if (id < 0)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json has no token %s", token);
    if (id >= m->config.text.vocabulary)
        return omnid_fail(err, OMNID_FORMAT, "%s: want an id below the vocabulary's %d, tokenizer.json has %d", token,
                          m->config.text.vocabulary, id);
    if (configured >= 0 && configured != id)
        return omnid_fail(err, OMNID_FORMAT, "%s: config.json says id %d, tokenizer.json says %d", token, configured,
                          id);
    *out = id;
    return OMNID_OK;
}

static void add_eos(special_ids *ids, int64_t id)
{
    for (int i = 0; i < ids->n_eos; i++)
        if (ids->eos[i] == id)
            return;
    if (ids->n_eos < (int)(sizeof ids->eos / sizeof *ids->eos))
        ids->eos[ids->n_eos++] = (int32_t)id;
}

/* eos_token_id: one id or a list. */
static omnid_status read_generation(omnid_model *m, const json_t *root, omnid_error *err)
{
    const json_t *eos = json_field_get(root, "eos_token_id");
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_is_array(eos) ? json_array_get(eos, i) : eos;
        int64_t id = json_is_integer(x) ? json_integer_value(x) : -1;
        if (id < 0 || id >= m->config.text.vocabulary)
            return omnid_fail(err, OMNID_FORMAT, "generation_config.json: eos_token_id: want ids of 0 .. %d",
                              m->config.text.vocabulary - 1);
        add_eos(&m->ids, id);
    }
    return OMNID_OK;
}

omnid_status model_find_ids(omnid_model *m, const char *generation, size_t n, omnid_error *err)
{
    special_ids *s = &m->ids;
    const model_config *c = &m->config;
    OMNID_TRY(find_id(m, &s->im_start, "<|im_start|>", -1, err));
    OMNID_TRY(find_id(m, &s->im_end, "<|im_end|>", -1, err));
    OMNID_TRY(find_id(m, &s->end_of_text, "<|endoftext|>", -1, err));
    OMNID_TRY(find_id(m, &s->vision_start, "<|vision_bos|>", c->vision_start, err));
    OMNID_TRY(find_id(m, &s->vision_end, "<|vision_eos|>", c->vision_end, err));
    OMNID_TRY(find_id(m, &s->audio_start, "<|audio_bos|>", c->audio_start, err));
    OMNID_TRY(find_id(m, &s->audio_end, "<|audio_eos|>", c->audio_end, err));
    OMNID_TRY(find_id(m, &s->video, "<|VIDEO|>", c->video_token, err));
    OMNID_TRY(find_id(m, &s->audio, "<|AUDIO|>", c->audio_token, err));
    if (tokenizer_n_ids(m->tokenizer) > c->text.vocabulary)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json has ids up to %d, the embedding %d rows",
                          tokenizer_n_ids(m->tokenizer) - 1, c->text.vocabulary);
    s->n_eos = 0;
    add_eos(s, s->im_end);
    add_eos(s, s->end_of_text);
    if (!generation)
        return OMNID_OK;
    json_t *root;
    OMNID_TRY(json_field_parse(&root, generation, n, "generation_config.json", err));
    omnid_status status = read_generation(m, root, err);
    json_decref(root);
    return status;
}
