/* mel.c: Whisper's log-mel by KissFFT. A frame of 400 windowed samples is one real transform of length 400 (2^4 5^2: KissFFT
 * has radix 4 and 5), its power goes through triangular filters that touch a few bins each. */
#include "engine/mel.h"

#include <kiss_fftr.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_BINS = MEL_N_FFT / 2 + 1, SAMPLE_RATE = 16000 };

struct mel {
    kiss_fftr_cfg fft;
    float window[MEL_N_FFT];
    float filters[MEL_N_BINS][N_BINS];
    int first[MEL_N_BINS], end[MEL_N_BINS]; /* bins where a filter is not zero */
    float padded[MEL_LEFT + MEL_SEGMENT_SAMPLES + MEL_N_FFT];
};

/* Slaney's scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998; librosa's default). */
static double mel_to_hz(double x)
{
    const double step = 200.0 / 3.0, knee = 15.0; /* 1000 Hz */
    return x < knee ? x * step : 1000.0 * exp((x - knee) * (log(6.4) / 27.0));
}

static double hz_to_mel(double hz)
{
    return hz < 1000.0 ? hz * 3.0 / 200.0 : 15.0 + log(hz / 1000.0) * (27.0 / log(6.4));
}

/* Triangles between neighbouring mel points, scaled to equal area (norm="slaney"); float64 until stored. */
static void make_filters(mel *m)
{
    double hz[MEL_N_BINS + 2], top = hz_to_mel(SAMPLE_RATE / 2.0);
    for (int i = 0; i < MEL_N_BINS + 2; i++)
        hz[i] = mel_to_hz(top * i / (MEL_N_BINS + 1));
    for (int i = 0; i < MEL_N_BINS; i++) {
        m->first[i] = N_BINS;
        for (int b = 0; b < N_BINS; b++) {
            double f = (double)b * SAMPLE_RATE / MEL_N_FFT;
            double up = (f - hz[i]) / (hz[i + 1] - hz[i]), down = (hz[i + 2] - f) / (hz[i + 2] - hz[i + 1]);
            double value = fmax(0.0, fmin(up, down)) * 2.0 / (hz[i + 2] - hz[i]);
            m->filters[i][b] = (float)value;
            if (value > 0.0) {
                m->first[i] = b < m->first[i] ? b : m->first[i];
                m->end[i] = b + 1;
            }
        }
    }
}

omnid_status mel_create(mel **out, omnid_error *err)
{
    *out = NULL;
    mel *m = calloc(1, sizeof *m);
    kiss_fftr_cfg fft = m ? kiss_fftr_alloc(MEL_N_FFT, 0, NULL, NULL) : NULL;
    if (!fft) {
        free(m);
        return omnid_fail(err, OMNID_NOMEM, "no memory for the log-mel front end");
    }
    m->fft = fft;
    for (int i = 0; i < MEL_N_FFT; i++)
        m->window[i] = (float)(0.5 - 0.5 * cos(2.0 * M_PI * i / MEL_N_FFT));
    make_filters(m);
    *out = m;
    return OMNID_OK;
}

void mel_destroy(mel **m)
{
    if (!*m)
        return;
    kiss_fftr_free((*m)->fft);
    free(*m);
    *m = NULL;
}

int mel_n_frames(int n_samples)
{
    return n_samples <= 0 ? 0 : (n_samples + MEL_HOP - 1) / MEL_HOP;
}

int mel_n_encoder_frames(int n_frames)
{
    return n_frames <= 0 ? 0 : (n_frames - 1) / 2 + 1;
}

int mel_n_tokens(int n_frames)
{
    int f = mel_n_encoder_frames(n_frames);
    return f < 2 ? 0 : (f - 2) / 2 + 1;
}

/* Context, segment, awaited samples and zeros side by side. At the start of a stream the context is the segment's own
 * samples turned round, without the edge one, as far as there are any. */
static void lay_out(mel *m, const float *left, const float *samples, int n_samples, const float *ahead, int n_ahead)
{
    memset(m->padded, 0, sizeof m->padded);
    float *x = m->padded + MEL_LEFT;
    if (n_samples > 0)
        memcpy(x, samples, (size_t)n_samples * sizeof *x);
    if (n_ahead > 0)
        memcpy(x + n_samples, ahead, (size_t)n_ahead * sizeof *x);
    if (left) {
        memcpy(m->padded, left, MEL_LEFT * sizeof *x);
        return;
    }
    for (int i = 1; i <= MEL_LEFT; i++)
        x[-i] = x[i];
}

/* One row of log10 values from the 400 samples at x; returns its maximum. */
static float log_frame(const mel *m, float out[MEL_N_BINS], const float *x)
{
    float in[MEL_N_FFT], power[N_BINS], max = -10.0f;
    kiss_fft_cpx bins[N_BINS];
    for (int i = 0; i < MEL_N_FFT; i++)
        in[i] = x[i] * m->window[i];
    kiss_fftr(m->fft, in, bins);
    for (int b = 0; b < N_BINS; b++)
        power[b] = bins[b].r * bins[b].r + bins[b].i * bins[b].i;
    for (int i = 0; i < MEL_N_BINS; i++) {
        float sum = 0.0f;
        for (int b = m->first[i]; b < m->end[i]; b++)
            sum += m->filters[i][b] * power[b];
        out[i] = log10f(fmaxf(sum, 1e-10f));
        max = fmaxf(max, out[i]);
    }
    return max;
}

void mel_log10(mel *m, float *out, float *max, const float *left, const float *samples, int n_samples,
               const float *ahead, int n_ahead)
{
    lay_out(m, left, samples, n_samples, ahead, n_ahead);
    *max = -10.0f;
    for (int i = 0; i < mel_n_frames(n_samples); i++)
        *max = fmaxf(*max, log_frame(m, out + (size_t)i * MEL_N_BINS, m->padded + (size_t)i * MEL_HOP));
}

void mel_normalise(float *values, size_t n, float reference)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (fmaxf(values[i], reference - 8.0f) + 4.0f) / 4.0f;
}
