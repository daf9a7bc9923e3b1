/* Making the motion dataset: options, the four packs, the label list and the vocabulary.
 *
 * Videos are drawn in blocks, in parallel, each a pure function of (seed, file, index), and written
 * in order: the bytes do not depend on threads. Kind and axis go round with the index, so every
 * prefix of a pack is balanced; the picture, the trajectory and its direction are random.
 *
 * The training set holds each trajectory once, forward or reversed by a coin; the test set holds
 * each both ways. Test pictures are Fashion-MNIST's own test pictures. */
#include "motion_parts.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 16 << 20, SHAPES_PER_KIND = 100, MERGES_MAX = 4000 };
enum { STREAM_TRAIN, STREAM_TEST, STREAM_STILLS, STREAM_STILLS_TEST };
static const float frames_per_second = 8;

cf_motion_options cf_motion_defaults(void)
{
    return (cf_motion_options){
        .train_videos = 24000,
        .test_trajectories = 1000,
        .stills = 32000,
        .test_stills = 2000,
        .frames = 4,
        .size = 40,
        .family_weight = { 3, 1.5, 1.5, 6 },
        .growth = { 1.9, 2.4 },
        .turn = { 1.55, 2.35 },
        .brightness = { 0.7, 1.0 },
        .tilt = 0.2,
        .texture = 0.08,
        .noise = 0.02,
        .tags = 0.25,
    };
}

static cf_status check_range(const char *name, cf_motion_range r, double lo, double hi)
{
    if (!(r.lo >= lo && r.lo <= r.hi && r.hi <= hi))
        return CF_FAIL(CF_EINVAL, "motion: %s %g:%g is not a range within %g:%g", name, r.lo, r.hi,
                       lo, hi);
    return CF_OK;
}

static cf_status check_options(cf_motion_options *o)
{
    if (o->out == NULL || o->out[0] == 0)
        return CF_FAIL(CF_EINVAL, "motion: no output folder given");
    if (o->size < 16 || o->size > 256)
        return CF_FAIL(CF_EINVAL, "motion: size %zu is not within 16 to 256", o->size);
    if (o->frames < 2 || o->frames > 1024)
        return CF_FAIL(CF_EINVAL, "motion: %zu frames are not within 2 to 1024", o->frames);
    if (o->train_videos < 1 || o->test_trajectories < 1 || o->stills < 1 || o->test_stills < 1)
        return CF_FAIL(CF_EINVAL, "motion: every set needs at least one video");
    double size = (double)o->size, sum = 0;
    if (o->picture.hi == 0) o->picture = (cf_motion_range){ 0.45 * size, 0.55 * size };
    if (o->travel.hi == 0) o->travel = (cf_motion_range){ 0.3 * size, 0.42 * size };
    CF_TRY(check_range("picture", o->picture, 4, size));
    CF_TRY(check_range("travel", o->travel, 0, size));
    CF_TRY(check_range("growth", o->growth, 1, 8));
    CF_TRY(check_range("turn", o->turn, 0, 6.3));
    CF_TRY(check_range("brightness", o->brightness, 0.1, 1));
    CF_TRY(check_range("tilt", (cf_motion_range){ o->tilt, o->tilt }, 0, 3.2));
    CF_TRY(check_range("texture", (cf_motion_range){ o->texture, o->texture }, 0, 1));
    CF_TRY(check_range("noise", (cf_motion_range){ o->noise, o->noise }, 0, 1));
    CF_TRY(check_range("tags", (cf_motion_range){ o->tags, o->tags }, 0, 1));
    for (size_t f = 0; f < CF_MOTION_FAMILIES; f++) {
        if (!(o->family_weight[f] >= 0 && o->family_weight[f] <= 1e6))
            return CF_FAIL(CF_EINVAL, "motion: weight %g of family %zu", o->family_weight[f], f);
        sum += o->family_weight[f];
    }
    if (!(sum > 0)) return CF_FAIL(CF_EINVAL, "motion: the weights of the families are all 0");
    return CF_OK;
}

/* ---- one pack -------------------------------------------------------------------------------- */

typedef struct {
    motion_scene scene;
    cf_motion_set set;
    const char *file, *prefix; /* "train.h5", "train" */
    size_t n;                  /* drawn items: videos, trajectories or stills */
    bool still, pairs;
    const size_t *family_end; /* stills: first item after each family */
} motion_job;

/* The caption of still i: families one after another, their captions in turn. */
static size_t caption_of(const motion_job *j, size_t i)
{
    size_t family = 0, before = 0, first = 0;
    while (i >= j->family_end[family]) {
        first = j->family_end[family];
        before += cf_motion_family_size(family++);
    }
    /* Kinds are the slowest digit of a caption; going round them first keeps prefixes balanced. */
    size_t size = cf_motion_family_size(family), variants = size / CF_MOTION_KINDS;
    size_t k = (i - first) % size;
    return before + k % CF_MOTION_KINDS * variants + k / CF_MOTION_KINDS;
}

static int32_t draw_item(uint8_t *out, float *scratch, const motion_job *j, size_t i)
{
    if (j->still) {
        size_t caption = caption_of(j, i);
        motion_still_draw(out, scratch, &j->scene, i, caption);
        return (int32_t)caption;
    }
    bool reversed = false;
    size_t kind = i % CF_MOTION_KINDS, axis = i / CF_MOTION_KINDS % (CF_MOTION_MOTIONS / 2);
    motion_video_draw(out, scratch, &j->scene, i, kind, axis, j->pairs ? NULL : &reversed);
    return (int32_t)(kind * CF_MOTION_MOTIONS + 2 * axis + (reversed ? 1 : 0));
}

static void reverse_frames(uint8_t *out, const uint8_t *in, size_t n, size_t frame)
{
    for (size_t t = 0; t < n; t++) memcpy(out + t * frame, in + (n - 1 - t) * frame, frame);
}

static cf_status add_item(cf_pack_writer *w, const motion_job *j, size_t i, int32_t label,
                          const uint8_t *pixels, uint8_t *turned)
{
    const cf_motion_options *o = j->scene.options;
    char name[64];
    size_t n = j->still ? 1 : o->frames;
    float fps = j->still ? 0 : frames_per_second;
    snprintf(name, sizeof name, "%s/%06zu%s", j->prefix, i, j->pairs ? "-forward" : "");
    CF_TRY(cf_pack_writer_add(w, name, label, fps, pixels, n, o->size, o->size));
    if (!j->pairs) return CF_OK;
    reverse_frames(turned, pixels, n, j->scene.noise->frame);
    snprintf(name, sizeof name, "%s/%06zu-reverse", j->prefix, i);
    return cf_pack_writer_add(w, name, label ^ 1, fps, turned, n, o->size, o->size);
}

static cf_status write_items(cf_pack_writer *w, const motion_job *j)
{
    size_t frame = j->scene.noise->frame, item = frame * (j->still ? 1 : j->scene.options->frames);
    size_t block = BLOCK_BYTES / item + 1, canvases = 2 * frame;
    uint8_t *pixels = NULL, *turned = NULL;
    float *scratch = NULL;
    int32_t *labels = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_alloc(&pixels, block, item));
    CF_GO(cf_alloc(&turned, 1, item));
    CF_GO(cf_alloc(&labels, block, sizeof *labels));
    CF_GO(cf_alloc(&scratch, (size_t)omp_get_max_threads() * canvases, sizeof *scratch));
    for (size_t first = 0; first < j->n; first += block) {
        size_t n = j->n - first < block ? j->n - first : block;
#pragma omp parallel for schedule(dynamic, 8)
        for (size_t i = 0; i < n; i++)
            labels[i] = draw_item(pixels + i * item,
                                  scratch + (size_t)omp_get_thread_num() * canvases, j, first + i);
        for (size_t i = 0; i < n; i++)
            CF_GO(add_item(w, j, first + i, labels[i], pixels + i * item, turned));
    }
done:
    cf_free(pixels);
    cf_free(turned);
    cf_free(labels);
    cf_free(scratch);
    return status;
}

/* Names and families of a pack's classes. */
static size_t class_texts(char (*text)[CF_MOTION_TEXT_MAX], int32_t *family, const motion_job *j)
{
    size_t n = j->still ? cf_motion_n_captions() : CF_MOTION_CLASSES;
    for (size_t i = 0; i < n; i++) {
        family[i] = 0;
        if (j->still)
            family[i] = (int32_t)cf_motion_caption_text(text[i], j->set, i);
        else
            cf_motion_class_text(text[i], j->set, i);
    }
    return n;
}

static cf_status write_pack(const motion_job *j)
{
    char text[256][CF_MOTION_TEXT_MAX], *path = NULL;
    const char *names[256];
    int32_t family[256];
    CF_ASSERT(cf_motion_n_captions() <= 256);
    cf_pack_options po = { .dataset = j->set == CF_MOTION_FASHION
                                          ? "motion, pictures of Fashion-MNIST"
                                          : "motion, own shapes",
                           .encoding = CF_ENCODING_RAW,
                           .class_name = names,
                           .class_family = j->still ? family : NULL };
    po.n_classes = class_texts(text, family, j);
    for (size_t i = 0; i < po.n_classes; i++) names[i] = text[i];
    cf_pack_writer *w = NULL;
    cf_status status = CF_OK;
    double start = cf_seconds();
    CF_GO(cf_path_join(&path, j->scene.options->out, j->file));
    CF_GO(cf_pack_writer_new(&w, path, &po));
    CF_GO(write_items(w, j));
    status = cf_pack_writer_commit(w);
    w = NULL;
    if (status == CF_OK)
        cf_log(CF_LOG_INFO, "%s: %zu %s in %.1f s", path, j->n,
               j->still   ? "stills"
               : j->pairs ? "trajectories, both ways,"
                          : "videos",
               cf_seconds() - start);
done:
    if (w != NULL) cf_pack_writer_abort(w);
    cf_free(path);
    return status;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static void share_stills(size_t end[CF_MOTION_FAMILIES], size_t n, const double *weight)
{
    double sum = 0, part = 0;
    for (size_t f = 0; f < CF_MOTION_FAMILIES; f++) sum += weight[f];
    for (size_t f = 0; f < CF_MOTION_FAMILIES; f++) {
        part += weight[f];
        end[f] = (size_t)llround((double)n * part / sum);
    }
    end[CF_MOTION_FAMILIES - 1] = n;
}

static cf_status write_labels(const cf_motion_options *o, cf_motion_set set)
{
    char line[CF_MOTION_TEXT_MAX + 16], text[CF_MOTION_TEXT_MAX], *path = NULL;
    cf_writer *w = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_path_join(&path, o->out, "labels.csv"));
    CF_GO(cf_writer_new(&w, path));
    CF_GO(cf_writer_put(w, "id,name\n", 8));
    for (size_t i = 0; i < CF_MOTION_CLASSES; i++) {
        cf_motion_class_text(text, set, i);
        int n = snprintf(line, sizeof line, "%zu,%s\n", i, text);
        CF_GO(cf_writer_put(w, line, (size_t)n));
    }
    status = cf_writer_commit(w);
    w = NULL;
done:
    if (w != NULL) cf_writer_abort(w);
    cf_free(path);
    return status;
}

static cf_status write_merges(const cf_motion_options *o, cf_motion_set set)
{
    char text[256][CF_MOTION_TEXT_MAX], *merges = NULL, *path = NULL;
    const char *texts[256];
    cf_status status = CF_OK;
    for (size_t i = 0; i < cf_motion_n_captions(); i++) {
        cf_motion_caption_text(text[i], set, i);
        texts[i] = text[i];
    }
    CF_GO(cf_path_join(&path, o->out, "merges.txt"));
    CF_GO(cf_bpe_learn(&merges, texts, cf_motion_n_captions(), MERGES_MAX));
    CF_GO(cf_file_write(path, merges, strlen(merges)));
done:
    cf_free(merges);
    cf_free(path);
    return status;
}

static cf_status read_banks(motion_bank bank[2], cf_motion_set *set, const cf_motion_options *o)
{
    const char *folder = o->source != NULL ? o->source : CF_MOTION_SOURCE;
    if (!o->own_shapes && (o->source != NULL || cf_is_folder(folder))) {
        if (!cf_is_folder(folder)) return CF_FAIL(CF_ENOTFOUND, "%s: no such folder", folder);
        *set = CF_MOTION_FASHION;
        CF_TRY(motion_bank_read(&bank[0], folder, "train"));
        return motion_bank_read(&bank[1], folder, "t10k");
    }
    *set = CF_MOTION_SHAPES;
    if (!o->own_shapes)
        cf_log(CF_LOG_WARNING,
               "%s: no such folder (Debian package dataset-fashion-mnist): drawing ten own shapes "
               "instead of Fashion-MNIST's pictures",
               folder);
    CF_TRY(motion_bank_draw(&bank[0], o->seed, SHAPES_PER_KIND));
    return motion_bank_draw(&bank[1], o->seed + 1, SHAPES_PER_KIND);
}

cf_status cf_motion_make(const cf_motion_options *options)
{
    cf_motion_options o = *options;
    motion_bank bank[2] = { 0 };
    motion_noise noise = { 0 };
    cf_motion_set set = CF_MOTION_FASHION;
    size_t end[2][CF_MOTION_FAMILIES];
    cf_status status = CF_OK;
    CF_TRY(check_options(&o));
    share_stills(end[0], o.stills, o.family_weight);
    share_stills(end[1], o.test_stills, o.family_weight);
    CF_GO(read_banks(bank, &set, &o));
    CF_GO(cf_make_folders(o.out));
    CF_GO(motion_noise_make(&noise, o.seed, o.size));
    CF_GO(write_labels(&o, set));
    CF_GO(write_merges(&o, set));
    const motion_job jobs[] = {
        { { &o, &bank[0], &noise, STREAM_STILLS, o.tags },
          set,
          "stills.h5",
          "stills",
          o.stills,
          true,
          false,
          end[0] },
        { { &o, &bank[1], &noise, STREAM_STILLS_TEST, 0 },
          set,
          "stills_test.h5",
          "stills_test",
          o.test_stills,
          true,
          false,
          end[1] },
        { { &o, &bank[1], &noise, STREAM_TEST, 0 },
          set,
          "test.h5",
          "test",
          o.test_trajectories,
          false,
          true,
          NULL },
        { { &o, &bank[0], &noise, STREAM_TRAIN, 0 },
          set,
          "train.h5",
          "train",
          o.train_videos,
          false,
          false,
          NULL },
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) CF_GO(write_pack(&jobs[i]));
done:
    for (int i = 0; i < 2; i++) motion_bank_fini(&bank[i]);
    cf_free(noise.values);
    return status;
}
