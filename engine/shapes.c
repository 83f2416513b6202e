/* shapes.c: config.json of the two published models, for models of random weights ("3b", "7b"). */
#include "engine/config.h"

#include <string.h>

#define VISION(hidden)                                                                                                 \
    "\"vision_config\": {\"model_type\": \"qwen2_5_omni_vision_encoder\", \"depth\": 32, \"hidden_size\": 1280, "      \
    "\"intermediate_size\": 3420, \"num_heads\": 16, \"in_channels\": 3, \"patch_size\": 14, \"spatial_merge_size\": " \
    "2, "                                                                                                              \
    "\"temporal_patch_size\": 2, \"tokens_per_second\": 25, \"window_size\": 112, \"out_hidden_size\": " hidden        \
    ", \"fullatt_block_indexes\": [7, 15, 23, 31], \"hidden_act\": \"silu\"}"

#define AUDIO(hidden)                                                                                                  \
    "\"audio_config\": {\"model_type\": \"qwen2_5_omni_audio_encoder\", \"d_model\": 1280, \"encoder_layers\": 32, "   \
    "\"encoder_attention_heads\": 20, \"encoder_ffn_dim\": 5120, \"num_mel_bins\": 128, \"n_window\": 100, "           \
    "\"max_source_positions\": 1500, \"output_dim\": " hidden                                                          \
    ", \"activation_function\": \"gelu\", \"scale_embedding\": false}"

#define TEXT(hidden, ffn, layers, heads, kv_heads, vocabulary)                                                         \
    "\"text_config\": {\"model_type\": \"qwen2_5_omni_text\", \"hidden_size\": " hidden                                \
    ", \"intermediate_size\": " ffn ", \"num_hidden_layers\": " layers ", \"num_attention_heads\": " heads             \
    ", \"num_key_value_heads\": " kv_heads ", \"vocab_size\": " vocabulary                                             \
    ", \"hidden_act\": \"silu\", \"max_position_embeddings\": 32768, "                                                 \
    "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"rope_scaling\": {\"mrope_section\": [16, 24, 24], "         \
    "\"rope_type\": \"default\"}}"

#define IDS                                                                                                            \
    "\"audio_token_index\": 151646, \"image_token_index\": 151655, \"video_token_index\": 151656, "                    \
    "\"audio_start_token_id\": 151647, \"audio_end_token_id\": 151648, \"vision_start_token_id\": 151652, "            \
    "\"vision_end_token_id\": 151653, \"bos_token_id\": 151644, \"eos_token_id\": 151645, \"pad_token_id\": 151643, "  \
    "\"position_id_per_seconds\": 25, \"tie_word_embeddings\": false"

#define SHAPE(hidden, ffn, layers, heads, kv_heads, vocabulary)                                                        \
    "{\"model_type\": \"qwen2_5_omni\", \"thinker_config\": {" VISION(hidden) ", " AUDIO(hidden) ", " TEXT(            \
        hidden, ffn, layers, heads, kv_heads, vocabulary) ", " IDS "}}"

const char *config_builtin(const char *name)
{
    if (strcmp(name, "3b") == 0)
        return SHAPE("2048", "11008", "36", "16", "2", "151936");
    if (strcmp(name, "7b") == 0)
        return SHAPE("3584", "18944", "28", "28", "4", "152064");
    return NULL;
}
