/* audio_encoder.c: Whisper-like tower of Qwen2.5-Omni over the mel frames of one segment: two convolutions of width 3
 * (the second of stride 2), sinusoids, pre-norm layers attending within the segment, mean of pairs, norm, projection. */
#include "engine/encoders.h"

omnid_status audio_run_front(encoder_work *w, audio_run *a, const float *mel, int n_mel, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    const kernels_ops *ops = m->ops;
    int n_mels = m->config.audio.n_mels, d = m->config.audio.hidden, n_frames = (n_mel - 1) / 2 + 1;
    OMNID_TRY(encoder_reserve(w, &a->mel, (int64_t)n_mel * n_mels, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &a->x, (int64_t)n_frames * d, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &a->saliency, 2 * (int64_t)n_frames, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &w->qkv, (int64_t)n_mel * d, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &w->wide, (int64_t)n_mel * 3 * (d > n_mels ? d : n_mels), m->activation, err));
    a->n_mel = n_mel;
    a->n_frames = n_frames;
    a->n_tokens = n_frames < 2 ? 0 : (n_frames - 2) / 2 + 1;

    tensor in = buffer_2d(&a->mel, KERNELS_F32, n_mel, n_mels);
    tensor windows = buffer_2d(&w->wide, m->activation, n_mel, 3 * (int64_t)n_mels);
    tensor middle = buffer_2d(&w->qkv, KERNELS_F32, n_mel, d);
    tensor x = buffer_2d(&a->x, KERNELS_F32, n_frames, d);
    kernels_epilogue gelu = {.activation = KERNELS_GELU};
    ops->upload(w->stream, a->mel.data, mel, (size_t)n_mel * (size_t)n_mels * sizeof *mel);
    ops->im2col3(w->stream, &windows, &in, 1);
    ops->linear(w->stream, &middle, &windows, m->audio.conv1, &gelu);
    windows = buffer_2d(&w->wide, m->activation, n_frames, 3 * (int64_t)d);
    ops->im2col3(w->stream, &windows, &middle, 2);
    ops->linear(w->stream, &x, &windows, m->audio.conv2, &gelu);
    tensor positions = tensor_rows(&m->audio.positions, 0, n_frames);
    ops->add(w->stream, &x, &positions);
    return kernels_stream_status(w->stream, err);
}

omnid_status audio_run_layer(encoder_work *w, audio_run *a, int layer, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    const kernels_ops *ops = m->ops;
    const audio_config *c = &m->config.audio;
    const audio_layer *l = &m->audio.layers[layer];
    int n = a->n_frames, d = c->hidden;
    OMNID_TRY(encoder_reserve(w, &w->norm, (int64_t)n * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->qkv, (int64_t)n * 3 * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->attn, (int64_t)n * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->wide, (int64_t)n * c->intermediate, m->activation, err));

    tensor x = buffer_2d(&a->x, KERNELS_F32, n, d), norm = buffer_2d(&w->norm, m->activation, n, d);
    tensor qkv = buffer_2d(&w->qkv, m->activation, n, 3 * (int64_t)d), attn = buffer_2d(&w->attn, m->activation, n, d);
    tensor wide = buffer_2d(&w->wide, m->activation, n, c->intermediate);
    tensor saliency = tensor_1d(a->saliency.data, KERNELS_F32, n);
    kernels_epilogue residual = {.residual = &x};
    int32_t span[2] = {0, n};
    ops->layernorm(w->stream, &norm, &x, &l->norm1_w, &l->norm1_b, c->norm_eps);
    ops->linear(w->stream, &qkv, &norm, l->qkv, NULL);
    ops->encoder_attention(w->stream, &attn, &qkv, c->n_heads, d / c->n_heads, span, 1,
                           layer == c->n_layers - 1 ? &saliency : NULL);
    ops->linear(w->stream, &x, &attn, l->out, &residual);
    ops->layernorm(w->stream, &norm, &x, &l->norm2_w, &l->norm2_b, c->norm_eps);
    ops->linear(w->stream, &wide, &norm, l->fc1, &(kernels_epilogue){.activation = KERNELS_GELU});
    ops->linear(w->stream, &x, &wide, l->fc2, &residual);
    return kernels_stream_status(w->stream, err);
}

omnid_status audio_run_finish(encoder_work *w, audio_run *a, tensor *tokens, tensor *saliency, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    const kernels_ops *ops = m->ops;
    int n = a->n_tokens, d = m->config.audio.hidden;
    OMNID_TRY(encoder_reserve(w, &w->qkv, (int64_t)n * d, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &w->norm, (int64_t)n * d, m->activation, err));
    tensor x = buffer_2d(&a->x, KERNELS_F32, a->n_frames, d), pooled = buffer_2d(&w->qkv, KERNELS_F32, n, d);
    tensor norm = buffer_2d(&w->norm, m->activation, n, d);
    tensor frames = tensor_2d(a->saliency.data, KERNELS_F32, a->n_frames, 1);
    *saliency = tensor_1d((float *)a->saliency.data + a->n_frames, KERNELS_F32, n);
    tensor pairs = tensor_2d(saliency->data, KERNELS_F32, n, 1);
    ops->pool2(w->stream, &pooled, &x);
    ops->layernorm(w->stream, &norm, &pooled, &m->audio.post_w, &m->audio.post_b, m->config.audio.norm_eps);
    ops->linear(w->stream, tokens, &norm, m->audio.proj, NULL);
    ops->pool2(w->stream, &pairs, &frames);
    return kernels_stream_status(w->stream, err);
}

void audio_run_free(memory *mem, audio_run *a)
{
    buffer_free(mem, &a->mel);
    buffer_free(mem, &a->x);
    buffer_free(mem, &a->saliency);
}
