/* Opening a model's weights: the native names, and what a reader should know about them.
 *
 * Two things no name or shape tells. The activation: OpenAI's CLIPs compute QuickGELU, and so does
 * the model here; open_clip and Hugging Face have CLIPs of both kinds under the same names. And the
 * heads of MIT and prompts: always e / 64, though published config.json files of the large models
 * say 8. A config.json beside Hugging Face's names is read for both, and held against the shapes,
 * which decide. */
#include "crossframe/models.h"
#include "models/weights/layout.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* ---- config.json ----------------------------------------------------------------------------- */

enum { CONFIG_BYTES = 1 << 20 };

/* The member "a.b" or "a"; NULL if there is none. */
static const cJSON *member(const cJSON *root, const char *key)
{
    char section[64];
    const char *dot = strchr(key, '.');
    if (!dot) return cJSON_GetObjectItemCaseSensitive(root, key);
    snprintf(section, sizeof section, "%.*s", (int)(dot - key), key);
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, section),
                                            dot + 1);
}

static cf_status check_activation(const cJSON *config, const char *path)
{
    static const char *const keys[] = { "text_config.hidden_act", "vision_config.hidden_act",
                                        "prompt_hidden_act" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = cJSON_GetStringValue(member(config, keys[i]));
        if (value && strcmp(value, "quick_gelu") != 0)
            return CF_FAIL(CF_EUNSUPPORTED,
                           "%s: %s is %.40s: the model here computes QuickGELU only, and other "
                           "numbers would come out (MODEL.ACTIVATION quick_gelu takes the weights "
                           "all the same)",
                           path, keys[i], value);
    }
    return CF_OK;
}

/* One line for all sizes that the shapes tell otherwise. */
static void compare_sizes(const cJSON *config, const char *path, const cf_xclip_config *c)
{
    const struct {
        const char *key;
        size_t value; /* 0: nothing to compare with */
    } sizes[] = {
        { "projection_dim", c->embed },
        { "text_config.hidden_size", c->text_width },
        { "text_config.intermediate_size", 4 * c->text_width },
        { "text_config.num_hidden_layers", c->text_layers },
        { "text_config.num_attention_heads", c->text_width / 64 },
        { "text_config.vocab_size", c->vocabulary },
        { "text_config.max_position_embeddings", c->context },
        { "vision_config.hidden_size", c->vision_width },
        { "vision_config.intermediate_size", 4 * c->vision_width },
        { "vision_config.num_hidden_layers", c->vision_layers },
        { "vision_config.num_attention_heads", c->vision_width / 64 },
        { "vision_config.image_size", c->image },
        { "vision_config.patch_size", c->patch },
        { "vision_config.num_frames", c->frames },
        { "vision_config.mit_hidden_size", c->mit_layers ? c->embed : 0 },
        { "vision_config.mit_num_hidden_layers", c->mit_layers },
        { "prompt_layers", c->prompt_layers },
    };
    char line[1024] = "";
    size_t at = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const cJSON *item = member(config, sizes[i].key);
        if (!cJSON_IsNumber(item) || sizes[i].value == 0) continue;
        if (item->valuedouble == (double)sizes[i].value || at >= sizeof line) continue;
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s %g (%zu)", at ? ", " : "",
                               sizes[i].key, item->valuedouble, sizes[i].value);
    }
    if (at)
        cf_log(CF_LOG_WARNING,
               "%s says otherwise than the weights beside it, which decide (theirs in brackets): "
               "%s",
               path, line);
}

/* What is not given has the other program's default, 8. */
static void compare_heads(const cJSON *config, const char *path, const cf_xclip_config *c)
{
    const cJSON *mit = member(config, "vision_config.mit_num_attention_heads");
    const cJSON *prompt = member(config, "prompt_num_attention_heads");
    double m = cJSON_IsNumber(mit) ? mit->valuedouble : 8;
    double p = cJSON_IsNumber(prompt) ? prompt->valuedouble : 8;
    size_t heads = c->embed / 64;
    if (m != (double)heads || p != (double)heads)
        cf_log(
            CF_LOG_WARNING,
            "%s: %g heads in MIT and %g in the prompts' attention: computed with %zu (%zu / 64), "
            "as X-CLIP is trained",
            path, m, p, heads, c->embed);
}

static cf_status check_config(const cf_weights *w, const char *path, const char *text)
{
    cf_status status = CF_OK;
    cf_xclip_config sizes;
    cJSON *config = cJSON_Parse(text);
    if (!cJSON_IsObject(config))
        CF_GO(CF_FAIL(CF_EFORMAT, "%s, beside the weights, is no JSON object", path));
    CF_GO(check_activation(config, path));
    CF_GO(cf_xclip_config_from_file(&sizes, w));
    compare_sizes(config, path, &sizes);
    if (cf_weights_origin(w) == CF_LAYOUT_XCLIP_HF) compare_heads(config, path, &sizes);
done:
    cJSON_Delete(config);
    return status;
}

/* *found: there is one. */
static cf_status check_config_beside(bool *found, const cf_weights *w)
{
    const char *of = cf_weights_path(w);
    char *folder = NULL, *path = NULL, *text = NULL;
    size_t n;
    cf_status status = CF_OK;
    CF_GO(cf_is_folder(of) ? cf_strdup(&folder, of) : cf_path_folder(&folder, of));
    CF_GO(cf_path_join(&path, folder, "config.json"));
    *found = cf_file_exists(path);
    if (!*found) goto done;
    CF_GO(cf_file_read_gz(&text, &n, path, CONFIG_BYTES));
    CF_GO(check_config(w, path, text));
done:
    cf_free(folder);
    cf_free(path);
    cf_free(text);
    return status;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* OpenAI's archives are programs, and hold three sizes beside the weights. */
bool cf_weights_tell_quick_gelu(const cf_weights *w)
{
    const char *told = cf_weights_metadata(w, "activation");
    return strncmp(cf_weights_container(w), "TorchScript", strlen("TorchScript")) == 0 ||
           cf_weights_find(w, "input_resolution") || cf_weights_metadata(w, "crossframe") ||
           (told && strcmp(told, "quick_gelu") == 0);
}

static cf_status look_closer(const cf_weights *w)
{
    cf_layout layout = cf_weights_origin(w);
    bool clip = layout == CF_LAYOUT_CLIP || layout == CF_LAYOUT_CLIP_HF, config = false;
    if (layout == CF_LAYOUT_XCLIP_HF || layout == CF_LAYOUT_CLIP_HF)
        CF_TRY(check_config_beside(&config, w));
    if (clip && !config && !cf_weights_tell_quick_gelu(w))
        cf_log(CF_LOG_WARNING,
               "%s: its names do not tell whether this CLIP was trained with QuickGELU, which is "
               "computed here, or with the exact GELU, as some of open_clip's; MODEL.ACTIVATION "
               "quick_gelu says that it was",
               cf_weights_path(w));
    return CF_OK;
}

cf_status cf_weights_open_model(cf_weights **out, const char *path)
{
    cf_weights *w;
    CF_TRY(cf_weights_open(&w, path));
    cf_status status = cf_weights_to_native(w, NULL);
    if (status == CF_OK) status = look_closer(w);
    if (status == CF_OK)
        *out = w;
    else
        cf_weights_close(w);
    return status;
}
