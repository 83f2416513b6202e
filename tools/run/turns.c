/* turns.c: earlier turns of a conversation (--history). */
#include "tools/run/run.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static omnid_status copy_turn(omnid_turn *to, const json_t *from, omnid_error *err)
{
    const char *q = json_string_value(json_object_get(from, "question"));
    const char *a = json_string_value(json_object_get(from, "answer"));
    if (!q || !a)
        return omnid_fail(err, OMNID_FORMAT, "want an object with the strings \"question\" and \"answer\"");
    to->question = strdup(q);
    to->answer = strdup(a);
    if (!to->question || !to->answer)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a turn");
    return OMNID_OK;
}

static omnid_status copy_turns(omnid_turn **turns, int *n, const json_t *list, omnid_error *err)
{
    if (!json_is_array(list))
        return omnid_fail(err, OMNID_FORMAT, "want a JSON list of {\"question\", \"answer\"}");
    *turns = calloc(json_array_size(list) + 1, sizeof **turns);
    if (!*turns)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu turns", json_array_size(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        *n = (int)i + 1;
        OMNID_TRY(copy_turn(&(*turns)[i], json_array_get(list, i), err));
    }
    return OMNID_OK;
}

omnid_status turns_read(omnid_turn **turns, int *n, const char *path, omnid_error *err)
{
    char *text;
    size_t size;
    json_error_t wrong;
    *turns = NULL;
    *n = 0;
    OMNID_TRY(file_read(path, &text, &size, err));
    json_t *list = json_loadb(text, size, 0, &wrong);
    free(text);
    if (!list)
        return omnid_fail(err, OMNID_FORMAT, "%s:%d: %s", path, wrong.line, wrong.text);
    omnid_status st = copy_turns(turns, n, list, err);
    json_decref(list);
    if (st != OMNID_OK) {
        turns_free(*turns, *n);
        *turns = NULL;
        omnid_fail_in(err, "%s", path);
    }
    return st;
}

void turns_free(omnid_turn *turns, int n)
{
    for (int i = 0; i < n; i++) {
        free((char *)turns[i].question);
        free((char *)turns[i].answer);
    }
    free(turns);
}
