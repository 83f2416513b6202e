/* fuzz_protocol.c: a client's message of any bytes. What is accepted keeps its limits; what is not has code and sentence, and
 * the reply that says so is JSON again. */
#include "daemon/protocol.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const protocol_request *r, const protocol_limits *limits)
{
    size_t n = r->question ? strlen(r->question) : 0;
    for (int i = 0; i < r->n_history; i++)
        n += strlen(r->history[i].question) + strlen(r->history[i].answer);
    for (int i = 0; i < r->n_choices; i++)
        n += strlen(r->choices[i]);
    bool good = n <= limits->max_question_bytes && r->n_history <= PROTOCOL_MAX_TURNS &&
                r->n_choices <= PROTOCOL_MAX_CHOICES && r->n_choices != 1 && r->n_stop <= PROTOCOL_MAX_STOP &&
                (r->op != PROTOCOL_ASK || r->question);
    good = good && (r->max_tokens == PROTOCOL_UNSET || (r->max_tokens >= 1 && r->max_tokens <= 4096));
    good = good && (isnan(r->temperature) || (r->temperature >= 0 && r->temperature <= 100));
    good = good && (r->op != PROTOCOL_FRAME ||
                    (r->wall_us != PROTOCOL_UNSET) + !isnan(r->ago_s) + (r->segment != PROTOCOL_UNSET) <= 1);
    good = good && (r->wall_us == PROTOCOL_UNSET || r->wall_us > 0) && (isnan(r->ago_s) || r->ago_s >= 0);
    good = good && (r->frame == PROTOCOL_UNSET || (r->frame >= 0 && r->frame < CAPTURE_FRAMES));
    good = good && (r->video || r->audio);
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const protocol_limits limits = {.max_message_bytes = 65536, .max_question_bytes = 1000, .max_deadline_ms = 60000};
    protocol_request r;
    protocol_error e = {0};
    if (protocol_parse(&r, (const char *)data, size, &limits, &e)) {
        check_accepted(&r, &limits);
    } else {
        json_t *reply = protocol_reply_error(r.id, &e);
        char *text = protocol_text(reply);
        json_t *again = text ? json_loads(text, 0, NULL) : NULL;
        if (!e.text[0] || !json_is_string(json_object_get(again, "message")))
            abort();
        json_decref(again);
        free(text);
        json_decref(reply);
    }
    protocol_request_clear(&r);
    return 0;
}
