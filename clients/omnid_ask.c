/* omnid_ask.c: asks the daemon one question and writes the answer as it comes. */
#include "ask.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

__attribute__((visibility("default"))) const char *argp_program_version = "omnid-ask " OMNID_VERSION;

enum {
    KEY_SOCKET = 256,
    KEY_MODE,
    KEY_POLICY,
    KEY_RETENTION,
    KEY_LAST,
    KEY_CHOICE,
    KEY_HISTORY,
    KEY_NO_NOW,
    KEY_STATUS,
    KEY_SOURCES,
    KEY_TIMELINE,
    KEY_FORGET,
    KEY_TIMINGS,
    KEY_MAX,
    KEY_STOP,
    KEY_SEED,
    KEY_TEMPERATURE
};

static const struct argp_option options[] = {
    {"camera", 'c', "NAME", 0, "The camera asked about; needed when the daemon has several", 0},
    {"json", 'j', 0, 0, "Write the daemon's events as they come, one JSON object a line", 0},
    {"timings", KEY_TIMINGS, 0, 0, "After the answer write times, retention and evidence to standard error", 0},
    {"socket", KEY_SOCKET, "PATH", 0, "The daemon's ask.sock, instead of looking for it", 0},
    {"timeout", 't', "S", 0, "Give up after so many seconds without a word from the daemon (30)", 0},
    {"mode", KEY_MODE, "MODE", 0, "eager, deferred or offline", 1},
    {"policy", KEY_POLICY, "NAME", 0, "omnidrop, random or none", 1},
    {"retention", KEY_RETENTION, "R", 0, "none, a percentage or share, or p_init,p_final,t_mid,tds_start[,lambda]", 1},
    {"last", KEY_LAST, "S", 0, "Only the newest seconds", 1},
    {"no-now", KEY_NO_NOW, 0, 0, "Only whole segments, not the one that is open", 1},
    {"choice", KEY_CHOICE, "TEXT", 0, "Score this answer instead of writing one; at least twice", 1},
    {"history", KEY_HISTORY, "FILE", 0, "Earlier turns: a JSON list of {\"question\", \"answer\"}", 1},
    {"max-tokens", KEY_MAX, "N", 0, "The longest answer, in tokens", 1},
    {"temperature", KEY_TEMPERATURE, "T", 0, "0 (default): always the likeliest token", 1},
    {"seed", KEY_SEED, "N", 0, "Of sampling and of policy random", 1},
    {"stop", KEY_STOP, "TEXT", 0, "The answer ends before this text", 1},
    {"status", KEY_STATUS, 0, 0, "Instead of asking: the daemon's state", 2},
    {"sources", KEY_SOURCES, 0, 0, "Instead of asking: its sources", 2},
    {"timeline", KEY_TIMELINE, 0, 0, "Instead of asking: what the camera's timeline holds", 2},
    {"forget", KEY_FORGET, 0, 0, "Instead of asking: wipe the camera's timeline", 2},
    {0}};

static double number_of(const char *text, double low, struct argp_state *state)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < low)
        argp_error(state, "want a number of at least %g, found '%s'", low, text);
    return value;
}

static void add_to(const char **list, int *n, const char *value, struct argp_state *state)
{
    if (*n == ASK_MAX_LIST)
        argp_error(state, "at most %d of them", ASK_MAX_LIST);
    list[(*n)++] = value;
}

static void add_word(ask_arguments *a, const char *word)
{
    size_t n = a->question ? strlen(a->question) + 1 : 0;
    char *joined = realloc(a->question, n + strlen(word) + 1);
    if (!joined)
        exit(ASK_ERROR);
    if (n > 0)
        joined[n - 1] = ' ';
    strcpy(joined + n, word);
    a->question = joined;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    ask_arguments *a = state->input;
    switch (key) {
    case 'c':
        a->camera = value;
        return 0;
    case 'j':
        a->json = true;
        return 0;
    case 't':
        a->timeout_s = number_of(value, 0.001, state);
        return 0;
    case KEY_TIMINGS:
        a->timings = true;
        return 0;
    case KEY_SOCKET:
        a->socket = value;
        return 0;
    case KEY_MODE:
        a->mode = value;
        return 0;
    case KEY_POLICY:
        a->policy = value;
        return 0;
    case KEY_RETENTION:
        a->retention = value;
        return 0;
    case KEY_LAST:
        a->last_s = number_of(value, 0.1, state);
        return 0;
    case KEY_NO_NOW:
        a->no_now = true;
        return 0;
    case KEY_CHOICE:
        add_to(a->choices, &a->n_choices, value, state);
        return 0;
    case KEY_STOP:
        add_to(a->stop, &a->n_stop, value, state);
        return 0;
    case KEY_HISTORY:
        a->history = value;
        return 0;
    case KEY_MAX:
        a->max_tokens = (long)number_of(value, 1, state);
        return 0;
    case KEY_SEED:
        a->seed = (long)number_of(value, 0, state);
        return 0;
    case KEY_TEMPERATURE:
        a->temperature = number_of(value, 0, state);
        return 0;
    case KEY_STATUS:
        a->op = "status";
        return 0;
    case KEY_SOURCES:
        a->op = "sources";
        return 0;
    case KEY_TIMELINE:
        a->op = "timeline";
        return 0;
    case KEY_FORGET:
        a->op = "forget";
        return 0;
    case ARGP_KEY_ARG:
        add_word(a, value);
        return 0;
    case ARGP_KEY_END:
        if (strcmp(a->op, "ask") == 0 && !a->question)
            argp_error(state, "no question");
        if (strcmp(a->op, "ask") != 0 && a->question)
            argp_error(state, "--%s takes no question", a->op);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* "-": the question is what standard input holds, without the last line's end. */
static bool read_standard_input(ask_arguments *a)
{
    size_t n = 0, size = 0;
    char *text = NULL;
    for (;;) {
        if (n + 4096 > size) {
            char *more = realloc(text, size = n + 65536);
            if (!more || size > (16u << 20)) {
                free(more ? more : text);
                return false;
            }
            text = more;
        }
        size_t got = fread(text + n, 1, 4095, stdin);
        n += got;
        if (got == 0)
            break;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    text[n] = '\0';
    free(a->question);
    a->question = text;
    return n > 0;
}

/* ------------------------------------------------------------------ the conversation */

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

/* The next event; NULL: none came in time, or Ctrl-C. */
static json_t *receive(void *socket, double timeout_s)
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
        zmq_msg_close(&message);
        if (event)
            return event;
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void print_timings(const json_t *done)
{
    const json_t *t = json_object_get(done, "timings");
    size_t i;
    json_t *moment;
    fprintf(stderr,
            "first token %.1f ms, whole answer %.1f ms, %.0f tokens (%.1f a second), mode %s, retention %.1f %%\n",
            number(t, "ttft_ms"), number(t, "total_ms"), number(done, "tokens"), number(t, "decode_tokens_s"),
            text_of(done, "mode"), 100 * number(done, "retention"));
    json_array_foreach(json_object_get(done, "evidence"), i, moment)
    {
        if (json_is_null(json_object_get(moment, "t0")))
            fprintf(stderr, "evidence: segment %.0f", number(moment, "segment"));
        else
            fprintf(stderr, "evidence: %s to %s (%.0f s ago)", text_of(moment, "t0"), text_of(moment, "t1"),
                    number(moment, "ago_s"));
        fprintf(stderr, ", weight %.2f, %.0f %% of it sound\n", number(moment, "weight"),
                100 * number(moment, "audio_share"));
    }
}

static void print_choices(const json_t *done)
{
    size_t i;
    json_t *choice;
    json_array_foreach(json_object_get(done, "choices"), i, choice)
        printf("%c %5.1f %%  %s\n", (double)i == number(done, "best") ? '*' : ' ', 100 * number(choice, "share"),
               text_of(choice, "text"));
}

static void print_event(const ask_arguments *a, const json_t *event, bool streamed)
{
    if (a->json) {
        json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
        putchar('\n');
    } else if (strcmp(text_of(event, "event"), "token") == 0) {
        fputs(text_of(event, "text"), stdout);
    } else if (strcmp(text_of(event, "event"), "error") == 0) {
        fprintf(stderr, "%somnid-ask: %s (%s)\n", streamed ? "\n" : "", text_of(event, "message"),
                text_of(event, "code"));
    } else if (strcmp(text_of(event, "event"), "done") == 0) {
        if (json_object_get(event, "choices"))
            print_choices(event);
        else
            printf("%s\n", streamed ? "" : text_of(event, "text"));
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
        json_t *event = receive(socket, until - seconds_now());
        bool over =
            !event || strcmp(text_of(event, "event"), "error") == 0 || strcmp(text_of(event, "event"), "done") == 0;
        json_decref(event);
        if (over)
            break;
    }
    fputs("\nomnid-ask: cancelled\n", stderr);
    return ASK_INTERRUPTED;
}

static int converse(const ask_arguments *a, void *socket, const json_t *request)
{
    bool streamed = false;
    char *text = json_dumps(request, JSON_COMPACT);
    int sent = text ? zmq_send(socket, text, strlen(text), 0) : -1;
    free(text);
    while (sent >= 0) {
        json_t *event = receive(socket, a->timeout_s);
        if (!event)
            break;
        const char *name = text_of(event, "event");
        bool token = strcmp(name, "token") == 0, error = strcmp(name, "error") == 0;
        print_event(a, event, streamed);
        if (a->timings && strcmp(name, "done") == 0)
            print_timings(event);
        streamed = streamed || token;
        json_decref(event);
        if (!token)
            return error ? ASK_ERROR : ASK_OK;
    }
    if (interrupted)
        return cancel(socket);
    fprintf(stderr, "omnid-ask: the daemon said nothing for %g s (--timeout)\n", a->timeout_s);
    return ASK_TIMEOUT;
}

static int run(const ask_arguments *a)
{
    char path[256], address[272], problem[512];
    json_t *request = ask_request_make(a, problem, sizeof problem);
    if (!request) {
        fprintf(stderr, "omnid-ask: %s\n", problem);
        return ASK_USAGE;
    }
    int code = ask_socket_find(a->socket, path, sizeof path);
    if (code == ASK_OK) {
        int zero = 0;
        struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: the poll must return */
        void *context = zmq_ctx_new(), *socket = context ? zmq_socket(context, ZMQ_DEALER) : NULL;
        snprintf(address, sizeof address, "ipc://%s", path);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        if (socket && zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero) == 0 &&
            zmq_connect(socket, address) == 0) {
            code = converse(a, socket, request);
        } else {
            fprintf(stderr, "omnid-ask: %s: %s\n", path, zmq_strerror(zmq_errno()));
            code = ASK_NO_DAEMON;
        }
        if (socket)
            zmq_close(socket);
        if (context)
            zmq_ctx_term(context);
    }
    json_decref(request);
    return code;
}

int main(int argc, char **argv)
{
    ask_arguments a = {.op = "ask", .timeout_s = 30, .temperature = -1, .max_tokens = -1, .seed = -1};
    const struct argp argp = {
        options,
        parse_option,
        "QUESTION…",
        "Asks omnid about what it sees and hears. QUESTION - is read from standard input.\v"
        "Exit status: 0 answered, 1 the daemon's error, 2 usage, 3 no daemon, 4 no permission, 5 timeout, "
        "130 interrupted.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = ASK_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    int code = ASK_USAGE;
    if (a.question && strcmp(a.question, "-") == 0 && !read_standard_input(&a))
        fputs("omnid-ask: standard input holds no question\n", stderr);
    else
        code = run(&a);
    free(a.question);
    return code;
}
