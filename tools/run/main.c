/* main.c: omnid-run, the engine without the daemon. */
#include "tools/run/run.h"

#include <stdio.h>

/* The engine's log: warnings and errors are a person's business, the rest is not asked for here. */
static void log_line(void *user, omnid_log_level level, const char *line)
{
    (void)user;
    if (level <= OMNID_LOG_WARNING)
        fprintf(stderr, "omnid-run: %s\n", line);
}

int main(int argc, char **argv)
{
    run_options o;
    omnid_error err = {0};
    options_parse(&o, argc, argv);
    omnid_log_set(OMNID_LOG_WARNING, log_line, NULL);
    omnid_status st = o.tokenize ? tokenize_file(o.tokenizer, o.tokenize, &err) : session_run(&o, &err);
    options_free(&o);
    if (st == OMNID_OK && fflush(stdout) != 0)
        st = omnid_fail(&err, OMNID_IO, "cannot write to standard output");
    if (st != OMNID_OK)
        fprintf(stderr, "omnid-run: %s\n", err.text);
    return st == OMNID_OK ? RUN_OK : RUN_FAILED;
}
