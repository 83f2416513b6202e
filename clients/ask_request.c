/* ask_request.c: the command line as one message of the protocol. */
#include "ask.h"

#include <stdio.h>
#include <string.h>

static void set_text(json_t *request, const char *name, const char *value)
{
    if (value)
        json_object_set_new(request, name, json_string(value));
}

static void set_list(json_t *request, const char *name, const char *const *values, int n)
{
    if (n == 0)
        return;
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_string(values[i]));
    json_object_set_new(request, name, list);
}

static void set_question(json_t *request, const ask_arguments *a)
{
    set_text(request, "question", a->question);
    set_text(request, "mode", a->mode);
    set_text(request, "policy", a->policy);
    set_text(request, "retention", a->retention);
    set_list(request, "choices", a->choices, a->n_choices);
    set_list(request, "stop", a->stop, a->n_stop);
    if (a->last_s > 0)
        json_object_set_new(request, "last_s", json_real(a->last_s));
    if (a->temperature >= 0)
        json_object_set_new(request, "temperature", json_real(a->temperature));
    if (a->max_tokens >= 0)
        json_object_set_new(request, "max_tokens", json_integer(a->max_tokens));
    if (a->seed >= 0)
        json_object_set_new(request, "seed", json_integer(a->seed));
    if (a->no_now)
        json_object_set_new(request, "now", json_false());
}

json_t *ask_request_make(const ask_arguments *a, char *problem, size_t n_problem)
{
    json_t *request = json_object();
    set_text(request, "op", a->op);
    json_object_set_new(request, "id", json_integer(1));
    set_text(request, "camera", a->camera);
    set_text(request, "what", a->what);
    set_text(request, "t", a->at);
    if (a->ago_s >= 0)
        json_object_set_new(request, "ago_s", json_real(a->ago_s));
    if (a->frame && a->width > 0)
        json_object_set_new(request, "max_width", json_integer(a->width));
    if (strcmp(a->op, "ask") != 0 || !a->question) /* --frames alone asks nothing */
        return request;
    set_question(request, a);
    if (!json_object_get(request, "question")) {
        snprintf(problem, n_problem, "the question is not UTF-8");
        json_decref(request);
        return NULL;
    }
    if (!a->history)
        return request;
    json_error_t where;
    json_t *history = json_load_file(a->history, 0, &where);
    if (!history) {
        snprintf(problem, n_problem, "history %s, line %d: %s. Want a list: [{\"question\": …, \"answer\": …}, …]",
                 a->history, where.line, where.text);
        json_decref(request);
        return NULL;
    }
    json_object_set_new(request, "history", history);
    return request;
}
