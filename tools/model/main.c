/* main.c: omnid-model's command line. */
#include "tools/model/commands.h"

#include <argp.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

OMNID_API const char *argp_program_version = "omnid-model " OMNID_VERSION;

typedef struct {
    const char *command, *model;
    fetch_options fetch;
    check_options check;
    double memory_gb;
} arguments;

enum { KEY_RETRIES = 256, KEY_DELAY, KEY_STALL, KEY_HASHES, KEY_PRECISION, KEY_WEIGHTS, KEY_BACKEND, KEY_MEMORY };

static const struct argp_option options[] = {
    {0, 0, 0, 0, "fetch:", 1},
    {"yes", 'y', 0, 0, "Do not ask before fetching", 1},
    {"retries", KEY_RETRIES, "N", 0, "Tries in a row that may bring nothing (default 8)", 1},
    {"retry-delay", KEY_DELAY, "S", 0, "Seconds before the second try; doubles each time (default 1)", 1},
    {"stall", KEY_STALL, "S", 0, "Seconds without a byte after which a connection is given up (default 30)", 1},
    {0, 0, 0, 0, "check:", 2},
    {"hashes", KEY_HASHES, 0, 0, "Hash every file and compare with what the hub listed when it was fetched", 2},
    {"precision", KEY_PRECISION, "auto|f32|bf16", 0, "Ask whether it fits at this precision", 2},
    {"weights", KEY_WEIGHTS, "auto|int8", 0, "Ask whether it fits with its weights held so", 2},
    {"backend", KEY_BACKEND, "NAME", 0, "Ask this backend", 2},
    {"memory", KEY_MEMORY, "GB", 0, "Ask whether it fits into so much", 2},
    {0}};

/* A number in min .. max, or the usage and out. */
static double number(const char *text, double min, double max, const char *name, struct argp_state *state)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= min && value <= max))
        argp_error(state, "--%s: want a number in %g .. %g, found '%s'", name, min, max, text);
    return value;
}

static void set_precision(arguments *a, const char *text, struct argp_state *state)
{
    static const char *const names[] = {"auto", "f32", "bf16"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            a->check.params.precision = (omnid_precision)i;
            return;
        }
    argp_error(state, "--precision: want auto, f32 or bf16, found '%s'", text);
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *a = state->input;
    omnid_error err;
    switch (key) {
    case 'y':
        a->fetch.yes = true;
        return 0;
    case KEY_RETRIES:
        a->fetch.n_retries = (int)number(value, 0, 1000, "retries", state);
        return 0;
    case KEY_DELAY:
        a->fetch.retry_delay_s = number(value, 0, 600, "retry-delay", state);
        return 0;
    case KEY_STALL:
        a->fetch.stall_s = (int)number(value, 1, 3600, "stall", state);
        return 0;
    case KEY_HASHES:
        a->check.hashes = true;
        return 0;
    case KEY_PRECISION:
        set_precision(a, value, state);
        return 0;
    case KEY_WEIGHTS:
        if (omnid_weights_parse(&a->check.params.weights, value, &err) != OMNID_OK)
            argp_error(state, "--%s", err.text);
        return 0;
    case KEY_BACKEND:
        a->check.params.backend = value;
        return 0;
    case KEY_MEMORY:
        a->check.params.memory_limit = (uint64_t)(number(value, 0.001, 1e6, "memory", state) * 1e9);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            a->command = value;
        else if (state->arg_num == 1 && strcmp(a->command, "list") != 0)
            a->model = value;
        else
            argp_error(state, "unexpected argument '%s'", value);
        return 0;
    case ARGP_KEY_END:
        if (!a->command)
            argp_error(state, "want a command: fetch, list or check");
        if (strcmp(a->command, "fetch") != 0 && strcmp(a->command, "check") != 0 && strcmp(a->command, "list") != 0)
            argp_error(state, "want the command fetch, list or check, found '%s'", a->command);
        if (!a->model && strcmp(a->command, "list") != 0)
            argp_error(state, "%s: want the name of a model; omnid-model list shows them", a->command);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void on_signal(int number)
{
    (void)number;
    tool_stop = 1;
}

/* The first Ctrl-C ends tidily, the second at once. No SA_RESTART: a question at the terminal ends too. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write past a limit is an error with a sentence */
}

static model_exit run(arguments *a, omnid_error *err)
{
    if (strcmp(a->command, "list") == 0)
        return list_run(err);
    if (strcmp(a->command, "check") == 0) {
        a->check.model = a->model;
        return check_run(&a->check, err);
    }
    a->fetch.name = a->model;
    return fetch_run(&a->fetch, err);
}

int main(int argc, char **argv)
{
    arguments a = {.fetch = {.n_retries = 8, .retry_delay_s = 1, .stall_s = 30},
                   .check = {.params = omnid_model_params_default()}};
    const struct argp argp = {
        options,
        parse_option,
        "fetch NAME|ORG/NAME[@REVISION]\nlist\ncheck NAME|DIR",
        "Fetches models for omnid, lists those that are here, and checks whether one loads and fits.\v"
        "Names: qwen2.5-omni-3b, qwen2.5-omni-7b, or a repository of the hub. A fetch that was broken off goes on when "
        "it "
        "is run again.\n"
        "Models lie in $OMNID_MODELS, else in /var/lib/omnid/models (root) or $XDG_DATA_HOME/omnid/models. "
        "HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE and https_proxy are honoured.\n"
        "Exit status: 0 done, 1 not fetched because the answer was no, or (check) sound but too large for this "
        "machine, "
        "2 usage, 65 wrong data, 66 not found, 69 hub unreachable, 71 system, 73 disk too small, 74 disk error, "
        "75 busy, 77 token missing or refused, 130 interrupted.",
        NULL,
        NULL,
        NULL};
    omnid_error err = {0};
    setlocale(LC_ALL, "C.UTF-8");
    argp_err_exit_status = MODEL_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    omnid_log_set(OMNID_LOG_WARNING, NULL, NULL);
    catch_signals();
    model_exit code = run(&a, &err);
    fflush(stdout);
    if (code != MODEL_OK)
        fprintf(stderr, "omnid-model: %s\n", err.text);
    return (int)code;
}
