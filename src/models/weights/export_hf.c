/* The folder of Hugging Face's XCLIPModel: weights, sizes and preprocessing.
 *
 * The sizes are those of the shapes, so config.json cannot contradict the weights. The heads of MIT
 * and prompts are e / 64, not that program's default of 8, which is right for e = 512 only. The
 * three files are written beside their places and renamed together at the end. */
#include "crossframe/models.h"
#include "models/weights/export.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WEIGHTS, CONFIG, PREPROCESSOR, N_FILES };
static const char *const file_names[N_FILES] = { "model.safetensors", "config.json",
                                                 "preprocessor_config.json" };

static const char config_format[] = "{\n"
                                    "  \"architectures\": [\n    \"XCLIPModel\"\n  ],\n"
                                    "  \"initializer_factor\": 1.0,\n"
                                    "  \"logit_scale_init_value\": 2.6592,\n"
                                    "  \"model_type\": \"xclip\",\n"
                                    "  \"projection_dim\": %zu,\n"
                                    "  \"prompt_alpha\": 0.1,\n"
                                    "  \"prompt_attention_dropout\": 0.0,\n"
                                    "  \"prompt_hidden_act\": \"quick_gelu\",\n"
                                    "  \"prompt_layers\": %zu,\n"
                                    "  \"prompt_num_attention_heads\": %zu,\n"
                                    "  \"prompt_projection_dropout\": 0.0,\n"
                                    "  \"text_config\": %s,\n"
                                    "  \"torch_dtype\": \"%s\",\n"
                                    "  \"vision_config\": %s\n"
                                    "}\n";

static const char text_format[] = "{\n"
                                  "    \"attention_dropout\": 0.0,\n"
                                  "    \"bos_token_id\": 0,\n"
                                  "    \"eos_token_id\": 2,\n"
                                  "    \"hidden_act\": \"quick_gelu\",\n"
                                  "    \"hidden_size\": %zu,\n"
                                  "    \"intermediate_size\": %zu,\n"
                                  "    \"layer_norm_eps\": 1e-05,\n"
                                  "    \"max_position_embeddings\": %zu,\n"
                                  "    \"model_type\": \"xclip_text_model\",\n"
                                  "    \"num_attention_heads\": %zu,\n"
                                  "    \"num_hidden_layers\": %zu,\n"
                                  "    \"pad_token_id\": 1,\n"
                                  "    \"vocab_size\": %zu\n"
                                  "  }";

static const char vision_format[] = "{\n"
                                    "    \"attention_dropout\": 0.0,\n"
                                    "    \"drop_path_rate\": 0.0,\n"
                                    "    \"hidden_act\": \"quick_gelu\",\n"
                                    "    \"hidden_size\": %zu,\n"
                                    "    \"image_size\": %zu,\n"
                                    "    \"intermediate_size\": %zu,\n"
                                    "    \"layer_norm_eps\": 1e-05,\n"
                                    "    \"mit_hidden_size\": %zu,\n"
                                    "    \"mit_intermediate_size\": %zu,\n"
                                    "    \"mit_num_attention_heads\": %zu,\n"
                                    "    \"mit_num_hidden_layers\": %zu,\n"
                                    "    \"model_type\": \"xclip_vision_model\",\n"
                                    "    \"num_attention_heads\": %zu,\n"
                                    "    \"num_channels\": 3,\n"
                                    "    \"num_frames\": %zu,\n"
                                    "    \"num_hidden_layers\": %zu,\n"
                                    "    \"patch_size\": %zu\n"
                                    "  }";

/* Mean and standard deviation are ImageNet's, as the official program has them, not CLIP's. */
static const char preprocessor_format[] =
    "{\n"
    "  \"crop_size\": {\n"
    "    \"height\": %zu,\n"
    "    \"width\": %zu\n"
    "  },\n"
    "  \"do_center_crop\": true,\n"
    "  \"do_normalize\": true,\n"
    "  \"do_rescale\": true,\n"
    "  \"do_resize\": true,\n"
    "  \"feature_extractor_type\": "
    "\"VideoMAEFeatureExtractor\",\n"
    "  \"image_mean\": [\n    0.485,\n    0.456,\n    0.406\n"
    "  ],\n"
    "  \"image_processor_type\": \"VideoMAEImageProcessor\",\n"
    "  \"image_std\": [\n    0.229,\n    0.224,\n    0.225\n"
    "  ],\n"
    "  \"resample\": 2,\n"
    "  \"rescale_factor\": 0.00392156862745098,\n"
    "  \"size\": {\n"
    "    \"shortest_edge\": %zu\n"
    "  }\n"
    "}\n";

/* A file of that program is float32 in its eyes where no torch_dtype says otherwise. */
static cf_status config_text(char **out, const cf_xclip_config *c, cf_st_dtype dtype)
{
    static const char *const types[] = { "float32", "float16", "bfloat16" };
    char *text = NULL, *vision = NULL;
    cf_status status = CF_OK;
    size_t w = c->text_width, d = c->vision_width, e = c->embed;
    CF_GO(
        cf_format(&text, text_format, w, 4 * w, c->context, w / 64, c->text_layers, c->vocabulary));
    CF_GO(cf_format(&vision, vision_format, d, c->image, 4 * d, e, 4 * e, e / 64, c->mit_layers,
                    d / 64, c->frames, c->vision_layers, c->patch));
    CF_GO(cf_format(out, config_format, e, c->prompt_layers, e / 64, text, types[dtype], vision));
done:
    cf_free(text);
    cf_free(vision);
    return status;
}

static cf_status check_parts(const cf_xclip_config *c, const cf_weights *w)
{
    if (c->video == CF_ENCODER_CCT && c->mit_layers > 0 && c->prompt_layers > 0) return CF_OK;
    return CF_FAIL(CF_EUNSUPPORTED,
                   "%s is no whole X-CLIP, and XCLIPModel knows nothing less: it has %s messages "
                   "between frames, %zu MIT layers and %zu prompt layers",
                   cf_weights_path(w), c->video == CF_ENCODER_CCT ? "" : "no", c->mit_layers,
                   c->prompt_layers);
}

static cf_status write_weights(const char *path, const cf_weights *w, const cf_export *e)
{
    cf_export options = *e;
    cf_st_pair *metadata;
    CF_TRY(cf_alloc(&metadata, e->n_metadata + 1, sizeof *metadata));
    metadata[0] = (cf_st_pair){ "format", "pt" };
    size_t n = 1;
    for (size_t i = 0; i < e->n_metadata; i++)
        if (strcmp(e->metadata[i].key, "format") != 0) metadata[n++] = e->metadata[i];
    options.layout = CF_LAYOUT_XCLIP_HF;
    options.format = CF_FILE_SAFETENSORS;
    options.metadata = metadata;
    options.n_metadata = n;
    cf_status status = cf_weights_export(path, w, &options);
    cf_free(metadata);
    return status;
}

static cf_status write_texts(char *const path[N_FILES], const cf_xclip_config *c, cf_st_dtype dtype)
{
    char *text = NULL;
    cf_status status = CF_OK;
    CF_GO(config_text(&text, c, dtype));
    CF_GO(cf_file_write(path[CONFIG], text, strlen(text)));
    cf_free(text);
    text = NULL;
    CF_GO(cf_format(&text, preprocessor_format, c->image, c->image, c->image));
    CF_GO(cf_file_write(path[PREPROCESSOR], text, strlen(text)));
done:
    cf_free(text);
    return status;
}

cf_status cf_weights_export_hf(const char *folder, const cf_weights *w, const cf_export *e)
{
    cf_xclip_config c;
    char *path[N_FILES] = { NULL }, *fresh[N_FILES] = { NULL };
    CF_TRY(cf_xclip_config_from_file(&c, w));
    CF_TRY(check_parts(&c, w));
    bool was_there = cf_is_folder(folder);
    cf_status status = cf_make_folders(folder);
    if (status != CF_OK) return status;
    for (size_t i = 0; i < N_FILES; i++) {
        CF_GO(cf_path_join(&path[i], folder, file_names[i]));
        CF_GO(cf_format(&fresh[i], "%s.new", path[i]));
    }
    CF_GO(write_weights(fresh[WEIGHTS], w, e));
    CF_GO(write_texts(fresh, &c, e->dtype));
    for (size_t i = 0; i < N_FILES; i++) CF_GO(cf_file_replace(path[i], fresh[i]));
done:
    for (size_t i = 0; i < N_FILES; i++) {
        if (status != CF_OK && fresh[i]) unlink(fresh[i]);
        cf_free(path[i]);
        cf_free(fresh[i]);
    }
    if (status != CF_OK && !was_there) rmdir(folder);
    return status;
}
