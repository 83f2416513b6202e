/* http_server.c: a web server for tests, with faults: http_server ROOT PORT_FILE LOG [FAULT…]
 *
 * Serves the files below ROOT on 127.0.0.1, a process a connection, until it is killed; its port is written to PORT_FILE. LOG
 * gets one line a request: "GET PATH range=… auth=… host=…". A URL's host (from clients that take it for a proxy) and its
 * query are ignored. A fault is MATCH:KIND[:ARGUMENT[:COUNT]]: requests whose path holds MATCH suffer it, the first COUNT of
 * them (0 or nothing: all). MATCH "" is every path. Of several the first that is not used up counts.
 *
 *   drop:N          the connection ends after N bytes of the body
 *   stall:N         nothing more comes after N bytes
 *   length:D        Content-Length is D bytes too large (the connection ends then), or too small
 *   more:N          N bytes too many, without a Content-Length
 *   corrupt:N       byte N of the file is another one
 *   norange:        Range is ignored
 *   badrange:       Content-Range names another start, and so do the bytes
 *   total:D         Content-Range says a file D bytes longer
 *   redirect:URL    302 to URL and the path
 *   status:CODE[,HEADER]   an error, with one more header line
 *   auth:TOKEN      401 without this bearer token
 *   slow:RATE       bytes a second
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FAULTS = 16, BLOCK = 1 << 14 };

typedef struct {
    const char *match, *kind, *argument;
    long count; /* 0 = for ever */
} fault;

typedef struct {
    char path[2048], range[64], auth[256], host[128];
    bool close;
} request;

static fault faults[MAX_FAULTS];
static int n_faults;
static _Atomic long *used; /* [n_faults] shared by the processes */
static const char *root, *log_path;

static void die(const char *what)
{
    perror(what);
    exit(99);
}

/* ------------------------------------------------------------------ faults */

static char *cut(char **text)
{
    char *word = *text, *colon = strchr(word, ':');
    *text = colon ? colon + 1 : word + strlen(word);
    if (colon)
        *colon = '\0';
    return word;
}

/* The count is behind the last colon when it is a number and something is before it; URLs have colons of their own. */
static void add_fault(char *text)
{
    if (n_faults == MAX_FAULTS)
        exit(2);
    fault *f = &faults[n_faults++];
    f->match = cut(&text);
    f->kind = cut(&text);
    f->argument = text;
    char *last = strrchr(text, ':');
    if (last && last[1] && strspn(last + 1, "0123456789") == strlen(last + 1) && !strstr(last, "//") &&
        strcmp(f->kind, "redirect") != 0) {
        *last = '\0';
        f->count = atol(last + 1);
    }
}

static const fault *find_fault(const request *r)
{
    for (int i = 0; i < n_faults; i++) {
        const fault *f = &faults[i];
        bool right = strcmp(f->kind, "auth") == 0 && strncmp(r->auth, "Bearer ", 7) == 0 &&
                     strcmp(r->auth + 7, f->argument) == 0;
        if (!strstr(r->path, f->match) || right)
            continue;
        if (f->count && atomic_fetch_add(&used[i], 1) >= f->count)
            continue;
        return f;
    }
    return NULL;
}

static bool is(const fault *f, const char *kind)
{
    return f && strcmp(f->kind, kind) == 0;
}

/* ------------------------------------------------------------------ answering */

static bool send_all(int fd, const void *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, (const char *)data + at, n - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += (size_t)sent;
    }
    return true;
}

static bool send_text(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool send_text(int fd, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return send_all(fd, text, (size_t)n);
}

static void nap(double seconds)
{
    nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
}

/* Bytes first .. last-1 of the file; false = the connection must end. */
static bool send_body(int fd, FILE *file, int64_t first, int64_t last, const fault *f)
{
    char block[BLOCK];
    int64_t limit = is(f, "drop") || is(f, "stall") ? atoll(f->argument) : INT64_MAX / 2;
    int64_t wrong = is(f, "corrupt") ? atoll(f->argument) : -1;
    double rate = is(f, "slow") ? atof(f->argument) : 0;
    fseeko(file, first, SEEK_SET);
    for (int64_t at = first; at < last;) {
        int64_t n = last - at < BLOCK ? last - at : BLOCK;
        if (n > first + limit - at)
            n = first + limit - at;
        if (n <= 0 || fread(block, 1, (size_t)n, file) != (size_t)n)
            break;
        if (wrong >= at && wrong < at + n)
            block[wrong - at] ^= 1;
        if (!send_all(fd, block, (size_t)n))
            return false;
        at += n;
        if (rate > 0)
            nap((double)n / rate);
    }
    if (is(f, "stall"))
        nap(3600);
    return !is(f, "drop");
}

static bool send_file(int fd, const request *r, FILE *file, int64_t size, const fault *f)
{
    int64_t first = 0;
    bool part = r->range[0] && !is(f, "norange") && sscanf(r->range, "bytes=%" SCNd64 "-", &first) == 1;
    if (part && first >= size)
        return send_text(
            fd, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nContent-Range: bytes */%" PRId64 "\r\n\r\n",
            size);
    if (part && is(f, "badrange"))
        first /= 2;
    int64_t lie = is(f, "length") ? atoll(f->argument) : 0, total = size + (is(f, "total") ? atoll(f->argument) : 0);
    bool ok = send_text(fd, "HTTP/1.1 %s\r\nAccept-Ranges: bytes\r\n", part ? "206 Partial Content" : "200 OK");
    if (part)
        ok =
            ok && send_text(fd, "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64 "\r\n", first, size - 1, total);
    if (!is(f, "more"))
        ok = ok && send_text(fd, "Content-Length: %" PRId64 "\r\n\r\n", size - first + lie);
    else
        ok = ok && send_text(fd, "Connection: close\r\n\r\n");
    ok = ok && send_body(fd, file, first, size, f);
    for (long i = is(f, "more") ? atol(f->argument) : 0; i > 0 && ok; i--)
        ok = send_all(fd, "x", 1);
    return ok && lie == 0 && !is(f, "more");
}

static bool send_status(int fd, const char *argument)
{
    const char *header = strchr(argument, ',');
    return send_text(fd, "HTTP/1.1 %d Fault\r\nContent-Length: 2\r\n%s%s\r\n{}", atoi(argument),
                     header ? header + 1 : "", header ? "\r\n" : "");
}

static bool answer(int fd, const request *r)
{
    char path[4096];
    const fault *f = find_fault(r);
    struct stat st;
    if (is(f, "status"))
        return send_status(fd, f->argument);
    if (is(f, "auth"))
        return send_status(fd, "401,X-Error-Code: RepoNotFound");
    if (is(f, "redirect"))
        return send_text(fd, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s%s\r\n\r\n", f->argument, r->path);
    snprintf(path, sizeof path, "%s%s", root, r->path);
    FILE *file = strstr(r->path, "..") ? NULL : fopen(path, "rb");
    if (!file || fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode)) {
        if (file)
            fclose(file);
        return send_status(fd, "404,X-Error-Code: EntryNotFound");
    }
    bool ok = send_file(fd, r, file, st.st_size, f);
    fclose(file);
    return ok;
}

/* ------------------------------------------------------------------ asking */

static void take(char *out, size_t size, const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) == 0 && line[n] == ':')
        snprintf(out, size, "%.*s", (int)strcspn(line + n + 1 + strspn(line + n + 1, " "), "\r\n"),
                 line + n + 1 + strspn(line + n + 1, " "));
}

/* "%2F" and the like, in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        unsigned byte;
        if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static bool read_request(FILE *in, request *r)
{
    char line[4096], url[2048];
    memset(r, 0, sizeof *r);
    if (!fgets(line, sizeof line, in) || sscanf(line, "GET %2047s", url) != 1)
        return false;
    char *path = strstr(url, "://");
    path = path ? strchr(path + 3, '/') : url;
    if (!path)
        return false;
    path[strcspn(path, "?")] = '\0';
    snprintf(r->path, sizeof r->path, "%s", path);
    unescape(r->path);
    while (fgets(line, sizeof line, in) && line[0] != '\r') {
        take(r->range, sizeof r->range, line, "Range");
        take(r->auth, sizeof r->auth, line, "Authorization");
        take(r->host, sizeof r->host, line, "Host");
    }
    FILE *log = fopen(log_path, "ae");
    if (log) {
        fprintf(log, "GET %s range=%s auth=%s host=%s\n", r->path, r->range, r->auth, r->host);
        fclose(log);
    }
    return true;
}

static void serve(int fd)
{
    FILE *in = fdopen(dup(fd), "rb");
    request r;
    while (in && read_request(in, &r) && answer(fd, &r))
        continue;
    shutdown(fd, SHUT_RDWR);
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    root = argv[1];
    log_path = argv[3];
    for (int i = 4; i < argc; i++)
        add_fault(argv[i]);
    used = mmap(NULL, sizeof *used * MAX_FAULTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGCHLD, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    if (used == MAP_FAILED || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 16) != 0 || getsockname(listener, (struct sockaddr *)&address, &n) != 0)
        die("http_server");
    char temporary[1024];
    snprintf(temporary, sizeof temporary, "%s.new", argv[2]);
    FILE *port = fopen(temporary, "we");
    if (!port || fprintf(port, "%d\n", ntohs(address.sin_port)) < 0 || fclose(port) != 0 ||
        rename(temporary, argv[2]) != 0)
        die(argv[2]);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* a stalled one must not outlive the test */
            serve(fd);
        }
        close(fd);
    }
}
