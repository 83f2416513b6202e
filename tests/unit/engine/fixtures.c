/* fixtures.c: folders, files and tiny models for tests. A fixture that cannot be made aborts the test program. */
#include "tests/unit/engine/fixtures.h"
#include "kernels/number.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(99);
}

/* ------------------------------------------------------------------ folders and files */

char *fixture_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/omnid-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    must(mkdtemp(path) != NULL, path);
    return strdup(path);
}

void fixture_remove(char **folder)
{
    DIR *d = opendir(*folder);
    char path[1024];
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", *folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(*folder);
    free(*folder);
    *folder = NULL;
}

void fixture_write(const char *folder, const char *name, const void *data, size_t n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f != NULL, path);
    must(fwrite(data, 1, n, f) == n, path);
    must(fclose(f) == 0, path);
}

void fixture_text(const char *folder, const char *name, const char *text)
{
    fixture_write(folder, name, text, strlen(text));
}

char *fixture_read(const char *folder, const char *name, size_t *n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    must(f != NULL, path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*n + 1);
    must(data && fread(data, 1, *n, f) == *n, path);
    data[*n] = '\0';
    fclose(f);
    return data;
}

char *fixture_replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        return NULL;
    char *out = malloc(strlen(text) + strlen(to) + 1);
    must(out != NULL, "malloc");
    size_t before = (size_t)(at - text);
    memcpy(out, text, before);
    strcpy(stpcpy(out + before, to), at + strlen(from));
    return out;
}

/* ------------------------------------------------------------------ the tiny model */

const char fixture_config[] =
    "{\"model_type\": \"qwen2_5_omni\", \"thinker_config\": {"
    "\"audio_config\": {\"d_model\": 8, \"encoder_layers\": 2, \"encoder_attention_heads\": 2, \"encoder_ffn_dim\": "
    "12, "
    "\"num_mel_bins\": 128, \"n_window\": 100, \"max_source_positions\": 128, \"output_dim\": 24, "
    "\"activation_function\": \"gelu\"}, "
    "\"vision_config\": {\"depth\": 3, \"hidden_size\": 16, \"intermediate_size\": 20, \"num_heads\": 2, "
    "\"fullatt_block_indexes\": [1], \"window_size\": 112, \"out_hidden_size\": 24, \"patch_size\": 14, "
    "\"spatial_merge_size\": 2, \"temporal_patch_size\": 2, \"in_channels\": 3, \"hidden_act\": \"silu\"}, "
    "\"text_config\": {\"num_hidden_layers\": 4, \"hidden_size\": 24, \"intermediate_size\": 40, "
    "\"num_attention_heads\": 3, \"num_key_value_heads\": 1, \"vocab_size\": 310, \"hidden_act\": \"silu\", "
    "\"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0, "
    "\"rope_scaling\": {\"mrope_section\": [1, 1, 2], \"rope_type\": \"default\"}, \"tie_word_embeddings\": true}, "
    "\"audio_token_index\": 293, \"video_token_index\": 299, \"image_token_index\": 298, "
    "\"audio_start_token_id\": 294, \"audio_end_token_id\": 295, \"vision_start_token_id\": 296, "
    "\"vision_end_token_id\": 297, \"bos_token_id\": 291, \"eos_token_id\": 292, \"pad_token_id\": 290, "
    "\"position_id_per_seconds\": 25, \"tie_word_embeddings\": false}}";

/* A byte in the alphabet of byte-level tokenizers, escaped for JSON. */
static void append_byte(FILE *f, int b)
{
    bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    int point = b;
    if (!itself) {
        point = 0x100;
        for (int other = 0; other < b; other++)
            point += !((other >= 0x21 && other <= 0x7E) || (other >= 0xA1 && other <= 0xAC) ||
                       (other >= 0xAE && other <= 0xFF));
    }
    fprintf(f, "\\u%04x", (unsigned)point);
}

char *fixture_tokenizer(void)
{
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>",  "<|im_end|>",     "<|AUDIO|>",
                                          "<|audio_bos|>", "<|audio_eos|>", "<|vision_bos|>", "<|vision_eos|>",
                                          "<|IMAGE|>",     "<|VIDEO|>"};
    static const char *const merges[][2] = {
        {"h", "e"},  {"l", "l"},  {"he", "ll"},     {"hell", "o"},          {"a", "b"}, {"b", "c"},
        {"ab", "c"}, {"a", "bc"}, {"\\u0120", "w"}, {"\\u00c3", "\\u00a9"}, {"l", "h"}, {"l", "he"}};
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    must(f != NULL, "open_memstream");
    fputs("{\"version\": \"1.0\", \"added_tokens\": [", f);
    for (int i = 0; i < 10; i++)
        fprintf(f, "{\"id\": %d, \"content\": \"%s\", \"special\": true, \"normalized\": false}, ", 290 + i,
                special[i]);
    fputs("{\"id\": 300, \"content\": \"<tool>\", \"special\": false, \"normalized\": false}, "
          "{\"id\": 301, \"content\": \"<tool>er\", \"special\": false, \"normalized\": false}], "
          "\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": ["
          "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
          "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
          "\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
          "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
          "\"trim_offsets\": true, \"use_regex\": false}]}, \"model\": {\"type\": \"BPE\", \"dropout\": null, "
          "\"continuing_subword_prefix\": \"\", \"ignore_merges\": false, \"vocab\": {",
          f);
    for (int b = 0; b < 256; b++) {
        fputs(b ? ", \"" : "\"", f);
        append_byte(f, b);
        fprintf(f, "\": %d", b);
    }
    int id = 256;
    for (size_t i = 0; i < 12; i++)
        if (strcmp(merges[i][0], "a") != 0 || strcmp(merges[i][1], "bc") != 0) /* abc is there already */
            fprintf(f, ", \"%s%s\": %d", merges[i][0], merges[i][1], id++);
    fputs("}, \"merges\": [", f);
    for (size_t i = 0; i < 12; i++) /* both spellings */
        fprintf(f, i % 2 ? "%s\"%s %s\"" : "%s[\"%s\", \"%s\"]", i ? ", " : "", merges[i][0], merges[i][1]);
    fputs("]}}", f);
    must(fclose(f) == 0, "open_memstream");
    return text;
}

void fixture_safetensors(const char *folder, const char *name, const fixture_tensor *tensors, int n, int pad)
{
    char *header;
    size_t n_header, at = 0;
    FILE *f = open_memstream(&header, &n_header);
    must(f != NULL, "open_memstream");
    fputs("{\"__metadata__\": {\"format\": \"pt\"}", f);
    for (int i = 0; i < n; i++) {
        fprintf(f, ", \"%s\": {\"dtype\": \"%s\", \"shape\": [", tensors[i].name, tensors[i].dtype);
        for (int d = 0; d < tensors[i].n_dims; d++)
            fprintf(f, "%s%lld", d ? ", " : "", (long long)tensors[i].dim[d]);
        fprintf(f, "], \"data_offsets\": [%zu, %zu]}", at, at + tensors[i].size);
        at += tensors[i].size;
    }
    fputc('}', f);
    fflush(f);
    while ((n_header + 8) % 8 != 0 || pad-- > 0) {
        fputc(' ', f);
        fflush(f);
    }
    must(fclose(f) == 0, "open_memstream");
    char *file = malloc(8 + n_header + at);
    must(file != NULL, "malloc");
    for (int i = 0; i < 8; i++)
        file[i] = (char)((uint64_t)n_header >> (8 * i) & 255);
    memcpy(file + 8, header, n_header);
    for (size_t i = 0, to = 8 + n_header; i < (size_t)n; to += tensors[i++].size)
        memcpy(file + to, tensors[i].data, tensors[i].size);
    fixture_write(folder, name, file, 8 + n_header + at);
    free(file);
    free(header);
}

float fixture_value(const char *name, int64_t i)
{
    uint32_t h = 2166136261u;
    for (const char *c = name; *c; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    h = (h ^ (uint32_t)i) * 2654435761u;
    return (float)((int)(h >> 24) - 128) / 256.0f; /* exact in bf16 */
}

/* ------------------------------------------------------------------ every tensor of the tiny model, as published */

typedef struct {
    fixture_tensor list[256];
    int n;
    const fixture_model_options *o;
} tensor_list;

static void add(tensor_list *l, const char *name, int n_dims, const int64_t *dim)
{
    if (l->o->leave_out && strcmp(name, l->o->leave_out) == 0)
        return;
    fixture_tensor *t = &l->list[l->n++];
    bool wide = strcmp(l->o->dtype, "F32") == 0;
    int64_t n = 1;
    *t = (fixture_tensor){.dtype = l->o->dtype, .n_dims = n_dims};
    for (int i = 0; i < n_dims; i++) {
        t->dim[i] = dim[i] + (i == 0 && l->o->reshape && strcmp(name, l->o->reshape) == 0);
        n *= t->dim[i];
    }
    char full[256];
    snprintf(full, sizeof full, "%s%s", l->o->prefix, name);
    t->name = strdup(full);
    t->size = (size_t)n * (wide ? 4 : 2);
    char *data = malloc(t->size);
    must(t->name && data, "malloc");
    for (int64_t i = 0; i < n; i++) {
        float value = fixture_value(name, i);
        uint16_t narrow = bf16_from_f32(value);
        memcpy(data + i * (wide ? 4 : 2), wide ? (void *)&value : (void *)&narrow, wide ? 4 : 2);
    }
    t->data = data;
}

static void add_matrix(tensor_list *l, const char *stem, int64_t n, int64_t k, bool bias)
{
    char name[200];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(l, name, 2, (int64_t[]){n, k});
    snprintf(name, sizeof name, "%s.bias", stem);
    if (bias)
        add(l, name, 1, &n);
}

static void add_norm(tensor_list *l, const char *stem, int64_t n, bool bias)
{
    char name[200];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(l, name, 1, &n);
    snprintf(name, sizeof name, "%s.bias", stem);
    if (bias)
        add(l, name, 1, &n);
}

static const char *stem(char *buffer, size_t size, const char *tower, int layer, const char *name)
{
    snprintf(buffer, size, "%s.%d.%s", tower, layer, name);
    return buffer;
}

static void list_towers(tensor_list *l)
{
    char b[200];
    add(l, "visual.patch_embed.proj.weight", 5, (int64_t[]){16, 3, 2, 14, 14});
    for (int i = 0; i < 3; i++) {
        static const char *const square[] = {"attn.q", "attn.k", "attn.v", "attn.proj"};
        for (int j = 0; j < 4; j++)
            add_matrix(l, stem(b, sizeof b, "visual.blocks", i, square[j]), 16, 16, true);
        add_matrix(l, stem(b, sizeof b, "visual.blocks", i, "mlp.gate_proj"), 20, 16, true);
        add_matrix(l, stem(b, sizeof b, "visual.blocks", i, "mlp.up_proj"), 20, 16, true);
        add_matrix(l, stem(b, sizeof b, "visual.blocks", i, "mlp.down_proj"), 16, 20, true);
        add_norm(l, stem(b, sizeof b, "visual.blocks", i, "norm1"), 16, false);
        add_norm(l, stem(b, sizeof b, "visual.blocks", i, "norm2"), 16, false);
    }
    add_norm(l, "visual.merger.ln_q", 16, false);
    add_matrix(l, "visual.merger.mlp.0", 64, 64, true);
    add_matrix(l, "visual.merger.mlp.2", 24, 64, true);
    add(l, "audio_tower.conv1.weight", 3, (int64_t[]){8, 128, 3});
    add(l, "audio_tower.conv1.bias", 1, (int64_t[]){8});
    add(l, "audio_tower.conv2.weight", 3, (int64_t[]){8, 8, 3});
    add(l, "audio_tower.conv2.bias", 1, (int64_t[]){8});
    add(l, "audio_tower.audio_bos_eos_token.weight", 2, (int64_t[]){2, 24});
    for (int i = 0; i < 2; i++) {
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "self_attn.q_proj"), 8, 8, true);
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "self_attn.k_proj"), 8, 8, false);
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "self_attn.v_proj"), 8, 8, true);
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "self_attn.out_proj"), 8, 8, true);
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "fc1"), 12, 8, true);
        add_matrix(l, stem(b, sizeof b, "audio_tower.layers", i, "fc2"), 8, 12, true);
        add_norm(l, stem(b, sizeof b, "audio_tower.layers", i, "self_attn_layer_norm"), 8, true);
        add_norm(l, stem(b, sizeof b, "audio_tower.layers", i, "final_layer_norm"), 8, true);
    }
    add_norm(l, "audio_tower.ln_post", 8, true);
    add_matrix(l, "audio_tower.proj", 24, 8, true);
}

static void list_decoder(tensor_list *l)
{
    char b[200];
    add_matrix(l, "model.embed_tokens", 310, 24, false);
    add_matrix(l, "lm_head", 310, 24, false);
    add_norm(l, "model.norm", 24, false);
    for (int i = 0; i < 4; i++) {
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "self_attn.q_proj"), 24, 24, true);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "self_attn.k_proj"), 8, 24, true);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "self_attn.v_proj"), 8, 24, true);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "self_attn.o_proj"), 24, 24, false);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "mlp.gate_proj"), 40, 24, false);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "mlp.up_proj"), 40, 24, false);
        add_matrix(l, stem(b, sizeof b, "model.layers", i, "mlp.down_proj"), 24, 40, false);
        add_norm(l, stem(b, sizeof b, "model.layers", i, "input_layernorm"), 24, false);
        add_norm(l, stem(b, sizeof b, "model.layers", i, "post_attention_layernorm"), 24, false);
    }
}

static void write_index(const char *folder, const tensor_list *l, int n_first)
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    must(f != NULL, "open_memstream");
    fputs("{\"metadata\": {}, \"weight_map\": {\"talker.codec_head.weight\": \"model-00003-of-00003.safetensors\"", f);
    for (int i = 0; i < l->n; i++)
        fprintf(f, ", \"%s\": \"model-0000%d-of-00003.safetensors\"", l->list[i].name, i < n_first ? 1 : 2);
    fputs("}}", f);
    must(fclose(f) == 0, "open_memstream");
    fixture_text(folder, "model.safetensors.index.json", text);
    free(text);
}

void fixture_model(const char *folder, const fixture_model_options *o)
{
    tensor_list l = {.o = o};
    list_towers(&l);
    list_decoder(&l);
    if (o->sharded) {
        int first = l.n / 2;
        fixture_safetensors(folder, "model-00001-of-00003.safetensors", l.list, first, o->pad);
        fixture_safetensors(folder, "model-00002-of-00003.safetensors", l.list + first, l.n - first, o->pad);
        write_index(folder, &l, first);
    } else
        fixture_safetensors(folder, "model.safetensors", l.list, l.n, o->pad);
    for (int i = 0; i < l.n; i++) {
        free((char *)l.list[i].name);
        free((void *)l.list[i].data);
    }
    fixture_text(folder, "config.json", o->config ? o->config : fixture_config);
    char *tokenizer = fixture_tokenizer();
    fixture_text(folder, "tokenizer.json", tokenizer);
    free(tokenizer);
}
