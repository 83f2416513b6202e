/* http.c: one transfer is a loop of tries; each try asks for what is still missing. What a try means is judged by what it
 * brought: new bytes start the count of tries anew, so a line that drops every minute still gets there. */
#include "tools/model/http.h"

#include <curl/curl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_S = 20, MAX_REDIRECTS = 8, LONGEST_DELAY_S = 60, LONGEST_WAIT_S = 600 };

struct http {
    CURL *curl;
    struct curl_slist *headers;
    http_settings settings;
};

/* One try. */
typedef struct {
    http *h;
    const http_sink *sink;
    const char *what;
    int64_t offset;                          /* asked for */
    int64_t range_start, range_total;        /* of Content-Range; -1 = not said */
    bool started;                            /* the first byte of a good body has come */
    char error_code[64], error_message[160]; /* X-Error-Code and X-Error-Message of the hub */
    /* Why the body was not taken: retry, or an end. */
    model_exit failed;
    bool retry;
    omnid_error err;
} attempt;

/* ------------------------------------------------------------------ making */

static void only_web(CURL *curl, bool https_only)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, https_only ? "https" : "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS,
                     https_only ? (long)CURLPROTO_HTTPS : (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static int on_tick(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    http *h = user;
    if (h->settings.tick)
        h->settings.tick(h->settings.user);
    return tool_stop != 0;
}

static void set_options(http *h)
{
    CURL *c = h->curl;
    only_web(c, h->settings.https_only);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    /* The token is an Authorization header, which libcurl leaves out when a redirection leads to another host or port. */
    curl_easy_setopt(c, CURLOPT_UNRESTRICTED_AUTH, 0L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "omnid-model/" OMNID_VERSION);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)h->settings.stall_s);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
}

model_exit http_create(http **out, const http_settings *settings, omnid_error *err)
{
    http *h = g_new0(http, 1);
    h->settings = *settings;
    h->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    *out = h;
    if (!h->curl) {
        http_destroy(out);
        return model_fail(err, MODEL_SYSTEM, "libcurl does not start");
    }
    if (settings->token) {
        char *line = g_strdup_printf("Authorization: Bearer %s", settings->token);
        h->headers = curl_slist_append(NULL, line);
        g_free(line);
    }
    set_options(h);
    return MODEL_OK;
}

void http_destroy(http **h)
{
    if (!*h)
        return;
    curl_easy_cleanup((*h)->curl);
    curl_slist_free_all((*h)->headers);
    curl_global_cleanup();
    g_free(*h);
    *h = NULL;
}

/* ------------------------------------------------------------------ what the server says */

/* Copies the value when the header line has that name. */
static void take_header(const char *line, size_t n, const char *name, char *out, size_t size)
{
    size_t n_name = strlen(name);
    if (n <= n_name || g_ascii_strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
        return;
    size_t at = n_name + 1, end = n;
    while (at < end && (line[at] == ' ' || line[at] == '\t'))
        at++;
    while (end > at && (unsigned char)line[end - 1] <= ' ')
        end--;
    snprintf(out, size, "%.*s", (int)(end - at), line + at);
    for (char *c = out; *c; c++) /* it may go to a terminal */
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
}

static size_t on_header(char *line, size_t one, size_t n, void *user)
{
    attempt *a = user;
    char range[80] = "";
    n *= one;
    if (n >= 5 && strncmp(line, "HTTP/", 5) == 0) { /* of the answer that follows a redirection */
        a->range_start = a->range_total = -1;
        a->error_code[0] = a->error_message[0] = '\0';
    }
    take_header(line, n, "X-Error-Code", a->error_code, sizeof a->error_code);
    take_header(line, n, "X-Error-Message", a->error_message, sizeof a->error_message);
    take_header(line, n, "Content-Range", range, sizeof range);
    int64_t first = -1, last = -1, total = -1;
    if (range[0] && sscanf(range, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64, &first, &last, &total) >= 2) {
        a->range_start = first;
        a->range_total = total;
    }
    return n;
}

static bool reject(attempt *a, model_exit code, bool retry, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static bool reject(attempt *a, model_exit code, bool retry, const char *format, ...)
{
    va_list args;
    a->failed = code;
    a->retry = retry;
    va_start(args, format);
    vsnprintf(a->err.text, sizeof a->err.text, format, args);
    va_end(args);
    return false;
}

/* The first byte of a body that will be taken: does it start where it was asked to, is it as long as it should be? */
static bool begin_body(attempt *a, long status)
{
    const int64_t size = a->sink->size;
    curl_off_t announced = -1;
    curl_easy_getinfo(a->h->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (status == 206) {
        if (a->range_start != a->offset)
            return reject(a, MODEL_BAD_DATA, true, "%s: asked from byte %" PRId64 " on, the server sends from %" PRId64,
                          a->what, a->offset, a->range_start);
        if (size >= 0 && a->range_total >= 0 && a->range_total != size)
            return reject(a, MODEL_BAD_DATA, true, "%s: the hub lists %" PRId64 " bytes, the server has %" PRId64,
                          a->what, size, a->range_total);
        return true;
    }
    if (size >= 0 && announced >= 0 && announced != size)
        return reject(a, MODEL_BAD_DATA, true, "%s: the hub lists %" PRId64 " bytes, the server announces %" PRId64,
                      a->what, size, (int64_t)announced);
    a->failed = a->sink->restart(a->sink->user, &a->err);
    return a->failed == MODEL_OK;
}

static size_t on_body(char *data, size_t one, size_t n, void *user)
{
    attempt *a = user;
    long status = 0;
    n *= one;
    curl_easy_getinfo(a->h->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206)
        return n; /* an error's page; the headers say enough */
    if (!a->started && !begin_body(a, status))
        return 0;
    a->started = true;
    /* What a server sends past the end is left; the hash says whether the rest is the file. */
    size_t left = a->sink->size < 0 ? n : (size_t)(a->sink->size - a->sink->have(a->sink->user));
    size_t taken = n < left ? n : left;
    a->failed = a->sink->append(a->sink->user, data, taken, &a->err);
    return a->failed == MODEL_OK ? taken : 0;
}

/* ------------------------------------------------------------------ what a try means */

static bool is_passing(long status)
{
    return status == 408 || status == 425 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

/* 401, 403, 404 and the like, with the hub's own words for it. */
static void judge_refusal(attempt *a, long status)
{
    const char *why = a->error_message[0] ? a->error_message : a->error_code;
    bool has_token = a->h->settings.token != NULL;
    const char *colon = why[0] ? ": " : "";
    if (strcmp(a->error_code, "GatedRepo") == 0)
        reject(a, MODEL_REFUSED, false, "%s: the model is gated%s%s. Accept its terms on its page on the hub, then %s",
               a->what, colon, why,
               has_token ? "run this again; the token is of another account if that does not help"
                         : "set HF_TOKEN to a token of your account");
    else if (strcmp(a->error_code, "RepoNotFound") == 0 || (status == 401 && !a->error_code[0] && !has_token))
        reject(a, has_token ? MODEL_MISSING : MODEL_REFUSED, false,
               "%s: the hub shows no such model%s (HTTP %ld%s%s). Check the name%s", a->what,
               has_token ? " to this token" : "", status, colon, why,
               has_token ? "" : "; for a private or gated model set HF_TOKEN");
    else if (status == 401 || status == 403 || status == 407)
        reject(a, MODEL_REFUSED, false, "%s: the %s refuses%s (HTTP %ld%s%s). %s", a->what,
               status == 407 ? "proxy" : "hub", has_token && status != 407 ? " this token" : "", status, colon, why,
               status == 407 ? "Put user and password into the proxy's URL"
               : has_token   ? "Make a new token with read access and set HF_TOKEN"
                             : "Set HF_TOKEN to a token with read access");
    else if (status == 404 || status == 410)
        reject(a, MODEL_MISSING, false, "%s: the hub has no such %s (HTTP %ld%s%s)", a->what,
               strcmp(a->error_code, "RevisionNotFound") == 0 ? "revision" : "model or file", status, colon, why);
    else
        reject(a, MODEL_UNREACHABLE, false, "%s: the server answers HTTP %ld%s%s", a->what, status, colon, why);
}

static void judge_status(attempt *a, long status)
{
    if (status == 416) {
        omnid_error err;
        if (a->sink->restart(a->sink->user, &err) == MODEL_OK)
            reject(a, MODEL_BAD_DATA, true, "%s: the server has no byte %" PRId64 " (HTTP 416)", a->what, a->offset);
        else
            reject(a, MODEL_IO, false, "%s", err.text);
    } else if (is_passing(status)) {
        reject(a, status == 429 ? MODEL_BUSY : MODEL_UNREACHABLE, true, "%s: the server answers HTTP %ld%s", a->what,
               status, status == 429 ? " (too many requests)" : "");
    } else {
        judge_refusal(a, status);
    }
}

static void judge_network(attempt *a, CURLcode result, const char *detail)
{
    const char *why = detail[0] ? detail : curl_easy_strerror(result);
    switch (result) {
    case CURLE_TOO_MANY_REDIRECTS:
        reject(a, MODEL_UNREACHABLE, false, "%s: more than %d redirections", a->what, MAX_REDIRECTS);
        return;
    case CURLE_UNSUPPORTED_PROTOCOL:
        reject(a, MODEL_UNREACHABLE, false, "%s: sent on to a URL that is not %s: not followed", a->what,
               a->h->settings.https_only ? "https" : "http or https");
        return;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        reject(a, MODEL_UNREACHABLE, false, "%s: the server's certificate is not good: %s", a->what, why);
        return;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        reject(a, MODEL_UNREACHABLE, true, "%s: cannot reach the server: %s. Check network and proxy (https_proxy)",
               a->what, why);
        return;
    case CURLE_OPERATION_TIMEDOUT:
        reject(a, MODEL_UNREACHABLE, true, "%s: nothing came for %d s", a->what, a->h->settings.stall_s);
        return;
    case CURLE_OUT_OF_MEMORY:
        reject(a, MODEL_SYSTEM, false, "%s: out of memory", a->what);
        return;
    default:
        reject(a, MODEL_UNREACHABLE, true, "%s: the connection broke: %s", a->what, why);
    }
}

/* Sets a->failed, a->retry and the sentence; MODEL_OK when everything is there. */
static void judge(attempt *a, CURLcode result, const char *detail)
{
    long status = 0;
    curl_easy_getinfo(a->h->curl, CURLINFO_RESPONSE_CODE, &status);
    if (tool_stop) {
        reject(a, MODEL_INTERRUPTED, false, "interrupted");
        return;
    }
    if (a->failed != MODEL_OK) /* the body was not taken, and why is known */
        return;
    int64_t have = a->sink->have(a->sink->user);
    bool complete = a->sink->size >= 0 && have == a->sink->size;
    if (a->started && complete)
        return;
    if (result != CURLE_OK)
        judge_network(a, result, detail);
    else if (status == 200 && !a->started && a->sink->size == 0)
        return;
    else if (status != 200 && status != 206)
        judge_status(a, status);
    else if (a->sink->size >= 0)
        reject(a, MODEL_BAD_DATA, true, "%s: the hub lists %" PRId64 " bytes, the server ended after %" PRId64, a->what,
               a->sink->size, have);
}

static void run_attempt(attempt *a, const char *url)
{
    CURL *c = a->h->curl;
    char range[32], detail[CURL_ERROR_SIZE] = "";
    snprintf(range, sizeof range, "%" PRId64 "-", a->offset);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_RANGE, a->offset > 0 ? range : NULL);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    CURLcode result = curl_easy_perform(c);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    judge(a, result, detail);
}

/* Seconds to wait before try n (from 1): the server's own wish, or doubling with a little chance, so that many clients do
 * not come back together. */
static double delay_before(const http *h, int n)
{
    curl_off_t wish = 0;
    curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &wish);
    if (wish > 0)
        return (double)wish;
    double delay = h->settings.retry_delay_s;
    for (int i = 1; i < n && delay < LONGEST_DELAY_S; i++)
        delay *= 2;
    delay = delay < LONGEST_DELAY_S ? delay : LONGEST_DELAY_S;
    return delay * (0.75 + 0.5 * g_random_double());
}

static model_exit give_up(const attempt *a, int n, omnid_error *err)
{
    if (n > 1)
        return model_fail(err, a->failed, "%.380s. Gave up after %d tries; what has come is kept", a->err.text, n);
    return model_fail(err, a->failed, "%s", a->err.text);
}

static model_exit transfer(http *h, const char *url, const char *what, const http_sink *sink, omnid_error *err)
{
    int64_t best = sink->have(sink->user);
    for (int n = 1;; n++) {
        attempt a = {
            .h = h, .sink = sink, .what = what, .offset = sink->have(sink->user), .range_start = -1, .range_total = -1};
        if (sink->size > 0 && a.offset == sink->size)
            return MODEL_OK;
        run_attempt(&a, url);
        if (a.failed == MODEL_OK)
            return MODEL_OK;
        if (sink->have(sink->user) > best) {
            best = sink->have(sink->user);
            n = 1;
        }
        double delay = delay_before(h, n);
        if (!a.retry || n > h->settings.n_retries)
            return give_up(&a, a.retry ? n : 1, err);
        if (delay > LONGEST_WAIT_S)
            return model_fail(err, a.failed, "%s, and wants %s of patience. Run this again then", a.err.text,
                              tool_time_text(delay).text);
        char *line = g_strdup_printf("%s; again in %s (try %d of %d)", a.err.text, tool_time_text(delay).text, n + 1,
                                     h->settings.n_retries + 1);
        h->settings.say(h->settings.user, line);
        g_free(line);
        tool_sleep(delay);
        if (tool_stop)
            return model_fail(err, MODEL_INTERRUPTED, "interrupted");
    }
}

model_exit http_get_file(http *h, const char *url, const char *what, const http_sink *sink, omnid_error *err)
{
    return transfer(h, url, what, sink, err);
}

/* ------------------------------------------------------------------ a text */

typedef struct {
    GString *text;
    size_t max;
    const char *what;
} text_sink;

static int64_t text_have(void *user)
{
    (void)user;
    return 0; /* a text is never gone on with */
}

static model_exit text_restart(void *user, omnid_error *err)
{
    (void)err;
    g_string_truncate(((text_sink *)user)->text, 0);
    return MODEL_OK;
}

static model_exit text_append(void *user, const void *data, size_t n, omnid_error *err)
{
    text_sink *t = user;
    if (n > t->max - t->text->len)
        return model_fail(err, MODEL_BAD_DATA, "%s: want at most %s, the server sends more", t->what,
                          tool_size_text(t->max).text);
    g_string_append_len(t->text, data, (gssize)n);
    return MODEL_OK;
}

model_exit http_get_text(http *h, const char *url, const char *what, size_t max, char **text, size_t *n,
                         omnid_error *err)
{
    text_sink t = {g_string_new(NULL), max, what};
    const http_sink sink = {&t, -1, text_have, text_restart, text_append};
    model_exit code = transfer(h, url, what, &sink, err);
    *text = NULL;
    *n = t.text->len;
    if (code == MODEL_OK)
        *text = g_string_free(t.text, FALSE);
    else
        g_string_free(t.text, TRUE);
    return code;
}
