/* outbox.c: a mutex, two arrays and an eventfd. */
#include "daemon/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct outbox {
    pthread_mutex_t lock;
    int fd;
    GPtrArray *answers, *news;
    int64_t n_dropped;
};

static omnid_result *result_copy(const omnid_result *r)
{
    omnid_result *copy = g_new(omnid_result, 1);
    *copy = *r;
    copy->text = g_strdup(r->text ? r->text : "");
    copy->stop_reason = g_strdup(r->stop_reason ? r->stop_reason : "");
    copy->policy = g_strdup(r->policy ? r->policy : "");
    copy->tokens = NULL;
    copy->layers = g_memdup2(r->layers, sizeof *r->layers * (gsize)r->n_layers);
    copy->evidence = g_memdup2(r->evidence, sizeof *r->evidence * (gsize)r->n_evidence);
    copy->choice_logprobs = g_memdup2(r->choice_logprobs, sizeof *r->choice_logprobs * (gsize)r->n_choices);
    copy->trace = NULL;
    return copy;
}

static void result_free(omnid_result *r)
{
    if (!r)
        return;
    g_free((void *)r->text);
    g_free((void *)r->stop_reason);
    g_free((void *)r->policy);
    g_free((void *)r->layers);
    g_free((void *)r->evidence);
    g_free((void *)r->choice_logprobs);
    g_free(r);
}

static void answer_free(void *data)
{
    outbox_answer *a = data;
    g_string_free(a->text, TRUE);
    result_free(a->result);
    g_free(a);
}

omnid_status outbox_create(outbox **out, omnid_error *err)
{
    *out = NULL;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return omnid_fail(err, OMNID_IO, "eventfd: %s", strerror(errno));
    outbox *o = g_new0(outbox, 1);
    pthread_mutex_init(&o->lock, NULL);
    o->fd = fd;
    o->answers = g_ptr_array_new_with_free_func(answer_free);
    o->news = g_ptr_array_new_with_free_func(g_free);
    *out = o;
    return OMNID_OK;
}

void outbox_destroy(outbox **o)
{
    if (!*o)
        return;
    g_ptr_array_unref((*o)->answers);
    g_ptr_array_unref((*o)->news);
    close((*o)->fd);
    pthread_mutex_destroy(&(*o)->lock);
    g_clear_pointer(o, g_free);
}

int outbox_fd(const outbox *o)
{
    return o->fd;
}

void outbox_wake(outbox *o)
{
    uint64_t one = 1;
    ssize_t n = write(o->fd, &one, sizeof one); /* fails only when the counter is full: then it is readable anyway */
    (void)n;
}

/* The answer's entry, made when it has none; the lock is held. Few answers are open, so a walk is enough. */
static outbox_answer *entry_of(outbox *o, uint64_t answer)
{
    for (guint i = o->answers->len; i > 0; i--) {
        outbox_answer *a = o->answers->pdata[i - 1];
        if (a->answer == answer)
            return a;
    }
    outbox_answer *a = g_new0(outbox_answer, 1);
    a->answer = answer;
    a->text = g_string_new(NULL);
    g_ptr_array_add(o->answers, a);
    return a;
}

void outbox_add_text(outbox *o, uint64_t answer, const char *text, size_t n)
{
    pthread_mutex_lock(&o->lock);
    outbox_answer *a = entry_of(o, answer);
    if (a->first_text_us == 0)
        a->first_text_us = omnid_clock_us();
    g_string_append_len(a->text, text, (gssize)n);
    pthread_mutex_unlock(&o->lock);
    outbox_wake(o);
}

void outbox_add_result(outbox *o, uint64_t answer, const omnid_result *r)
{
    omnid_result *copy = result_copy(r);
    pthread_mutex_lock(&o->lock);
    outbox_answer *a = entry_of(o, answer);
    result_free(a->result);
    a->result = copy;
    a->state = OUTBOX_DONE;
    pthread_mutex_unlock(&o->lock);
    outbox_wake(o);
}

void outbox_add_error(outbox *o, uint64_t answer, const omnid_error *error)
{
    pthread_mutex_lock(&o->lock);
    outbox_answer *a = entry_of(o, answer);
    a->error = *error;
    a->state = OUTBOX_FAILED;
    pthread_mutex_unlock(&o->lock);
    outbox_wake(o);
}

void outbox_add_news(outbox *o, const outbox_news *news)
{
    pthread_mutex_lock(&o->lock);
    if (o->news->len >= OUTBOX_MAX_NEWS) {
        g_ptr_array_remove_index(o->news, 0);
        o->n_dropped++;
    }
    g_ptr_array_add(o->news, g_memdup2(news, sizeof *news));
    pthread_mutex_unlock(&o->lock);
    outbox_wake(o);
}

void outbox_take(outbox *o, GPtrArray **answers, GPtrArray **news, int64_t *n_dropped)
{
    uint64_t count;
    ssize_t n = read(o->fd, &count, sizeof count); /* before the lock: a later write makes the fd readable again */
    (void)n;
    GPtrArray *empty_answers = g_ptr_array_new_with_free_func(answer_free);
    GPtrArray *empty_news = g_ptr_array_new_with_free_func(g_free);
    pthread_mutex_lock(&o->lock);
    *answers = o->answers;
    *news = o->news;
    *n_dropped = o->n_dropped;
    o->answers = empty_answers;
    o->news = empty_news;
    o->n_dropped = 0;
    pthread_mutex_unlock(&o->lock);
}
