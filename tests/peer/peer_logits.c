/* Logits of weights for given pictures and token ids, for the scripts of tests/peer.
 *
 *   peer_logits WEIGHTS INPUT OUTPUT
 *
 * INPUT and OUTPUT are safetensors: video [b, T, 3, H, W] F32 and tokens [K, context] I32 in,
 * logits [b, K] F32 out. WEIGHTS is whatever cf_weights_open_model takes. */
#include "crossframe/models.h"

#include <stdio.h>

static cf_status score(cf_st_tensor *out, cf_tape *t, const cf_xclip *m, const cf_st_tensor *video,
                       const cf_st_tensor *tokens)
{
    const cf_xclip_run run = { 0 };
    cf_xclip_outputs o;
    float *logits;
    const size_t *s = video->shape;
    cf_tape_record(t, false);
    cf_tensor *x = cf_tensor_input_f32(t, cf_shape_of(s[0], s[1], s[2], s[3], s[4]), video->data);
    CF_TRY(cf_xclip_video(&o, m, t, x, &run, NULL, NULL));
    CF_TRY(
        cf_xclip_scores(&o, m, t, cf_xclip_text(m, t, tokens->data, tokens->shape[0]), NULL, NULL));
    CF_TRY(cf_alloc(&logits, o.logits->n, sizeof *logits));
    for (size_t i = 0; i < o.logits->n; i++) logits[i] = (float)o.logits->data[i];
    *out = (cf_st_tensor){
        .name = "logits", .rank = 2, .shape = { s[0], tokens->shape[0] }, .data = logits
    };
    return CF_OK;
}

static cf_status run(char **path)
{
    cf_weights *w = NULL;
    cf_xclip *m = NULL;
    cf_tape *t = NULL;
    cf_st_file *input = NULL;
    cf_xclip_config config;
    cf_load_counts counts;
    const cf_st_tensor *video, *tokens;
    cf_st_tensor logits = { 0 };
    cf_status status = CF_OK;
    CF_GO(cf_weights_open_model(&w, path[0]));
    CF_GO(cf_xclip_config_from_file(&config, w));
    CF_GO(cf_xclip_new(&m, &config));
    CF_GO(cf_xclip_load(&counts, m, w, false));
    CF_GO(cf_st_open(&input, path[1]));
    video = cf_st_find(input, "video");
    tokens = cf_st_find(input, "tokens");
    if (!video || !tokens) CF_GO(CF_FAIL(CF_ENOTFOUND, "%s has no video or no tokens", path[1]));
    CF_GO(cf_tape_new(&t, NULL));
    CF_GO(score(&logits, t, m, video, tokens));
    CF_GO(cf_st_write(path[2], &logits, 1, NULL, 0));
done:
    cf_free((void *)(uintptr_t)logits.data);
    cf_tape_free(t);
    cf_xclip_free(m);
    cf_weights_close(w);
    cf_st_close(input);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "peer_logits WEIGHTS INPUT OUTPUT\n");
        return 2;
    }
    if (run(argv + 1) == CF_OK) return 0;
    fprintf(stderr, "peer_logits: %s\n", cf_error());
    return 1;
}
