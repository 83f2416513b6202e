/* http.h: getting bytes from a server that may drop, stall, lie or send elsewhere: libcurl, with retries and resuming. */
#ifndef OMNID_MODEL_HTTP_H
#define OMNID_MODEL_HTTP_H

#include "tools/model/tool.h"

typedef struct http http;

typedef struct {
    const char *token;    /* sent to the hub's own host only, never where it redirects to; NULL = none; borrowed */
    bool https_only;      /* do not follow a redirection to http */
    int n_retries;        /* tries in a row that bring no new byte */
    double retry_delay_s; /* before the first of them; doubles each time, up to a minute */
    int stall_s;          /* so long without a byte is a failure */
    /* A line for the person who waits ("…: again in 2 s"); never NULL. */
    void (*say)(void *user, const char *line);
    /* Called a few times a second while a transfer runs; may be NULL. */
    void (*tick)(void *user);
    void *user;
} http_settings;

/* Where a file's bytes go. */
typedef struct {
    void *user;
    int64_t size; /* that the file must have */
    /* Bytes there now: the transfer goes on behind them. */
    int64_t (*have)(void *user);
    /* The server starts at the file's beginning: forget what is there. */
    model_exit (*restart)(void *user, omnid_error *err);
    model_exit (*append)(void *user, const void *data, size_t n, omnid_error *err);
} http_sink;

model_exit http_create(http **out, const http_settings *settings, omnid_error *err);
void http_destroy(http **h);

/* A small text of at most max bytes, terminated; *text g_free'd by the caller. what: its name for sentences. */
model_exit http_get_text(http *h, const char *url, const char *what, size_t max, char **text, size_t *n,
                         omnid_error *err);
/* Until the sink has sink->size bytes. */
model_exit http_get_file(http *h, const char *url, const char *what, const http_sink *sink, omnid_error *err);

#endif
