/* ask_talk.c: what is said to the daemon and what it answers, event by event. */
#include "ask.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void ask_talk_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: the poll must return */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool ask_talk_send(void *socket, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    int sent = text ? zmq_send(socket, text, strlen(text), 0) : -1;
    free(text);
    return sent >= 0;
}

/* What is left of a message after its first frame; only the last of it is kept, in *second (may be NULL). */
static void receive_rest(void *socket, zmq_msg_t *second)
{
    zmq_msg_t frame;
    for (bool more = true; more;) {
        zmq_msg_init(&frame);
        more = zmq_msg_recv(&frame, socket, 0) >= 0 && zmq_msg_more(&frame);
        if (second)
            zmq_msg_move(second, &frame);
        zmq_msg_close(&frame);
    }
}

json_t *ask_talk_receive(void *socket, double timeout_s, zmq_msg_t *second)
{
    double until = seconds_now() + timeout_s;
    while (!interrupted) {
        zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
        double left = until - seconds_now();
        if (left <= 0)
            return NULL;
        if (zmq_poll(&item, 1, left > 1 ? 1000 : (long)(left * 1000) + 1) <= 0)
            continue;
        zmq_msg_t message;
        zmq_msg_init(&message);
        json_t *event = NULL;
        if (zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) >= 0)
            event = json_loadb(zmq_msg_data(&message), zmq_msg_size(&message), 0, NULL);
        if (zmq_msg_more(&message))
            receive_rest(socket, second);
        zmq_msg_close(&message);
        if (event)
            return event;
    }
    return NULL;
}

const char *ask_talk_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

double ask_talk_number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void print_timings(const json_t *done)
{
    const json_t *t = json_object_get(done, "timings");
    size_t i;
    json_t *moment;
    fprintf(
        stderr, "first token %.1f ms, whole answer %.1f ms, %.0f tokens (%.1f a second), mode %s, retention %.1f %%\n",
        ask_talk_number(t, "ttft_ms"), ask_talk_number(t, "total_ms"), ask_talk_number(done, "tokens"),
        ask_talk_number(t, "decode_tokens_s"), ask_talk_text(done, "mode"), 100 * ask_talk_number(done, "retention"));
    json_array_foreach(json_object_get(done, "evidence"), i, moment)
    {
        if (json_is_null(json_object_get(moment, "t0")))
            fprintf(stderr, "evidence: segment %.0f", ask_talk_number(moment, "segment"));
        else
            fprintf(stderr, "evidence: %s to %s (%.0f s ago)", ask_talk_text(moment, "t0"), ask_talk_text(moment, "t1"),
                    ask_talk_number(moment, "ago_s"));
        fprintf(stderr, ", weight %.2f, %.0f %% of it sound\n", ask_talk_number(moment, "weight"),
                100 * ask_talk_number(moment, "audio_share"));
    }
}

static void print_choices(const json_t *done)
{
    size_t i;
    json_t *choice;
    json_array_foreach(json_object_get(done, "choices"), i, choice)
        printf("%c %5.1f %%  %s\n", (double)i == ask_talk_number(done, "best") ? '*' : ' ',
               100 * ask_talk_number(choice, "share"), ask_talk_text(choice, "text"));
}

void ask_talk_print(const ask_arguments *a, const json_t *event, bool streamed)
{
    if (a->json) {
        json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
        putchar('\n');
    } else if (strcmp(ask_talk_text(event, "event"), "token") == 0) {
        fputs(ask_talk_text(event, "text"), stdout);
    } else if (strcmp(ask_talk_text(event, "event"), "error") == 0) {
        fprintf(stderr, "%somnid-ask: %s (%s)\n", streamed ? "\n" : "", ask_talk_text(event, "message"),
                ask_talk_text(event, "code"));
    } else if (strcmp(ask_talk_text(event, "event"), "done") == 0) {
        if (json_object_get(event, "choices"))
            print_choices(event);
        else
            printf("%s\n", streamed ? "" : ask_talk_text(event, "text"));
    } else {
        json_dumpf(event, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        putchar('\n');
    }
    fflush(stdout);
}

/* Ctrl-C: the daemon need not go on. */
static int cancel(void *socket)
{
    interrupted = 0;
    zmq_send(socket, "{\"op\":\"cancel\",\"id\":1}", 22, ZMQ_DONTWAIT);
    for (double until = seconds_now() + 1; seconds_now() < until && !interrupted;) {
        json_t *event = ask_talk_receive(socket, until - seconds_now(), NULL);
        bool over = !event || strcmp(ask_talk_text(event, "event"), "error") == 0 ||
                    strcmp(ask_talk_text(event, "event"), "done") == 0;
        json_decref(event);
        if (over)
            break;
    }
    fputs("\nomnid-ask: cancelled\n", stderr);
    return ASK_INTERRUPTED;
}

int ask_talk_silent(const ask_arguments *a, void *socket)
{
    if (interrupted)
        return cancel(socket);
    fprintf(stderr, "omnid-ask: the daemon said nothing for %g s (--timeout)\n", a->timeout_s);
    return ASK_TIMEOUT;
}

int ask_talk(const ask_arguments *a, void *socket, const json_t *request, json_t **last)
{
    bool streamed = false;
    *last = NULL;
    if (!ask_talk_send(socket, request))
        return ask_talk_silent(a, socket);
    for (;;) {
        json_t *event = ask_talk_receive(socket, a->timeout_s, NULL);
        if (!event)
            return ask_talk_silent(a, socket);
        const char *name = ask_talk_text(event, "event");
        bool token = strcmp(name, "token") == 0, error = strcmp(name, "error") == 0;
        ask_talk_print(a, event, streamed);
        if (a->timings && strcmp(name, "done") == 0)
            print_timings(event);
        streamed = streamed || token;
        if (!token) {
            *last = event;
            return error ? ASK_ERROR : ASK_OK;
        }
        json_decref(event);
    }
}
