/* Variants of the model (MODEL.VIDEO, MODEL.HEAD) and what they ask of other keys: a key that was
 * not given takes the one value that makes sense, one that was given and says otherwise is an error
 * with the reason. */
#include "config_internal.h"

#include "train/run.h"

#include <stdio.h>

typedef struct {
    bool applies;
    const char *cause, *choice; /* "MODEL.VIDEO", "one" */
    const char *key;
    bool fits;
    const char *value; /* what the key must be */
    const char *why;
} rule;

enum { MOST_RULES = 8 };

static size_t rules_of(rule out[MOST_RULES], const cf_config *c)
{
    static const char whole[] = "its frame is drawn from the whole video";
    bool one = c->model.video == CF_VIDEO_ONE, joint = c->model.video == CF_VIDEO_JOINT;
    bool fc = c->model.head == CF_HEAD_FC;
    const rule all[] = {
        { fc, "MODEL.HEAD", "fc", "MODEL.PROMPT", c->model.prompt == CF_PROMPT_NONE, "none",
          "a fully connected head has no text to prompt" },
        { one, "MODEL.VIDEO", "one", "DATA.NUM_FRAMES", c->data.num_frames == 1, "1",
          "it sees one frame of a video" },
        { one, "MODEL.VIDEO", "one", "MODEL.MIT_LAYERS", c->model.mit_layers == 0, "0",
          "one frame leaves MIT nothing to integrate" },
        { one, "MODEL.VIDEO", "one", "DATA.SAMPLING", c->data.sampling == CF_SAMPLING_SPARSE,
          "sparse", whole },
        { one, "MODEL.VIDEO", "one", "TEST.SAMPLING", c->test.sampling == CF_SAMPLING_SPARSE,
          "sparse", whole },
        { joint, "MODEL.VIDEO", "joint", "MODEL.MIT_LAYERS", c->model.mit_layers == 0, "0",
          "its one class token is the video's feature, MIT has nothing to integrate" },
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].applies && !all[i].fits) out[n++] = all[i];
    return n;
}

cf_status cf_config_settle_model(cf_config *c)
{
    rule broken[MOST_RULES];
    size_t n = rules_of(broken, c);
    for (size_t i = 0; i < n; i++) {
        const rule *r = &broken[i];
        char origin[64];
        if (cf_config_given(c, r->key)) continue;
        snprintf(origin, sizeof origin, "%s %s", r->cause, r->choice);
        CF_TRY(cf_config_set_plain(c, r->key, r->value, origin));
    }
    return cf_config_check_variant(c);
}

cf_status cf_config_check_variant(const cf_config *c)
{
    rule broken[MOST_RULES];
    size_t n = rules_of(broken, c), index;
    for (size_t i = 0; i < n; i++) {
        const rule *r = &broken[i];
        char *value;
        if (!cf_config_given(c, r->key)) continue;
        CF_ASSERT(cf_config_find(&index, r->key) != NULL);
        CF_TRY(cf_config_get(&value, c, index));
        cf_status status = CF_FAIL(CF_EINVAL,
                                   "configuration: %s %s (%s) does not go with %s %s (%s): %s; it "
                                   "must be %s, or not be given",
                                   r->key, value, cf_config_origin(c, r->key), r->cause, r->choice,
                                   cf_config_origin(c, r->cause), r->why, r->value);
        cf_free(value);
        return status;
    }
    return CF_OK;
}
