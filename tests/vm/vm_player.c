/* vm_player.c: an ALSA stream of silence and clicks. A click's moment is the time of writing it plus what the device still
 * has to play before it (snd_pcm_delay). */
#include "tests/vm/vm_player.h"
#include "base/base.h"

#include <alsa/asoundlib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { RATE = 48000, CHANNELS = 2, PERIOD = 480, LATENCY_US = 80000, CLICK = 240 };

struct vm_player {
    snd_pcm_t *pcm;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool wanted, failed;
    int64_t click_us; /* of the last click; 0 = none yet */
};

/* 5 ms of 1 kHz, starting at its loudest: its first sample is its onset. */
static void fill(int16_t *block, bool click)
{
    for (int i = 0; i < PERIOD; i++)
        for (int c = 0; c < CHANNELS; c++)
            block[i * CHANNELS + c] = click && i < CLICK ? ((i / (RATE / 2000)) % 2 ? -16000 : 16000) : 0;
}

/* Under no lock. */
static void write_block(vm_player *p, bool click)
{
    int16_t block[PERIOD * CHANNELS];
    fill(block, click);
    snd_pcm_sframes_t delay = 0;
    snd_pcm_delay(p->pcm, &delay);
    int64_t now_us = omnid_clock_us();
    snd_pcm_sframes_t n = snd_pcm_writei(p->pcm, block, PERIOD);
    bool written = n == PERIOD;
    if (n < 0)
        n = snd_pcm_recover(p->pcm, (int)n, 1);
    pthread_mutex_lock(&p->lock);
    if (click && written) {
        p->click_us = now_us + (int64_t)delay * 1000000 / RATE;
        p->wanted = false;
    }
    p->failed = n < 0;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void *play(void *data)
{
    vm_player *p = data;
    pthread_setname_np(pthread_self(), "player");
    while (!atomic_load(&p->stop) && !p->failed) {
        /* A click only while the queue is as full as it gets: after an underrun the delay is not to be trusted. */
        bool full = snd_pcm_avail_update(p->pcm) < 2 * PERIOD;
        pthread_mutex_lock(&p->lock);
        bool click = p->wanted && full;
        pthread_mutex_unlock(&p->lock);
        write_block(p, click);
    }
    return NULL;
}

vm_player *vm_player_start(const char *device)
{
    vm_player *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    int status = snd_pcm_open(&p->pcm, device, SND_PCM_STREAM_PLAYBACK, 0);
    if (status == 0)
        status = snd_pcm_set_params(p->pcm, SND_PCM_FORMAT_S16_LE, SND_PCM_ACCESS_RW_INTERLEAVED, CHANNELS, RATE, 1,
                                    LATENCY_US);
    if (status < 0) {
        fprintf(stderr, "vm-sync: %s: %s\n", device, snd_strerror(status));
        if (p->pcm)
            snd_pcm_close(p->pcm);
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    pthread_create(&p->thread, NULL, play, p);
    return p;
}

int64_t vm_player_click(vm_player *p)
{
    pthread_mutex_lock(&p->lock);
    p->wanted = true;
    while (p->wanted && !p->failed)
        pthread_cond_wait(&p->changed, &p->lock);
    int64_t t_us = p->failed ? -1 : p->click_us;
    pthread_mutex_unlock(&p->lock);
    return t_us;
}

void vm_player_stop(vm_player **p)
{
    if (!*p)
        return;
    atomic_store(&(*p)->stop, true);
    pthread_join((*p)->thread, NULL);
    snd_pcm_close((*p)->pcm);
    pthread_cond_destroy(&(*p)->changed);
    pthread_mutex_destroy(&(*p)->lock);
    free(*p);
    *p = NULL;
}
