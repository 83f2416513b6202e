/* main.c: omnid's command line; makes the parts, and takes them apart again. */
#include "daemon/plan.h"
#include "daemon/server.h"
#include "daemon/service_log.h"

#include <argp.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* SIGTERM to exit takes at most 2 s: cameras and engine get this long, then the process leaves without them. */
enum { MAIN_STOP_MS = 1400 };

OMNID_API const char *argp_program_version = "omnid " OMNID_VERSION;

typedef struct {
    const char *file;
    GPtrArray *overrides; /* char *: "group.key=value" */
    bool check, print_config, print_docs;
} arguments;

enum { KEY_CHECK = 256, KEY_PRINT, KEY_PRINT_DOCS, KEY_MODEL };

static const struct argp_option argp_options[] = {
    {"config", 'c', "FILE", 0, "Read this configuration instead of the user's or the system's", 0},
    {"check", KEY_CHECK, 0, 0, "Check configuration, sources and model, say what would run, and exit", 0},
    {"print-config", KEY_PRINT, 0, 0, "Print the commented default configuration and exit", 0},
    {"print-config-docs", KEY_PRINT_DOCS, 0, 0, "Print docs/configuration.md and exit", 0},
    {"model", KEY_MODEL, "DIR|NAME", 0, "The same as --model.path=: a folder, or a model that omnid-model fetched", 0},
    {0}};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case 'c':
        a->file = value;
        return 0;
    case KEY_CHECK:
        a->check = true;
        return 0;
    case KEY_PRINT:
        a->print_config = true;
        return 0;
    case KEY_PRINT_DOCS:
        a->print_docs = true;
        return 0;
    case KEY_MODEL:
        g_ptr_array_add(a->overrides, g_strdup_printf("model.path=%s", value));
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", value);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static char *help_filter(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_EXTRA)
        return (char *)text;
    char *rows = options_help_text();
    char *copy = strdup(rows); /* argp frees with free */
    g_free(rows);
    return copy;
}

/* --group.key=value is not argp's: takes those out of argv. */
static void take_overrides(arguments *a, int *argc, char **argv)
{
    int n = 1;
    for (int i = 1; i < *argc; i++) {
        const char *dot = strchr(argv[i], '.'), *equals = strchr(argv[i], '=');
        if (strncmp(argv[i], "--", 2) == 0 && dot && (!equals || dot < equals))
            g_ptr_array_add(a->overrides, g_strdup(argv[i] + 2));
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    *argc = n;
}

/* A URI as a person may see it, newly allocated: what is printed may end in a bug report. */
static char *show_source(const char *uri)
{
    size_t size = 2 * strlen(uri) + 64; /* the stars may be longer than what they stand for */
    char *text = g_malloc0(size);
    snprintf(text, size, "%s", uri[0] ? uri : "none");
    omnid_capture_hide_password(text, size);
    return text;
}

/* What the model and what is configured take of memory. An exit code: a model that is unsound or does not fit. */
static int check_memory(const settings *s)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    omnid_error err;
    omnid_model_report r;
    plan p;
    omnid_status status = plan_make(&p, s, &err);
    if (status == OMNID_OK)
        status = omnid_model_inspect(&r, s->model_path, &p.model, &err);
    plan_clear(&p);
    if (status != OMNID_OK) {
        fprintf(stderr, "omnid: %s\n", err.text);
        return EXIT_MODEL;
    }
    printf("memory: %.2f GiB (weights %.2f, KV of %d camera%s %.2f, work space %.2f); %s has %.2f GiB%s\n",
           (double)r.plan.need / gib, (double)r.plan.weights / gib, r.plan.n_timelines,
           r.plan.n_timelines == 1 ? "" : "s", (double)r.plan.kv / gib, (double)r.plan.work / gib, r.plan.device,
           (double)r.plan.limit / gib, r.plan.own ? " free" : "");
    if (omnid_model_fits(&r, &err) == OMNID_OK)
        return EXIT_OK;
    fprintf(stderr, "omnid: %s\n", err.text);
    return EXIT_MODEL;
}

static int print_check(const settings *s)
{
    omnid_error err;
    endpoint e;
    if (settings_check_model(s, &err) != OMNID_OK) {
        fprintf(stderr, "omnid: %s\n", err.text);
        return EXIT_MODEL;
    }
    if (settings_check(s, &err) != OMNID_OK || endpoint_choose(&e, s->daemon.omnid_runtime_dir, &err) != OMNID_OK) {
        fprintf(stderr, "omnid: %s\n", err.text);
        return EXIT_CONFIGURATION;
    }
    printf("configuration: %s\n", s->file ? s->file : "none, all defaults");
    printf("model: %s%s\n", s->model_path, s->demo_model ? " (the demo model)" : "");
    printf("sockets: %s and %s\n", e.ask, e.events);
    for (size_t i = 0; i < s->n_cameras; i++) {
        const options_camera *c = &s->cameras[i];
        char *video = show_source(c->video), *audio = show_source(c->audio);
        printf("camera %s: video %s, audio %s, window %lld s, modes %s, retention %s, policy %s%s\n", c->name, video,
               audio, (long long)c->window_s, c->modes, c->retention, c->policy,
               s->demo_camera ? " (no camera is configured)" : "");
        g_free(video);
        g_free(audio);
    }
    return check_memory(s);
}

/* Blocks the signals that stop the daemon in this thread and all that it starts; they are read from the descriptor. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void *stop_camera(void *user)
{
    camera_stop(user);
    return NULL;
}

/* Stops cameras and engine side by side. False when something did not stop in time. */
static bool stop_parts(worker *w, camera *const *cameras, size_t n_cameras)
{
    pthread_t *threads = g_new0(pthread_t, n_cameras);
    bool *started = g_new0(bool, n_cameras);
    int64_t until_us = omnid_clock_us() + MAIN_STOP_MS * 1000LL;
    for (size_t i = 0; i < n_cameras; i++) {
        started[i] = pthread_create(&threads[i], NULL, stop_camera, cameras[i]) == 0;
        if (started[i])
            pthread_setname_np(threads[i], "omnid-stop");
    }
    bool stopped = !w || worker_stop(w, MAIN_STOP_MS);
    for (size_t i = 0; i < n_cameras; i++) {
        struct timespec deadline;
        int64_t left_us = until_us - omnid_clock_us();
        clock_gettime(CLOCK_REALTIME, &deadline);
        int64_t at_ns = deadline.tv_nsec + (left_us > 0 ? left_us : 0) * 1000;
        deadline.tv_sec += at_ns / 1000000000;
        deadline.tv_nsec = at_ns % 1000000000;
        if (started[i] ? pthread_timedjoin_np(threads[i], NULL, &deadline) != 0 : true)
            stopped = false;
    }
    g_free(threads);
    g_free(started);
    return stopped;
}

static int run(const reload *r, service *v, endpoint *e, int signal_fd)
{
    omnid_error err;
    const settings *s = r->live;
    outbox *o = NULL;
    server *sv = NULL;
    worker *w = NULL;
    int exit_code = EXIT_SYSTEM;
    camera **cameras = g_new0(camera *, s->n_cameras);
    if (outbox_create(&o, &err) == OMNID_OK) {
        for (size_t i = 0; i < s->n_cameras; i++)
            cameras[i] = camera_create(&s->cameras[i], &s->daemon, i, o);
        if (server_create(&sv, s, cameras, o, e, signal_fd, &err) == OMNID_OK &&
            worker_start(&w, s, cameras, o, &err) == OMNID_OK) {
            omnid_log(OMNID_LOG_INFO, "loading %s%s", s->model_path, s->demo_model ? " (the demo model)" : "");
            server_set_service(sv, v, r);
            exit_code = server_run(sv, w);
        } else {
            omnid_log(OMNID_LOG_ERROR, "%s", err.text);
        }
        server_destroy(&sv);
        if (!stop_parts(w, cameras, s->n_cameras)) {
            omnid_log(OMNID_LOG_WARNING, "something is still busy; leaving without it");
            endpoint_close(e);
            _exit(exit_code);
        }
        for (size_t i = 0; i < s->n_cameras; i++)
            camera_destroy(&cameras[i]);
        worker_destroy(&w);
    } else {
        omnid_log(OMNID_LOG_ERROR, "%s", err.text);
    }
    outbox_destroy(&o);
    g_free(cameras);
    return exit_code;
}

/* What is wrong before anything was started, to the journal and, in one line, to who asks the service manager. */
static int refuse(service *v, int exit_code, const omnid_error *err)
{
    omnid_log(OMNID_LOG_ERROR, "%s", err->text);
    service_stop(v, err->text);
    return exit_code;
}

static int start(const reload *r, service *v)
{
    omnid_error err;
    endpoint e;
    if (settings_check_model(r->live, &err) != OMNID_OK)
        return refuse(v, EXIT_MODEL, &err);
    if (settings_check(r->live, &err) != OMNID_OK)
        return refuse(v, EXIT_CONFIGURATION, &err);
    omnid_status status = endpoint_open(&e, r->live->daemon.omnid_runtime_dir, &err);
    if (status != OMNID_OK) {
        endpoint_close(&e);
        return refuse(v,
                      status == OMNID_BUSY       ? EXIT_TAKEN
                      : status == OMNID_ARGUMENT ? EXIT_CONFIGURATION
                                                 : EXIT_SYSTEM,
                      &err);
    }
    int signal_fd = open_signals();
    int exit_code = signal_fd < 0 ? EXIT_SYSTEM : run(r, v, &e, signal_fd);
    endpoint_close(&e);
    if (signal_fd >= 0)
        close(signal_fd);
    return exit_code;
}

/* With the configuration read: checks it, or runs by it. */
static int run_settings(const arguments *a, settings *s)
{
    if (a->check)
        return print_check(s);
    const reload r = {s, a->file, (const char *const *)a->overrides->pdata, a->overrides->len};
    service *v = service_create();
    service_log_open(s->daemon.omnid_log);
    int exit_code = start(&r, v);
    service_destroy(&v);
    return exit_code;
}

int main(int argc, char **argv)
{
    arguments a = {.overrides = g_ptr_array_new_with_free_func(g_free)};
    const struct argp argp = {
        argp_options,
        parse_option,
        NULL,
        "Watches cameras, listens to microphones, and answers questions about the last minute.\v"
        "SIGHUP reads the configuration again; SIGTERM and SIGINT stop. "
        "Exit status: 0 stopped by a signal, 2 usage, 3 configuration or source, 66 no usable model, "
        "69 another omnid has the sockets, 70 the engine failed, 71 the system refused something.",
        NULL,
        help_filter,
        NULL};
    settings s;
    omnid_error err;
    argp_err_exit_status = EXIT_USAGE;
    take_overrides(&a, &argc, argv);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    if (a.print_config || a.print_docs) {
        (a.print_docs ? options_print_docs : options_print_config)(stdout);
        g_ptr_array_unref(a.overrides);
        return EXIT_OK;
    }
    int exit_code = EXIT_CONFIGURATION;
    if (settings_load(&s, a.file, (const char *const *)a.overrides->pdata, a.overrides->len, &err) != OMNID_OK) {
        fprintf(stderr, "omnid: %s\n", err.text);
    } else {
        exit_code = run_settings(&a, &s);
        settings_clear(&s);
    }
    g_ptr_array_unref(a.overrides);
    return exit_code;
}
