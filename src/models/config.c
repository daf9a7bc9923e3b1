/* Sizes of X-CLIP: the published ones by name, and what a configuration must fulfil. */
#include "crossframe/models.h"

#include <string.h>

typedef struct {
    const char *name;
    size_t image, patch, width, layers, embed, text_width;
} published;

static const published table[] = {
    { "ViT-B/32", 224, 32, 768, 12, 512, 512 },
    { "ViT-B/16", 224, 16, 768, 12, 512, 512 },
    { "ViT-L/14", 224, 14, 1024, 24, 768, 768 },
    { "ViT-L/14@336px", 336, 14, 1024, 24, 768, 768 },
};

cf_status cf_xclip_config_named(cf_xclip_config *out, const char *arch)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const published *p = &table[i];
        if (strcmp(arch, p->name) != 0) continue;
        *out = (cf_xclip_config){ .image = p->image,
                                  .patch = p->patch,
                                  .vision_width = p->width,
                                  .vision_layers = p->layers,
                                  .embed = p->embed,
                                  .text_width = p->text_width,
                                  .text_layers = 12,
                                  .context = 77,
                                  .vocabulary = 49408,
                                  .frames = 8,
                                  .mit_layers = 1,
                                  .prompt_layers = 2,
                                  .prompt_alpha = 0.1,
                                  .logit_scale = 1 / 0.07 };
        return CF_OK;
    }
    return CF_FAIL(CF_ENOTFOUND,
                   "no architecture \"%s\": ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px or custom",
                   arch);
}

const char *cf_video_encoder_text(cf_video_encoder video)
{
    static const char *const texts[] = {
        [CF_ENCODER_CCT] = "messages between frames",
        [CF_ENCODER_MEAN] = "frames apart",
        [CF_ENCODER_JOINT] = "joint attention over the frames",
    };
    CF_ASSERT((size_t)video < sizeof texts / sizeof *texts);
    return texts[video];
}

cf_status cf_xclip_config_check(const cf_xclip_config *c)
{
    const struct {
        const char *name;
        size_t value, unit;
        bool text;
    } sizes[] = {
        { "image size", c->image, c->patch, false },
        { "patch size", c->patch, 1, false },
        { "vision width", c->vision_width, 64, false },
        { "vision layers", c->vision_layers, 1, false },
        { "embedding width", c->embed, 64, false },
        { "text width", c->text_width, 64, true },
        { "text layers", c->text_layers, 1, true },
        { "context length", c->context, 1, true },
        { "vocabulary size", c->vocabulary, 1, true },
        { "number of frames", c->frames, 1, false },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].text && c->head_classes > 0) continue;
        if (sizes[i].value == 0) return CF_FAIL(CF_EINVAL, "model: %s is 0", sizes[i].name);
        if (sizes[i].unit == 0 || sizes[i].value % sizes[i].unit != 0)
            return CF_FAIL(CF_EINVAL, "model: %s %zu is not a multiple of %zu", sizes[i].name,
                           sizes[i].value, sizes[i].unit);
    }
    if (c->video == CF_ENCODER_JOINT && c->mit_layers > 0)
        return CF_FAIL(CF_EINVAL,
                       "model: joint attention makes one feature of a video; %zu MIT layers have "
                       "nothing to integrate",
                       c->mit_layers);
    if (c->head_classes > 0 && (c->prompt_layers > 0 || c->prompt_vectors > 0))
        return CF_FAIL(CF_EINVAL,
                       "model: a fully connected head has no text to prompt, but there are %zu "
                       "prompt layers and %zu prompt vectors",
                       c->prompt_layers, c->prompt_vectors);
    if (c->prompt_vectors > 0 && c->prompt_vectors + 2 > c->context)
        return CF_FAIL(
            CF_EINVAL,
            "model: %zu prompt vectors and a text's start and end do not fit a context of "
            "%zu tokens",
            c->prompt_vectors, c->context);
    if (!(c->drop_path >= 0 && c->drop_path < 1))
        return CF_FAIL(CF_EINVAL, "model: drop path rate %g is not in [0, 1)", c->drop_path);
    return CF_OK;
}
